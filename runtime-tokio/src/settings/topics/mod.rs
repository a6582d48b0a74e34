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

use super::file::{self, FileError, Problem};
use keys::{DeadLetters, KEYS};
use message_queue_core::TopicRule;
use message_queue_core::names::{Pattern, TopicName};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;

/// The key that says which topics a rule is about.
const TOPICS: &str = "topics";

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) rules: Vec<TopicRule>,
    /// For each rule the line where it begins, from 1.
    lines: Vec<usize>,
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
/// See [`FileError`].
pub(super) fn read(path: &Path) -> Result<Rules, FileError> {
    file::read("TOPICS_FILE", path, parse)
}

fn parse(text: &str) -> Result<Rules, Vec<Problem>> {
    let document: Document =
        toml::from_str(text).map_err(|error| vec![Problem::of_toml(text, &error)])?;
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
        if is_dead_letter && key.of_dead_letters == DeadLetters::Never {
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
    let keys = KEYS.iter().map(|key| key.name);
    file::unknown(name, "a rule", [TOPICS].into_iter().chain(keys))
}
