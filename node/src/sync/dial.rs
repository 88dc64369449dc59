//! From a list of controllers to one that may speak for the authority. Several are tried at a time, a little apart; the
//! first that proves itself wins.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{sleep, timeout};
use tombolo_proto::{
    control::{PROTOCOL, PROTOCOL_MIN, ToController, ToNode},
    key::IdentityKey,
    link::HostPort,
};

use super::{
    Connected, Wanted,
    carriers::{Carrier, Carriers, HEAD_START},
    patience::Patience,
    transport::{Channel, Transport},
    trust::{Distrust, Trust},
};
use crate::names::lookup;

/// Handshake and greeting may take this long each: three lost packets in a row.
const ANSWER: Duration = Duration::from_secs(4);
/// Head start of a better candidate over the next (RFC 8305 section 8 recommends 250 ms).
const STAGGER: Duration = Duration::from_millis(250);
/// Name resolution must not eat up the time of a join.
const RESOLVE: Duration = Duration::from_secs(2);

/// Why no controller could be used, least hopeless first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Problem {
    /// Nobody answers.
    #[error("no controller answers at {0}: check the address, and that UDP or TCP to it is open")]
    Unreachable(String),
    /// No common version.
    #[error(
        "the controller at {0} speaks protocol versions {1} to {2} and this node {PROTOCOL_MIN} to {PROTOCOL}: update the older one"
    )]
    Incompatible(HostPort, u16, u16),
    /// It answers, but is not to be believed.
    #[error("the controller at {0} is refused: {1}")]
    Distrusted(HostPort, Distrust),
}

impl Problem {
    /// Whether somebody else answers in the authority's place: waiting will not help.
    #[must_use]
    pub const fn is_wrong_key(&self) -> bool {
        matches!(self, Self::Distrusted(_, Distrust::WrongKey))
    }
}

/// Connects to whichever controller answers first and proves itself. Only handshakes race: a hello is said to one
/// controller at a time, for a controller takes a second one of the same node as a sign that the first is dead. With
/// `only`, no other replica will do.
pub(super) async fn any(
    transport: &Arc<Transport>,
    wanted: &Wanted,
    only: Option<IdentityKey>,
    patience: Patience,
    carriers: Carriers,
) -> Result<(Connected, Channel), Problem> {
    let mut waiting = resolve(&wanted.controllers).await;
    let mut handshakes = FuturesUnordered::new();
    let names: Vec<String> = wanted.controllers.iter().map(HostPort::to_string).collect();
    let mut worst = Problem::Unreachable(names.join(", "));
    loop {
        if let Some((controller, address)) = waiting.pop_front() {
            handshakes.push(handshake(
                transport, controller, address, patience, carriers,
            ));
        }
        tokio::select! {
            Some(ended) = handshakes.next() => {
                let fitting = ended.filter(|(_, channel)| only.is_none_or(|key| key == channel.peer));
                if let Some((controller, channel)) = fitting {
                    match greet(channel, controller, &wanted.trust).await {
                        Ok(connected) => return Ok(connected),
                        Err(Some(problem)) => worst = worst.max(problem),
                        Err(None) => {}
                    }
                }
                if handshakes.is_empty() && waiting.is_empty() {
                    return Err(worst);
                }
            }
            () = sleep(STAGGER), if !waiting.is_empty() => {}
            else => return Err(worst),
        }
    }
}

async fn resolve(controllers: &[HostPort]) -> VecDeque<(HostPort, SocketAddr)> {
    let mut resolved = VecDeque::new();
    for controller in controllers {
        let places = lookup::places(controller.host(), controller.port(), RESOLVE).await;
        resolved.extend(
            places
                .into_iter()
                .map(|address| (controller.clone(), address)),
        );
    }
    resolved
}

/// By whichever of UDP and TCP is there first; the second is not tried while the first has its head start.
async fn handshake(
    transport: &Transport,
    controller: HostPort,
    address: SocketAddr,
    patience: Patience,
    carriers: Carriers,
) -> Option<(HostPort, Channel)> {
    let attempt = async |carrier: Carrier, within: Duration| match timeout(
        within,
        transport.connect(carrier, address, patience),
    )
    .await
    {
        Ok(Ok(channel)) => Some(channel),
        Ok(Err(error)) => {
            tracing::debug!(%controller, %address, ?carrier, %error, "A controller does not answer");
            None
        }
        Err(_) => None,
    };
    let [first, second] = carriers.order();
    let one = attempt(first, ANSWER);
    let other = async {
        sleep(HEAD_START).await;
        attempt(second, ANSWER.saturating_sub(HEAD_START)).await
    };
    let channel = first_of(one, other).await?;
    Some((controller, channel))
}

/// What the first of two that succeeds gives. Whoever fails leaves it to the other.
async fn first_of<T>(
    one: impl Future<Output = Option<T>>,
    other: impl Future<Output = Option<T>>,
) -> Option<T> {
    tokio::pin!(one, other);
    tokio::select! {
        given = &mut one => match given {
            Some(given) => Some(given),
            None => other.await,
        },
        given = &mut other => match given {
            Some(given) => Some(given),
            None => one.await,
        },
    }
}

/// Says hello and follows the chain of trust. `None` as an error means that there was no answer.
async fn greet(
    mut channel: Channel,
    controller: HostPort,
    trust: &Trust,
) -> Result<(Connected, Channel), Option<Problem>> {
    let welcome = match timeout(ANSWER, hello(&mut channel)).await {
        Ok(Ok(welcome)) => welcome,
        Ok(Err(error)) => {
            tracing::debug!(%controller, %error, "A controller does not greet");
            return Err(None);
        }
        Err(_) => return Err(None),
    };
    let (trust, replica) = (trust.clone(), channel.peer);
    let place = (controller, channel.address, channel.carrier());
    let judged = tokio::task::spawn_blocking(move || judge(welcome, place, replica, &trust)).await;
    let connected = judged.unwrap_or(Err(None))?;
    Ok((connected, channel))
}

/// What to think of a controller's first message. Takes as long as [`Trust::check`].
fn judge(
    welcome: ToNode,
    (controller, address, carrier): (HostPort, SocketAddr, Carrier),
    replica: IdentityKey,
    trust: &Trust,
) -> Result<Connected, Option<Problem>> {
    match welcome {
        ToNode::Welcome { protocol, .. } if !(PROTOCOL_MIN..=PROTOCOL).contains(&protocol) => {
            Err(Some(Problem::Incompatible(controller, protocol, protocol)))
        }
        ToNode::Welcome { root, keyring, .. } => match trust.check(root, &keyring, &replica) {
            Ok(_) => Ok(Connected {
                controller,
                replica,
                root,
                keyring,
                address,
                carrier,
            }),
            Err(distrust) => Err(Some(Problem::Distrusted(controller, distrust))),
        },
        ToNode::Incompatible { min, max } => Err(Some(Problem::Incompatible(controller, min, max))),
        ToNode::Unsupported { .. }
        | ToNode::Status { .. }
        | ToNode::Directory { .. }
        | ToNode::Endpoints { .. }
        | ToNode::RouteAnswer { .. }
        | ToNode::SubnetAnswer { .. }
        | ToNode::Rendezvous { .. }
        | ToNode::RendezvousAnswer { .. }
        | ToNode::Relay { .. }
        | ToNode::RelayAnswer { .. }
        | ToNode::EndpointsUpto { .. }
        | ToNode::Keyring(_) => Err(None),
    }
}

async fn hello(channel: &mut Channel) -> anyhow::Result<ToNode> {
    let software = concat!("tombolo-node ", env!("CARGO_PKG_VERSION")).to_owned();
    let hello = ToController::Hello {
        min: PROTOCOL_MIN,
        max: PROTOCOL,
        software,
    };
    channel.sender.send(&hello).await?;
    let answer = channel.receiver.receive().await?;
    answer.map_err(|variant| anyhow::anyhow!("unknown first message {variant}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tombolo_proto::{
        config::Keyring,
        id::{NodeId, Version},
        key::Seed,
        signed::Signed,
    };

    use super::*;

    #[test]
    fn a_controller_of_another_protocol_version_is_named_with_its_versions_and_ours() {
        for answer in [
            ToNode::Incompatible { min: 7, max: 9 },
            a_welcome(PROTOCOL + 1),
            a_welcome(0),
        ] {
            let problem = judged(answer).expect_err("no common version");
            let said = problem.expect("it has answered").to_string();
            assert!(said.contains("update the older one"), "{said}");
        }
    }

    #[test]
    fn a_welcome_in_a_version_of_ours_is_believed_if_the_chain_of_trust_holds() {
        assert!(judged(a_welcome(PROTOCOL)).is_ok());
    }

    #[test]
    fn whatever_else_comes_first_is_no_answer() {
        assert!(matches!(
            judged(ToNode::Unsupported { variant: 0 }),
            Err(None)
        ));
    }

    fn judged(answer: ToNode) -> Result<Connected, Option<Problem>> {
        let trust = Trust {
            authority: an_authority(),
            pinned: Some(key(1)),
            digest: None,
            keyring: None,
        };
        let controller = "192.0.2.1:9791".parse().expect("host and port");
        let address = "192.0.2.1:9791".parse().expect("an address");
        judge(answer, (controller, address, Carrier::Udp), key(2), &trust)
    }

    fn a_welcome(protocol: u16) -> ToNode {
        let keyring = Keyring {
            version: Version::first_epoch(1),
            replicas: BTreeSet::from([key(2)]),
            endpoints: Vec::new(),
        };
        let root = Seed::from_bytes([1; 32]).identity();
        ToNode::Welcome {
            protocol,
            root: root.public(),
            keyring: Signed::sign(&keyring, Keyring::scope(an_authority()), &root),
        }
    }

    fn an_authority() -> NodeId {
        "8056c2e21c".parse().expect("an address")
    }

    fn key(number: u8) -> IdentityKey {
        Seed::from_bytes([number; 32]).identity().public()
    }
}
