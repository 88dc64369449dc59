//! What carries the control channel: UDP, or TCP where no UDP passes. Both are tried, one a little ahead of the other.
//!
//! UDP goes first, unless TCP had to do last time. While TCP has to do, UDP is tried beside it, ever more rarely. A network
//! may let handshakes over UDP through and throttle what follows: a connection over UDP that falls silent when it has hardly
//! begun puts TCP first again.

use std::time::Duration;

/// Head start of the first over the second: a lost first datagram is sent again within it (RFC 9002 section 6.2.2).
pub(super) const HEAD_START: Duration = Duration::from_secs(1);
/// Before UDP is tried again beside a connection over TCP; doubles.
const FIRST_TRY: Duration = Duration::from_secs(5);
/// At most so long: a hundred kilobytes an hour where UDP never passes.
const LAST_TRY: Duration = Duration::from_secs(120);
/// A connection over UDP that lived this long shows that UDP can be relied on.
const STEADY: Duration = Duration::from_secs(10);

/// What a connection goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// QUIC.
    Udp,
    /// TLS.
    Tcp,
}

impl Carrier {
    /// As in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// What is to be tried first, and when UDP is to be tried again.
#[derive(Debug, Clone, Copy)]
pub struct Carriers {
    first: Carrier,
    next_try: Duration,
}

impl Default for Carriers {
    fn default() -> Self {
        Self {
            first: Carrier::Udp,
            next_try: FIRST_TRY,
        }
    }
}

impl Carriers {
    /// In the order in which they are tried.
    #[must_use]
    pub const fn order(&self) -> [Carrier; 2] {
        match self.first {
            Carrier::Udp => [Carrier::Udp, Carrier::Tcp],
            Carrier::Tcp => [Carrier::Tcp, Carrier::Udp],
        }
    }

    /// A connection is there.
    pub const fn handle_connected(&mut self, carrier: Carrier) {
        self.first = carrier;
    }

    /// How long to wait before UDP is tried beside a connection over TCP.
    pub fn next_try(&mut self) -> Duration {
        let pause = self.next_try;
        self.next_try = (pause * 2).min(LAST_TRY);
        pause
    }

    /// UDP answers again: it goes first.
    pub const fn handle_udp_back(&mut self) {
        self.first = Carrier::Udp;
    }

    /// A connection has ended after it lived so long, by falling silent or otherwise.
    pub fn handle_ended(&mut self, carrier: Carrier, lived: Duration, fell_silent: bool) {
        if carrier == Carrier::Tcp {
            return;
        }
        if lived >= STEADY {
            self.next_try = FIRST_TRY;
        } else if fell_silent {
            self.first = Carrier::Tcp;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_worked_last_goes_first() {
        let mut carriers = Carriers::default();
        assert_eq!(carriers.order(), [Carrier::Udp, Carrier::Tcp]);

        carriers.handle_connected(Carrier::Tcp);
        assert_eq!(carriers.order(), [Carrier::Tcp, Carrier::Udp]);

        carriers.handle_udp_back();
        assert_eq!(carriers.order(), [Carrier::Udp, Carrier::Tcp]);
    }

    #[test]
    fn while_tcp_has_to_do_udp_is_tried_ever_more_rarely_until_it_has_proved_itself() {
        let mut carriers = Carriers::default();

        let pauses: Vec<u64> = (0..7).map(|_| carriers.next_try().as_secs()).collect();

        assert_eq!(pauses, [5, 10, 20, 40, 80, 120, 120]);
        carriers.handle_ended(Carrier::Udp, STEADY, true);
        assert_eq!(carriers.next_try(), FIRST_TRY);
    }

    #[test]
    fn where_udp_is_throttled_tcp_goes_first_again() {
        let mut carriers = Carriers::default();
        carriers.next_try();
        carriers.handle_connected(Carrier::Udp);

        carriers.handle_ended(Carrier::Udp, Duration::from_secs(2), true);

        assert_eq!(carriers.order(), [Carrier::Tcp, Carrier::Udp]);
        assert_eq!(carriers.next_try(), FIRST_TRY * 2);
        // A controller that goes in good order says nothing about UDP.
        carriers.handle_udp_back();
        carriers.handle_ended(Carrier::Udp, Duration::from_secs(2), false);
        assert_eq!(carriers.order(), [Carrier::Udp, Carrier::Tcp]);
    }
}
