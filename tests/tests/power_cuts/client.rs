//! Clients of a broker that may die at any moment.

use bytes::{BufMut, BytesMut};
use message_queue_core::wire::control::{Control, Link};
use message_queue_core::wire::{FrameBatch, FrameReader, Received};
use message_queue_tests::process::PATIENCE;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// The broker is dead.
#[derive(Debug)]
pub(crate) struct Dead;

/// What a client is told.
#[derive(Debug)]
pub(crate) enum Told {
    Line(String),
    Message { body: String },
    Control(Control),
}

/// A connection in wire version 2.
pub(crate) struct Client {
    stream: TcpStream,
    reader: FrameReader,
    told: VecDeque<Told>,
    numbers: u64,
}

impl Client {
    /// Connects with this role line. Returns the answer, too.
    pub(crate) fn connect(address: SocketAddr, line: &str) -> Result<(Self, String), Dead> {
        let stream = TcpStream::connect(address).map_err(|_| Dead)?;
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("a TCP socket");
        let link = if line.starts_with("PRODUCER") {
            Link::ToProducer
        } else {
            Link::ToConsumer
        };
        let mut client = Self {
            stream,
            reader: FrameReader::new(link, 65_536),
            told: VecDeque::new(),
            numbers: 0,
        };
        client.write(format!("{line} heartbeat=0\n").as_bytes())?;
        match client.next()? {
            Told::Line(answer) if answer.starts_with("OK ") => Ok((client, answer)),
            other @ (Told::Line(_) | Told::Message { .. } | Told::Control(_)) => {
                panic!("{line}: {other:?}")
            }
        }
    }

    pub(crate) fn send(&mut self, messages: &[String]) -> Result<(), Dead> {
        let batch = FrameBatch::encode(messages).expect("small messages");
        self.write(batch.as_bytes())
    }

    pub(crate) fn say(&mut self, control: &Control) -> Result<(), Dead> {
        let mut bytes = BytesMut::new();
        control.encode(&mut bytes);
        self.write(&bytes)
    }

    /// Another number for each PING and FLUSH.
    pub(crate) const fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Dead> {
        self.stream.write_all(bytes).map_err(|_| Dead)
    }

    /// The next thing that it is told.
    ///
    /// # Panics
    /// If the broker lives and says nothing, or what cannot be understood.
    pub(crate) fn next(&mut self) -> Result<Told, Dead> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Ok(told);
            }
            match self.reader.next().expect("it can be understood") {
                Some(Received::Line(line)) => return Ok(Told::Line(line)),
                Some(Received::Control(control)) => return Ok(Told::Control(control)),
                Some(Received::Batch(batch)) => {
                    let bodies = batch.bodies();
                    let bodies = bodies.map(|body| String::from_utf8_lossy(&body).into_owned());
                    self.told.extend(bodies.map(|body| Told::Message { body }));
                    continue;
                }
                None => {}
            }
            let mut bytes = [0; 65_536];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(Dead),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("the broker lives and says nothing")
                }
                Err(_) => return Err(Dead),
                Ok(size) => self.reader.recv_buf().put_slice(&bytes[..size]),
            }
        }
    }
}
