//! JSON Web Tokens (RFC 7519): signed by somebody who is trusted to say who is who, a Kubernetes cluster for one.

use super::claims::JwtClaims;
use super::policy::Digest;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

/// Who signs tokens, and for whom they must be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtIssuer {
    keys: Vec<Key>,
    issuer: String,
    audience: String,
}

/// A key, and what stands for the trust in what it signs: another key, issuer or audience is another trust.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    jwk: Jwk,
    trust: Digest,
}

/// The keys are no keys, or none that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// It is no JWK set.
    #[error("it is no JWK set: {0}")]
    NotASet(String),
    /// It has no key with which a token can be verified.
    #[error("it has no public key for RS256, ES256 or EdDSA")]
    NoKey,
}

/// Whether a token has the form of a JSON Web Token. Others are looked up by their digest.
pub(super) fn is_jwt(token: &str) -> bool {
    token.starts_with("eyJ") && token.split('.').count() == 3
}

impl JwtIssuer {
    /// Takes tokens that one of these keys has signed (a JWK set of RFC 7517, in JSON), that are by `issuer` and meant for
    /// `audience`. Keys that are not for RS256, ES256 or EdDSA are never used.
    ///
    /// # Errors
    /// See [`KeysError`].
    pub fn new(keys: &str, issuer: &str, audience: &str) -> Result<Self, KeysError> {
        let set: JwkSet =
            serde_json::from_str(keys).map_err(|error| KeysError::NotASet(error.to_string()))?;
        let mut keys = Vec::new();
        for jwk in set.keys {
            if algorithm(&jwk).is_some() {
                let trust = serde_json::to_string(&(&jwk, issuer, audience))
                    .map_err(|error| KeysError::NotASet(error.to_string()))?;
                let trust = Digest::of(&trust);
                keys.push(Key { jwk, trust });
            }
        }
        if keys.is_empty() {
            return Err(KeysError::NoKey);
        }
        Ok(Self {
            keys,
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
        })
    }

    /// Whether a token that was believed is by a key of this set, and by and for whom this is.
    pub(super) fn trusts(&self, claims: &JwtClaims) -> bool {
        self.keys.iter().any(|it| it.trust == claims.trust)
    }

    /// What a token says; none if it is not to be believed, at this moment in milliseconds since 1970.
    pub(super) fn verify(&self, token: &str, now_ms: u64) -> Option<JwtClaims> {
        let header = decode_header(token).ok()?;
        let mut keys = self.keys.iter().filter(|it| match &header.kid {
            Some(name) => it.jwk.common.key_id.as_ref() == Some(name),
            None => true,
        });
        let (claims, trust) = keys.find_map(|it| {
            let claims = self.verify_with(&it.jwk, header.alg, token)?;
            Some((claims, it.trust))
        })?;
        let subject = claims.get("sub")?.as_str()?.to_owned();
        let expires_ms = claims.get("exp")?.as_u64()?.checked_mul(1000)?;
        (now_ms < expires_ms).then(|| JwtClaims {
            subject,
            expires_ms,
            trust,
            all: Value::Object(claims).to_string().into(),
        })
    }

    /// The key decides by what it may have been signed, and not the token.
    fn verify_with(
        &self,
        key: &Jwk,
        claimed: Algorithm,
        token: &str,
    ) -> Option<Map<String, Value>> {
        let algorithm = algorithm(key).filter(|it| *it == claimed)?;
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.validate_nbf = true;
        validation.leeway = 0;
        // It is looked at above, by a clock that tests can set.
        validation.validate_exp = false;
        let key = DecodingKey::from_jwk(key).ok()?;
        let token = decode(token, &key, &validation).ok()?;
        Some(token.claims)
    }
}

/// By what a key signs; none if it is for something else, or for something that is not taken: above all not a secret
/// that both sides share.
fn algorithm(key: &Jwk) -> Option<Algorithm> {
    use jsonwebtoken::jwk::EllipticCurve::{Ed25519, P256};
    if key
        .common
        .public_key_use
        .as_ref()
        .is_some_and(|it| *it != PublicKeyUse::Signature)
    {
        return None;
    }
    let algorithm = match &key.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(key) if key.curve == Ed25519 => Algorithm::EdDSA,
        AlgorithmParameters::EllipticCurve(_)
        | AlgorithmParameters::OctetKeyPair(_)
        | AlgorithmParameters::OctetKey(_) => return None,
    };
    let named = key.common.key_algorithm.map(|it| it.to_string());
    let fits = named.is_none_or(|it| it == format!("{algorithm:?}"));
    fits.then_some(algorithm)
}

#[cfg(test)]
mod tests {
    use super::super::claims::{JwtRule, ValuePattern};
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    use jsonwebtoken::{EncodingKey, Header, encode};
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
    use serde_json::json;

    /// Long after now, in seconds since 1970.
    const EXPIRES: u64 = 4_000_000_000;
    const NOW_MS: u64 = 1_800_000_000_000;

    /// A key that signs, and what is known of it.
    struct Signer {
        key: EncodingKey,
        algorithm: Algorithm,
        jwk: Value,
    }

    impl Signer {
        fn ed25519(id: &str) -> Self {
            let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
            let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
            let x = BASE64.encode(pair.public_key());
            Self {
                key: EncodingKey::from_ed_der(pkcs8.as_ref()),
                algorithm: Algorithm::EdDSA,
                jwk: json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": id }),
            }
        }

        fn p256(id: &str) -> Self {
            let random = SystemRandom::new();
            let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
            let point = pair.public_key().as_ref();
            let (x, y) = (BASE64.encode(&point[1..33]), BASE64.encode(&point[33..]));
            Self {
                key: EncodingKey::from_ec_der(pkcs8.as_ref()),
                algorithm: Algorithm::ES256,
                jwk: json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": id, "alg": "ES256", "use": "sig" }),
            }
        }

        fn sign(&self, id: Option<&str>, claims: &Value) -> String {
            let mut header = Header::new(self.algorithm);
            header.kid = id.map(str::to_owned);
            encode(&header, claims, &self.key).unwrap()
        }

        fn issuer(&self) -> JwtIssuer {
            issuer(&json!({ "keys": [self.jwk] }))
        }
    }

    fn issuer(keys: &Value) -> JwtIssuer {
        JwtIssuer::new(&keys.to_string(), "https://issuer", "mq").unwrap()
    }

    fn claims() -> Value {
        json!({ "iss": "https://issuer", "aud": ["other", "mq"], "sub": "a", "exp": EXPIRES, "nbf": 1 })
    }

    fn subject(issuer: &JwtIssuer, token: &str) -> Option<String> {
        issuer.verify(token, NOW_MS).map(|it| it.subject)
    }

    #[test]
    fn a_token_is_believed_that_a_known_key_has_signed() {
        for new in [Signer::ed25519, Signer::p256] {
            let signer = new("k");
            let issuer = signer.issuer();
            for id in [Some("k"), None] {
                let token = signer.sign(id, &claims());
                assert!(is_jwt(&token));
                assert_eq!(subject(&issuer, &token).as_deref(), Some("a"));
            }
            assert_eq!(
                subject(&issuer, &signer.sign(Some("other"), &claims())),
                None
            );
            let stranger = new("k");
            assert_eq!(subject(&issuer, &stranger.sign(Some("k"), &claims())), None);
        }
    }

    /// A claim is whatever the issuer says, and no more: what is wrong about one never makes a token good, or a panic.
    #[test]
    fn rules_look_at_the_claims_that_were_signed() {
        let signer = Signer::ed25519("k");
        let issuer = signer.issuer();
        let of_group = |value: &str| {
            let value = ValuePattern::new(value);
            JwtRule::of_claim(vec!["groups".to_owned()], value)
        };
        let deep = |levels: usize| {
            let mut nested = json!("admins");
            for _ in 0..levels {
                nested = json!([nested]);
            }
            nested
        };
        for (groups, is_known, is_admin) in [
            (json!(["admins"]), true, true),
            (json!("admins"), true, true),
            (json!("admins guests"), true, false),
            (json!({ "admins": true }), true, false),
            (json!("x".repeat(100_000)), true, false),
            (json!(vec!["guests"; 20_000]), true, false),
            (deep(50), true, false),
            // Deeper than anybody reads it.
            (deep(200), false, false),
        ] {
            let mut claims = claims();
            claims["groups"] = groups;
            let found = issuer.verify(&signer.sign(Some("k"), &claims), NOW_MS);
            assert_eq!(found.is_some(), is_known);
            let fits = found.is_some_and(|it| of_group("admins").is_for(&it));
            assert_eq!(fits, is_admin);
        }
        // What stands there is not believed because it stands there.
        let forged = Signer::ed25519("k").sign(Some("k"), &claims());
        assert_eq!(issuer.verify(&forged, NOW_MS), None);
    }

    #[test]
    fn the_trust_in_a_token_ends_with_its_key_its_issuer_or_its_audience() {
        let (one, other) = (Signer::ed25519("k"), Signer::ed25519("l"));
        let keys = |of: &[&Signer]| {
            let keys: Vec<_> = of.iter().map(|it| &it.jwk).collect();
            json!({ "keys": keys }).to_string()
        };
        let of = |keys: &str, issuer, audience| JwtIssuer::new(keys, issuer, audience).unwrap();
        let issuer = of(&keys(&[&one]), "https://issuer", "mq");
        let token = one.sign(Some("k"), &claims());
        let believed = issuer.verify(&token, NOW_MS).unwrap();
        assert!(issuer.trusts(&believed));
        assert!(of(&keys(&[&other, &one]), "https://issuer", "mq").trusts(&believed));
        assert!(!of(&keys(&[&other]), "https://issuer", "mq").trusts(&believed));
        assert!(!of(&keys(&[&one]), "https://another", "mq").trusts(&believed));
        assert!(!of(&keys(&[&one]), "https://issuer", "other").trusts(&believed));
    }

    /// The example of RFC 7515, appendix A.2.
    #[test]
    fn rs256_is_verified() {
        let key = json!({
            "kty": "RSA",
            "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yR\
                  T-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXB\
                  dQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9ia\
                  GNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
            "e": "AQAB",
        });
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9p\
                     c19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_\
                     lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvk\
                     SjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2\
                     w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        let issuer = JwtIssuer::new(&json!({ "keys": [key] }).to_string(), "joe", "mq").unwrap();
        let key = &issuer.keys[0].jwk;
        assert_eq!(algorithm(key), Some(Algorithm::RS256));
        let mut validation = Validation::new(Algorithm::RS256);
        validation.validate_exp = false;
        let decoding = DecodingKey::from_jwk(key).unwrap();
        let claims = decode::<Value>(token, &decoding, &validation)
            .unwrap()
            .claims;
        assert_eq!(claims["iss"], "joe");
        // It has no subject, and its time is over.
        assert_eq!(subject(&issuer, token), None);
    }

    #[test]
    fn every_claim_must_be_there_and_fit() {
        let signer = Signer::ed25519("k");
        let issuer = signer.issuer();
        for (claim, wrong) in [
            ("iss", json!("https://other")),
            ("aud", json!("other")),
            ("aud", json!([])),
            ("sub", json!(1)),
            ("exp", json!(NOW_MS / 1000)),
            ("exp", json!(1)),
            ("exp", json!(-1)),
            ("exp", json!("4000000000")),
            ("exp", json!(u64::MAX)),
            ("nbf", json!(EXPIRES)),
        ] {
            let mut claims = claims();
            claims[claim] = wrong.clone();
            assert_eq!(
                subject(&issuer, &signer.sign(None, &claims)),
                None,
                "{claim}: {wrong}"
            );
        }
        for claim in ["iss", "aud", "sub", "exp"] {
            let mut claims = claims();
            claims.as_object_mut().unwrap().remove(claim);
            assert_eq!(
                subject(&issuer, &signer.sign(None, &claims)),
                None,
                "no {claim}"
            );
        }
        let mut just = claims();
        just["exp"] = json!(NOW_MS / 1000 + 1);
        assert_eq!(
            subject(&issuer, &signer.sign(None, &just)).as_deref(),
            Some("a")
        );
    }

    /// The header says by what it was signed, and whoever forges one says what they like.
    #[test]
    fn the_key_decides_by_what_it_was_signed() {
        let signer = Signer::p256("k");
        let issuer = signer.issuer();
        let token = signer.sign(Some("k"), &claims());
        let (_, rest) = token.split_once('.').unwrap();
        for alg in [
            "none", "None", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384",
            "PS512", "ES384", "EdDSA", "", "ES256 ",
        ] {
            let header = json!({ "alg": alg, "typ": "JWT", "kid": "k" }).to_string();
            let forged = format!("{}.{rest}", BASE64.encode(header));
            assert_eq!(subject(&issuer, &forged), None, "{alg}");
            let unsigned = forged.rsplit_once('.').unwrap().0.to_owned() + ".";
            assert_eq!(subject(&issuer, &unsigned), None, "{alg}");
        }
        // The public key, which everybody knows, as if it were a secret that both share.
        let public = signer.jwk["x"].as_str().unwrap();
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("k".into());
        for secret in [public.as_bytes(), &BASE64.decode(public).unwrap()] {
            let forged = encode(&header, &claims(), &EncodingKey::from_secret(secret)).unwrap();
            assert_eq!(subject(&issuer, &forged), None);
        }
    }

    #[test]
    fn what_is_cut_or_changed_is_not_believed() {
        let signer = Signer::ed25519("k");
        let issuer = signer.issuer();
        let token = signer.sign(Some("k"), &claims());
        for end in 0..token.len() {
            assert_eq!(subject(&issuer, &token[..end]), None, "{end}");
        }
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'B' { b'C' } else { b'B' };
            let changed = String::from_utf8(changed).unwrap();
            // The last character has bits that stand for nothing.
            if at + 1 < token.len() {
                assert_eq!(subject(&issuer, &changed), None, "{at}");
            }
        }
    }

    #[test]
    fn keys_of_other_kinds_are_never_used() {
        let p256 = Signer::p256("k").jwk;
        let with = |key: &str, value: Value| {
            let mut jwk = p256.clone();
            jwk[key] = value;
            JwtIssuer::new(&json!({ "keys": [jwk] }).to_string(), "i", "a")
        };
        assert!(with("kid", json!("other")).is_ok());
        for (key, value) in [("use", json!("enc")), ("alg", json!("ES384"))] {
            assert_eq!(with(key, value), Err(KeysError::NoKey));
        }
        let secret = json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256" }] });
        let told = JwtIssuer::new(&secret.to_string(), "i", "a");
        assert_eq!(told, Err(KeysError::NoKey));
        assert_eq!(
            JwtIssuer::new("{\"keys\":[]}", "i", "a"),
            Err(KeysError::NoKey)
        );
        for text in ["", "[]", "{}", "{\"keys\":[{\"kty\":\"XYZ\"}]}"] {
            let told = JwtIssuer::new(text, "i", "a");
            assert!(matches!(told, Err(KeysError::NotASet(_))), "{text}");
        }
    }
}
