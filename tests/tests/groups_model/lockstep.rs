//! Plays a script to the broker and to the model, and holds the one to the other after each step.

use crate::config::config;
use crate::hearing::Stream;
use crate::script::{Script, Step, Word};
use crate::seen::Seen;
use message_queue_core::wire::LENGTH_PREFIX;
use message_queue_core::wire::control::Control;
use message_queue_core::{ConnId, Overflow};
use message_queue_tests::groups_model::{MESSAGE_BYTES, Model, Person, Prefetch, Told};
use message_queue_tests::world::World;
use std::collections::BTreeMap;
use std::time::Duration;

/// A broker and its model, side by side.
pub(crate) struct Lockstep {
    pub(crate) world: World,
    pub(crate) model: Model,
    pub(crate) producers: BTreeMap<usize, ConnId>,
    pub(crate) consumers: BTreeMap<usize, ConnId>,
    /// What each producer has been told so far.
    pub(crate) told: BTreeMap<ConnId, Told>,
    /// Where each consumer's stream is.
    pub(crate) streams: BTreeMap<ConnId, Stream>,
    /// Who is known to the broker.
    pub(crate) people: Vec<Person>,
    /// Whose connection it is; not there: nobody was asked.
    pub(crate) who: BTreeMap<ConnId, usize>,
    messages: u64,
    pub(crate) seen: Seen,
}

pub(crate) fn play(script: &Script) -> Seen {
    let mut lockstep = Lockstep {
        world: World::new(config(script)),
        model: Model::new(&script.rules),
        producers: BTreeMap::new(),
        consumers: BTreeMap::new(),
        told: BTreeMap::new(),
        streams: BTreeMap::new(),
        people: script.people.clone(),
        who: BTreeMap::new(),
        messages: 0,
        seen: Seen::default(),
    };
    for step in &script.steps {
        lockstep.take(step, script);
        lockstep.compare();
    }
    let groups = lockstep.model.groups();
    lockstep.seen.expired = groups.iter().map(|(_, _, holds)| holds.expired).sum();
    if !lockstep.model.is_draining() {
        lockstep.seen.lost += groups.iter().map(|(_, _, holds)| holds.lost).sum::<u64>();
    }
    lockstep.seen
}

impl Lockstep {
    fn take(&mut self, step: &Step, script: &Script) {
        match step {
            Step::ProducerComes(place, topic, name, who) => {
                self.cut_producer(*place);
                self.compare();
                let rules = &script.rules[*topic];
                // What was refused is told again to a name that comes back: left to others.
                let may_have_name = script.confirms[*topic] && rules.overflow != Overflow::Reject;
                let name = name.filter(|_| may_have_name);
                let confirms = script.confirms[*topic];
                if let Some(conn) =
                    self.producer_comes(&rules.topic, confirms, name, *who, script.mode)
                {
                    self.producers.insert(*place, conn);
                }
            }
            Step::Publishes(place, count) => {
                if let Some(conn) = self.producers.get(place).copied() {
                    self.publish(conn, *count, script);
                }
            }
            Step::PublishesElsewhere(place, topic, count) => {
                if let Some(conn) = self.producers.get(place).copied() {
                    self.sends_elsewhere(conn, topic, *count);
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
                // What comes of that is heard before somebody else comes: what waits decides who is let in.
                self.compare();
                if let Some(conn) = self.consumer(wish, script) {
                    self.consumers.insert(*place, conn);
                }
            }
            Step::Settles(place, word, which) => {
                if let Some(conn) = self.consumers.get(place).copied() {
                    self.settle(conn, *word, *which);
                }
            }
            Step::FailsOften(place) => {
                for wait in [10, 20, 40] {
                    if let Some(conn) = self.consumers.get(place).copied() {
                        self.settle(conn, Word::Failed(0), u8::MAX);
                        self.compare();
                        self.pass(Duration::from_millis(wait));
                    }
                }
            }
            Step::Credits(place, messages, bytes) => {
                if let Some(conn) = self.consumers.get(place).copied()
                    && self.model.settles(conn)
                {
                    self.credit(conn, (*messages).into(), *bytes);
                }
            }
            Step::Leaves(place) => self.let_consumer_go(*place, true),
            Step::IsCut(place) => self.let_consumer_go(*place, false),
            Step::Drain(millis) => self.drain(*millis),
            Step::IsSilent(place) => self.is_silent(*place),
            Step::RightsChange(who, rights) => self.rights_change(*who, rights),
            Step::IsKnownNoMore(who) => self.is_known_no_more(*who),
            Step::Passes(millis) => self.pass(Duration::from_millis(*millis)),
        }
    }

    fn credit(&mut self, conn: ConnId, messages: u32, bytes: Option<u8>) {
        let bytes = bytes.map_or(u32::MAX, u32::from);
        let prefetch = Prefetch {
            messages: messages as usize,
            bytes: bytes as usize,
        };
        self.model.credit_changes(conn, prefetch);
        self.world.say(conn, &Control::Credit { messages, bytes });
    }

    fn pass(&mut self, time: Duration) {
        let end = self.world.now() + time;
        while self.world.pass_to_what_is_due(end) {
            self.compare();
        }
        self.compare();
    }

    /// A new message.
    pub(crate) fn body(&mut self) -> String {
        self.messages += 1;
        let body = format!("m{:07}", self.messages);
        assert_eq!(LENGTH_PREFIX + body.len(), MESSAGE_BYTES);
        body
    }
}
