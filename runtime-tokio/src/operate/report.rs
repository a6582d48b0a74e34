//! What the log says of connections and dropped messages, and how often.
//!
//! A few lines a second for each thing that can happen to a connection, then one line for the rest
//! of that second: a flood of connections, orderly or not, is no flood of lines. At `LOG_LEVEL=debug`
//! each has its line.

use message_queue_core::names::{Name, TopicName};
use message_queue_core::wire::Role;
use message_queue_core::{CloseReason, ConnId, Count, DropReason, GroupId};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tracing::field::display;
use tracing::{debug, info, warn};

/// The most lines a second about connections: for each role that they take up, and for each reason
/// that those of a role end for. One limit for all of them would let a port scanner hide a consumer
/// that stalled, and short producers hide a consumer that left.
const LINES_A_SECOND: u32 = 5;

/// The most groups that have a line of their own about what they lost within a second: the worst.
const GROUPS_A_SECOND: usize = 5;

/// The end of a connection.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) conn: ConnId,
    pub(crate) peer: SocketAddr,
    pub(crate) role: Option<Role>,
    /// Who it was found to be, where peers are asked.
    pub(crate) principal: Option<Name>,
    pub(crate) reason: CloseReason,
    /// More about why.
    pub(crate) detail: Option<String>,
    /// What came from it, or was taken by its socket.
    pub(crate) moved: Count,
    pub(crate) lived: Duration,
}

/// Who lost messages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Loser {
    /// None if there is no such topic.
    pub(crate) topic: Option<TopicName>,
    /// None if there was no group.
    pub(crate) group: Option<GroupId>,
    /// That of the group, if it has one.
    pub(crate) name: Option<Name>,
}

/// Gathers what is told at most once a second: [`tell`](Self::tell).
#[derive(Debug)]
pub(crate) struct Report {
    /// Drops since the last telling. No larger than the number of groups that lost something within
    /// that second.
    dropped: BTreeMap<Loser, Reasons>,
    /// Connections that took up a role since the last telling, by [`index`].
    registered: [Told; ROLES.len()],
    /// Connections that ended since the last telling, by [`CloseReason::index`] and [`index`].
    closed: [[Told; ROLES.len()]; CloseReason::COUNT],
}

impl Default for Report {
    fn default() -> Self {
        Self {
            dropped: BTreeMap::new(),
            registered: Default::default(),
            closed: [Default::default(); CloseReason::COUNT],
        }
    }
}

/// What a connection may be, one that has no role yet included.
const ROLES: [Option<Role>; 3] = [None, Some(Role::Producer), Some(Role::Consumer)];

type Reasons = BTreeMap<DropReason, Count>;

/// How much of one kind was told in this second, and how much was not.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    lines: u32,
    /// Connections without a line, and what they had moved.
    untold: u32,
    moved: Count,
}

/// How loud a line is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Debug,
    Info,
    Warn,
}

impl Report {
    pub(crate) fn registered(
        &mut self,
        conn: ConnId,
        peer: SocketAddr,
        role: Role,
        principal: Option<&Name>,
    ) {
        let principal = principal.map(display);
        if self.registered[index(Some(role))].may_tell(Count::ZERO) {
            info!(conn = %conn, peer = %peer, principal, role = %role, "registered");
        } else {
            debug!(conn = %conn, peer = %peer, principal, role = %role, "registered");
        }
    }

    pub(crate) fn dropped(&mut self, loser: Loser, reason: DropReason, count: Count) {
        *self
            .dropped
            .entry(loser)
            .or_default()
            .entry(reason)
            .or_default() += count;
    }

    pub(crate) fn closed(&mut self, ended: &Ended) {
        let mut level = level_of(ended.reason);
        if level == Level::Info && ended.role.is_none() {
            // How load balancers and port scanners knock.
            level = Level::Debug;
        }
        let told = &mut self.closed[ended.reason.index()][index(ended.role)];
        if level == Level::Debug || told.may_tell(ended.moved) {
            log_closed(level, ended);
        } else {
            log_closed(Level::Debug, ended);
        }
    }

    /// Tells what has gathered. To be called once a second, and at the end.
    pub(crate) fn tell(&mut self) {
        let Self {
            dropped,
            registered,
            closed,
        } = std::mem::take(self);
        log_dropped(dropped);
        for role in ROLES {
            let Told { untold, .. } = registered[index(role)];
            if untold > 0 {
                let role = role.map(display);
                info!(
                    role,
                    connections = untold,
                    "registered, without a line for each"
                );
            }
        }
        for reason in CloseReason::ALL {
            for role in ROLES {
                log_untold(reason, role, closed[reason.index()][index(role)]);
            }
        }
    }
}

impl Loser {
    /// The group, for people: its name, or its number where it has none.
    fn label(&self) -> Option<String> {
        let name = self.name.as_ref().map(ToString::to_string);
        name.or_else(|| self.group.map(|it| it.to_string()))
    }
}

impl Told {
    /// Whether one more gets a line of its own; what does not is counted.
    fn may_tell(&mut self, moved: Count) -> bool {
        if self.lines < LINES_A_SECOND {
            self.lines += 1;
            return true;
        }
        self.untold = self.untold.saturating_add(1);
        self.moved += moved;
        false
    }
}

const fn index(role: Option<Role>) -> usize {
    match role {
        None => 0,
        Some(Role::Producer) => 1,
        Some(Role::Consumer) => 2,
    }
}

/// An orderly end is no reason to worry; that of a peer which was turned away, stalled or broke the
/// protocol is.
const fn level_of(reason: CloseReason) -> Level {
    match reason {
        CloseReason::PeerClosed
        | CloseReason::PeerReset
        | CloseReason::Drained
        | CloseReason::EndedByOperator => Level::Info,
        CloseReason::Protocol(_)
        | CloseReason::RoleTimeout
        | CloseReason::FrameTimeout
        | CloseReason::WriteTimeout
        | CloseReason::BrokerBytes
        | CloseReason::TooManyConnections
        | CloseReason::TooManyConsumers
        | CloseReason::Draining
        | CloseReason::DrainTimeout
        | CloseReason::UnknownTopic
        | CloseReason::TooManyTopics
        | CloseReason::TooManyGroups
        | CloseReason::GroupMismatch
        | CloseReason::NoHistory
        | CloseReason::TakenOver
        | CloseReason::HeartbeatTimeout
        | CloseReason::Unauthorized
        | CloseReason::Forbidden
        | CloseReason::StoreFailed => Level::Warn,
    }
}

fn log_closed(level: Level, ended: &Ended) {
    let Ended {
        conn,
        peer,
        role,
        principal,
        reason,
        detail,
        moved: Count { messages, bytes },
        lived,
    } = ended;
    let role = role.as_ref().map(display);
    let (principal, detail) = (
        principal.as_ref().map(display),
        detail.as_ref().map(display),
    );
    // To the millisecond.
    let seconds = lived.as_millis() as f64 / 1000.0;
    match level {
        Level::Debug => {
            debug!(conn = %conn, peer = %peer, role, principal, reason = %reason, detail, messages, bytes, seconds, "closed");
        }
        Level::Info => {
            info!(conn = %conn, peer = %peer, role, principal, reason = %reason, detail, messages, bytes, seconds, "closed");
        }
        Level::Warn => {
            warn!(conn = %conn, peer = %peer, role, principal, reason = %reason, detail, messages, bytes, seconds, "closed");
        }
    }
}

/// One line for the connections that ended for `reason` and had none of their own.
fn log_untold(reason: CloseReason, role: Option<Role>, told: Told) {
    let Told {
        untold: connections,
        moved: Count { messages, bytes },
        ..
    } = told;
    let role = role.map(display);
    let text = "closed, without a line for each";
    if connections == 0 {
        // All had.
    } else if level_of(reason) == Level::Warn {
        warn!(role, reason = %reason, connections, messages, bytes, "{text}");
    } else {
        info!(role, reason = %reason, connections, messages, bytes, "{text}");
    }
}

/// A line for each of the groups that lost the most, and one for all others together.
fn log_dropped(dropped: BTreeMap<Loser, Reasons>) {
    let mut groups: Vec<_> = dropped
        .into_iter()
        .map(|(loser, reasons)| (sum(&reasons), loser, reasons))
        .collect();
    // The worst first; among equals the order is that of the groups.
    groups.sort_by_key(|(lost, ..)| std::cmp::Reverse(lost.messages));
    let others = groups.split_off(groups.len().min(GROUPS_A_SECOND));
    for (Count { messages, bytes }, loser, reasons) in groups {
        let topic = loser.topic.as_ref().map(display);
        let group = loser.label();
        let reasons = words(&reasons);
        warn!(topic, group, messages, bytes, reasons, "dropped");
    }
    if !others.is_empty() {
        let mut reasons = Reasons::new();
        for (reason, count) in others.iter().flat_map(|(.., reasons)| reasons) {
            *reasons.entry(*reason).or_default() += *count;
        }
        let Count { messages, bytes } = sum(&reasons);
        let (groups, reasons) = (others.len(), words(&reasons));
        warn!(
            groups,
            messages, bytes, reasons, "dropped, without a line for each"
        );
    }
}

fn sum(reasons: &Reasons) -> Count {
    let mut sum = Count::ZERO;
    for count in reasons.values() {
        sum += *count;
    }
    sum
}

/// `backlog_messages=3 broker_bytes=1`.
fn words(reasons: &Reasons) -> String {
    let words: Vec<_> = reasons
        .iter()
        .map(|(reason, count)| format!("{reason}={}", count.messages))
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use message_queue_core::ProtocolError;
    use message_queue_core::wire::FirstBytes;
    use serde_json::Value;
    use std::io;
    use std::net::Ipv4Addr;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::filter::LevelFilter;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that a report logs.
    fn lines(level: LevelFilter, events: impl FnOnce(&mut Report)) -> Vec<Value> {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_max_level(level)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || events(&mut Report::default()));
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

    fn ended(role: Option<Role>, reason: CloseReason) -> Ended {
        Ended {
            conn: ConnId(1),
            peer: PEER,
            role,
            principal: None,
            reason,
            detail: detail(reason),
            moved: Count::new(3, 30),
            lived: Duration::from_micros(1_234_567),
        }
    }

    fn detail(reason: CloseReason) -> Option<String> {
        if let CloseReason::Protocol(error) = reason {
            return Some(error.to_string());
        }
        None
    }

    fn close(report: &mut Report, reason: CloseReason) {
        report.closed(&ended(Some(Role::Consumer), reason));
    }

    #[test]
    fn the_end_of_a_connection_tells_what_it_moved_and_how_long_it_lived() {
        let lines = lines(LevelFilter::INFO, |report| {
            close(report, CloseReason::PeerClosed);
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[0]["role"], "consumer");
        assert_eq!(lines[0]["reason"], "peer_closed");
        assert_eq!(lines[0]["messages"], 3);
        assert_eq!(lines[0]["bytes"], 30);
        assert_eq!(lines[0]["seconds"], 1.234);
    }

    #[test]
    fn a_flood_of_one_fault_is_a_few_lines_and_hides_no_other() {
        let scan = CloseReason::Protocol(ProtocolError::UnknownRole(FirstBytes::of(
            b"GET / HTTP/1.1",
        )));
        let lines = lines(LevelFilter::INFO, |report| {
            for _ in 0..1000 {
                close(report, scan);
            }
            close(report, CloseReason::WriteTimeout);
            report.tell();
            close(report, scan);
        });
        let of = |reason: CloseReason| {
            let named = lines
                .iter()
                .filter(move |it| it["reason"] == reason.as_str());
            named.collect::<Vec<_>>()
        };
        let scans = of(scan);
        assert_eq!(scans.len(), LINES_A_SECOND as usize + 2, "{lines:?}");
        assert_eq!(scans[0]["message"], "closed");
        let detail = "the role line is neither PRODUCER nor CONSUMER: this is HTTP";
        assert_eq!(scans[0]["detail"], detail);
        assert_eq!(scans[LINES_A_SECOND as usize]["connections"], 995);
        assert_eq!(scans[LINES_A_SECOND as usize]["level"], "WARN");
        assert_eq!(of(CloseReason::WriteTimeout).len(), 1);
    }

    /// 20,000 short producers were 40,002 lines.
    #[test]
    fn a_flood_of_orderly_connections_is_a_few_lines_too() {
        let flood = |report: &mut Report| {
            for n in 0..1000 {
                report.registered(ConnId(n), PEER, Role::Producer, None);
                report.closed(&ended(Some(Role::Producer), CloseReason::PeerClosed));
                report.closed(&ended(None, CloseReason::PeerClosed));
            }
            report.registered(ConnId(1000), PEER, Role::Consumer, None);
            report.tell();
        };
        let told = lines(LevelFilter::INFO, flood);
        assert_eq!(told.len(), 2 * LINES_A_SECOND as usize + 3, "{told:?}");
        let of = |message: &str| {
            let of = told.iter().find(|it| it["message"] == message);
            of.expect(message)
        };
        let registered = of("registered, without a line for each");
        assert_eq!(registered["connections"], 995);
        assert_eq!(registered["role"], "producer");
        let closed = of("closed, without a line for each");
        assert_eq!(closed["connections"], 995);
        assert_eq!(closed["messages"], 3 * 995);
        assert_eq!(closed["level"], "INFO");
        assert!(told.iter().any(|it| it["role"] == "consumer"));

        let each = lines(LevelFilter::DEBUG, flood);
        assert_eq!(each.len(), 3001 + 2);
    }

    fn loser(topic: &str, group: GroupId) -> Loser {
        Loser {
            topic: Some(TopicName::new(topic).expect("a name")),
            group: Some(group),
            name: None,
        }
    }

    #[test]
    fn drops_are_one_line_for_each_consumer_or_queue_with_how_many_and_why() {
        let lines = lines(LevelFilter::INFO, |report| {
            for _ in 0..1000 {
                for (group, reason) in [
                    (GroupId::Shared, DropReason::BacklogMessages),
                    (GroupId::Own(ConnId(7)), DropReason::BacklogMessages),
                    (GroupId::Own(ConnId(7)), DropReason::BrokerBytes),
                ] {
                    report.dropped(loser("jobs", group), reason, Count::new(2, 20));
                }
            }
            report.tell();
            report.tell();
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        let own = lines.iter().find(|it| it["messages"] == 4000).unwrap();
        assert_eq!(own["level"], "WARN");
        assert_eq!(own["bytes"], 40_000);
        assert_eq!(own["reasons"], "backlog_messages=2000 broker_bytes=2000");
        assert_eq!(own["topic"], "jobs");
    }

    #[test]
    fn the_line_of_a_drop_names_the_topic_and_the_group() {
        let named = Loser {
            name: Some(Name::new("workers").expect("a name")),
            ..loser("jobs.a", GroupId::Named(7))
        };
        let nobody = Loser {
            topic: None,
            group: None,
            name: None,
        };
        let losers = [
            (named, Some("jobs.a"), Some("workers")),
            (
                loser("jobs.a", GroupId::Shared),
                Some("jobs.a"),
                Some("queue"),
            ),
            (
                loser("jobs.b", GroupId::Shared),
                Some("jobs.b"),
                Some("queue"),
            ),
            (nobody, None, None),
        ];
        let lines = lines(LevelFilter::INFO, |report| {
            for (loser, ..) in &losers {
                report.dropped(loser.clone(), DropReason::GroupEnded, Count::new(1, 10));
                report.dropped(loser.clone(), DropReason::GroupEnded, Count::new(1, 10));
            }
            report.tell();
        });
        assert_eq!(lines.len(), losers.len(), "{lines:?}");
        for (loser, topic, group) in losers {
            let line = lines
                .iter()
                .find(|it| it["topic"].as_str() == topic && it["group"].as_str() == group);
            let line = line.unwrap_or_else(|| panic!("{loser:?}: {lines:?}"));
            assert_eq!(line["messages"], 2);
        }
    }

    /// 1,500 consumers that lag were 1,500 lines a second.
    #[test]
    fn of_many_groups_that_lose_messages_the_worst_are_named() {
        let lines = lines(LevelFilter::INFO, |report| {
            for n in 1..=1500_usize {
                let group = GroupId::Own(ConnId(n as u64));
                report.dropped(
                    loser("jobs", group),
                    DropReason::BacklogBytes,
                    Count::new(n, n),
                );
            }
            report.tell();
        });
        assert_eq!(lines.len(), GROUPS_A_SECOND + 1, "{lines:?}");
        let worst: Vec<_> = lines.iter().map(|it| &it["messages"]).collect();
        assert_eq!(worst[..5], [1500, 1499, 1498, 1497, 1496]);
        let others = &lines[GROUPS_A_SECOND];
        assert_eq!(others["groups"], 1495);
        assert_eq!(others["messages"], 1495 * 1496 / 2);
        assert_eq!(others["reasons"], "backlog_bytes=1118260");
    }
}
