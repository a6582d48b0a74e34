//! A producer.

use super::Ended;
use super::liveness::{Due, Liveness};
use super::resend::{Resend, Window};
use crate::time::Now;
use crate::wire::control::{Control, Link, Range, Reason};
use crate::wire::handshake::{Accepted, Answer, ProducerOptions, RoleOptions};
use crate::wire::{FrameBatch, FrameReader, Received};
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
#[derive(Debug)]
pub struct ProducerClient {
    options: ProducerOptions,
    resend: Resend,
    connection: Option<Connection>,
    events: VecDeque<ProducerEvent>,
}

#[derive(Debug)]
struct Connection {
    reader: FrameReader,
    liveness: Liveness,
    /// To be written before any message.
    control: BytesMut,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The role line was written; its answer has not come.
    Greeting,
    Open,
    /// The broker is about to close.
    GoingAway,
}

impl ProducerClient {
    /// A producer without a connection.
    pub fn new(options: ProducerOptions, window: Window) -> Self {
        let first = options.identity.as_ref().map_or(1, |identity| identity.at);
        Self {
            options,
            resend: Resend::new(first, window),
            connection: None,
            events: VecDeque::new(),
        }
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
        let heartbeat = options.common.heartbeat;
        self.connection = Some(Connection {
            reader: FrameReader::new(Link::ToProducer, READ_BYTES),
            liveness: Liveness::new(heartbeat, now),
            control: BytesMut::from(RoleOptions::Producer(options).line().as_bytes()),
            phase: Phase::Greeting,
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
        match received {
            Received::Line(line) => match Answer::parse(line.as_bytes())? {
                Answer::Ok(accepted) => self.accepted(accepted, now),
                Answer::Error { code, text } => return Err(Ended::Refused(Reason { code, text })),
            },
            Received::Control(control) => return self.control(control),
            // A broker sends a producer no messages; that it does so is its own affair.
            Received::Batch(_) => {}
        }
        Ok(())
    }

    fn accepted(&mut self, accepted: Accepted, now: Now) {
        if let Some(connection) = &mut self.connection {
            connection.phase = Phase::Open;
            connection.liveness = Liveness::new(accepted.heartbeat, now);
        }
        let settled = self.resend.settled_number();
        let lost = self.resend.restart(accepted.accepted.unwrap_or(0));
        self.events.push_back(ProducerEvent::Connected(accepted));
        if lost > 0 {
            self.events.push_back(ProducerEvent::Lost(lost));
        }
        self.tell_confirmed(settled, 0);
    }

    fn control(&mut self, control: Control) -> Result<(), Ended> {
        match control {
            Control::Ping(number) => self.answer(&Control::Pong(number, None)),
            Control::Confirmed { position, unrouted } => {
                let settled = self.resend.settled_number();
                self.resend.confirm(position.min(self.resend.last_sent()));
                self.tell_confirmed(settled, unrouted);
            }
            Control::Refused(range, reason) => {
                for numbers in self.resend.refuse(range) {
                    let event = ProducerEvent::Refused(numbers, reason.clone());
                    self.events.push_back(event);
                }
            }
            Control::Blocked { blocked, text } => {
                self.events.push_back(ProducerEvent::Blocked(blocked, text));
            }
            Control::GoAway { wait_ms, .. } => {
                if let Some(connection) = &mut self.connection {
                    connection.phase = Phase::GoingAway;
                }
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
            | Control::Credit { .. } => {
                unreachable!("the reader lets nothing through that goes another way")
            }
        }
        Ok(())
    }

    fn tell_confirmed(&mut self, settled_before: u64, unrouted: u64) {
        let number = self.resend.settled_number();
        if self.options.confirm && number > settled_before {
            let event = ProducerEvent::Confirmed { number, unrouted };
            self.events.push_back(event);
        }
    }

    fn answer(&mut self, control: &Control) {
        if let Some(connection) = &mut self.connection {
            control.encode(&mut connection.control);
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
        assert!(!batch.is_empty(), "a batch without messages");
        if self.resend.has_room(&batch) {
            Ok(self.resend.push(batch))
        } else {
            Err(batch)
        }
    }

    /// Whether every message that was taken in has come to its end: confirmed or refused; or, without
    /// confirms, handed to the connection.
    pub fn is_done(&self) -> bool {
        self.resend.is_empty()
    }

    /// Whether all that can be sent on this connection was polled.
    pub fn is_sent(&self) -> bool {
        self.resend.is_sent()
    }

    /// What to write next. Control frames stand between messages, never inside them.
    pub fn poll_transmit(&mut self, now: Now) -> Option<Bytes> {
        let connection = self.connection.as_mut()?;
        let bytes = if connection.control.is_empty() {
            if connection.phase != Phase::Open {
                return None;
            }
            let batch = self.resend.next_unsent()?;
            if !self.options.confirm {
                self.resend.confirm(self.resend.last_sent());
            }
            batch.into_bytes()
        } else {
            connection.control.split().freeze()
        };
        connection.liveness.sent(now);
        Some(bytes)
    }

    /// What there is to tell next.
    pub fn poll_event(&mut self) -> Option<ProducerEvent> {
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
            Due::Ping if connection.phase == Phase::Greeting => connection.liveness.sent(now),
            Due::Ping => {
                connection.liveness.sent(now);
                Control::Ping(now.since_start().as_millis() as u64).encode(&mut connection.control);
            }
        }
    }

    /// Whom it speaks for, in a line.
    pub fn name(&self) -> String {
        self.options
            .identity
            .as_ref()
            .map_or_else(|| "a producer".into(), |it| it.name.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Name;
    use crate::wire::handshake::Identity;
    use alloc::format;
    use alloc::vec::Vec;
    use bytes::BufMut;
    use core::time::Duration;

    fn options(name: Option<&str>) -> ProducerOptions {
        ProducerOptions {
            confirm: true,
            identity: name.map(|name| Identity {
                name: Name::new(name).expect("a name"),
                session: String::new(),
                at: 1,
            }),
            ..ProducerOptions::default()
        }
    }

    fn batch(messages: &[&str]) -> FrameBatch {
        FrameBatch::encode(messages).expect("small messages")
    }

    fn transmitted(client: &mut ProducerClient) -> String {
        let all = core::iter::from_fn(|| client.poll_transmit(Now::START));
        all.map(|bytes| bytes.escape_ascii().to_string()).collect()
    }

    fn events(client: &mut ProducerClient) -> Vec<ProducerEvent> {
        core::iter::from_fn(|| client.poll_event()).collect()
    }

    fn tell(client: &mut ProducerClient, bytes: &[u8]) {
        client.recv_buf().expect("connected").put_slice(bytes);
        client.received(Now::START);
    }

    fn tell_control(client: &mut ProducerClient, control: &Control) {
        let mut bytes = BytesMut::new();
        control.encode(&mut bytes);
        tell(client, &bytes);
    }

    fn connect(client: &mut ProducerClient, accepted: u64) {
        client.connected(Now::START);
        let answer = format!("OK v=2 heartbeat=15 accepted={accepted} resumed=1\n");
        tell(client, answer.as_bytes());
    }

    #[test]
    fn a_named_producer_skips_what_the_broker_has_and_sends_the_rest_once() {
        let mut client = ProducerClient::new(options(Some("p")), Window::default());
        assert!(client.send(batch(&["a", "b"])).is_ok());
        client.connected(Now::START);
        assert_eq!(transmitted(&mut client), "PRODUCER v=2 producer=p\\n");
        tell(&mut client, b"OK v=2 heartbeat=15 accepted=0 resumed=0\n");
        assert_eq!(
            transmitted(&mut client),
            "\\x00\\x00\\x00\\x01a\\x00\\x00\\x00\\x01b"
        );
        client.disconnected();
        assert!(matches!(
            events(&mut client)[..],
            [
                ProducerEvent::Connected(_),
                ProducerEvent::Ended(Ended::Disconnected)
            ]
        ));
        client.connected(Now::START);
        assert_eq!(transmitted(&mut client), "PRODUCER v=2 producer=p\\n");
        tell(&mut client, b"OK v=2 accepted=1 resumed=1\n");
        assert_eq!(transmitted(&mut client), "\\x00\\x00\\x00\\x01b");
        let confirmed = |number| ProducerEvent::Confirmed {
            number,
            unrouted: 0,
        };
        assert_eq!(events(&mut client)[1..], [confirmed(1)]);
        tell_control(
            &mut client,
            &Control::Confirmed {
                position: 2,
                unrouted: 0,
            },
        );
        assert_eq!(events(&mut client), [confirmed(2)]);
        assert!(client.is_done());
        client.disconnected();
        client.connected(Now::START);
        assert_eq!(transmitted(&mut client), "PRODUCER v=2 producer=p at=3\\n");
    }

    #[test]
    fn a_confirm_for_what_was_never_sent_confirms_nothing_more() {
        let mut client = ProducerClient::new(options(None), Window::default());
        connect(&mut client, 0);
        assert!(client.send(batch(&["a"])).is_ok());
        tell_control(
            &mut client,
            &Control::Confirmed {
                position: 9,
                unrouted: 0,
            },
        );
        assert!(!client.is_done());
    }

    #[test]
    fn what_is_refused_is_told_by_number() {
        let mut client = ProducerClient::new(options(None), Window::default());
        connect(&mut client, 0);
        assert!(client.send(batch(&["a", "b"])).is_ok());
        transmitted(&mut client);
        events(&mut client);
        let reason = Reason {
            code: "full".into(),
            text: "queue".into(),
        };
        tell_control(
            &mut client,
            &Control::Refused(Range { from: 1, to: 1 }, reason.clone()),
        );
        assert_eq!(
            events(&mut client),
            [ProducerEvent::Refused(Range { from: 1, to: 1 }, reason)]
        );
        assert!(!client.is_done());
    }

    #[test]
    fn nothing_is_sent_after_goaway_and_a_final_error_says_so() {
        let mut client = ProducerClient::new(options(None), Window::default());
        connect(&mut client, 0);
        transmitted(&mut client);
        tell_control(
            &mut client,
            &Control::GoAway {
                left_ms: 9,
                wait_ms: 5,
                text: String::new(),
            },
        );
        assert!(client.send(batch(&["a"])).is_ok());
        assert_eq!(transmitted(&mut client), "");
        let taken_over = Reason {
            code: "taken_over".into(),
            text: String::new(),
        };
        tell_control(&mut client, &Control::Error(taken_over.clone()));
        let last = events(&mut client).pop();
        assert_eq!(
            last,
            Some(ProducerEvent::Ended(Ended::Refused(taken_over.clone())))
        );
        assert!(!Ended::Refused(taken_over).may_try_again());
        assert!(!client.is_connected() && !client.is_done());
    }

    #[test]
    fn a_silent_broker_is_asked_and_then_given_up() {
        let mut client = ProducerClient::new(options(None), Window::default());
        connect(&mut client, 0);
        transmitted(&mut client);
        let at = |seconds| Now::at(Duration::from_secs(seconds));
        assert_eq!(client.poll_timeout(), Some(at(15)));
        client.handle_timeout(at(15));
        assert!(
            client
                .poll_transmit(at(15))
                .is_some_and(|bytes| bytes[4] == 0x02)
        );
        client.handle_timeout(at(30));
        assert_eq!(
            events(&mut client).pop(),
            Some(ProducerEvent::Ended(Ended::Silent))
        );
    }

    #[test]
    fn without_confirms_nothing_is_kept() {
        let mut client = ProducerClient::new(ProducerOptions::default(), Window::default());
        connect(&mut client, 0);
        transmitted(&mut client);
        assert!(client.send(batch(&["a"])).is_ok());
        assert!(!client.is_done());
        assert_eq!(transmitted(&mut client), "\\x00\\x00\\x00\\x01a");
        assert!(client.is_done());
    }
}
