//! The near end of a measurement: idle round trips, then one direction after the other, with round trips beside them.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    Plan, SLACK,
    round_trips::RoundTrips,
    stream,
    wire::{Hello, PROTOCOL, Received, Refusal, Reply, Ticket, hear, say},
};

/// Enough for the first packet to make a session, with a lost initiation or two.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long round trips are taken without load.
const IDLE: Duration = Duration::from_secs(1);
/// Between one round trip and the next: dense enough for a 99th percentile of a second, too thin to be load itself.
const ECHO_PAUSE: Duration = Duration::from_millis(5);
/// Between two looks at how far it is.
const TICK: Duration = Duration::from_millis(200);
/// Between two signs of life on the control connection.
const BEAT: Duration = Duration::from_secs(1);

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// From here to the member.
    pub up: Transfer,
    /// From the member to here.
    pub down: Transfer,
    /// Round trips before there was load.
    pub idle: Option<RoundTrips>,
    /// Round trips beside the transfer to the member.
    pub beside_up: Option<RoundTrips>,
    /// Round trips beside the transfer from the member.
    pub beside_down: Option<RoundTrips>,
}

/// One direction, as counted where it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    /// Payload per second.
    pub bits_per_second: f64,
    /// Payload that arrived.
    pub bytes: u64,
    /// From the first byte to the last.
    pub seconds: f64,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Round trips without load.
    Idle,
    /// From here to the member.
    Up,
    /// From the member to here.
    Down,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Since the phase began.
    pub elapsed: Duration,
    /// Bytes handed over in this phase.
    pub bytes: u64,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// Nothing came back from the member's address.
    #[error("no answer: {0}")]
    NoAnswer(#[source] io::Error),
    /// The member is there, and nobody listens.
    #[error("nobody listens")]
    NotOffered,
    /// Somebody else measures.
    #[error("busy")]
    Busy,
    /// The two versions do not understand each other.
    #[error("another version")]
    OtherVersion,
    /// The connection broke after it was made.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
}

/// Measures the way to a member's daemon. Blocks until it is done; a member that vanishes is noticed after
/// [`super::PATIENCE`].
pub fn run(
    target: SocketAddr,
    plan: Plan,
    report: impl FnMut(Progress),
) -> Result<Measured, MeasureError> {
    let control = connect(target)?;
    let hello = Hello::Measure {
        protocol: PROTOCOL,
        flows: plan.flows,
        seconds: plan.seconds,
    };
    let Reply::Welcome { ticket } = greet(&control, &hello)? else {
        return Err(nonsense().into());
    };
    let echo = join(target, &Hello::Echo { ticket })?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let pinger = scope.spawn(|| ping(&echo, &is_over));
        let mut visit = Visit {
            target,
            plan,
            ticket,
            control: &control,
            last_beat: Instant::now(),
            report,
            is_cut: || pinger.is_finished(),
        };
        let measured = visit.measure();
        is_over.store(true, Relaxed);
        // The pinger may be waiting for an answer; one that is gone already is as it should be.
        let _ = echo.shutdown(Shutdown::Both);
        let samples = pinger.join().expect("it does not panic");
        // Its error first: it is the cause of the other.
        let samples = samples?;
        let [idle, up, down] = measured?;
        Ok(Measured {
            up: up.transfer,
            down: down.transfer,
            idle: idle.window.round_trips(&samples),
            beside_up: up.window.round_trips(&samples),
            beside_down: down.window.round_trips(&samples),
        })
    })
}

/// When a round trip began, and how long it took.
type Sample = (Instant, Duration);

/// One phase, done.
#[derive(Debug, Clone, Copy)]
struct Done {
    window: Window,
    transfer: Transfer,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    began: Instant,
    ended: Instant,
}

impl Window {
    fn round_trips(self, samples: &[Sample]) -> Option<RoundTrips> {
        let within = |began: &Instant| (self.began..self.ended).contains(began);
        let taken = samples.iter().filter(|(began, _)| within(began));
        RoundTrips::of(taken.map(|(_, took)| *took).collect())
    }
}

/// A measurement that the member has agreed to.
struct Visit<'a, Report, IsCut> {
    target: SocketAddr,
    plan: Plan,
    ticket: Ticket,
    control: &'a TcpStream,
    last_beat: Instant,
    report: Report,
    is_cut: IsCut,
}

impl<Report: FnMut(Progress), IsCut: Fn() -> bool> Visit<'_, Report, IsCut> {
    fn measure(&mut self) -> Result<[Done; 3], MeasureError> {
        Ok([
            self.rest()?,
            self.transfer(Phase::Up)?,
            self.transfer(Phase::Down)?,
        ])
    }

    fn rest(&mut self) -> io::Result<Done> {
        let began = Instant::now();
        while began.elapsed() < IDLE {
            self.tick(Phase::Idle, began, 0)?;
            thread::sleep(TICK);
        }
        let window = Window {
            began,
            ended: Instant::now(),
        };
        Ok(Done {
            window,
            transfer: Transfer::of(&[]),
        })
    }

    fn transfer(&mut self, phase: Phase) -> Result<Done, MeasureError> {
        let ticket = self.ticket;
        let hello = match phase {
            Phase::Up => Hello::Up { ticket },
            Phase::Down | Phase::Idle => Hello::Down { ticket },
        };
        let streams: Vec<TcpStream> = (0..self.plan.flows)
            .map(|_| join(self.target, &hello))
            .collect::<Result<_, _>>()?;
        let bytes = AtomicU64::new(0);
        let began = Instant::now();
        let until = began + self.plan.duration();
        let carried = thread::scope(|scope| {
            let (done, carried) = mpsc::channel();
            for stream in &streams {
                let (done, bytes) = (done.clone(), &bytes);
                scope.spawn(move || {
                    let outcome = match phase {
                        Phase::Up => send(stream, bytes, until),
                        Phase::Down | Phase::Idle => receive(stream, bytes, until),
                    };
                    // Whoever does not wait any more has an error already.
                    let _ = done.send(outcome);
                });
            }
            let carried = self.gather(&carried, || bytes.load(Relaxed), phase, began);
            if carried.is_err() {
                for stream in &streams {
                    let _ = stream.shutdown(Shutdown::Both);
                }
            }
            carried
        })?;
        let window = Window {
            began,
            ended: until,
        };
        Ok(Done {
            window,
            transfer: Transfer::of(&carried),
        })
    }

    /// Waits for what every connection has carried.
    fn gather(
        &mut self,
        carried: &mpsc::Receiver<io::Result<Received>>,
        bytes: impl Fn() -> u64,
        phase: Phase,
        began: Instant,
    ) -> io::Result<Vec<Received>> {
        let mut all = Vec::new();
        while all.len() < usize::from(self.plan.flows) {
            match carried.recv_timeout(TICK) {
                Ok(outcome) => all.push(outcome?),
                Err(mpsc::RecvTimeoutError::Timeout) => self.tick(phase, began, bytes())?,
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(nonsense()),
            }
        }
        Ok(all)
    }

    /// Tells how far it is, and the member that somebody is here; an error if the member is not.
    fn tick(&mut self, phase: Phase, began: Instant, bytes: u64) -> io::Result<()> {
        if (self.is_cut)() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if self.last_beat.elapsed() >= BEAT {
            self.last_beat = Instant::now();
            self.control.write_all(b".")?;
        }
        let elapsed = began.elapsed();
        (self.report)(Progress {
            phase,
            elapsed,
            bytes,
        });
        Ok(())
    }
}

impl Transfer {
    /// All connections together, over the time of the one that took longest.
    fn of(carried: &[Received]) -> Self {
        let bytes = carried.iter().map(|received| received.bytes).sum();
        let micros = carried.iter().map(|received| received.micros).max();
        let seconds = micros.unwrap_or_default() as f64 / 1e6;
        let bits = bytes as f64 * 8.0;
        Self {
            bits_per_second: if seconds > 0.0 { bits / seconds } else { 0.0 },
            bytes,
            seconds,
        }
    }
}

fn connect(target: SocketAddr) -> Result<TcpStream, MeasureError> {
    let connected = TcpStream::connect_timeout(&target, CONNECT_WITHIN);
    let stream = connected.map_err(|error| {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            MeasureError::NotOffered
        } else {
            MeasureError::NoAnswer(error)
        }
    })?;
    stream::prepare(&stream)?;
    Ok(stream)
}

/// Says what a connection is for, and takes the answer.
fn greet(mut stream: &TcpStream, hello: &Hello) -> Result<Reply, MeasureError> {
    say(&mut stream, hello)?;
    let reply = hear(&mut stream).map_err(|error| match (hello, error.kind()) {
        // Where no measurements are taken, the port may belong to streams of relayed frames.
        (
            Hello::Measure { .. },
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::InvalidData,
        ) => MeasureError::NotOffered,
        _ => error.into(),
    })?;
    match reply {
        Reply::Refused(Refusal::Busy) => Err(MeasureError::Busy),
        Reply::Refused(Refusal::Protocol | Refusal::Limits | Refusal::Other) => {
            Err(MeasureError::OtherVersion)
        }
        Reply::Refused(Refusal::Ticket) => Err(nonsense().into()),
        reply @ (Reply::Welcome { .. } | Reply::Go | Reply::Received(_)) => Ok(reply),
    }
}

/// One more connection of a measurement.
fn join(target: SocketAddr, hello: &Hello) -> Result<TcpStream, MeasureError> {
    let stream = connect(target)?;
    match greet(&stream, hello)? {
        Reply::Go => Ok(stream),
        Reply::Welcome { .. } | Reply::Received(_) | Reply::Refused(_) => Err(nonsense().into()),
    }
}

fn ping(mut stream: &TcpStream, is_over: &AtomicBool) -> io::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    while !is_over.load(Relaxed) {
        let sent = Instant::now();
        let question = (samples.len() as u64).to_be_bytes();
        let mut answer = [0; 8];
        let answered = stream
            .write_all(&question)
            .and_then(|()| stream.read_exact(&mut answer));
        match answered {
            Ok(()) if answer == question => samples.push((sent, sent.elapsed())),
            Ok(()) => return Err(nonsense()),
            Err(_) if is_over.load(Relaxed) => break,
            Err(error) => return Err(error),
        }
        thread::sleep(ECHO_PAUSE);
    }
    Ok(samples)
}

fn send(mut stream: &TcpStream, bytes: &AtomicU64, until: Instant) -> io::Result<Received> {
    stream::fill(stream, |written| {
        bytes.fetch_add(written, Relaxed);
        Instant::now() < until
    })?;
    stream.shutdown(Shutdown::Write)?;
    // What is under way has yet to arrive; whether the member is still there is the pinger's business.
    stream.set_read_timeout(Some(SLACK))?;
    match hear(&mut stream)? {
        Reply::Received(received) => Ok(received),
        Reply::Welcome { .. } | Reply::Go | Reply::Refused(_) => Err(nonsense()),
    }
}

fn receive(mut stream: &TcpStream, bytes: &AtomicU64, until: Instant) -> io::Result<Received> {
    stream.write_all(b".")?;
    let (total, took) = stream::empty(stream, |read| {
        bytes.fetch_add(read, Relaxed);
        Instant::now() < until + SLACK
    })?;
    Ok(Received {
        bytes: total,
        micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
    })
}

/// The member says what makes no sense here.
fn nonsense() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the member's answer makes no sense",
    )
}

#[cfg(test)]
mod tests;
