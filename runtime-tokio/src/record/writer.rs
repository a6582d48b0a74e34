//! The writer: a thread that encodes what happened and writes it.

use super::file::{Record, StopCause};
use super::header::Header;
use super::memory::{Hold, Piece};
use super::payload::{Kept, Payloads};
use super::ring::Ring;
use super::status::RecordingStatus;
use super::step::{Digest, Step};
use message_queue_core::{self as core, Checkpoint};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::mpsc::{Receiver, TryRecvError};
use tracing::{error, info, warn};

/// Bytes gathered before they are written, as long as more is queued.
const BUFFER: usize = 256 << 10;

/// What the recorder hands over.
#[derive(Debug)]
pub(super) enum Message {
    /// Begin a new file in this state, before which so many steps were missed in all. The recorder's count as it
    /// was then: what it misses before this is taken belongs to a later file.
    Begin(Box<Checkpoint>, u64, Hold),
    /// The next step. Its messages are shared with the broker. There may be no memory for the step
    /// in which the broker ends.
    Step(Step<core::Write>, Option<Hold>),
    /// End the file; what happens next is not recorded.
    Gap(StopCause),
    /// The broker has ended in an orderly way.
    End,
}

/// Writes one recording.
#[derive(Debug)]
pub(super) struct Writer {
    ring: Ring,
    payloads: Payloads,
    kept: Kept,
    status: RecordingStatus,
    file: Option<BufWriter<File>>,
    /// The number of the next file.
    next_number: u64,
    /// Steps missed before the last file that was begun.
    missed_before: u64,
    out: Vec<u8>,
}

impl Writer {
    pub(super) fn new(ring: Ring, payloads: Payloads, status: RecordingStatus) -> Self {
        Self {
            ring,
            payloads,
            kept: Kept::recording(payloads),
            status,
            file: None,
            next_number: 0,
            missed_before: 0,
            out: Vec::new(),
        }
    }

    /// Writes what comes until there is nothing more to come, or a file cannot be written.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        if let Err(error) = self.write_all(messages) {
            self.status.fail();
            let directory = self.ring.directory().display();
            error!(%directory, %error, "the recording has ended; the broker goes on");
        }
    }

    fn write_all(&mut self, messages: &Receiver<Message>) -> io::Result<()> {
        loop {
            let message = match messages.try_recv() {
                Ok(message) => message,
                Err(TryRecvError::Disconnected) => return self.flush(),
                Err(TryRecvError::Empty) => {
                    // Nothing to do: what was gathered is as good as written now, and is there
                    // even if the process is killed.
                    self.flush()?;
                    match messages.recv() {
                        Ok(message) => message,
                        Err(_) => return Ok(()),
                    }
                }
            };
            self.take(message)?;
        }
    }

    fn take(&mut self, message: Message) -> io::Result<()> {
        match message {
            Message::Begin(checkpoint, missed, hold) => {
                self.begin(checkpoint, missed)?;
                drop(hold);
                Ok(())
            }
            Message::Step(step, hold) => {
                let step = self.digested(step);
                self.write(Record::Step(step))?;
                drop(hold);
                Ok(())
            }
            Message::Gap(cause) => {
                warn!(%cause, "a gap in the recording");
                self.close(Record::Gap(cause))
            }
            Message::End => self.close(Record::End),
        }
    }

    /// Begins a new file, before which `missed` steps were missed in all.
    pub(super) fn begin(&mut self, checkpoint: Box<Checkpoint>, missed: u64) -> io::Result<()> {
        if self.file.is_some() {
            self.close(Record::Full)?;
        }
        let header = Header {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            payloads: self.payloads,
            run: self.ring.run(),
            number: self.next_number,
            missed: missed - self.missed_before,
        };
        if header.missed > 0 {
            info!(missed_steps = header.missed, "recording again");
        }
        (self.next_number, self.missed_before) = (header.number + 1, missed);
        let file = self.ring.create(&header)?;
        self.file = Some(BufWriter::with_capacity(BUFFER, file));
        self.write_bytes(header.to_string().as_bytes())?;
        self.write(Record::Checkpoint(checkpoint))
    }

    /// With digests for messages in what the core asked for. What goes to many in one step, which
    /// may be much, is hashed once.
    fn digested(&self, step: Step<core::Write>) -> Step {
        let mut last: Option<(Vec<Piece>, Digest)> = None;
        let mut digest = |write: core::Write| {
            let pieces = write
                .pieces()
                .iter()
                .map(|it| Piece::of(it.as_bytes()))
                .collect();
            match &last {
                Some((same, digest)) if *same == pieces => *digest,
                _ => last.insert((pieces, self.kept.digest(&write))).1,
            }
        };
        let outputs = step.outputs.into_iter();
        Step {
            now: step.now,
            calls: step.calls,
            outputs: outputs.map(|it| it.map_write(&mut digest)).collect(),
            ended: step.ended,
        }
    }

    fn write(&mut self, record: Record) -> io::Result<()> {
        let mut out = std::mem::take(&mut self.out);
        record.write(&self.kept, &mut out);
        let written = self.write_bytes(&out);
        // One large checkpoint does not take its memory for ever.
        out.clear();
        out.shrink_to(4 * BUFFER);
        self.out = out;
        written
    }

    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        self.ring.grow(bytes.len() as u64)?;
        file.write_all(bytes)?;
        self.status.wrote(bytes.len() as u64);
        Ok(())
    }

    fn close(&mut self, last: Record) -> io::Result<()> {
        self.write(last)?;
        self.flush()?;
        self.file = None;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), BufWriter::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Memory;
    use super::super::reader::Reader;
    use super::super::ring::recorded_files;
    use super::*;
    use message_queue_core::{Broker, Config};

    #[test]
    fn steps_missed_while_the_writer_lags_belong_to_the_file_after_the_gap() {
        let directory = tempfile::tempdir().unwrap();
        let (status, memory) = (RecordingStatus::default(), Memory::default());
        let ring = Ring::open(directory.path(), 16 << 20, 1).unwrap();
        let mut writer = Writer::new(ring, Payloads::Full, status.clone());
        let begin = || {
            let checkpoint = Box::new(Broker::new(Config::default()).checkpoint());
            let hold = memory.hold_checkpoint(1).unwrap();
            Message::Begin(checkpoint, status.missed_steps(), hold)
        };
        let before = begin();
        status.miss();
        status.miss();
        let after = begin();
        // Only now does the writer come to it.
        for message in [
            before,
            Message::Gap(StopCause::SlowDisk),
            after,
            Message::End,
        ] {
            writer.take(message).unwrap();
        }
        let files = recorded_files(directory.path()).unwrap();
        let missed = files.iter().map(|file| {
            let reader = Reader::open(&file.path).unwrap();
            reader.header().missed
        });
        assert_eq!(missed.collect::<Vec<_>>(), [0, 2]);
    }
}
