//! The far end of a measurement: serves one connection after its TCP handshake.

use std::{
    io::{self, Read as _},
    net::{IpAddr, Shutdown, TcpStream},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use rand::Rng as _;

use super::{
    PATIENCE, Plan,
    desk::{Desk, Visit},
    stream,
    wire::{Hello, Received, Refusal, Reply, Ticket, hear, say},
};

/// What all connections of a daemon share.
#[derive(Debug, Default)]
pub(crate) struct Responder {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    desk: Desk,
    /// Connections of the measurement under way, to be cut when it ends.
    streams: Vec<TcpStream>,
}

impl Responder {
    /// Serves a connection of a member to its end. Blocks; needs a thread.
    pub(crate) fn serve(&self, stream: &TcpStream, from: IpAddr) -> io::Result<()> {
        stream::prepare(stream)?;
        let mut lines = stream;
        let hello = hear(&mut lines)?;
        let (protocol, plan) = match hello {
            Hello::Measure {
                protocol,
                flows,
                seconds,
            } => (protocol, Plan::new(flows, seconds)),
            Hello::Echo { ticket } | Hello::Up { ticket } | Hello::Down { ticket } => {
                return match self.join(ticket, from, stream)? {
                    Ok(visit) => {
                        say(&mut lines, &Reply::Go)?;
                        carry(hello, stream, visit)
                    }
                    Err(refusal) => say(&mut lines, &Reply::Refused(refusal)),
                };
            }
        };
        let ticket = Ticket(rand::rng().random());
        match self.open(protocol, plan, from, ticket) {
            Ok(visit) => {
                tracing::debug!(%from, "Measurement begins");
                let done = say(&mut lines, &Reply::Welcome { ticket })
                    .and_then(|()| attend(stream, visit.ends));
                self.close(ticket);
                tracing::debug!(%from, "Measurement over");
                done
            }
            Err(refusal) => say(&mut lines, &Reply::Refused(refusal)),
        }
    }

    fn open(
        &self,
        protocol: u32,
        plan: Option<Plan>,
        from: IpAddr,
        ticket: Ticket,
    ) -> Result<Visit, Refusal> {
        let mut open = self.lock();
        let visit = open
            .desk
            .open(protocol, plan, from, ticket, Instant::now())?;
        // Of one whose time has run out.
        open.cut();
        Ok(visit)
    }

    fn join(
        &self,
        ticket: Ticket,
        from: IpAddr,
        stream: &TcpStream,
    ) -> io::Result<Result<Visit, Refusal>> {
        let cut_later = stream.try_clone()?;
        let mut open = self.lock();
        let joined = open.desk.join(ticket, from, Instant::now());
        if joined.is_ok() {
            open.streams.push(cut_later);
        }
        Ok(joined)
    }

    fn close(&self, ticket: Ticket) {
        let mut open = self.lock();
        if open.desk.close(ticket) {
            open.cut();
        }
    }

    /// Breaks off, as a daemon does that ends.
    #[cfg(test)]
    pub(super) fn cut(&self) {
        self.lock().cut();
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while it is held.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn cut(&mut self) {
        for stream in self.streams.drain(..) {
            // One that is closed already is as it should be.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Waits until the other side has gone, is silent, or its time is over.
fn attend(mut control: &TcpStream, ends: Instant) -> io::Result<()> {
    let mut beats = [0; 64];
    loop {
        let left = ends.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        control.set_read_timeout(Some(left.min(PATIENCE * 2)))?;
        if control.read(&mut beats)? == 0 {
            return Ok(());
        }
    }
}

fn carry(hello: Hello, mut stream: &TcpStream, visit: Visit) -> io::Result<()> {
    match hello {
        Hello::Echo { .. } => {
            stream.set_read_timeout(Some(PATIENCE * 2))?;
            stream::echo(stream, visit.ends)
        }
        Hello::Up { .. } => {
            stream.set_read_timeout(Some(PATIENCE * 2))?;
            let (bytes, took) = stream::empty(stream, |_| Instant::now() < visit.ends)?;
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            say(&mut stream, &Reply::Received(Received { bytes, micros }))
        }
        Hello::Down { .. } => {
            // All connections of a transfer are made before the first of them starts.
            stream.set_read_timeout(Some(PATIENCE * 2))?;
            stream.read_exact(&mut [0])?;
            let ends = visit.ends.min(Instant::now() + visit.plan.duration());
            stream::fill(stream, |_| Instant::now() < ends)?;
            stream.shutdown(Shutdown::Write)?;
            // Closing with unread input would reset the connection and lose what is under way.
            stream::empty(stream, |_| Instant::now() < visit.ends).map(|_| ())
        }
        Hello::Measure { .. } => Ok(()),
    }
}
