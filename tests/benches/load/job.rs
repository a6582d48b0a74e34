//! What a run is to do, and what came of it.

use std::fmt;
use std::time::Duration;

/// To whom a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Broadcast,
    Queue,
}

/// One run's work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) delivery: Delivery,
    pub(crate) producers: usize,
    pub(crate) consumers: usize,
    /// Consumers more, which never read.
    pub(crate) stuck: usize,
    /// The size of a message in bytes.
    pub(crate) size: usize,
    /// Producers write one batch every so often; none is as fast as they can.
    pub(crate) pace: Option<Duration>,
    /// Whether ours drops what has no place; or else it holds producers back.
    pub(crate) drops: bool,
    /// Whether messages are on the disk, and safe, before they are confirmed; or else they are in memory.
    pub(crate) stored: bool,
}

/// What came of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// Messages that consumers were to receive.
    pub(crate) expected: u64,
    /// Messages that they received.
    pub(crate) delivered: u64,
    /// From the first message sent to the last one received.
    pub(crate) elapsed: Duration,
    /// The broker's time on a CPU.
    pub(crate) cpu: Duration,
    /// The most memory of the broker, in bytes.
    pub(crate) peak: usize,
}

impl Job {
    /// One producer, one consumer, small messages, and none lost.
    pub(crate) const fn new(delivery: Delivery) -> Self {
        Self {
            delivery,
            producers: 1,
            consumers: 1,
            stuck: 0,
            size: 128,
            pace: None,
            drops: false,
            stored: false,
        }
    }

    /// So many consumers, and messages of so many bytes.
    pub(crate) const fn of((delivery, consumers, size): (Delivery, usize, usize)) -> Self {
        Self {
            consumers,
            size,
            ..Self::new(delivery)
        }
    }

    /// How many consumers are to receive each message.
    pub(crate) const fn copies(&self) -> u64 {
        match self.delivery {
            Delivery::Broadcast => self.consumers as u64,
            Delivery::Queue => 1,
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            delivery,
            consumers,
            size,
            ..
        } = self;
        let delivery = match delivery {
            Delivery::Broadcast => "fan-out",
            Delivery::Queue => "queue",
        };
        write!(f, "{delivery} to {consumers}, {size} B")
    }
}

impl Figures {
    /// Messages delivered in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.delivered as f64 / self.elapsed.as_secs_f64()
    }

    /// CPU-seconds of the broker for a million messages delivered.
    pub(crate) fn cpu_per_million(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.delivered as f64
    }

    /// Messages that did not come.
    pub(crate) const fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.delivered)
    }
}
