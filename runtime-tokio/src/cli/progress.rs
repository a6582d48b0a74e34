//! What the user sees of a run on standard error: how far it is, and what came of it.

use super::say;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use message_queue_core::wire::{FrameBatch, LENGTH_PREFIX};
use std::fmt;
use std::io::{self, IsTerminal};
use std::ops::AddAssign;
use std::time::Duration;
use tokio::time::Instant;

/// How often progress is told where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// A number of messages. Shows as `1 message` or `2,470 messages`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Messages(pub(crate) u64);

impl fmt::Display for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} message{plural}", HumanCount(self.0))
    }
}

/// Messages, and the bytes in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) messages: u64,
    /// Without length prefixes.
    pub(crate) bytes: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, more: Self) {
        self.messages += more.messages;
        self.bytes += more.bytes;
    }
}

impl Totals {
    pub(crate) fn add(&mut self, batch: &FrameBatch) {
        self.messages += batch.messages() as u64;
        self.bytes += (batch.byte_len() - LENGTH_PREFIX * batch.messages()) as u64;
    }

    /// These totals and the rate that they came at.
    pub(crate) const fn over(self, elapsed: Duration) -> Summary {
        Summary {
            totals: self,
            elapsed,
        }
    }
}

/// Shows as `2,470 messages (1.20 MiB) in 0.52 s, 4,750 a second`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    totals: Totals,
    elapsed: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { messages, bytes } = self.totals;
        let (count, bytes) = (Messages(messages), HumanBytes(bytes));
        let seconds = self.elapsed.as_secs_f64();
        write!(f, "{count} ({bytes}) in {seconds:.2} s")?;
        // Of less than a millisecond no rate follows that means anything.
        if self.elapsed < Duration::from_millis(1) {
            return Ok(());
        }
        let rate = messages as f64 / seconds;
        if rate < 10.0 {
            return write!(f, ", {rate:.1} a second");
        }
        write!(f, ", {} a second", HumanCount(rate as u64))
    }
}

/// Lines to the user that do not run into a progress bar.
#[derive(Clone, Debug)]
pub(crate) struct Notices {
    bar: ProgressBar,
}

impl Notices {
    pub(crate) fn print(&self, line: &str) {
        self.bar.suspend(|| say::note(line));
    }
}

/// Shows how far a run is: a bar on a terminal, a line now and then elsewhere.
#[derive(Debug)]
pub(crate) struct Progress {
    notices: Notices,
    started: Instant,
    /// Where there is no terminal: when the next line is due.
    next_line: Option<Instant>,
}

impl Progress {
    /// Starts the clock. `size` is the size of the input, if it is known.
    pub(crate) fn start(size: Option<u64>) -> Self {
        let (bar, template) = match size {
            Some(size) => (ProgressBar::new(size), "{percent:>3}% {bar:10} {wide_msg}"),
            None => (ProgressBar::new_spinner(), "{spinner} {wide_msg}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let started = Instant::now();
        let next_line = (!io::stderr().is_terminal()).then(|| started + LINE_INTERVAL);
        Self {
            notices: Notices { bar },
            started,
            next_line,
        }
    }

    /// For a command that shows a bar on a terminal, if it `shows` one at all, and no lines elsewhere.
    pub(crate) fn bar(shows: bool) -> Self {
        let mut progress = Self::start(None);
        progress.next_line = None;
        if !shows {
            progress.notices.bar = ProgressBar::hidden();
        }
        progress
    }

    /// For a command that writes an export, of so many messages if that is known: a bar on a terminal, if it `shows`
    /// one at all, and lines elsewhere.
    pub(crate) fn export(shows: bool, messages: Option<u64>) -> Self {
        let mut progress = Self::start(messages);
        if !shows {
            progress.notices.bar = ProgressBar::hidden();
        }
        progress
    }

    /// Where to print while this progress is shown.
    pub(crate) fn notices(&self) -> Notices {
        self.notices.clone()
    }

    /// How long the run has taken so far.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The run has come this far.
    pub(crate) fn update(&mut self, input_position: u64, totals: Totals) {
        let Some(due) = self.next_line else {
            let bar = &self.notices.bar;
            bar.set_position(input_position);
            bar.set_message(totals.over(self.elapsed()).to_string());
            return;
        };
        let now = Instant::now();
        if now >= due {
            self.next_line = Some(now + LINE_INTERVAL);
            say::note(&totals.over(self.elapsed()).to_string());
        }
    }

    /// Takes the bar away, for the line that ends the run.
    pub(crate) fn clear(&self) {
        self.notices.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_count_messages_and_their_bytes_without_prefixes() {
        let mut totals = Totals::default();
        totals.add(&FrameBatch::encode(["abc", "", "d"]).expect("small"));
        totals.add(&FrameBatch::encode(["ef"]).expect("small"));
        assert_eq!(
            totals,
            Totals {
                messages: 4,
                bytes: 6
            }
        );
    }

    #[test]
    fn a_summary_reads_as_a_sentence() {
        let summary = |messages, millis| {
            Totals {
                messages,
                bytes: 2048,
            }
            .over(Duration::from_millis(millis))
            .to_string()
        };
        assert_eq!(
            summary(2470, 500),
            "2,470 messages (2.00 KiB) in 0.50 s, 4,940 a second"
        );
        assert_eq!(
            summary(1, 2000),
            "1 message (2.00 KiB) in 2.00 s, 0.5 a second"
        );
        assert_eq!(summary(1, 0), "1 message (2.00 KiB) in 0.00 s");
    }
}
