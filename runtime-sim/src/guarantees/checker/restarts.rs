//! What outlives a broker: nothing that is in memory; of what is stored, all that was said to be safe.

use super::Checker;
use super::state::{GivenUp, Group, Held, Key, Stands, State};
use message_queue_core::ConnId;

impl Checker {
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
        let ended = state.settlements.iter().take(*settled);
        let ended: Vec<(Key, u64)> = ended.cloned().collect();
        for (key, sequence) in ended {
            self.flushed_in_engine(&key, sequence);
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
    pub(super) fn may_be_dead(&mut self, whence: &(Key, u64), sequence: u64) -> bool {
        let Some(given_up) = self.state.given_up.get_mut(whence) else {
            return false;
        };
        let group = self.state.groups.get(&whence.0);
        let message = group.and_then(|group| group.messages.get(&whence.1));
        let waits = message.is_some_and(|it| it.stands == Stands::Unknown);
        if !given_up.is_unsure && !waits {
            return false;
        }
        given_up.place.get_or_insert(sequence);
        true
    }
}

impl State {
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
                Stands::Done
                | Stands::GivenUp
                | Stands::Expired
                | Stands::Unknown
                | Stands::TakenBack => Stands::Unknown,
            };
            message.is_unsure |= stands == Stands::Unknown;
            self.set(sequence, stands);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::checker::Invariant;
    use crate::guarantees::plan::consumer;
    use crate::guarantees::{Asked, Event, History, Plan, Record, Settings, WhichGroup, check};
    use crate::rng::Rng;
    use message_queue_core::ConnId;
    use message_queue_core::wire::control::{Control, Outcome, Range};
    use message_queue_core::wire::handshake::Accepted;

    const TOPIC: &str = "jobs.a";

    /// What becomes of one message.
    struct Story {
        is_stored: bool,
        events: Vec<Event>,
    }

    impl Story {
        /// It is given to a producer, which is told that it is safe.
        fn of_a_confirmed_message(is_stored: bool) -> Self {
            let bodies = vec!["0-1-".to_owned()];
            let given = Event::Given {
                client: 0,
                topic: TOPIC.to_owned(),
                named: true,
                confirms: true,
                bodies: bodies.clone(),
            };
            let events = vec![given, Event::Safe { client: 0, bodies }];
            Self { is_stored, events }
        }

        /// A member of the group is handed it.
        fn handed_out(mut self, conn: u64) -> Self {
            let conn = ConnId(conn);
            let asked = Asked::ToReceive {
                consumer: consumer(&mut Rng::new(1), TOPIC.to_owned(), WhichGroup::Declared),
                group: "workers".to_owned(),
            };
            let run = Control::Run {
                first: 1,
                published: 0,
                attempt: 1,
            };
            self.events.extend([
                Event::Connected {
                    conn,
                    client: 1,
                    asked,
                },
                Event::Accepted {
                    conn,
                    answer: Accepted::default(),
                },
                Event::WriteStarted { conn },
                Event::Told { conn, control: run },
                Event::HandedOut {
                    conn,
                    body: "0-1-".to_owned(),
                },
                Event::WriteDone { conn },
            ]);
            self
        }

        /// It says that it is done, and asks to be told when that is safe.
        fn settled(mut self, conn: u64, is_flushed: bool) -> Self {
            let conn = ConnId(conn);
            let settle = Control::Settle {
                outcome: Outcome::Done,
                delay_ms: 0,
                ranges: vec![Range { from: 1, to: 1 }],
            };
            let heard = [settle, Control::Flush(1)];
            let heard = heard.map(|control| Event::Heard { conn, control });
            self.events.extend(heard);
            if is_flushed {
                let control = Control::Flushed(1);
                self.events.push(Event::Told { conn, control });
            }
            self
        }

        fn then(mut self, event: Event) -> Self {
            self.events.push(event);
            self
        }

        fn broken(self) -> Vec<Invariant> {
            let settings = Settings {
                stored: self.is_stored,
                ..Plan::of_seed(0).settings
            };
            let records = self.events.into_iter().map(|event| Record {
                at: 0,
                step: 0,
                event,
            });
            let records = records.collect();
            let broken = check(&History { settings, records });
            broken.iter().map(|it| it.invariant).collect()
        }
    }

    fn the_end() -> Event {
        Event::Settled {
            held_bytes: 0,
            unfinished: 0,
        }
    }

    #[test]
    fn what_is_flushed_does_not_come_back_and_what_is_not_may() {
        for (is_flushed, broken) in [(true, vec![Invariant::SettledOnce]), (false, vec![])] {
            let story = Story::of_a_confirmed_message(true);
            let story = story.handed_out(1).settled(1, is_flushed);
            let story = story.then(Event::Killed).handed_out(2);
            assert_eq!(story.broken(), broken, "flushed: {is_flushed}");
        }
    }

    #[test]
    fn what_is_confirmed_and_stored_outlives_a_broker_and_in_memory_it_need_not() {
        for (is_stored, broken) in [(true, vec![Invariant::Confirmed]), (false, vec![])] {
            let story = Story::of_a_confirmed_message(is_stored);
            let story = story.then(Event::Killed).then(the_end());
            assert_eq!(story.broken(), broken, "stored: {is_stored}");
        }
    }

    #[test]
    fn what_was_held_comes_back() {
        let story = Story::of_a_confirmed_message(true).handed_out(1);
        let story = story.then(Event::Killed).then(the_end());
        assert_eq!(
            story.broken(),
            [Invariant::Confirmed, Invariant::Redelivery]
        );
    }

    #[test]
    fn a_broker_that_does_not_start_again_is_seen() {
        let error = "damaged".to_owned();
        let story = Story::of_a_confirmed_message(true).then(Event::NotOpened { error });
        assert_eq!(story.broken(), [Invariant::Recovery]);
    }
}
