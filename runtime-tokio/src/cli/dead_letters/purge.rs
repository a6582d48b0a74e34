//! `message-queue dead-letters purge`.

use super::letters::Letters;
use super::{AtMost, DeadLettersError, ELSEWHERE, Which, say_newer};
use crate::cli::asking::{self, Confirmation};
use crate::cli::exit::Exit;
use crate::cli::progress::{Messages, Progress, Totals};
use crate::cli::run::{self, Stop};
use crate::cli::say;
use crate::client::acked::Gone;
use std::io;
use std::process::ExitCode;

/// How many are held at a time, and their bytes.
const AT_ONCE: u32 = 10_000;
const BYTES: u32 = 64 << 20;

/// Throw dead letters away
///
/// What comes to T.dead after this has begun stays. If it is ended before its end, what it has not yet
/// thrown away stays, too. Asks first, unless --yes is given.
#[derive(Debug, clap::Args)]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    at_most: AtMost,

    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: &PurgeArgs) -> ExitCode {
    match asking::may_ask(args.yes) {
        Ok(()) => run::run(purge(args)),
        Err(error) => run::bad_usage(&error),
    }
}

async fn purge(args: &PurgeArgs) -> Result<Exit, DeadLettersError> {
    let mut stop = Stop::listen()?;
    let mut letters = tokio::select! {
        letters = Letters::open(&args.which, args.at_most.most(), AT_ONCE, BYTES) => letters?.without_newer(),
        exit = stop.requested() => return Ok(exit),
    };
    let question = question(&letters, &args.which);
    let yes = args.yes || letters.limit() == 0;
    let asked = tokio::task::spawn_blocking(move || asking::confirm(&question, yes));
    let confirmation = tokio::select! {
        answer = asked => answer.map_err(io::Error::other)??,
        exit = stop.requested() => return Ok(exit),
    };
    if confirmation == Confirmation::No {
        letters.close().await;
        say::note("nothing was thrown away");
        return Ok(Exit::Failed);
    }
    let mut purging = Purging {
        progress: Progress::start(None),
        settled: Totals::default(),
        known: 0,
    };
    let (outcome, told) = tokio::select! {
        outcome = purging.all(&mut letters) => (outcome, None),
        exit = stop.requested() => (Ok(()), Some(exit)),
    };
    purging.progress.clear();
    outcome.map_err(|gone| DeadLettersError::Gone {
        gone,
        done: Messages(purging.known),
        what: "had been thrown away, and perhaps more",
    })?;
    let (elsewhere, newer) = (letters.elsewhere(), letters.newer());
    letters.close().await;
    let elapsed = purging.progress.elapsed();
    say::note(&format!("purged {}", purging.settled.over(elapsed)));
    say_newer(newer);
    if elsewhere > 0 {
        say::note(&format!("{ELSEWHERE}: {}", Messages(elsewhere)));
        return Ok(told.unwrap_or(Exit::Failed));
    }
    Ok(told.unwrap_or(Exit::Done))
}

fn question(letters: &Letters, which: &Which) -> String {
    let dead = which.dead();
    match (letters.found(), letters.limit()) {
        (Some(_), limit) => format!("throw away {} of {dead}?", Messages(limit)),
        (None, u64::MAX) => format!("throw away all that is in {dead}?"),
        (None, limit) => format!("throw away {} of {dead} at most?", Messages(limit)),
    }
}

struct Purging {
    progress: Progress,
    settled: Totals,
    /// How many are known to be gone.
    known: u64,
}

impl Purging {
    async fn all(&mut self, letters: &mut Letters) -> Result<(), Gone> {
        while let Some(batch) = letters.next().await? {
            letters.settle(&batch);
            self.settled.add(&batch.frames);
            self.progress.update(0, self.settled);
            if self.settled.messages - self.known >= u64::from(AT_ONCE) {
                letters.flush().await?;
                self.known = self.settled.messages;
            }
        }
        letters.flush().await?;
        self.known = self.settled.messages;
        Ok(())
    }
}
