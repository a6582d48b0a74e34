//! What always holds between two calls. Checked after every input in tests, in simulation and by
//! the fuzzers.

use super::Broker;
use crate::partial::PartialFrames;
use crate::session::State;
use crate::shared::Shared;
use crate::stats::Count;
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
                let before = parked.insert(conn, id);
                assert_eq!(before, None, "{conn} was read from while it was blocked");
            }
        }
        let sessions = &self.shared.sessions;
        let departed = parked.keys().filter(|conn| !sessions.contains_key(conn));
        assert_eq!(self.shared.departed, departed.count());
        let late = sessions.values().filter(|session| session.late);
        assert_eq!(self.shared.late, late.count());
        let mut partial = PartialFrames::default();
        for (conn, session) in sessions {
            partial.replace(*conn, 0, session.partial);
            let state = session.state();
            assert!(
                !session.late || (state == State::AwaitingRole && self.is_draining()),
                "{conn} is {state:?} and came late"
            );
            let blocked = (state == State::Blocked).then_some(&session.topic);
            assert_eq!(parked.get(conn).copied(), blocked, "{conn} is {state:?}");
            assert_eq!(
                session.consumer.is_some(),
                state.is_consumer(),
                "{conn} is {state:?}"
            );
            let Some(consumer) = &session.consumer else {
                continue;
            };
            let in_flight = !consumer.outbox.in_flight().is_zero();
            assert_eq!(in_flight, state == State::Writing, "{conn} is {state:?}");
            let group = &self.topics[&session.topic].groups()[&consumer.group];
            assert!(
                group.members().contains(conn),
                "{conn} is not a member of its group"
            );
        }
        assert_eq!(*self.shared.budget.partial(), partial);
    }

    fn check_topics(&self) {
        let (mut waiting, mut let_in, mut in_backlogs) = (Count::ZERO, 0, 0);
        let (mut parked, mut received) = (Count::ZERO, 0);
        for topic in self.topics.values() {
            let (topic_waiting, topic_let_in) = topic.check(&self.shared);
            waiting += topic_waiting;
            let_in += topic_let_in;
            let backlogs = topic.groups().values().map(|it| it.backlog().bytes());
            in_backlogs += backlogs.sum::<usize>();
            received += topic.received();
            for (_, batch) in topic.parked().line() {
                parked += Count::of(batch);
            }
        }
        let shared = &self.shared;
        assert!(
            let_in <= shared.config.broker_bytes,
            "more bytes than allowed"
        );
        let budget = &shared.budget;
        assert_eq!(budget.backlogs(), in_backlogs);
        let in_flight = waiting.bytes as usize - in_backlogs;
        assert_eq!(budget.in_flight(), in_flight);
        assert_eq!(budget.parked(), parked.bytes as usize);
        assert_eq!(budget.partial_in_the_way(), None);
        assert_eq!(shared.stats.flow.waiting, waiting);
        assert!(shared.stats.flow.adds_up(), "{:?}", shared.stats.flow);
        assert_eq!(shared.stats.parked, parked);
        assert_eq!(shared.stats.received.messages, received);
    }

    fn check_counts(&self) {
        let (shared, stats) = (&self.shared, &self.shared.stats);
        let with = |role: fn(State) -> bool| {
            let sessions = shared.sessions.values();
            sessions.filter(|session| role(session.state())).count()
        };
        assert_eq!(stats.connections, shared.sessions.len());
        assert_eq!(stats.producers, with(State::is_producer));
        assert_eq!(stats.consumers, with(State::is_consumer));
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
        let mut set =
            usize::from(drain.is_some_and(|drain| timers.is_set(drain.due, Timeout::Drain)));
        for (conn, session) in &self.shared.sessions {
            if session.is_closing() {
                let consumer = session.consumer.as_ref();
                assert!(
                    consumer.is_none_or(|consumer| consumer.outbox.timer.is_none()),
                    "{conn} is closing and has a timer"
                );
                continue;
            }
            if session.state() == State::AwaitingRole {
                let due = session.opened + config.role_timeout;
                assert!(
                    timers.is_set(due, Timeout::Role(*conn)),
                    "{conn} may wait for ever"
                );
                set += 1;
            }
            let Some(consumer) = &session.consumer else {
                continue;
            };
            if let Some(due) = consumer.outbox.timer {
                assert!(timers.is_set(due, Timeout::Write(*conn)));
                set += 1;
            }
            if let Some(due) = consumer.outbox.due(config) {
                let timer = consumer.outbox.timer;
                let looked_at = timer.expect("a write in flight has a timer");
                assert!(looked_at <= due, "{conn} is looked at too late");
            }
        }
        assert_eq!(timers.len(), set, "a timer is set for nothing");
    }
}
