//! The keys that say what a principal may do.

use super::{Entry, Reader};
use message_queue_core::access::{ConsumeRight, GroupPattern, Rights};
use message_queue_core::names::{NameError, Pattern};
use toml::Value;

const TOPICS: &str = "an array of topics and patterns such as [\"jobs.eu\", \"gpu.>\"]";
const CONSUME: &str = "an array of topics and patterns such as [\"jobs.eu\", \"gpu.>\"], or of tables such as \
                       { topics = \"jobs.eu\", groups = [\"workers\", \"audit-*\"] }";

impl Reader<'_> {
    /// The rights in a table. What is wrong with them is told, and is none.
    pub(super) fn rights(&mut self, entry: &mut Entry) -> Rights {
        Rights {
            produce: self.right(entry, "produce", TOPICS, topics),
            consume: self.right(entry, "consume", CONSUME, consume),
            admin: self.right(entry, "admin", TOPICS, topics),
        }
    }

    fn right<T>(
        &mut self,
        entry: &mut Entry,
        key: &str,
        form: &str,
        read: impl Fn(&Value) -> Result<T, Wrong>,
    ) -> Vec<T> {
        let Some(value) = entry.take(key) else {
            return Vec::new();
        };
        let all = match value.get_ref().as_array() {
            Some(all) => all.iter().map(read).collect(),
            None => Err(Wrong::Form),
        };
        all.unwrap_or_else(|wrong| {
            let what = match wrong {
                Wrong::Form => format!("{key}: use {form}"),
                Wrong::Name(text, error) => format!("{key}: {text:?}: {error}"),
            };
            self.problem(value.span(), &what);
            Vec::new()
        })
    }
}

/// What is wrong with one of an array.
enum Wrong {
    Form,
    Name(String, NameError),
}

fn topics(value: &Value) -> Result<Pattern, Wrong> {
    let text = value.as_str().ok_or(Wrong::Form)?;
    Pattern::new(text).map_err(|error| Wrong::Name(text.to_owned(), error))
}

fn consume(value: &Value) -> Result<ConsumeRight, Wrong> {
    let Value::Table(table) = value else {
        return Ok(ConsumeRight {
            topics: topics(value)?,
            groups: None,
        });
    };
    let known = |key: &String| ["topics", "groups"].contains(&key.as_str());
    let (Some(of), Some(Value::Array(groups)), true) = (
        table.get("topics"),
        table.get("groups"),
        table.keys().all(known),
    ) else {
        return Err(Wrong::Form);
    };
    let group = |value: &Value| {
        let text = value.as_str().ok_or(Wrong::Form)?;
        GroupPattern::new(text).map_err(|error| Wrong::Name(text.to_owned(), error))
    };
    Ok(ConsumeRight {
        topics: topics(of)?,
        groups: Some(groups.iter().map(group).collect::<Result<_, _>>()?),
    })
}
