//! Plays a script to the broker and to the model, and holds the one to the other after each step.

use crate::config::config;
use crate::script::{Script, Step, Word};
use crate::seen::Seen;
use message_queue_core::wire::control::Control;
use message_queue_core::{ConnId, Overflow};
use message_queue_tests::groups_model::{Model, Origin, Person, Told};
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
    /// Whether it was asked to finish.
    pub(crate) is_going: bool,
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
            Step::Drain(millis) => self.drain(*millis),
            Step::IsSilent(place) => self.is_silent(*place),
            Step::RightsChange(who, rights) => self.rights_change(*who, rights),
            Step::IsKnownNoMore(who) => self.is_known_no_more(*who),
            Step::Passes(millis) => self.pass(Duration::from_millis(*millis)),
        }
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
        format!("m{}", self.messages)
    }
}
