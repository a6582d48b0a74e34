//! How a connection of wire version 2 begins (PROTOCOL.md, section "Opting in"): the options of a role line, and
//! the line that answers it.
//!
//! ```text
//! client:  CONSUMER topic=gpu.* group=store ack=1\n        options.rs, parse.rs, text.rs
//! broker:  OK v=2 server=message-queue/0.2.0 …\n            answer.rs
//! ```

mod answer;
mod options;
mod parse;
mod text;

pub use answer::{Accepted, Answer, BadAnswer, Safety};
pub use options::{
    Common, ConsumerOptions, Identity, MAX_HEARTBEAT, MAX_POSITION, MAX_PREFETCH, MAX_SESSION,
    ProducerOptions, RoleOptions, Share, Start,
};
pub use parse::{BadOption, BadOptionKind};
