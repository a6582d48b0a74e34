//! Replays what a broker's flight recorder wrote (`docs/FLIGHT_RECORDER.md`).
//!
//! The core is put into the state in which a file begins and told what the recorded one was told. It
//! must ask for the same, output by output, and come to the state in which the next file begins.
//! The first difference ends the replay: it would be a bug of the recorder, or this is not the
//! program that was recorded, or the core is not the function of its inputs that it must be.

mod trace;

use crate::panics::unless_it_panics;
use message_queue_core::{Broker, Checkpoint, Output};
use message_queue_tokio::record::{
    Digest, Kept, ReadError, Reader, Record, RecordedFile, Step, recorded_files,
};
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use trace::Trace;

/// What a replay came to.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Files that were replayed.
    pub files: usize,
    /// Steps in them.
    pub steps: u64,
    /// Inputs in them.
    pub inputs: u64,
    /// Outputs that were compared and are equal.
    pub outputs: u64,
    /// Steps that the recording says it missed.
    pub missed: u64,
    /// The panic that ended the broker, if the replay came to it too.
    pub panic: Option<String>,
    /// Where a file could not be read to its end: the last record is torn, or worse.
    pub unread: Vec<ReadError>,
    /// The first thing that is not as it was recorded.
    pub difference: Option<Difference>,
}

/// Something that is not as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Other outputs.
    Outputs {
        /// The step, from 1.
        step: u64,
        /// What was recorded.
        recorded: Vec<Output<Digest>>,
        /// What the replay did.
        replayed: Vec<Output<Digest>>,
    },
    /// A panic of the core that was not recorded.
    Panic {
        /// The step, from 1.
        step: u64,
        /// What it said.
        message: String,
    },
    /// Another state at the beginning of a file.
    State {
        /// The file.
        file: PathBuf,
    },
    /// A state that no broker can be in.
    Checkpoint {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A file that does not begin with a checkpoint.
    NoCheckpoint {
        /// The file.
        file: PathBuf,
    },
}

/// Why nothing can be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The directory cannot be read.
    #[error("{}: {error}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// There is no recording in the directory.
    #[error("{}: no recording is there", .0.display())]
    NothingThere(PathBuf),
    /// The file is not a recording.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The trace could not be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

/// Replays a file, or the last run in a directory, and writes to `out` what happened, step by step.
///
/// # Errors
/// There is nothing to replay, or `out` takes no more. What is wrong with the recording or with the
/// broker is in the result: see [`Replayed::is_sound`].
pub fn replay(path: &Path, out: &mut dyn Write) -> Result<Replayed, ReplayError> {
    let mut replay = Replay {
        broker: None,
        next_number: None,
        result: Replayed::default(),
        trace: Trace::new(out),
    };
    for path in files(path)? {
        replay.file(&path)?;
        if replay.result.difference.is_some() {
            break;
        }
    }
    Ok(replay.result)
}

/// The files to replay, in order.
fn files(path: &Path) -> Result<Vec<PathBuf>, ReplayError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = recorded_files(path).map_err(|error| ReplayError::Directory {
        path: path.to_owned(),
        error,
    })?;
    let Some(RecordedFile { run, .. }) = files.last().cloned() else {
        return Err(ReplayError::NothingThere(path.to_owned()));
    };
    files.retain(|file| file.run == run);
    Ok(files.into_iter().map(|file| file.path).collect())
}

struct Replay<'a> {
    /// The broker, unless what happened next is not known.
    broker: Option<Broker>,
    /// The file that goes on from where the last one ended.
    next_number: Option<u64>,
    result: Replayed,
    trace: Trace<'a>,
}

impl Replay<'_> {
    fn file(&mut self, path: &Path) -> Result<(), ReplayError> {
        let mut reader = Reader::open(path)?;
        let (header, first) = (reader.header().clone(), reader.next_record());
        self.result.files += 1;
        self.result.missed += header.missed;
        self.trace.file(path, &header)?;
        let Some(checkpoint) = self.first(path, first) else {
            return Ok(());
        };
        if self.next_number.take() != Some(header.number) {
            self.broker = None;
        }
        if !self.begin(path, checkpoint) {
            return Ok(());
        }
        let mut said_why = false;
        loop {
            match reader.next_record() {
                Ok(Some(Record::Step(step))) => {
                    self.step(step, reader.kept())?;
                    if self.result.difference.is_some() || self.result.panic.is_some() {
                        return Ok(());
                    }
                }
                Ok(Some(Record::Full)) => {
                    self.next_number = Some(header.number + 1);
                    said_why = true;
                }
                Ok(Some(Record::Gap(cause))) => {
                    self.trace.line(format_args!("a gap: {cause}"))?;
                    said_why = true;
                }
                Ok(Some(Record::End)) => {
                    self.trace.line(format_args!("the orderly end"))?;
                    said_why = true;
                }
                Ok(Some(Record::Checkpoint(_))) => return Ok(()),
                Ok(None) => {
                    if !said_why {
                        self.trace.line(format_args!(
                            "the file does not say why it ends: the broker was killed, or still runs"
                        ))?;
                    }
                    return Ok(());
                }
                Err(error) => {
                    self.trace.line(format_args!("{error}"))?;
                    self.result.unread.push(error);
                    return Ok(());
                }
            }
        }
    }

    /// The checkpoint with which a file must begin. A file may have been torn before it was whole.
    fn first(
        &mut self,
        path: &Path,
        first: Result<Option<Record>, ReadError>,
    ) -> Option<Checkpoint> {
        match first {
            Ok(Some(Record::Checkpoint(checkpoint))) => return Some(*checkpoint),
            Ok(None | Some(Record::Step(_) | Record::Full | Record::Gap(_) | Record::End)) => {
                let file = path.to_owned();
                self.result.difference = Some(Difference::NoCheckpoint { file });
            }
            Err(error) => self.result.unread.push(error),
        }
        None
    }

    /// Goes on with the broker that there is, which must be in this state, or with a new one.
    fn begin(&mut self, path: &Path, checkpoint: Checkpoint) -> bool {
        let file = path.to_owned();
        let difference = match &self.broker {
            Some(broker) if broker.checkpoint() == checkpoint => return true,
            Some(_) => Difference::State { file },
            None => {
                let broker = Broker::restore(checkpoint);
                match unless_it_panics(|| broker.check_invariants()) {
                    Ok(()) => {
                        self.broker = Some(broker);
                        return true;
                    }
                    Err(message) => Difference::Checkpoint { file, message },
                }
            }
        };
        self.result.difference = Some(difference);
        false
    }

    fn step(&mut self, step: Step, kept: &Kept) -> Result<(), ReplayError> {
        let Some(mut broker) = self.broker.take() else {
            return Ok(());
        };
        self.result.steps += 1;
        self.result.inputs += step.calls.len() as u64;
        let number = self.result.steps;
        self.trace.inputs(number, &step)?;
        let Step {
            now,
            calls,
            outputs: recorded,
            ended,
        } = step;
        // A panic is what a recording of a broker that has crashed is replayed for.
        let replayed = match unless_it_panics(|| {
            for call in calls {
                call.apply(&mut broker, now);
            }
            let outputs = std::iter::from_fn(|| broker.poll_output());
            let digest = |output: Output| output.map_write(|write| kept.digest(&write));
            outputs.map(digest).collect::<Vec<_>>()
        }) {
            Ok(replayed) => replayed,
            Err(message) => {
                self.trace
                    .line(format_args!("the core panicked: {message}"))?;
                if ended {
                    let step = number;
                    self.result.difference = Some(Difference::Panic { step, message });
                } else {
                    self.result.panic = Some(message);
                }
                return Ok(());
            }
        };
        for output in &replayed {
            self.trace.output(&broker, output)?;
        }
        if !ended {
            self.trace
                .line(format_args!("here the recorded broker ended"))?;
        } else if replayed == recorded {
            self.result.outputs += replayed.len() as u64;
        } else {
            self.result.difference = Some(Difference::Outputs {
                step: number,
                recorded,
                replayed,
            });
        }
        self.broker = Some(broker);
        Ok(())
    }
}

impl Replayed {
    /// Whether all that could be read was replayed with equal outputs and no panic. A torn last
    /// record is what a broker leaves that was killed; anything else that cannot be read is not
    /// sound.
    pub fn is_sound(&self) -> bool {
        let torn = |error: &ReadError| matches!(error, ReadError::Torn { .. });
        self.difference.is_none() && self.panic.is_none() && self.unread.iter().all(torn)
    }
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.unread {
            writeln!(f, "NOT READ {error}")?;
        }
        if self.missed > 0 {
            writeln!(f, "MISSED {} steps, in gaps of the recording", self.missed)?;
        }
        if let Some(panic) = &self.panic {
            writeln!(f, "PANIC as in the recording: {panic}")?;
        }
        if let Some(difference) = &self.difference {
            writeln!(f, "DIFFERENT {difference}")?;
        }
        let Self {
            files,
            steps,
            inputs,
            outputs,
            ..
        } = self;
        write!(
            f,
            "{files} files, {steps} steps, {inputs} inputs: {outputs} outputs are as recorded"
        )
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outputs {
                step,
                recorded,
                replayed,
            } => {
                write!(f, "step {step} did something else")?;
                for (what, outputs) in [("recorded", recorded), ("replayed", replayed)] {
                    for output in outputs {
                        write!(f, "\n  {what}: {}", trace::told(output))?;
                    }
                }
                Ok(())
            }
            Self::Panic { step, message } => {
                write!(
                    f,
                    "step {step} panicked, and did not when recorded: {message}"
                )
            }
            Self::State { file } => write!(
                f,
                "the state of the broker is not the one in which {} begins",
                file.display()
            ),
            Self::Checkpoint { file, message } => write!(
                f,
                "{} begins in a state that no broker can be in: {message}",
                file.display()
            ),
            Self::NoCheckpoint { file } => {
                write!(f, "{} does not begin with a checkpoint", file.display())
            }
        }
    }
}
