//! Who is being served: one measurement at a time, within its limits. Pure.

use std::{net::IpAddr, time::Instant};

use super::{
    Plan,
    wire::{PROTOCOL, Refusal, Ticket},
};

/// The measurement under way, if there is one.
#[derive(Debug, Default)]
pub(super) struct Desk {
    current: Option<Visit>,
}

/// A measurement under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Visit {
    pub(super) ticket: Ticket,
    pub(super) plan: Plan,
    /// When it is over, however far it is.
    pub(super) ends: Instant,
    from: IpAddr,
    joined: u8,
}

impl Desk {
    /// A member wants to measure; `ticket` is random.
    pub(super) fn open(
        &mut self,
        protocol: u32,
        plan: Option<Plan>,
        from: IpAddr,
        ticket: Ticket,
        now: Instant,
    ) -> Result<Visit, Refusal> {
        if protocol != PROTOCOL {
            return Err(Refusal::Protocol);
        }
        let plan = plan.ok_or(Refusal::Limits)?;
        if self.current.is_some_and(|visit| now < visit.ends) {
            return Err(Refusal::Busy);
        }
        let visit = Visit {
            ticket,
            plan,
            ends: now + plan.longest(),
            from,
            joined: 0,
        };
        self.current = Some(visit);
        Ok(visit)
    }

    /// A further connection wants to belong to a measurement.
    pub(super) fn join(
        &mut self,
        ticket: Ticket,
        from: IpAddr,
        now: Instant,
    ) -> Result<Visit, Refusal> {
        let visit = self
            .current
            .as_mut()
            .filter(|visit| visit.ticket == ticket && visit.from == from && now < visit.ends)
            .filter(|visit| visit.joined < visit.plan.connections())
            .ok_or(Refusal::Ticket)?;
        visit.joined += 1;
        Ok(*visit)
    }

    /// A measurement is over; whether it was the one under way.
    pub(super) fn close(&mut self, ticket: Ticket) -> bool {
        self.current
            .take_if(|visit| visit.ticket == ticket)
            .is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(172, 27, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(172, 27, 0, 2));

    #[test]
    fn a_second_measurement_is_refused_until_the_first_is_over() {
        let (mut desk, now) = (Desk::default(), Instant::now());
        open(&mut desk, A, 1, now).expect("the desk is free");

        assert_eq!(open(&mut desk, B, 2, now), Err(Refusal::Busy));
        assert!(!desk.close(Ticket(2)));
        assert!(desk.close(Ticket(1)));
        assert!(open(&mut desk, B, 3, now).is_ok());
    }

    #[test]
    fn a_measurement_that_nobody_ends_ends_by_itself() {
        let (mut desk, now) = (Desk::default(), Instant::now());
        let visit = open(&mut desk, A, 1, now).expect("the desk is free");

        assert_eq!(
            visit.ends - now,
            Duration::from_secs(2 * 3) + super::super::SLACK
        );
        assert_eq!(desk.join(Ticket(1), A, visit.ends), Err(Refusal::Ticket));
        assert!(open(&mut desk, B, 2, visit.ends).is_ok());
    }

    #[test]
    fn limits_and_versions_are_refused_by_name() {
        let (mut desk, now) = (Desk::default(), Instant::now());
        assert_eq!(
            desk.open(PROTOCOL, Plan::new(17, 3), A, Ticket(1), now),
            Err(Refusal::Limits)
        );
        assert_eq!(
            desk.open(PROTOCOL, Plan::new(1, 61), A, Ticket(1), now),
            Err(Refusal::Limits)
        );
        assert_eq!(
            desk.open(PROTOCOL + 1, Plan::new(1, 1), A, Ticket(1), now),
            Err(Refusal::Protocol)
        );
        assert!(open(&mut desk, A, 1, now).is_ok());
    }

    #[test]
    fn connections_join_with_their_ticket_from_their_member_and_not_without_end() {
        let (mut desk, now) = (Desk::default(), Instant::now());
        open(&mut desk, A, 1, now).expect("the desk is free");

        assert_eq!(desk.join(Ticket(2), A, now), Err(Refusal::Ticket));
        assert_eq!(desk.join(Ticket(1), B, now), Err(Refusal::Ticket));
        for _ in 0..2 * 4 + 1 {
            assert!(desk.join(Ticket(1), A, now).is_ok());
        }
        assert_eq!(desk.join(Ticket(1), A, now), Err(Refusal::Ticket));
    }

    fn open(desk: &mut Desk, from: IpAddr, ticket: u64, now: Instant) -> Result<Visit, Refusal> {
        desk.open(PROTOCOL, Plan::new(4, 3), from, Ticket(ticket), now)
    }
}
