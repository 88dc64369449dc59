//! Frames that go or come by a relay, and those that this node relays itself.

use std::net::SocketAddr;

use tombolo_proto::{
    frame::{self, FrameKind},
    relay::{PING_PAYLOAD, RELAY_HEADER, RelayHeader, RelayIndex, RelayKey, RelayOp},
};
use tombolo_relay::{Outlet, Verdict};

use super::{Inbound, Punt};
use crate::{
    counters::DropReason,
    fib::Fib,
    path::way::{Circuit, Way},
    relay::RelayRoute,
};

/// How to send by a relay.
#[derive(Debug, Clone)]
pub struct ByRelay {
    /// Where the relay is.
    pub at: SocketAddr,
    key: RelayKey,
    circuit: Circuit,
}

impl ByRelay {
    /// Writes the relay's header to the front of `frame`: [`RELAY_HEADER`] bytes of room, and a sealed frame.
    pub fn wrap(&self, frame: &mut [u8]) {
        let header = RelayHeader {
            op: RelayOp::Forward,
            index: RelayIndex(self.circuit.0),
        };
        header.write(&self.key, frame);
    }
}

impl RelayRoute {
    fn is_at(&self, from: SocketAddr) -> bool {
        self.at == from || self.also == Some(from)
    }

    pub(crate) fn toward(&self, circuit: Circuit) -> ByRelay {
        ByRelay {
            at: self.at,
            key: self.key.clone(),
            circuit,
        }
    }
}

impl Fib {
    /// How to send by a way, if it is one by a relay that works.
    #[must_use]
    pub fn by_relay(&self, way: Way) -> Option<ByRelay> {
        let Way::Relay { relay, circuit } = way else {
            return None;
        };
        let route = self.relays.iter().find(|route| route.slot == relay)?;
        Some(route.toward(circuit))
    }

    pub(super) fn relayed_frame(&self, from: SocketAddr, frame: &mut [u8]) -> Inbound {
        let Some(header) = RelayHeader::decode(frame) else {
            return self.drop_inbound(DropReason::UnknownFrame);
        };
        match header.op {
            RelayOp::Forward | RelayOp::Ping => match self.relay.take(Outlet::Udp(from), frame) {
                Verdict::Forward(to) => Inbound::Relayed(to),
                Verdict::Answer => Inbound::Relayed(Outlet::Udp(from)),
                Verdict::Drop => self.drop_inbound(DropReason::NotRelayed),
            },
            RelayOp::Deliver | RelayOp::Pong => {
                let relay = self
                    .relays
                    .iter()
                    .find(|route| route.is_at(from) && header.verify(&route.key, frame));
                match relay {
                    Some(route) => self.take_delivery(route, header, frame),
                    None => self.drop_inbound(DropReason::UnknownRelay),
                }
            }
        }
    }

    /// The tag has been verified.
    fn take_delivery(&self, route: &RelayRoute, header: RelayHeader, frame: &mut [u8]) -> Inbound {
        let payload = frame.get_mut(RELAY_HEADER..).unwrap_or_default();
        if header.op == RelayOp::Pong {
            let counter = payload.first_chunk::<PING_PAYLOAD>();
            return match counter {
                Some(counter) if header.index == route.index => Inbound::Punt(Punt::RelayPong {
                    relay: route.slot,
                    counter: u64::from_le_bytes(*counter),
                }),
                Some(_) | None => self.drop_inbound(DropReason::UnknownFrame),
            };
        }
        if let Some(FrameKind::Relay | FrameKind::Stun) | None = frame::kind(payload) {
            return self.drop_inbound(DropReason::UnknownFrame);
        }
        let way = Way::Relay {
            relay: route.slot,
            circuit: Circuit(header.index.0),
        };
        match self.inbound_by(way, payload) {
            Inbound::Deliver {
                network,
                packet,
                note,
            } => Inbound::Deliver {
                network,
                packet: packet.start + RELAY_HEADER..packet.end + RELAY_HEADER,
                note,
            },
            Inbound::Part {
                lane,
                counter,
                payload,
                note,
            } => Inbound::Part {
                lane,
                counter,
                payload: payload.start + RELAY_HEADER..payload.end + RELAY_HEADER,
                note,
            },
            other @ (Inbound::Punt(_) | Inbound::Relayed(_) | Inbound::Drop(_)) => other,
        }
    }
}
