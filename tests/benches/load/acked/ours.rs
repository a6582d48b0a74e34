//! This broker, over wire version 2.

use super::{Acked, BATCH, Buffer, Consumer, Producer, WINDOW};
use crate::job::Job;
use bytes::BytesMut;
use message_queue_core::wire::LENGTH_PREFIX;
use message_queue_core::wire::control::{CONTROL_BIT, Control, Link, Outcome, Range};
use message_queue_tests::frames::frames;
use std::io::{self, Read, Write};
use std::net::TcpStream;

/// This broker as the plain runs start it.
pub(crate) struct Ours(pub(crate) crate::ours::Ours);

impl Ours {
    /// A connection that was accepted.
    fn connect(&self, line: &str) -> TcpStream {
        let mut stream = self.0.connect(line);
        stream.set_nodelay(true).expect("a TCP socket");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            answer.extend(byte);
        }
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("OK "), "{text}");
        stream
    }
}

impl Acked for Ours {
    fn pid(&self) -> u32 {
        crate::server::Server::pid(&self.0)
    }

    fn producer(&self, job: &Job) -> Box<dyn Producer> {
        let count = usize::try_from(BATCH).expect("it is small");
        Box::new(Confirming {
            stream: self.connect("PRODUCER confirm=1 heartbeat=0\n"),
            batch: frames(vec![vec![b'x'; job.size]; count]),
            buffer: Buffer::new(),
            confirmed: 0,
        })
    }

    fn consumer(&self, job: &Job, _: usize) -> Box<dyn Consumer> {
        let bytes = WINDOW * (LENGTH_PREFIX + job.size) as u64;
        let line = format!("CONSUMER ack=1 heartbeat=0 prefetch={WINDOW} prefetch_bytes={bytes}\n");
        Box::new(Acknowledging {
            stream: self.connect(&line),
            buffer: Buffer::new(),
            settled: 0,
        })
    }
}

struct Confirming {
    stream: TcpStream,
    batch: Vec<u8>,
    buffer: Buffer,
    confirmed: u64,
}

impl Producer for Confirming {
    fn send(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.batch)
    }

    fn confirmed(&mut self) -> io::Result<u64> {
        let before = self.confirmed;
        let mut last = before;
        self.buffer.read(&mut self.stream, |bytes| {
            walk(bytes, |frame| match frame {
                Frame::Control(body) => {
                    let control = Control::decode(Link::ToProducer, body).expect("a control frame");
                    if let Some(Control::Confirmed { position, .. }) = control {
                        last = position;
                    }
                }
                Frame::Message => panic!("a message to a producer"),
            })
        })?;
        self.confirmed = last;
        Ok(last - before)
    }
}

struct Acknowledging {
    stream: TcpStream,
    buffer: Buffer,
    settled: u64,
}

impl Consumer for Acknowledging {
    fn take(&mut self) -> io::Result<u64> {
        let mut messages = 0;
        self.buffer.read(&mut self.stream, |bytes| {
            walk(bytes, |frame| {
                messages += u64::from(matches!(frame, Frame::Message))
            })
        })?;
        if let Some(range) = Range::new(self.settled + 1, self.settled + messages) {
            self.settled += messages;
            let mut out = BytesMut::new();
            Control::Settle {
                outcome: Outcome::Done,
                delay_ms: 0,
                ranges: vec![range],
            }
            .encode(&mut out);
            self.stream.write_all(&out)?;
        }
        Ok(messages)
    }
}

enum Frame<'a> {
    Message,
    Control(&'a [u8]),
}

/// Shows the whole frames at the front of some bytes. Returns how long they are.
fn walk<'a>(bytes: &'a [u8], mut each: impl FnMut(Frame<'a>)) -> usize {
    let mut rest = bytes;
    while let Some((header, after)) = rest.split_first_chunk::<LENGTH_PREFIX>() {
        let header = u32::from_be_bytes(*header);
        let Some((body, after)) = after.split_at_checked((header & !CONTROL_BIT) as usize) else {
            break;
        };
        if header & CONTROL_BIT == 0 {
            each(Frame::Message);
        } else {
            each(Frame::Control(body));
        }
        rest = after;
    }
    bytes.len() - rest.len()
}
