//! Ways to a peer, and which of them to take.
//!
//! A peer may be reached at several places: in the same LAN, at a public address, at what its NAT made of it, by a relay.
//! `Paths` keeps them all, each with what pings said of it, and follows three rules:
//!
//! - **Stay.** The way in use stays in use as long as it works. Another one takes over only if it is clearly better
//!   (`Rank` first, then the round-trip time) and has answered a whole series of pings; two are enough to leave a relay.
//! - **Leave at once** when the way in use is silent although packets go out on it: what answers, takes over.
//! - **Follow** a peer that speaks from elsewhere, once it has answered there, unless the way in use answers as well.
//!
//! Among relays the side with the lower key chooses by those rules, and the other follows it; so both send by the same one,
//! and keep no second one busy.
//!
//! While data flows, the best two others are asked now and then, so that there is something to change over to, and NATs
//! on them stay open. A session on which nothing flows asks nobody.

mod rank;
mod table;
pub mod way;

pub(crate) use rank::{Rank, is_stream};
pub(crate) use table::{Paths, Sign, Standby, Tried};
