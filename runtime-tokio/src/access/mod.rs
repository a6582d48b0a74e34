//! Who is at the other end of a connection.
//!
//! A peer shows who it is by a token in its role line or by a certificate in TLS ([`Credential`]). The [`Policy`] knows
//! whose that is and which rights it has ([`Principal`](message_queue_core::access::Principal)). The [`Gate`] is where
//! connections are looked at, under the policy of the moment. What the rights allow is decided by the core.

mod claims;
mod failure_limit;
mod failures;
mod gate;
mod jwt;
mod limits;
mod policy;
mod proxy;
mod seldom;
pub mod tls;

pub use claims::{JwtClaims, JwtRule, ValuePattern};
pub use failure_limit::FailureLimit;
pub use gate::{Gate, Unauthorized};
pub use jwt::{JwtIssuer, KeysError};
pub use limits::AddressLimits;
pub(crate) use limits::{Addresses, Place, Refusals};
pub use policy::{ANONYMOUS, CertificateName, Credential, Digest, Policy, PolicyError};
pub use proxy::{Proxied, ProxyOptions};
