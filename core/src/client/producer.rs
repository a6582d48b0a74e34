//! A producer.

use super::Ended;
use super::connection::Connection;
use super::resend::{Resend, Window};
use crate::names::TopicName;
use crate::time::Now;
use crate::wire::control::{Control, Link, Range, Reason};
use crate::wire::handshake::{Accepted, BadAnswer, ProducerOptions, RoleOptions};
use crate::wire::{FrameBatch, Received};
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use bytes::{Bytes, BytesMut};

/// The largest read asked for, in bytes: a broker says little to a producer.
const READ_BYTES: usize = 16 * 1024;

/// What a producer has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProducerEvent {
    /// The broker has accepted the connection.
    Connected(Accepted),
    /// All messages up to this number are safe, or were refused. Told with confirms only.
    Confirmed {
        /// The number.
        number: u64,
        /// How many messages in all, on this connection, found no group to go to.
        unrouted: u64,
    },
    /// The messages with these numbers were not taken and will not be.
    Refused(Range, Reason),
    /// The broker does not read from this producer, or does so again; and why.
    Blocked(bool, String),
    /// So many messages that were confirmed are gone: the broker has lost them, in a crash without a durable
    /// disk for instance. They are not sent again.
    Lost(u64),
    /// The broker is about to close: nothing more is sent on this connection. Connect again after this time.
    GoAway {
        /// Milliseconds to wait before connecting again.
        wait_ms: u32,
    },
    /// The connection has ended. What is not confirmed is sent again on the next.
    Ended(Ended),
}

/// A producer, over any number of connections.
///
/// - **What happened** goes in: [`connected`](Self::connected), [`received`](Self::received) after a read
///   into [`recv_buf`](Self::recv_buf), [`disconnected`](Self::disconnected),
///   [`handle_timeout`](Self::handle_timeout), and messages by [`send`](Self::send).
/// - **What to do** comes out: [`poll_transmit`](Self::poll_transmit) until there is nothing, then
///   [`poll_event`](Self::poll_event) until there is nothing, then [`poll_timeout`](Self::poll_timeout).
///
/// With [`ProducerOptions::confirm`] a message is kept until it is confirmed, and sent again on the next
/// connection if it was not. With an identity it then enters its topic exactly once; without one it may enter twice.
/// Without confirms it is kept until it was handed to the connection.
///
/// Messages go to the topic of the options, or to another one each ([`send_to`](Self::send_to)): the broker is told
/// before each change, and again on the next connection.
#[derive(Debug)]
pub struct ProducerClient {
    options: ProducerOptions,
    resend: Resend,
    connection: Option<Connection>,
    /// The topic of the role line, once a broker has named it.
    home: Option<TopicName>,
    /// The topic of the messages that are sent next on this connection, unless it is told another.
    topic: Option<TopicName>,
    /// What the broker answered, while it has yet to tell what was refused on earlier connections.
    resuming: Option<Resuming>,
    /// Whether the broker is about to close the connection.
    is_going_away: bool,
    /// The number up to which the end of every message was told.
    told: u64,
    events: VecDeque<ProducerEvent>,
}

/// A connection on which nothing is taken for safe, and nothing is sent, until the broker has told what was refused.
#[derive(Debug)]
struct Resuming {
    /// The last position that is accepted.
    accepted: u64,
    /// How many REFUSED are to come.
    refusals: u32,
}

impl ProducerClient {
    /// A producer without a connection.
    pub fn new(options: ProducerOptions, window: Window) -> Self {
        let first = options.identity.as_ref().map_or(1, |identity| identity.at);
        Self {
            home: options.topic.clone(),
            options,
            resend: Resend::new(first, window),
            connection: None,
            topic: None,
            resuming: None,
            is_going_away: false,
            told: first - 1,
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
        let mut options = self.options.clone();
        match &mut options.identity {
            Some(identity) => identity.at = self.resend.first_position(),
            None => self.resend.begin_anew(),
        }
        self.is_going_away = false;
        self.resuming = None;
        self.resend.forget_refused_ahead();
        let options = RoleOptions::Producer(options);
        self.connection = Some(Connection::new(Link::ToProducer, READ_BYTES, &options, now));
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
                self.accepted(accepted);
            }
            Received::Control(control) => return self.control(control),
            // A broker sends a producer no messages; that it does so is its own affair.
            Received::Batch(_) => {}
        }
        Ok(())
    }

    fn accepted(&mut self, answer: Accepted) {
        if let Some(topic) = &answer.topic {
            self.home = TopicName::new(topic).ok();
        }
        self.topic = self.home.clone();
        let accepted = answer.accepted.unwrap_or(0);
        let refusals = answer.refused.unwrap_or(0);
        self.events.push_back(ProducerEvent::Connected(answer));
        if refusals > 0 {
            self.resuming = Some(Resuming { accepted, refusals });
        } else {
            self.go_on(accepted);
        }
    }

    /// All that was refused up to `accepted` is known, and the rest of that is safe.
    fn go_on(&mut self, accepted: u64) {
        self.resuming = None;
        let lost = self.resend.restart(accepted);
        if lost > 0 {
            self.events.push_back(ProducerEvent::Lost(lost));
        }
        self.tell_confirmed(0);
    }

    fn control(&mut self, control: Control) -> Result<(), Ended> {
        match control {
            Control::Ping(number) => self.say(&Control::Pong(number, None)),
            Control::Confirmed { position, unrouted } => {
                if let Some(resuming) = &self.resuming {
                    // It tells less than it has announced.
                    self.go_on(resuming.accepted);
                }
                self.resend.confirm(position.min(self.resend.last_sent()));
                self.tell_confirmed(unrouted);
            }
            Control::Refused(range, reason) => self.refused(range, &reason),
            Control::Blocked { blocked, text } => {
                self.events.push_back(ProducerEvent::Blocked(blocked, text));
            }
            Control::GoAway { wait_ms, .. } => {
                self.is_going_away = true;
                self.events.push_back(ProducerEvent::GoAway { wait_ms });
            }
            Control::Error(reason) => return Err(Ended::Refused(reason)),
            Control::Pong(..) | Control::Flushed(_) => {}
            Control::Topic(_)
            | Control::Flush(_)
            | Control::Bye
            | Control::Run { .. }
            | Control::Gap(..)
            | Control::Origin(_)
            | Control::Revoked { .. }
            | Control::Settle { .. }
            | Control::Credit { .. }
            | Control::Check { .. }
            | Control::Segment { .. } => {
                unreachable!("the reader lets nothing through that goes another way")
            }
        }
        Ok(())
    }

    fn refused(&mut self, range: Range, reason: &Reason) {
        let numbers = match &self.resuming {
            Some(it) => self.resend.refused_before(range, reason, it.accepted),
            None => self.resend.refuse(range),
        };
        for numbers in numbers {
            let event = ProducerEvent::Refused(numbers, reason.clone());
            self.events.push_back(event);
        }
        if let Some(resuming) = &mut self.resuming {
            resuming.refusals -= 1;
            if resuming.refusals == 0 {
                let accepted = resuming.accepted;
                self.go_on(accepted);
            }
        }
    }

    fn tell_confirmed(&mut self, unrouted: u64) {
        let number = self.resend.settled_number();
        if self.options.confirm && number > self.told {
            self.told = number;
            let event = ProducerEvent::Confirmed { number, unrouted };
            self.events.push_back(event);
        }
    }

    fn say(&mut self, control: &Control) {
        if let Some(connection) = &mut self.connection {
            control.encode(connection.outgoing());
        }
    }

    fn end(&mut self, ended: Ended) {
        if self.connection.take().is_some() {
            self.events.push_back(ProducerEvent::Ended(ended));
        }
    }

    /// Whether there is room for `batch` in the window.
    pub fn has_room(&self, batch: &FrameBatch) -> bool {
        self.resend.has_room(batch)
    }

    /// Takes messages in, with a connection or without. Returns their numbers.
    ///
    /// # Errors
    /// There is no room; the batch comes back.
    ///
    /// # Panics
    /// If there is no message in it.
    pub fn send(&mut self, batch: FrameBatch) -> Result<Range, FrameBatch> {
        self.take_in(None, batch)
    }

    /// As [`send`](Self::send), to another topic than that of the options.
    ///
    /// # Errors
    /// There is no room; the batch comes back.
    ///
    /// # Panics
    /// If there is no message in it.
    pub fn send_to(&mut self, topic: TopicName, batch: FrameBatch) -> Result<Range, FrameBatch> {
        self.take_in(Some(topic), batch)
    }

    fn take_in(
        &mut self,
        topic: Option<TopicName>,
        batch: FrameBatch,
    ) -> Result<Range, FrameBatch> {
        assert!(!batch.is_empty(), "a batch without messages");
        if self.resend.has_room(&batch) {
            for (numbers, reason) in self.resend.refusals_of_next(batch.messages() as u64) {
                self.events
                    .push_back(ProducerEvent::Refused(numbers, reason));
            }
            Ok(self.resend.push(topic, batch))
        } else {
            Err(batch)
        }
    }

    /// Whether every message that was taken in has come to its end: confirmed or refused; or, without
    /// confirms, handed to the connection.
    pub fn is_done(&self) -> bool {
        self.resend.is_empty()
    }

    /// The number up to which every message has come to its end. What the broker had before it was sent again is
    /// passed over, and so may be told by no event.
    pub fn settled(&self) -> u64 {
        self.resend.settled_number()
    }

    /// What is not confirmed: as much of the window is taken.
    pub const fn unconfirmed(&self) -> Window {
        self.resend.held()
    }

    /// Whether something was sent on this connection and is not confirmed.
    pub fn awaits_confirms(&self) -> bool {
        !self.is_done() && self.resend.first_position() <= self.resend.last_sent()
    }

    /// Whether all that can be sent on this connection was polled.
    pub fn is_sent(&self) -> bool {
        self.resend.is_sent()
    }

    /// What to write next. Control frames stand between messages, never inside them.
    pub fn poll_transmit(&mut self, now: Now) -> Option<Bytes> {
        let may_send = self.resuming.is_none() && !self.is_going_away;
        let is_open = self.connection.as_ref()?.is_open() && may_send;
        if is_open && let Err(ended) = self.turn_to_topic() {
            self.end(ended);
        }
        let connection = self.connection.as_mut()?;
        let bytes = match connection.take_outgoing() {
            Some(bytes) => bytes,
            None if is_open => {
                let batch = self.resend.next_unsent()?;
                if !self.options.confirm {
                    self.resend.confirm(self.resend.last_sent());
                }
                batch.into_bytes()
            }
            None => return None,
        };
        connection.sent(now);
        Some(bytes)
    }

    /// Has the broker told where the next messages go, if not to where the last ones went.
    fn turn_to_topic(&mut self) -> Result<(), Ended> {
        let Some(wanted) = self.resend.unsent_topic() else {
            return Ok(());
        };
        let wanted = wanted.or(self.home.as_ref());
        if wanted == self.topic.as_ref() {
            return Ok(());
        }
        let Some(wanted) = wanted.cloned() else {
            // It did not name the topic, and there is no way back to it.
            return Err(Ended::NoAnswer(BadAnswer::Key("topic")));
        };
        self.say(&Control::Topic(wanted.to_string()));
        self.topic = Some(wanted);
        Ok(())
    }

    /// The next thing to tell, if it is that messages were refused; else it stays what is told next.
    pub fn poll_refused(&mut self) -> Option<(Range, Reason)> {
        match self.events.pop_front()? {
            ProducerEvent::Refused(numbers, reason) => Some((numbers, reason)),
            other @ (ProducerEvent::Connected(_)
            | ProducerEvent::Confirmed { .. }
            | ProducerEvent::Blocked(..)
            | ProducerEvent::Lost(_)
            | ProducerEvent::GoAway { .. }
            | ProducerEvent::Ended(_)) => {
                self.events.push_front(other);
                None
            }
        }
    }

    /// What there is to tell next.
    pub fn poll_event(&mut self) -> Option<ProducerEvent> {
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

#[cfg(test)]
mod tests;
