//! Received packets into super-packets, without moving them.
//!
//! A [`Coalescer`] is given the packets of one receive batch in order, as places in the memory they were received and
//! opened in. Packets of one flow that follow each other become one [`Delivery`]: a virtio header and the slices for one
//! vectored write to the TUN. Several flows are gathered at a time, so that flows which arrive interleaved are merged all
//! the same; at the end of the batch everything is handed out, so nothing ever waits.
//!
//! Order is kept within every flow: a packet that cannot join its flow's group sends that group out before itself, and so
//! does a packet that goes alone. A fragment sends out every group between its two addresses, because it does not say
//! which flow it is of. Between flows the order may change, as it may on the way.
//!
//! What may be merged is said in the modules `flow` (for one packet) and `group` (for two).

use std::ops::Range;

use super::{
    flow::{Addresses, Candidate, CandidateKind, Class, Flow, classify},
    group::{Group, Joined, MAX_PACKETS, Span},
    headers::Version,
    virtio::VirtioHeader,
};

/// Flows gathered at a time. A batch rarely holds more that are busy, and the search for a flow stays short; Linux's GRO
/// has as many per bucket (`MAX_GRO_SKBS`).
const GROUPS: usize = 8;

/// Which super-packets the kernel takes from this TUN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merges {
    /// TCP over IPv4.
    pub tcp4: bool,
    /// TCP over IPv6.
    pub tcp6: bool,
    /// UDP over IPv4; since Linux 6.2.
    pub udp4: bool,
    /// UDP over IPv6; since Linux 6.2.
    pub udp6: bool,
}

impl Merges {
    /// All that there are.
    pub const ALL: Self = Self {
        tcp4: true,
        tcp6: true,
        udp4: true,
        udp6: true,
    };
    /// Every packet alone: for a TUN without a virtio header.
    pub const NONE: Self = Self {
        tcp4: false,
        tcp6: false,
        udp4: false,
        udp6: false,
    };

    const fn allow(self, candidate: &Candidate) -> bool {
        match (candidate.kind, candidate.flow.version) {
            (CandidateKind::Tcp { .. }, Version::V4) => self.tcp4,
            (CandidateKind::Tcp { .. }, Version::V6) => self.tcp6,
            (CandidateKind::Udp, Version::V4) => self.udp4,
            (CandidateKind::Udp, Version::V6) => self.udp6,
        }
    }
}

/// One write to the TUN: a packet or a super-packet.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// What goes before it.
    pub header: VirtioHeader,
    memory: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Delivery<'a> {
    /// Most slices there can be.
    pub const MAX_SLICES: usize = MAX_PACKETS;

    /// Its bytes in order, the virtio header not among them: one slice per packet that was merged.
    pub fn slices(&self) -> impl ExactSizeIterator<Item = &'a [u8]> {
        let memory = self.memory;
        self.spans
            .iter()
            .map(move |span| span.of(memory).unwrap_or_default())
    }

    /// How many packets were merged.
    #[must_use]
    pub const fn packets(&self) -> usize {
        self.spans.len()
    }
}

/// Gathers the packets of a batch by flow. Made once and used for every batch; `K` names the TUN that a packet is for.
#[derive(Debug)]
pub struct Coalescer<K> {
    slots: [Slot<K>; GROUPS],
    /// The slot of the last packet: most often that of the next one too.
    recent: usize,
    /// How many groups have been opened.
    opened: u64,
}

#[derive(Debug)]
struct Slot<K> {
    open: Option<Open<K>>,
    spans: [Span; MAX_PACKETS],
}

#[derive(Debug, Clone, Copy)]
struct Open<K> {
    tun: K,
    group: Group,
    /// Groups are handed out in the order they were opened.
    number: u64,
}

impl<K> Default for Coalescer<K> {
    fn default() -> Self {
        Self {
            slots: std::array::from_fn(|_| Slot {
                open: None,
                spans: [Span::default(); MAX_PACKETS],
            }),
            recent: 0,
            opened: 0,
        }
    }
}

impl<K: Copy + PartialEq> Coalescer<K> {
    /// Takes the inner packet at `packet` of `memory`, for `tun`. What is ready by this goes to `deliver`.
    ///
    /// Until [`Self::flush`] the memory must be the same for every call, and the packets in it must stay as they are. A
    /// place beyond its end is no packet and is ignored.
    pub fn push(
        &mut self,
        tun: K,
        merges: Merges,
        memory: &mut [u8],
        packet: Range<usize>,
        mut deliver: impl FnMut(K, Delivery<'_>),
    ) {
        let span = Span::new(&packet);
        let Some(bytes) = span.of(memory) else {
            return;
        };
        match classify(bytes) {
            Class::Mergeable(candidate) if merges.allow(&candidate) => {
                self.merge(tun, memory, candidate, span, &mut deliver);
            }
            Class::Mergeable(Candidate { flow, .. }) | Class::Alone(flow) => {
                if let Some(slot) = self.find(tun, &flow) {
                    self.close(slot, memory, &mut deliver);
                }
                alone(tun, memory, span, &mut deliver);
            }
            Class::Between(addresses) => {
                self.close_between(tun, &addresses, memory, &mut deliver);
                alone(tun, memory, span, &mut deliver);
            }
            Class::Stranger => alone(tun, memory, span, &mut deliver),
        }
    }

    /// Hands out everything, at the end of a batch.
    pub fn flush(&mut self, memory: &mut [u8], mut deliver: impl FnMut(K, Delivery<'_>)) {
        while let Some(slot) = self.oldest() {
            self.close(slot, memory, &mut deliver);
        }
    }

    fn merge(
        &mut self,
        tun: K,
        memory: &mut [u8],
        candidate: Candidate,
        packet: Span,
        deliver: &mut impl FnMut(K, Delivery<'_>),
    ) {
        if let Some(index) = self.find(tun, &candidate.flow) {
            match self.join(index, memory, &candidate, packet) {
                Joined::Open => return,
                Joined::Full => {
                    self.close(index, memory, deliver);
                    return;
                }
                Joined::Damaged => {
                    self.close(index, memory, deliver);
                    alone(tun, memory, packet, deliver);
                    return;
                }
                Joined::No => self.close(index, memory, deliver),
            }
        }
        if candidate.is_closing() {
            alone(tun, memory, packet, deliver);
        } else {
            self.open(tun, memory, candidate, packet, deliver);
        }
    }

    fn join(&mut self, index: usize, memory: &[u8], candidate: &Candidate, packet: Span) -> Joined {
        self.recent = index;
        match self.slots.get_mut(index) {
            Some(Slot {
                open: Some(open),
                spans,
            }) => open.group.join(spans, memory, candidate, packet),
            _ => Joined::No,
        }
    }

    fn open(
        &mut self,
        tun: K,
        memory: &mut [u8],
        candidate: Candidate,
        packet: Span,
        deliver: &mut impl FnMut(K, Delivery<'_>),
    ) {
        let free = self.slots.iter().position(|slot| slot.open.is_none());
        let Some(index) = free.or_else(|| self.oldest()) else {
            return;
        };
        self.close(index, memory, deliver);
        if let Some(slot) = self.slots.get_mut(index) {
            let [first, ..] = &mut slot.spans;
            *first = packet;
            slot.open = Some(Open {
                tun,
                group: Group::new(candidate, packet),
                number: self.opened,
            });
            self.opened += 1;
            self.recent = index;
        }
    }

    fn find(&self, tun: K, flow: &Flow) -> Option<usize> {
        let is_it = |slot: &Slot<K>| {
            slot.open
                .as_ref()
                .is_some_and(|open| open.group.head.flow == *flow && open.tun == tun)
        };
        if self.slots.get(self.recent).is_some_and(is_it) {
            return Some(self.recent);
        }
        self.slots.iter().position(is_it)
    }

    fn oldest(&self) -> Option<usize> {
        let numbered = self.slots.iter().enumerate();
        numbered
            .filter_map(|(index, slot)| Some((slot.open.as_ref()?.number, index)))
            .min()
            .map(|(_, index)| index)
    }

    fn close_between(
        &mut self,
        tun: K,
        addresses: &Addresses,
        memory: &mut [u8],
        deliver: &mut impl FnMut(K, Delivery<'_>),
    ) {
        for index in 0..GROUPS {
            let open = self.slots.get(index).and_then(|slot| slot.open.as_ref());
            if open
                .is_some_and(|open| open.tun == tun && open.group.head.flow.addresses == *addresses)
            {
                self.close(index, memory, deliver);
            }
        }
    }

    /// Hands out the group in a slot, if there is one.
    fn close(
        &mut self,
        index: usize,
        memory: &mut [u8],
        deliver: &mut impl FnMut(K, Delivery<'_>),
    ) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let Some(Open { tun, group, .. }) = slot.open.take() else {
            return;
        };
        let [first, ..] = slot.spans;
        let header = first.of_mut(memory).and_then(|first| group.finish(first));
        let spans = slot.spans.get(..group.spans);
        if let (Some(header), Some(spans)) = (header, spans) {
            deliver(
                tun,
                Delivery {
                    header,
                    memory,
                    spans,
                },
            );
        }
    }
}

fn alone<K>(tun: K, memory: &[u8], packet: Span, deliver: &mut impl FnMut(K, Delivery<'_>)) {
    deliver(
        tun,
        Delivery {
            header: VirtioHeader::default(),
            memory,
            spans: &[packet],
        },
    );
}

#[cfg(test)]
mod tests;
