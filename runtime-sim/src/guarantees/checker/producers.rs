//! What is published and confirmed.

use super::Checker;
use super::state::{Given, Life};
use crate::checker::Invariant;
use crate::plan::{MILLISECOND, Micros};
use message_queue_core::ConnId;
use message_queue_core::wire::control::Control;
use message_queue_core::wire::handshake::Accepted;
use std::collections::BTreeSet;

/// After so long a producer that is not read from is told why.
pub(super) const BLOCKED_AFTER: Micros = 100 * MILLISECOND;

impl Checker {
    pub(super) fn given(
        &mut self,
        client: usize,
        topic: &str,
        (named, confirms): (bool, bool),
        bodies: &[String],
    ) {
        for body in bodies {
            let given = Given {
                client,
                topic: topic.to_owned(),
                named,
                confirms,
                published: None,
                is_in: false,
                is_safe: false,
                is_refused: false,
                is_forgotten: false,
                has_died: false,
                places: BTreeSet::new(),
            };
            self.state.given.insert(body.clone(), given);
        }
    }

    pub(super) fn safe(&mut self, bodies: &[String]) {
        for body in bodies {
            let Some(given) = self.state.given.get_mut(body) else {
                continue;
            };
            // What is in an engine is handed out when it comes from there, and perhaps by another broker.
            let is_here = self.state.engine.is_none();
            if is_here && !given.is_safe && !given.is_refused && given.places.is_empty() {
                let waiting = &mut self.state.safe_and_waiting;
                let waiting = waiting.entry(given.topic.clone()).or_default();
                waiting.insert(body.clone());
            }
            given.is_safe = true;
        }
    }

    pub(super) fn not_taken(&mut self, bodies: &[String]) {
        for body in bodies {
            let Some(given) = self.state.given.get_mut(body) else {
                continue;
            };
            given.is_refused = true;
            let (topic, places) = (given.topic.clone(), given.places.clone());
            // Without a name it may have been sent again, and taken the first time.
            let fits = places.is_empty() || !given.named;
            if let Some(waiting) = self.state.safe_and_waiting.get_mut(&topic) {
                waiting.remove(body);
            }
            self.must(fits, Invariant::Published, || {
                format!("{body} was refused, and is at {places:?}")
            });
        }
    }

    pub(super) fn forgot(&mut self, client: usize) {
        let all = self.state.given.values_mut();
        let unsafe_ones = all.filter(|given| given.client == client && !given.is_safe);
        unsafe_ones.for_each(|given| given.is_forgotten = true);
    }

    pub(super) fn published(&mut self, conn: ConnId, bodies: &[String]) {
        let messages = bodies.len() as u64;
        self.note_published(conn, bodies);
        let state = self.state.conn(conn);
        state.sent.extend(bodies.iter().cloned());
        state.received += messages;
        let received = state.received;
        for life in self.state.lives.values_mut().filter(|it| it.conn == conn) {
            life.received = received;
        }
        self.sent_with_a_right(conn, messages);
    }

    /// A producer has come under a name.
    pub(super) fn begins_life(
        &mut self,
        conn: ConnId,
        key: (String, String),
        session: String,
        answer: &Accepted,
    ) {
        let (Some(accepted), Some(resumed)) = (answer.accepted, answer.resumed) else {
            return self.broken(Invariant::ExactlyOnce, || format!("{conn} is told nothing"));
        };
        let owner = self.owner_of_name(conn, &key);
        let before = self.state.lives.get(&key);
        if let Some(before) = before
            && let Some(first) = self.state.conns.get(&before.conn)
        {
            let (name, is_closed) = (key.1.clone(), first.closed.is_some());
            let first = before.conn;
            self.must(is_closed, Invariant::TakeOver, || {
                format!("{first} and {conn} are both {name}")
            });
        }
        let before = self.state.lives.get(&key);
        if let Some(newer) = before.map(|it| it.conn).filter(|newer| *newer > conn) {
            let name = key.1.clone();
            self.broken(Invariant::TakeOver, || {
                format!("{conn} takes the name {name} from {newer}, which came later")
            });
        }
        let before = self.state.lives.get(&key);
        let known = before.filter(|before| before.session == session);
        let (known, confirmed, received) = match known {
            // What was not confirmed may have died with the broker.
            Some(life) if life.is_unsure && life.confirmed == 0 && !resumed => (false, 0, 0),
            Some(life) => (true, life.confirmed, life.received),
            None => (false, 0, accepted),
        };
        self.must(resumed == known, Invariant::Fresh, || {
            format!("{conn} is {key:?}, session {session}, resumed={resumed}")
        });
        // Whoever has been confirmed by a broker that died goes on behind that.
        let goes_on = self.state.has_died && !self.state.settings.stored;
        self.must(known || accepted == 0 || goes_on, Invariant::Fresh, || {
            format!("{conn} has sent nothing and {accepted} are accepted")
        });
        let in_bounds = (confirmed..=received).contains(&accepted);
        self.must(in_bounds, Invariant::ExactlyOnce, || {
            format!("{conn}: {confirmed} confirmed, {received} received, {accepted} accepted")
        });
        let life = Life {
            owner,
            session,
            conn,
            confirmed: accepted,
            received: accepted,
            is_unsure: false,
        };
        self.state.lives.insert(key, life);
        let state = self.state.conn(conn);
        (state.received, state.confirmed) = (accepted, accepted);
    }

    pub(super) fn told_producer(&mut self, conn: ConnId, control: &Control) {
        match control {
            Control::Confirmed { position, unrouted } => {
                self.confirmed_with_a_right(conn, *position);
                let state = self.state.conn(conn);
                let (before, received) = (state.confirmed, state.received);
                state.confirmed = *position;
                for life in self.state.lives.values_mut().filter(|it| it.conn == conn) {
                    life.confirmed = *position;
                }
                let in_bounds = before <= *position && *position <= received;
                self.confirmed_are_in(conn, before, *position);
                self.must(in_bounds && *unrouted == 0, Invariant::Confirmed, || {
                    format!("{conn} sent {received}, heard {before}: {control:?}")
                });
            }
            Control::Blocked { blocked, text } => {
                let state = self.state.conn(conn);
                state.was_told_blocked = *blocked;
                let topic = state.topic.clone();
                let names_both = text.contains(&topic)
                    && (text.contains("group ") || text.contains("its store"));
                self.must(names_both || !blocked, Invariant::ToldWhy, || {
                    format!("{conn} is blocked, and is told {text:?}")
                });
            }
            Control::GoAway { .. } => self.state.conn(conn).is_going_away = true,
            Control::Refused(range, reason) => {
                let state = self.state.conn(conn);
                state.refused.extend(range.from..=range.to);
                self.told_refused(conn, *range, reason);
            }
            Control::Topic(_)
            | Control::Ping(_)
            | Control::Pong(..)
            | Control::Flush(_)
            | Control::Flushed(_)
            | Control::Error(_)
            | Control::Bye
            | Control::Run { .. }
            | Control::Gap(..)
            | Control::Origin(_)
            | Control::Revoked { .. }
            | Control::Check { .. }
            | Control::Segment { .. }
            | Control::Settle { .. }
            | Control::Credit { .. } => {}
        }
    }

    pub(super) fn paused(&mut self, conn: ConnId, is_paused: bool) {
        let at = self.at;
        let Some(state) = self.state.conns.get_mut(&conn) else {
            return;
        };
        // It was chosen not to read from it: that is no silence.
        state.heard = at;
        (state.paused, state.resumed) = if is_paused {
            (Some(at), None)
        } else {
            (None, Some(at))
        };
    }
}
