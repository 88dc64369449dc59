//! What somebody who is known may do, and where.

use core::{fmt, str::FromStr};
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

/// What an API token is for: `read`, `write` or `admin`, everywhere or, with `:` and its id, in one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// None: everywhere.
    pub network: Option<NetworkId>,
    /// What may be done there.
    pub role: Role,
}

/// Why a text is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a scope: write read, write or admin, alone or for one network as in read:8056c2e21c000001"
)]
pub struct ParseScopeError(String);

impl FromStr for Scope {
    type Err = ParseScopeError;

    fn from_str(text: &str) -> Result<Self, ParseScopeError> {
        let wrong = || ParseScopeError(text.chars().take(64).collect());
        let (word, network) = match text.split_once(':') {
            Some((word, network)) => (word, Some(network.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let role = match word {
            "read" => Role::Viewer,
            "write" => Role::Operator,
            "admin" => Role::Admin,
            _ => return Err(wrong()),
        };
        Ok(Self { network, role })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.role {
            Role::None | Role::Viewer => "read",
            Role::Operator => "write",
            Role::Admin => "admin",
        })?;
        self.network
            .map_or(Ok(()), |network| write!(f, ":{network}"))
    }
}

impl Rights {
    /// What all of these scopes together allow.
    pub fn of_scopes(scopes: impl IntoIterator<Item = Scope>) -> Self {
        let mut rights = Self::default();
        for scope in scopes {
            let role = match scope.network {
                Some(network) => rights.networks.entry(network).or_default(),
                None => &mut rights.everywhere,
            };
            *role = scope.role.max(*role);
        }
        rights
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

    #[test]
    fn scopes_add_up_and_reach_no_further_than_they_say() {
        let home: NetworkId = "8056c2e21c000001".parse().expect("a network id");
        let work: NetworkId = "8056c2e21c000002".parse().expect("a network id");
        let rights = |texts: &[&str]| {
            Rights::of_scopes(
                texts
                    .iter()
                    .map(|text| text.parse::<Scope>().expect("a scope")),
            )
        };

        let one = rights(&["read:8056c2e21c000001", "write:8056c2e21c000001"]);
        let all = rights(&["read", "admin:8056c2e21c000002"]);

        assert_eq!(
            (one.within(home), one.within(work)),
            (Role::Operator, Role::None)
        );
        assert_eq!(one.everywhere, Role::None);
        assert_eq!(
            (all.within(home), all.within(work)),
            (Role::Viewer, Role::Admin)
        );
        assert_eq!(rights(&["write"]).everywhere, Role::Operator);
        assert_eq!(rights(&["admin"]).everywhere, Role::Admin);
        assert_eq!(rights(&[]), Rights::default());
        for text in [
            "",
            "all",
            "Read",
            "read:",
            "read:home",
            "read:8056c2e21c000001:x",
        ] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
        for text in ["read", "write:8056c2e21c000001"] {
            assert_eq!(text.parse::<Scope>().expect("a scope").to_string(), text);
        }
    }
}
