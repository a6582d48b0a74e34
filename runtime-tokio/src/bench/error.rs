//! Why a run came to nothing.

use super::plan::PlanError;
use std::io;
use std::time::Duration;

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The run is not possible.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The broker or relay could not be started.
    #[error("cannot start the {kind}: {reason}")]
    Start {
        /// Which of them.
        kind: &'static str,
        /// What it said, or the system.
        reason: String,
    },
    /// A client could not connect.
    #[error("cannot connect to {addr}: {source}")]
    Connect {
        /// Where.
        addr: String,
        /// Why not.
        source: io::Error,
    },
    /// A connection failed.
    #[error("{client}: {source}")]
    Client {
        /// Whose.
        client: String,
        /// How.
        source: io::Error,
    },
    /// An engine, or a bare client of it, failed.
    #[error("{engine}: {what}")]
    Engine {
        /// As `STORAGE` names it.
        engine: &'static str,
        /// What it said.
        what: String,
    },
    /// A connection was closed before the end.
    #[error("{0}: the connection was closed before the end")]
    Closed(String),
    /// The broker does not deliver to each consumer.
    #[error("after {0:?} there are still consumers that receive nothing; are they let in?")]
    NotReady(Duration),
    /// Nothing moves any more.
    #[error("nothing was sent or received for {0:?}, and the producers are not done")]
    Stalled(Duration),
    /// Something was received that was not sent.
    #[error("consumer {consumer}: {what}")]
    NotSent {
        /// Which consumer.
        consumer: usize,
        /// What is wrong.
        what: String,
    },
    /// Messages were lost, and whoever was full was to hold producers back instead.
    #[error("{0} messages were lost, and with --overflow block none may be")]
    Lost(u64),
    /// The system did not give a thread, or something else that a run needs.
    #[error(transparent)]
    System(#[from] io::Error),
    /// A client has a bug.
    #[error("a client panicked")]
    Panicked,
}
