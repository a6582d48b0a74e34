//! What must be true in the end.

use super::Checker;
use super::state::{DECLARED, Given, Stands, State};
use crate::checker::Invariant;

impl Checker {
    /// Everything went well for long enough: all that was sent has come to its end.
    pub(super) fn settled(&mut self, held_bytes: usize, unfinished: usize) {
        self.must(unfinished == 0, Invariant::Progress, || {
            format!("{unfinished} producers wait for confirms")
        });
        self.must(held_bytes == 0, Invariant::Progress, || {
            format!("the broker still holds {held_bytes} B")
        });
        self.nothing_is_lost_but_what_may_be();
        let owed = self.state.given.iter().find(|(_, given)| {
            given.confirms && !given.is_safe && !given.is_refused && !given.is_forgotten
        });
        let owed = owed.map(|(body, _)| body.clone());
        self.must(owed.is_none(), Invariant::Progress, || {
            format!("nothing is known of {owed:?}")
        });
        let groups = self.state.groups.iter().filter(|(_, group)| !group.is_own);
        let mut unsettled = groups.filter(|(_, group)| group.outstanding() > 0);
        let unsettled = unsettled.next().map(|(key, _)| key.clone());
        self.must(unsettled.is_none(), Invariant::Redelivery, || {
            format!("{unsettled:?} holds messages that are not handed out again")
        });
        let mut given_up = self.state.given_up.iter();
        let unburied = given_up.find(|(_, it)| it.place.is_none() && !it.may_be_lost);
        let unburied = unburied.map(|(whence, given_up)| (whence.clone(), given_up.reason));
        self.must(unburied.is_none(), Invariant::DeadLetters, || {
            format!("{unburied:?} is no dead letter")
        });
        if self.state.engine.is_none() {
            self.nothing_is_behind();
        }
    }

    /// Every lasting group was handed everything, up to the end of its topic.
    fn nothing_is_behind(&mut self) {
        for (key, group) in &self.state.groups {
            let end = self.state.groups.get(&(key.0.clone(), DECLARED.to_owned()));
            let Some(end) = end else { continue };
            if let (false, Some(next), Some(last)) = (group.is_own, group.next, end.next)
                && (next + group.losses.behind() < last || last + end.losses.behind() < next)
            {
                let end = last;
                let key = key.clone();
                return self.broken(Invariant::Gaps, || {
                    format!("{key:?} is at {next} and its topic at {end}")
                });
            }
        }
    }

    pub(super) fn over(&mut self, held_bytes: usize, is_drained: bool) {
        self.must(is_drained && held_bytes == 0, Invariant::Drained, || {
            format!("the broker holds {held_bytes} B, drained: {is_drained}")
        });
        let left: Vec<_> = self.state.conns.keys().copied().collect();
        self.must(left.is_empty(), Invariant::Drained, || {
            format!("{left:?} are still connected")
        });
        // What is confirmed and not settled by then was dropped when the time was over, and counted.
        if self.state.settings.stored || self.state.engine.is_some() {
            // It is there at the next start.
            return;
        }
        let given = self.state.given.values();
        let lost = given.filter(|given| self.state.is_owed(given));
        let expired: u64 = self.state.declared_losses().map(|it| it.expired).sum();
        let (lost, dropped) = (lost.count() as u64, self.state.shut_down + expired);
        self.must(lost <= dropped, Invariant::Accounting, || {
            format!("{lost} confirmed messages are not done, and {dropped} were counted")
        });
    }
}

impl State {
    /// Whether a message was confirmed, and has not come to its end.
    pub(super) fn is_owed(&self, given: &Given) -> bool {
        let is_confirmed = given.is_safe && !given.is_refused && !given.has_died;
        is_confirmed && !self.has_come_to_its_end(given)
    }

    /// Whether the group that is there from the start has settled a message, or given it up.
    pub(super) fn has_come_to_its_end(&self, given: &Given) -> bool {
        let key = (given.topic.clone(), DECLARED.to_owned());
        let Some(group) = self.groups.get(&key) else {
            return false;
        };
        given.places.iter().any(|sequence| {
            let message = group.messages.get(sequence);
            let ends = [
                Stands::Done,
                Stands::GivenUp,
                Stands::Expired,
                Stands::Unknown,
            ];
            message.is_some_and(|it| ends.contains(&it.stands))
        })
    }
}
