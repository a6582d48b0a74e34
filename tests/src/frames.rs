//! Frames by hand: what a client in any language would write, so that the tests do not lean on the
//! code they test.

use socket2::SockRef;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::Duration;

/// A frame for each message.
pub fn frames<M: AsRef<[u8]>>(messages: impl IntoIterator<Item = M>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        let message = message.as_ref();
        let length = u32::try_from(message.len()).expect("a test's message is small");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(message);
    }
    bytes
}

/// Reads the next message. None at the end of the stream between frames, or on a reset.
pub fn read_message(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Ok(()) => {}
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
            ) =>
        {
            return None;
        }
        Err(error) => panic!("no message came: {error}"),
    }
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream
        .read_exact(&mut body)
        .expect("a frame that has begun is whole");
    Some(body)
}

/// Reads this many messages.
pub fn read_messages(stream: &mut impl Read, count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|n| read_message(stream).unwrap_or_else(|| panic!("the stream ended after {n}")))
        .collect()
}

/// Reads messages until the stream ends.
pub fn read_to_end(stream: &mut impl Read) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| read_message(stream)).collect()
}

/// Waits for the end of the stream and returns whatever bytes came before it.
pub fn read_bytes_to_end(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the stream did not end: {error}"),
    }
    bytes
}

/// Ends a connection with a reset, with whatever is still on its way.
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .expect("a TCP socket");
}
