//! What always holds between two calls. Checked after every input in tests, in simulation and by
//! the fuzzers.

use super::Broker;
use super::timers::Timeout;
use crate::id::GroupId;
use crate::session::State;
use crate::stats::Count;

impl Broker {
    /// Checks everything that always holds. Looks at every connection and every waiting message.
    ///
    /// # Panics
    /// If something does not hold: the broker has a bug.
    pub fn check_invariants(&self) {
        self.check_sessions();
        self.check_groups();
        self.check_sums();
        self.check_timers();
        self.check_nothing_is_stuck();
    }

    fn check_sessions(&self) {
        for (conn, session) in &self.sessions {
            let state = session.state();
            assert_eq!(
                session.consumer.is_some(),
                state.is_consumer(),
                "{conn} is {state:?}"
            );
            let parked = self
                .parked
                .iter()
                .filter(|(parked, _)| parked == conn)
                .count();
            assert_eq!(
                parked,
                usize::from(state == State::Blocked),
                "{conn} is {state:?}"
            );
            let Some(consumer) = &session.consumer else {
                continue;
            };
            let in_flight = !consumer.outbox.in_flight().is_zero();
            assert_eq!(in_flight, state == State::Writing, "{conn} is {state:?}");
            let group = &self.groups[&consumer.group];
            assert!(
                group.members.contains(conn),
                "{conn} is not a member of its group"
            );
            let idle = group.idle.iter().filter(|idle| *idle == conn).count();
            assert_eq!(
                idle,
                usize::from(state == State::Idle),
                "{conn} is {state:?}"
            );
        }
    }

    fn check_groups(&self) {
        for (id, group) in &self.groups {
            assert!(group.flow.adds_up(), "{id}: {:?}", group.flow);
            assert!(group.idle.len() <= group.members.len());
            let mut waiting = group.backlog.count();
            for member in &group.members {
                let consumer = self.sessions[member].consumer.as_ref();
                let consumer = consumer.expect("a member is a consumer");
                assert_eq!(consumer.group, *id, "{member} is a member of another group");
                waiting += consumer.outbox.in_flight();
            }
            assert_eq!(group.flow.waiting, waiting, "{id}");
            match id {
                GroupId::Shared => {}
                GroupId::Own(conn) => assert!(group.members.iter().eq([conn])),
            }
        }
    }

    fn check_sums(&self) {
        let (mut let_in, mut held, mut waiting) = (0, 0, Count::ZERO);
        for group in self.groups.values() {
            let_in += group.backlog.check();
            held += group.backlog.bytes();
            waiting += group.flow.waiting;
        }
        assert!(
            let_in <= self.config.broker_bytes,
            "more bytes than allowed"
        );
        assert_eq!(self.held_bytes, held);
        assert_eq!(self.stats.flow.waiting, waiting);
        assert!(self.stats.flow.adds_up(), "{:?}", self.stats.flow);

        let mut parked = Count::ZERO;
        for (_, batch) in &self.parked {
            parked += Count::of(batch);
        }
        assert_eq!(self.stats.parked, parked);

        let with = |role: fn(State) -> bool| {
            self.sessions
                .values()
                .filter(|session| role(session.state()))
                .count()
        };
        assert_eq!(self.stats.connections, self.sessions.len());
        assert_eq!(self.stats.producers, with(State::is_producer));
        assert_eq!(self.stats.consumers, with(State::is_consumer));
        assert!(self.stats.connections <= self.config.max_connections);
        assert!(self.stats.consumers <= self.config.max_consumers);
        let ended: u64 = self.stats.closed.iter().sum();
        assert_eq!(self.stats.opened, ended + self.stats.connections as u64);
    }

    fn check_timers(&self) {
        let mut set = usize::from(
            self.drain_due
                .is_some_and(|due| self.timers.is_set(due, Timeout::Drain)),
        );
        for (conn, session) in &self.sessions {
            if session.state() == State::AwaitingRole {
                let due = session.opened + self.config.role_timeout;
                assert!(
                    self.timers.is_set(due, Timeout::Role(*conn)),
                    "{conn} may wait for ever"
                );
                set += 1;
            }
            let Some(consumer) = &session.consumer else {
                continue;
            };
            if let Some(due) = consumer.outbox.timer {
                assert!(self.timers.is_set(due, Timeout::Write(*conn)));
                set += 1;
            }
            if let Some(started) = consumer.outbox.started() {
                let due = consumer
                    .outbox
                    .timer
                    .expect("a write in flight has a timer");
                assert!(
                    due <= started + self.config.write_timeout,
                    "{conn} is looked at too late"
                );
            }
        }
        assert_eq!(self.timers.len(), set, "a timer is set for nothing");
    }

    fn check_nothing_is_stuck(&self) {
        for (id, group) in &self.groups {
            let lost_wakeup = !group.backlog.is_empty() && !group.idle.is_empty();
            assert!(!lost_wakeup, "{id}: messages wait and a member is idle");
        }
        if let Some((conn, batch)) = self.parked.front() {
            assert_eq!(
                self.common_room(batch).0,
                0,
                "{conn} waits and there is room"
            );
        }
    }
}
