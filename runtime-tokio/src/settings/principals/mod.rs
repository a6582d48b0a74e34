//! The file that `AUTH_TOKENS_FILE` names: who may do what.
//!
//! TOML with a table `[[token]]` for each principal that shows a token, and a table `[[certificate]]` for each that shows
//! a certificate, and a table `[[jwt]]` for each that shows a JSON Web Token. `rights.rs` says what all may hold.

mod rights;
#[cfg(test)]
mod tests;

use super::file::{self, FileError, Problem};
use crate::access::{CertificateName, Digest, JwtRule, Policy, PolicyError, ValuePattern};
use message_queue_core::access::Rights;
use message_queue_core::names::Name;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use toml::{Spanned, Value};

/// The setting that names the file.
const SETTING: &str = "AUTH_TOKENS_FILE";

/// What a table of a token may hold, what one of a certificate, and what one of a JSON Web Token.
const OF_TOKENS: [&str; 6] = ["name", "sha256", "token", "produce", "consume", "admin"];
const OF_CERTIFICATES: [&str; 6] = [
    "name",
    "common_name",
    "alternative_name",
    "produce",
    "consume",
    "admin",
];

const OF_JWTS: [&str; 7] = [
    "name", "subject", "claim", "value", "produce", "consume", "admin",
];

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Principals {
    pub(super) policy: Policy,
    /// Principals whose token stands in the file as it is.
    pub(super) plain: Vec<Name>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    token: Vec<Spanned<Table>>,
    #[serde(default)]
    certificate: Vec<Spanned<Table>>,
    #[serde(default)]
    jwt: Vec<Spanned<Table>>,
}

type Table = BTreeMap<Spanned<String>, Spanned<Value>>;

/// Reads the file.
///
/// # Errors
/// See [`FileError`]. A token is never part of one.
pub(super) fn read(path: &Path) -> Result<Principals, FileError> {
    file::read(SETTING, path, parse)
}

fn parse(text: &str) -> Result<Principals, Vec<Problem>> {
    let document: Document = toml::from_str(text).map_err(|error| vec![of_toml(text, &error)])?;
    let mut reader = Reader {
        text,
        principals: Principals::default(),
        problems: Vec::new(),
    };
    for table in document.token {
        reader.token(table);
    }
    for table in document.certificate {
        reader.certificate(table);
    }
    for table in document.jwt {
        reader.jwt(table);
    }
    if reader.problems.is_empty() {
        Ok(reader.principals)
    } else {
        reader.problems.sort_by_key(|it| (it.line, it.column));
        Err(reader.problems)
    }
}

/// What the parser of TOML has to say, without a word of the file itself: it may be a token.
fn of_toml(text: &str, error: &toml::de::Error) -> Problem {
    let mut problem = Problem::of_toml(text, error);
    if problem.what.contains(['"', '`', '\'']) && !problem.what.starts_with("unknown field") {
        problem.what = "this is no TOML, or not what stands here".to_owned();
    }
    problem
}

struct Reader<'a> {
    text: &'a str,
    principals: Principals,
    problems: Vec<Problem>,
}

/// A table's keys, of which each is taken once.
struct Entry {
    span: Range<usize>,
    keys: Vec<(Spanned<String>, Spanned<Value>)>,
}

impl Entry {
    fn take(&mut self, key: &str) -> Option<Spanned<Value>> {
        let place = self.keys.iter().position(|(it, _)| it.get_ref() == key)?;
        Some(self.keys.remove(place).1)
    }
}

impl Reader<'_> {
    fn token(&mut self, table: Spanned<Table>) {
        let mut entry = self.entry(table, "a token", &OF_TOKENS);
        let Some((name, rights)) = self.principal(&mut entry) else {
            return;
        };
        let mut digests = Vec::new();
        let (sha256, token) = (entry.take("sha256"), entry.take("token"));
        if sha256.is_none() && token.is_none() {
            let what =
                "a token needs sha256, its digest: `message-queue token new NAME` prints one";
            return self.problem(entry.span.start..entry.span.start, what);
        }
        if let Some(value) = sha256 {
            match digests_of(value.get_ref()) {
                Some(all) => digests = all,
                None => self.problem(
                    value.span(),
                    "sha256: use the 64 hexadecimal digits that `message-queue token new` prints, or an array of such",
                ),
            }
        }
        if let Some(value) = token {
            match value.get_ref().as_str().filter(|it| !it.is_empty()) {
                Some(token) => {
                    digests.push(Digest::of(token));
                    self.principals.plain.push(name.clone());
                }
                None => self.problem(value.span(), "token: use a text that is not empty"),
            }
        }
        for digest in digests {
            let added = self
                .principals
                .policy
                .add_token(digest, name.clone(), rights.clone());
            self.added(&entry, added);
        }
    }

    fn certificate(&mut self, table: Spanned<Table>) {
        let mut entry = self.entry(table, "a certificate", &OF_CERTIFICATES);
        let Some((name, rights)) = self.principal(&mut entry) else {
            return;
        };
        let of = match (entry.take("common_name"), entry.take("alternative_name")) {
            (Some(value), None) => self
                .text(&value, "common_name")
                .map(CertificateName::CommonName),
            (None, Some(value)) => self
                .text(&value, "alternative_name")
                .map(CertificateName::Alternative),
            (None, None) | (Some(_), Some(_)) => {
                let what = "a certificate needs either common_name or alternative_name (a DNS name, a URI or \
                            an e-mail address)";
                return self.problem(entry.span.start..entry.span.start, what);
            }
        };
        if let Some(of) = of {
            let added = self.principals.policy.add_certificate(of, name, rights);
            self.added(&entry, added);
        }
    }

    fn jwt(&mut self, table: Spanned<Table>) {
        let mut entry = self.entry(table, "a JSON Web Token", &OF_JWTS);
        let Some((name, rights)) = self.principal(&mut entry) else {
            return;
        };
        let Some(rule) = self.jwt_rule(&mut entry) else {
            return;
        };
        let added = self.principals.policy.add_jwt(rule, name, rights);
        self.added(&entry, added);
    }

    /// Which tokens a table is for. None if that is told as a problem.
    fn jwt_rule(&mut self, entry: &mut Entry) -> Option<JwtRule> {
        let start = entry.span.start..entry.span.start;
        let subject = match entry.take("subject") {
            Some(value) => Some(ValuePattern::new(self.text(&value, "subject")?)),
            None => None,
        };
        let claim = match (entry.take("claim"), entry.take("value")) {
            (Some(claim), Some(value)) => {
                let Some(path) = path_of(claim.get_ref()) else {
                    let what = "claim: use its name, or an array of names that lead to one within another such as \
                                [\"kubernetes.io\", \"namespace\"]";
                    self.problem(claim.span(), what);
                    return None;
                };
                Some((path, ValuePattern::new(self.text(&value, "value")?)))
            }
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                let what = "claim and value belong together, such as claim = \"groups\" and value = \"collectors\"";
                self.problem(start, what);
                return None;
            }
        };
        match (subject, claim) {
            (Some(subject), None) => Some(JwtRule::of_subject(subject)),
            (None, Some((path, value))) => Some(JwtRule::of_claim(path, value)),
            (Some(subject), Some((path, value))) => {
                Some(JwtRule::of_claim(path, value).and_subject(subject))
            }
            (None, None) => {
                let what = "a JSON Web Token needs a subject, such as subject = \
                            \"system:serviceaccount:telemetry:collector\", or with a * at its end, or a claim and its \
                            value";
                self.problem(start, what);
                None
            }
        }
    }

    fn added(&mut self, entry: &Entry, added: Result<(), PolicyError>) {
        if let Err(error) = added {
            self.problem(entry.span.start..entry.span.start, &error.to_string());
        }
    }

    /// The keys of a table, those left out that there are not, which are told.
    fn entry(&mut self, table: Spanned<Table>, whose: &str, known: &[&str]) -> Entry {
        let span = table.span();
        let mut keys = Vec::new();
        for (key, value) in table.into_inner() {
            if known.contains(&key.get_ref().as_str()) {
                keys.push((key, value));
            } else {
                let what = file::unknown(key.get_ref(), whose, known.iter().copied());
                self.problem(key.span(), &what);
            }
        }
        Entry { span, keys }
    }

    /// The name that every table needs, and the rights.
    fn principal(&mut self, entry: &mut Entry) -> Option<(Name, Rights)> {
        let rights = self.rights(entry);
        let Some(value) = entry.take("name") else {
            let what = "a principal needs a name, such as name = \"collector\"";
            self.problem(entry.span.start..entry.span.start, what);
            return None;
        };
        let name = Name::new(&self.text(&value, "name")?);
        match name {
            Ok(name) => Some((name, rights)),
            Err(error) => {
                self.problem(value.span(), &format!("name: {error}"));
                None
            }
        }
    }

    fn text(&mut self, value: &Spanned<Value>, key: &str) -> Option<String> {
        let text = value.get_ref().as_str().filter(|it| !it.is_empty());
        if text.is_none() {
            self.problem(
                value.span(),
                &format!("{key}: use a text that is not empty"),
            );
        }
        text.map(str::to_owned)
    }

    fn problem(&mut self, span: Range<usize>, what: &str) {
        let problem = Problem::at(self.text, span, what.to_owned());
        self.problems.push(problem);
    }
}

/// One digest, or several.
fn digests_of(value: &Value) -> Option<Vec<Digest>> {
    let one = |value: &Value| Digest::parse(value.as_str()?);
    match value.as_array() {
        Some(all) if !all.is_empty() => all.iter().map(one).collect(),
        Some(_) => None,
        None => Some(vec![one(value)?]),
    }
}

/// The names that lead to a claim: one, or several.
fn path_of(value: &Value) -> Option<Vec<String>> {
    let one = |value: &Value| Some(value.as_str().filter(|it| !it.is_empty())?.to_owned());
    match value.as_array() {
        Some(names) if !names.is_empty() => names.iter().map(one).collect(),
        Some(_) => None,
        None => Some(vec![one(value)?]),
    }
}
