//! What a run is to do.

use super::guarantees::{Guarantees, MAX_WINDOW};
use super::handshakes::MAX_HANDSHAKES;
use super::message::{STAMP_SIZE, VERIFIED_SIZE};
use message_queue_core::wire::{LENGTH_PREFIX, MAX_FRAME_BODY};
use message_queue_core::{DeliveryMode, Overflow};
use std::ffi::OsString;
use std::time::Duration;

/// The most producers, and the most consumers: each is a thread.
pub const MAX_CLIENTS: usize = 10_000;

/// The default of [`Plan::write_bytes`].
pub const WRITE_BYTES: usize = 256 << 10;

/// What may be on its way from all producers together, in bytes, as far as it is up to them. Left to
/// the kernel, a thousand could take all the memory that the machine has for TCP, and bring
/// everybody's connections to a stop.
const SEND_BUFFERS: usize = 64 << 20;

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// To whom a message goes.
    pub delivery: DeliveryMode,
    /// What the broker does with a message for which there is no room.
    pub overflow: Overflow,
    /// How many producers there are; 1 to [`MAX_CLIENTS`].
    pub producers: usize,
    /// How many consumers there are; 1 to [`MAX_CLIENTS`].
    pub consumers: usize,
    /// The size of each message's body, in bytes; 1 to 1,048,576.
    pub size: usize,
    /// When it ends.
    pub volume: Volume,
    /// How much a producer writes in one go, in bytes, unless a single frame is larger; at least 1.
    pub write_bytes: usize,
    /// Messages a second, of all producers together; none is as many as they can.
    pub rate: Option<f64>,
    /// What consumers do with what they receive.
    pub reading: Reading,
    /// How much the relay reads at a time, in bytes; at least 1.
    pub relay_read: usize,
    /// What clients do beyond version 1.
    pub guarantees: Guarantees,
    /// Where a broker that is started for the run keeps its topics.
    pub storage: Storage,
    /// How clients connect.
    pub transport: Transport,
}

/// How clients connect to a broker or relay that is started for a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Plainly.
    #[default]
    Plain,
    /// With TLS.
    Tls,
    /// Plainly, and a broker has a port for TLS beside that.
    PlainBesideTls,
}

/// Where a broker that is started for a run keeps its topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// Where its settings in the environment say.
    #[default]
    AsSet,
    /// In memory.
    Memory,
    /// Where these settings say: names and values.
    Stored(Vec<(&'static str, OsString)>),
}

/// When producers stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volume {
    /// After so many messages, of all producers together.
    Messages(u64),
    /// After so long.
    Time(Duration),
}

impl Volume {
    /// How many messages one producer may still send that has sent so many in so long.
    pub(super) fn left(self, sent: u64, elapsed: Duration) -> u64 {
        match self {
            Self::Messages(messages) => messages - sent,
            Self::Time(time) if elapsed < time => u64::MAX,
            Self::Time(_) => 0,
        }
    }
}

/// What consumers do with what they receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// Count bytes. All that is possible behind a relay, which cuts messages anywhere.
    Count,
    /// Walk from length to length, and measure the latency of messages that carry the time.
    #[default]
    Walk,
    /// Check every byte, the order, and that nothing comes twice.
    Verify,
}

/// A run that is not possible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Too few or too many clients of one kind.
    #[error("{name}: {value} is not allowed: use 1 to {MAX_CLIENTS}")]
    Clients {
        /// Which.
        name: &'static str,
        /// How many.
        value: usize,
    },
    /// Messages that are too small or too large.
    #[error("--size: {size} is not allowed: use {least} to {MAX_FRAME_BODY}{why}")]
    Size {
        /// Their size in bytes.
        size: usize,
        /// The least that is possible.
        least: usize,
        /// What asks for it.
        why: &'static str,
    },
    /// A rate that is none.
    #[error("--rate: {0} is not allowed: use a number above 0")]
    Rate(String),
    /// A time that is none.
    #[error("--seconds: {0} is not allowed: use a number above 0")]
    Seconds(String),
    /// No messages.
    #[error("--messages: 0 is not allowed: use a number above 0")]
    NoMessages,
    /// Nothing to hold against version 1.
    #[error(
        "--version-1 needs --confirm, --ack or both: it holds them against the same job without"
    )]
    NoGuarantee,
    /// A relay has neither confirms nor acknowledgements.
    #[error("--matrix with --confirm or --ack needs --version-1: a relay does neither")]
    NoYardstick,
    /// Handshakes that are none, or more than there can be.
    #[error("--handshakes: {0} is not allowed: use a number above 0, up to {MAX_HANDSHAKES}")]
    Handshakes(String),
    /// A window that is none.
    #[error("--window: {0} is not allowed: use 1 to {MAX_WINDOW}")]
    Window(u32),
    /// A folder in which nothing can be kept.
    #[error("--storage: {0}")]
    Folder(String),
    /// An engine that cannot be measured by this build.
    #[error(
        "--engine: {0} is not allowed: it is not in this build; `cargo build --release --features {0}` makes one that \
         has it"
    )]
    NoEngine(&'static str),
    /// A job that this engine has not: what it is, and the jobs that it has.
    #[error("--engine: {0} is not allowed with this job: use --job {1}")]
    NotOfEngine(&'static str, &'static str),
    /// An engine with a folder, and none was named.
    #[error("--engine: {0} is not allowed without --storage DIR: it keeps its topics in a folder")]
    NeedsFolder(&'static str),
    /// A folder for an engine that has none.
    #[error("--storage: it is not allowed with --engine {0}, which keeps nothing in a folder")]
    NoFolder(&'static str),
    /// It is not said where the engine is.
    #[error("{0}: it is not set; set it as for a broker with STORAGE={1}")]
    Nowhere(&'static str, &'static str),
    /// Settings of the environment that say where the engine is, and are not allowed.
    #[error("{0}")]
    Settings(String),
    /// An address that is none.
    #[error("BROKER_ADDR: {0}")]
    Address(String),
}

impl Plan {
    /// Checks the bounds that the fields state.
    ///
    /// # Errors
    /// The first that is not kept.
    pub fn check(&self) -> Result<(), PlanError> {
        for (name, value) in [
            ("--producers", self.producers),
            ("--consumers", self.consumers),
        ] {
            if !(1..=MAX_CLIENTS).contains(&value) {
                return Err(PlanError::Clients { name, value });
            }
        }
        if let Some(rate) = self.rate
            && !(rate.is_finite() && rate > 0.0)
        {
            return Err(PlanError::Rate(rate.to_string()));
        }
        let (least, why) = match (self.reading, self.rate) {
            (Reading::Verify, _) => (VERIFIED_SIZE, " with --verify"),
            (Reading::Walk, Some(_)) => (STAMP_SIZE, " with --rate"),
            (Reading::Walk, None) | (Reading::Count, _) => (1, ""),
        };
        if !(least..=MAX_FRAME_BODY).contains(&self.size) {
            let size = self.size;
            return Err(PlanError::Size { size, least, why });
        }
        let window = self.guarantees.window;
        if self.guarantees.any() && !(1..=MAX_WINDOW).contains(&window) {
            return Err(PlanError::Window(window));
        }
        match self.volume {
            Volume::Messages(0) => Err(PlanError::NoMessages),
            Volume::Time(Duration::ZERO) => Err(PlanError::Seconds("0".to_owned())),
            Volume::Messages(_) | Volume::Time(_) => Ok(()),
        }
    }

    /// The bytes that one message takes on the wire.
    pub const fn frame_size(&self) -> usize {
        LENGTH_PREFIX + self.size
    }

    /// How many messages a producer writes in one go at the most; at least 1. With confirms it is half
    /// of the window, so that one half is on its way while the other is confirmed.
    pub(super) fn batch_messages(&self) -> usize {
        let most = self.write_bytes / self.frame_size();
        let half = if self.guarantees.confirm {
            self.guarantees.window as usize / 2
        } else {
            usize::MAX
        };
        most.min(half).max(1)
    }

    /// How many messages may be unconfirmed when so many more are sent.
    pub(super) fn window_beside(&self, messages: usize) -> u64 {
        u64::from(self.guarantees.window).saturating_sub(messages as u64)
    }

    /// The size of each producer's send buffer in bytes; none leaves it to the kernel.
    pub(super) fn send_buffer(&self) -> Option<usize> {
        let share = SEND_BUFFERS / self.producers;
        (share < 1 << 20).then_some(share)
    }

    /// How many consumers are to receive each message.
    pub(super) const fn copies(&self) -> u64 {
        match self.delivery {
            DeliveryMode::Broadcast => self.consumers as u64,
            DeliveryMode::Queue => 1,
        }
    }

    /// How many messages producer number `producer` is to send, if that is what ends the run.
    pub(super) const fn share(&self, producer: usize) -> Option<u64> {
        match self.volume {
            Volume::Messages(messages) => {
                let (producers, producer) = (self.producers as u64, producer as u64);
                let one_more = producer < messages % producers;
                Some(messages / producers + one_more as u64)
            }
            Volume::Time(_) => None,
        }
    }
}

/// The value of the setting that chooses this mode.
pub(super) const fn delivery_name(delivery: DeliveryMode) -> &'static str {
    match delivery {
        DeliveryMode::Broadcast => "broadcast",
        DeliveryMode::Queue => "queue",
    }
}

/// The value of the setting that chooses this.
pub(super) const fn overflow_name(overflow: Overflow) -> &'static str {
    match overflow {
        Overflow::Drop => "drop",
        Overflow::Block => "block",
        Overflow::Reject => "reject",
        Overflow::DropOldest => "drop_oldest",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            delivery: DeliveryMode::Broadcast,
            overflow: Overflow::Block,
            producers: 3,
            consumers: 2,
            size: 128,
            volume: Volume::Messages(11),
            write_bytes: WRITE_BYTES,
            rate: None,
            reading: Reading::Walk,
            relay_read: 1 << 20,
            guarantees: Guarantees::default(),
            storage: Storage::AsSet,
            transport: Transport::Plain,
        }
    }

    #[test]
    fn producers_share_the_messages_to_the_last_one() {
        let plan = plan();
        let shares: Vec<_> = (0..3).map(|producer| plan.share(producer)).collect();
        assert_eq!(shares, [Some(4), Some(4), Some(3)]);
    }

    #[test]
    fn many_producers_have_small_send_buffers() {
        let of = |producers| {
            Plan {
                producers,
                ..plan()
            }
            .send_buffer()
        };
        assert_eq!([of(1), of(64)], [None, None]);
        assert_eq!(of(1000), Some(67_108));
    }

    #[test]
    fn a_bound_that_is_not_kept_is_named_with_what_is_allowed() {
        let said = |change: fn(&mut Plan)| {
            let mut plan = plan();
            change(&mut plan);
            plan.check().expect_err("not possible").to_string()
        };
        assert_eq!(
            said(|plan| plan.consumers = 0),
            "--consumers: 0 is not allowed: use 1 to 10000"
        );
        assert_eq!(
            said(|plan| plan.size = 1 << 21),
            "--size: 2097152 is not allowed: use 1 to 1048576"
        );
        assert_eq!(
            said(|plan| (plan.size, plan.rate) = (4, Some(1.0))),
            "--size: 4 is not allowed: use 8 to 1048576 with --rate"
        );
        assert_eq!(
            said(|plan| (plan.size, plan.reading) = (19, Reading::Verify)),
            "--size: 19 is not allowed: use 20 to 1048576 with --verify"
        );
        assert_eq!(
            said(|plan| plan.guarantees.ack = true),
            "--window: 0 is not allowed: use 1 to 1000000"
        );
        assert_eq!(
            said(|plan| plan.rate = Some(f64::NAN)),
            "--rate: NaN is not allowed: use a number above 0"
        );
        assert_eq!(
            said(|plan| plan.volume = Volume::Messages(0)),
            "--messages: 0 is not allowed: use a number above 0"
        );
        assert_eq!(plan().check(), Ok(()));
    }
}
