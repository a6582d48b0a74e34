//! What a JSON Web Token says, and which tokens a rule is for.

use super::policy::Digest;
use serde_json::{Map, Value};

/// What a token says that was signed by who may, and whose time has come and is not over.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtClaims {
    /// Who the token is about.
    pub subject: String,
    /// When its time is over, in milliseconds since 1970.
    pub expires_ms: u64,
    /// Why it was believed: the key, by and for whom.
    pub(super) trust: Digest,
    /// All that it says, in JSON: rules that are yet to come may ask for any of it, and this takes no more than the
    /// token does.
    pub(super) all: Box<str>,
}

/// Which tokens are meant: those about a subject, those with a value of a claim, or those that are both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtRule {
    subject: Option<ValuePattern>,
    claim: Option<(Vec<String>, ValuePattern)>,
}

/// Values of a claim: one, or all that begin with what stands before a last `*`. They are compared exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValuePattern(String);

/// Claims whose text is a list of words, with spaces between (RFC 8693, section 4.2). In others a space is a part of the
/// text: who can choose a name of two words must not become what one of them says.
const OF_WORDS: [&str; 2] = ["scope", "scp"];

impl JwtRule {
    /// Tokens about such a subject.
    pub const fn of_subject(subject: ValuePattern) -> Self {
        Self {
            subject: Some(subject),
            claim: None,
        }
    }

    /// Tokens in which the claim at `path` has such a value. A path of more than one name leads into a claim that is an
    /// object.
    pub const fn of_claim(path: Vec<String>, value: ValuePattern) -> Self {
        Self {
            subject: None,
            claim: Some((path, value)),
        }
    }

    /// Of those only the ones about such a subject.
    #[must_use]
    pub fn and_subject(mut self, subject: ValuePattern) -> Self {
        self.subject = Some(subject);
        self
    }

    /// Whether it is for a token that says this.
    pub(super) fn is_for(&self, claims: &JwtClaims) -> bool {
        let of_subject = self.subject.as_ref();
        let of_claim = self.claim.as_ref();
        of_subject.is_none_or(|it| it.matches(&claims.subject))
            && of_claim.is_none_or(|(path, value)| claims.has(path, value))
    }
}

impl JwtClaims {
    /// Whether the claim at `path` is a text that matches, or an array with one in it. Numbers, truths and objects never
    /// are what a rule says.
    fn has(&self, path: &[String], wanted: &ValuePattern) -> bool {
        let Some((name, outer)) = path.split_last() else {
            return false;
        };
        let Ok(all) = serde_json::from_str::<Map<String, Value>>(&self.all) else {
            return false;
        };
        let mut object = Some(&all);
        for name in outer {
            object = object.and_then(|it| it.get(name)?.as_object());
        }
        match object.and_then(|it| it.get(name)) {
            Some(Value::String(words)) if OF_WORDS.contains(&name.as_str()) => {
                words.split(' ').any(|it| wanted.matches(it))
            }
            Some(Value::String(text)) => wanted.matches(text),
            Some(Value::Array(texts)) => texts
                .iter()
                .filter_map(Value::as_str)
                .any(|it| wanted.matches(it)),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
                false
            }
        }
    }
}

impl ValuePattern {
    /// One value, or with a `*` at its end all that begin so.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    fn matches(&self, text: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => text.starts_with(start),
            None => text == self.0,
        }
    }
}

impl std::fmt::Debug for JwtClaims {
    /// Without what else the token says, which may be about a person.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtClaims")
            .field("subject", &self.subject)
            .field("expires_ms", &self.expires_ms)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(all: &Value) -> JwtClaims {
        JwtClaims {
            subject: all["sub"].as_str().unwrap_or("a").to_owned(),
            expires_ms: 1,
            trust: Digest::of(""),
            all: all.to_string().into(),
        }
    }

    fn rule(path: &[&str], value: &str) -> JwtRule {
        let path = path.iter().copied().map(str::to_owned).collect();
        JwtRule::of_claim(path, ValuePattern::new(value))
    }

    #[test]
    fn a_claim_is_a_text_an_array_of_texts_or_for_scopes_words() {
        let all = claims(&json!({
            "team": "gpu fleet",
            "groups": ["writers", "readers of all"],
            "scope": "mq.read mq.write",
            "kubernetes.io": { "namespace": "telemetry", "pod": { "name": "a-1" } },
        }));
        for (path, value) in [
            (&["team"][..], "gpu fleet"),
            (&["team"], "gpu*"),
            (&["groups"], "writers"),
            (&["groups"], "readers of all"),
            (&["scope"], "mq.read"),
            (&["scope"], "mq.write"),
            (&["scope"], "mq.w*"),
            (&["kubernetes.io", "namespace"], "telemetry"),
            (&["kubernetes.io", "pod", "name"], "a-*"),
        ] {
            assert!(rule(path, value).is_for(&all), "{path:?} {value}");
        }
        for (path, value) in [
            // A name that anybody can choose is no list of words.
            (&["team"][..], "gpu"),
            (&["team"], "fleet"),
            (&["groups"], "readers"),
            (&["groups"], "writer"),
            (&["groups"], "Writers"),
            (&["scope"], "mq.read mq.write"),
            (&["scope"], "mq"),
            (&["scope"], ""),
            (&["missing"], "*"),
            (&["kubernetes.io"], "*"),
            (&["kubernetes", "io", "namespace"], "telemetry"),
            (&["kubernetes.io.namespace"], "telemetry"),
            (&["kubernetes.io", "pod"], "*"),
            (&["team", "gpu fleet"], "*"),
            (&["groups", "0"], "writers"),
            (&[], "*"),
        ] {
            assert!(!rule(path, value).is_for(&all), "{path:?} {value}");
        }
    }

    /// What an issuer puts into a claim may come from whom the token is about.
    #[test]
    fn no_other_kind_of_value_is_what_a_rule_says() {
        for hostile in [
            json!(null),
            json!(true),
            json!(1),
            json!({ "admins": "admins" }),
            json!([["admins"]]),
            json!([{ "name": "admins" }]),
            json!([null, 1, true]),
            json!([]),
            json!(""),
            json!("admins\u{0}"),
            json!(" admins"),
            json!("admins,readers"),
            json!("admins\nreaders"),
            json!("ADMINS"),
            json!("admin\u{17f}"),
            json!("*"),
        ] {
            let all = claims(&json!({ "groups": hostile, "scope": hostile }));
            assert!(!rule(&["groups"], "admins").is_for(&all), "{hostile}");
            if hostile != json!(" admins") {
                assert!(!rule(&["scope"], "admins").is_for(&all), "{hostile}");
            }
        }
        // Said twice, the last counts, as it does to whoever reads it.
        let twice = JwtClaims {
            all: r#"{"groups":"admins","groups":"guests"}"#.into(),
            ..claims(&json!({}))
        };
        assert!(!rule(&["groups"], "admins").is_for(&twice));
        assert!(rule(&["groups"], "guests").is_for(&twice));
    }

    #[test]
    fn a_subject_and_a_claim_must_both_fit() {
        let of = |subject: &str, group: &str| claims(&json!({ "sub": subject, "groups": [group] }));
        let both = rule(&["groups"], "g").and_subject(ValuePattern::new("a*"));
        assert!(both.is_for(&of("ab", "g")));
        assert!(!both.is_for(&of("b", "g")));
        assert!(!both.is_for(&of("ab", "h")));
        let subject = JwtRule::of_subject(ValuePattern::new("a*"));
        assert!(subject.is_for(&of("ab", "h")));
        assert!(!subject.is_for(&of("b", "h")));
    }

    #[test]
    fn what_a_token_says_is_not_shown() {
        let shown = format!("{:?}", claims(&json!({ "email": "me@example.org" })));
        assert!(!shown.contains("example"), "{shown}");
    }
}
