//! What somebody who is known may do, and where.

use std::collections::BTreeMap;

use tombolo_proto::{api::Role, id::NetworkId};

/// A role everywhere, and more in some networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// In every network, and with the controller itself.
    pub everywhere: Role,
    /// In these networks, if that is more.
    pub networks: BTreeMap<NetworkId, Role>,
}

impl Rights {
    /// The same role everywhere.
    #[must_use]
    pub const fn everywhere(role: Role) -> Self {
        Self {
            everywhere: role,
            networks: BTreeMap::new(),
        }
    }

    /// What they may do in a network.
    #[must_use]
    pub fn within(&self, network: NetworkId) -> Role {
        let there = self.networks.get(&network).copied().unwrap_or_default();
        there.max(self.everywhere)
    }

    /// The most they may do anywhere.
    #[must_use]
    pub fn anywhere(&self) -> Role {
        let most = self.networks.values().copied().max().unwrap_or_default();
        most.max(self.everywhere)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_in_one_network_adds_to_the_role_everywhere_and_never_takes_from_it() {
        let [home, work]: [NetworkId; 2] = ["8056c2e21c000001", "8056c2e21c000002"]
            .map(|text| text.parse().expect("a network id"));
        let rights = Rights {
            everywhere: Role::Operator,
            networks: BTreeMap::from([(home, Role::Admin), (work, Role::Viewer)]),
        };

        assert_eq!(rights.within(home), Role::Admin);
        assert_eq!(rights.within(work), Role::Operator);
        assert_eq!(rights.anywhere(), Role::Admin);
        assert_eq!(rights.everywhere, Role::Operator);
        assert_eq!(Rights::default().within(home), Role::None);
    }
}
