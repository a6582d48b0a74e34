//! What consumers do.

use crate::hearing::Stream;
use crate::lockstep::Lockstep;
use crate::script::{AS_ONE, NOBODY_SETTLES, Script, Topics, Wish, Word};
use message_queue_core::wire::control::{Control, Outcome, Range};
use message_queue_core::{ConnId, DeliveryMode, Overflow};
use message_queue_tests::groups_model::{
    Asks, Fate, Prefetch, Rules, dead_letters_of, is_pattern, matches,
};
use std::time::Duration;

/// The bytes that a consumer may hold if it does not say how many.
const PREFETCH_BYTES: usize = 8 << 20;

impl Lockstep {
    /// A consumer comes. None: it may not.
    pub(crate) fn consumer(&mut self, wish: &Wish, script: &Script) -> Option<ConnId> {
        let asks = asks(wish, script);
        let line = role_line(&asks, wish.bytes);
        let is_let_in = self.model.lets_in(script.mode);
        let conn = self.connects(wish.who, &line);
        if self.comes_too_late(conn, is_let_in) {
            return None;
        }
        let person = wish.who.map(|it| &self.people[it]);
        let group = asks.group.as_deref();
        if !self.model.may_consume(person, &asks.topics, group) {
            self.is_refused(conn, "forbidden");
            return None;
        }
        let answer = self.world.answer(conn);
        assert!(answer.starts_with("OK "), "{answer}");
        if is_pattern(&asks.topics) {
            for key in ["topic", "epoch", "created"] {
                assert!(!answer.contains(&format!(" {key}=")), "{answer}");
            }
            let names_group = answer.contains(" group=");
            assert_eq!(names_group, asks.group.is_some(), "{answer}");
        }
        self.seen.came_late += u64::from(self.model.is_draining());
        self.model.consumer_comes(conn, &asks);
        let stream = Stream {
            next: self.model.own_groups(conn).into_iter().collect(),
            ..Stream::default()
        };
        self.streams.insert(conn, stream);
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

/// What a consumer asks for, of what it may wish.
fn asks(wish: &Wish, script: &Script) -> Asks {
    let (topics, all) = match wish.topics {
        Topics::One(topic) => {
            let rules = &script.rules[topic];
            (rules.topic.clone(), vec![(rules, script.confirms[topic])])
        }
        Topics::DeadOf(topic) => (dead_letters_of(&script.rules[topic].topic), Vec::new()),
        Topics::Pattern(pattern) => {
            let all = script.rules.iter().zip(script.confirms.iter().copied());
            let matching = all.filter(|(rules, _)| matches(pattern, &rules.topic));
            (pattern.to_owned(), matching.collect())
        }
    };
    // Where several messages that have waited come in at a time, which of them a group of one's own loses depends on
    // what is just being written to its consumer.
    let loses_several = |(rules, confirms): &(&Rules, bool)| {
        let drops = matches!(rules.overflow, Overflow::Drop | Overflow::DropOldest);
        rules.mode == DeliveryMode::Broadcast && drops && *confirms
    };
    let group = match wish.group {
        None if all.iter().any(loses_several) => Some(1),
        group => group,
    };
    let is_queue = |(rules, _): &(&Rules, bool)| rules.mode == DeliveryMode::Queue;
    let is_of_dead = matches!(wish.topics, Topics::DeadOf(_));
    let shares = group.is_some() || is_of_dead || all.iter().any(is_queue);
    let messages = match group {
        Some(NOBODY_SETTLES) => None,
        Some(_) | None if shares => Some(wish.shared),
        Some(_) | None => wish.own,
    };
    // What comes to a consumer at the very moment at which others and itself have worked for too long may be among
    // what it loses, where producers wait for their room.
    let producers_wait = |(rules, confirms): &(&Rules, bool)| match rules.overflow {
        Overflow::Block => true,
        Overflow::Drop | Overflow::DropOldest => *confirms,
        Overflow::Reject => false,
    };
    let has_timeout = all.iter().any(|(rules, _)| rules.ack_timeout.is_some());
    let works_on_one = has_timeout && all.iter().any(producers_wait);
    Asks {
        topics,
        group: group.map(|it| format!("g{it}")),
        prefetch: messages.map(|messages| Prefetch {
            messages: messages.into(),
            bytes: wish.bytes.map_or(PREFETCH_BYTES, usize::from),
        }),
        workers: if works_on_one { 1 } else { wish.workers.into() },
        as_one: group == Some(AS_ONE),
    }
}

fn role_line(asks: &Asks, bytes: Option<u8>) -> String {
    let mut line = format!("CONSUMER topic={} heartbeat=0", asks.topics);
    if let Some(group) = &asks.group {
        line += &format!(" group={group}");
    }
    if asks.as_one {
        line += " share=one";
    }
    if let Some(Prefetch { messages, .. }) = asks.prefetch {
        line += &format!(" ack=1 prefetch={messages} workers={}", asks.workers);
        if let Some(bytes) = bytes {
            line += &format!(" prefetch_bytes={bytes}");
        }
    }
    line
}
