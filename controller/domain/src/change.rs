//! What a decision does to a network: whole new rows, so that a store applies them without thinking.

use tombolo_proto::key::IdentityKey;

use crate::{
    managed_route::{Route, RouteId},
    member::{Member, Request},
    settings::Settings,
};

/// One row that is written or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The network's settings become these.
    Settings(Settings),
    /// A request is recorded or renewed.
    RequestPut(Request),
    /// A request is gone.
    RequestRemoved(IdentityKey),
    /// A member becomes this.
    MemberPut(Member),
    /// A member is gone.
    MemberRemoved(IdentityKey),
    /// A route becomes this.
    RoutePut(Route),
    /// A route is gone.
    RouteRemoved(RouteId),
}

impl Change {
    /// Whether it moves the network's revision. Requests do not: strangers must not be able to.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::RequestPut(_) | Self::RequestRemoved(_) => false,
            Self::Settings(_)
            | Self::MemberPut(_)
            | Self::MemberRemoved(_)
            | Self::RoutePut(_)
            | Self::RouteRemoved(_) => true,
        }
    }
}
