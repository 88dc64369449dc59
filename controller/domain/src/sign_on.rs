//! What somebody may do for whom an identity provider vouches.

use std::collections::BTreeSet;

use tombolo_proto::{api::Role, id::NetworkId};

use crate::rights::Rights;

/// A role, and whom it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// A group or role as the provider calls it; none: everybody whom it lets in.
    pub value: Option<String>,
    /// What they may do.
    pub role: Role,
    /// In this network only.
    pub network: Option<NetworkId>,
}

/// What all grants together allow somebody of whom the provider says these values. None if that is nothing.
#[must_use]
pub fn granted(grants: &[Grant], values: &BTreeSet<String>) -> Option<Rights> {
    let mut rights = Rights::default();
    for grant in grants {
        let is_meant = grant
            .value
            .as_ref()
            .is_none_or(|value| values.contains(value));
        if !is_meant {
            continue;
        }
        let role = match grant.network {
            Some(network) => rights.networks.entry(network).or_default(),
            None => &mut rights.everywhere,
        };
        *role = grant.role.max(*role);
    }
    (rights.anywhere() > Role::None).then_some(rights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_of_the_roles_counts_everywhere_and_in_each_network() {
        let network: NetworkId = "8056c2e21c000001".parse().expect("an id");
        let grants = [
            grant("ops", Role::Operator, None),
            grant("staff", Role::Viewer, None),
            grant("staff", Role::Admin, Some(network)),
            grant("ops", Role::Viewer, Some(network)),
        ];

        let rights = granted(&grants, &values(&["staff", "ops", "other"])).expect("roles");

        assert_eq!(rights.everywhere, Role::Operator);
        assert_eq!(rights.within(network), Role::Admin);
        let staff = granted(&grants, &values(&["staff"])).expect("roles");
        assert_eq!(staff.everywhere, Role::Viewer);
    }

    #[test]
    fn who_is_in_no_group_may_nothing_unless_a_role_is_for_everybody() {
        let mut grants = vec![
            grant("ops", Role::Admin, None),
            grant("x", Role::None, None),
        ];
        for strangers in [values(&[]), values(&["Ops", "op", "x"])] {
            assert_eq!(granted(&grants, &strangers), None, "{strangers:?}");
        }

        grants.push(Grant {
            value: None,
            role: Role::Viewer,
            network: None,
        });

        let rights = granted(&grants, &values(&[])).expect("a role");
        assert_eq!(rights, Rights::everywhere(Role::Viewer));
    }

    fn grant(value: &str, role: Role, network: Option<NetworkId>) -> Grant {
        Grant {
            value: Some(value.to_owned()),
            role,
            network,
        }
    }

    fn values(of: &[&str]) -> BTreeSet<String> {
        of.iter().map(|&value| value.to_owned()).collect()
    }
}
