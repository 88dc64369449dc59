//! Documents longer than a message: cut into parts by the sender, put together again by the receiver. One at a time per
//! sender: a new document ends what was there of the old, and whoever misses a part asks again.

use tombolo_proto::{
    gossip::{GossipMessage, Gossiped, MAX_MESSAGE, MAX_PARTS, PART},
    wire,
};

/// Bytes that [`GossipMessage::Documents`] adds: its variant and the number of documents.
const FRAME: usize = 2;

/// Packs documents into as few messages as will do. One that is too long even for parts is left out.
pub(super) fn pack(
    documents: Vec<Gossiped>,
    mut number: impl FnMut() -> u32,
) -> Vec<GossipMessage> {
    let mut messages = Vec::new();
    let mut together = Vec::new();
    let mut length = FRAME;
    for document in documents {
        let encoded = wire::encode(&document);
        if encoded.len() + FRAME > MAX_MESSAGE {
            messages.extend(parts(&encoded, number()));
            continue;
        }
        if length + encoded.len() > MAX_MESSAGE {
            messages.push(GossipMessage::Documents(std::mem::take(&mut together)));
            length = FRAME;
        }
        length += encoded.len();
        together.push(document);
    }
    if !together.is_empty() {
        messages.push(GossipMessage::Documents(together));
    }
    messages
}

fn parts(encoded: &[u8], document: u32) -> Vec<GossipMessage> {
    let chunks = encoded.chunks(PART);
    let Some(count) = u8::try_from(chunks.len())
        .ok()
        .filter(|count| *count <= MAX_PARTS)
    else {
        return Vec::new();
    };
    let part = |(index, bytes): (u8, &[u8])| GossipMessage::Part {
        document,
        index,
        count,
        bytes: bytes.to_vec(),
    };
    (0..count).zip(chunks).map(part).collect()
}

/// A document whose parts are coming in.
#[derive(Debug)]
pub(super) struct Assembly {
    document: u32,
    parts: Vec<Option<Vec<u8>>>,
}

impl Assembly {
    /// Takes a part into `slot`; the document, once it is whole.
    pub(super) fn take(
        slot: &mut Option<Self>,
        document: u32,
        index: u8,
        count: u8,
        bytes: Vec<u8>,
    ) -> Option<Gossiped> {
        let is_last = index.checked_add(1) == Some(count);
        let fits = count <= MAX_PARTS
            && index < count
            && bytes.len() <= PART
            && (is_last || bytes.len() == PART);
        if !fits {
            return None;
        }
        let is_same = slot.as_ref().is_some_and(|assembly| {
            assembly.document == document && assembly.parts.len() == usize::from(count)
        });
        if !is_same {
            *slot = Some(Self {
                document,
                parts: vec![None; usize::from(count)],
            });
        }
        let assembly = slot.as_mut()?;
        *assembly.parts.get_mut(usize::from(index))? = Some(bytes);
        if assembly.parts.iter().any(Option::is_none) {
            return None;
        }
        let whole: Vec<u8> = slot.take()?.parts.into_iter().flatten().flatten().collect();
        wire::decode(&whole).ok()
    }
}
