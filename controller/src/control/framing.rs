//! Length-prefixed messages on a stream.

use tombolo_proto::{
    control::{self, Message, MessageError, ToController},
    wire,
};

use super::stream::{Gone, Receiving, Sending};

/// What reading a message gave.
pub(super) enum Received {
    Message(ToController),
    /// A message of a later version.
    Unknown(u32),
    /// End the connection.
    Malformed,
}

/// The next message; none when the stream has ended.
pub(super) async fn read(stream: &mut Receiving) -> Option<Received> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await.ok()?;
    let length = u32::from_be_bytes(prefix) as usize;
    if length > wire::MAX_ENCODED {
        return Some(Received::Malformed);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(match control::decode(&body) {
        Ok(message) => Received::Message(message),
        Err(MessageError::Unknown(variant)) => Received::Unknown(variant),
        Err(MessageError::Malformed(_)) => Received::Malformed,
    })
}

/// Sends a message whole.
pub(super) async fn write<M: Message>(stream: &mut Sending, message: &M) -> Result<(), Gone> {
    stream.write(control::encode(message).into()).await
}
