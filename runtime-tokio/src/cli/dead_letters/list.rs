//! `message-queue dead-letters list`.

use super::letters::Letters;
use super::{DeadLettersError, ELSEWHERE, Which};
use crate::cli::exit::Exit;
use crate::cli::output::{Each, Printer};
use crate::cli::progress::Messages;
use crate::cli::run::Stop;
use crate::cli::table::{Align, table};
use crate::cli::topics::ListFormat;
use crate::cli::{json, say, terminal};
use crate::client::acked::Batch;
use message_queue_core::wire::handshake::MAX_PREFETCH;
use std::io::{self, IsTerminal};

/// How many bytes of a message are shown in a table.
const PREVIEW: usize = 40;

/// Show dead letters with their origin, and leave them there
///
/// SEQUENCE is the place in T.dead, ORIGIN the topic that it comes from and its sequence there, GROUP the
/// group that gave it up after so many FAILURES. A message that was published to T.dead has none of these.
///
/// Each message that is shown is handed out to this command for as long as it runs, and goes back to its
/// place when it ends. That counts as one more attempt, but not as a failure. One that has failed three
/// times as a dead letter is handed out alone, and what is behind it is not shown.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    which: Which,

    /// Show at most so many, the oldest first, 1 to 1000000
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_PREFETCH))
    )]
    count: u32,

    /// How to print them: columns with the first bytes of each, or a line of JSON each with the whole message
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    format: ListFormat,
}

pub(super) async fn list(args: &ListArgs) -> Result<Exit, DeadLettersError> {
    let mut stop = Stop::listen()?;
    let mut letters = tokio::select! {
        // All that are shown are held until the end.
        letters = Letters::open(&args.which, args.count.into(), args.count, u32::MAX) => letters?,
        exit = stop.requested() => return Ok(exit),
    };
    let mut listing = Listing::new(args.format)?;
    let told = tokio::select! {
        listed = listing.all(&mut letters) => {
            listed?;
            None
        }
        exit = stop.requested() => Some(exit),
    };
    let (found, elsewhere) = (letters.found(), letters.elsewhere());
    letters.close().await;
    listing.finish()?;
    if let Some(exit) = told {
        return Ok(exit);
    }
    let (dead, shown) = (args.which.dead(), listing.shown);
    say::note(&match found {
        Some(found) => format!("{shown} of {} in {dead}", Messages(found)),
        None if shown == u64::from(args.count) => {
            format!("the first {} in {dead}", Messages(shown))
        }
        None => format!("{} in {dead}: no more came", Messages(shown)),
    });
    if elsewhere > 0 {
        say::note(&format!("{ELSEWHERE}: {}", Messages(elsewhere)));
    }
    Ok(Exit::Done)
}

/// What is printed of them.
struct Listing {
    format: ListFormat,
    printer: Printer,
    /// Of a table, which is as wide as its widest row.
    rows: Vec<[String; 8]>,
    shown: u64,
}

impl Listing {
    fn new(format: ListFormat) -> io::Result<Self> {
        Ok(Self {
            format,
            printer: Printer::new(Each::Json, io::stdout().is_terminal()),
            rows: Vec::new(),
            shown: 0,
        })
    }

    async fn all(&mut self, letters: &mut Letters) -> Result<(), DeadLettersError> {
        loop {
            match letters.next().await {
                Ok(Some(batch)) => self.add(&batch)?,
                Ok(None) => return Ok(()),
                Err(gone) => {
                    let done = Messages(self.shown);
                    let what = "had been listed";
                    return Err(DeadLettersError::Gone { gone, done, what });
                }
            }
        }
    }

    fn add(&mut self, batch: &Batch) -> io::Result<()> {
        for (place, body) in batch.frames.bodies().enumerate() {
            self.shown += 1;
            match self.format {
                ListFormat::Table => self.rows.push(row(batch, place, &body)),
                ListFormat::Json => {
                    let mut line = Vec::new();
                    self.printer
                        .write_with_meta(&mut line, &batch.meta, place, &body)?;
                    say::answer(&String::from_utf8_lossy(&line))?;
                }
            }
        }
        Ok(())
    }

    fn finish(&self) -> io::Result<()> {
        if self.format == ListFormat::Json {
            return Ok(());
        }
        let columns = [
            ("SEQUENCE", Align::Right),
            ("ORIGIN", Align::Left),
            ("GROUP", Align::Left),
            ("FAILURES", Align::Right),
            ("REASON", Align::Left),
            ("PUBLISHED", Align::Left),
            ("BYTES", Align::Right),
            ("MESSAGE", Align::Left),
        ];
        say::answer(&table(columns, &self.rows))
    }
}

fn row(batch: &Batch, place: usize, body: &[u8]) -> [String; 8] {
    let meta = &batch.meta;
    let none = || "-".to_owned();
    let (origin, group, failures, reason, published) = match &meta.origin {
        Some(origin) => (
            format!("{}#{}", origin.topic, origin.sequence),
            origin.group.clone(),
            origin.failures.to_string(),
            origin.reason.clone(),
            origin.published,
        ),
        None => (none(), none(), none(), none(), meta.published),
    };
    [
        (meta.sequence + place as u64).to_string(),
        origin,
        group,
        failures,
        reason,
        json::date(published).unwrap_or_else(none),
        body.len().to_string(),
        preview(body),
    ]
}

/// The first bytes of a message, on one line and harmless.
fn preview(body: &[u8]) -> String {
    let mut shown = Vec::new();
    terminal::escape_text(&mut shown, &body[..body.len().min(PREVIEW)]);
    let shown = String::from_utf8_lossy(&shown).replace(['\n', '\t'], " ");
    let more = if body.len() > PREVIEW { "…" } else { "" };
    shown + more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_is_one_line_that_commands_nothing() {
        assert_eq!(preview(b"a\nb\tc"), "a b c");
        assert_eq!(preview(b"\x1b[2J"), "\\x1b[2J");
        assert_eq!(preview(&[b'x'; 41]), format!("{}…", "x".repeat(40)));
        let cut = preview("日".repeat(14).as_bytes());
        assert_eq!(cut, format!("{}\\xe6…", "日".repeat(13)));
    }
}
