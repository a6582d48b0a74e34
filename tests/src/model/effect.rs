//! What a broker does, message by message.

use message_queue_core::wire::Role;
use message_queue_core::{CloseReason, ConnId, DropReason, GroupId, Output};

/// One thing that a broker does: an [`Output`] of the core, taken apart into messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// These messages go out to a consumer, in this order.
    Write {
        /// The consumer.
        conn: ConnId,
        /// The messages.
        messages: Vec<Vec<u8>>,
    },
    /// A connection ends.
    Close {
        /// The connection.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// A producer is not read from.
    Pause {
        /// The producer.
        conn: ConnId,
    },
    /// A producer is read from again.
    Resume {
        /// The producer.
        conn: ConnId,
    },
    /// A connection has taken up its role.
    Registered {
        /// The connection.
        conn: ConnId,
        /// Its role.
        role: Role,
    },
    /// Messages are lost.
    Dropped {
        /// The group that loses them; none if there was no group.
        group: Option<GroupId>,
        /// Why.
        reason: DropReason,
        /// How many messages.
        messages: usize,
        /// The bytes of their frames.
        bytes: usize,
    },
}

impl From<&Output> for Effect {
    fn from(output: &Output) -> Self {
        match output {
            Output::Write { conn, write } => Self::Write {
                conn: *conn,
                messages: write
                    .batches()
                    .iter()
                    .flat_map(|batch| batch.bodies())
                    .map(|body| body.to_vec())
                    .collect(),
            },
            Output::Close { conn, reason } => Self::Close {
                conn: *conn,
                reason: *reason,
            },
            Output::Pause { conn } => Self::Pause { conn: *conn },
            Output::Resume { conn } => Self::Resume { conn: *conn },
            Output::Registered { conn, role } => Self::Registered {
                conn: *conn,
                role: *role,
            },
            Output::Dropped {
                group,
                reason,
                count,
            } => Self::Dropped {
                group: *group,
                reason: *reason,
                messages: count.messages as usize,
                bytes: count.bytes as usize,
            },
        }
    }
}
