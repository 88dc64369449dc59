//! Length-prefixed messages on a QUIC stream.

use quinn::{ReadExactError, RecvStream, SendStream};
use tombolo_proto::{
    control::{self, Message, MessageError, ToController},
    wire,
};

/// What reading a message gave.
pub(super) enum Received {
    Message(ToController),
    /// A message of a later version.
    Unknown(u32),
    /// End the connection.
    Malformed,
}

/// The next message; none when the stream has ended.
pub(super) async fn read(stream: &mut RecvStream) -> Option<Received> {
    let mut prefix = [0; 4];
    match stream.read_exact(&mut prefix).await {
        Ok(()) => {}
        Err(ReadExactError::FinishedEarly(_) | ReadExactError::ReadError(_)) => return None,
    }
    let length = u32::from_be_bytes(prefix) as usize;
    if length > wire::MAX_ENCODED {
        return Some(Received::Malformed);
    }
    let mut body = vec![0; length];
    if stream.read_exact(&mut body).await.is_err() {
        return None;
    }
    Some(match control::decode(&body) {
        Ok(message) => Received::Message(message),
        Err(MessageError::Unknown(variant)) => Received::Unknown(variant),
        Err(MessageError::Malformed(_)) => Received::Malformed,
    })
}

/// Sends a message whole.
pub(super) async fn write<M: Message>(
    stream: &mut SendStream,
    message: &M,
) -> Result<(), quinn::WriteError> {
    stream.write_all(&control::encode(message)).await
}
