//! What clients do beyond version 1, where a run asks for it: producers wait for confirms, consumers
//! acknowledge.

use super::plan::Plan;
use super::reading::{self, Frame};
use bytes::BytesMut;
use message_queue_core::wire::Role;
use message_queue_core::wire::control::{Control, Link, Outcome, Range};
use message_queue_core::wire::handshake::{
    Answer, Common, ConsumerOptions, ProducerOptions, RoleOptions,
};
use std::io::{self, Read, Write};
use std::net::TcpStream;

/// The most messages that may be unconfirmed, or unsettled.
pub const MAX_WINDOW: u32 = 1_000_000;

/// The longest answer to a role line that is read, in bytes.
const MAX_ANSWER: usize = 4096;

/// What a run asks for beyond version 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guarantees {
    /// Producers are told what is safe.
    pub confirm: bool,
    /// Consumers acknowledge what they receive.
    pub ack: bool,
    /// How many messages a producer sends before it waits for a confirm, and how many a consumer is
    /// handed before it acknowledges; 1 to [`MAX_WINDOW`] where one of them is asked for.
    pub window: u32,
}

impl Guarantees {
    /// Whether a run asks for any.
    pub const fn any(self) -> bool {
        self.confirm || self.ack
    }

    /// The line that begins a connection.
    fn role_line(self, role: Role, plan: &Plan) -> String {
        // Nobody is silent for long, and a benchmark is no place for timers.
        let common = Common {
            heartbeat: 0,
            ..Common::default()
        };
        match role {
            Role::Producer if self.confirm => RoleOptions::Producer(ProducerOptions {
                common,
                confirm: true,
                ..ProducerOptions::default()
            })
            .line(),
            Role::Consumer if self.ack => {
                let bytes = u64::from(self.window) * plan.frame_size() as u64;
                RoleOptions::Consumer(ConsumerOptions {
                    common,
                    ack: true,
                    prefetch: self.window,
                    prefetch_bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
                    ..ConsumerOptions::default()
                })
                .line()
            }
            Role::Producer | Role::Consumer => role.line().to_owned(),
        }
    }

    /// Begins a connection: sends the role line, and reads the answer if there is one.
    pub(super) fn begin(self, mut stream: &TcpStream, role: Role, plan: &Plan) -> io::Result<()> {
        let line = self.role_line(role, plan);
        let has_answer = match role {
            Role::Producer => self.confirm,
            Role::Consumer => self.ack,
        };
        if has_answer {
            introduce(stream, &line)
        } else {
            stream.write_all(line.as_bytes())
        }
    }
}

/// Sends a role line that is answered, and reads the answer.
pub(super) fn introduce(mut stream: &TcpStream, role_line: &str) -> io::Result<()> {
    stream.write_all(role_line.as_bytes())?;
    let line = line(stream)?;
    match Answer::parse(&line).map_err(|error| io::Error::other(error.to_string()))? {
        Answer::Ok(_) => Ok(()),
        Answer::Error { code, text } => {
            let said = format!("the broker answers {code}: {text}");
            Err(io::Error::other(said))
        }
    }
}

/// A line without its line feed, byte by byte, so that nothing of what follows it is taken.
fn line(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    while line.len() < MAX_ANSWER {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        if byte == *b"\n" {
            return Ok(line);
        }
        line.extend(byte);
    }
    Err(io::Error::other("the broker's answer is no line"))
}

/// What a producer knows to be safe.
#[derive(Debug)]
pub(super) struct Confirms<'a> {
    stream: &'a TcpStream,
    frames: reading::Buffer,
    confirmed: u64,
}

impl<'a> Confirms<'a> {
    pub(super) fn new(stream: &'a TcpStream) -> Self {
        /// Room for many: each has 21 bytes.
        const BUFFER: usize = 4096;
        Self {
            stream,
            frames: reading::Buffer::new(BUFFER),
            confirmed: 0,
        }
    }

    /// Waits until at most `most` of the `sent` messages are unconfirmed.
    pub(super) fn wait(&mut self, sent: u64, most: u64) -> io::Result<()> {
        self.wait_noting(sent, most, |_| {})
    }

    /// The same, and tells how many messages each confirm was for.
    pub(super) fn wait_noting(
        &mut self,
        sent: u64,
        most: u64,
        mut note: impl FnMut(u64),
    ) -> io::Result<()> {
        while sent - self.confirmed > most {
            let confirmed = &mut self.confirmed;
            let mut problem = None;
            let open = self.frames.read(self.stream, |frames| {
                for frame in frames {
                    match told(Link::ToProducer, frame) {
                        Ok(Some(Control::Confirmed { position, .. })) => {
                            note(position - *confirmed);
                            *confirmed = position;
                        }
                        Ok(Some(Control::Refused(_, reason) | Control::Error(reason))) => {
                            problem = Some(format!("{}: {}", reason.code, reason.text));
                        }
                        Ok(_) => {}
                        Err(error) => problem = Some(error.to_string()),
                    }
                }
            })?;
            if let Some(problem) = problem {
                return Err(io::Error::other(problem));
            }
            if !open {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

/// What a frame from the broker says, if it is a control frame that is known.
fn told(link: Link, frame: Frame<'_>) -> io::Result<Option<Control>> {
    match frame {
        Frame::Message(_) => Err(io::Error::other("a message where none belongs")),
        Frame::Control(body) => {
            Control::decode(link, body).map_err(|error| io::Error::other(error.to_string()))
        }
    }
}

/// What a consumer has acknowledged.
#[derive(Debug)]
pub(super) struct Acks<'a> {
    stream: &'a TcpStream,
    received: u64,
    settled: u64,
    out: BytesMut,
}

impl<'a> Acks<'a> {
    pub(super) fn new(stream: &'a TcpStream) -> Self {
        Self {
            stream,
            received: 0,
            settled: 0,
            out: BytesMut::new(),
        }
    }

    /// Acknowledges `messages` more.
    pub(super) fn settle(&mut self, messages: u64) -> io::Result<()> {
        self.received += messages;
        let Some(range) = Range::new(self.settled + 1, self.received) else {
            return Ok(());
        };
        self.settled = self.received;
        self.out.clear();
        Control::Settle {
            outcome: Outcome::Done,
            delay_ms: 0,
            ranges: vec![range],
        }
        .encode(&mut self.out);
        (&mut self.stream).write_all(&self.out)
    }
}
