//! Messages from the command line, in place of an input.

use super::WAITING_BATCHES;
use super::input::{Chunk, InputError, Skipped};
use crate::client::BATCH_BYTES;
use message_queue_core::wire::{Encoder, FrameBatch, MAX_FRAME_BODY};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use tokio::sync::mpsc;

/// The messages given as `-m`, each as it was given.
///
/// # Errors
/// A message is larger than a frame can carry. Linux allows no argument that large; other systems
/// may.
pub(super) fn batch(messages: &[OsString]) -> Result<FrameBatch, MessageTooLarge> {
    let mut frames = Encoder::new();
    for message in messages {
        frames
            .push(message.as_bytes())
            .map_err(|_| MessageTooLarge)?;
    }
    Ok(frames.take())
}

/// A message on the command line is too large.
#[derive(Debug, thiserror::Error)]
#[error("--message: a message of more than {MAX_FRAME_BODY} bytes")]
pub(super) struct MessageTooLarge;

/// Sends `batch` so many times; 0 is for ever. Many rounds of a small one go together.
pub(super) fn spawn(batch: FrameBatch, rounds: u64) -> mpsc::Receiver<Result<Chunk, InputError>> {
    let (chunks, received) = mpsc::channel(WAITING_BATCHES);
    tokio::spawn(async move {
        let most = (BATCH_BYTES / batch.byte_len().max(1)).max(1) as u64;
        let mut left = rounds;
        loop {
            let together = if rounds == 0 { most } else { most.min(left) };
            let mut frames = Encoder::new();
            for body in (0..together).flat_map(|_| batch.bodies()) {
                // It has been in a frame already.
                let _ = frames.push(&body);
            }
            let chunk = Chunk {
                frames: frames.take(),
                position: 0,
                skipped: Skipped::default(),
            };
            left = left.saturating_sub(together);
            // Where nobody listens any more the command has ended.
            if chunks.send(Ok(chunk)).await.is_err() || (rounds > 0 && left == 0) {
                return;
            }
        }
    });
    received
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn messages(rounds: u64, most: usize) -> Vec<Vec<u8>> {
        let batch = batch(&["a".into(), "".into(), "é".into()]).expect("small");
        let mut chunks = spawn(batch, rounds);
        let mut messages = Vec::new();
        while messages.len() < most
            && let Some(chunk) = chunks.recv().await
        {
            let frames = chunk.expect("no input, no error").frames;
            messages.extend(frames.bodies().map(|body| body.to_vec()));
        }
        messages
    }

    #[tokio::test]
    async fn each_argument_is_a_message_and_they_are_sent_so_many_times() {
        let round: [&[u8]; 3] = [b"a", b"", "é".as_bytes()];
        assert_eq!(messages(1, usize::MAX).await, round);
        assert_eq!(messages(2, usize::MAX).await, [round, round].concat());
        let many = messages(100_000, usize::MAX).await;
        assert_eq!(many.len(), 300_000);
        assert_eq!(many[299_997..], round);
        assert!(messages(0, 1_000_000).await.len() >= 1_000_000);
    }
}
