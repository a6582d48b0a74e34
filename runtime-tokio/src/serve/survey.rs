//! What there is to see of a broker, copied out of the core a part at a time.
//!
//! A broker can have many thousand connections, and nobody else gets on while the core is locked. So
//! whoever wants to see all of them gets them in parts of [`PART`]. HTTP does not even take the lock:
//! it asks ([`Surveyor::ask`]), and whoever has the core's lock anyway, because it has just fed it,
//! copies the next part ([`Surveyor::advance`]).

use super::driver::Core;
use message_queue_core::wire::Role;
use message_queue_core::{
    Config, ConnId, ConnectionView, ConsumerView, Count, DropReason, GroupId, Now, Stats, TopicId,
};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// The most connections, or groups, that are looked at in one go: some 10 microseconds.
const PART: usize = 128;

/// One consumer, as an operator sees it.
#[derive(Clone, Debug)]
pub struct ConsumerStatus {
    /// Its connection.
    pub conn: ConnId,
    /// Its address.
    pub addr: SocketAddr,
    /// For how long it has been connected.
    pub connected: Duration,
    /// What its socket has taken.
    pub delivered: Count,
    /// The write in flight to it.
    pub in_flight: Count,
    /// What waits for its group: for it alone in `broadcast`, for all of them in `queue`.
    pub backlog: Count,
    /// What was dropped for it alone (`broadcast`), by [`DropReason::index`]; nothing in `queue`.
    pub dropped: [Count; DropReason::COUNT],
}

/// One producer, as an operator sees it.
#[derive(Clone, Debug)]
pub struct ProducerStatus {
    /// Its connection.
    pub conn: ConnId,
    /// Its address.
    pub addr: SocketAddr,
    /// For how long it has been connected.
    pub connected: Duration,
    /// What it has sent, whole messages.
    pub received: Count,
    /// Whether it waits for room: what it sent last is held back, and it is not read from.
    pub waits_for_room: bool,
}

/// How much is to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Sums over all connections.
    Sums,
    /// And each connection.
    Lists,
}

/// What a survey has found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    pub(crate) config: Config,
    pub(crate) stats: Stats,
    /// In all backlogs: waiting, and not in flight.
    pub(crate) backlog: Count,
    /// The most messages and the most bytes that one backlog holds.
    pub(crate) fullest_backlog: Count,
    /// Of all that counts within `BROKER_BYTES`.
    pub(crate) held_bytes: usize,
    /// For how long the oldest message has been waiting; zero if none is.
    pub(crate) oldest: Duration,
    pub(crate) uptime: Duration,
    /// Longest connected first; empty without [`Detail::Lists`].
    pub(crate) consumers: Vec<ConsumerStatus>,
    /// Likewise.
    pub(crate) producers: Vec<ProducerStatus>,
}

/// A walk over all connections, then over all groups.
pub(crate) struct Survey {
    detail: Detail,
    next: Next,
    waiting_since: Option<Now>,
    findings: Findings,
}

/// Where a survey goes on.
enum Next {
    /// After this connection.
    Connections(Option<ConnId>),
    /// After this group.
    Groups(Option<(TopicId, GroupId)>),
}

impl Survey {
    pub(crate) fn new(detail: Detail) -> Self {
        Self {
            detail,
            next: Next::Connections(None),
            waiting_since: None,
            findings: Findings::default(),
        }
    }

    /// Looks at the next part, and returns what was found if it was the last. The counters are
    /// those of this moment, so that they add up.
    pub(crate) fn advance(&mut self, core: &Core, now: Now) -> Option<Findings> {
        let mut left = PART;
        if let Next::Connections(mut after) = self.next {
            for view in core.broker.connections_after(after).take(left) {
                after = Some(view.conn);
                left -= 1;
                self.visit(core, view, now);
            }
            self.next = match left {
                0 => Next::Connections(after),
                _ => Next::Groups(None),
            };
        }
        if let Next::Groups(mut after) = self.next {
            for (topic, group) in core.broker.groups_after(after).take(left) {
                after = Some((topic, group.id));
                left -= 1;
                let Count { messages, bytes } = group.backlog;
                self.findings.backlog += group.backlog;
                let fullest = &mut self.findings.fullest_backlog;
                fullest.messages = fullest.messages.max(messages);
                fullest.bytes = fullest.bytes.max(bytes);
                self.note_waiting(core.broker.group_waiting_since(topic, group.id));
            }
            self.next = Next::Groups(after);
        }
        if left == 0 {
            return None;
        }
        let mut findings = std::mem::take(&mut self.findings);
        findings.config = core.broker.config().clone();
        findings.stats = core.broker.stats().clone();
        findings.held_bytes = core.broker.held_bytes();
        findings.oldest = self
            .waiting_since
            .map_or(Duration::ZERO, |since| now - since);
        findings.uptime = now.since_start();
        Some(findings)
    }

    fn visit(&mut self, core: &Core, view: ConnectionView, now: Now) {
        if let Some(consumer) = view.consumer {
            self.note_waiting(consumer.waiting_since);
        }
        if self.detail == Detail::Sums {
            return;
        }
        let Some(peer) = core.peers.get(&view.conn) else {
            return;
        };
        let connected = now - view.opened;
        if let Some(consumer) = view.consumer {
            let status = consumer_status(core, view.topic, consumer, peer.addr, connected);
            self.findings.consumers.extend(status);
        } else if peer.role() == Some(Role::Producer) {
            self.findings.producers.push(ProducerStatus {
                conn: view.conn,
                addr: peer.addr,
                connected,
                received: peer.tally.moved(),
                waits_for_room: peer.is_paused(),
            });
        }
    }

    fn note_waiting(&mut self, since: Option<Now>) {
        self.waiting_since = match (self.waiting_since, since) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}

fn consumer_status(
    core: &Core,
    topic: TopicId,
    consumer: ConsumerView,
    addr: SocketAddr,
    connected: Duration,
) -> Option<ConsumerStatus> {
    let group = core.broker.group_view(topic, consumer.group)?;
    Some(ConsumerStatus {
        conn: consumer.conn,
        addr,
        connected,
        delivered: consumer.delivered,
        in_flight: consumer.in_flight,
        backlog: group.backlog,
        dropped: match consumer.group {
            GroupId::Own(_) => group.flow.dropped,
            GroupId::Shared | GroupId::Named(_) => Default::default(),
        },
    })
}

/// Takes requests for surveys, and has them made by whoever has the core's lock.
#[derive(Default)]
pub(crate) struct Surveyor {
    /// Whether there is anything to do; all that a step looks at when there is not.
    wanted: AtomicBool,
    request: Mutex<Option<Request>>,
}

struct Request {
    survey: Survey,
    answer: oneshot::Sender<Findings>,
}

impl Surveyor {
    /// Asks for a survey that begins from now on. Asked again before it has ended, the first gets no
    /// answer.
    pub(crate) fn ask(&self, detail: Detail) -> oneshot::Receiver<Findings> {
        let (answer, findings) = oneshot::channel();
        let request = Request {
            survey: Survey::new(detail),
            answer,
        };
        *self.request.lock().unwrap_or_else(PoisonError::into_inner) = Some(request);
        self.wanted.store(true, Ordering::Release);
        findings
    }

    /// Whether somebody waits for a survey.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// Looks at the next part for whoever waits for a survey.
    pub(crate) fn advance(&self, core: &Core, now: Now) {
        let mut request = self.request.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Request { survey, answer }) = request.as_mut() else {
            self.wanted.store(false, Ordering::Release);
            return;
        };
        // Whoever asked may have lost patience.
        let findings = match answer.is_closed() {
            true => None,
            false => match survey.advance(core, now) {
                Some(findings) => Some(findings),
                None => return,
            },
        };
        self.wanted.store(false, Ordering::Release);
        if let (Some(Request { answer, .. }), Some(findings)) = (request.take(), findings) {
            // Nobody waits any more: then nobody misses it.
            let _ = answer.send(findings);
        }
    }
}
