//! Why packets were dropped, and how many: counters, never log lines.
//!
//! All counters are relaxed atomics: each is exact, but two read at once may be of slightly different moments.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)*) => {
        /// Why a packet or datagram went no further.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $variant,)*
        }

        impl DropReason {
            /// Every reason, in order.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The name in reports and metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

drop_reasons! {
    /// Not exactly one IPv4 or IPv6 packet.
    NotIp = "not_ip",
    /// No member owns the destination, or it is this node's own.
    NoRoute = "no_route",
    /// The sender's certificate does not own the inner source address.
    SourceNotAllowed = "source_not_allowed",
    /// An access rule of the network does not allow it here.
    AccessRule = "access_rule",
    /// A fragment whose first fragment was not seen, where access rules ask for ports.
    Fragment = "fragment",
    /// A lane frame for a lane that does not exist (any more).
    UnknownLane = "unknown_lane",
    /// A lane frame that does not authenticate.
    BadTag = "bad_tag",
    /// A lane frame that was seen before, or is too old to tell.
    Replayed = "replayed",
    /// A part of a packet that fits no other part of it.
    BadFragment = "bad_fragment",
    /// A packet too large for the way to the peer, even in parts.
    TooBig = "too_big",
    /// The lane has sealed as many frames as its key may.
    Exhausted = "exhausted",
    /// Nothing that a node says to a node.
    UnknownFrame = "unknown_frame",
    /// A handshake message that is not addressed to this node, or belongs to no handshake under way.
    UnknownHandshake = "unknown_handshake",
    /// A well-formed handshake by somebody who is no member.
    UnknownPeer = "unknown_peer",
    /// A handshake message of a peer that does not verify, or a replay.
    BadHandshake = "bad_handshake",
    /// A lane or negotiation message that this version does not know.
    UnknownMessage = "unknown_message",
    /// More handshakes than one source may start, or more calls than one peer may ask for.
    RateLimited = "rate_limited",
    /// A queue was full.
    QueueFull = "queue_full",
    /// The peer could not be reached while the packet was worth sending.
    Unreachable = "unreachable",
    /// A super-packet whose headers do not fit what the kernel says about it.
    BadSuperPacket = "bad_super_packet",
    /// Marked for congestion on the way, and its endpoints do not do ECN (RFC 6040).
    Congestion = "congestion",
    /// Writing to the TUN device failed.
    TunWrite = "tun_write",
    /// Sending on the UDP socket failed.
    SocketSend = "socket_send",
    /// A frame to be relayed that is not; the relay's own counters say why.
    NotRelayed = "not_relayed",
    /// A relayed frame that comes from none of this node's relays.
    UnknownRelay = "unknown_relay",
}

/// Drops by reason.
#[derive(Debug)]
pub struct Counters([AtomicU64; DropReason::ALL.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; DropReason::ALL.len()])
    }
}

impl Counters {
    /// Counts one drop.
    pub fn count(&self, reason: DropReason) {
        self.0[reason as usize].fetch_add(1, Relaxed);
    }

    /// How many drops there were for `reason`.
    #[must_use]
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize].load(Relaxed)
    }

    /// The reasons that occurred.
    #[must_use]
    pub fn report(&self) -> BTreeMap<&'static str, u64> {
        DropReason::ALL
            .into_iter()
            .map(|reason| (reason.name(), self.get(reason)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

/// What passed between this node and one peer. Survives the peer's sessions.
#[derive(Debug, Default)]
pub struct PeerCounters {
    /// Inner packets delivered from the peer.
    pub rx_packets: AtomicU64,
    /// Bytes of those.
    pub rx_bytes: AtomicU64,
    /// Inner packets sealed for the peer.
    pub tx_packets: AtomicU64,
    /// Bytes of those.
    pub tx_bytes: AtomicU64,
    /// Lane frames of any kind that authenticated and came by the way that the peer is reached by: the sign that both live.
    pub heard: AtomicU64,
    /// Those that came by another way, which say nothing of the one in use.
    pub heard_elsewhere: AtomicU64,
    /// Packets that went no further.
    pub dropped: Counters,
}

impl PeerCounters {
    pub(crate) fn hear(&self) {
        self.heard.fetch_add(1, Relaxed);
    }

    pub(crate) fn hear_elsewhere(&self) {
        self.heard_elsewhere.fetch_add(1, Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.rx_packets.fetch_add(1, Relaxed);
        self.rx_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent_run(1, bytes);
    }

    pub(crate) fn sent_run(&self, packets: usize, bytes: usize) {
        self.tx_packets.fetch_add(packets as u64, Relaxed);
        self.tx_bytes.fetch_add(bytes as u64, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_distinct_snake_case_names_and_count_apart() {
        let counters = Counters::default();
        counters.count(DropReason::BadTag);
        counters.count(DropReason::BadTag);
        counters.count(DropReason::NotIp);

        assert_eq!(
            counters.report(),
            BTreeMap::from([("bad_tag", 2), ("not_ip", 1)])
        );
        let names: std::collections::BTreeSet<_> =
            DropReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), DropReason::ALL.len());
        assert!(names.iter().all(|name| {
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        }));
    }
}
