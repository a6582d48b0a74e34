//! What is handed out, and what becomes of it.

use super::Checker;
use super::state::{ALONE_FROM, Conn, DECLARED, GivenUp, Group, Held, Key, Message, Run, Stands};
use crate::checker::Invariant;
use crate::guarantees::history::Asked;
use crate::guarantees::plan::Consumer;
use crate::guarantees::world::STARTED_MS;
use crate::plan::MILLISECOND;
use message_queue_core::ConnId;
use message_queue_core::wire::control::{Control, Origin, Outcome, Range, Reason};

impl Checker {
    pub(super) fn handed_out(&mut self, conn: ConnId, body: &str) {
        let (at, step) = (self.at, self.step);
        let state = self.state.conn(conn);
        let Asked::ToReceive { consumer, group } = state.asked.clone() else {
            return self.broken(Invariant::Published, || format!("{conn} is a producer"));
        };
        let Some(run) = state.run else {
            return self.broken(Invariant::Attempts, || {
                format!("{conn}: {body} without a RUN")
            });
        };
        let (sequence, attempt) = (run.sequence, run.attempt);
        state.run = Some(Run {
            sequence: sequence + 1,
            ..run
        });
        let origin = state.origin.take();
        let key: Key = (state.topic.clone(), group);
        let not_told = !state.taken_away.is_empty() && state.taken_in < step;
        let (is_going_away, holds) = (state.is_going_away, state.held.len());
        let bytes = body.len() as u64 + 4;
        let held_bytes = state.held_bytes + bytes;
        let alone = self.holds_one_alone(conn);

        self.handed_with_a_right(conn, body);
        self.must(!not_told, Invariant::Revoked, || {
            format!("{conn} was not told what was taken from it")
        });
        self.must(!is_going_away, Invariant::GoAway, || {
            format!("{conn} was told to go and is handed {body}")
        });
        self.must(!alone, Invariant::Alone, || {
            format!("{conn} holds a message that is handed out alone, and is handed {body}")
        });
        if consumer.ack {
            self.must(
                holds < consumer.prefetch as usize,
                Invariant::Prefetch,
                || {
                    format!(
                        "{conn} holds {holds} of {} and is handed {body}",
                        consumer.prefetch
                    )
                },
            );
            let fits = holds == 0 || held_bytes <= u64::from(consumer.prefetch_bytes);
            self.must(fits, Invariant::Prefetch, || {
                format!("{conn} holds {held_bytes} B of {}", consumer.prefetch_bytes)
            });
        } else {
            self.must(consumer.prefetch > 0, Invariant::Prefetch, || {
                format!("{conn} has asked for nothing and is handed {body}")
            });
        }
        if consumer.share_one {
            self.nobody_else_holds(conn, &key);
        }
        self.is_what_was_published(&key, sequence, body, origin);
        let before = self.is_delivered(&key, sequence, body);
        self.comes_in_turn(conn, &key, run, holds, before);
        self.is_in(body);

        let group = self.state.group(&key);
        group.has_unacked |= !consumer.ack;
        let stands = if consumer.ack {
            Stands::Held(conn)
        } else {
            Stands::Done
        };
        group.message(sequence).attempts = Some(attempt);
        group.set(sequence, stands);
        if key.1 == DECLARED
            && let Some(waiting) = self.state.safe_and_waiting.get_mut(&key.0)
        {
            waiting.remove(body);
        }
        let state = self.state.conn(conn);
        state.handed.push((key.clone(), sequence));
        if consumer.ack {
            let held = Held {
                key,
                sequence,
                bytes,
                since: at,
            };
            state.held.insert(state.handed.len() as u64, held);
            state.held_bytes = held_bytes;
        }
    }

    fn holds_one_alone(&mut self, conn: ConnId) -> bool {
        let held = self.state.conns[&conn].held.values().next();
        let Some((key, sequence)) = held.map(|held| (held.key.clone(), held.sequence)) else {
            return false;
        };
        let message = self.state.group(&key).message(sequence);
        message.failures >= ALONE_FROM && !message.is_unsure
    }

    fn nobody_else_holds(&mut self, conn: ConnId, key: &Key) {
        let holds = |(other, state): &(&ConnId, &Conn)| {
            **other != conn && state.held.values().any(|held| held.key == *key)
        };
        let other = self.state.conns.iter().find(holds).map(|(other, _)| *other);
        self.must(other.is_none(), Invariant::ShareOne, || {
            format!("{key:?}: {conn} is handed something that {other:?} has a part of")
        });
    }

    /// A sequence names one message; a message of a named producer, and a dead letter, has one sequence.
    fn is_what_was_published(
        &mut self,
        key: &Key,
        sequence: u64,
        body: &str,
        origin: Option<Origin>,
    ) {
        let mut place = (key.0.clone(), sequence);
        if self.state.engine.is_some() {
            // Each group has sequences of its own.
            place.0 = format!("{} {}", key.0, key.1);
        }
        let before = self.state.sequences.entry(place);
        let before = before.or_insert_with(|| body.to_owned()).clone();
        self.must(before == body, Invariant::Sequences, || {
            format!("{} {sequence} is {before} and {body}", key.0)
        });
        if key.0.ends_with(".dead") {
            return self.is_a_dead_letter(key, sequence, body, origin);
        }
        self.must(origin.is_none(), Invariant::DeadLetters, || {
            format!("{body} has an origin")
        });
        let Some(given) = self.state.given.get_mut(body) else {
            return self.broken(Invariant::Published, || format!("nobody sent {body}"));
        };
        given.places.insert(sequence);
        let (places, topic) = (given.places.clone(), given.topic.clone());
        let (named, is_refused) = (given.named, given.is_refused && given.named);
        self.must(topic == key.0 && !is_refused, Invariant::Published, || {
            format!("{body} of {topic} is in {}, refused: {is_refused}", key.0)
        });
        self.must(!named || places.len() == 1, Invariant::ExactlyOnce, || {
            format!("{body} is at {places:?}")
        });
    }

    fn is_a_dead_letter(&mut self, key: &Key, sequence: u64, body: &str, origin: Option<Origin>) {
        let Some(origin) = origin else {
            return self.broken(Invariant::DeadLetters, || format!("{body} has no origin"));
        };
        let whence = (
            (origin.topic.clone(), origin.group.clone()),
            origin.sequence,
        );
        if self.may_be_dead(&whence, sequence) {
            return;
        }
        let Some(given_up) = self.state.given_up.get_mut(&whence) else {
            return self.broken(Invariant::Failures, || {
                format!("{body} was not given up, and is a dead letter: {origin:?}")
            });
        };
        let place = *given_up.place.get_or_insert(sequence);
        let fits = given_up.body == body && format!("{}.dead", origin.topic) == key.0;
        let counted = given_up.failures == origin.failures && given_up.reason == origin.reason;
        let expected = format!("{} failures, {}", given_up.failures, given_up.reason);
        let is_shared = self.state.engine.is_some();
        self.must(
            place == sequence || is_shared,
            Invariant::DeadLetters,
            || format!("{body} is a dead letter twice, at {place} and {sequence}"),
        );
        self.must(fits, Invariant::DeadLetters, || {
            format!("{body}: {origin:?}")
        });
        self.must(counted, Invariant::Failures, || {
            format!("{body}: {expected}; the broker says {origin:?}")
        });
    }

    /// Whether a message was handed out before.
    fn has_had(&self, key: &Key, sequence: u64) -> bool {
        let group = self.state.groups.get(key);
        group.is_some_and(|it| it.messages.contains_key(&sequence))
    }

    /// What was never handed out comes in order and without a hole; what comes back, before that, and when its
    /// time has come; and its attempts are counted.
    fn comes_in_turn(
        &mut self,
        conn: ConnId,
        key: &Key,
        run: Run,
        holds: usize,
        before: Option<u32>,
    ) {
        let (sequence, attempt) = (run.sequence, run.attempt);
        let at = self.at;
        if before.is_none() || self.has_had(key, sequence) {
            self.is_not_too_old(key, run);
        }
        let group = self.state.group(key);
        let is_own = group.is_own;
        let (mut expected, mut alone) = (1, false);
        if let Some(message) = group.messages.get(&sequence) {
            let (stands, not_before) = (message.stands, message.not_before);
            let is_unsure = message.is_unsure;
            expected = message.attempts.map_or(attempt, |before| before + 1);
            alone = message.failures >= ALONE_FROM && !is_unsure;
            let holder = match stands {
                Stands::Held(holder) => Some(holder),
                Stands::Waiting
                | Stands::Done
                | Stands::GivenUp
                | Stands::Expired
                | Stands::Unknown
                | Stands::TakenBack => None,
            };
            let waits = matches!(stands, Stands::Waiting | Stands::Unknown);
            self.must(waits, Invariant::SettledOnce, || {
                format!("{key:?} {sequence} is {stands:?} and handed to {conn} ({holder:?})")
            });
            self.must(at >= not_before || is_unsure, Invariant::Backoff, || {
                format!("{key:?} {sequence} is to wait until {not_before} us")
            });
        } else {
            let next = group.next.replace(sequence + 1);
            group.messages.insert(
                sequence,
                Message {
                    stands: Stands::Waiting,
                    is_safe: false,
                    attempts: Some(0),
                    is_unsure: false,
                    failures: 0,
                    not_before: 0,
                    published: run.published,
                    came_back: 0,
                },
            );
            expected += before.unwrap_or(0);
            let in_order = if before.is_some() {
                self.follows(key, next, sequence)
            } else {
                self.is_next(key, next, sequence)
            };
            self.must(in_order, Invariant::Gaps, || {
                format!("{key:?}: {sequence} comes where {next:?} is next")
            });
        }
        self.must(attempt == expected, Invariant::Attempts, || {
            format!("{key:?} {sequence}: attempt {attempt}, and it is the {expected}th")
        });
        self.must(!alone || holds == 0, Invariant::Alone, || {
            format!("{conn} holds {holds} and is handed {key:?} {sequence}, which goes alone")
        });
        if is_own || alone {
            return;
        }
        let late = self.state.settings.late_us;
        let age = self.state.settings.max_age_ms * MILLISECOND;
        let group = self.state.group(key);
        let ready = |sequence: &&u64| {
            let message = &group.messages[*sequence];
            let is_one_of_many = !message.is_unsure && message.failures < ALONE_FROM;
            let is_there = !group.may_have_expired(message, at, age);
            is_one_of_many && is_there && message.not_before + late < at
        };
        let older = group.waiting.range(..sequence).find(ready).copied();
        self.must(older.is_none(), Invariant::Order, || {
            format!("{key:?}: {sequence} is handed out and {older:?} waits")
        });
    }

    pub(super) fn told_consumer(&mut self, conn: ConnId, control: &Control) {
        let state = self.state.conn(conn);
        match control {
            Control::Topic(name) => state.topic = name.clone(),
            Control::Run {
                first,
                attempt,
                published,
            } => {
                state.run = Some(Run {
                    sequence: *first,
                    attempt: *attempt,
                    published: published.saturating_sub(STARTED_MS) * MILLISECOND,
                });
            }
            Control::Origin(origin) => state.origin = Some(origin.clone()),
            Control::GoAway { .. } => state.is_going_away = true,
            Control::Gap(range, reason) => self.told_gap(conn, *range, reason),
            Control::Flushed(number) => self.flushed(conn, *number),
            Control::Revoked { ranges, .. } => {
                for position in ranges.iter().flat_map(|range| range.from..=range.to) {
                    let was_taken = self.state.conn(conn).taken_away.remove(&position);
                    self.must(was_taken, Invariant::Revoked, || {
                        format!("{conn}: {position} is revoked before its time")
                    });
                }
            }
            Control::Ping(_)
            | Control::Pong(..)
            | Control::Flush(_)
            | Control::Error(_)
            | Control::Bye
            | Control::Confirmed { .. }
            | Control::Refused(..)
            | Control::Blocked { .. }
            | Control::Settle { .. }
            | Control::Credit { .. }
            | Control::Check { .. }
            | Control::Segment { .. } => {}
        }
    }

    /// These messages will not come.
    fn told_gap(&mut self, conn: ConnId, range: Range, reason: &Reason) {
        let state = self.state.conn(conn);
        let Asked::ToReceive { group, .. } = &state.asked else {
            return;
        };
        let key = (state.topic.clone(), group.clone());
        let group = self.state.group(&key);
        let (is_own, next) = (group.is_own, group.next);
        group.next = Some(range.to + 1);
        let fits = is_own && next.is_none_or(|next| next == range.from);
        self.told_of_expired(&key, range, reason);
        self.must(fits, Invariant::Gaps, || {
            format!("{key:?}: {range:?} are missing, and {next:?} is next")
        });
    }

    pub(super) fn heard_consumer(&mut self, conn: ConnId, control: &Control) {
        let at = self.at;
        match control {
            Control::Bye => self.state.conn(conn).said_bye = true,
            Control::Flush(number) => self.flushes(conn, *number),
            Control::Credit { messages, bytes } => {
                if let Asked::ToReceive { consumer, .. } = &mut self.state.conn(conn).asked {
                    *consumer = Consumer {
                        prefetch: *messages,
                        prefetch_bytes: *bytes,
                        ..consumer.clone()
                    };
                }
            }
            Control::Settle {
                outcome,
                delay_ms,
                ranges,
            } => {
                self.state.conn(conn).settled = at;
                for position in ranges.iter().flat_map(|range| range.from..=range.to) {
                    self.settle(conn, *outcome, *delay_ms, position);
                }
            }
            Control::Topic(_)
            | Control::Ping(_)
            | Control::Pong(..)
            | Control::Flushed(_)
            | Control::Error(_)
            | Control::GoAway { .. }
            | Control::Confirmed { .. }
            | Control::Refused(..)
            | Control::Blocked { .. }
            | Control::Run { .. }
            | Control::Gap(..)
            | Control::Origin(_)
            | Control::Revoked { .. }
            | Control::Check { .. }
            | Control::Segment { .. } => {}
        }
    }

    fn settle(&mut self, conn: ConnId, outcome: Outcome, delay_ms: u32, position: u64) {
        if outcome == Outcome::Working {
            return;
        }
        let Some(held) = self.state.conn(conn).let_go(position) else {
            return;
        };
        match outcome {
            Outcome::Done => self.state.group(&held.key).set(held.sequence, Stands::Done),
            Outcome::Failed => self.fail(&held, delay_ms, "failed"),
            Outcome::Reject => self.give_up(&held, "rejected"),
            Outcome::Return | Outcome::Working => self.comes_back(&held),
        }
        self.note_end(conn, held);
    }

    fn comes_back(&mut self, held: &Held) {
        let at = self.at;
        let group = self.state.group(&held.key);
        group.message(held.sequence).came_back = at;
        group.set(held.sequence, Stands::Waiting);
    }

    /// A message that was held has failed.
    fn fail(&mut self, held: &Held, delay_ms: u32, reason: &'static str) {
        let at = self.at;
        let is_own = self.state.group(&held.key).is_own;
        let message = self.state.group(&held.key).message(held.sequence);
        message.failures += 1;
        let failures = message.failures;
        if message.is_unsure {
            return self.may_be_given_up(held);
        }
        let most = self.state.settings.max_failures;
        if !held.key.0.ends_with(".dead") && failures >= most {
            return self.give_up(held, reason);
        }
        let backoff = self.state.backoff_in(&held.key.0, failures);
        let wait = backoff.max(u64::from(delay_ms) * MILLISECOND);
        let message = self.state.group(&held.key).message(held.sequence);
        message.not_before = at + wait;
        debug_assert!(!is_own || reason != "connection_lost");
        self.comes_back(held);
    }

    fn give_up(&mut self, held: &Held, reason: &'static str) {
        let topic = &held.key.0;
        let place = match self.state.engine {
            Some(_) => format!("{topic} {}", held.key.1),
            None => topic.clone(),
        };
        let body = self.state.sequences.get(&(place, held.sequence));
        let body = body.cloned().unwrap_or_default();
        let group = self.state.group(&held.key);
        let message = group.message(held.sequence);
        let (failures, is_unsure) = (message.failures, message.is_unsure);
        group.set(held.sequence, Stands::GivenUp);
        let (is_own, conn) = (group.is_own, held.key.1.clone());
        let mut key = held.key.clone();
        if is_own {
            // As the broker calls it.
            key.1 = own_label(&conn);
        }
        let given_up = GivenUp {
            body,
            failures,
            reason,
            place: None,
            may_be_lost: false,
            is_unsure,
        };
        self.state.given_up.insert((key, held.sequence), given_up);
    }

    /// What was not settled for too long is taken away.
    pub(super) fn time(&mut self) {
        let timeout = self.state.settings.ack_timeout_ms * MILLISECOND;
        if timeout == 0 {
            return;
        }
        let (at, step) = (self.at, self.step);
        let late = |state: &Conn| {
            let oldest = state.held.values().next();
            let is_late = oldest.is_some_and(|held| {
                !held.key.0.ends_with(".dead") && held.since.max(state.settled) + timeout <= at
            });
            is_late && state.closed.is_none()
        };
        let late = self.state.conns.iter().filter(|(_, state)| late(state));
        let late = late.map(|(conn, _)| *conn);
        let late: Vec<ConnId> = late
            .filter(|it| !self.silent.contains(&(step, *it)))
            .collect();
        for conn in late {
            let state = self.state.conn(conn);
            state.settled = at;
            state.taken_in = step;
            for position in state.works_on() {
                let state = self.state.conn(conn);
                state.taken_away.insert(position);
                if let Some(held) = state.let_go(position) {
                    self.fail(&held, 0, "ack_timeout");
                }
            }
        }
    }

    /// What a consumer that is gone held is with its group again.
    pub(super) fn gives_back(&mut self, conn: ConnId, unwritten: usize) {
        let at = self.at;
        let state = self.state.conn(conn);
        let Asked::ToReceive { consumer, .. } = &state.asked else {
            return;
        };
        let acks = consumer.ack;
        let reason = state.closed.expect("it is closed");
        // What its socket has not taken goes to others, as if it had not been handed out.
        let first_unwritten = state.handed.len() - unwritten;
        let unread: Vec<(Key, u64)> = state.handed[first_unwritten..].to_vec();
        for (place, (key, sequence)) in unread.into_iter().enumerate() {
            let position = (first_unwritten + place + 1) as u64;
            let was_held = self.state.conn(conn).let_go(position).is_some();
            if (was_held || !acks) && self.is_ours(&key, sequence) {
                let group = self.state.group(&key);
                let message = group.message(sequence);
                message.attempts = message.attempts.map(|it| it - 1);
                message.came_back = at;
                group.set(sequence, Stands::Waiting);
            }
        }
        let state = self.state.conn(conn);
        let suspects = if !state.said_bye && is_a_failure(reason) {
            state.works_on()
        } else {
            Vec::new()
        };
        let held: Vec<u64> = state.held.keys().copied().collect();
        for position in held {
            let Some(held) = self.state.conn(conn).let_go(position) else {
                continue;
            };
            if suspects.contains(&position) && !self.state.group(&held.key).is_own {
                self.fail(&held, 0, "connection_lost");
            } else {
                self.comes_back(&held);
            }
        }
    }
}

/// Whether a connection that ended so looks like a crash of its consumer.
fn is_a_failure(reason: message_queue_core::CloseReason) -> bool {
    use message_queue_core::CloseReason as Reason;
    matches!(
        reason,
        Reason::PeerClosed
            | Reason::PeerReset
            | Reason::Protocol(_)
            | Reason::WriteTimeout
            | Reason::HeartbeatTimeout
    )
}

/// What a dead letter's origin calls the own group of a consumer.
pub(super) fn own_label(own: &str) -> String {
    let number = own.trim_start_matches("own-").parse();
    let id = message_queue_core::GroupId::Own(ConnId(number.unwrap_or(0)));
    id.to_string()
}

impl Group {
    /// How many messages it holds that are not settled.
    pub(super) fn outstanding(&self) -> usize {
        self.waiting.len() + self.held
    }
}
