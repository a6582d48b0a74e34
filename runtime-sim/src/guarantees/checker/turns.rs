//! How producers that wait for room share it with those that ask for no confirms, and lose what there is no room for.

use super::Checker;
use super::state::Key;
use crate::checker::Invariant;
use crate::guarantees::history::Asked;
use crate::plan::{Micros, SECOND};
use message_queue_core::{ConnId, Overflow};

/// For so long after a loss those without confirms count as asking for room.
const ASKING: Micros = SECOND;

/// What has become of the room of a topic since a producer without confirms lost something for want of it.
pub(super) struct Turn {
    lost_at: Micros,
    lost_in: u64,
    /// So many messages of producers that wait were let in that have come since then.
    let_in: u64,
}

/// What a producer without confirms has sent in one step.
pub(super) struct Offered {
    topic: String,
    messages: u64,
    /// The most that a group has lost of it.
    lost: u64,
}

impl Checker {
    /// The broker was given these messages.
    pub(super) fn note_published(&mut self, conn: ConnId, bodies: &[String]) {
        let (step, rules) = (self.step, self.state.rules.number);
        self.state.note_times(conn, self.at, bodies.len());
        for body in bodies {
            if let Some(given) = self.state.given.get_mut(body) {
                given.published.get_or_insert((step, rules));
            }
        }
        if let Asked::ToSend {
            confirms: false,
            topic,
            ..
        } = &self.state.conn(conn).asked
        {
            let topic = topic.clone();
            self.state.offered = Some(Offered {
                topic,
                messages: bodies.len() as u64,
                lost: 0,
            });
        }
    }

    /// A group drops what it has no room for. Whether it may if it outlives its members: what has just come of a
    /// producer without confirms.
    pub(super) fn has_no_room(&mut self, whence: Option<&Key>, messages: u64) -> bool {
        let Some(key) = whence else { return false };
        let group = self.state.group(key);
        group.losses.drop(messages);
        if group.is_own {
            return false;
        }
        let waits = self.state.settings.overflow == Overflow::Block;
        let Some(offered) = self.state.offered.as_mut().filter(|_| !waits) else {
            return false;
        };
        offered.lost = offered.lost.max(messages);
        offered.topic == key.0 && messages <= offered.messages
    }

    /// There was room for a message.
    pub(super) fn is_in(&mut self, body: &str) {
        let Some(given) = self.state.given.get_mut(body) else {
            return;
        };
        let is_news = given.confirms && !std::mem::replace(&mut given.is_in, true);
        let (Some((step, rules)), true) = (given.published, is_news) else {
            return;
        };
        // What is in an engine that is shared says nothing of the room in a group.
        if rules == self.state.rules.number && self.state.engine.is_none() {
            self.state.rules.note_room(&given.topic);
        }
        if let Some(turn) = self.state.turns.get_mut(&given.topic)
            && step > turn.lost_in
        {
            turn.let_in += 1;
        }
    }

    /// A producer is told that these positions are safe.
    pub(super) fn confirmed_are_in(&mut self, conn: ConnId, before: u64, position: u64) {
        let state = self.state.conn(conn);
        let first = state.received - state.sent.len() as u64;
        let taken = (before.max(first) + 1..=position).filter(|it| !state.refused.contains(it));
        let bodies = taken.map(|it| state.sent[(it - first) as usize - 1].clone());
        let bodies: Vec<String> = bodies.collect();
        for body in bodies {
            self.is_in_engine(conn, &body);
            self.is_in(&body);
        }
    }

    /// Who has lost all that it has sent, twice within a second, had a turn in between: of those that wait one
    /// message was let in at most. The next room was kept for it.
    pub(super) fn who_has_lost_had_a_turn(&mut self) {
        let Some(offered) = self.state.offered.take() else {
            return;
        };
        let turns = [Overflow::Drop, Overflow::DropOldest];
        if !turns.contains(&self.state.settings.overflow) || offered.lost == 0 {
            self.state.turns.remove(&offered.topic);
            return;
        }
        let turn = Turn {
            lost_at: self.at,
            lost_in: self.step,
            let_in: 0,
        };
        let before = self.state.turns.insert(offered.topic.clone(), turn);
        let before = before.filter(|it| self.at < it.lost_at + ASKING);
        let others = before.map_or(0, |it| it.let_in);
        let had_none = offered.lost == offered.messages && others > 1;
        self.must(!had_none, Invariant::Turns, || {
            let topic = &offered.topic;
            format!("{topic}: {others} messages had room, and none that came without confirms")
        });
    }
}
