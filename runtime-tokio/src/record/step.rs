//! One step of the driver: what the core was told, and what it then asked for.

use super::codec::{In, Malformed, Out};
use super::payload::Kept;
use message_queue_core::wire::Role;
use message_queue_core::{
    Broker, CloseReason, ConnId, Count, DropReason, GroupId, Input, Now, Output,
};
use std::time::Duration;

/// One step: inputs that came together, then all the outputs that they led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub now: Now,
    /// What the core was told, in order.
    pub fed: Vec<Fed>,
    /// What it asked for, in order.
    pub outcomes: Vec<Outcome>,
    /// Whether the step came to its end. If not, the broker ended within it: the core panicked.
    pub ended: bool,
}

/// One thing that the core was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fed {
    /// [`Broker::handle_input`].
    Input(ConnId, Input),
    /// [`Broker::handle_timeout`].
    Timeout,
    /// [`Broker::drain`].
    Drain(Duration),
}

/// One [`Output`], with a digest in place of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// [`Output::Write`].
    Write {
        /// The consumer.
        conn: ConnId,
        /// What the write holds.
        count: Count,
        /// Of its messages, in order; by what is kept of them.
        digest: u64,
    },
    /// [`Output::Close`].
    Close {
        /// The connection.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// [`Output::Pause`].
    Pause {
        /// The producer.
        conn: ConnId,
    },
    /// [`Output::Resume`].
    Resume {
        /// The producer.
        conn: ConnId,
    },
    /// [`Output::Registered`].
    Registered {
        /// The connection.
        conn: ConnId,
        /// Its role.
        role: Role,
    },
    /// [`Output::Dropped`].
    Dropped {
        /// The group that lost them; none if there was no group.
        group: Option<GroupId>,
        /// Why.
        reason: DropReason,
        /// How many.
        count: Count,
    },
}

impl Fed {
    /// Tells `broker` the same.
    ///
    /// # Panics
    /// If the broker does.
    pub fn feed(self, broker: &mut Broker, now: Now) {
        match self {
            Self::Input(conn, input) => broker.handle_input(conn, input, now),
            Self::Timeout => broker.handle_timeout(now),
            Self::Drain(timeout) => broker.drain(timeout, now),
        }
    }
}

impl Outcome {
    /// What is kept of an output.
    pub fn of(output: &Output, kept: &Kept) -> Self {
        match output {
            Output::Write { conn, write } => Self::Write {
                conn: *conn,
                count: write.count(),
                digest: kept.digest(write),
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
                count: *count,
            },
        }
    }
}

impl Kept {
    pub(super) fn put_step(&self, out: &mut Out, step: &Step) {
        let Step {
            now,
            fed,
            outcomes,
            ended,
        } = step;
        out.now(*now);
        out.size(fed.len());
        for fed in fed {
            self.put_fed(out, fed);
        }
        out.size(outcomes.len());
        for outcome in outcomes {
            put_outcome(out, outcome);
        }
        out.flag(*ended);
    }

    pub(super) fn step(&self, input: &mut In<'_>) -> Result<Step, Malformed> {
        Ok(Step {
            now: input.now()?,
            fed: input.list(|input| self.fed(input))?,
            outcomes: input.list(outcome)?,
            ended: input.flag()?,
        })
    }

    fn put_fed(&self, out: &mut Out, fed: &Fed) {
        let (conn, input) = match fed {
            Fed::Timeout => return out.byte(0),
            Fed::Drain(timeout) => {
                out.byte(1);
                return out.duration(*timeout);
            }
            Fed::Input(conn, input) => (conn, input),
        };
        let kind = match input {
            Input::Opened => 2,
            Input::Role(_) => 3,
            Input::Batch(_) => 4,
            Input::Written(_) => 5,
            Input::Broke(_) => 6,
            Input::PeerClosed => 7,
            Input::PeerReset => 8,
            Input::NothingToRead => 9,
        };
        out.byte(kind);
        out.conn(*conn);
        match input {
            Input::Role(role) => out.role(*role),
            Input::Batch(batch) => self.put_batch(out, batch),
            Input::Written(bytes) => out.size(*bytes),
            Input::Broke(error) => out.close_reason(CloseReason::Protocol(*error)),
            Input::Opened | Input::PeerClosed | Input::PeerReset | Input::NothingToRead => {}
        }
    }

    fn fed(&self, input: &mut In<'_>) -> Result<Fed, Malformed> {
        let kind = input.byte()?;
        match kind {
            0 => return Ok(Fed::Timeout),
            1 => return input.duration().map(Fed::Drain),
            _ => {}
        }
        let conn = input.conn()?;
        let told = match kind {
            2 => Input::Opened,
            3 => Input::Role(input.role()?),
            4 => Input::Batch(self.batch(input)?),
            5 => Input::Written(input.size()?),
            6 => {
                let CloseReason::Protocol(error) = input.close_reason()? else {
                    return Err(Malformed("error of a peer"));
                };
                Input::Broke(error)
            }
            7 => Input::PeerClosed,
            8 => Input::PeerReset,
            9 => Input::NothingToRead,
            _ => return Err(Malformed("kind of input")),
        };
        Ok(Fed::Input(conn, told))
    }
}

fn put_outcome(out: &mut Out, outcome: &Outcome) {
    match outcome {
        Outcome::Write {
            conn,
            count,
            digest,
        } => {
            out.byte(0);
            out.conn(*conn);
            out.count(*count);
            out.raw(&digest.to_be_bytes());
        }
        Outcome::Close { conn, reason } => {
            out.byte(1);
            out.conn(*conn);
            out.close_reason(*reason);
        }
        Outcome::Pause { conn } => {
            out.byte(2);
            out.conn(*conn);
        }
        Outcome::Resume { conn } => {
            out.byte(3);
            out.conn(*conn);
        }
        Outcome::Registered { conn, role } => {
            out.byte(4);
            out.conn(*conn);
            out.role(*role);
        }
        Outcome::Dropped {
            group,
            reason,
            count,
        } => {
            out.byte(5);
            out.option(*group, Out::group);
            out.drop_reason(*reason);
            out.count(*count);
        }
    }
}

fn outcome(input: &mut In<'_>) -> Result<Outcome, Malformed> {
    Ok(match input.byte()? {
        0 => Outcome::Write {
            conn: input.conn()?,
            count: input.count()?,
            digest: {
                let bytes = input.raw(8)?.try_into();
                u64::from_be_bytes(bytes.map_err(|_| Malformed("digest"))?)
            },
        },
        1 => Outcome::Close {
            conn: input.conn()?,
            reason: input.close_reason()?,
        },
        2 => Outcome::Pause {
            conn: input.conn()?,
        },
        3 => Outcome::Resume {
            conn: input.conn()?,
        },
        4 => Outcome::Registered {
            conn: input.conn()?,
            role: input.role()?,
        },
        5 => Outcome::Dropped {
            group: input.option(In::group)?,
            reason: input.drop_reason()?,
            count: input.count()?,
        },
        _ => return Err(Malformed("kind of output")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use message_queue_core::ProtocolError;
    use message_queue_core::wire::FrameBatch;

    /// A step with every kind of input and of output.
    fn everything() -> Step {
        let conn = ConnId(300);
        let count = Count::new(3, 1 << 20);
        let batch = FrameBatch::encode(["a", "", "bcd"]).unwrap();
        let inputs = [
            Input::Opened,
            Input::Role(Role::Producer),
            Input::Role(Role::Consumer),
            Input::Batch(batch),
            Input::Written(70_000),
            Input::Broke(ProtocolError::FrameTooLarge { length: 1 << 30 }),
            Input::PeerClosed,
            Input::PeerReset,
            Input::NothingToRead,
        ];
        let mut fed: Vec<Fed> = inputs.map(|input| Fed::Input(conn, input)).into();
        fed.extend([Fed::Timeout, Fed::Drain(Duration::from_millis(1500))]);
        let outcomes = vec![
            Outcome::Write {
                conn,
                count,
                digest: u64::MAX - 1,
            },
            Outcome::Close {
                conn,
                reason: CloseReason::WriteTimeout,
            },
            Outcome::Pause { conn },
            Outcome::Resume { conn },
            Outcome::Registered {
                conn,
                role: Role::Consumer,
            },
            Outcome::Dropped {
                group: Some(GroupId::Own(conn)),
                reason: DropReason::Shutdown,
                count,
            },
            Outcome::Dropped {
                group: None,
                reason: DropReason::NoConsumer,
                count,
            },
        ];
        Step {
            now: Now::at(Duration::new(1, 5)),
            fed,
            outcomes,
            ended: true,
        }
    }

    #[test]
    fn a_step_comes_back_and_one_that_is_cut_short_does_not() {
        let mut out = Out::default();
        Kept::Whole.put_step(&mut out, &everything());
        assert_eq!(Kept::Whole.step(&mut In(&out.0)), Ok(everything()));
        for length in 0..out.0.len() {
            let cut = Kept::Whole.step(&mut In(&out.0[..length]));
            assert!(cut.is_err(), "{length} bytes");
        }
    }
}
