//! The core, with connections that bytes go in at and come out of, and time that stands still unless it is moved.

use bytes::BufMut;
use message_queue_core::access::Principal;
use message_queue_core::wire::control::{Control, Link};
use message_queue_core::wire::{Decoder, DecoderConfig, FrameReader, Received};
use message_queue_core::{Broker, CloseReason, Config, ConnId, Input, Now, Output};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a client reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A line: the answer to its role line.
    Line(String),
    /// A message.
    Message(String),
    /// A control frame.
    Control(Control),
}

/// A broker, and connections that bytes go in at and come out of.
pub struct World {
    /// The broker.
    pub broker: Broker,
    now: Now,
    connections: BTreeMap<ConnId, Connection>,
}

struct Connection {
    decoder: Decoder,
    /// What the client has read.
    read: Vec<u8>,
    /// What is on its way to a client that does not read.
    unread: Vec<u8>,
    reads: bool,
    written: u64,
    is_paused: bool,
    has_ended: bool,
    closed: Option<CloseReason>,
}

impl World {
    /// A broker without connections.
    pub fn new(config: Config) -> Self {
        Self {
            broker: Broker::new(config),
            now: Now::START,
            connections: BTreeMap::new(),
        }
    }

    /// A connection that has sent these bytes. They are numbered from 1.
    pub fn connect(&mut self, bytes: impl AsRef<[u8]>) -> ConnId {
        self.connect_as(None, bytes)
    }

    /// The same, as somebody whom the broker is told of.
    pub fn connect_as(&mut self, principal: Option<Principal>, bytes: impl AsRef<[u8]>) -> ConnId {
        let conn = ConnId(self.connections.len() as u64 + 1);
        let connection = Connection {
            decoder: Decoder::new(DecoderConfig::default()),
            read: Vec::new(),
            unread: Vec::new(),
            reads: true,
            written: 0,
            is_paused: false,
            has_ended: false,
            closed: None,
        };
        self.connections.insert(conn, connection);
        self.input(conn, Input::Opened);
        if let Some(principal) = principal {
            self.identify(conn, principal);
        }
        self.send(conn, bytes);
        conn
    }

    /// The broker is told who the peer of a connection is, and what it may do.
    pub fn identify(&mut self, conn: ConnId, principal: Principal) {
        self.input(conn, Input::Identified(principal));
    }

    /// The broker is told that nobody knows the peer of a connection any more.
    pub fn is_known_no_more(&mut self, conn: ConnId) {
        self.input(conn, Input::Unauthorized);
    }

    /// A client sends these bytes.
    pub fn send(&mut self, conn: ConnId, bytes: impl AsRef<[u8]>) {
        let connection = self.connection(conn);
        connection.decoder.recv_buf().put_slice(bytes.as_ref());
        self.decode(conn);
    }

    /// A client sends a control frame.
    pub fn say(&mut self, conn: ConnId, control: &Control) {
        let mut bytes = bytes::BytesMut::new();
        control.encode(&mut bytes);
        self.send(conn, bytes);
    }

    /// Its client closes its sending side.
    pub fn end(&mut self, conn: ConnId) {
        self.connection(conn).has_ended = true;
        self.decode(conn);
    }

    /// Its client is gone without a word.
    pub fn cut(&mut self, conn: ConnId) {
        self.input(conn, Input::PeerReset);
    }

    /// Its client reads nothing more, until [`take`](Self::take).
    pub fn stop_reading(&mut self, conn: ConnId) {
        self.connection(conn).reads = false;
    }

    /// Its client reads what is on its way, and all that comes.
    pub fn read_again(&mut self, conn: ConnId) {
        let connection = self.connection(conn);
        connection.reads = true;
        let all = connection.unread.len();
        self.take(conn, all);
    }

    /// Its client takes so many bytes of what is on its way.
    pub fn take(&mut self, conn: ConnId, bytes: usize) {
        let connection = self.connection(conn);
        connection.read.extend(connection.unread.drain(..bytes));
        connection.written += bytes as u64;
        let written = connection.written;
        self.input(conn, Input::Written(written));
    }

    /// Time passes, and what becomes due meanwhile is done when it is due.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.pass_to_what_is_due(end) {}
    }

    /// Time passes until something is due and done, but not beyond `end`. Returns whether something was.
    pub fn pass_to_what_is_due(&mut self, end: Now) -> bool {
        let Some(due) = self.broker.poll_timeout().filter(|due| *due <= end) else {
            self.now = end;
            return false;
        };
        self.now = due.max(self.now);
        self.broker.handle_timeout(self.now);
        self.follow();
        true
    }

    /// What time it is.
    pub const fn now(&self) -> Now {
        self.now
    }

    /// An orderly end begins.
    pub fn drain(&mut self, timeout: Duration) {
        self.broker.drain(timeout, self.now);
        self.follow();
    }

    /// While draining: there is nothing more to read.
    pub fn is_silent(&mut self, conn: ConnId) {
        self.input(conn, Input::NothingToRead);
    }

    /// The bytes that its client has read since it was last asked.
    pub fn bytes(&mut self, conn: ConnId) -> Vec<u8> {
        std::mem::take(&mut self.connection(conn).read)
    }

    /// What they say; `begun` if the answer has been read already.
    fn read(&mut self, conn: ConnId, link: Link, begun: bool) -> Vec<Said> {
        let mut reader = FrameReader::new(link, 65_536);
        if begun {
            reader.recv_buf().put_slice(b"\n");
        }
        reader.recv_buf().put_slice(&self.bytes(conn));
        let mut said = Vec::new();
        while let Some(received) = reader.next().expect("it can be understood") {
            match received {
                Received::Line(line) if line.is_empty() => {}
                Received::Line(line) => said.push(Said::Line(line)),
                Received::Batch(batch) => {
                    for body in batch.bodies() {
                        let body = String::from_utf8(body.to_vec()).expect("text");
                        said.push(Said::Message(body));
                    }
                }
                Received::Control(control) => said.push(Said::Control(control)),
            }
        }
        said
    }

    /// The answer that it has read.
    pub fn answer(&mut self, conn: ConnId) -> String {
        let bytes = self.bytes(conn);
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (line, rest) = bytes.split_at(end.expect("a line") + 1);
        self.connection(conn).read = rest.to_vec();
        String::from_utf8(line.to_vec()).expect("a line of text")
    }

    /// What a producer has read behind the answer.
    pub fn producer_reads(&mut self, conn: ConnId) -> Vec<Control> {
        let said = self.read(conn, Link::ToProducer, true);
        said.into_iter()
            .map(|it| match it {
                Said::Control(control) => control,
                other @ (Said::Line(_) | Said::Message(_)) => panic!("{other:?}"),
            })
            .collect()
    }

    /// What a consumer has read behind the answer.
    pub fn consumer_reads(&mut self, conn: ConnId) -> Vec<Said> {
        self.read(conn, Link::ToConsumer, true)
    }

    /// The messages that a consumer has read.
    pub fn messages(&mut self, conn: ConnId) -> Vec<String> {
        let said = self.consumer_reads(conn).into_iter();
        said.filter_map(|it| match it {
            Said::Message(message) => Some(message),
            Said::Line(_) | Said::Control(_) => None,
        })
        .collect()
    }

    /// Why the broker has closed a connection, if it has.
    pub fn closed(&mut self, conn: ConnId) -> Option<&'static str> {
        self.connection(conn).closed.map(CloseReason::as_str)
    }

    fn connection(&mut self, conn: ConnId) -> &mut Connection {
        self.connections.get_mut(&conn).expect("it was made")
    }

    fn decode(&mut self, conn: ConnId) {
        loop {
            let connection = self.connection(conn);
            if connection.is_paused || connection.closed.is_some() {
                return;
            }
            let input = match connection.decoder.next() {
                Ok(Some(decoded)) => decoded.into(),
                Err(error) => Input::Broke(error),
                Ok(None) if std::mem::take(&mut connection.has_ended) => {
                    match connection.decoder.finish() {
                        Ok(()) => Input::PeerClosed,
                        Err(error) => Input::Broke(error),
                    }
                }
                Ok(None) => return,
            };
            self.input(conn, input);
        }
    }

    fn input(&mut self, conn: ConnId, input: Input) {
        self.broker.handle_input(conn, input, self.now);
        self.follow();
    }

    fn follow(&mut self) {
        while let Some(output) = self.broker.poll_output() {
            match output {
                Output::Write { conn, write } => {
                    let pieces = write.pieces().iter();
                    let bytes: Vec<u8> = pieces.flat_map(|it| it.as_bytes().to_vec()).collect();
                    let connection = self.connection(conn);
                    connection.unread.extend(bytes);
                    if connection.reads {
                        let all = connection.unread.len();
                        self.take(conn, all);
                    }
                }
                Output::Farewell { conn, bytes } => {
                    let connection = self.connection(conn);
                    if connection.unread.is_empty() {
                        connection.read.extend(bytes);
                    }
                }
                Output::Close { conn, reason } => {
                    let connection = self.connection(conn);
                    connection.closed = Some(reason);
                    let written = connection.written;
                    self.input(conn, Input::Sealed { written });
                }
                Output::Pause { conn } => self.connection(conn).is_paused = true,
                Output::Resume { conn } => {
                    self.connection(conn).is_paused = false;
                    self.decode(conn);
                }
                Output::Registered { .. } | Output::Dropped { .. } => {}
                Output::Store { .. } => unreachable!("no topic is stored here"),
            }
        }
    }
}
