//! The topic: every message in the order in which the broker was given it.

use crate::history::Event;
use crate::message::MessageId;
use message_queue_core::ConnId;
use std::collections::BTreeMap;

/// What the events so far make of the topic.
///
/// A producer's connection carries its messages in the order sent, so the n-th that the broker was
/// given on it is the n-th that was sent on it.
#[derive(Debug, Default)]
pub(super) struct Topic {
    sent: BTreeMap<ConnId, Sent>,
    /// Each message that the broker was given; none where it has no name.
    pub(super) messages: Vec<Option<MessageId>>,
    positions: BTreeMap<MessageId, usize>,
    /// How many of `messages` the broker has counted as received.
    pub(super) admitted: usize,
}

/// What was sent on one connection.
#[derive(Debug, Default)]
struct Sent {
    messages: Vec<Option<MessageId>>,
    /// How many of them the broker was given.
    accepted: usize,
}

impl Topic {
    /// Follows an event. Returns `false` if it cannot be: the broker was given more than was sent,
    /// or counts more than it was given.
    pub(super) fn follow(&mut self, event: &Event) -> bool {
        if let Event::Sent { conn, message } = event {
            self.sent.entry(*conn).or_default().messages.push(*message);
        } else if let Event::Accepted { conn, count } = event {
            return self.accept(*conn, count.messages as usize);
        } else if let Event::Admitted { count } = event {
            self.admitted += count.messages as usize;
            return self.admitted <= self.messages.len();
        } else if let Event::Killed = event {
            // What it had parked died with it.
            self.admitted = self.messages.len();
        }
        true
    }

    fn accept(&mut self, conn: ConnId, messages: usize) -> bool {
        let sent = self.sent.entry(conn).or_default();
        let all_sent = sent.accepted + messages <= sent.messages.len();
        for at in sent.accepted..sent.accepted + messages {
            let message = sent.messages.get(at).copied().flatten();
            if let Some(id) = message {
                self.positions.insert(id, self.messages.len());
            }
            self.messages.push(message);
        }
        sent.accepted += messages;
        all_sent
    }

    /// Where a message stands, if the broker was given it.
    pub(super) fn position(&self, id: MessageId) -> Option<usize> {
        self.positions.get(&id).copied()
    }

    /// How many messages were sent on a connection, and how many of them the broker was given.
    pub(super) fn progress_of(&self, conn: ConnId) -> (usize, usize) {
        self.sent
            .get(&conn)
            .map_or((0, 0), |sent| (sent.messages.len(), sent.accepted))
    }
}
