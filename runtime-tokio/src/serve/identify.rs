//! Connections are told apart by who is at their other end, and again when that changes.

use super::driver::Driver;
use super::peer::{Identity, Peer};
use crate::access::{Credential, Gate, Policy, Unauthorized};
use message_queue_core::access::Principal;
use message_queue_core::{Input, Now};
use std::sync::Arc;
use std::time::Duration;

/// What another policy has changed for connections that stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyChange {
    /// Connections whose principal has other rights now, or is another. One that may not go on is closed.
    pub changed: usize,
    /// Connections that were closed because what they had shown is known no more.
    pub unknown: usize,
}

impl Driver {
    /// Tells the core who a peer is that has shown this.
    ///
    /// # Errors
    /// If it is nobody that is known. The core is not told.
    pub(super) fn identify(
        &self,
        gate: &Gate,
        peer: &Peer,
        credential: Credential,
    ) -> Result<(), Unauthorized> {
        // Known before the policy is looked at: so whoever changes it meanwhile finds the credential, or it is seen
        // below that it has changed.
        peer.set_identity(Identity {
            credential: credential.clone(),
            principal: None,
        });
        loop {
            let (principal, version) = gate.principal(&credential)?;
            let principal = self.with_end(principal, &credential);
            peer.set_identity(Identity {
                credential: credential.clone(),
                principal: Some(principal.clone()),
            });
            self.feed(peer.conn, Input::Identified(principal));
            if gate.version() == version {
                return Ok(());
            }
        }
    }

    /// A principal whose time is over when that of what it has shown is.
    fn with_end(&self, principal: Principal, credential: &Credential) -> Principal {
        let expires = match credential {
            Credential::Jwt(claims) => {
                let started = self.core().broker.config().started_ms;
                let left = claims.expires_ms.saturating_sub(started);
                Some(Now::at(Duration::from_millis(left)))
            }
            Credential::Nothing
            | Credential::Token(_)
            | Credential::Forged
            | Credential::Certificate(_) => None,
        };
        Principal {
            expires,
            ..principal
        }
    }

    /// Puts another policy in force, and tells the core what that changes for connections that stand. None if peers
    /// are not asked who they are.
    pub(crate) fn set_policy(&self, policy: Policy) -> Option<PolicyChange> {
        let gate = self.gate.get()?;
        gate.set_policy(policy);
        let peers: Vec<_> = self.core().peers.values().map(Arc::clone).collect();
        let mut change = PolicyChange::default();
        for peer in peers {
            let Some(before) = peer.identity() else {
                continue;
            };
            let principal = gate.principal(&before.credential);
            match principal.map(|(it, _)| self.with_end(it, &before.credential)) {
                Ok(principal) if before.principal.as_ref() == Some(&principal) => {}
                Ok(_) => {
                    change.changed += 1;
                    // It is known: only a policy that follows at once could say otherwise, and then that is told.
                    let _ = self.identify(gate, &peer, before.credential);
                }
                Err(Unauthorized) => {
                    change.unknown += 1;
                    self.feed(peer.conn, Input::Unauthorized);
                }
            }
        }
        Some(change)
    }
}
