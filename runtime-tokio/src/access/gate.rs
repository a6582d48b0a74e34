//! Where it is found out who a peer is.

use super::failure_limit::FailureLimit;
use super::failures::Failures;
use super::policy::{Credential, Policy};
use super::tls::PeerCertificate;
use message_queue_core::access::Principal;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, UNIX_EPOCH};

/// Finds out who a peer is, under the policy of the moment. A clone is the same one.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    current: RwLock<Current>,
    failures: Failures,
    limit: FailureLimit,
}

/// The policy in force, and how many there were before it.
#[derive(Clone, Debug, Default)]
struct Current {
    policy: Arc<Policy>,
    version: u64,
}

/// It is not known who shows this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is not known")]
pub struct Unauthorized;

impl Gate {
    /// One with this policy.
    pub fn new(policy: Policy) -> Self {
        Self::limited(policy, FailureLimit::default())
    }

    /// One with this policy, which counts whoever shows a token that is not known within `limit`.
    pub fn limited(policy: Policy, limit: FailureLimit) -> Self {
        let inner = Inner {
            limit,
            ..Inner::default()
        };
        let gate = Self(Arc::new(inner));
        gate.set_policy(policy);
        gate
    }

    /// Puts a policy in force, for whoever is looked at from now on.
    pub(crate) fn set_policy(&self, policy: Policy) {
        let mut current = self
            .0
            .current
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        current.policy = Arc::new(policy);
        current.version += 1;
    }

    /// Which policy is in force: another one, another number.
    pub(crate) fn version(&self) -> u64 {
        self.current().version
    }

    /// What a peer has shown: its token, or else its certificate.
    pub(crate) fn credential(
        &self,
        token: Option<&str>,
        certificate: Option<PeerCertificate>,
    ) -> Credential {
        match (token, certificate) {
            (Some(token), _) => self.current().policy.credential(token, now_ms()),
            (None, Some(certificate)) => Credential::Certificate(certificate),
            (None, None) => Credential::Nothing,
        }
    }

    /// Who shows this, and under which policy.
    ///
    /// # Errors
    /// If it is nobody that is known.
    pub(crate) fn principal(
        &self,
        credential: &Credential,
    ) -> Result<(Principal, u64), Unauthorized> {
        let Current { policy, version } = self.current();
        let principal = policy.principal(credential).ok_or(Unauthorized)?;
        Ok((principal, version))
    }

    /// Somebody there could not show who it is. Returns how long its answer waits.
    pub(crate) fn note_failure(&self, from: IpAddr) -> Duration {
        self.0.limit.note(from);
        self.0.failures.note(from)
    }

    fn current(&self) -> Current {
        let current = self.0.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The time of day, in milliseconds since 1970: what the time of a JSON Web Token is measured by.
fn now_ms() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "what others have signed is about the time of day"
    )]
    let now = std::time::SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_millis() as u64
}
