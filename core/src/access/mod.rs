//! Who may do what (PROTOCOL.md, section "Rights").
//!
//! The runtime authenticates: it finds out who a peer is, by its token or its certificate, and tells the broker by
//! [`Input::Identified`](crate::Input::Identified). The broker authorizes: it alone decides what a principal's rights
//! allow. So every refusal is tested, simulated and fuzzed with the rest of the state machine, and no secret ever
//! reaches it.
//!
//! A peer of which the broker is not told who it is may do everything: that is how a broker without authentication works.

mod rights;

pub use rights::{ConsumeRight, GroupPattern, Rights};

use crate::names::Name;
use crate::time::Now;

/// How long a peer whose time is over has to finish, before its connection ends.
pub(crate) const GRACE: core::time::Duration = core::time::Duration::from_secs(5);

/// Whom a peer was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Principal {
    /// Its name, for logs and lists. A producer's name belongs to the principal that took it first.
    pub name: Name,
    /// What it may do.
    pub rights: Rights,
    /// When that ends: then it is told to go away, and five seconds later its connection ends. None: never.
    pub expires: Option<Now>,
}

/// What the broker knows of who a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Access {
    pub(crate) principal: Principal,
    /// When its time is over, or when it has had its grace, if either will come.
    pub(crate) timer: Option<Now>,
}

impl Access {
    pub(crate) const fn new(principal: Principal) -> Self {
        Self {
            principal,
            timer: None,
        }
    }

    /// Whether its time is over at `now`.
    pub(crate) fn is_over(&self, now: Now) -> bool {
        self.principal.expires.is_some_and(|at| at <= now)
    }
}
