//! Who gets a message, and who has no room for it.

use super::{Effect, Message, Model};
use message_queue_core::wire::MAX_FRAME;
use message_queue_core::{ConnId, DeliveryMode, DropReason, GroupId, Overflow};

impl Model {
    /// A producer sent these messages, in one batch.
    pub(super) fn publish(&mut self, conn: ConnId, bodies: Vec<Vec<u8>>) {
        let message = |body| Message {
            body,
            sequence: 0,
            batch: 0,
        };
        let messages: Vec<Message> = bodies.into_iter().map(message).collect();
        match self.config.overflow {
            Overflow::Drop | Overflow::Reject | Overflow::DropOldest => self.offer(messages),
            Overflow::Block => {
                let waits = if self.parked.is_empty() {
                    self.offer_what_fits(messages)
                } else {
                    // Whoever waits already goes first.
                    messages
                };
                if !waits.is_empty() {
                    self.parked.push((conn, waits));
                    self.effects.push(Effect::Pause { conn });
                }
            }
        }
    }

    /// Every group is offered every message. Its idle members take theirs first; then it keeps
    /// what it has room for.
    fn offer(&mut self, mut messages: Vec<Message>) {
        self.count_received(&messages);
        self.batches += 1;
        for message in &mut messages {
            message.sequence = self.messages;
            message.batch = self.batches;
            self.messages += 1;
        }
        if self.groups.is_empty() {
            self.lose_without_a_group(&messages, DropReason::NoConsumer);
        }
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in ids {
            self.count_offered(id, &messages);
            self.group(id).waiting.extend(messages.iter().cloned());
            self.share_out(id);
            self.lose_what_does_not_fit(id);
        }
    }

    /// The first message of the newest batch that does not fit is lost, and so is all that came
    /// after it in that batch.
    fn lose_what_does_not_fit(&mut self, id: GroupId) {
        let (newest, config) = (self.batches, self.config.clone());
        let of_others = self.waiting_bytes() - bytes(&self.groups[&id].waiting);
        let may_wait = self.may_wait();
        let group = self.group(id);
        let mut held = 0;
        for at in 0..group.waiting.len() {
            held += group.waiting[at].bytes();
            let broken = if at + 1 > config.backlog_messages() {
                DropReason::BacklogMessages
            } else if held > config.backlog_bytes {
                DropReason::BacklogBytes
            } else if of_others + held > may_wait {
                DropReason::BrokerBytes
            } else {
                continue;
            };
            // What was let in before stays, even where handed back messages took its room.
            if group.waiting[at].batch == newest {
                let lost = group.waiting.split_off(at);
                return self.lose(id, &lost, broken);
            }
        }
    }

    /// Offers messages from the front for as long as there is room. Returns those that are left.
    fn offer_what_fits(&mut self, mut messages: Vec<Message>) -> Vec<Message> {
        loop {
            let fits = (1..=messages.len()).take_while(|n| self.fits_everywhere(&messages[..*n]));
            let fits = fits.count();
            if fits == 0 {
                return messages;
            }
            let rest = messages.split_off(fits);
            self.offer(messages);
            messages = rest;
        }
    }

    /// Whether every group has room for these messages, and the broker for all the groups.
    fn fits_everywhere(&self, messages: &[Message]) -> bool {
        let more = bytes(messages) * self.groups.len();
        self.groups.is_empty()
            || (self.fits_every_backlog(messages) && self.waiting_bytes() + more <= self.may_wait())
    }

    fn fits_every_backlog(&self, messages: &[Message]) -> bool {
        let config = &self.config;
        self.groups.values().all(|group| {
            group.waiting.len() + messages.len() <= config.backlog_messages()
                && bytes(&group.waiting) + bytes(messages) <= config.backlog_bytes
        })
    }

    /// Whether what was parked first has room in every backlog, and waits for bytes alone.
    pub(super) fn waits_for_bytes(&self) -> bool {
        let first = self.parked.first();
        first.is_some_and(|(_, messages)| self.fits_every_backlog(&messages[..1]))
    }

    /// Producers that wait for room publish as much as there is room for, one after the other. Where
    /// begun frames are in the way, they make room.
    pub(super) fn offer_parked(&mut self) {
        self.offer_what_was_parked();
        while self.give_up_a_partial() {
            self.offer_what_was_parked();
        }
    }

    fn offer_what_was_parked(&mut self) {
        while !self.parked.is_empty() {
            let (conn, messages) = self.parked.remove(0);
            let waits = self.offer_what_fits(messages);
            if !waits.is_empty() {
                return self.parked.insert(0, (conn, waits));
            }
            let connection = self.connections.get(&conn);
            if connection.is_some_and(|connection| connection.closing.is_none()) {
                self.effects.push(Effect::Resume { conn });
            }
        }
    }

    /// Bytes that wait, on their way to consumers or not.
    pub(super) fn waiting_bytes(&self) -> usize {
        let groups = self.groups.keys();
        groups.map(|id| self.waiting(*id).bytes as usize).sum()
    }

    /// How many of them there may be: what others have parked and begun takes room. But the
    /// largest message is always let in.
    fn may_wait(&self) -> usize {
        let others = self.parked_bytes() + self.partial_bytes();
        let left = self.config.broker_bytes.saturating_sub(others);
        left.max(self.largest_message_for_all())
    }

    pub(super) fn largest_message_for_all(&self) -> usize {
        match (self.config.overflow, self.config.delivery) {
            (Overflow::Block, DeliveryMode::Broadcast) => self.config.max_consumers * MAX_FRAME,
            (Overflow::Block, DeliveryMode::Queue)
            | (Overflow::Drop | Overflow::Reject | Overflow::DropOldest, _) => MAX_FRAME,
        }
    }

    pub(super) fn parked_bytes(&self) -> usize {
        let parked = self.parked.iter();
        parked.map(|(_, messages)| bytes(messages)).sum()
    }
}

/// What these messages take on the wire.
pub(super) fn bytes(messages: &[Message]) -> usize {
    messages.iter().map(Message::bytes).sum()
}
