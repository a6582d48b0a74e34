//! A client that publishes.

use super::Puppet;
use super::session::{End, Session};
use crate::history::Manners;
use crate::message::{MessageId, NAMED, body, frame};
use crate::plan::Producer;
use crate::rng::{Rng, mix};
use std::time::Duration;

impl Puppet {
    /// Publishes what is left to publish, in one connection.
    pub(super) async fn produce(&self, producer: &Producer) -> End {
        if self.next.get() == producer.messages && !producer.stays {
            return End::Done;
        }
        let opened = Session::open(self, Manners::Good, b"PRODUCER\n").await;
        let published = match opened {
            Ok(mut session) => match self.publish(producer, &mut session).await {
                Ok(end) => {
                    session.leave().await;
                    Ok(end)
                }
                Err(end) => Err(end),
            },
            Err(end) => Err(end),
        };
        published.unwrap_or_else(|end| end)
    }

    /// Publishes in bursts. Returns how it ends where it does so between two messages.
    async fn publish(&self, producer: &Producer, session: &mut Session) -> Result<End, End> {
        loop {
            for _ in 0..producer.burst {
                if let Some(away) = self.strings.take_leave() {
                    return Ok(End::Left(away));
                }
                if self.next.get() == producer.messages {
                    break;
                }
                self.publish_next(producer, session).await?;
            }
            if self.next.get() < producer.messages {
                self.strings
                    .pause(Duration::from_micros(producer.every_us))
                    .await;
            } else if producer.stays {
                tokio::select! {
                    biased;
                    end = session.ended() => return Err(end),
                    () = self.strings.pulled() => {}
                }
            } else {
                return Ok(End::Done);
            }
        }
    }

    async fn publish_next(&self, producer: &Producer, session: &mut Session) -> Result<(), End> {
        let id = MessageId {
            client: self.client.id,
            sequence: self.next.get(),
        };
        let mut rng = Rng::new(mix(self.client.stream ^ u64::from(id.sequence)));
        let size = rng.within(producer.size_min as u64..=producer.size_max as u64) as usize;
        session.send(self, &frame(&body(id, size))).await?;
        // Only now: one that was sent in part nobody can have received, and it is sent again.
        self.next.set(id.sequence + 1);
        self.refused.set(false);
        session.sent((size >= NAMED).then_some(id));
        Ok(())
    }
}
