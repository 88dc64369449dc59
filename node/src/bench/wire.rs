//! The lines that the two ends of a measurement say to each other.

use std::{
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Version of what is said here. Another version is refused by name, so that it can be told to the user.
pub(super) const PROTOCOL: u32 = 1;
/// Longest line: many times what any of them needs.
const MAX_LINE: usize = 512;
/// How long a line may take to arrive in whole, whatever trickles in.
const LINE_WITHIN: Duration = Duration::from_secs(10);

/// Names a measurement that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Ticket(pub(super) u64);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Hello {
    Measure {
        protocol: u32,
        flows: u8,
        seconds: u8,
    },
    Echo {
        ticket: Ticket,
    },
    Up {
        ticket: Ticket,
    },
    Down {
        ticket: Ticket,
    },
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    Welcome { ticket: Ticket },
    Go,
    Received(Received),
    Refused(Refusal),
}

/// What arrived on one connection, and how long that took from its first byte to its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Received {
    pub(super) bytes: u64,
    pub(super) micros: u64,
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Refusal {
    /// Another measurement is under way.
    Busy,
    /// More flows or seconds than allowed.
    Limits,
    /// Another version is spoken here.
    Protocol,
    /// No such measurement is under way for this member, or it has its connections.
    Ticket,
    /// Something that a later version says.
    #[serde(other)]
    Other,
}

/// Says a line.
pub(super) fn say(to: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    to.write_all(&text)
}

/// Hears a line, and not a byte more: what follows belongs to whoever reads next. Reads time out by the stream's own
/// timeout; a line that trickles in is cut off as well.
pub(super) fn hear<Line: DeserializeOwned>(from: &mut impl Read) -> io::Result<Line> {
    let started = Instant::now();
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        from.read_exact(&mut byte)?;
        if byte == *b"\n" {
            return serde_json::from_slice(&line)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
        }
        if line.len() >= MAX_LINE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if started.elapsed() > LINE_WITHIN {
            return Err(io::ErrorKind::TimedOut.into());
        }
        line.extend(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_said_as_they_always_were() {
        let measure = Hello::Measure {
            protocol: 1,
            flows: 4,
            seconds: 3,
        };
        let received = Reply::Received(Received {
            bytes: 5,
            micros: 6,
        });
        assert_eq!(
            said(&measure),
            r#"{"measure":{"protocol":1,"flows":4,"seconds":3}}"#
        );
        assert_eq!(
            said(&Hello::Up { ticket: Ticket(7) }),
            r#"{"up":{"ticket":7}}"#
        );
        assert_eq!(said(&Reply::Go), r#""go""#);
        assert_eq!(said(&received), r#"{"received":{"bytes":5,"micros":6}}"#);
        assert_eq!(
            said(&Reply::Refused(Refusal::Busy)),
            r#"{"refused":"busy"}"#
        );
    }

    #[test]
    fn what_follows_a_line_is_left_to_the_next_reader() {
        let mut stream = &b"\"go\"\nrest"[..];

        let reply: Reply = hear(&mut stream).expect("a line");

        assert_eq!((reply, stream), (Reply::Go, &b"rest"[..]));
    }

    #[test]
    fn junk_long_lines_and_the_end_of_the_stream_are_refused() {
        let long = vec![b' '; MAX_LINE + 2];
        for junk in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\n",
            b"\xff\xff\n",
            b"{\"up\":{}}\n",
            b"{\"up\":{\"ticket\":-1}}\n",
            b"\"go\"",
            b"",
            &long,
        ] {
            assert!(hear::<Hello>(&mut &*junk).is_err(), "{junk:?}");
        }
    }

    #[test]
    fn a_refusal_of_a_later_version_is_understood_as_one() {
        let reply: Reply = hear(&mut &b"{\"refused\":\"moon\"}\n"[..]).expect("a line");
        assert_eq!(reply, Reply::Refused(Refusal::Other));
    }

    fn said(line: &impl Serialize) -> String {
        let mut text = Vec::new();
        say(&mut text, line).expect("memory takes everything");
        String::from_utf8(text).expect("text").trim_end().to_owned()
    }
}
