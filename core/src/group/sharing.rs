//! Who gets what of what waits.

use super::Group;
use crate::id::ConnId;
use crate::session::Credit;
use crate::shared::{HandOut, Shared};
use crate::stats::Count;

/// What waits is bulk if it takes at least this part of a write.
const BULK_RATIO: usize = 4;

/// So many members share bulk in any case, ...
const SHARERS: usize = 8;

/// ... and more only if each of them gets at least this part of a write.
const RUN_RATIO: usize = 8;

/// So many members that settle what they get share bulk: each part is then fit to be kept, and not copied.
const SETTLING_SHARERS: usize = 2;

impl Group {
    /// Gives the idle members their share of what waits.
    pub(crate) fn dispatch(&mut self, shared: &mut Shared) {
        if self.backlog.has_alone() {
            self.dispatch_alone(shared);
        }
        if !self.backlog.has_alone()
            && let Some(member) = self.emptying.take()
        {
            self.is_kept_free_no_more(member, shared);
        }
        let mut sharers = self.sharers(shared);
        while !self.backlog.is_empty()
            && let Some((member, credit)) = self.next_idle(shared)
        {
            // Runs that were cut for their bytes may leave something when all have had their share.
            let share = self.backlog.messages().div_ceil(sharers.max(1));
            sharers = sharers.saturating_sub(1);
            self.hand_out(member, credit, share.min(credit.messages), shared);
        }
    }

    /// A member was kept free for a message that does not wait any more: it may be handed others at once.
    fn is_kept_free_no_more(&mut self, member: ConnId, shared: &mut Shared) {
        if shared.session(member).credit().is_none() {
            // It has its turn when it can be handed something.
            return;
        }
        let turn = (self.topic, self.id);
        let consumer = shared.consumer(member);
        if consumer.ready.contains(&turn) {
            consumer.ready.retain(|it| *it != turn);
            self.wait_turn(member, shared);
        }
    }

    /// How many members are to share what waits: all that are idle. But bulk no more than can be
    /// given something worth a write, so that a message costs the same however many members there
    /// are; whoever has been idle for longest comes first, and the others are the next.
    fn sharers(&self, shared: &mut Shared) -> usize {
        let write_bytes = shared.config.write_bytes;
        let bytes = self.backlog.bytes();
        if bytes < write_bytes / BULK_RATIO {
            return self.idle.len();
        }
        let first = self.idle.first_key_value();
        if first.is_some_and(|(_, member)| shared.consumer(*member).acks.is_some()) {
            return self.idle.len().min(SETTLING_SHARERS);
        }
        let runs = bytes / (write_bytes / RUN_RATIO).max(1);
        self.idle.len().min(runs.max(SHARERS))
    }

    /// The idle member whose turn it is, which has left the line. One that has something from another topic
    /// meanwhile leaves it too, and comes back when it has taken that.
    fn next_idle(&mut self, shared: &mut Shared) -> Option<(ConnId, Credit)> {
        while let Some((_, member)) = self.idle.pop_first() {
            let session = shared.session(member);
            let credit = session.credit();
            let consumer = session.consumer_mut();
            let consumer = consumer.expect("a member is a consumer");
            consumer.take_turn(self.topic, self.id);
            if let Some(credit) = credit
                && self.emptying != Some(member)
            {
                return Some((member, credit));
            }
        }
        None
    }

    /// Hands a member up to so many of the messages that wait, in one write, or one message at least. Nothing if
    /// even that is more than it may hold.
    fn hand_out(&mut self, member: ConnId, credit: Credit, messages: usize, shared: &mut Shared) {
        let bytes = shared.config.write_bytes.min(credit.bytes);
        if !credit.holds_nothing && self.backlog.next_bytes() > credit.bytes {
            return;
        }
        let taken = self.backlog.take(messages, bytes);
        let mut count = Count::ZERO;
        for waiting in &taken {
            count += Count::of(&waiting.batch);
        }
        self.note_handed_out(
            shared.hand_out(member, self.topic, self.id, taken, self.how(false)),
            count,
            shared,
        );
    }

    fn how(&self, alone: bool) -> HandOut {
        HandOut {
            alone,
            is_tracked: self.is_tracked(),
        }
    }

    /// Messages have left the backlog for a member, which holds them until it settles them, or not.
    fn note_handed_out(&mut self, is_held: bool, count: Count, shared: &mut Shared) {
        if is_held {
            self.hold(count, shared);
        } else {
            shared.budget.start_write(count.bytes as usize);
        }
    }

    /// Hands the messages that go alone to members that hold nothing. If there is none, the next in turn is handed
    /// nothing more until it holds nothing, or another does.
    fn dispatch_alone(&mut self, shared: &mut Shared) {
        if let Some(member) = self.emptying
            && let Some(credit) = shared.session(member).credit()
            && credit.holds_nothing
        {
            self.emptying = None;
            if let Some(turn) = shared.consumer(member).membership(self.topic).turn {
                self.idle.remove(&turn);
                shared.consumer(member).take_turn(self.topic, self.id);
            }
            self.hand_out_alone(member, shared);
        }
        while self.backlog.has_alone()
            && (self.emptying.is_none() || self.next_holds_nothing(shared))
            && let Some((member, credit)) = self.next_idle(shared)
        {
            if credit.holds_nothing {
                self.hand_out_alone(member, shared);
            } else {
                self.emptying = Some(member);
            }
        }
    }

    /// Whether the idle member whose turn it is may be handed something, and holds nothing. If it holds something, so do all
    /// others, but for consumers of patterns.
    fn next_holds_nothing(&mut self, shared: &mut Shared) -> bool {
        while let Some((_, &member)) = self.idle.first_key_value() {
            match shared.session(member).credit() {
                None => {
                    self.idle.pop_first();
                    shared.consumer(member).take_turn(self.topic, self.id);
                }
                // The consumer of a pattern may have something from another topic meanwhile.
                Some(_) if self.reorder(member, shared) => {}
                Some(credit) => return credit.holds_nothing,
            }
        }
        false
    }

    fn hand_out_alone(&mut self, member: ConnId, shared: &mut Shared) {
        if let Some(alone) = self.backlog.take_alone() {
            let count = Count::of(&alone.batch);
            let taken = alloc::vec![alone];
            let is_held = shared.hand_out(member, self.topic, self.id, taken, self.how(true));
            self.note_handed_out(is_held, count, shared);
        }
    }
}
