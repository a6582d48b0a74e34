//! How idle consumers share what waits.

use super::publish::bytes;
use super::{Effect, InFlight, Message, Model};
use message_queue_core::{ConnId, GroupId};

/// The most batches in one write.
const BATCHES_IN_A_WRITE: usize = 64;

impl Model {
    /// With m messages waiting and k members idle, the one idle for longest gets m/k, rounded up;
    /// then the same again, until nothing waits or nobody is idle.
    pub(super) fn share_out(&mut self, id: GroupId) {
        let (now, write_bytes) = (self.now, self.config.write_bytes);
        loop {
            let group = self.group(id);
            if group.waiting.is_empty() || group.idle.is_empty() {
                return;
            }
            let share = group.waiting.len().div_ceil(group.idle.len());
            let run = run_length(&group.waiting[..share], write_bytes);
            let messages: Vec<Message> = group.waiting.drain(..run).collect();
            let conn = group.idle.remove(0);
            self.effects.push(Effect::Write {
                conn,
                messages: messages.iter().map(|it| it.body.clone()).collect(),
            });
            self.connection(conn).in_flight = Some(InFlight {
                messages,
                taken: 0,
                started: now,
            });
        }
    }

    /// A socket took more of the write in flight. When it has taken all, its consumer is idle.
    pub(super) fn socket_took(&mut self, conn: ConnId, more: usize) {
        let connection = self.connection(conn);
        let id = connection.group.expect("only consumers are written to");
        let mut in_flight = connection.in_flight.take().expect("a write is in flight");
        in_flight.taken += more;
        if in_flight.taken < bytes(&in_flight.messages) {
            connection.in_flight = Some(in_flight);
            return;
        }
        self.deliver(id, &in_flight.messages);
        self.group(id).idle.push(conn);
        self.share_out(id);
        self.offer_parked();
    }
}

/// How many of the first messages go into one write: no more bytes than allowed (but one message
/// at least), no more than 64 batches, and not over a gap that others hold.
fn run_length(waiting: &[Message], write_bytes: usize) -> usize {
    let mut batches = vec![waiting[0].batch];
    for at in 1..waiting.len() {
        let (before, this) = (&waiting[at - 1], &waiting[at]);
        if this.batch != before.batch {
            batches.push(this.batch);
        }
        if bytes(&waiting[..=at]) > write_bytes
            || batches.len() > BATCHES_IN_A_WRITE
            || this.number != before.number + 1
        {
            return at;
        }
    }
    waiting.len()
}
