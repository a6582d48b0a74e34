//! How a client command runs: its runtime, its signals, its exit code.

use super::exit::Exit;
use super::say;
use std::error::Error;
use std::io;
use std::process::ExitCode;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Runs a command on the calling thread and makes its outcome an exit code.
pub(crate) fn run<E>(command: impl Future<Output = Result<Exit, E>>) -> ExitCode
where
    E: Error + From<io::Error>,
{
    let outcome = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let outcome = runtime.block_on(command);
            // A look-up of a name cannot be ended, and nobody waits for it any more.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => failure(&error),
    }
}

/// The end of a command that was called in a way that is not allowed.
pub(crate) fn bad_usage(error: &dyn Error) -> ExitCode {
    say::error(error);
    Exit::BadUsage.into()
}

/// The end of a command that cannot do what it was told.
pub(crate) fn failure(error: &dyn Error) -> ExitCode {
    say::error(error);
    Exit::Failed.into()
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

    /// Waits for a signal that was not yet waited for. Returns how a command ends that loses
    /// nothing by it.
    pub(crate) async fn requested(&mut self) -> Exit {
        tokio::select! {
            _ = self.interrupt.recv() => Exit::Interrupted,
            _ = self.terminate.recv() => Exit::Terminated,
        }
    }
}
