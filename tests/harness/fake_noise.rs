//! A handshake without cryptography and without a hidden clock: the second implementation of the engine's handshake
//! traits. It keeps the rules that the engine relies on: who may talk to whom by key and network, timestamps that must
//! rise, indices, answers that fit only their questions, envelopes that open only once a session is there.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tombolo_engine::session::{
    Door, ENVELOPE, MAX_DATAGRAM, Machine, MachineIndex, Noise, Received,
};
use tombolo_proto::key::{TransportKey, TransportSecret};

/// Sessions a machine remembers, like the real one.
const SESSIONS: usize = 8;

/// Makes fake handshakes for one node.
#[derive(Debug, Clone, Default)]
pub struct FakeNoise {
    /// The node's wall clock, as far as handshakes see it: rises by one with every initiation.
    pub clock: Arc<AtomicU64>,
    /// Public halves of this node's secrets, one per network: working one out takes longer than a fake handshake.
    publics: Arc<Mutex<BTreeMap<[u8; 32], TransportKey>>>,
}

impl FakeNoise {
    fn public(&self, secret: &TransportSecret) -> TransportKey {
        let mut publics = self.publics.lock().unwrap_or_else(PoisonError::into_inner);
        let key = secret.expose().to_bytes();
        *publics.entry(key).or_insert_with(|| secret.public())
    }
}

impl Noise for FakeNoise {
    fn door(&self, secret: &TransportSecret) -> Arc<dyn Door> {
        Arc::new(FakeDoor(self.public(secret)))
    }

    fn machine(
        &self,
        secret: &TransportSecret,
        peer: TransportKey,
        psk: [u8; 32],
        index: MachineIndex,
    ) -> Box<dyn Machine> {
        Box::new(FakeMachine {
            local: self.public(secret),
            remote: peer,
            psk,
            clock: Arc::clone(&self.clock),
            next_index: index.get() << 8,
            last_timestamp: None,
            initiated: VecDeque::new(),
            sessions: VecDeque::new(),
            current: None,
        })
    }
}

/// `1 0 0 0 | sender index | receiver key | sender key | psk | timestamp`.
const INITIATION: usize = 8 + 32 + 32 + 32 + 8;
/// `2 0 0 0 | sender index | receiver index | psk`.
const RESPONSE: usize = 12 + 32;

#[derive(Debug)]
struct FakeDoor(TransportKey);

impl Door for FakeDoor {
    fn is_addressed_to_us(&self, initiation: &[u8]) -> bool {
        initiation.len() == INITIATION && initiation[8..40] == self.0.0
    }

    fn check_cookie(&self, _initiation: &[u8], _source: IpAddr) -> Result<(), Vec<u8>> {
        Ok(())
    }

    fn caller(&self, initiation: &[u8]) -> Option<TransportKey> {
        Some(TransportKey(initiation.get(40..72)?.try_into().ok()?))
    }
}

#[derive(Debug, Clone, Copy)]
struct Session {
    local: u32,
    remote: u32,
}

#[derive(Debug)]
struct FakeMachine {
    local: TransportKey,
    remote: TransportKey,
    psk: [u8; 32],
    clock: Arc<AtomicU64>,
    next_index: u32,
    last_timestamp: Option<u64>,
    /// Our initiations that may still be answered: the last two, like the real one.
    initiated: VecDeque<u32>,
    sessions: VecDeque<Session>,
    current: Option<Session>,
}

impl FakeMachine {
    fn take_index(&mut self) -> u32 {
        let next = (self.next_index as u8).wrapping_add(1);
        self.next_index = self.next_index & !0xff | u32::from(next);
        self.next_index
    }

    fn remember(&mut self, session: Session) {
        self.sessions.push_back(session);
        if self.sessions.len() > SESSIONS {
            self.sessions.pop_front();
        }
    }

    fn receive_initiation(&mut self, message: &[u8]) -> Received {
        let is_right = message.len() == INITIATION
            && message[8..40] == self.local.0
            && message[40..72] == self.remote.0
            && message[72..104] == self.psk;
        if !is_right {
            return Received::Refused;
        }
        let timestamp = u64::from_be_bytes(message[104..].try_into().expect("8 bytes are left"));
        if self.last_timestamp.is_some_and(|last| timestamp <= last) {
            return Received::Stale;
        }
        self.last_timestamp = Some(timestamp);
        let session = Session {
            local: self.take_index(),
            remote: read_u32(message, 4),
        };
        self.remember(session);
        let mut response = vec![2, 0, 0, 0];
        response.extend_from_slice(&session.local.to_le_bytes());
        response.extend_from_slice(&session.remote.to_le_bytes());
        response.extend_from_slice(&self.psk);
        Received::Answer(response)
    }

    fn receive_response(&mut self, message: &[u8]) -> Received {
        if message.len() != RESPONSE || message[12..] != self.psk {
            return Received::Refused;
        }
        let session = Session {
            local: read_u32(message, 8),
            remote: read_u32(message, 4),
        };
        let Some(position) = self
            .initiated
            .iter()
            .position(|index| *index == session.local)
        else {
            return Received::Refused;
        };
        self.initiated.remove(position);
        self.remember(session);
        self.current = Some(session);
        Received::Established
    }

    fn receive_payload(&mut self, message: &[u8]) -> Received {
        let receiver = read_u32(message, 4);
        let session = self
            .sessions
            .iter()
            .find(|session| session.local == receiver)
            .copied();
        match session {
            Some(session) if message.len() >= 40 && message[8..40] == self.psk => {
                self.current = Some(session);
                Received::Payload(message[40..].to_vec())
            }
            Some(_) | None => Received::Refused,
        }
    }
}

impl Machine for FakeMachine {
    fn initiate(&mut self) -> Option<Vec<u8>> {
        let index = self.take_index();
        self.initiated.push_back(index);
        if self.initiated.len() > 2 {
            self.initiated.pop_front();
        }
        let mut message = vec![1, 0, 0, 0];
        message.extend_from_slice(&index.to_le_bytes());
        message.extend_from_slice(&self.remote.0);
        message.extend_from_slice(&self.local.0);
        message.extend_from_slice(&self.psk);
        message.extend_from_slice(&self.clock.fetch_add(1, Relaxed).to_be_bytes());
        Some(message)
    }

    fn receive(&mut self, message: &[u8]) -> Received {
        match message.first() {
            Some(1) => self.receive_initiation(message),
            Some(2) => self.receive_response(message),
            Some(4) => self.receive_payload(message),
            _ => Received::Refused,
        }
    }

    fn seal(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let session = self.current?;
        if payload.len() + ENVELOPE > MAX_DATAGRAM {
            return None;
        }
        let mut message = vec![4, 0, 0, 0];
        message.extend_from_slice(&session.remote.to_le_bytes());
        message.extend_from_slice(&self.psk);
        message.extend_from_slice(payload);
        Some(message)
    }

    fn forget(&mut self) {
        self.sessions.clear();
        self.current = None;
    }
}

fn read_u32(message: &[u8], at: usize) -> u32 {
    message
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
