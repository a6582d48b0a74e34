//! Groups of which the rules do not say which messages go out: the model follows the broker, and checks what the rules
//! do say.
//!
//! - The window of who asks for a pattern is one over all its topics: from which of them it is filled is the broker's
//!   choice.
//! - Where several members share, and a message is to go alone, which of them is kept free for it is the broker's choice.
//! - There, whether a member is ready for a message that comes back too old depends on what it is just being sent.
//!
//! Nothing else depends on that choice: what waits takes as much room as what a member holds.

use super::alone::ALONE_FROM;
use super::{GroupName, Message, Model, is_dead_letter_topic};
use message_queue_core::ConnId;

impl Model {
    pub(super) fn has_a_choice(&self, topic: &str, name: &GroupName) -> bool {
        let rules = &self.topics[topic].rules;
        let group = &self.topics[topic].groups[name];
        let mut members = group.members.iter().map(|it| &self.consumers[it]);
        let by_pattern = members.any(|it| it.has_pattern() && it.asks.prefetch.is_some());
        let shares = name.is_lasting() && group.active.is_none();
        let may_go_alone = rules.max_failures > ALONE_FROM;
        let may_choose = shares && (may_go_alone || rules.max_age.is_some());
        let may_fail = self.is_settled(topic, name) && !is_dead_letter_topic(topic);
        by_pattern || (may_choose && may_fail)
    }

    /// The broker hands out a message of such a group; none: it does not wait there.
    pub(super) fn was_chosen(
        &mut self,
        conn: ConnId,
        topic: &str,
        name: &GroupName,
        sequence: u64,
    ) -> Option<Message> {
        let holds_nothing = self.consumers[&conn].held.is_empty();
        let group = self.group(topic, name);
        // It may have been about to go out when there was no choice yet.
        let message = group.on_its_way.remove(&sequence);
        let message = message.or_else(|| group.ready.remove(&sequence))?;
        if message.goes_alone() {
            assert!(holds_nothing, "{conn} is handed {sequence} beside others");
            group.newest_alone = group.newest_alone.max(Some(sequence));
        } else {
            group.newest_out = group.newest_out.max(Some(sequence));
        }
        Some(message)
    }

    /// Everybody has read what there was: what went out was older than what waits, and what waits finds nobody who is
    /// free; but one member may be kept free while a message is to go alone.
    pub(super) fn check_choice(&self, topic: &str, name: &GroupName) {
        let group = &self.topics[topic].groups[name];
        let members = group.members.iter().filter(|it| group.may_serve(**it));
        let members: Vec<_> = members.map(|it| &self.consumers[it]).collect();
        let free: Vec<_> = members.iter().filter(|it| it.credit() > 0).collect();
        let goes_alone = |it: &&(&u64, &Message)| it.1.goes_alone();
        let (alone, others): (Vec<_>, Vec<_>) = group.ready.iter().partition(|it| goes_alone(&it));
        for (newest, waiting) in [(group.newest_alone, &alone), (group.newest_out, &others)] {
            for (sequence, _) in waiting {
                assert!(
                    newest < Some(**sequence) || group.came_back.contains(sequence),
                    "{topic}, {name:?}: {newest:?} went out before {sequence}"
                );
            }
        }
        let kept_free = usize::from(!alone.is_empty());
        assert!(
            others.is_empty() || free.len() <= kept_free,
            "{topic}, {name:?}: {others:?} wait for {free:?}"
        );
        // Of the consumer of a pattern it is looked at when its turn comes.
        let holds_nothing = free.iter().filter(|it| it.held.is_empty());
        let could_take: Vec<_> = holds_nothing.filter(|it| !it.has_pattern()).collect();
        let is_one_kept_free = members.iter().any(|it| !it.held.is_empty());
        assert!(
            alone.is_empty() || free.is_empty() || (could_take.is_empty() && is_one_kept_free),
            "{topic}, {name:?}: {alone:?} wait for {could_take:?} of {free:?}"
        );
    }

    /// What came back too old to wait, or has got too old now, and was handed to nobody, is dropped.
    pub fn what_nobody_was_ready_for_goes(&mut self) {
        for (topic, name) in self.all_groups() {
            if self.has_a_choice(&topic, &name) {
                self.old_messages_of_go(&topic, &name, |is_just_so| is_just_so);
            }
        }
        self.let_in_who_waits();
    }
}
