//! A consumer.

use super::Ended;
use super::connection::Connection;
use super::settling::Settling;
use crate::time::Now;
use crate::wire::control::{Control, Lag, Link, Origin, Outcome, Range, Reason};
use crate::wire::handshake::{Accepted, ConsumerOptions, RoleOptions};
use crate::wire::{FrameBatch, Received};
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

impl Position {
    /// The position so many places further on.
    pub const fn plus(self, messages: u64) -> Self {
        Self {
            place: self.place.saturating_add(messages),
            ..self
        }
    }

    /// How many messages stand from this one to `last`, both included; none where `last` is before it or of another
    /// connection.
    pub const fn messages_to(self, last: Self) -> u64 {
        if self.connection == last.connection && self.place <= last.place {
            last.place - self.place + 1
        } else {
            0
        }
    }
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
    /// What waits for the consumer's group: the answer to the last question up to this number
    /// ([`ask_lag`](ConsumerClient::ask_lag)), or to none.
    Lag(u64, Lag),
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
    /// Where it stands in the connection's stream.
    stream: Stream,
    /// How many connections there have been.
    connections: u64,
    /// Whether it wants nothing for now.
    is_paused: bool,
    /// What is still to be written on a connection that it has ended itself.
    last_words: Option<Bytes>,
    events: VecDeque<ConsumerEvent>,
}

/// What one connection has told of the messages to come, and what it has yet to be told of those before.
#[derive(Debug)]
struct Stream {
    settling: Settling,
    /// The place of the next message.
    next_place: u64,
    topic: Option<Arc<str>>,
    run: Run,
    origin: Option<Origin>,
}

/// What the last RUN said of the messages after it, moved on to the next of them.
#[derive(Clone, Copy, Debug)]
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
            stream: Stream::new(),
            connections: 0,
            is_paused: false,
            last_words: None,
            events: VecDeque::new(),
        }
    }

    /// Takes this as what shows who the client is, from the next connection on: tokens are replaced while clients live.
    pub fn set_token(&mut self, token: Option<String>) {
        self.options.common.token = token;
    }

    /// There is a connection to a broker.
    ///
    /// # Panics
    /// If there was one already.
    pub fn connected(&mut self, now: Now) {
        assert!(self.connection.is_none(), "one connection at a time");
        self.connections += 1;
        self.stream = Stream::new();
        self.last_words = None;
        let options = RoleOptions::Consumer(self.options.clone());
        let mut connection = Connection::new(Link::ToConsumer, READ_BYTES, &options, now);
        if self.is_paused {
            let pause = Control::Credit {
                messages: 0,
                bytes: self.options.prefetch_bytes,
            };
            pause.encode(connection.outgoing());
        }
        self.connection = Some(connection);
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
        Some(connection.recv_buf())
    }

    /// Bytes were appended to [`recv_buf`](Self::recv_buf).
    pub fn received(&mut self, now: Now) {
        while let Some(connection) = &mut self.connection {
            let handled = match connection.receive(now) {
                Ok(None) => return,
                Ok(Some(received)) => self.handle(received, now),
                Err(ended) => Err(ended),
            };
            if let Err(ended) = handled {
                if let Ended::Damaged(_) = ended {
                    self.leave();
                    let connection = self.connection.as_mut();
                    self.last_words = connection.and_then(Connection::take_outgoing);
                }
                self.end(ended);
            }
        }
    }

    fn handle(&mut self, received: Received, now: Now) -> Result<(), Ended> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        match received {
            Received::Line(line) => {
                let accepted = connection.answered(&line, now)?;
                self.stream.topic = accepted.topic.as_deref().map(Arc::from);
                self.events.push_back(ConsumerEvent::Connected(accepted));
            }
            Received::Batch(mut batch) => {
                // An ORIGIN is of one message alone.
                if self.stream.origin.is_some() && batch.messages() > 1 {
                    let first = self.stream.delivery(batch.split_to(1), self.connections);
                    self.events.push_back(ConsumerEvent::Delivered(first));
                }
                let delivery = self.stream.delivery(batch, self.connections);
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
            Control::Topic(name) => self.stream.topic = Some(name.into()),
            Control::Run {
                first,
                published,
                attempt,
            } => {
                self.stream.run = Run {
                    sequence: first,
                    published,
                    attempt,
                };
            }
            Control::Origin(origin) => self.stream.origin = Some(origin),
            Control::Ping(number) => Control::Pong(number, None).encode(connection.outgoing()),
            Control::Pong(number, lag) => {
                let event = lag.map(|lag| ConsumerEvent::Lag(number, lag));
                self.events.extend(event);
            }
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
            // The reader has verified it, where that was asked for.
            Control::Flushed(_) | Control::Check { .. } | Control::Segment { .. } => {}
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
        let is_of_now = |position: Position| position.connection == self.connections;
        if self.connection.is_none() || !is_of_now(from) || !is_of_now(to) {
            return false;
        }
        let range = Range::new(from.place, to.place).expect("a range that runs forwards");
        assert!(to.place < self.stream.next_place, "it was not handed out");
        self.stream.settling.settle(outcome, delay_ms, range);
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

    /// Sets how much may be unsettled from now on, on later connections too; 0 messages pauses.
    pub fn credit(&mut self, messages: u32, bytes: u32) {
        // A role line can ask for no less than one; a pause is said behind it.
        self.options.prefetch = messages.max(1);
        self.options.prefetch_bytes = bytes.max(1);
        self.is_paused = messages == 0;
        if let Some(connection) = &mut self.connection {
            Control::Credit { messages, bytes }.encode(connection.outgoing());
        }
    }

    /// Asks what waits for the consumer's group; returns the number of the question. The answer comes after all that
    /// was settled before has taken effect. None where no broker has accepted the connection.
    pub fn ask_lag(&mut self) -> Option<u64> {
        let connection = self.connection.as_mut().filter(|it| it.is_open())?;
        // What was settled is told first.
        self.stream.settling.encode(connection.outgoing());
        Some(connection.ask())
    }

    /// Leaves in an orderly way, after all that was settled: what is still held goes back, and nothing of it has
    /// failed. Once that is written, the runtime closes.
    pub fn leave(&mut self) {
        if let Some(connection) = &mut self.connection {
            // Else what is settled makes room for more, which would have been handed out for nothing.
            let pause = Control::Credit {
                messages: 0,
                bytes: self.options.prefetch_bytes,
            };
            pause.encode(connection.outgoing());
            self.stream.settling.encode(connection.outgoing());
            Control::Bye.encode(connection.outgoing());
        }
    }

    fn end(&mut self, ended: Ended) {
        if self.connection.take().is_some() {
            self.events.push_back(ConsumerEvent::Ended(ended));
        }
    }

    /// What to write next. What was settled is gathered until this is called.
    ///
    /// After [`Ended::Damaged`] too: the runtime writes that before it closes. So what is held goes back, and nothing of it
    /// has failed.
    pub fn poll_transmit(&mut self, now: Now) -> Option<Bytes> {
        let Some(connection) = self.connection.as_mut() else {
            return self.last_words.take();
        };
        if connection.is_open() {
            self.stream.settling.encode(connection.outgoing());
        }
        let bytes = connection.take_outgoing()?;
        connection.sent(now);
        Some(bytes)
    }

    /// What there is to tell next.
    pub fn poll_event(&mut self) -> Option<ConsumerEvent> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub fn poll_timeout(&self) -> Option<Now> {
        self.connection.as_ref()?.next_timeout()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        if let Some(connection) = &mut self.connection
            && let Err(ended) = connection.handle_timeout(now)
        {
            self.end(ended);
        }
    }
}

impl Stream {
    const fn new() -> Self {
        Self {
            settling: Settling::new(),
            next_place: 1,
            topic: None,
            run: Run {
                sequence: 0,
                published: 0,
                attempt: 0,
            },
            origin: None,
        }
    }

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
mod tests;
