//! The host as Tombolo sees it: interfaces, addresses, routes. What to do is decided in [`tombolo_engine::reconcile`];
//! here it is observed and applied.

pub mod forwarding;
pub mod netlink;
pub(crate) mod nftables;
pub mod passage;
pub(crate) mod program;
pub mod queue_drops;
mod sysctl;
pub mod weak_host;

use std::collections::BTreeSet;

use tombolo_engine::{
    diagnosis::doctor::Obstacle,
    reconcile::{Family, HostAction, HostState, LinkName, LocalNetwork},
};

/// What the host looks like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The part that is ours.
    pub state: HostState,
    /// Networks that the host is directly connected to by other means.
    pub local: Vec<LocalNetwork>,
    /// Prefixes that somebody else routes, default routes apart.
    pub routed: Vec<LocalNetwork>,
    /// Global addresses of interfaces that are not ours: when they change, so does where this node can be reached.
    pub addresses: BTreeSet<std::net::IpAddr>,
    /// Interfaces whose machines have another router than this host, as far as can be told: all but bridges, and bridges
    /// with a default route.
    pub lans: BTreeSet<String>,
    /// Interfaces of default routes that are not ours.
    pub uplinks: BTreeSet<(Family, String)>,
    /// Rules and routes of others that use our mark or our table.
    pub intruders: Vec<Obstacle>,
}

/// A step that did not work.
#[derive(Debug)]
pub struct FailedAction {
    /// The step.
    pub action: HostAction,
    /// Why.
    pub error: anyhow::Error,
}

/// An operating system, or a stand-in for one.
pub trait Host: Send {
    /// Looks at the host; `links` are our TUN devices.
    fn observe(
        &mut self,
        links: &BTreeSet<LinkName>,
    ) -> impl Future<Output = anyhow::Result<Observed>> + Send;

    /// Takes the steps in order. One that fails does not stop the others.
    fn apply(&mut self, actions: &[HostAction]) -> impl Future<Output = Vec<FailedAction>> + Send;
}
