//! What there is to see of a broker, copied out of the core a part at a time.
//!
//! A broker can have many thousand connections, and nobody else gets on while the core is locked. So
//! whoever wants to see all of them gets them in parts of [`PART`]. HTTP does not even take the lock:
//! it asks ([`Surveyor::ask`]), and whoever has the core's lock anyway, because it has just fed it,
//! copies the next part ([`Surveyor::advance`]).

use super::driver::Core;
use super::peer::Peer;
use message_queue_core::names::{Name, TopicName};
use message_queue_core::wire::Role;
use message_queue_core::{
    Config, ConnId, ConnectionView, ConsumerView, Count, DropReason, GroupId, GroupView, Now,
    Stats, TopicId, TopicReport,
};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// The most connections, groups or topics that are looked at in one go: some 10 microseconds.
pub(crate) const PART: usize = 128;

/// One consumer, as an operator sees it.
#[derive(Clone, Debug)]
pub struct ConsumerStatus {
    /// Its connection.
    pub conn: ConnId,
    /// Its address.
    pub addr: SocketAddr,
    /// Who it is; none where the broker does not ask.
    pub principal: Option<Name>,
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
    /// Who it is; none where the broker does not ask.
    pub principal: Option<Name>,
    /// For how long it has been connected.
    pub connected: Duration,
    /// What it has sent, whole messages.
    pub received: Count,
    /// Whether it waits for room: what it sent last is held back, and it is not read from.
    pub waits_for_room: bool,
}

/// One topic, as an operator sees it.
#[derive(Clone, Debug)]
pub struct TopicStatus {
    /// What became of its messages, and what holds it up.
    pub report: TopicReport,
    /// The name of the group that holds it up, if it is one.
    pub blocking_group: Option<String>,
    /// Its groups; empty in a list of topics.
    pub groups: Vec<GroupStatus>,
}

/// One group of a topic.
#[derive(Clone, Debug)]
pub struct GroupStatus {
    /// What it holds, and what became of its messages.
    pub view: GroupView,
    /// For how long the oldest message that is with no member has been waiting; zero if none is.
    pub oldest: Duration,
    /// Its members, longest connected first.
    pub members: Vec<MemberStatus>,
}

/// One member of a group.
#[derive(Clone, Debug)]
pub struct MemberStatus {
    /// Its connection.
    pub conn: ConnId,
    /// Its address.
    pub addr: SocketAddr,
    /// The label that it has given itself.
    pub client: Option<Name>,
    /// The write in flight to it, whatever the topic.
    pub in_flight: Count,
    /// What it holds unsettled, whatever the topic.
    pub unsettled: Count,
}

/// How much is to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Sums over all connections.
    Sums,
    /// And each connection.
    Lists,
    /// Each topic, and nothing else.
    Topics,
    /// One topic with its groups and their members, and nothing else.
    Topic(TopicName),
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
    /// Producers that are to be told what is safe.
    pub(crate) confirming: usize,
    /// The first topics, at the same moment as `stats`; with [`Detail::Topics`] all, with [`Detail::Topic`]
    /// that one, if it is there.
    pub(crate) topics: Vec<TopicStatus>,
    /// With [`Detail::Topic`] its members, and their groups.
    members: Vec<(GroupId, MemberStatus)>,
}

/// A walk over connections, groups or topics, as far as there is need.
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
    /// After this group of the topic that is looked at.
    GroupsOf(TopicId, Option<GroupId>),
    /// After this topic.
    Topics(Option<TopicId>),
    /// With the figures that belong to one moment.
    Sums,
}

impl Survey {
    pub(crate) fn new(detail: Detail) -> Self {
        Self {
            next: match detail {
                Detail::Sums | Detail::Lists | Detail::Topic(_) => Next::Connections(None),
                Detail::Topics => Next::Topics(None),
            },
            detail,
            waiting_since: None,
            findings: Findings::default(),
        }
    }

    /// Looks at the next part, and returns what was found if it was the last. The counters are
    /// those of this moment, so that they add up.
    pub(crate) fn advance(&mut self, core: &Core, now: Now) -> Option<Findings> {
        let mut left = PART;
        if let Next::Connections(after) = self.next {
            self.next = self.look_at_connections(after, &mut left, core, now);
        }
        match self.next {
            Next::Groups(after) => self.next = self.look_at_groups(after, &mut left, core),
            Next::GroupsOf(topic, after) => {
                self.next = self.look_at_groups_of(topic, after, &mut left, core, now);
            }
            Next::Topics(after) => self.next = self.look_at_topics(after, &mut left, core),
            Next::Connections(_) | Next::Sums => {}
        }
        match self.next {
            Next::Sums => self.sum_up(left, core, now),
            Next::Connections(_) | Next::Groups(_) | Next::GroupsOf(..) | Next::Topics(_) => None,
        }
    }

    fn look_at_connections(
        &mut self,
        mut after: Option<ConnId>,
        left: &mut usize,
        core: &Core,
        now: Now,
    ) -> Next {
        let topic = match &self.detail {
            Detail::Topic(name) => match core.broker.topic_named(name) {
                Some(topic) => Some(topic),
                None => return Next::Sums,
            },
            Detail::Sums | Detail::Lists | Detail::Topics => None,
        };
        for view in core.broker.connections_after(after).take(*left) {
            after = Some(view.conn);
            *left -= 1;
            match topic {
                Some(topic) => self.visit_member(core, topic, view),
                None => self.visit(core, view, now),
            }
        }
        match (*left, topic) {
            (0, _) => Next::Connections(after),
            (_, Some(topic)) => Next::GroupsOf(topic, None),
            (_, None) => Next::Groups(None),
        }
    }

    fn look_at_groups(
        &mut self,
        mut after: Option<(TopicId, GroupId)>,
        left: &mut usize,
        core: &Core,
    ) -> Next {
        for (topic, group) in core.broker.groups_after(after).take(*left) {
            after = Some((topic, group.id));
            *left -= 1;
            let Count { messages, bytes } = group.backlog;
            self.findings.backlog += group.backlog;
            let fullest = &mut self.findings.fullest_backlog;
            fullest.messages = fullest.messages.max(messages);
            fullest.bytes = fullest.bytes.max(bytes);
            self.note_waiting(core.broker.group_waiting_since(topic, group.id));
        }
        match left {
            0 => Next::Groups(after),
            _ => Next::Sums,
        }
    }

    fn look_at_groups_of(
        &mut self,
        topic: TopicId,
        mut after: Option<GroupId>,
        left: &mut usize,
        core: &Core,
        now: Now,
    ) -> Next {
        if self.findings.topics.is_empty() {
            let report = core.broker.topic_report(topic);
            self.findings
                .topics
                .extend(report.map(|it| topic_status(core, it)));
        }
        let Some(status) = self.findings.topics.first_mut() else {
            return Next::Sums;
        };
        for view in core.broker.groups_of(topic, after).take(*left) {
            after = Some(view.id);
            *left -= 1;
            let since = core.broker.group_waiting_since(topic, view.id);
            status.groups.push(GroupStatus {
                view,
                oldest: since.map_or(Duration::ZERO, |since| now - since),
                members: Vec::new(),
            });
        }
        match left {
            0 => Next::GroupsOf(topic, after),
            _ => Next::Sums,
        }
    }

    fn look_at_topics(
        &mut self,
        mut after: Option<TopicId>,
        left: &mut usize,
        core: &Core,
    ) -> Next {
        for report in core.broker.topics_after(after).take(*left) {
            after = Some(report.id);
            *left -= 1;
            self.findings.topics.push(topic_status(core, report));
        }
        match left {
            0 => Next::Topics(after),
            _ => Next::Sums,
        }
    }

    /// The last part: what belongs to one moment.
    fn sum_up(&mut self, left: usize, core: &Core, now: Now) -> Option<Findings> {
        let broker = &core.broker;
        if let Detail::Sums | Detail::Lists = self.detail {
            if broker.stats().topics.min(PART) > left {
                return None;
            }
            let reports = broker.topics_after(None).take(PART);
            self.findings.topics = reports.map(|it| topic_status(core, it)).collect();
        }
        let mut findings = std::mem::take(&mut self.findings);
        findings.config = broker.config().clone();
        findings.stats = broker.stats().clone();
        findings.confirming = broker.confirming_producers();
        findings.held_bytes = broker.held_bytes();
        findings.oldest = self
            .waiting_since
            .map_or(Duration::ZERO, |since| now - since);
        findings.uptime = now.since_start();
        Some(findings)
    }

    fn visit_member(&mut self, core: &Core, topic: TopicId, view: ConnectionView) {
        let peer = core.peers.get(&view.conn);
        let group = core.broker.group_of(view.conn, topic);
        if let (Some(peer), Some(group), Some(consumer)) = (peer, group, view.consumer) {
            let member = MemberStatus {
                conn: view.conn,
                addr: peer.addr,
                client: core.broker.client_of(view.conn).cloned(),
                in_flight: consumer.in_flight,
                unsettled: consumer.unsettled,
            };
            self.findings.members.push((group, member));
        }
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
            let status = consumer_status(core, view.topic, consumer, peer, connected);
            self.findings.consumers.extend(status);
        } else if peer.role() == Some(Role::Producer) {
            self.findings.producers.push(ProducerStatus {
                conn: view.conn,
                addr: peer.addr,
                principal: peer.principal(),
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

impl Findings {
    /// The topic that was looked at, with the members of its groups. Takes time, so it is not to be done under
    /// the core's lock.
    pub(crate) fn into_topic(self) -> Option<TopicStatus> {
        let mut topic = self.topics.into_iter().next()?;
        for (group, member) in self.members {
            // The groups are in their order.
            let groups = &mut topic.groups;
            if let Ok(place) = groups.binary_search_by_key(&group, |it| it.view.id) {
                groups[place].members.push(member);
            }
        }
        Some(topic)
    }
}

fn topic_status(core: &Core, report: TopicReport) -> TopicStatus {
    let by = report.blocked.and_then(|it| it.by);
    let group = by.and_then(|by| core.broker.group_view(report.id, by));
    TopicStatus {
        blocking_group: group.map(|it| label(&it)),
        report,
        groups: Vec::new(),
    }
}

/// The name of a group, for people.
pub(crate) fn label(group: &GroupView) -> String {
    match &group.name {
        Some(name) => name.to_string(),
        None => group.id.to_string(),
    }
}

fn consumer_status(
    core: &Core,
    topic: TopicId,
    consumer: ConsumerView,
    peer: &Peer,
    connected: Duration,
) -> Option<ConsumerStatus> {
    let group = core.broker.group_view(topic, consumer.group)?;
    Some(ConsumerStatus {
        conn: consumer.conn,
        addr: peer.addr,
        principal: peer.principal(),
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
