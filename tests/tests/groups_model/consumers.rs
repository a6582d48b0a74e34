//! What consumers do.

use crate::lockstep::{Lockstep, Stream};
use crate::script::{AS_ONE, NOBODY_SETTLES, Script, Wish, Word};
use message_queue_core::wire::control::{Control, Outcome, Range};
use message_queue_core::{ConnId, DeliveryMode, Overflow};
use message_queue_tests::groups_model::{Asks, Fate, GroupName, dead_letters_of};
use std::time::Duration;

impl Lockstep {
    /// A consumer comes. None: it may not.
    pub(crate) fn consumer(&mut self, wish: &Wish, script: &Script) -> Option<ConnId> {
        let rules = &script.rules[wish.topic];
        let (topic, mode) = if wish.of_dead_letters {
            (dead_letters_of(&rules.topic), DeliveryMode::Queue)
        } else {
            (rules.topic.clone(), rules.mode)
        };
        // Where several messages that have waited come in at a time, which of them a group of one's own loses depends on
        // what is just being written to its consumer.
        let several_at_a_time = script.confirms[wish.topic]
            && matches!(rules.overflow, Overflow::Drop | Overflow::DropOldest);
        let is_own = wish.group.is_none() && mode == DeliveryMode::Broadcast;
        let group = if is_own && several_at_a_time {
            Some(1)
        } else {
            wish.group
        };
        // To which of several members a message goes alone, and who is kept free for it, is the broker's choice. And
        // of several messages that come back at one moment, too old, those are dropped for which no member is ready; and
        // whether one is that is just being sent another is not said.
        let has_both = rules.ack_timeout.is_some() && rules.max_age.is_some();
        let alone = rules.max_failures > 3;
        let group = match group {
            None if is_own || wish.of_dead_letters => None,
            Some(NOBODY_SETTLES) => group,
            Some(_) | None if has_both || alone => Some(AS_ONE),
            group => group,
        };
        let mut line = format!("CONSUMER topic={topic} heartbeat=0");
        if let Some(group) = group {
            line += &format!(" group=g{group}");
        }
        let as_one = group == Some(AS_ONE);
        if as_one {
            line += " share=one";
        }
        let shares = group.is_some() || mode == DeliveryMode::Queue;
        let prefetch = if shares { wish.shared } else { wish.own };
        // What comes to a consumer at the very moment at which others and itself have worked for too long may be among
        // what it loses, where producers wait for their room.
        let producers_wait = match rules.overflow {
            Overflow::Block => true,
            Overflow::Drop | Overflow::DropOldest => script.confirms[wish.topic],
            Overflow::Reject => false,
        };
        let workers = if rules.ack_timeout.is_some() && producers_wait {
            1
        } else {
            wish.workers
        };
        if let Some(prefetch) = prefetch {
            line += &format!(" ack=1 prefetch={prefetch} workers={workers}");
        }
        let is_let_in = self.model.lets_in(script.mode);
        let conn = self.connects(wish.who, &line);
        if self.comes_too_late(conn, is_let_in) {
            return None;
        }
        let person = wish.who.map(|it| &self.people[it]);
        let named = group.map(|it| format!("g{it}"));
        if !self.model.may_consume(person, &topic, named.as_deref()) {
            self.is_refused(conn, "forbidden");
            return None;
        }
        let answer = self.world.answer(conn);
        assert!(answer.starts_with("OK "), "{answer}");
        self.seen.came_late += u64::from(self.model.is_draining());
        let group = match (named, mode) {
            (Some(name), _) => GroupName::Named(name),
            (None, DeliveryMode::Queue) => GroupName::Queue,
            (None, DeliveryMode::Broadcast) => GroupName::Own(conn),
        };
        let asks = Asks {
            prefetch: prefetch.map(usize::from),
            workers: workers.into(),
            as_one,
        };
        self.model.consumer_comes(conn, &topic, &group, &asks);
        self.streams.insert(conn, Stream::default());
        Some(conn)
    }

    pub(crate) fn let_consumer_go(&mut self, place: usize, says_so: bool) {
        if let Some(conn) = self.consumers.remove(&place) {
            let says_so = says_so || !self.model.may_fail(conn);
            self.model.consumer_leaves(conn, says_so);
            if says_so {
                self.world.say(conn, &Control::Bye);
            } else {
                self.world.cut(conn);
            }
            self.streams.remove(&conn);
        }
    }

    pub(crate) fn settle(&mut self, conn: ConnId, word: Word, which: u8) {
        let held = self.model.holds(conn);
        let named =
            |(number, position): (usize, u64)| (which >> (number % 8) & 1 == 1).then_some(position);
        let mut positions: Vec<u64> = held.iter().copied().enumerate().filter_map(named).collect();
        if positions.is_empty() {
            // It settles its first message once more.
            if !self.model.settles(conn) || held.contains(&1) || self.model.was_handed(conn) == 0 {
                return;
            }
            positions.push(1);
            self.seen.settled_late += 1;
        }
        let (fate, outcome, delay_ms) = match word {
            Word::Failed(_) if !self.model.may_fail(conn) => (Fate::Return, Outcome::Return, 0),
            Word::Done => (Fate::Done, Outcome::Done, 0),
            Word::Return => (Fate::Return, Outcome::Return, 0),
            Word::Failed(millis) => {
                let delay = Duration::from_millis(millis.into());
                (Fate::Failed(delay), Outcome::Failed, millis)
            }
            Word::Reject => (Fate::Reject, Outcome::Reject, 0),
            Word::Working => (Fate::Working, Outcome::Working, 0),
        };
        let one = |it: &u64| Range { from: *it, to: *it };
        let settle = Control::Settle {
            outcome,
            delay_ms,
            ranges: positions.iter().map(one).collect(),
        };
        self.model.settle(conn, fate, &positions);
        self.world.say(conn, &settle);
    }
}
