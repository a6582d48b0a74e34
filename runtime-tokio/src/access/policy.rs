//! Who has which rights.

use super::claims::{JwtClaims, JwtRule};
use super::jwt::{JwtIssuer, is_jwt};
use super::tls::PeerCertificate;
use message_queue_core::access::{Principal, Rights};
use message_queue_core::names::Name;
use ring::digest::{SHA256, digest};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// The principal of whoever shows nothing of who it is.
pub const ANONYMOUS: &str = "anonymous";

/// The SHA-256 of a token: all that is kept of one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// What a peer has shown of who it is, as far as it is remembered while its connection lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    Nothing,
    /// A token.
    Token(Digest),
    /// A JSON Web Token, which has been verified.
    Jwt(JwtClaims),
    /// A token that looked like a JSON Web Token and is not to be believed.
    Forged,
    /// A certificate, which has been verified.
    Certificate(PeerCertificate),
}

/// A name in a certificate, compared exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// The common name of its subject.
    CommonName(String),
    /// One of its alternative names: a DNS name, a URI or an e-mail address.
    Alternative(String),
}

/// Who has which rights. Made by [`new`](Self::new) and the methods that add to it; a [`Gate`](super::Gate) puts it in
/// force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    tokens: Vec<(Digest, Name, Rights)>,
    certificates: Vec<(CertificateName, Name, Rights)>,
    jwts: Vec<(JwtRule, Name, Rights)>,
    issuer: Option<JwtIssuer>,
    anonymous: Rights,
}

/// Why something cannot be added to a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Its tokens would be mistaken for each other.
    #[error("the same token is there already, as {0}")]
    SameToken(Name),
    /// The name stands for those who show nothing.
    #[error("the name {ANONYMOUS} is kept for clients that do not say who they are")]
    Anonymous,
}

impl Policy {
    /// One in which nobody has a right to anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Who shows nothing, or a certificate that no rule knows, has these rights.
    #[must_use]
    pub fn with_anonymous(mut self, rights: Rights) -> Self {
        self.anonymous = rights;
        self
    }

    /// Whoever shows the token with this digest is `name` and has these rights. A principal may have several.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub fn add_token(
        &mut self,
        digest: Digest,
        name: Name,
        rights: Rights,
    ) -> Result<(), PolicyError> {
        check(&name)?;
        if let Some((_, other, _)) = self.tokens.iter().find(|(it, ..)| *it == digest) {
            return Err(PolicyError::SameToken(other.clone()));
        }
        self.tokens.push((digest, name, rights));
        Ok(())
    }

    /// Whoever shows a certificate with this name in it is `name` and has these rights. The first rule counts that
    /// knows a certificate.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub fn add_certificate(
        &mut self,
        certificate: CertificateName,
        name: Name,
        rights: Rights,
    ) -> Result<(), PolicyError> {
        check(&name)?;
        self.certificates.push((certificate, name, rights));
        Ok(())
    }

    /// Takes JSON Web Tokens by this issuer.
    #[must_use]
    pub fn with_issuer(mut self, issuer: JwtIssuer) -> Self {
        self.issuer = Some(issuer);
        self
    }

    /// Whoever shows such a JSON Web Token is `name` and has these rights, for as long as the token says. The first rule
    /// counts that is for a token; where none is, the token is as good as unknown.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub fn add_jwt(
        &mut self,
        rule: JwtRule,
        name: Name,
        rights: Rights,
    ) -> Result<(), PolicyError> {
        check(&name)?;
        self.jwts.push((rule, name, rights));
        Ok(())
    }

    /// What a token is, at this moment in milliseconds since 1970.
    pub(super) fn credential(&self, token: &str, now_ms: u64) -> Credential {
        match &self.issuer {
            Some(issuer) if is_jwt(token) => match issuer.verify(token, now_ms) {
                Some(claims) => Credential::Jwt(claims),
                None => Credential::Forged,
            },
            Some(_) | None => Credential::Token(Digest::of(token)),
        }
    }

    /// Who shows this; none: nobody that is known. The time that it takes does not tell how near a wrong token was.
    pub(super) fn principal(&self, credential: &Credential) -> Option<Principal> {
        let found = match credential {
            Credential::Nothing => None,
            Credential::Token(digest) => {
                let (_, name, rights) = self.tokens.get(self.find(digest)?)?;
                Some((name, rights))
            }
            Credential::Jwt(claims) => {
                // Who signed it may be believed no more.
                self.issuer.as_ref().filter(|it| it.trusts(claims))?;
                let mut rules = self.jwts.iter();
                let (_, name, rights) = rules.find(|(it, ..)| it.is_for(claims))?;
                Some((name, rights))
            }
            Credential::Forged => return None,
            Credential::Certificate(certificate) => {
                let mut rules = self.certificates.iter();
                let found = rules.find(|(name, ..)| name.is_in(certificate));
                found.map(|(_, name, rights)| (name, rights))
            }
        };
        let principal = match found {
            Some((name, rights)) => Principal {
                name: name.clone(),
                rights: rights.clone(),
                expires: None,
            },
            None => Principal {
                name: Name::new(ANONYMOUS).ok()?,
                rights: self.anonymous.clone(),
                expires: None,
            },
        };
        Some(principal)
    }

    /// The place of a token. Every one of them is compared, whole.
    fn find(&self, digest: &Digest) -> Option<usize> {
        let (mut place, mut found) = (0, Choice::from(0));
        for (at, (known, ..)) in (0_u64..).zip(&self.tokens) {
            let is_it = known.0.ct_eq(&digest.0);
            place.conditional_assign(&at, is_it);
            found |= is_it;
        }
        bool::from(found).then_some(place as usize)
    }
}

fn check(name: &Name) -> Result<(), PolicyError> {
    if name.as_str() == ANONYMOUS {
        return Err(PolicyError::Anonymous);
    }
    Ok(())
}

impl CertificateName {
    fn is_in(&self, certificate: &PeerCertificate) -> bool {
        match self {
            Self::CommonName(name) => certificate.common_name.as_ref() == Some(name),
            Self::Alternative(name) => [
                &certificate.dns_names,
                &certificate.uris,
                &certificate.emails,
            ]
            .into_iter()
            .any(|names| names.contains(name)),
        }
    }
}

impl Digest {
    /// Of a token.
    pub fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }

    /// From its 64 hexadecimal digits, in any letter case; none if it is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(digits.chunks(2)) {
            let digits = std::str::from_utf8(digits).ok()?;
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Digest {
    /// Not the digest: what is made of a weak token can be guessed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digest(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    /// The principal's name and whether it may do everything.
    fn found(policy: &Policy, credential: &Credential) -> Option<(String, bool)> {
        let principal = policy.principal(credential)?;
        Some((
            principal.name.to_string(),
            principal.rights == Rights::all(),
        ))
    }

    #[test]
    fn a_digest_is_64_hexadecimal_digits() {
        let text = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
        assert_eq!(Digest::of("foo").to_string(), text);
        assert_eq!(Digest::parse(text), Some(Digest::of("foo")));
        assert_eq!(Digest::parse(&text.to_uppercase()), Some(Digest::of("foo")));
        let long = format!("{text}00");
        for bad in ["", "2c", &text[..63], &long, &text.replace('c', "g"), "é"] {
            assert_eq!(Digest::parse(bad), None, "{bad}");
        }
        assert_eq!(format!("{:?}", Digest::of("foo")), "Digest(***)");
    }

    #[test]
    fn a_token_is_its_principals_or_nobodys() {
        let mut policy = Policy::new().with_anonymous(Rights::all());
        for token in ["one", "two", "three"] {
            let digest = Digest::of(token);
            policy
                .add_token(digest, name(token), Rights::default())
                .unwrap();
        }
        for token in ["one", "two", "three"] {
            let credential = Credential::Token(Digest::of(token));
            assert_eq!(found(&policy, &credential), Some((token.into(), false)));
        }
        // It is not taken for no token, however much those may do who have none.
        for token in ["", "four", "one "] {
            assert_eq!(found(&policy, &Credential::Token(Digest::of(token))), None);
        }
        let anonymous = Some((ANONYMOUS.into(), true));
        assert_eq!(found(&policy, &Credential::Nothing), anonymous);
        assert_eq!(Policy::new().find(&Digest::of("one")), None);
    }

    #[test]
    fn what_cannot_be_told_apart_is_refused() {
        let mut policy = Policy::new();
        let digest = Digest::of("one");
        let mut add = |of: &str| policy.add_token(digest, name(of), Rights::all());
        assert_eq!(add("one"), Ok(()));
        assert_eq!(add("two"), Err(PolicyError::SameToken(name("one"))));
        assert_eq!(add(ANONYMOUS), Err(PolicyError::Anonymous));
        let other = CertificateName::CommonName("x".into());
        let error = policy.add_certificate(other, name(ANONYMOUS), Rights::all());
        assert_eq!(error, Err(PolicyError::Anonymous));
    }

    #[test]
    fn the_first_rule_counts_that_knows_a_certificate() {
        let mut policy = Policy::new();
        let rules = [
            (CertificateName::CommonName("gpu".into()), "by-cn"),
            (
                CertificateName::Alternative("spiffe://x/gpu".into()),
                "by-uri",
            ),
            (CertificateName::Alternative("gpu.example".into()), "by-dns"),
            (
                CertificateName::Alternative("gpu@example".into()),
                "by-mail",
            ),
        ];
        for (of, named) in rules {
            policy
                .add_certificate(of, name(named), Rights::all())
                .unwrap();
        }
        let who = |certificate: PeerCertificate| {
            let credential = Credential::Certificate(certificate);
            found(&policy, &credential).unwrap().0
        };
        let cert = PeerCertificate::default;
        let all = PeerCertificate {
            common_name: Some("gpu".into()),
            dns_names: vec!["gpu.example".into()],
            ..cert()
        };
        assert_eq!(who(all), "by-cn");
        let dns = PeerCertificate {
            common_name: Some("spiffe://x/gpu".into()),
            dns_names: vec!["a".into(), "gpu.example".into()],
            ..cert()
        };
        assert_eq!(who(dns), "by-dns");
        let uri = PeerCertificate {
            uris: vec!["spiffe://x/gpu".into()],
            ..cert()
        };
        assert_eq!(who(uri), "by-uri");
        let mail = PeerCertificate {
            emails: vec!["gpu@example".into()],
            ..cert()
        };
        assert_eq!(who(mail), "by-mail");
        let other = PeerCertificate {
            common_name: Some("GPU".into()),
            ..cert()
        };
        assert_eq!(who(other), ANONYMOUS);
    }
}
