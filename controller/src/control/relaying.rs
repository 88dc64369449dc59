//! This controller as a relay: who may be its client is decided here, on the connection that proves who a node is. The
//! frames themselves come on the relay's own socket (`crate::relay`).

use std::time::Instant;

use tombolo_proto::{
    control::{Standing, ToNode},
    id::NetworkId,
    key::IdentityKey,
    relay::{RelayMessage, RelayRefusal},
};

use super::{Shared, connection::End};
use crate::networks::standing;

/// What to answer a node that speaks to this controller as a relay. Members are served while the store is away, too.
pub(super) async fn answer(
    shared: &Shared,
    identity: IdentityKey,
    network: NetworkId,
    message: RelayMessage,
) -> Result<Option<ToNode>, End> {
    let is_member = shared
        .networks
        .load(network)
        .await?
        .is_some_and(|loaded| standing(&loaded.network, &identity) == Standing::Member);
    let answer = if is_member {
        let now = Instant::now();
        shared
            .relay
            .handle_message(network, identity, &message, &mut rand::rng(), now)
    } else {
        Some(RelayMessage::Refused {
            peer: None,
            reason: RelayRefusal::NotAMember,
        })
    };
    Ok(answer.map(|message| ToNode::RelayAnswer {
        network,
        port: shared.relay_port,
        message,
    }))
}
