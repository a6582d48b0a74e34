//! A consumer.

use super::Ended;
use super::liveness::{Due, Liveness};
use super::settling::Settling;
use crate::time::Now;
use crate::wire::control::{Control, Lag, Link, Origin, Outcome, Range, Reason};
use crate::wire::handshake::{Accepted, Answer, ConsumerOptions, RoleOptions};
use crate::wire::{FrameBatch, FrameReader, Received};
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};

/// The largest read asked for, in bytes.
const READ_BYTES: usize = 512 * 1024;

/// Where a message stands on one connection of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Which of its connections.
    connection: u64,
    /// The place on it, from 1.
    place: u64,
}

/// Messages that were handed out together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The messages.
    pub batch: FrameBatch,
    /// The topic; none where the consumer asked for the default.
    pub topic: Option<Arc<str>>,
    /// The sequence of the first message.
    pub sequence: u64,
    /// When they were published, in milliseconds since 1970.
    pub published: u64,
    /// Which hand-out to their group this is, from 1.
    pub attempt: u32,
    /// For a dead letter, which comes alone: where it came from.
    pub origin: Option<Origin>,
    first: Position,
}

impl Delivery {
    /// The position of the message at `place`, from 0.
    pub const fn position(&self, place: usize) -> Position {
        Position {
            connection: self.first.connection,
            place: self.first.place + place as u64,
        }
    }

    /// The position of the last message.
    pub const fn last(&self) -> Position {
        self.position(self.batch.messages().saturating_sub(1))
    }
}

/// What a consumer has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerEvent {
    /// The broker has accepted the connection.
    Connected(Accepted),
    /// Messages.
    Delivered(Delivery),
    /// These sequences will not come.
    Gap(Range, Reason),
    /// These positions are no longer this consumer's: stop working on them.
    Revoked {
        /// Why, in one word.
        code: String,
        /// The first and the last position of each run.
        positions: Vec<(Position, Position)>,
    },
    /// What waits for the consumer's group.
    Lag(Lag),
    /// The broker is about to close: settle what there is. Connect again after this time.
    GoAway {
        /// Milliseconds to wait before connecting again.
        wait_ms: u32,
    },
    /// The connection has ended. What was not settled is handed out again, to whoever is there.
    Ended(Ended),
}

/// A consumer, over any number of connections. Used as [`ProducerClient`](super::ProducerClient) is.
#[derive(Debug)]
pub struct ConsumerClient {
    options: ConsumerOptions,
    connection: Option<Connection>,
    /// How many connections there have been.
    connections: u64,
    events: VecDeque<ConsumerEvent>,
}

#[derive(Debug)]
struct Connection {
    reader: FrameReader,
    liveness: Liveness,
    /// To be written.
    control: BytesMut,
    settling: Settling,
    is_open: bool,
    /// The place of the next message.
    next_place: u64,
    topic: Option<Arc<str>>,
    run: Run,
    origin: Option<Origin>,
}

/// What the last RUN said of the messages after it, moved on to the next of them.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    sequence: u64,
    published: u64,
    attempt: u32,
}

impl ConsumerClient {
    /// A consumer without a connection.
    pub const fn new(options: ConsumerOptions) -> Self {
        Self {
            options,
            connection: None,
            connections: 0,
            events: VecDeque::new(),
        }
    }

    /// There is a connection to a broker.
    ///
    /// # Panics
    /// If there was one already.
    pub fn connected(&mut self, now: Now) {
        assert!(self.connection.is_none(), "one connection at a time");
        self.connections += 1;
        let line = RoleOptions::Consumer(self.options.clone()).line();
        self.connection = Some(Connection {
            reader: FrameReader::new(Link::ToConsumer, READ_BYTES),
            liveness: Liveness::new(self.options.common.heartbeat, now),
            control: BytesMut::from(line.as_bytes()),
            settling: Settling::default(),
            is_open: false,
            next_place: 1,
            topic: None,
            run: Run::default(),
            origin: None,
        });
    }

    /// The connection has ended.
    pub fn disconnected(&mut self) {
        self.end(Ended::Disconnected);
    }

    /// Whether there is a connection.
    pub const fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// The buffer to append received bytes to; none without a connection.
    pub fn recv_buf(&mut self) -> Option<&mut BytesMut> {
        let connection = self.connection.as_mut()?;
        Some(connection.reader.recv_buf())
    }

    /// Bytes were appended to [`recv_buf`](Self::recv_buf).
    pub fn received(&mut self, now: Now) {
        while let Some(connection) = &mut self.connection {
            connection.liveness.received(now);
            let handled = match connection.reader.next() {
                Ok(None) => return,
                Ok(Some(received)) => self.handle(received, now),
                Err(error) => Err(error.into()),
            };
            if let Err(ended) = handled {
                self.end(ended);
            }
        }
    }

    fn handle(&mut self, received: Received, now: Now) -> Result<(), Ended> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        match received {
            Received::Line(line) => match Answer::parse(line.as_bytes())? {
                Answer::Ok(accepted) => {
                    connection.is_open = true;
                    connection.liveness = Liveness::new(accepted.heartbeat, now);
                    connection.topic = accepted.topic.as_deref().map(Arc::from);
                    self.events.push_back(ConsumerEvent::Connected(accepted));
                }
                Answer::Error { code, text } => return Err(Ended::Refused(Reason { code, text })),
            },
            Received::Batch(mut batch) => {
                // An ORIGIN is of one message alone.
                if connection.origin.is_some() && batch.messages() > 1 {
                    let first = connection.delivery(batch.split_to(1), self.connections);
                    self.events.push_back(ConsumerEvent::Delivered(first));
                }
                let delivery = connection.delivery(batch, self.connections);
                self.events.push_back(ConsumerEvent::Delivered(delivery));
            }
            Received::Control(control) => return self.control(control),
        }
        Ok(())
    }

    fn control(&mut self, control: Control) -> Result<(), Ended> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        match control {
            Control::Topic(name) => connection.topic = Some(name.into()),
            Control::Run {
                first,
                published,
                attempt,
            } => {
                connection.run = Run {
                    sequence: first,
                    published,
                    attempt,
                };
            }
            Control::Origin(origin) => connection.origin = Some(origin),
            Control::Ping(number) => Control::Pong(number, None).encode(&mut connection.control),
            Control::Pong(_, lag) => self.events.extend(lag.map(ConsumerEvent::Lag)),
            Control::Gap(range, reason) => {
                self.events.push_back(ConsumerEvent::Gap(range, reason));
            }
            Control::Revoked { code, ranges } => {
                let at = |place| Position {
                    connection: self.connections,
                    place,
                };
                let positions = ranges.iter().map(|it| (at(it.from), at(it.to)));
                self.events.push_back(ConsumerEvent::Revoked {
                    code,
                    positions: positions.collect(),
                });
            }
            Control::GoAway { wait_ms, .. } => {
                self.events.push_back(ConsumerEvent::GoAway { wait_ms });
            }
            Control::Error(reason) => return Err(Ended::Refused(reason)),
            Control::Flushed(_) => {}
            Control::Flush(_)
            | Control::Bye
            | Control::Confirmed { .. }
            | Control::Refused(..)
            | Control::Blocked { .. }
            | Control::Settle { .. }
            | Control::Credit { .. } => {
                unreachable!("the reader lets nothing through that goes another way")
            }
        }
        Ok(())
    }

    /// Tells what became of the messages from `from` to `to`. Without effect, and `false`, where they were handed
    /// out on a connection that has ended: they are handed out again.
    ///
    /// `delay_ms` is for [`Outcome::Failed`] alone: the least time before they come again.
    ///
    /// # Panics
    /// If `from` is behind `to`, or was not handed out yet.
    pub fn settle(
        &mut self,
        outcome: Outcome,
        delay_ms: u32,
        from: Position,
        to: Position,
    ) -> bool {
        let Some(connection) = &mut self.connection else {
            return false;
        };
        if from.connection != self.connections || to.connection != self.connections {
            return false;
        }
        let range = Range::new(from.place, to.place).expect("a range that runs forwards");
        assert!(to.place < connection.next_place, "it was not handed out");
        connection.settling.settle(outcome, delay_ms, range);
        true
    }

    /// All messages of this connection up to `position` are done.
    pub fn ack_up_to(&mut self, position: Position) -> bool {
        let first = Position {
            place: 1,
            ..position
        };
        self.settle(Outcome::Done, 0, first, position)
    }

    /// Sets how much may be unsettled from now on; 0 messages pauses.
    pub fn credit(&mut self, messages: u32, bytes: u32) {
        if let Some(connection) = &mut self.connection {
            Control::Credit { messages, bytes }.encode(&mut connection.control);
        }
    }

    /// Leaves in an orderly way, after all that was settled: what is still held goes back, and nothing of it has
    /// failed. Once that is written, the runtime closes.
    pub fn leave(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.settling.encode(&mut connection.control);
            Control::Bye.encode(&mut connection.control);
        }
    }

    fn end(&mut self, ended: Ended) {
        if let Some(mut connection) = self.connection.take() {
            connection.settling.clear();
            self.events.push_back(ConsumerEvent::Ended(ended));
        }
    }

    /// What to write next. What was settled is gathered until this is called.
    pub fn poll_transmit(&mut self, now: Now) -> Option<Bytes> {
        let connection = self.connection.as_mut()?;
        if connection.is_open && !connection.settling.is_empty() {
            connection.settling.encode(&mut connection.control);
        }
        if connection.control.is_empty() {
            return None;
        }
        connection.liveness.sent(now);
        Some(connection.control.split().freeze())
    }

    /// What there is to tell next.
    pub fn poll_event(&mut self) -> Option<ConsumerEvent> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub fn poll_timeout(&self) -> Option<Now> {
        self.connection.as_ref()?.liveness.next()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        match connection.liveness.due(now) {
            Due::Nothing => {}
            Due::Silent => self.end(Ended::Silent),
            Due::Ping => {
                connection.liveness.sent(now);
                if connection.is_open {
                    Control::Ping(now.since_start().as_millis() as u64)
                        .encode(&mut connection.control);
                }
            }
        }
    }
}

impl Connection {
    fn delivery(&mut self, batch: FrameBatch, connection: u64) -> Delivery {
        let messages = batch.messages() as u64;
        let delivery = Delivery {
            batch,
            topic: self.topic.clone(),
            sequence: self.run.sequence,
            published: self.run.published,
            attempt: self.run.attempt,
            origin: self.origin.take(),
            first: Position {
                connection,
                place: self.next_place,
            },
        };
        self.next_place += messages;
        self.run.sequence = self.run.sequence.saturating_add(messages);
        delivery
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use bytes::BufMut;

    fn connected() -> ConsumerClient {
        let mut client = ConsumerClient::new(ConsumerOptions {
            ack: true,
            ..ConsumerOptions::default()
        });
        client.connected(Now::START);
        assert_eq!(transmitted(&mut client), "CONSUMER v=2 ack=1\\n");
        tell(&mut client, b"OK v=2 heartbeat=15 topic=gpu group=store\n");
        assert!(matches!(
            client.poll_event(),
            Some(ConsumerEvent::Connected(_))
        ));
        client
    }

    fn tell(client: &mut ConsumerClient, bytes: &[u8]) {
        client.recv_buf().expect("connected").put_slice(bytes);
        client.received(Now::START);
    }

    fn tell_control(client: &mut ConsumerClient, control: &Control) {
        let mut bytes = BytesMut::new();
        control.encode(&mut bytes);
        tell(client, &bytes);
    }

    fn transmitted(client: &mut ConsumerClient) -> String {
        let all = core::iter::from_fn(|| client.poll_transmit(Now::START));
        all.map(|bytes| bytes.escape_ascii().to_string()).collect()
    }

    fn delivery(client: &mut ConsumerClient) -> Delivery {
        match client.poll_event() {
            Some(ConsumerEvent::Delivered(delivery)) => delivery,
            other => panic!("no delivery: {other:?}"),
        }
    }

    fn run(first: u64, attempt: u32) -> Control {
        Control::Run {
            first,
            published: 77,
            attempt,
        }
    }

    #[test]
    fn each_message_has_its_sequence_its_attempt_and_its_position() {
        let mut client = connected();
        tell_control(&mut client, &run(5, 1));
        tell(&mut client, b"\0\0\0\x01a\0\0\0\x01b");
        tell(&mut client, b"\0\0\0\x01c");
        tell_control(&mut client, &run(2, 2));
        tell(&mut client, b"\0\0\0\x01d");
        let told: Vec<_> = (0..3)
            .map(|_| delivery(&mut client))
            .map(|it| (it.sequence, it.attempt, it.first.place, it.last().place))
            .collect();
        assert_eq!(told, [(5, 1, 1, 2), (7, 1, 3, 3), (2, 2, 4, 4)]);
    }

    #[test]
    fn what_is_settled_one_by_one_is_one_range() {
        let mut client = connected();
        tell_control(&mut client, &run(1, 1));
        tell(&mut client, b"\0\0\0\x01a\0\0\0\x01b\0\0\0\x01c");
        let delivery = delivery(&mut client);
        for place in [2, 0, 1] {
            let position = delivery.position(place);
            assert!(client.settle(Outcome::Done, 0, position, position));
        }
        let range =
            "\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x03";
        assert_eq!(
            transmitted(&mut client),
            alloc::format!("\\x80\\x00\\x00\\x160\\x01\\x00\\x00\\x00\\x00{range}")
        );
    }

    #[test]
    fn what_an_ended_connection_handed_out_cannot_be_settled() {
        let mut client = connected();
        tell_control(&mut client, &run(1, 1));
        tell(&mut client, b"\0\0\0\x01a");
        let old = delivery(&mut client);
        client.disconnected();
        assert!(!client.ack_up_to(old.last()));
        client.connected(Now::START);
        transmitted(&mut client);
        tell(&mut client, b"OK v=2\n");
        assert!(!client.ack_up_to(old.last()));
        assert_eq!(transmitted(&mut client), "");
    }

    #[test]
    fn a_dead_letter_says_where_it_came_from_and_the_next_does_not() {
        let mut client = connected();
        let origin = Origin {
            sequence: 4,
            failures: 20,
            published: 1,
            topic: "gpu".into(),
            group: "store".into(),
            reason: "rejected".into(),
        };
        tell_control(&mut client, &Control::Origin(origin.clone()));
        tell(&mut client, b"\0\0\0\x01a\0\0\0\x01b\0\0\0\x01c");
        let told: Vec<_> = (0..2)
            .map(|_| delivery(&mut client))
            .map(|it| (it.batch.messages(), it.first.place, it.origin))
            .collect();
        assert_eq!(told, [(1, 1, Some(origin)), (2, 2, None)]);
    }

    #[test]
    fn leaving_settles_first() {
        let mut client = connected();
        tell_control(&mut client, &run(1, 1));
        tell(&mut client, b"\0\0\0\x01a");
        let delivery = delivery(&mut client);
        assert!(client.ack_up_to(delivery.last()));
        client.leave();
        let bytes = transmitted(&mut client);
        assert!(bytes.ends_with("\\x80\\x00\\x00\\x01\\x08"), "{bytes}");
        assert_eq!(bytes.matches("\\x80\\x00\\x00").count(), 2);
    }

    #[test]
    fn revoked_positions_are_of_this_connection() {
        let mut client = connected();
        tell_control(
            &mut client,
            &Control::Revoked {
                code: "ack_timeout".into(),
                ranges: alloc::vec![Range { from: 1, to: 2 }],
            },
        );
        let at = |place| Position {
            connection: 1,
            place,
        };
        assert_eq!(
            client.poll_event(),
            Some(ConsumerEvent::Revoked {
                code: "ack_timeout".into(),
                positions: alloc::vec![(at(1), at(2))],
            })
        );
    }
}
