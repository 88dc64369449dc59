//! The handshake: Noise IKpsk2 as WireGuard speaks it, behind three small traits. This is the only file that knows which
//! library does it.
//!
//! | trait | per | what for |
//! |---|---|---|
//! | [`Noise`] | node | makes the other two |
//! | [`Door`] | network | looks at a stranger's message before any peer is known |
//! | [`Machine`] | peer of a network | one side of the handshake, and the sealed envelope for lane negotiation |
//!
//! The library's own timers are never run: when to start, repeat or forget a handshake is decided in `peer`,
//! on a clock that is passed in. No user packet passes through it either, so of a session it makes only two or three
//! short messages are ever sealed, and what its data path does with lengths and counters can be fenced in here:
//!
//! - Buffers are larger than any datagram that is let in, because the library panics on a short one.
//! - An index has 24 bits, because the library shifts it left by eight and would let two collide.
//! - Counters near 2^64 are refused before the library sees them, because its replay window does unchecked arithmetic.
//! - Its rate limiter counts against a hidden clock. So one limiter that is never under load checks first MACs, and one
//!   that always is checks cookies; which of the two is asked is decided by `gate`.

use std::{fmt, net::IpAddr, sync::Arc};

use boringtun::noise::{
    Packet, Tunn, TunnResult, errors::WireGuardError, handshake::parse_handshake_anon,
    rate_limiter::RateLimiter,
};
use sha2::{Digest as _, Sha256};
use tombolo_proto::{
    frame::{self, FrameKind, WireGuardKind},
    id::NetworkId,
    key::{TransportKey, TransportSecret},
};

/// Longest datagram that takes part in a handshake or a negotiation, made or taken: passes every IPv6 link unfragmented.
pub const MAX_DATAGRAM: usize = 1200;
/// Bytes that the envelope adds to a payload.
pub const ENVELOPE: usize = 32;
/// Room for any answer of the library; it wants what it is given and 148 bytes at least.
const BUFFER: usize = 2048;
/// The library's replay window, which it adds to counters without a check.
const LIBRARY_WINDOW: u64 = 1 << 13;

/// Says which machine of this node a handshake message is for. 24 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MachineIndex(u32);

impl MachineIndex {
    /// Takes the lowest 24 bits.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & 0x00ff_ffff)
    }

    /// The 24 bits.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// The machine that a handshake message other than an initiation is for. The lowest 8 bits of the index on the wire
/// count the sessions of one machine.
#[must_use]
pub fn receiver(kind: WireGuardKind, message: &[u8]) -> Option<MachineIndex> {
    let offset = match kind {
        WireGuardKind::Initiation => return None,
        WireGuardKind::Response => 8,
        WireGuardKind::Cookie | WireGuardKind::Transport => 4,
    };
    let bytes = message.get(offset..)?.first_chunk::<4>()?;
    Some(MachineIndex(u32::from_le_bytes(*bytes) >> 8))
}

/// The preshared key of a network: the same two nodes in another network never complete a handshake of this one.
#[must_use]
pub fn network_psk(network: NetworkId) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"tombolo/handshake/psk/v1")
        .chain_update(network.get().to_be_bytes())
        .finalize()
        .into()
}

/// Makes the parts of a handshake.
pub trait Noise: fmt::Debug + Send {
    /// The door of a network in which this node has the key `secret`.
    fn door(&self, secret: &TransportSecret) -> Arc<dyn Door>;

    /// This node's side of handshakes with `peer`.
    fn machine(
        &self,
        secret: &TransportSecret,
        peer: TransportKey,
        psk: [u8; 32],
        index: MachineIndex,
    ) -> Box<dyn Machine>;
}

/// Looks at messages of strangers. Shared with the fast path.
pub trait Door: fmt::Debug + Send + Sync {
    /// Whether an initiation carries the first MAC that only those who know this node's key can make. Allocates nothing.
    fn is_addressed_to_us(&self, initiation: &[u8]) -> bool;

    /// Whether an initiation carries a cookie this node gave to `source`; if not, the cookie reply to send there.
    fn check_cookie(&self, initiation: &[u8], source: IpAddr) -> Result<(), Vec<u8>>;

    /// Who claims to have sent an initiation. Costs one Diffie-Hellman operation.
    fn caller(&self, initiation: &[u8]) -> Option<TransportKey>;
}

/// What a machine made of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Received {
    /// A good initiation; this response is to be sent to where it came from.
    Answer(Vec<u8>),
    /// A good response: payloads can be sealed.
    Established,
    /// A payload from the envelope: an IPv4 packet. Payloads can be sealed.
    Payload(Vec<u8>),
    /// Good, and nothing to do.
    Nothing,
    /// An initiation whose timestamp is not above the last one: a replay, or the peer's clock went back.
    Stale,
    /// Does not verify.
    Refused,
}

/// One side of handshakes with one peer.
pub trait Machine: fmt::Debug + Send {
    /// A fresh initiation, whatever is under way.
    fn initiate(&mut self) -> Option<Vec<u8>>;

    /// Takes a message addressed to this machine.
    fn receive(&mut self, message: &[u8]) -> Received;

    /// Seals a small IPv4 packet for the peer, once established.
    fn seal(&mut self, payload: &[u8]) -> Option<Vec<u8>>;

    /// Erases established keys. What protects against replayed initiations stays.
    fn forget(&mut self);
}

/// The real handshake.
#[derive(Debug, Clone, Copy, Default)]
pub struct WireGuardNoise;

impl Noise for WireGuardNoise {
    fn door(&self, secret: &TransportSecret) -> Arc<dyn Door> {
        let public = boringtun::x25519::PublicKey::from(secret.expose());
        Arc::new(TunnDoor {
            secret: secret.clone(),
            public,
            calm: RateLimiter::new(&public, u64::MAX),
            strict: RateLimiter::new(&public, 0),
        })
    }

    fn machine(
        &self,
        secret: &TransportSecret,
        peer: TransportKey,
        psk: [u8; 32],
        index: MachineIndex,
    ) -> Box<dyn Machine> {
        let public = boringtun::x25519::PublicKey::from(secret.expose());
        let limiter = Arc::new(RateLimiter::new(&public, u64::MAX));
        let tunn = Tunn::new(
            secret.expose().clone(),
            peer.0.into(),
            Some(psk),
            None,
            index.get(),
            Some(Arc::clone(&limiter)),
        );
        Box::new(TunnMachine {
            tunn,
            secret: secret.clone(),
            limiter,
            established: false,
        })
    }
}

struct TunnDoor {
    secret: TransportSecret,
    public: boringtun::x25519::PublicKey,
    /// Never under load: checks the first MAC alone.
    calm: RateLimiter,
    /// Always under load: demands a cookie.
    strict: RateLimiter,
}

impl fmt::Debug for TunnDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TunnDoor({})", self.secret.public())
    }
}

impl Door for TunnDoor {
    fn is_addressed_to_us(&self, initiation: &[u8]) -> bool {
        is_initiation(initiation) && self.calm.verify_packet(None, initiation, &mut []).is_ok()
    }

    fn check_cookie(&self, initiation: &[u8], source: IpAddr) -> Result<(), Vec<u8>> {
        let mut reply = [0; BUFFER];
        match self
            .strict
            .verify_packet(Some(source), initiation, &mut reply)
        {
            Ok(_) => Ok(()),
            Err(TunnResult::WriteToNetwork(reply)) => Err(reply.to_vec()),
            Err(_) => Err(Vec::new()),
        }
    }

    fn caller(&self, initiation: &[u8]) -> Option<TransportKey> {
        let Ok(Packet::HandshakeInit(parsed)) = Tunn::parse_incoming_packet(initiation) else {
            return None;
        };
        let half = parse_handshake_anon(self.secret.expose(), &self.public, &parsed).ok()?;
        Some(TransportKey(half.peer_static_public))
    }
}

struct TunnMachine {
    tunn: Tunn,
    secret: TransportSecret,
    limiter: Arc<RateLimiter>,
    /// Without a session the library would queue what it is asked to seal.
    established: bool,
}

impl fmt::Debug for TunnMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TunnMachine(established: {})", self.established)
    }
}

impl Machine for TunnMachine {
    fn initiate(&mut self) -> Option<Vec<u8>> {
        let mut buffer = [0; BUFFER];
        written(self.tunn.format_handshake_initiation(&mut buffer, true))
    }

    fn receive(&mut self, message: &[u8]) -> Received {
        let Some(FrameKind::WireGuard(kind)) = frame::kind(message) else {
            return Received::Refused;
        };
        if message.len() > MAX_DATAGRAM || has_extreme_counter(kind, message) {
            return Received::Refused;
        }
        let mut buffer = [0; BUFFER];
        let result = self.tunn.decapsulate(None, message, &mut buffer);
        let received = match (kind, result) {
            (WireGuardKind::Initiation, TunnResult::WriteToNetwork(response)) => {
                Received::Answer(response.to_vec())
            }
            // What the library wants to send here is an empty keepalive; the lane offer takes its place.
            (WireGuardKind::Response, TunnResult::WriteToNetwork(_)) => Received::Established,
            (WireGuardKind::Transport, TunnResult::WriteToTunnelV4(packet, _)) => {
                Received::Payload(packet.to_vec())
            }
            (WireGuardKind::Cookie | WireGuardKind::Transport, TunnResult::Done) => {
                Received::Nothing
            }
            (_, TunnResult::Err(WireGuardError::WrongTai64nTimestamp)) => Received::Stale,
            _ => Received::Refused,
        };
        self.established |= matches!(received, Received::Established | Received::Payload(_));
        received
    }

    fn seal(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        if !self.established || payload.len() + ENVELOPE > MAX_DATAGRAM {
            return None;
        }
        let mut buffer = [0; BUFFER];
        written(self.tunn.encapsulate(payload, &mut buffer))
    }

    fn forget(&mut self) {
        self.established = false;
        let public = boringtun::x25519::PublicKey::from(self.secret.expose());
        // The one call that clears the library's sessions and leaves its memory of timestamps alone.
        self.tunn.set_static_private(
            self.secret.expose().clone(),
            public,
            Some(Arc::clone(&self.limiter)),
        );
    }
}

fn written(result: TunnResult<'_>) -> Option<Vec<u8>> {
    match result {
        TunnResult::WriteToNetwork(bytes) => Some(bytes.to_vec()),
        TunnResult::Done
        | TunnResult::Err(_)
        | TunnResult::WriteToTunnelV4(..)
        | TunnResult::WriteToTunnelV6(..) => None,
    }
}

fn is_initiation(message: &[u8]) -> bool {
    frame::kind(message) == Some(FrameKind::WireGuard(WireGuardKind::Initiation))
}

fn has_extreme_counter(kind: WireGuardKind, message: &[u8]) -> bool {
    let counter = message.get(8..).and_then(|rest| rest.first_chunk::<8>());
    kind == WireGuardKind::Transport
        && counter.is_none_or(|bytes| u64::from_le_bytes(*bytes) >= u64::MAX - LIBRARY_WINDOW)
}

#[cfg(test)]
mod tests;
