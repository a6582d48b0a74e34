//! Why `produce` did not hand over everything, and what may be missing of the rest.

use super::connector::{REFUSAL_HINT, hint};
use super::input::InputError;
use super::progress::Messages;
use crate::client::{ConnectError, SendError};
use std::io;

/// Why not everything was handed over.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProduceError {
    #[error("{source}{}", hint(.source))]
    Connect { source: ConnectError },
    #[error("{source}; {REFUSAL_HINT}; {at_risk}")]
    Refused { source: SendError, at_risk: AtRisk },
    #[error("{source}; {at_risk}; --retry goes on when it is back")]
    BrokerGone { source: SendError, at_risk: AtRisk },
    /// After the last message: there is nothing left to send again.
    #[error("{source}; {at_risk}")]
    Unfinished { source: SendError, at_risk: AtRisk },
    /// No broker at any time will take this.
    #[error(transparent)]
    Foreign(SendError),
    #[error("{source}; {handed_over} had been handed over before that")]
    Input {
        source: InputError,
        handed_over: Messages,
    },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How many messages a broker that has gone may not have taken. In wire version 1 it confirms none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AtRisk {
    /// All that were handed over.
    pub(super) handed_over: u64,
    /// Those of them that were handed over through a connection that was lost.
    pub(super) at_risk: u64,
}

impl std::fmt::Display for AtRisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at_risk = Messages(self.at_risk);
        let handed_over = Messages(self.handed_over);
        if self.handed_over == 0 {
            write!(f, "no message had been handed over")
        } else if self.at_risk == self.handed_over {
            write!(f, "{handed_over} had been handed over and may be missing")
        } else {
            write!(
                f,
                "{handed_over} had been handed over, of which up to {at_risk} may be missing"
            )
        }
    }
}
