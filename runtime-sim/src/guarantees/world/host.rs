//! The broker's side: what a driver does.

use super::World;
use super::link::Link;
use crate::guarantees::history::Event;
use message_queue_core::names::{Name, TopicName};
use message_queue_core::wire::handshake::Answer;
use message_queue_core::wire::{Decoded, FrameBatch, FrameReader, Received};
use message_queue_core::{ConnId, GroupId, Input, Output};

impl World<'_> {
    /// The broker reads from a connection.
    pub(super) fn broker_reads(&mut self, conn: ConnId) {
        let Some(link) = self.links.get_mut(&conn) else {
            return;
        };
        if link.is_paused || link.closed.is_some() {
            return;
        }
        let buffer = link.decoder.recv_buf();
        let room = buffer.capacity() - buffer.len();
        let most = room.min(link.to_broker.len());
        buffer.extend(link.to_broker.drain(..most));
        if most > 0 {
            self.record(Event::Read { conn });
            self.input(conn, Input::Heard);
        }
        self.decode(conn);
        let Some(link) = self.links.get_mut(&conn) else {
            return;
        };
        let all_is_read = link.to_broker.is_empty() && !link.is_paused && link.closed.is_none();
        if link.is_ending && all_is_read && !link.end_was_read {
            link.end_was_read = true;
            let end = link.decoder.finish();
            self.record(Event::Ended { conn });
            self.input(conn, end.map_or_else(Input::Broke, |()| Input::PeerClosed));
        }
    }

    fn decode(&mut self, conn: ConnId) {
        loop {
            let Some(link) = self.links.get_mut(&conn) else {
                return;
            };
            if link.is_paused || link.closed.is_some() {
                return;
            }
            let decoded = match link.decoder.next() {
                Ok(None) => return,
                Ok(Some(decoded)) => decoded,
                Err(error) => return self.input(conn, Input::Broke(error)),
            };
            match &decoded {
                Decoded::Control(control) => {
                    let control = control.clone();
                    self.record(Event::Heard { conn, control });
                }
                Decoded::Batch(batch) => {
                    let bodies = bodies(batch);
                    self.record(Event::Published { conn, bodies });
                }
                Decoded::Role(_) | Decoded::Options(_) | Decoded::BadOptions(_) => {}
            }
            self.input(conn, decoded.into());
        }
    }

    /// The socket takes some of what is written to a connection.
    pub(super) fn socket_takes(&mut self, conn: ConnId, most: usize) {
        let Some(link) = self.links.get_mut(&conn) else {
            return;
        };
        if link.closed.is_some() {
            return;
        }
        if let Some(total) = link.take(most) {
            if !link.is_busy() {
                self.record(Event::WriteDone { conn });
            }
            self.input(conn, Input::Written(total));
        }
    }

    pub(super) fn input(&mut self, conn: ConnId, input: Input) {
        self.broker.handle_input(conn, input, self.now);
        self.outputs();
    }

    /// Does what the broker asks for.
    pub(super) fn outputs(&mut self) {
        let mut closed = Vec::new();
        while let Some(output) = self.broker.poll_output() {
            match output {
                Output::Write { conn, write } => {
                    self.record(Event::WriteStarted { conn });
                    if let Some(link) = self.links.get_mut(&conn) {
                        let bytes = link.start(&write);
                        self.tell(conn, &bytes);
                    }
                }
                Output::Farewell { conn, bytes } => {
                    let link = self.links.get_mut(&conn);
                    if let Some(link) = link.filter(|it| !it.is_busy() && !it.is_given_up) {
                        link.to_client.extend(bytes);
                    }
                }
                Output::Close { conn, reason } => {
                    self.record(Event::Closed { conn, reason });
                    closed.push((conn, reason));
                }
                Output::Pause { conn } => self.set_paused(conn, true),
                Output::Resume { conn } => self.set_paused(conn, false),
                Output::Registered { .. } => {}
                Output::Dropped {
                    topic,
                    group,
                    name,
                    reason,
                    count,
                } => self.record(Event::Dropped {
                    whence: whence(topic.as_ref(), group, name.as_ref()),
                    reason,
                    messages: count.messages,
                }),
                Output::Store { topic, request } => self.ask_engine(topic, request),
            }
        }
        self.end_step();
        for (conn, reason) in closed {
            if let Some(link) = self.links.get_mut(&conn) {
                link.closed = Some(reason);
                let (written, unwritten) = (link.written, link.unwritten());
                if link.is_given_up {
                    self.links.remove(&conn);
                }
                self.record(Event::Sealed { conn, unwritten });
                self.input(conn, Input::Sealed { written });
            }
        }
    }

    fn set_paused(&mut self, conn: ConnId, is_paused: bool) {
        self.record(if is_paused {
            Event::Paused { conn }
        } else {
            Event::Resumed { conn }
        });
        if let Some(link) = self.links.get_mut(&conn) {
            link.is_paused = is_paused;
        }
    }

    /// Takes a write apart, for the history.
    fn tell(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(Link { told: reader, .. }) = self.links.get_mut(&conn) else {
            return;
        };
        for event in told(conn, reader, bytes) {
            self.record(event);
        }
    }
}

/// What a connection is told by these bytes.
pub(crate) fn told(conn: ConnId, reader: &mut FrameReader, bytes: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    reader.recv_buf().extend_from_slice(bytes);
    while let Some(received) = reader.next().expect("the broker speaks version 2") {
        match received {
            Received::Line(line) => {
                let answer = Answer::parse(line.as_bytes()).expect("an answer");
                if let Answer::Ok(answer) = answer {
                    events.push(Event::Accepted { conn, answer });
                }
            }
            Received::Control(control) => events.push(Event::Told { conn, control }),
            Received::Batch(batch) => {
                let bodies = bodies(&batch).into_iter();
                events.extend(bodies.map(|body| Event::HandedOut { conn, body }));
            }
        }
    }
    events
}

/// A group that has lost something, as the checker calls it.
pub(crate) fn whence(
    topic: Option<&TopicName>,
    group: Option<GroupId>,
    name: Option<&Name>,
) -> Option<(String, String)> {
    let group = match (group?, name) {
        (_, Some(name)) => name.to_string(),
        (GroupId::Own(conn), None) => format!("own-{}", conn.0),
        (_, None) => "queue".to_owned(),
    };
    Some((topic?.to_string(), group))
}

/// Messages, as texts.
pub(crate) fn bodies(batch: &FrameBatch) -> Vec<String> {
    let bodies = batch.bodies();
    bodies
        .map(|body| String::from_utf8_lossy(&body).into_owned())
        .collect()
}
