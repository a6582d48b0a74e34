//! What always holds between two calls. Checked after every input in tests, in simulation and by
//! the fuzzers.

use super::Broker;
use crate::partial::PartialFrames;
use crate::session::{Session, State};
use crate::shared::Shared;
use crate::stats::{Behind, Count};
use crate::timers::Timeout;
use alloc::collections::BTreeMap;

impl Broker {
    /// Checks everything that always holds. Looks at every connection and every waiting message.
    ///
    /// # Panics
    /// If something does not hold: the broker has a bug.
    pub fn check_invariants(&self) {
        assert_eq!(self.shared.config.check(), Ok(()));
        self.check_sessions();
        self.check_topics();
        self.check_counts();
        self.check_timers();
    }

    fn check_sessions(&self) {
        let mut parked = BTreeMap::new();
        for (id, topic) in &self.topics {
            for (conn, _) in topic.parked().line() {
                let before = parked.insert(conn, *id);
                assert_eq!(before, None, "{conn} was read from while it was blocked");
            }
        }
        let sessions = &self.shared.sessions;
        let departed = parked.keys().filter(|conn| !sessions.contains_key(conn));
        assert_eq!(self.shared.departed, departed.count());
        let late = sessions.values().filter(|session| session.is_late());
        assert_eq!(self.shared.late, late.count());
        let mut partial = PartialFrames::default();
        for (conn, session) in sessions {
            partial.replace(*conn, 0, session.partial);
            assert!(!session.is_late() || self.is_draining(), "{conn} came late");
            let producer = session.producer().filter(|it| it.is_parked);
            let blocked = producer.and_then(|it| it.topic.ok());
            assert_eq!(parked.get(conn).copied(), blocked, "{conn} is blocked");
            if let Some(version2) = &session.version2 {
                let told = version2.signals.is_empty()
                    || session.awaits_answer()
                    || session.outbox.is_busy();
                assert!(told || session.is_closing(), "{conn} is not told something");
            }
            if let Some(confirms) = session.producer().and_then(|it| it.confirms) {
                let parked = parked.contains_key(conn);
                assert!(confirms.safe <= confirms.received, "{conn}");
                let line = &session.producer().expect("it confirms").line;
                line.check();
                let is_stored = line.storing() > 0;
                let all_safe = confirms.safe == confirms.received;
                assert!(
                    all_safe || parked || session.is_closing() || is_stored,
                    "{conn} is not confirmed"
                );
            }
            self.check_rights(*conn, session);
            self.check_consumer(*conn, session);
        }
        assert_eq!(*self.shared.budget.partial(), partial);
    }

    /// Whoever may not do what it does any more is closed, or soon will be.
    fn check_rights(&self, conn: crate::id::ConnId, session: &Session) {
        let Some(access) = session.access.as_ref().filter(|_| !session.is_closing()) else {
            return;
        };
        if access.is_over(self.shared.now) {
            assert!(access.timer.is_some(), "{conn} goes on for ever");
        } else {
            assert_eq!(self.may_go_on(conn), Ok(()), "{conn}");
        }
    }

    fn check_consumer(&self, conn: crate::id::ConnId, session: &Session) {
        let Some(consumer) = session.consumer() else {
            return;
        };
        for it in &consumer.memberships {
            let group = &self.topics[&it.topic].groups()[&it.group];
            assert!(
                group.members().contains(&conn),
                "{conn} is not a member of its group"
            );
        }
        let ready = consumer.ready.iter();
        for (topic, group) in ready {
            let mut places = consumer.memberships.iter();
            let place = places.find(|it| (it.topic, it.group) == (*topic, *group));
            let place = place.expect("a group in the line is one of its own");
            assert_eq!(place.turn, None, "{conn} waits twice");
        }
        if let Some(acks) = &consumer.acks {
            acks.unsettled.check();
            assert_eq!(acks.pinned, acks.unsettled.pinned(), "{conn}");
            let held = acks.unsettled.count();
            // CREDIT may have left it less than it holds; and one message may be as large as it is.
            let most = u64::from(acks.prefetch).max(1);
            assert!(
                held.messages <= most || acks.credit_was_set,
                "{conn} holds more than its prefetch"
            );
        }
    }

    fn check_topics(&self) {
        let (mut waiting, mut let_in, mut bytes) = (Count::ZERO, 0, 0);
        let (mut in_groups, mut storing) = (0, Count::ZERO);
        let mut behind = Behind::NOBODY;
        let (mut parked, mut received) = (Count::ZERO, self.shared.forgotten);
        let (mut named, mut producers, mut unsettled) = (0, 0, Count::ZERO);
        for (id, topic) in &self.topics {
            assert_eq!(self.names.get(topic.name()), Some(id));
            assert!(self.shared.facts.contains_key(id));
            let (topic_waiting, topic_let_in) = topic.check(&self.shared);
            waiting += topic_waiting;
            let_in += topic_let_in;
            bytes += topic.groups().values().map(|it| it.bytes()).sum::<usize>();
            bytes += topic.appending_bytes();
            in_groups += topic.groups().values().map(|it| it.bytes()).sum::<usize>();
            storing += topic.stored().map_or(Count::ZERO, |it| it.appending());
            if let Some(stored) = topic.stored() {
                behind.groups += stored.behind().groups;
                behind.messages += stored.behind().messages;
            }
            named += topic
                .groups()
                .values()
                .filter(|it| it.name().is_some())
                .count();
            received += topic.received();
            producers += topic.producers.iter().count();
            for group in topic.groups().values() {
                unsettled += group.unsettled();
            }
            for (_, batch) in topic.parked().line() {
                parked += Count::of(batch);
            }
        }
        let shared = &self.shared;
        assert_eq!(self.names.len(), self.topics.len());
        assert_eq!(shared.facts.len(), self.topics.len());
        assert_eq!(shared.stats.named_groups, named);
        assert_eq!(shared.stats.topics, self.topics.len());
        assert_eq!(shared.stats.producer_names, producers);
        assert_eq!(shared.stats.unsettled, unsettled);
        assert!(
            let_in <= shared.config.broker_bytes,
            "more bytes than allowed"
        );
        let budget = &shared.budget;
        assert_eq!(budget.backlogs(), bytes);
        let in_flight = waiting.bytes as usize - in_groups;
        assert_eq!(budget.in_flight(), in_flight);
        assert_eq!(budget.parked(), parked.bytes as usize);
        assert_eq!(budget.partial_in_the_way(), None);
        let sessions = shared.sessions.values();
        let acks = sessions.filter_map(|it| it.consumer()?.acks.as_ref());
        let pinned: usize = acks.map(|it| it.pinned).sum();
        assert_eq!(budget.pinned(), pinned);
        assert!(pinned <= shared.config.broker_bytes / 8, "{pinned} bytes");
        let consumers = shared.sessions.values().filter_map(|it| it.consumer());
        let checking = consumers.filter(|it| it.checks());
        let checking: usize = checking.map(|it| it.memberships.len()).sum();
        let counted: usize = self.topics.values().map(|it| it.checking).sum();
        assert_eq!(counted, checking);
        assert_eq!(shared.stats.flow.waiting, waiting);
        assert!(shared.stats.flow.adds_up(), "{:?}", shared.stats.flow);
        assert_eq!(shared.stats.parked, parked);
        assert_eq!(shared.stats.storing, storing);
        assert_eq!(shared.stats.behind, behind);
        assert_eq!(shared.stats.received.messages, received);
    }

    fn check_counts(&self) {
        let (shared, stats) = (&self.shared, &self.shared.stats);
        let with = |role: fn(&Session) -> bool| {
            let sessions = shared.sessions.values();
            sessions.filter(|session| role(session)).count()
        };
        assert_eq!(stats.connections, shared.sessions.len());
        assert_eq!(stats.producers, with(|it| it.producer().is_some()));
        assert_eq!(stats.consumers, with(|it| it.consumer().is_some()));
        assert_eq!(stats.version2, with(|it| it.version2.is_some()));
        let consumers = shared.sessions.values().filter_map(Session::consumer);
        let memberships = consumers.map(|it| it.memberships.len());
        assert_eq!(stats.memberships, memberships.sum::<usize>());
        let (mut writing, mut saying) = (Count::ZERO, 0);
        for session in shared.sessions.values().filter(|it| it.version2.is_some()) {
            let on_its_way = session.on_its_way();
            writing += on_its_way.messages;
            saying += on_its_way.said;
        }
        assert_eq!((stats.writing, stats.saying), (writing, saying));
        let confirms = |it: &Session| it.producer().is_some_and(|it| it.confirms.is_some());
        assert_eq!(shared.confirming, with(confirms));
        let most = shared.config.max_connections;
        assert!(stats.connections <= most);
        let reserved = shared.config.reserved_for_consumers();
        assert!(
            stats.producers + shared.departed + reserved <= most,
            "producers keep consumers from entering"
        );
        assert!(stats.consumers <= shared.config.max_consumers);
        let ended: u64 = stats.closed.iter().sum();
        assert_eq!(stats.opened, ended + stats.connections as u64);
    }

    fn check_timers(&self) {
        let Shared {
            config,
            timers,
            drain,
            ..
        } = &self.shared;
        let drain = drain.as_ref();
        let mut expected: alloc::vec::Vec<_> = drain
            .filter(|drain| timers.is_set(drain.due, Timeout::Drain))
            .map(|drain| (drain.due, Timeout::Drain))
            .into_iter()
            .collect();
        for (conn, session) in &self.shared.sessions {
            if matches!(session.state, State::AwaitingRole { .. }) && !session.is_closing() {
                let due = session.opened + config.role_timeout;
                expected.push((due, Timeout::Role(*conn)));
            }
            let expiry = session.access.as_ref().and_then(|it| it.timer);
            expected.extend(expiry.map(|due| (due, Timeout::Expiry(*conn))));
            let write = session.outbox.timer;
            expected.extend(write.map(|due| (due, Timeout::Write(*conn))));
            if let Some(version2) = &session.version2 {
                let heartbeat = version2.timer;
                expected.extend(heartbeat.map(|due| (due, Timeout::Heartbeat(*conn))));
                let blocked = version2.blocked_timer;
                expected.extend(blocked.map(|due| (due, Timeout::Blocked(*conn))));
                let watched = heartbeat.is_some() || version2.heartbeat.is_none();
                assert!(watched || session.is_closing(), "nobody watches {conn}");
            }
            let consumer = session.consumer();
            if let Some(acks) = consumer.and_then(|it| it.acks.as_ref()) {
                expected.extend(acks.timer.map(|due| (due, Timeout::Ack(*conn))));
                if let Some(due) = acks.due(|topic| self.shared.facts[&topic].ack_timeout) {
                    let in_time = acks.timer.is_some_and(|timer| timer <= due);
                    assert!(in_time || session.is_closing(), "{conn} may hold on");
                }
            }
            if session.is_closing() {
                assert_eq!(
                    session.outbox.timer, None,
                    "{conn} is closing and has a timer"
                );
            } else if let Some(due) = session.outbox.due(config)
                && consumer.is_some()
            {
                let looked_at = write.expect("a write in flight has a timer");
                assert!(looked_at <= due, "{conn} is looked at too late");
            }
        }
        for (id, topic) in &self.topics {
            let idle = topic.idle_timer;
            expected.extend(idle.map(|due| (due, Timeout::TopicIdle(*id))));
            let turn = topic.turns.timer();
            expected.extend(turn.map(|due| (due, Timeout::Turn(*id))));
            for (group, it) in topic.groups() {
                let idle = it.idle_timer;
                expected.extend(idle.map(|due| (due, Timeout::GroupIdle(*id, *group))));
                let retry = it.retry().timer();
                expected.extend(retry.map(|due| (due, Timeout::Retry(*id, *group))));
                let fetch = it.fetch_timer();
                expected.extend(fetch.map(|due| (due, Timeout::Fetch(*id, *group))));
                let age = it.age_timer;
                expected.extend(age.map(|due| (due, Timeout::Age(*id, *group))));
            }
        }
        for (due, timeout) in &expected {
            assert!(timers.is_set(*due, *timeout), "{timeout:?} is not set");
        }
        assert_eq!(timers.len(), expected.len(), "a timer is set for nothing");
    }
}
