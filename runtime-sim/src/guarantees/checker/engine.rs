//! Topics that are kept in an engine that other brokers share: what the engine has, and what it may ask to have again.
//!
//! A message has a sequence for each time that it is delivered to this broker, so each delivery is a message of its own to
//! the rest of the checker. Here is what links them: the copy that the engine has for the group.

use super::Checker;
use super::state::{DECLARED, Given, Key, Stands, State};
use crate::checker::Invariant;
use crate::guarantees::history::{Asked, EngineEvent};
use crate::guarantees::plan::{Begin, Settings};
use message_queue_core::ConnId;
use message_queue_core::store::Profile;
use message_queue_core::wire::control::{Origin, Range};
use std::collections::{BTreeMap, BTreeSet};

/// What the engine has, as far as it has said so.
pub(super) struct Engine {
    profile: Profile,
    /// The messages that were written, by topic.
    kept: BTreeMap<String, BTreeSet<String>>,
    groups: BTreeMap<Key, Share>,
    /// The messages of each group that somebody has settled, here or elsewhere.
    ended: BTreeMap<Key, BTreeSet<String>>,
    /// What the broker asks to have noted as settled, in this step.
    saving: Vec<(Key, u64, Vec<Range>)>,
}

/// What this broker has had of a group.
#[derive(Default)]
struct Share {
    /// Whether this broker knows the group: where one begins counts once.
    is_known: bool,
    deliveries: BTreeMap<u64, Delivery>,
    /// The deliveries that are not taken back begin here; none: the group is not open.
    open_from: Option<u64>,
    copies: BTreeMap<u64, Copy>,
    /// Messages that were too old before anybody was handed them: counted by the broker, and seen to be missing.
    expired: (u64, u64),
}

struct Delivery {
    body: String,
    copy: u64,
    attempts: u32,
    /// Whether it was too old before anybody was handed it.
    is_expired: bool,
}

/// What has become of a message in a group, under all its sequences.
#[derive(Clone, Copy, Default)]
struct Copy {
    /// Whether a consumer of this broker has settled it.
    is_settled: bool,
    /// Whether the engine knows.
    is_saved: bool,
    /// Whether the engine may not have been told: the connection was lost.
    may_come_again: bool,
}

impl Engine {
    pub(super) fn of(settings: &Settings) -> Option<Self> {
        settings.engine.map(|engine| Self {
            profile: engine.profile(),
            kept: BTreeMap::new(),
            groups: BTreeMap::new(),
            ended: BTreeMap::new(),
            saving: Vec::new(),
        })
    }

    fn has(&self, topic: &str, body: &str) -> bool {
        self.kept.get(topic).is_some_and(|it| it.contains(body))
    }

    /// The broker has dropped so many messages that were too old before anybody was handed them.
    pub(super) fn note_expired(&mut self, key: &Key, messages: u64) {
        self.share(key).expired.0 += messages;
    }

    fn share(&mut self, key: &Key) -> &mut Share {
        self.groups.entry(key.clone()).or_default()
    }

    /// A delivery that was not taken back.
    fn delivery(&self, key: &Key, sequence: u64) -> Option<&Delivery> {
        let share = self.groups.get(key)?;
        let is_open = share.open_from.is_some_and(|from| from <= sequence);
        share.deliveries.get(&sequence).filter(|_| is_open)
    }
}

impl Share {
    /// The deliveries that were not taken back.
    fn open(&self) -> impl Iterator<Item = (&u64, &Delivery)> {
        let from = self.open_from.unwrap_or(u64::MAX);
        self.deliveries.range(from..)
    }
}

impl State {
    fn engine(&mut self) -> &mut Engine {
        self.engine.as_mut().expect("topics are kept in one")
    }

    /// Whether somebody has settled a message in the group that is there from the start.
    fn has_ended_in_engine(&self, body: &str, given: &Given) -> bool {
        let key = (given.topic.clone(), DECLARED.to_owned());
        let ended = self.engine.as_ref().and_then(|it| it.ended.get(&key));
        ended.is_some_and(|ended| ended.contains(body))
    }
}

impl Checker {
    pub(super) fn engine_does(&mut self, topic: &str, event: &EngineEvent) {
        let key = |group: &String| (topic.to_owned(), group.clone());
        match event {
            EngineEvent::Kept {
                bodies,
                origin,
                is_of_others,
            } => self.kept(topic, bodies, origin.as_ref(), *is_of_others),
            EngineEvent::Opening { group, from } => self.begins(&key(group), *from),
            EngineEvent::Opened { group, next } => {
                let key = key(group);
                self.state.engine().share(&key).open_from = Some(*next);
                let group = self.state.group(&key);
                group.next = Some(*next);
                group.losses.begin_anew();
            }
            EngineEvent::Delivered {
                group,
                sequence,
                copy,
                attempts,
                body,
            } => {
                let delivery = Delivery {
                    body: body.clone(),
                    copy: *copy,
                    attempts: *attempts,
                    is_expired: false,
                };
                self.delivered(&key(group), *sequence, delivery);
            }
            EngineEvent::Saving {
                group,
                up_to,
                above,
            } => {
                let saving = (key(group), *up_to, above.clone());
                self.state.engine().saving.push(saving);
            }
            EngineEvent::Settled { group, sequences } => {
                let key = key(group);
                let engine = self.state.engine();
                let ended = engine.ended.entry(key.clone()).or_default();
                let Some(share) = engine.groups.get_mut(&key) else {
                    return;
                };
                for sequence in sequences {
                    if let Some(delivery) = share.deliveries.get(sequence) {
                        ended.insert(delivery.body.clone());
                        share.copies.entry(delivery.copy).or_default().is_saved = true;
                    }
                }
            }
            EngineEvent::Closing { group } => self.taken_back(&key(group), false),
            EngineEvent::Lost { group } => self.taken_back(&key(group), true),
            EngineEvent::SettledElsewhere { group, bodies } => {
                let ended = self.state.engine().ended.entry(key(group)).or_default();
                ended.extend(bodies.iter().cloned());
            }
            EngineEvent::Left { unsettled, behind } => {
                let is_all = *unsettled == 0;
                self.must(is_all, Invariant::Redelivery, || {
                    format!("{topic}: {unsettled} messages are in the engine, and nobody has settled them")
                });
                self.must(*behind == 0, Invariant::Progress, || {
                    format!("{topic}: the broker is {behind} messages behind")
                });
            }
        }
    }

    /// A group that is new begins where a consumer of it has asked for, and any other goes on.
    fn begins(&mut self, key: &Key, from: Begin) {
        let share = self.state.engine().share(key);
        let was_known = std::mem::replace(&mut share.is_known, true);
        let is_from_the_start = [DECLARED, "queue"].contains(&key.1.as_str());
        let asks = |asked: &Asked| {
            matches!(asked, Asked::ToReceive { consumer, group }
                if (&consumer.topic, group) == (&key.0, &key.1) && consumer.from == from)
        };
        let fits = if was_known || is_from_the_start {
            from == Begin::New
        } else {
            self.state.conns.values().any(|it| asks(&it.asked))
        };
        self.must(fits, Invariant::Groups, || {
            format!("{key:?} begins at {from:?}, which nobody has asked for")
        });
    }

    /// Messages are in the engine.
    fn kept(&mut self, topic: &str, bodies: &[String], origin: Option<&Origin>, others: bool) {
        if others {
            self.given(usize::MAX, topic, (false, false), bodies);
        }
        let kept = self
            .state
            .engine()
            .kept
            .entry(topic.to_owned())
            .or_default();
        kept.extend(bodies.iter().cloned());
        let Some(origin) = origin else { return };
        let whence = (
            (origin.topic.clone(), origin.group.clone()),
            origin.sequence,
        );
        let given_up = self.state.given_up.get_mut(&whence);
        let was_given_up = given_up.is_some();
        if let Some(given_up) = given_up {
            given_up.place = Some(0);
        }
        self.must(was_given_up, Invariant::Failures, || {
            format!("{bodies:?} was not given up, and is a dead letter: {origin:?}")
        });
    }

    /// A message is delivered to a group: it is new, or comes again.
    fn delivered(&mut self, key: &Key, sequence: u64, delivery: Delivery) {
        let engine = self.state.engine();
        let in_order = engine.profile.settles_in_order;
        let share = engine.share(key);
        let copy = share.copies.entry(delivery.copy).or_default();
        let before = std::mem::take(copy);
        share.deliveries.insert(sequence, delivery);
        // What is settled comes again where the engine keeps only the first place that is not; and where it was not told.
        let is_told = before.is_saved || (before.is_settled && !before.may_come_again);
        let may = in_order || !is_told;
        self.must(may, Invariant::SettledOnce, || {
            format!("{key:?}: {sequence} is settled, and comes again")
        });
    }

    /// What the broker had of a group is for whoever comes next: because its connection was lost, or because its last
    /// member has left.
    fn taken_back(&mut self, key: &Key, is_lost: bool) {
        let step = self.step;
        let Some(engine) = self.state.engine.as_mut() else {
            return;
        };
        let share = engine.groups.entry(key.clone()).or_default();
        let group = self.state.groups.get(key);
        let sequences: Vec<u64> = share.open().map(|(sequence, _)| *sequence).collect();
        for sequence in &sequences {
            let message = group.and_then(|it| it.messages.get(sequence));
            let stands = message.map(|it| it.stands);
            let delivery = &share.deliveries[sequence];
            let copy = share.copies.entry(delivery.copy).or_default();
            copy.is_settled = delivery.is_expired || stands == Some(Stands::Done);
        }
        if is_lost {
            let copies = share.copies.values_mut();
            copies.for_each(|it| it.may_come_again = true);
        }
        share.open_from = None;
        if let Some(group) = self.state.groups.get_mut(key) {
            for sequence in sequences {
                let message = group.messages.get(&sequence).map(|it| it.stands);
                if matches!(message, Some(Stands::Held(_) | Stands::Waiting)) {
                    group.set(sequence, Stands::TakenBack);
                }
            }
        }
        // What is given up, and no dead letter yet, may be one or be handed out again.
        let given_up = self.state.given_up.iter_mut();
        given_up
            .filter(|((of, _), it)| of.0 == key.0 && it.place.is_none() && owner(of) == owner(key))
            .for_each(|(_, it)| it.may_be_lost = true);
        for state in self.state.conns.values_mut() {
            let of_it = state.held.iter().filter(|(_, held)| held.key == *key);
            let of_it: Vec<u64> = of_it.map(|(position, _)| *position).collect();
            for position in of_it {
                state.let_go(position);
                state.taken_away.insert(position);
                state.taken_in = step;
            }
        }
    }

    /// The group is gone, for this broker: one of its name begins anew.
    pub(super) fn forget_share(&mut self, key: &Key) {
        if let Some(engine) = &mut self.state.engine
            && let Some(share) = engine.groups.get_mut(key)
        {
            share.is_known = false;
            share.deliveries.clear();
            share.copies.clear();
            let place = format!("{} {}", key.0, key.1);
            self.state.sequences.retain(|(of, _), _| *of != place);
        }
    }

    /// A message is handed out: it was delivered under this sequence, and not taken back. Returns how often it was
    /// delivered before.
    pub(super) fn is_delivered(&mut self, key: &Key, sequence: u64, body: &str) -> Option<u32> {
        let engine = self.state.engine.as_ref()?;
        let delivery = engine.delivery(key, sequence);
        let fits = delivery.is_some_and(|it| it.body == body);
        let attempts = delivery.map(|it| it.attempts);
        self.must(fits, Invariant::TakenBack, || {
            format!("{key:?} {sequence} is {body}, which the engine has not delivered, or has taken back")
        });
        attempts
    }

    /// Whether a message that is not handed out for the first time is still the broker's to hand out.
    pub(super) fn is_ours(&self, key: &Key, sequence: u64) -> bool {
        let engine = self.state.engine.as_ref();
        engine.is_none_or(|it| it.delivery(key, sequence).is_some())
    }

    /// A message is handed out for the first time: it comes behind the one before, but for what was too old.
    pub(super) fn follows(&mut self, key: &Key, next: Option<u64>, sequence: u64) -> bool {
        let Some(next) = next.filter(|next| *next <= sequence) else {
            return false;
        };
        (next..sequence).all(|it| self.has_expired(key, it))
    }

    /// Whether a message that nobody was handed can have been too old by now.
    fn has_expired(&mut self, key: &Key, sequence: u64) -> bool {
        let share = self.state.engine().share(key);
        let Some(delivery) = share.deliveries.get_mut(&sequence) else {
            return false;
        };
        if !delivery.is_expired {
            delivery.is_expired = true;
            share.expired.1 += 1;
        }
        // Whether so many have expired is seen when the step is over.
        true
    }

    /// The broker asks to have noted as settled what is settled, and nothing else.
    pub(super) fn what_is_saved_is_settled(&mut self) {
        let Some(engine) = &mut self.state.engine else {
            return;
        };
        for (key, up_to, above) in std::mem::take(&mut engine.saving) {
            let engine = self.state.engine();
            let copies = engine.share(&key).open();
            let is_meant = |sequence: u64| {
                let mut above = above.iter();
                sequence <= up_to || above.any(|it| (it.from..=it.to).contains(&sequence))
            };
            let meant = copies.filter(|(sequence, _)| is_meant(**sequence));
            let meant: Vec<u64> = meant.map(|(sequence, _)| *sequence).collect();
            for sequence in meant {
                let is_settled = self.is_settled(&key, sequence);
                self.must(is_settled, Invariant::Confirmed, || {
                    format!("{key:?} {sequence} is saved as settled, and is not")
                });
            }
        }
        let mut groups = self.state.engine().groups.iter();
        let wrong = groups.find(|(_, share)| share.expired.1 > share.expired.0);
        let wrong = wrong.map(|(key, share)| (key.clone(), share.expired));
        self.must(wrong.is_none(), Invariant::Gaps, || {
            format!("{wrong:?}: so many have expired, and so many are missing")
        });
    }

    fn is_settled(&mut self, key: &Key, sequence: u64) -> bool {
        let group = self.state.groups.get(key);
        let message = group.and_then(|it| it.messages.get(&sequence));
        match message.map(|it| it.stands) {
            Some(Stands::Done | Stands::Expired) => true,
            Some(Stands::GivenUp) => {
                let given_up = self.state.given_up.get(&(key.clone(), sequence));
                given_up.is_some_and(|it| it.place.is_some())
            }
            Some(Stands::Waiting | Stands::Held(_) | Stands::Unknown | Stands::TakenBack) => false,
            None => self.has_expired(key, sequence),
        }
    }

    /// A consumer is told that what it has settled is safe.
    pub(super) fn flushed_in_engine(&mut self, key: &Key, sequence: u64) {
        let Some(engine) = &self.state.engine else {
            return;
        };
        let Some(delivery) = engine.delivery(key, sequence) else {
            // Whoever has it now may have to do it again.
            return;
        };
        let share = &engine.groups[key];
        let is_saved = share
            .copies
            .get(&delivery.copy)
            .is_some_and(|it| it.is_saved);
        let group = &self.state.groups[key];
        let is_done = group.messages[&sequence].stands == Stands::Done && !group.is_own;
        self.must(is_saved || !is_done, Invariant::SettledOnce, || {
            format!("{key:?} {sequence} is said to be safe, and the engine does not know that it is settled")
        });
    }

    /// A producer is told that a message is safe.
    pub(super) fn is_in_engine(&mut self, conn: ConnId, body: &str) {
        let topic = self.state.conn(conn).topic.clone();
        let engine = self.state.engine.as_ref();
        let is_there = engine.is_none_or(|it| it.has(&topic, body));
        self.must(is_there, Invariant::Confirmed, || {
            format!("{conn}: {body} is confirmed, and is not in the engine")
        });
    }

    /// In the end all that was confirmed is settled.
    pub(super) fn all_has_ended_in_engine(&mut self) {
        let given = self.state.given.iter();
        let mut safe = given.filter(|(_, it)| it.is_safe && !it.is_refused);
        let lost = safe.find(|(body, it)| !self.state.has_ended_in_engine(body, it));
        let lost = lost.map(|(body, _)| body.clone());
        self.must(lost.is_none(), Invariant::Confirmed, || {
            format!("{lost:?} was confirmed, and nobody has settled it")
        });
    }
}

/// Whose a group is, as dead letters say it and as the broker does.
fn owner(key: &Key) -> String {
    if key.1.starts_with("own-") {
        super::consumers::own_label(&key.1)
    } else {
        key.1.clone()
    }
}

#[cfg(test)]
mod tests;
