//! A client that misbehaves, once.

use super::Puppet;
use super::session::{End, Session};
use crate::history::Manners;
use crate::message::{MessageId, body, frame};
use crate::plan::Hostile;
use message_queue_core::wire::FirstBytes;
use message_queue_core::{CloseReason, ProtocolError};
use std::iter::repeat;
use std::time::Duration;
use tokio::time::sleep;

/// The size of the messages that it publishes before it misbehaves.
const SIZE: usize = 20;

impl Puppet {
    pub(super) async fn misbehave(&self, hostile: &Hostile) {
        // However it ends, it was only here to try.
        let _ = self.try_to_harm(hostile).await;
    }

    async fn try_to_harm(&self, hostile: &Hostile) -> Result<(), End> {
        let breaks = |error| Manners::Breaks(CloseReason::Protocol(error));
        let mut session = match hostile {
            Hostile::Silent => Session::open(self, Manners::NoRole, b"").await?,
            Hostile::DripsRole { every_us } => {
                let mut session = Session::open(self, Manners::NoRole, b"").await?;
                for byte in b"CONSUMER" {
                    session.send(self, &[*byte]).await?;
                    sleep(Duration::from_micros(*every_us)).await;
                }
                session
            }
            Hostile::UnknownRole => {
                let error = ProtocolError::UnknownRole(FirstBytes::NONE);
                Session::open(self, breaks(error), b"OBSERVER\n").await?
            }
            Hostile::EndlessRole => {
                let limit = self.role_line_bytes;
                let error = ProtocolError::RoleLineTooLong { limit };
                let line = b"PRODUCER ".iter().chain(repeat(&b'x'));
                let line: Vec<u8> = line.take(limit + 2).copied().collect();
                Session::open(self, breaks(error), &line).await?
            }
            Hostile::TruncatesFrame { messages } => {
                let error = ProtocolError::TruncatedFrame;
                let mut session = self.producer(breaks(error), *messages).await?;
                session.send(self, &[0, 0, 0, 9, b'x']).await?;
                session.leave().await;
                return Ok(());
            }
            Hostile::OversizesFrame { messages, length } => {
                let length = *length;
                let error = ProtocolError::FrameTooLarge { length };
                let mut session = self.producer(breaks(error), *messages).await?;
                session.send(self, &length.to_be_bytes()).await?;
                session
            }
            Hostile::Talks => {
                let error = ProtocolError::UnexpectedData;
                Session::open(self, breaks(error), b"CONSUMER\nhello").await?
            }
        };
        session.ended().await;
        Ok(())
    }

    /// Publishes like an orderly producer, so far.
    async fn producer(&self, manners: Manners, messages: u32) -> Result<Session, End> {
        let mut session = Session::open(self, manners, b"PRODUCER\n").await?;
        for sequence in 0..messages {
            let client = self.client.id;
            let id = MessageId { client, sequence };
            session.send(self, &frame(&body(id, SIZE))).await?;
            session.sent(Some(id));
        }
        Ok(session)
    }
}
