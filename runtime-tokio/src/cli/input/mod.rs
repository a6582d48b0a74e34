//! Messages out of a file or standard input, in batches.

mod args;
mod csv;
mod error;
mod export;
mod feed;
mod frames;
mod lines;
mod reader;
mod records;
mod rows;
mod sniff;
mod text;

pub(crate) use args::InputArgs;
pub(crate) use error::{InputError, Skipped};
pub(crate) use feed::Chunk;

use super::WAITING_BATCHES;
use args::Options;
use feed::Feed;
use reader::Reader;
use std::fs::File;
use std::io;
use std::path::Path;
use std::thread;
use tokio::sync::mpsc;

/// An input that is open.
#[derive(Debug)]
pub(crate) struct Input {
    name: String,
    options: Options,
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
    /// for ever).
    pub(crate) fn open(path: &Path, args: &InputArgs, rounds: u64) -> Result<Self, InputError> {
        let options = Options::of(args, path)?;
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
            options,
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
        let options = &self.options;
        let mut feed = Feed::new(&self.name, options.on_bad_row, chunks);
        match self.source {
            Source::Stream(Stream::Stdin) => {
                Reader::new(io::stdin().lock(), options).read(&mut feed, options)
            }
            Source::Stream(Stream::File(file)) => {
                Reader::new(file, options).read(&mut feed, options)
            }
            Source::Repeated { file, rounds } => {
                Reader::new(file, options).read_rounds(&mut feed, options, rounds)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use args::InputFormat;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: InputArgs,
    }

    fn open(path: &Path, flags: &[&str], rounds: u64) -> Result<Input, InputError> {
        let args = Command::parse_from([&["produce"], flags].concat()).args;
        Input::open(path, &args, rounds)
    }

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
        let input = open(rows.path(), &[], 3).expect("a file");
        assert_eq!(
            (input.options.format, input.size()),
            (InputFormat::Csv, Some(18))
        );
        assert_eq!(messages(input), 6);
        let lines = open(rows.path(), &["--format", "lines"], 1).expect("a file");
        assert_eq!(messages(lines), 3);
    }

    #[test]
    fn a_file_without_a_message_ends_even_for_ever() {
        let header_alone = file("a\n");
        assert_eq!(
            messages(open(header_alone.path(), &[], 0).expect("a file")),
            0
        );
    }

    #[test]
    fn standard_input_and_directories_are_not_repeated() {
        for path in ["-", "/"] {
            for rounds in [0, 2] {
                let error = open(Path::new(path), &[], rounds).expect_err("not a file");
                assert!(matches!(error, InputError::NotRepeatable { .. }), "{error}");
            }
        }
    }
}
