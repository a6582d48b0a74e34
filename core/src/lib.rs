//! A message broker as a pure state machine.
//!
//! [`Broker`] owns all connections. The runtime feeds it typed [`Input`]s and polls typed
//! [`Output`]s. It holds no socket, clock, thread, file or source of randomness. So the same code
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
//! | room | holds |
//! |---|---|
//! | [`broker`] | the way from an input to its outputs: connections, dispatch, timeouts, drain, views, checkpoint |
//! | `topic/` | a topic: its groups, its sequence, and the batches that are parked because there is no room |
//! | `group/` | a group: its members, how they share messages, and its backlog |
//! | `session/` | one connection: its state, and the one write in flight to it |
//! | [`wire`] | frames, role lines and, for version 2, handshakes and control frames |
//! | `shared.rs` | what all topics have in common: settings, connections, timers, outputs, counters |
//! | `budget.rs`, `ledger.rs` | the bytes of all topics; one place where a message is added to all its sums |
//! | `unsettled/` | for version 2: what a consumer was sent and has not settled |
//! | [`access`] | who may do what |
//! | [`store`] | what the broker asks of whatever keeps its stored topics, and is answered |
//! | [`log`] | the log of a stored topic, as a state machine of its own |
//! | [`client`], [`names`] | for version 2: producers and consumers as state machines, and the names they give |
//!
//! What it promises:
//!
//! - **A batch is the unit of flow** ([`wire::FrameBatch`]): a run of whole frames, exactly as
//!   they came off the wire. It is forwarded without being copied or encoded again. It is split,
//!   between frames, only where a decision is per message.
//! - **One model for both modes.** A topic fans a message out to its groups; a group hands each
//!   message to one of its members. In `broadcast` each consumer is a group of its own; in `queue`
//!   all consumers join one group, which outlives them.
//! - **At most one write is in flight to a consumer.** The next is handed out after
//!   [`Input::Written`]. So the backlog is the only buffer, and its bound is the real bound.
//! - **A connection is closed in two phases.** After [`Output::Close`] the runtime seals the socket and
//!   answers with [`Input::Sealed`]. Only then does the rest of the write go to other members.
//! - **Every message is accounted for**: what is offered to a group is delivered, waiting, or
//!   counted under one [`DropReason`].

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod access;
pub mod broker;
mod budget;
pub mod client;
mod config;
mod error;
mod group;
mod id;
mod ledger;
pub mod log;
pub mod names;
mod partial;
#[cfg(planted_bugs)]
pub mod planted;
mod session;
mod shared;
mod stats;
pub mod store;
mod time;
mod timers;
mod topic;
mod topic_settings;
mod unsettled;
pub mod wire;

pub use broker::{
    Blocked, Broker, Checkpoint, ConnectionView, ConsumerView, GroupView, Input, Output,
    TopicChange, TopicReport, TopicView,
};
pub use config::{Config, ConfigError, DeliveryMode, Overflow};
pub use error::{CloseReason, DropReason, ProtocolError};
pub use id::{ConnId, DEFAULT_TOPIC, GroupId, TopicId};
pub use stats::{Behind, ByReason, Count, Flow, Stats};
pub use store::{Storage, StoreSettings, StoredTopic};
pub use time::Now;
pub use topic_settings::{NeedsRestart, TopicRule, TopicSettings, TopicsConfig};
pub use wire::Write;
