//! How a client command runs: its runtime, its signals, its exit code.

use std::error::Error;
use std::io;
use std::process::ExitCode;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code for a flag that is not allowed; clap uses the same.
const BAD_USAGE: u8 = 2;

/// Runs a command on the calling thread and makes its outcome an exit code.
pub(crate) fn run<E>(command: impl Future<Output = Result<(), E>>) -> ExitCode
where
    E: Error + From<io::Error>,
{
    let outcome = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// The end of a command that was called in a way that is not allowed.
pub(crate) fn bad_usage(error: &dyn Error) -> ExitCode {
    complain(error);
    ExitCode::from(BAD_USAGE)
}

/// The end of a command that cannot do what it was told.
pub(crate) fn failure(error: &dyn Error) -> ExitCode {
    complain(error);
    ExitCode::FAILURE
}

fn complain(error: &dyn Error) {
    eprintln!("error: {error}");
}

/// The user's wish to end: SIGINT (Ctrl-C) or SIGTERM.
#[derive(Debug)]
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// From now on the signals no longer end the process by themselves.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for a signal that was not yet waited for.
    pub(crate) async fn requested(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
