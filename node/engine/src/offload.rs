//! Super-packets: how the kernel and a node hand each other up to 64 KiB of one flow at a time.
//!
//! A TUN device with a virtio header gives and takes packets larger than its MTU. On the way out, a read brings one IP
//! header, one transport header and the payload of many segments; the checksum is left to do. [`segment`] writes the
//! packets that this stands for, each complete, into a send buffer, back to back with room around every one of them for
//! the lane header and the tag:
//!
//! ```text
//! TUN read    | virtio | IP | TCP | payload of 3 segments           |
//! send buffer | room IP TCP payload room | room IP TCP payload room | room IP TCP rest room |
//!               sealed in place, then sent with UDP_SEGMENT in one system call
//! ```
//!
//! On the way in it is the reverse: packets are opened in place where they were received, and [`coalesce`] gathers those
//! that follow each other in one flow, without moving them, into one super-packet for one vectored write.
//!
//! The measure for both is a plain forwarder: what an application sees, or what leaves another interface after the
//! kernel has cut a super-packet again, is packet for packet what would have been delivered one by one. So the rules for
//! what may be merged are those of Linux's own GRO, and where they would lose a bit the packet goes alone. One thing is
//! not kept: packets that may not be fragmented and all have the same identification come out with consecutive ones.
//! RFC 6864 section 4.1 gives that field no meaning for them.
//!
//! [`ecn`] carries congestion marks between inner and outer header. Nothing here allocates, keeps time or calls the
//! kernel.

pub mod checksum;
pub mod coalesce;
pub mod ecn;
mod flow;
mod group;
mod headers;
pub mod segment;
pub mod spread;
pub mod virtio;

#[cfg(test)]
mod naive;
#[cfg(test)]
mod sample;

/// Most segments of one UDP super-packet, both for a send with `UDP_SEGMENT` and for a write to a TUN.
///
/// `UDP_MAX_SEGMENTS` in `include/linux/udp.h`: 64 at first, 128 in newer kernels. 64 full segments exceed 64 KiB anyway.
pub const UDP_MAX_SEGMENTS: usize = 64;

/// Longest packet that a read from a TUN can bring: an IPv6 header and the largest length its field can state.
pub const MAX_SUPER_PACKET: usize = 40 + 65_535;
