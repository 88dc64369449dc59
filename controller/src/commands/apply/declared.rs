//! The file that `controller apply` reads.

use std::net::IpAddr;

use serde::Deserialize;
use tombolo_proto::{
    api::{AccessRules, MemberRoutes, NetworkSettings, NewNetwork},
    config::{Ipv4Range, RouteMode, V6Mode},
    id::NodeId,
    rules::Action,
};

use crate::commands::{Failure, network::range, rule};

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) v4: Option<String>,
    #[serde(default)]
    pub(super) v4_pools: Vec<String>,
    pub(super) subnet_pools: Option<Vec<String>>,
    pub(super) v6_modes: Option<Vec<V6Mode>>,
    pub(super) mtu: Option<u16>,
    pub(super) private: Option<bool>,
    pub(super) member_routes: Option<MemberRoutes>,
    #[serde(default)]
    pub(super) members: Vec<DeclaredMember>,
    #[serde(default)]
    pub(super) routes: Vec<DeclaredRoute>,
    pub(super) rules: Option<DeclaredRules>,
}

/// Access rules, as lines: the whole list, in order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeclaredRules {
    #[serde(default)]
    pub(super) default: Action,
    #[serde(default)]
    pub(super) list: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeclaredMember {
    pub(super) node: NodeId,
    pub(super) name: Option<String>,
    pub(super) authorized: Option<bool>,
    pub(super) addresses: Option<Vec<IpAddr>>,
    pub(super) tags: Option<Vec<String>>,
    pub(super) relay: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeclaredRoute {
    pub(super) target: String,
    pub(super) via: String,
    pub(super) mode: Option<RouteMode>,
    pub(super) metric: Option<u32>,
}

impl Declared {
    /// What creates the network where there is none of its name.
    pub(super) fn new_network(&self) -> Result<NewNetwork, Failure> {
        Ok(NewNetwork {
            name: self.name.clone(),
            v4: self.v4.clone(),
            settings: NetworkSettings {
                private: self.private,
                mtu: self.mtu,
                v4_pools: self.ranges()?,
                subnet_pools: self.subnet_pools.clone(),
                member_routes: self.member_routes,
                v6_modes: self.v6_modes.clone(),
            },
        })
    }

    /// The access rules, if the file has any.
    pub(super) fn access_rules(&self) -> Result<Option<AccessRules>, Failure> {
        let Some(declared) = &self.rules else {
            return Ok(None);
        };
        let rules = declared.list.iter().map(|text| {
            rule::line(text).map_err(|fault| Failure::Usage(format!("rule {text:?}: {fault}")))
        });
        Ok(Some(AccessRules {
            default: declared.default,
            rules: rules.collect::<Result<_, _>>()?,
        }))
    }

    /// The pools, if the file names any.
    pub(super) fn ranges(&self) -> Result<Option<Vec<Ipv4Range>>, Failure> {
        if self.v4_pools.is_empty() {
            return Ok(None);
        }
        let ranges = self.v4_pools.iter().map(|text| range(text));
        ranges.collect::<Result<_, _>>().map(Some)
    }
}
