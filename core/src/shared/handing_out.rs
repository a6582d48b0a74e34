//! Messages are written to a consumer, which holds them then or has them.

use super::Shared;
use crate::broker::Output;
use crate::group::Waiting;
use crate::id::{ConnId, GroupId, TopicId};
use crate::session::{HandedOut, Held, Source};
use crate::wire::Write;
use alloc::vec::Vec;

/// How messages are handed out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandOut {
    /// One message that goes alone.
    pub(crate) alone: bool,
    /// Somebody is to know which of them are settled.
    pub(crate) is_tracked: bool,
}

impl Shared {
    /// Hands messages of a group to a member in one write. Returns whether it holds them until it settles them.
    pub(crate) fn hand_out(
        &mut self,
        member: ConnId,
        topic: TopicId,
        group: GroupId,
        mut taken: Vec<Waiting>,
        how: HandOut,
    ) -> bool {
        let HandOut { alone, is_tracked } = how;
        let (now, started_ms) = (self.now, self.config.started_ms);
        for waiting in &mut taken {
            if waiting.mark.attempts > 0 {
                self.stats.redelivered += waiting.batch.messages() as u64;
            }
            waiting.mark.attempts += 1;
        }
        let since = taken.iter().map(|it| it.mark.published).min();
        let facts = &self.facts;
        let session = self.sessions.get_mut(&member);
        let session = session.expect("a member is there");
        let first = session
            .version2
            .as_mut()
            .and_then(|version2| version2.take_signals(now));
        let consumer = session.consumer_mut();
        let consumer = consumer.expect("a member is a consumer");
        let write = match &mut consumer.speech {
            None => Write::from_batches(taken.iter().map(|it| it.batch.clone())),
            Some(speech) => {
                let place = consumer
                    .memberships
                    .binary_search_by_key(&topic, |it| it.topic);
                let membership = &mut consumer.memberships[place.expect("it is a member there")];
                let source = Source {
                    topic,
                    group,
                    name: (consumer.pattern.is_some() || speech.checks())
                        .then(|| &facts[&topic].name),
                    started_ms,
                };
                Write::new(speech.pieces(first, &taken, &source, membership))
            }
        };
        let is_version2 = consumer.speech.is_some();
        let is_held = consumer.acks.is_some();
        let marks = match &mut consumer.acks {
            None => taken.into_iter().map(|it| it.mark).collect(),
            Some(acks) => {
                acks.is_alone |= alone;
                for Waiting { batch, mark } in taken {
                    let held = Held {
                        topic,
                        group,
                        mark,
                        is_tracked,
                        since: now,
                    };
                    let most = self.budget.most_pinned(acks.pinned);
                    acks.unsettled.push(batch, held, most);
                    acks.note_pinned(&mut self.budget);
                }
                Vec::new()
            }
        };
        let messages = HandedOut {
            topic,
            group,
            marks,
            waiting_since: since.unwrap_or(now),
            is_tracked,
        };
        session.outbox.start(write.clone(), Some(messages), now);
        // Most writes are done before the timer of one before them goes off.
        if session.outbox.timer.is_none() {
            self.arm_write_timer(member);
        }
        if is_held {
            self.arm_ack_timer(member);
        }
        if is_version2 {
            self.count_on_its_way(member);
        }
        self.outputs.push_back(Output::Write {
            conn: member,
            write,
        });
        is_held
    }
}
