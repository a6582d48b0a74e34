//! How idle consumers share what waits.

use super::publish::bytes;
use super::{Effect, InFlight, Message, Model};
use message_queue_core::{ConnId, GroupId};

/// The most batches in one write.
const BATCHES_IN_A_WRITE: usize = 64;

impl Model {
    /// With m messages waiting and k members idle, the one idle for longest gets m/k, rounded up;
    /// then the same again with one member less, until nothing waits or nobody is idle. A quarter
    /// of a write or more is shared by eight members, or by one for each eighth of a write.
    pub(super) fn share_out(&mut self, id: GroupId) {
        let (now, write_bytes) = (self.now, self.config.write_bytes);
        let group = self.group(id);
        let (idle, waiting) = (group.idle.len(), bytes(&group.waiting));
        let eighths = waiting / (write_bytes / 8).max(1);
        let mut sharers = if waiting >= write_bytes / 4 {
            idle.min(eighths.max(8))
        } else {
            idle
        };
        loop {
            let group = self.group(id);
            if group.waiting.is_empty() || group.idle.is_empty() {
                return;
            }
            let share = group.waiting.len().div_ceil(sharers.max(1));
            sharers = sharers.saturating_sub(1);
            let run = run_length(&group.waiting, share, write_bytes);
            let messages: Vec<Message> = group.waiting.drain(..run).collect();
            let conn = group.idle.remove(0);
            self.effects.push(Effect::Write {
                conn,
                write: messages.iter().map(|it| it.body.clone()).collect(),
            });
            self.connection(conn).in_flight = Some(InFlight {
                messages,
                taken: 0,
                started: now,
                progressed: now,
            });
        }
    }

    /// A socket has taken so much in all. When it has taken all of the write in flight, its consumer
    /// is idle, unless it is closing. What is known already is no news.
    pub(super) fn socket_has_taken(&mut self, conn: ConnId, total: u64) {
        let now = self.now;
        let connection = self.connection(conn);
        let more = total.saturating_sub(connection.taken);
        if more == 0 {
            return;
        }
        connection.taken = total;
        let closing = connection.closing.is_some();
        let id = connection.group.expect("only consumers are written to");
        let mut in_flight = connection.in_flight.take().expect("a write is in flight");
        in_flight.taken += more as usize;
        in_flight.progressed = now;
        if in_flight.taken < bytes(&in_flight.messages) {
            connection.in_flight = Some(in_flight);
            return;
        }
        self.deliver(id, &in_flight.messages);
        if !closing {
            self.group(id).idle.push(conn);
            self.share_out(id);
        }
        self.offer_parked();
    }
}

/// How many of the first messages go into one write: no more than the share, no more bytes than
/// allowed (but one message at least), and no more than 64 batches. Only the first batch is cut for
/// its bytes: what does not fit whole is the next write's.
fn run_length(waiting: &[Message], share: usize, write_bytes: usize) -> usize {
    let mut run = 0;
    for (index, batch) in waiting.chunk_by(|a, b| a.batch == b.batch).enumerate() {
        let fits = bytes(&waiting[..run + batch.len()]) <= write_bytes;
        if index > 0 && (!fits || index == BATCHES_IN_A_WRITE) {
            break;
        }
        for _ in batch {
            let first = run == 0;
            if run == share || (!first && bytes(&waiting[..=run]) > write_bytes) {
                return run;
            }
            run += 1;
        }
    }
    run
}
