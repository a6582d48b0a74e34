//! A client that receives.

use super::Puppet;
use super::session::{End, Session};
use crate::full_sim::recorder::Act;
use crate::history::Manners;
use crate::message::{Reassembly, name};
use crate::plan::Consumer;
use std::time::Duration;

impl Puppet {
    /// Receives, in one connection.
    pub(super) async fn consume(&self, consumer: &Consumer) -> End {
        match Session::open(self, Manners::Good, b"CONSUMER\n").await {
            Ok(session) => self.receive(consumer, session).await,
            Err(end) => end,
        }
    }

    async fn receive(&self, consumer: &Consumer, mut session: Session) -> End {
        let mut reassembly = Reassembly::default();
        let mut buf = vec![0; consumer.read_bytes];
        loop {
            self.strings.until_free().await;
            if let Some(away) = self.strings.take_leave() {
                session.act(Act::Gone);
                session.leave().await;
                return End::Left(away);
            }
            let read = tokio::select! {
                biased;
                () = self.strings.pulled() => continue,
                read = session.read(&mut buf) => read,
            };
            match read {
                // All that the broker's socket took was received.
                Ok(0) => return End::Broken,
                Ok(bytes) => reassembly.push(&buf[..bytes]),
                Err(_) => return session.broke(),
            }
            while let Some(body) = reassembly.next_body() {
                session.act(Act::Received(name(&body)));
            }
            if !self.strings.is_healed() {
                self.strings
                    .pause(Duration::from_micros(consumer.every_us))
                    .await;
            }
        }
    }
}
