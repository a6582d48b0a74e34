//! The wire format, read one byte string at a time: what any decoder must find in it.

use message_queue_core::ProtocolError;
use message_queue_core::wire::Role;

/// All that one peer has sent and that nobody has asked for yet.
#[derive(Debug)]
pub struct Stream {
    bytes: Vec<u8>,
    role: Option<Role>,
    /// The longest role line allowed, in bytes, its line feed not counted.
    role_line_bytes: usize,
}

/// What comes next in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The role line.
    Role(Role),
    /// A message.
    Message(Vec<u8>),
    /// A mistake. Nothing comes after it.
    Mistake(ProtocolError),
    /// That takes more bytes to say.
    Unknown,
}

impl Stream {
    /// A stream of which nothing has arrived.
    pub const fn new(role_line_bytes: usize) -> Self {
        Self {
            bytes: Vec::new(),
            role: None,
            role_line_bytes,
        }
    }

    /// These bytes arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What comes next.
    pub fn take_next(&mut self) -> Next {
        match self.role {
            None => self.role_line(),
            Some(Role::Producer) => self.message(),
            Some(Role::Consumer) if self.bytes.is_empty() => Next::Unknown,
            Some(Role::Consumer) => Next::Mistake(ProtocolError::UnexpectedData),
        }
    }

    /// What it means that the stream ends here.
    pub fn end(&self) -> Option<ProtocolError> {
        match self.role {
            None => Some(ProtocolError::TruncatedRoleLine),
            Some(Role::Producer) if !self.bytes.is_empty() => Some(ProtocolError::TruncatedFrame),
            Some(_) => None,
        }
    }

    fn role_line(&mut self) -> Next {
        let limit = self.role_line_bytes;
        let line = self.bytes.iter().take_while(|byte| **byte != b'\n').count();
        if line > limit {
            return Next::Mistake(ProtocolError::RoleLineTooLong { limit });
        }
        if line == self.bytes.len() {
            return Next::Unknown;
        }
        let role = match &self.bytes[..line] {
            b"PRODUCER" | b"PRODUCER\r" => Role::Producer,
            b"CONSUMER" | b"CONSUMER\r" => Role::Consumer,
            _ => return Next::Mistake(ProtocolError::UnknownRole),
        };
        self.role = Some(role);
        self.bytes.drain(..=line);
        Next::Role(role)
    }

    fn message(&mut self) -> Next {
        let [a, b, c, d, body @ ..] = &self.bytes[..] else {
            return Next::Unknown;
        };
        let length = u32::from_be_bytes([*a, *b, *c, *d]);
        if length > 1_048_576 {
            return Next::Mistake(ProtocolError::FrameTooLarge { length });
        }
        let Some(body) = body.get(..length as usize).map(<[u8]>::to_vec) else {
            return Next::Unknown;
        };
        self.bytes.drain(..4 + body.len());
        Next::Message(body)
    }
}
