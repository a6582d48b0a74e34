//! The recorder: sees every step of the core and hands it to the writer.

use super::file::StopCause;
use super::memory::{Memory, Piece};
use super::payload::Payloads;
use super::ring::Ring;
use super::size;
use super::status::RecordingStatus;
use super::step::{Call, Step};
use super::writer::{Message, Writer};
use crate::serve::observe::{Observed, Observer};
use message_queue_core::{Broker, Checkpoint, Config, Count, Input, Now, Write};
use std::collections::BTreeSet;
use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, UNIX_EPOCH};

/// Into how many files the ring is divided, as a rule: what a replay loses when the oldest is
/// deleted is one of them.
const FILES: u64 = 8;

/// A state that seems to be too large is looked at more closely, batch by batch, if no more messages
/// wait: it is done under the lock of the core.
const MOST_COUNTED: u64 = 10_000;

/// A recording to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where: `RECORD_DIR`. Made if it is not there.
    pub directory: PathBuf,
    /// The most bytes that all files there may take, those of earlier runs included:
    /// `RECORD_BYTES`.
    pub bytes: u64,
    /// What is kept of messages: `RECORD_PAYLOADS`.
    pub payloads: Payloads,
}

/// Why a recording cannot be begun.
#[derive(Debug, thiserror::Error)]
#[error("RECORD_DIR: cannot record in {}: {source}", directory.display())]
pub struct StartError {
    directory: PathBuf,
    source: io::Error,
}

/// Records a broker: an [`Observer`] for [`Server::observed_by`](crate::Server::observed_by).
///
/// Dropping it ends the recording, once all that was seen is written.
#[derive(Debug)]
pub struct Recorder {
    state: State,
    /// What has happened in this step.
    step: Step<Write>,
    options: Options,
    status: RecordingStatus,
    memory: Memory,
    queue: Sender<Message>,
    writer: Option<JoinHandle<()>>,
}

/// Where the recording stands.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Topics are stored: what the broker begins with is known when it has found them.
    Waiting,
    /// In the midst of a file.
    Recording {
        /// At most how many bytes of the file are taken.
        used: u64,
        /// After how many bytes the next file begins.
        full: u64,
    },
    /// In a gap.
    Paused {
        /// A checkpoint is tried again when no more than so many bytes seem to be needed for it.
        most: u64,
    },
    /// For good: a file could not be written.
    Over,
}

impl Recorder {
    /// Begins to record a broker that is about to be made with these settings.
    ///
    /// # Errors
    /// The directory cannot be used, or another broker records there.
    ///
    /// # Panics
    /// If the settings do not keep their bounds ([`Config::check`]).
    pub fn start(options: Options, config: Config) -> Result<Self, StartError> {
        let failed = |source| StartError {
            directory: options.directory.clone(),
            source,
        };
        let status = RecordingStatus::default();
        let ring = Ring::open(&options.directory, options.bytes, started()).map_err(failed)?;
        let mut writer = Writer::new(ring, options.payloads, status.clone());
        let state = if config.may_store() {
            State::Waiting
        } else {
            let broker = Broker::new(config);
            let begun = writer.begin(Box::new(broker.checkpoint()), 0);
            begun.map_err(failed)?;
            begun_with(size::of_checkpoint(&broker, options.payloads), &options)
        };
        let (queue, messages) = channel();
        let thread = thread::Builder::new().name("recorder".to_owned());
        let thread = thread
            .spawn(move || writer.run(&messages))
            .map_err(failed)?;
        Ok(Self {
            state,
            step: Step::default(),
            options,
            status,
            memory: Memory::default(),
            queue,
            writer: Some(thread),
        })
    }

    /// How the recording is doing.
    pub fn status(&self) -> RecordingStatus {
        self.status.clone()
    }

    /// Begins a file, unless its checkpoint would be too large or there is no memory for it.
    fn begin(&self, broker: &Broker) -> Result<State, (StopCause, State)> {
        let quarter = self.options.bytes / 4;
        let seems = size::of_checkpoint(broker, self.options.payloads);
        let too_large = |most| Err((StopCause::LargeState, State::Paused { most }));
        if seems > quarter && broker.stats().flow.waiting.messages > MOST_COUNTED {
            return too_large(quarter);
        }
        let mut checkpoint = Box::new(broker.checkpoint());
        let mut bytes = seems;
        if seems > quarter {
            bytes -= size::of_messages(shared(&mut checkpoint), self.options.payloads);
        }
        if bytes > quarter {
            // As much is shared in a smaller state, in proportion.
            return too_large(seems.saturating_mul(quarter) / bytes);
        }
        let hold = self.memory.hold_checkpoint(bytes);
        let hold = hold.map_err(|cause| (cause, State::Paused { most: u64::MAX }))?;
        self.send(Message::Begin(checkpoint, self.status.missed_steps(), hold));
        Ok(begun_with(bytes, &self.options))
    }

    fn record(&mut self, broker: &Broker, used: u64, full: u64) -> State {
        let mut step = mem::take(&mut self.step);
        step.ended = true;
        let bytes = size::of_step(&step, self.options.payloads);
        let hold = if bytes > self.options.bytes / 2 {
            Err(StopCause::LargeStep)
        } else {
            self.memory.hold_step(&step)
        };
        let end = match hold {
            Ok(hold) => {
                self.send(Message::Step(step, Some(hold)));
                let used = used + bytes;
                if used < full {
                    return State::Recording { used, full };
                }
                self.begin(broker)
            }
            Err(cause) => {
                self.status.miss();
                Err((cause, State::Paused { most: u64::MAX }))
            }
        };
        end.unwrap_or_else(|gap| self.pause(gap))
    }

    /// In a gap: the end of it, if the disk has caught up by half and there is room for a
    /// checkpoint.
    fn resume(&mut self, broker: &Broker, most: u64) -> State {
        self.step = Step::default();
        self.status.miss();
        let seems = size::of_checkpoint(broker, self.options.payloads);
        if seems > most || !self.memory.is_half_free() {
            return State::Paused { most };
        }
        self.begin(broker).unwrap_or_else(|(_, paused)| paused)
    }

    /// Says that what follows is missing, until there is room again.
    fn pause(&self, (cause, paused): (StopCause, State)) -> State {
        self.status.gap();
        self.send(Message::Gap(cause));
        paused
    }

    fn send(&self, message: Message) {
        // It fails after the writer has; it has said so, and the next step will see it.
        let _ = self.queue.send(message);
    }
}

impl Observer for Recorder {
    fn begins(&mut self, broker: &Broker) {
        if matches!(self.state, State::Waiting) {
            self.state = self.begin(broker).unwrap_or_else(|gap| self.pause(gap));
        }
    }

    fn observe(&mut self, observed: Observed<'_>, now: Now) {
        if matches!(self.state, State::Over) {
            return;
        }
        self.step.now = now;
        match observed {
            Observed::Input(conn, input) => {
                let mut input = input.clone();
                if let Input::Batch(batch) = &mut input {
                    // It is kept for a while, and must not keep a large read buffer alive.
                    *batch = batch.clone().compact();
                }
                self.step.calls.push(Call::Input(conn, input));
            }
            Observed::Timeout => self.step.calls.push(Call::Timeout),
            Observed::Drain(timeout) => self.step.calls.push(Call::Drain(timeout)),
            Observed::Purge => self.step.calls.push(Call::Purge),
            Observed::EndGroup(topic, group) => {
                self.step.calls.push(Call::EndGroup(topic.clone(), group));
            }
            Observed::Rules(rules) => self.step.calls.push(Call::Rules(rules.to_vec())),
            Observed::Answer(topic, answer) => {
                self.step.calls.push(Call::Answer(topic, answer.clone()));
            }
            Observed::StoreFailed => self.step.calls.push(Call::StoreFailed),
            Observed::Output(output) => self.step.outputs.push(output.clone()),
        }
    }

    fn step_ended(&mut self, broker: &Broker, _: Now) {
        if self.step.calls.is_empty() && self.step.outputs.is_empty() {
            return;
        }
        if self.status.has_failed() {
            self.state = State::Over;
            self.step = Step::default();
        }
        self.state = match self.state {
            State::Recording { used, full } => self.record(broker, used, full),
            State::Paused { most } => self.resume(broker, most),
            state @ (State::Waiting | State::Over) => state,
        };
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let recording = matches!(self.state, State::Recording { .. });
        if recording && !self.step.calls.is_empty() {
            // The core was told this and did not come back: it is what a replay is for.
            let step = mem::take(&mut self.step);
            let hold = self.memory.hold_step(&step).ok();
            self.send(Message::Step(step, hold));
        } else if recording && !thread::panicking() {
            self.send(Message::End);
        }
        // Without a sender the writer comes to its end.
        self.queue = channel().0;
        if let Some(writer) = self.writer.take() {
            // Had it panicked, its message would have been printed; there is nothing to add.
            let _ = writer.join();
        }
    }
}

/// In a file that has just begun with so many bytes. A checkpoint takes at most half of it.
fn begun_with(used: u64, options: &Options) -> State {
    let full = (options.bytes / FILES).max(2 * used);
    State::Recording { used, full }
}

/// What is not the first in a checkpoint to show a piece of memory: it is written once.
fn shared(checkpoint: &mut Checkpoint) -> Count {
    let mut pieces = BTreeSet::new();
    let mut shared = Count::ZERO;
    checkpoint.each_batch(&mut |batch| {
        if !pieces.insert(Piece::of(batch.as_bytes())) {
            shared += Count::of(batch);
        }
    });
    shared
}

/// The time of day, in milliseconds since 1970.
fn started() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "it names the files, for people; nothing else depends on it"
    )]
    let now = std::time::SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::super::file::Record;
    use super::super::reader::Reader;
    use super::super::ring::recorded_files;
    use super::*;
    use message_queue_core::ConnId;
    use std::path::Path;

    fn open(recorder: &mut Recorder, broker: &mut Broker, conn: u64) {
        let (conn, now) = (ConnId(conn), Now::START);
        recorder.observe(Observed::Input(conn, &Input::Opened), now);
        broker.handle_input(conn, Input::Opened, now);
        recorder.step_ended(broker, now);
    }

    fn records(path: &Path) -> (u64, Vec<Record>) {
        let mut reader = Reader::open(path).unwrap();
        let records = std::iter::from_fn(|| reader.next_record().unwrap()).collect();
        (reader.header().missed, records)
    }

    #[test]
    fn a_slow_disk_makes_a_gap_and_never_waits() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            directory: directory.path().to_owned(),
            bytes: 16 << 20,
            payloads: Payloads::Full,
        };
        let mut broker = Broker::new(Config::default());
        let mut recorder = Recorder::start(options, Config::default()).unwrap();
        open(&mut recorder, &mut broker, 1);
        // As if the writer had not come to this much.
        let full = recorder.memory.fill();
        open(&mut recorder, &mut broker, 2);
        open(&mut recorder, &mut broker, 3);
        let status = recorder.status();
        assert_eq!((status.gaps(), status.missed_steps()), (1, 2));
        drop(full);
        open(&mut recorder, &mut broker, 4);
        open(&mut recorder, &mut broker, 5);
        drop(recorder);

        let files = recorded_files(directory.path()).unwrap();
        let (missed, first) = records(&files[0].path);
        assert_eq!((missed, first.len()), (0, 3));
        assert_eq!(first[2], Record::Gap(StopCause::SlowDisk));
        let (missed, second) = records(&files[1].path);
        assert_eq!((missed, second.len()), (3, 3));
        let Record::Checkpoint(checkpoint) = &second[0] else {
            panic!("{second:?}");
        };
        let broker = Broker::restore(*checkpoint.clone());
        assert_eq!(broker.stats().connections, 4);
        assert_eq!(second[2], Record::End);
    }
}
