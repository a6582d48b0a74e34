//! What is lost by agreement: what has waited for too long, and what came of producers without confirms when there was
//! no room.

use super::Checker;
use super::state::{DECLARED, Group, Key, Message, Run, Stands, State};
use crate::checker::Invariant;
use crate::guarantees::history::Asked;
use crate::plan::{MILLISECOND, Micros};
use message_queue_core::ConnId;
use message_queue_core::wire::control::{Range, Reason};
use std::collections::BTreeMap;

/// What a group has lost.
#[derive(Default)]
pub(super) struct Losses {
    /// Messages that were too old before anybody was handed them, ever.
    pub(super) expired: u64,
    /// Messages that there was no room for, ever.
    pub(super) dropped: u64,
    /// Those of them that lie behind the last message that was handed out for the first time.
    behind: u64,
    /// Whether it is unsure where the losses lie: some before messages that wait, or among them.
    is_unsure: bool,
    /// What has expired in this step. Which messages these are is known when it is over.
    now: u64,
    /// What was missing before messages that were handed out for the first time in such a step, ...
    missing_now: u64,
    /// ... and the last sequence of that.
    last_missing: u64,
    /// In a group of one's own: expired messages that its consumer is to be told of.
    untold: u64,
    /// Whether it was, in this step.
    is_told_now: bool,
}

impl Losses {
    pub(super) const fn behind(&self) -> u64 {
        self.behind
    }

    /// It begins anew, with what comes next: nobody is told of what was before.
    pub(super) const fn begin_anew(&mut self) {
        self.untold = 0;
    }

    pub(super) const fn drop(&mut self, messages: u64) {
        self.dropped += messages;
        self.behind += messages;
        self.is_unsure = true;
    }
}

impl State {
    /// How long a message of this topic may wait.
    fn max_age(&self, topic: &str) -> Option<Micros> {
        let age = self.settings.max_age_ms * MILLISECOND;
        (age > 0 && !topic.ends_with(".dead")).then_some(age)
    }

    /// Until when a message may be handed out. What comes back when it is too old goes to who is ready for it.
    fn good_until(&self, topic: &str, message: &Message) -> Option<Micros> {
        let old = message.published + self.max_age(topic)?;
        let since = self.rules.since;
        Some(
            old.max(message.came_back)
                .max(message.not_before)
                .max(since),
        )
    }

    /// The broker is given so many messages.
    pub(super) fn note_times(&mut self, conn: ConnId, at: Micros, messages: usize) {
        if let Asked::ToSend { topic, .. } = self.conn(conn).asked.clone() {
            let times = self.times.entry(topic).or_default();
            times.extend(std::iter::repeat_n(at, messages));
        }
    }

    /// How many messages of a topic there can have been at `at`, at most.
    fn published_by(&self, topic: &str, at: Option<Micros>) -> u64 {
        let times = self.times.get(topic);
        times.map_or(0, |it| it.partition_point(|time| Some(*time) <= at)) as u64
    }

    /// What the groups have lost that are there from the start.
    pub(super) fn declared_losses(&self) -> impl Iterator<Item = &Losses> {
        let groups = self.groups.iter().filter(|(key, _)| key.1 == DECLARED);
        groups.map(|(_, group)| &group.losses)
    }
}

impl Checker {
    /// Messages are dropped that have waited for too long. Whether that can be.
    pub(super) fn expire(&mut self, whence: Option<&Key>, messages: u64) -> bool {
        let Some(key) = whence.filter(|key| self.state.max_age(&key.0).is_some()) else {
            return false;
        };
        self.state.group(key).losses.now += messages;
        true
    }

    /// A message that was never handed out comes behind what was, but for what is lost. What expires is always what is
    /// oldest.
    pub(super) fn is_next(&mut self, key: &Key, next: Option<u64>, sequence: u64) -> bool {
        let group = self.state.group(key);
        let losses = &mut group.losses;
        let Some(missing) = next.map_or(Some(0), |next| sequence.checked_sub(next)) else {
            return false;
        };
        if group.is_own {
            losses.behind = 0;
            // Its consumer was told of it, and of what has expired.
            let is_told = losses.untold == 0 || losses.now > 0 || losses.is_unsure;
            return missing == 0 && is_told;
        }
        losses.is_unsure |= next.is_none();
        if losses.now > 0 {
            losses.missing_now += missing;
            if missing > 0 {
                losses.last_missing = sequence - 1;
            }
            return true;
        }
        let fits = missing == losses.behind || (losses.is_unsure && missing < losses.behind);
        losses.behind = losses.behind.saturating_sub(missing);
        fits
    }

    /// A message that is handed out has not waited for too long.
    pub(super) fn is_not_too_old(&mut self, key: &Key, run: Run) {
        let at = self.at;
        let message = self.state.groups.get(key);
        let message = message.and_then(|group| group.messages.get(&run.sequence));
        let until = match message {
            Some(message) => self.state.good_until(&key.0, message),
            None => self.state.max_age(&key.0).map(|age| {
                let since = self.state.rules.since;
                (run.published + age).max(since)
            }),
        };
        self.must(
            until.is_none_or(|until| at <= until),
            Invariant::Age,
            || {
                let sequence = run.sequence;
                format!("{key:?} {sequence} is handed out, and was to expire at {until:?} us")
            },
        );
    }

    /// A consumer is told what will not come to its own group.
    pub(super) fn told_of_expired(&mut self, key: &Key, range: Range, reason: &Reason) {
        if reason.code != "expired" {
            return;
        }
        let losses = &mut self.state.group(key).losses;
        let missing = range.to - range.from + 1;
        let is_unsure = losses.now > 0 || losses.is_unsure;
        let fits = is_unsure || (losses.untold > 0 && missing >= losses.untold);
        losses.is_told_now = true;
        losses.untold = 0;
        self.must(fits, Invariant::Gaps, || {
            format!("{key:?}: {range:?} are said to have expired")
        });
    }

    /// A step is over in which messages expired: those that had come back are known, and all others were never handed
    /// out.
    pub(super) fn what_expired_is_gone(&mut self) {
        let at = self.at;
        let mut too_many = None;
        let mut too_young = None;
        let mut groups = std::mem::take(&mut self.state.groups);
        for (key, group) in &mut groups {
            let expired = std::mem::take(&mut group.losses.now);
            let was_told = std::mem::take(&mut group.losses.is_told_now);
            if expired == 0 {
                continue;
            }
            let age = self.state.settings.max_age_ms * MILLISECOND;
            let known = group.too_old(at, age);
            let known = &known[..known.len().min(expired as usize)];
            for sequence in known {
                group.set(*sequence, Stands::Expired);
            }
            let fresh = expired - known.len() as u64;
            if let Some(engine) = &mut self.state.engine {
                engine.note_expired(key, fresh);
                group.losses.untold += if group.is_own && !was_told { fresh } else { 0 };
                continue;
            }
            let losses = &mut group.losses;
            losses.expired += fresh;
            losses.behind += fresh;
            losses.untold += if group.is_own && !was_told { fresh } else { 0 };
            let missing = std::mem::take(&mut losses.missing_now);
            let last_missing = std::mem::take(&mut losses.last_missing);
            if missing > losses.behind {
                too_many = Some((key.clone(), missing));
            }
            losses.behind = losses.behind.saturating_sub(missing);
            // Those that were never handed out lie behind all that had been, and all up to the last of them is as old. What
            // is handed out in the same step may be younger.
            let old = self.state.published_by(&key.0, at.checked_sub(age));
            let ended = if losses.behind > 0 || missing == 0 {
                group.next.map_or(0, |next| next - 1) + losses.behind
            } else {
                last_missing
            };
            if fresh > 0 && ended > old && !losses.is_unsure && !group.is_own {
                too_young = Some((key.clone(), ended, old));
            }
        }
        self.state.groups = groups;
        self.must(too_young.is_none(), Invariant::Age, || {
            format!("{too_young:?}: so many are handed out or expired, and so many can be too old")
        });
        self.must(too_many.is_none(), Invariant::Gaps, || {
            format!("{too_many:?} messages are missing that have not expired")
        });
    }

    /// What is too old does not wait on.
    pub(super) fn nothing_waits_too_long(&mut self) {
        if self.state.settings.max_age_ms == 0 {
            return;
        }
        // What comes back during the orderly end waits in the engine, for another broker.
        if self.state.engine.is_some() && self.state.drain_began.is_some() {
            return;
        }
        let at = self.at;
        let groups = self.state.groups.iter();
        let mut waiting = groups.flat_map(|(key, group)| {
            let waiting = group.waiting.iter();
            waiting.map(move |sequence| (key, *sequence, &group.messages[sequence]))
        });
        let old = waiting.find(|(key, _, message)| {
            // A group of one's own drops its oldest where the rules say so.
            let group = &self.state.groups[*key];
            let is_there = !(group.is_own && group.losses.is_unsure);
            let until = self.state.good_until(&key.0, message);
            is_there && until.is_some_and(|until| until < at)
        });
        let old = old.map(|(key, sequence, _)| (key.clone(), sequence));
        self.must(old.is_none(), Invariant::Age, || {
            format!("{old:?} waits, and is too old")
        });
    }

    /// Everything has come to its end: what the groups that are there from the start have not is what they counted as
    /// lost. What was confirmed was too old; what was not may have had no room.
    pub(super) fn nothing_is_lost_but_what_may_be(&mut self) {
        if self.state.engine.is_some() {
            return self.all_has_ended_in_engine();
        }
        let mut lost: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for given in self.state.given.values() {
            let (confirmed, others) = lost.entry(given.topic.clone()).or_default();
            let was_read = !given.confirms && given.published.is_some();
            *confirmed += u64::from(self.state.is_owed(given));
            *others += u64::from(was_read && !self.state.has_come_to_its_end(given));
        }
        let mut lost = lost.into_iter().map(|(topic, lost)| {
            let key = (topic, DECLARED.to_owned());
            let group = self.state.groups.get(&key);
            let counted = group.map_or((0, 0), |it| (it.losses.expired, it.losses.dropped));
            (key.0, lost, counted)
        });
        let wrong = lost.find(|(_, (confirmed, others), (expired, dropped))| {
            confirmed > expired || confirmed + others > expired + dropped
        });
        let Some((topic, (confirmed, others), (expired, dropped))) = wrong else {
            return;
        };
        let detail = format!(
            "{topic}: {confirmed} confirmed and {others} other messages are lost; {expired} have \
             expired, and {dropped} had no room"
        );
        let invariant = if confirmed > expired {
            Invariant::Confirmed
        } else {
            Invariant::Accounting
        };
        self.broken(invariant, || detail);
    }
}

impl Group {
    /// What waits, is due, and is older than it may be; the oldest first.
    fn too_old(&self, at: Micros, age: Micros) -> Vec<u64> {
        let waiting = self.waiting.iter().copied();
        let old = waiting.filter(|it| self.messages[it].is_too_old(at, age));
        old.collect()
    }

    /// Whether a message that waits may be one of those that have expired in this step.
    pub(super) fn may_have_expired(&self, message: &Message, at: Micros, age: Micros) -> bool {
        self.losses.now > 0 && message.is_too_old(at, age)
    }
}

impl Message {
    /// Whether it is due, and older than it may be.
    const fn is_too_old(&self, at: Micros, age: Micros) -> bool {
        self.not_before <= at && self.published + age <= at
    }
}
