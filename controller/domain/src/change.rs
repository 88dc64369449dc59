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

#[derive(PartialEq, Eq)]
enum Row<'a> {
    Settings,
    Request(&'a IdentityKey),
    Member(&'a IdentityKey),
    Route(RouteId),
}

impl Change {
    /// Whether both say what becomes of the same row.
    #[must_use]
    pub fn is_about_the_row_of(&self, other: &Self) -> bool {
        self.row() == other.row()
    }

    const fn row(&self) -> Row<'_> {
        match self {
            Self::Settings(_) => Row::Settings,
            Self::RequestPut(Request { identity, .. }) | Self::RequestRemoved(identity) => {
                Row::Request(identity)
            }
            Self::MemberPut(Member { identity, .. }) | Self::MemberRemoved(identity) => {
                Row::Member(identity)
            }
            Self::RoutePut(Route { id, .. }) | Self::RouteRemoved(id) => Row::Route(*id),
        }
    }

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
