//! `message-queue log export`.

use super::source::Source;
use super::{LogError, TopicArgs, begin};
use crate::cli::exit::Exit;
use crate::cli::progress::{Messages, Totals};
use crate::cli::say;
use message_queue_core::log::{ReadFrom, Stored};
use message_queue_core::wire::control::Range;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  log export /var/lib/message-queue orders --output orders.mq
  log export /var/lib/message-queue orders --from 1000 --to 1999 | gzip > orders.mq.gz
  log export /var/lib/message-queue orders --from @1764000000000 --output since.mq";

/// Write the messages of a stored topic to a file
///
/// What is written is what a consumer of wire version 2 is sent (docs/PROTOCOL.md, section 10): CHECK frames with the
/// checksum of what follows, RUN frames with sequences and times, and the messages. `log import` reads it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    topic: TopicArgs,

    /// Where to begin: first, a sequence, or @ and milliseconds since 1970, for what was published then or later
    #[arg(long, value_name = "START", default_value = "first", value_parser = begin)]
    from: ReadFrom,

    /// The last sequence to be written [default: the last that is stored]
    #[arg(long, value_name = "SEQUENCE", value_parser = clap::value_parser!(u64).range(1..))]
    to: Option<u64>,

    /// Write to this file, in place of what it holds [default: standard output, which must not be a terminal]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Where it goes.
struct Target {
    name: String,
    out: BufWriter<Box<dyn Write>>,
    /// What is to be made safe in the end.
    file: Option<File>,
}

impl Target {
    fn open(output: Option<&PathBuf>) -> io::Result<Self> {
        let (name, out, file): (_, Box<dyn Write>, _) = match output {
            Some(path) => {
                let name = path.display().to_string();
                let opened = File::create(path).and_then(|file| Ok((file.try_clone()?, file)));
                let (copy, file) = opened.map_err(|it| {
                    io::Error::new(it.kind(), format!("cannot write {name}: {it}"))
                })?;
                (name, Box::new(copy), Some(file))
            }
            None if io::stdout().is_terminal() => {
                return Err(io::Error::other(
                    "an export is binary, and this is a terminal; use --output FILE or a pipe",
                ));
            }
            None => ("standard output".to_owned(), Box::new(io::stdout()), None),
        };
        let out = BufWriter::with_capacity(1 << 20, out);
        Ok(Self { name, out, file })
    }

    fn write(&mut self, stored: &Stored) -> Result<(), LogError> {
        for piece in stored.encode() {
            self.out.write_all(&piece).map_err(|it| self.failed(it))?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), LogError> {
        let synced = self.out.flush().and_then(|()| match &self.file {
            Some(file) => file.sync_all(),
            None => Ok(()),
        });
        match synced {
            // Not every output can be synced, a device for one.
            Err(error) if error.kind() != ErrorKind::InvalidInput => Err(self.failed(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn failed(&self, source: io::Error) -> LogError {
        LogError::File {
            name: format!("cannot write {}", self.name),
            source,
        }
    }
}

pub(super) fn export(args: &ExportArgs) -> Result<Exit, LogError> {
    let mut source = Source::open(&args.topic)?;
    let mut target = Target::open(args.output.as_ref())?;
    let mut totals = Totals::default();
    let outcome = source.read(args.from, |stored| {
        if args.to.is_some_and(|to| stored.sequences().from > to) {
            return Ok(ControlFlow::Break(()));
        }
        if let Some(stored) = wanted(stored, args.from, args.to) {
            target.write(&stored)?;
            if let Stored::Run { batch, .. } = &stored {
                totals.add(batch);
            }
        }
        Ok(ControlFlow::Continue(()))
    });
    let written = Messages(totals.messages);
    let partly = |source| LogError::Partly {
        source: Box::new(source),
        done: format!("{written} had been written"),
    };
    // What is whole is kept in any case.
    let finished = target.finish();
    match outcome.and(finished) {
        // Whoever reads has seen enough.
        Err(LogError::File { source, .. }) if source.kind() == ErrorKind::BrokenPipe => {
            return Ok(Exit::Done);
        }
        outcome => outcome.map_err(partly)?,
    }
    say::note(&format!("exported {written} of {}", args.topic.topic));
    Ok(Exit::Done)
}

/// The part of it that was asked for.
fn wanted(stored: Stored, from: ReadFrom, to: Option<u64>) -> Option<Stored> {
    let from = match (from, &stored) {
        (ReadFrom::Sequence(sequence), _) => sequence,
        (ReadFrom::Time(time), Stored::Run { published, .. }) if *published < time => return None,
        _ => 1,
    };
    let to = to.unwrap_or(u64::MAX);
    stored.within(Range { from, to })
}
