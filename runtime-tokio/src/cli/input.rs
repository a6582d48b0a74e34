//! Messages out of a file or standard input, in batches.

use super::feed::Feed;
use message_queue_core::ProtocolError;
use message_queue_core::wire::{FrameBatch, MAX_FRAME_BODY};
use std::fs::File;
use std::io;
use std::path::Path;
use std::thread;
use tokio::sync::mpsc;

/// How many batches may wait to be sent.
const WAITING_BATCHES: usize = 4;

/// How messages stand in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum InputFormat {
    /// One message a line, without its line end (a line feed, or carriage return and line feed)
    Lines,
    /// One message a row: a JSON object whose keys are the header's
    Csv,
    /// One message a frame: a length (4 bytes, big-endian) and so many bytes
    Frames,
}

impl InputFormat {
    /// The format that the ending of a file's name tells.
    fn of(path: &Path) -> Self {
        let csv = path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
        if csv { Self::Csv } else { Self::Lines }
    }
}

/// Why there is no input, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    /// The caller's fault.
    #[error("--repeat: {name} can be read only once; name a regular file, or leave --repeat out")]
    NotRepeatable { name: String },
    #[error("cannot read {name}: {source}")]
    Read { name: String, source: io::Error },
    #[error("{name}: line {line} makes a message of more than {MAX_FRAME_BODY} bytes")]
    MessageTooLarge { name: String, line: u64 },
    #[error("{name}: {source}")]
    Csv { name: String, source: csv::Error },
    #[error("{name}: the header names two columns {column:?}; a JSON object holds only one")]
    RepeatedColumn { name: String, column: String },
    #[error("{name}: after {frames} whole frames: {source}")]
    Frames {
        name: String,
        frames: u64,
        source: ProtocolError,
    },
}

/// Messages that were read together.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) frames: FrameBatch,
    /// How many bytes of input had been read when they were complete, all rounds together.
    pub(crate) position: u64,
}

/// An input that is open.
#[derive(Debug)]
pub(crate) struct Input {
    name: String,
    format: InputFormat,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// To be read once.
    Stream(Stream),
    /// To be read `rounds` times; 0 is for ever.
    Repeated { file: File, rounds: u64 },
}

#[derive(Debug)]
enum Stream {
    Stdin,
    File(File),
}

impl Input {
    /// Opens the file at `path`, or standard input where it is `-`, to be read `rounds` times (0:
    /// for ever). Without a `format`, the ending of the name decides.
    pub(crate) fn open(
        path: &Path,
        format: Option<InputFormat>,
        rounds: u64,
    ) -> Result<Self, InputError> {
        let format = format.unwrap_or_else(|| InputFormat::of(path));
        let stdin = path.as_os_str() == "-";
        let name = if stdin {
            "standard input".into()
        } else {
            path.display().to_string()
        };
        let source = if stdin {
            None
        } else {
            let opened = File::open(path).and_then(|file| Ok((file.metadata()?.is_file(), file)));
            Some(opened.map_err(|source| InputError::Read {
                name: name.clone(),
                source,
            })?)
        };
        let source = match (source, rounds) {
            (None, 1) => Source::Stream(Stream::Stdin),
            (Some((_, file)), 1) => Source::Stream(Stream::File(file)),
            (Some((true, file)), rounds) => Source::Repeated { file, rounds },
            (Some((false, _)) | None, _) => return Err(InputError::NotRepeatable { name }),
        };
        Ok(Self {
            name,
            format,
            source,
        })
    }

    /// How many bytes there are to read, if that is known.
    pub(crate) fn size(&self) -> Option<u64> {
        let (file, rounds) = match &self.source {
            Source::Stream(Stream::Stdin) | Source::Repeated { rounds: 0, .. } => return None,
            Source::Stream(Stream::File(file)) => (file, 1),
            Source::Repeated { file, rounds } => (file, *rounds),
        };
        let metadata = file.metadata().ok().filter(|metadata| metadata.is_file())?;
        metadata.len().checked_mul(rounds)
    }

    /// Reads on a thread of its own. An error comes last.
    pub(crate) fn spawn(self) -> io::Result<mpsc::Receiver<Result<Chunk, InputError>>> {
        let (chunks, received) = mpsc::channel(WAITING_BATCHES);
        thread::Builder::new()
            .name("input".to_owned())
            .spawn(move || {
                if let Err(error) = self.read(chunks.clone()) {
                    // Nobody listens any more: then the error is of no interest.
                    let _ = chunks.blocking_send(Err(error));
                }
            })?;
        Ok(received)
    }

    fn read(self, chunks: mpsc::Sender<Result<Chunk, InputError>>) -> Result<(), InputError> {
        match self.source {
            Source::Stream(Stream::Stdin) => {
                Feed::new(&self.name, io::stdin().lock(), chunks).read_as(self.format)
            }
            Source::Stream(Stream::File(file)) => {
                Feed::new(&self.name, file, chunks).read_as(self.format)
            }
            Source::Repeated { file, rounds } => {
                Feed::new(&self.name, file, chunks).read_rounds(self.format, rounds)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::with_suffix(".CSV").expect("a file");
        std::fs::write(file.path(), content).expect("room");
        file
    }

    fn messages(input: Input) -> usize {
        let mut received = input.spawn().expect("a thread");
        let mut messages = 0;
        while let Some(chunk) = received.blocking_recv() {
            messages += chunk.expect("readable").frames.messages();
        }
        messages
    }

    #[test]
    fn a_file_can_be_read_again_and_its_ending_tells_the_format() {
        let rows = file("a\n1\n2\n");
        let input = Input::open(rows.path(), None, 3).expect("a file");
        assert_eq!((input.format, input.size()), (InputFormat::Csv, Some(18)));
        assert_eq!(messages(input), 6);
        let lines = Input::open(rows.path(), Some(InputFormat::Lines), 1).expect("a file");
        assert_eq!(messages(lines), 3);
    }

    #[test]
    fn a_file_without_a_message_ends_even_for_ever() {
        let header_alone = file("a\n");
        assert_eq!(
            messages(Input::open(header_alone.path(), None, 0).expect("a file")),
            0
        );
    }

    #[test]
    fn standard_input_and_directories_are_not_repeated() {
        for path in ["-", "/"] {
            for rounds in [0, 2] {
                let error = Input::open(Path::new(path), None, rounds).expect_err("not a file");
                assert!(matches!(error, InputError::NotRepeatable { .. }), "{error}");
            }
        }
    }
}
