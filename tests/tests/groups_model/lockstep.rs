//! Plays a script to the broker and to the model, and holds the one to the other after each step.

use crate::config::config;
use crate::script::{Script, Step, Wish, Word};
use crate::seen::Seen;
use message_queue_core::wire::FrameBatch;
use message_queue_core::wire::control::{Control, Outcome, Range};
use message_queue_core::{ConnId, DeliveryMode, Overflow};
use message_queue_tests::groups_model::{
    Asks, Fate, GroupName, Model, Origin, Told, dead_letters_of,
};
use message_queue_tests::world::World;
use std::collections::BTreeMap;
use std::time::Duration;

/// A broker and its model, side by side.
pub(crate) struct Lockstep {
    pub(crate) world: World,
    pub(crate) model: Model,
    producers: BTreeMap<usize, ConnId>,
    pub(crate) consumers: BTreeMap<usize, ConnId>,
    /// What each producer has been told so far.
    pub(crate) told: BTreeMap<ConnId, Told>,
    /// Where each consumer's stream is.
    pub(crate) streams: BTreeMap<ConnId, Stream>,
    messages: u64,
    pub(crate) seen: Seen,
}

/// What was said to a consumer of the messages that follow.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) sequence: u64,
    pub(crate) attempt: u32,
    pub(crate) origin: Option<Origin>,
    /// In a group of one's own: nothing up to here is missing without a word.
    pub(crate) heard_up_to: Option<u64>,
    /// The positions that were taken from it.
    pub(crate) revoked: Vec<u64>,
}

pub(crate) fn play(script: &Script) -> Seen {
    let mut lockstep = Lockstep {
        world: World::new(config(&script.rules)),
        model: Model::new(&script.rules),
        producers: BTreeMap::new(),
        consumers: BTreeMap::new(),
        told: BTreeMap::new(),
        streams: BTreeMap::new(),
        messages: 0,
        seen: Seen::default(),
    };
    for step in &script.steps {
        lockstep.take(step, script);
        lockstep.compare();
    }
    lockstep.seen
}

impl Lockstep {
    fn take(&mut self, step: &Step, script: &Script) {
        match step {
            Step::ProducerComes(place, topic, name) => {
                self.cut_producer(*place);
                let rules = &script.rules[*topic];
                // What was refused is told again to a name that comes back: left to others.
                let may_have_name = script.confirms[*topic] && rules.overflow != Overflow::Reject;
                let conn = match name.filter(|_| may_have_name) {
                    Some((name, session)) => self.named_producer(&rules.topic, name, session),
                    None => self.producer(&rules.topic, script.confirms[*topic]),
                };
                self.producers.insert(*place, conn);
            }
            Step::Publishes(place, count) => {
                if let Some(conn) = self.producers.get(place).copied() {
                    self.publish(conn, *count, script);
                }
            }
            Step::ProducerEnds(place) => {
                if let Some(conn) = self.producers.remove(place) {
                    self.model.producer_ends(conn);
                    self.world.end(conn);
                }
            }
            Step::ProducerIsCut(place) => self.cut_producer(*place),
            Step::ConsumerComes(place, wish) => {
                self.let_consumer_go(*place, false);
                let conn = self.consumer(wish, script);
                self.consumers.insert(*place, conn);
            }
            Step::Settles(place, word, which) => {
                if let Some(conn) = self.consumers.get(place).copied() {
                    self.settle(conn, *word, *which);
                }
            }
            Step::Credits(place, messages) => {
                if let Some(conn) = self.consumers.get(place).copied()
                    && self.model.settles(conn)
                {
                    self.model.credit_changes(conn, (*messages).into());
                    let (messages, bytes) = ((*messages).into(), u32::MAX);
                    self.world.say(conn, &Control::Credit { messages, bytes });
                }
            }
            Step::Leaves(place) => self.let_consumer_go(*place, true),
            Step::IsCut(place) => self.let_consumer_go(*place, false),
            Step::Passes(millis) => {
                let end = self.world.now() + Duration::from_millis(*millis);
                while self.world.pass_to_what_is_due(end) {
                    self.compare();
                }
            }
        }
    }

    fn publish(&mut self, conn: ConnId, count: usize, script: &Script) {
        let bodies: Vec<String> = (0..count).map(|_| self.body()).collect();
        let topic = self.model.topic_of(conn).to_owned();
        let number = script.rules.iter().position(|it| it.topic == topic);
        let number = number.expect("a topic of the script");
        // Where messages are dropped or refused they come one by one. Of several at a time members have shares, and
        // whether one finds a member before it is dropped depends on those.
        let at_a_time = match (script.rules[number].overflow, script.confirms[number]) {
            (Overflow::Block, _) | (Overflow::Drop | Overflow::DropOldest, true) => count,
            (Overflow::Drop | Overflow::DropOldest, false) | (Overflow::Reject, _) => 1,
        };
        for bodies in bodies.chunks(at_a_time) {
            let batch = FrameBatch::encode(bodies).expect("small messages");
            self.model.publish(conn, bodies.to_vec());
            self.world.send(conn, batch.as_bytes());
            self.compare();
        }
    }

    fn body(&mut self) -> String {
        self.messages += 1;
        format!("m{}", self.messages)
    }

    fn producer(&mut self, topic: &str, confirms: bool) -> ConnId {
        let confirm = u8::from(confirms);
        let conn = self.world.connect(format!(
            "PRODUCER topic={topic} confirm={confirm} heartbeat=0\n"
        ));
        self.world.answer(conn);
        self.model.producer_comes(conn, topic, confirms);
        self.told.insert(conn, Told::default());
        conn
    }

    fn named_producer(&mut self, topic: &str, name: u8, session: u8) -> ConnId {
        let conn = self.world.connect(format!(
            "PRODUCER topic={topic} producer=p{name} session=s{session} at=1 heartbeat=0\n"
        ));
        let answer = self.world.answer(conn);
        let (name, session) = (format!("p{name}"), format!("s{session}"));
        let (accepted, before) = self
            .model
            .named_producer_comes(conn, topic, &name, &session);
        assert!(
            answer.contains(&format!(" accepted={accepted} ")),
            "{answer}"
        );
        self.seen.resumed += u64::from(accepted > 0);
        if let Some(before) = before {
            assert_eq!(self.world.closed(before), Some("taken_over"));
            self.producers.retain(|_, it| *it != before);
            self.told.remove(&before);
            self.seen.taken_over += 1;
        }
        let told = Told {
            confirmed: accepted,
            ..Told::default()
        };
        self.told.insert(conn, told);
        conn
    }

    fn cut_producer(&mut self, place: usize) {
        if let Some(conn) = self.producers.remove(&place) {
            self.model.producer_is_cut(conn);
            self.world.cut(conn);
            self.told.remove(&conn);
        }
    }

    fn consumer(&mut self, wish: &Wish, script: &Script) -> ConnId {
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
        let mut line = format!("CONSUMER topic={topic} heartbeat=0");
        if let Some(group) = group {
            line += &format!(" group=g{group}");
        }
        // The first group is one whose members share as one.
        let as_one = group == Some(0);
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
        let conn = self.world.connect(line + "\n");
        let answer = self.world.answer(conn);
        assert!(answer.starts_with("OK "), "{answer}");
        let group = match (group, mode) {
            (Some(group), _) => GroupName::Named(format!("g{group}")),
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
        conn
    }

    fn let_consumer_go(&mut self, place: usize, says_so: bool) {
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

    fn settle(&mut self, conn: ConnId, word: Word, which: u8) {
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
            Word::Done => (Fate::Done, Outcome::Done, 0),
            Word::Failed(_) if !self.model.may_fail(conn) => (Fate::Return, Outcome::Return, 0),
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
