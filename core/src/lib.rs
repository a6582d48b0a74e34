//! A message broker as a pure state machine.
//!
//! [`Broker`] owns all connections. The runtime feeds it typed [`Input`]s and polls typed
//! [`Output`]s; it holds no socket, clock, thread, file or source of randomness, so the same code
//! runs under tokio, as WebAssembly and in deterministic simulation, and a run is a function of
//! its inputs alone.
//!
//! Read it in the order in which data flows:
//!
//! ```text
//! bytes ─▶ Decoder ─▶ FrameBatch ─▶ Session ─▶ Topic ─▶ Group ─▶ Backlog ─▶ Outbox ─▶ bytes
//!          wire/       wire/        session/   topic/    group/   group/     session/
//! ```
//!
//! `broker/` leads from inputs to outputs, and `shared.rs` is what all topics have in common.
//!
//! - **A batch is the unit of flow** ([`wire::FrameBatch`]): a run of whole frames, exactly as
//!   they came off the wire. It is forwarded without being copied or encoded again; it is split,
//!   between frames, only where a decision is per message.
//! - **One model for both modes.** A topic fans a message out to its groups; a group hands each
//!   message to one of its members. In `broadcast` each consumer is a group of its own; in `queue`
//!   one group is joined by all and outlives them.
//! - **At most one write is in flight to a consumer.** The next is handed out after
//!   [`Input::Written`], so the backlog here is the only buffer and its bound is the real bound.
//! - **Every message is accounted for**: what is offered to a group is delivered, waiting, or
//!   counted under one [`DropReason`].

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod broker;
mod budget;
pub mod client;
mod config;
mod error;
mod group;
mod id;
mod ledger;
pub mod names;
#[cfg(planted_bugs)]
pub mod planted;
mod session;
mod shared;
mod stats;
mod time;
mod timers;
mod topic;
pub mod wire;

pub use broker::{Broker, Checkpoint, ConnectionView, ConsumerView, GroupView, Input, Output};
pub use config::{Config, ConfigError, DeliveryMode, Overflow};
pub use error::{CloseReason, DropReason, ProtocolError};
pub use id::{ConnId, DEFAULT_TOPIC, GroupId, TopicId};
pub use stats::{Count, Flow, Stats};
pub use time::Now;
pub use wire::Write;
