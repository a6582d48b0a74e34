//! What the clients of a broker do, step by step.

use message_queue_core::Config;
use message_queue_core::wire::DecoderConfig;
use std::fmt;
use std::time::Duration;

/// A run of a broker, from its clients' side.
#[derive(Debug)]
pub(crate) struct Script {
    /// The broker's settings.
    pub(crate) config: Config,
    /// The bounds of its decoders.
    pub(crate) decoder: DecoderConfig,
    /// What happens, then a drain.
    pub(crate) steps: Vec<Step>,
    /// What happens just before the drain, without waiting for what comes of it.
    pub(crate) last: Vec<Action>,
    /// The time that the drain is given.
    pub(crate) drain: Duration,
    /// Whether it is settled which consumer gets which message: not where two share a queue, for
    /// then it depends on how the network cuts the bytes.
    pub(crate) shared: bool,
}

/// Some actions, one right after the other, and then a wait for all that comes of them.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) actions: Vec<Action>,
    pub(crate) effect: Effect,
}

/// What comes of a step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Effect {
    /// Whole frames that the broker takes in.
    pub(crate) frames: u64,
    /// Connections that are registered, and connections that end.
    pub(crate) outcomes: u64,
}

/// What one client does. Clients are numbered as they connect.
#[derive(Debug)]
pub(crate) enum Action {
    /// The next client connects.
    Connect,
    /// It sends this, in one write where the socket takes it.
    Send(usize, Bytes),
    /// It reads no more until the drain.
    StopReading(usize),
    /// It ends its side of the stream.
    HalfClose(usize),
    /// It is gone, with a reset.
    Reset(usize),
}

/// Bytes that are short to print.
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Script {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            decoder: DecoderConfig {
                role_line_bytes: 64,
                ..DecoderConfig::default()
            },
            steps: Vec::new(),
            last: Vec::new(),
            drain: Duration::from_secs(60),
            shared: false,
        }
    }

    /// Adds a step.
    pub(crate) fn step(&mut self, actions: Vec<Action>, frames: u64, outcomes: u64) {
        self.steps.push(Step {
            actions,
            effect: Effect { frames, outcomes },
        });
    }
}

impl Action {
    pub(crate) fn send(client: usize, bytes: impl Into<Vec<u8>>) -> Self {
        Self::Send(client, Bytes(bytes.into()))
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get(..48) {
            None => write!(f, "b\"{}\"", self.0.escape_ascii()),
            Some(front) => write!(f, "{} bytes: b\"{}…", self.0.len(), front.escape_ascii()),
        }
    }
}
