//! What goes out to one consumer, from the socket's point of view: not what the driver reports, but
//! what the socket took.

use crate::history::Event;
use crate::message::{MessageId, Named, name};
use message_queue_core::{ConnId, Count, Write};

#[derive(Debug, Default)]
pub(super) struct Outgoing {
    write: Option<Write>,
    /// Bytes that the socket took in all.
    took: u64,
    /// Bytes of the writes that are over.
    over: u64,
}

/// A write is over.
#[derive(Debug)]
pub(super) struct Ended {
    taken: Count,
    left: Count,
    left_messages: Vec<MessageId>,
}

impl Ended {
    pub(super) fn on(self, conn: ConnId) -> Event {
        let Self {
            taken,
            left,
            left_messages,
        } = self;
        Event::WriteEnded {
            conn,
            taken,
            left,
            left_messages,
        }
    }
}

impl Outgoing {
    pub(super) fn start(&mut self, write: Write) {
        self.write = Some(write);
    }

    pub(super) const fn took(&mut self, bytes: usize) {
        self.took += bytes as u64;
    }

    /// The driver reported so many bytes in all. Returns the end of the write if that was the last
    /// of it.
    pub(super) fn reported(&mut self, total: u64) -> Option<Ended> {
        let whole = self.write.as_ref()?.count().bytes;
        if total < self.over + whole {
            return None;
        }
        self.give_up()
    }

    /// Ends the write in flight where the socket stands.
    pub(super) fn give_up(&mut self) -> Option<Ended> {
        let write = self.write.take()?;
        let whole = write.count();
        let mut room = self.took.saturating_sub(self.over);
        self.over += whole.bytes;
        let (mut taken, mut left) = (Count::ZERO, Count::ZERO);
        let mut left_messages = Vec::new();
        for body in write.batches().flat_map(|batch| batch.bodies()) {
            let bytes = body.len() + 4;
            if bytes as u64 <= room && left.is_zero() {
                room -= bytes as u64;
                taken += Count::new(1, bytes);
                continue;
            }
            left += Count::new(1, bytes);
            if let Named::Message(id) = name(body.as_ref()) {
                left_messages.push(id);
            }
        }
        Some(Ended {
            taken,
            left,
            left_messages,
        })
    }
}
