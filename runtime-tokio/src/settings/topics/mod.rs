//! The file that `TOPICS_FILE` names: how some topics differ from the others.
//!
//! TOML with one table `[[rule]]` for each rule. An array, because the order of rules matters, and that of
//! tables with names does not in TOML. `keys.rs` says what a rule may hold.

mod explain;
mod keys;
#[cfg(test)]
mod tests;

pub(super) use explain::explain;
#[cfg(test)]
pub(super) use keys::KEYS as DOCUMENTED;

use keys::KEYS;
use message_queue_core::TopicRule;
use message_queue_core::names::{Pattern, TopicName};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use toml::Spanned;

/// The longest file. A rule takes some hundred bytes.
const LONGEST: u64 = 1 << 20;

/// The key that says which topics a rule is about.
const TOPICS: &str = "topics";

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) rules: Vec<TopicRule>,
    /// For each rule the line where it begins, from 1.
    lines: Vec<usize>,
}

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum TopicsFileError {
    /// It cannot be read.
    #[error("TOPICS_FILE: {path}: cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// What it says is not allowed, one line for each problem; at least one.
    #[error("{}", lines(path, problems))]
    NotAllowed {
        /// The file.
        path: String,
        /// In the order of the file, as a rule.
        problems: Vec<Problem>,
    },
}

/// Something that is wrong at one place in the file.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    line: usize,
    /// In characters, from 1.
    column: usize,
    what: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    rule: Vec<Spanned<Table>>,
}

type Table = BTreeMap<Spanned<String>, Spanned<toml::Value>>;

/// Reads the file of topics.
///
/// # Errors
/// See [`TopicsFileError`].
pub(super) fn read(path: &Path) -> Result<Rules, TopicsFileError> {
    let shown = || path.display().to_string().escape_debug().to_string();
    let unreadable = |source| TopicsFileError::Unreadable {
        path: shown(),
        source,
    };
    let text = contents(path).map_err(unreadable)?;
    parse(&text).map_err(|problems| TopicsFileError::NotAllowed {
        path: shown(),
        problems,
    })
}

fn contents(path: &Path) -> io::Result<String> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    // Opening a pipe would wait for somebody to write.
    if !path.metadata()?.is_file() {
        return Err(invalid("it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(LONGEST + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(invalid("it is longer than 1MiB"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..at]
            .iter()
            .filter(|it| **it == b'\n')
            .count();
        invalid(&format!("line {line} is not valid UTF-8"))
    })
}

fn parse(text: &str) -> Result<Rules, Vec<Problem>> {
    let document: Document = toml::from_str(text).map_err(|error| {
        let what = error.message().replace('\n', ", ");
        vec![Problem::at(text, error.span().unwrap_or_default(), what)]
    })?;
    let mut rules = Rules::default();
    let mut problems = Vec::new();
    for table in document.rule {
        let span = table.span();
        let found = problems.len();
        let rule = rule(text, &span, table.into_inner(), &mut problems);
        if let (Some(rule), true) = (rule, found == problems.len()) {
            rules
                .lines
                .push(Problem::at(text, span, String::new()).line);
            rules.rules.push(rule);
        }
    }
    if problems.is_empty() {
        Ok(rules)
    } else {
        Err(problems)
    }
}

/// The rule that a table stands for. What is wrong with it goes to `problems`.
fn rule(
    text: &str,
    span: &Range<usize>,
    table: Table,
    problems: &mut Vec<Problem>,
) -> Option<TopicRule> {
    let mut problem = |span, what| problems.push(Problem::at(text, span, what));
    let mut table: Vec<_> = table.into_iter().collect();
    table.sort_by_key(|(name, _)| name.span().start);
    let Some((_, topics)) = table.iter().find(|(name, _)| name.get_ref() == TOPICS) else {
        let header = span.start..span.start;
        problem(
            header,
            format!("a rule needs {TOPICS}, such as {TOPICS} = \"jobs.>\""),
        );
        return None;
    };
    let pattern = match pattern(topics.get_ref()) {
        Ok(pattern) => pattern,
        Err(what) => {
            problem(topics.span(), format!("{TOPICS}: {what}"));
            return None;
        }
    };
    let is_dead_letter = TopicName::new(pattern.as_str()).is_ok_and(|it| it.is_dead_letter());
    let mut rule = TopicRule::new(pattern);
    for (name, value) in table {
        if name.get_ref() == TOPICS {
            continue;
        }
        let Some(key) = KEYS.iter().find(|key| key.name == name.get_ref()) else {
            problem(name.span(), unknown(name.get_ref()));
            continue;
        };
        if is_dead_letter && !key.of_dead_letters {
            let what = format!("{}: it has no effect on a dead-letter topic", key.name);
            problem(name.span(), what);
            continue;
        }
        match key.form.canonical(value.get_ref()) {
            Ok(canonical) => (key.set)(&mut rule, &canonical),
            Err(what) => problem(value.span(), format!("{}: {what}", key.name)),
        }
    }
    Some(rule)
}

fn pattern(value: &toml::Value) -> Result<Pattern, String> {
    let example = "use a topic or a pattern such as \"jobs.eu\", \"jobs.*\" or \"jobs.>\"";
    let Some(text) = value.as_str() else {
        return Err(example.to_owned());
    };
    let pattern = Pattern::new(text).map_err(|error| format!("{text:?}: {error}"))?;
    if text.contains(['*', '>']) && text.ends_with(".dead") {
        return Err(format!(
            "{text:?} matches nothing: dead-letter topics match no pattern; name one"
        ));
    }
    Ok(pattern)
}

/// What is said of a key that there is not.
fn unknown(name: &str) -> String {
    let names = || [TOPICS].into_iter().chain(KEYS.iter().map(|key| key.name));
    let nearest = names()
        .map(|ours| (strsim::osa_distance(&name.to_ascii_lowercase(), ours), ours))
        .filter(|(slips, ours)| *slips <= (ours.len() / 3).max(1))
        .min();
    match nearest {
        Some((_, ours)) => format!("{name:?} is no key of a rule: did you mean {ours}?"),
        None => {
            let names: Vec<_> = names().collect();
            format!("{name:?} is no key of a rule: use {}", names.join(", "))
        }
    }
}

impl Problem {
    fn at(text: &str, span: Range<usize>, what: String) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let (line, rest) = match before.rsplit_once('\n') {
            Some((lines, rest)) => (lines.matches('\n').count() + 2, rest),
            None => (1, before),
        };
        Self {
            line,
            column: rest.chars().count() + 1,
            what,
        }
    }
}

fn lines(path: &str, problems: &[Problem]) -> String {
    let line = |it: &Problem| {
        let Problem { line, column, what } = it;
        format!("TOPICS_FILE: {path}: line {line}, column {column}: {what}")
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}
