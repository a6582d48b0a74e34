//! What outlives a broker: nothing that is in memory; of what is stored, all that was said to be safe.

use super::Checker;
use super::state::{GivenUp, Group, Held, Key, Stands, State};
use message_queue_core::ConnId;
use message_queue_core::wire::control::Origin;

impl Checker<'_> {
    /// The broker is gone. Its connections are, too, and so are the groups of their own.
    pub(super) fn killed(&mut self) {
        let state = &mut self.state;
        state.conns.clear();
        state.groups.retain(|_, group| !group.is_own);
        state.safe_and_waiting.clear();
        state.is_deleting = false;
        state.has_store_failed = false;
        state.has_died = true;
        if state.settings.stored {
            state.keep_what_is_stored();
        } else {
            state.lose_everything();
        }
    }

    /// A broker that has died had said so.
    pub(super) fn was_safe(&mut self, bodies: &[String]) {
        if self.state.settings.stored {
            return self.safe(bodies);
        }
        for body in bodies {
            if let Some(given) = self.state.given.get_mut(body) {
                (given.is_safe, given.has_died) = (true, true);
            }
        }
    }

    /// A consumer has settled this: perhaps that was its end.
    pub(super) fn note_end(&mut self, conn: ConnId, held: Held) {
        let message = self.state.group(&held.key).message(held.sequence);
        if matches!(message.stands, Stands::Done | Stands::GivenUp) {
            let settlements = &mut self.state.conn(conn).settlements;
            settlements.push((held.key, held.sequence));
        }
    }

    /// A consumer asks to be told when all that it has settled until now is safe.
    pub(super) fn flushes(&mut self, conn: ConnId, number: u64) {
        let state = self.state.conn(conn);
        state.flushes.insert(number, state.settlements.len());
    }

    /// It is.
    pub(super) fn flushed(&mut self, conn: ConnId, number: u64) {
        let state = self.state.conn(conn);
        let later = state.flushes.split_off(&(number + 1));
        let asked = std::mem::replace(&mut state.flushes, later);
        let Some((_, settled)) = asked.last_key_value() else {
            return;
        };
        for (key, sequence) in state.settlements[..*settled].to_vec() {
            let message = self.state.group(&key).message(sequence);
            message.is_safe = true;
        }
    }

    /// A message has failed, and nobody knows how often before: it may be handed out again, or be a dead letter.
    pub(super) fn may_be_given_up(&mut self, held: &Held) {
        let key = (held.key.0.clone(), held.sequence);
        let body = self.state.sequences.get(&key).cloned();
        let group = self.state.group(&held.key);
        group.set(held.sequence, Stands::Unknown);
        let failures = group.message(held.sequence).failures;
        let given_up = GivenUp {
            body: body.unwrap_or_default(),
            failures,
            reason: "failed",
            place: None,
            may_be_lost: true,
            is_unsure: true,
        };
        let place = (held.key.clone(), held.sequence);
        self.state.given_up.entry(place).or_insert(given_up);
    }

    /// Whether a dead letter is one of which nobody knows what became of it before a broker died.
    pub(super) fn may_be_dead(&mut self, whence: &(Key, u64), origin: &Origin) -> bool {
        let Some(given_up) = self.state.given_up.get_mut(whence) else {
            return false;
        };
        let group = self.state.groups.get(&whence.0);
        let message = group.and_then(|group| group.messages.get(&whence.1));
        let waits = message.is_some_and(|it| it.stands == Stands::Unknown);
        if !given_up.is_unsure && !waits {
            return false;
        }
        debug_assert_eq!(origin.sequence, whence.1);
        given_up.place.get_or_insert(whence.1);
        true
    }
}

impl State<'_> {
    fn lose_everything(&mut self) {
        self.groups.clear();
        self.sequences.clear();
        self.lives.clear();
        self.given_up.clear();
        for given in self.given.values_mut() {
            given.has_died |= given.is_safe;
            given.places.clear();
        }
    }

    fn keep_what_is_stored(&mut self) {
        for group in self.groups.values_mut() {
            group.keep_what_is_stored();
        }
        for life in self.lives.values_mut() {
            life.is_unsure = true;
        }
        for given_up in self.given_up.values_mut() {
            given_up.is_unsure = true;
            given_up.may_be_lost = true;
        }
    }
}

impl Group {
    fn keep_what_is_stored(&mut self) {
        let sequences: Vec<u64> = self.messages.keys().copied().collect();
        for sequence in sequences {
            let message = self.message(sequence);
            message.attempts = None;
            message.is_unsure |= message.failures > 0;
            let stands = match message.stands {
                Stands::Held(_) | Stands::Waiting => Stands::Waiting,
                done @ (Stands::Done | Stands::GivenUp) if message.is_safe => done,
                Stands::Done | Stands::GivenUp | Stands::Unknown => Stands::Unknown,
            };
            message.is_unsure |= stands == Stands::Unknown;
            self.set(sequence, stands);
        }
    }
}
