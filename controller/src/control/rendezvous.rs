//! Introducing members that cannot reach each other: whoever is connected here is told whom to call.
//!
//! Replicas need no link for this. A node whose peer is connected to another replica visits that one: a short connection
//! that carries nothing else, and that leaves the node's place at its own replica alone.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tombolo_proto::{
    config::EndpointAnnouncement,
    control::{RendezvousOutcome, Standing, ToController, ToNode},
    id::NetworkId,
    key::IdentityKey,
    signed::Signed,
};

use super::{
    Close, Shared,
    connection::End,
    framing::{self, Received},
    relaying,
    requests::verify,
    stream::{Receiving, Sending},
};
use crate::{limiter::Limiter, networks::standing};

/// What a node may ask for at once: a gateway that starts and wants to reach everybody behind a NAT.
const BURST: u32 = 64;
/// And per second from then on. Each makes another node send some forty small datagrams at most, so a node that lies about
/// where it is has no more sent to anybody than it could send itself.
const PER_SECOND: u32 = 4;
/// A visitor that has nothing more to say goes by itself long before.
const VISIT_SILENCE: Duration = Duration::from_secs(60);

/// How often each node may ask, over all its connections to this replica.
#[derive(Debug)]
pub(super) struct Introductions(Mutex<Limiter<IdentityKey>>);

impl Default for Introductions {
    fn default() -> Self {
        Self(Mutex::new(Limiter::new(PER_SECOND, BURST)))
    }
}

impl Introductions {
    fn allows(&self, identity: IdentityKey, now: Instant) -> bool {
        let mut limiter = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        limiter.allows(identity, now)
    }
}

/// Tells `peer` to call `identity`, if both are members and the peer is connected here.
pub(super) async fn introduce(
    shared: &Shared,
    identity: IdentityKey,
    network: NetworkId,
    peer: IdentityKey,
    announcement: Signed<EndpointAnnouncement>,
) -> Result<RendezvousOutcome, End> {
    if !shared.introductions.allows(identity, Instant::now()) {
        return Ok(RendezvousOutcome::Busy);
    }
    verify(network, identity, &announcement)?;
    let are_members = shared.networks.load(network).await?.is_some_and(|loaded| {
        [identity, peer]
            .iter()
            .all(|member| standing(&loaded.network, member) == Standing::Member)
    });
    if !are_members {
        return Ok(RendezvousOutcome::Refused);
    }
    let outcome = shared
        .registry
        .introduce(network, &peer, identity, announcement);
    tracing::trace!(%network, ?outcome, "rendezvous");
    Ok(outcome)
}

/// Serves a node whose place is at another replica.
pub(super) async fn visit(
    shared: &Shared,
    identity: IdentityKey,
    first: Received,
    mut send: Sending,
    mut receive: Receiving,
) -> Result<(), End> {
    let mut next = Some(first);
    while let Some(received) = next {
        let answer = match received {
            Received::Message(ToController::Rendezvous {
                network,
                peer,
                announcement,
            }) => Some(ToNode::RendezvousAnswer {
                network,
                peer,
                outcome: introduce(shared, identity, network, peer, announcement).await?,
            }),
            Received::Message(ToController::Relay { network, message }) => {
                relaying::answer(shared, identity, network, message).await?
            }
            Received::Unknown(variant) => Some(ToNode::Unsupported { variant }),
            Received::Message(_) | Received::Malformed => {
                return Err(End::Close(Close::Malformed));
            }
        };
        if let Some(answer) = answer {
            framing::write(&mut send, &answer).await?;
        }
        next = tokio::time::timeout(VISIT_SILENCE, framing::read(&mut receive))
            .await
            .map_err(|_| End::Close(Close::Silent))?;
    }
    Ok(())
}
