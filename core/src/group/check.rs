//! What always holds of a group alone.

use super::{Group, Source};
use crate::id::GroupId;
use crate::shared::Shared;
use crate::stats::Count;
use crate::wire::handshake::Share;

impl Group {
    /// Checks it, where `next` is the sequence of the topic's next message. Returns the bytes in its backlog, what
    /// came back not counted.
    ///
    /// # Panics
    /// If something does not hold.
    pub(crate) fn check(&self, next: u64, shared: &Shared) -> usize {
        let id = self.id;
        assert!(self.flow.adds_up(), "{id}: {:?}", self.flow);
        self.retry.check();
        let mut waiting = self.backlog.count();
        waiting += self.retry.count();
        waiting += self.unsettled;
        let (mut idle, mut unsettled) = (0, Count::ZERO);
        for member in &self.members {
            let session = &shared.sessions[member];
            let consumer = session.consumer().expect("a member is a consumer");
            let place = consumer.memberships.iter();
            let mut place = place.filter(|it| (it.topic, it.group) == (self.topic, id));
            let membership = place.next().expect("a member knows its group");
            if let Some((topic, group, in_flight)) = session.outbox.unheld()
                && (topic, group) == (self.topic, id)
            {
                waiting += in_flight;
            }
            assert_eq!(self.settling.contains(member), consumer.acks.is_some());
            if let Some(acks) = &consumer.acks {
                acks.unsettled.each(&mut |held, count| {
                    if (held.topic, held.group) == (self.topic, id) {
                        unsettled += count;
                    }
                });
            }
            if let Some(turn) = membership.turn {
                assert_eq!(
                    self.idle.get(&turn),
                    Some(member),
                    "{member} waits its turn"
                );
                idle += 1;
            } else if !session.is_closing() && self.share != Some(Share::One) {
                assert!(
                    consumer.ready.contains(&(self.topic, id)),
                    "{id} forgets {member}"
                );
            }
            // Who holds something may have to settle it first.
            let stands_by = self.active.is_some_and(|active| active != *member);
            let is_free = session.credit().is_some_and(|credit| credit.holds_nothing);
            assert!(
                !is_free
                    // It is told nothing before the store has opened the group.
                    || session.awaits_answer()
                    || membership.turn.is_some()
                    || stands_by
                    || self.emptying == Some(*member),
                "{id} would not wake {member}"
            );
            let could_take = session.credit().is_some() && membership.turn.is_some();
            let lost_wakeup = !self.backlog.is_empty() && could_take;
            assert!(!lost_wakeup, "{id}: messages wait and {member} is idle");
            // What the consumer of a pattern holds may be of another topic, of which this group hears nothing.
            let is_known = is_free && membership.turn.is_some() && consumer.pattern.is_none();
            assert!(
                !is_known || !self.backlog.has_alone(),
                "{id}: a message goes alone and {member} holds nothing"
            );
        }
        assert_eq!(self.unsettled, unsettled, "{id}");
        assert!(self.settling.is_subset(&self.members), "{id}");
        assert_eq!(self.idle.len(), idle, "{id}: a turn is nobody's");
        assert_eq!(self.flow.waiting, waiting, "{id}");
        if let Some(active) = self.active {
            assert!(
                self.members.contains(&active),
                "{id}: the active member left"
            );
        }
        match id {
            GroupId::Shared | GroupId::Named(_) => {}
            GroupId::Own(conn) => assert!(self.members.iter().eq([&conn])),
        }
        if let Some(due) = self.backlog.expires() {
            let is_looked_at = self.age_timer.is_some_and(|timer| timer <= due);
            assert!(is_looked_at, "{id}: nobody looks for what is too old");
        }
        self.check_source(next);
        let arriving = self.source().and_then(Source::arriving);
        self.backlog.check(arriving.unwrap_or(next))
    }
}
