//! What must hold whenever the broker has done what there was to do.

use super::Checker;
use super::producers::BLOCKED_AFTER;
use super::state::{ALONE_FROM, Conn, DECLARED, Group, Key};
use crate::checker::Invariant;
use crate::guarantees::history::Asked;
use message_queue_core::{ConnId, Overflow};

impl Checker {
    pub(super) fn between_steps(&mut self) {
        self.what_expired_is_gone();
        self.what_is_saved_is_settled();
        self.who_has_lost_had_a_turn();
        // What is stored is read again when there is room for it, and its memory is not counted in messages.
        if !self.state.settings.stored {
            if self.state.drain_began.is_none() {
                self.nobody_starves();
            }
            self.memory_is_bounded();
        }
        self.nothing_waits_too_long();
        self.producers_know_why();
        self.the_silent_are_gone();
        self.nobody_goes_on_without_a_right();
    }

    /// While a message waits and its time has come, nobody is free who could be handed it.
    fn nobody_starves(&mut self) {
        let (at, late) = (self.at, self.state.settings.late_us);
        let mut starving = None;
        for (key, group) in &self.state.groups {
            if group.is_own {
                continue;
            }
            let safe = self.state.safe_and_waiting.get(&key.0);
            let safe = safe.filter(|_| key.1 == DECLARED);
            // Of those that nobody was handed some may be too old.
            let has_safe = safe.is_some_and(|it| it.len() as u64 > group.losses.expired);
            if group.waiting.is_empty() && !has_safe {
                continue;
            }
            let members = self.state.conns.iter().filter(|(_, it)| it.is_member(key));
            let members: Vec<(&ConnId, &Conn)> = members.collect();
            let mut free = members.iter().filter(|(_, it)| it.is_free());
            let Some((free, _)) = free.next() else {
                continue;
            };
            let all_are_free = members.iter().all(|(_, it)| it.is_free());
            // Where one member gets everything, another that is free may stand by.
            let one = members.iter().any(|(_, it)| shares_one(it));
            let waits = group.waiting.iter().find(|sequence| {
                let message = &group.messages[*sequence];
                let may_go = message.failures < ALONE_FROM || all_are_free;
                message.not_before + late <= at && may_go
            });
            if (waits.is_some() || has_safe) && (!one || all_are_free) {
                starving = Some((key.clone(), **free, waits.copied()));
                break;
            }
        }
        if let Some((key, free, waits)) = starving {
            self.broken(Invariant::NoStarvation, || {
                format!("{key:?}: {free} is free and {waits:?} waits (None: a confirmed message)")
            });
        }
    }

    /// What is confirmed and not settled is within the bounds of its group.
    fn memory_is_bounded(&mut self) {
        let holds = |key: &Key, group: &Group| {
            let safe = self.state.safe_and_waiting.get(&key.0);
            let safe = safe.filter(|_| key.1 == DECLARED).map_or(0, |it| it.len());
            group.outstanding() + safe.saturating_sub(group.losses.expired as usize)
        };
        let capacity = |key: &Key| {
            if key.0.ends_with(".dead") {
                self.state.settings.dead_capacity
            } else {
                let most = self.state.rules.most_before(&key.0);
                self.state.settings.capacity.max(most)
            }
        };
        let groups = self.state.groups.iter();
        let mut bounded = groups.filter(|(_, group)| !group.has_unacked && !group.is_own);
        let over = bounded.find(|(key, group)| holds(key, group) > capacity(key));
        if let Some((key, group)) = over {
            let (holds, may) = (holds(key, group), capacity(key));
            let key = key.clone();
            self.broken(Invariant::MemoryBound, || {
                format!("{key:?} holds {holds} messages of {may}")
            });
        }
    }

    /// Who is not read from for a while has been told so, and why; and that it is over.
    fn producers_know_why(&mut self) {
        if self.state.settings.overflow == Overflow::Reject {
            return;
        }
        let at = self.at.saturating_sub(self.state.settings.late_us);
        let knows = |state: &Conn| {
            let long = |since: Option<u64>| since.is_some_and(|it| it + BLOCKED_AFTER <= at);
            let should_know = long(state.paused) && !state.was_told_blocked;
            let should_be_glad = long(state.resumed) && state.was_told_blocked;
            let may_be_told = state.is_accepted && state.closed.is_none() && !state.is_busy;
            !(may_be_told && (should_know || should_be_glad))
        };
        let mut conns = self.state.conns.iter();
        let ignorant = conns
            .find(|(_, state)| !knows(state))
            .map(|(conn, _)| *conn);
        if let Some(conn) = ignorant {
            self.broken(Invariant::ToldWhy, || {
                format!("{conn} does not know whether it is read from")
            });
        }
    }

    /// Who has been silent for two heartbeats is given up, unless it was chosen not to read from it.
    fn the_silent_are_gone(&mut self) {
        let at = self.at.saturating_sub(self.state.settings.late_us);
        let patience = 2 * self.state.heartbeat();
        let is_silent = |state: &Conn| {
            let is_there = state.is_accepted && state.closed.is_none() && state.paused.is_none();
            is_there && state.heard + patience <= at
        };
        let mut conns = self.state.conns.iter();
        let silent = conns
            .find(|(_, state)| is_silent(state))
            .map(|(conn, _)| *conn);
        if let Some(conn) = silent {
            self.broken(Invariant::Liveness, || {
                format!("{conn} has been silent for two heartbeats, and is there")
            });
        }
    }
}

fn shares_one(state: &Conn) -> bool {
    matches!(&state.asked, Asked::ToReceive { consumer, .. } if consumer.share_one)
}
