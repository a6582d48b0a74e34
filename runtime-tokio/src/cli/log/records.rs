//! `message-queue log inspect --records`.

use super::data::Topic;
use super::inspect::date;
use super::{LogError, walk, words};
use crate::cli::table::{Align, table};
use crate::cli::topics::ListFormat;
use crate::cli::{json, say};
use message_queue_core::log::{ReadFrom, Seen, SeenContent, Stored};
use message_queue_core::wire::control::{Mark, Range};
use serde_json::json;
use std::ops::ControlFlow;

/// How many rows are set as one table.
const ROWS: usize = 1000;

/// Prints every record of a topic. Returns whether the topic is whole.
pub(super) fn list(topic: &Topic, format: ListFormat) -> Result<bool, LogError> {
    let mut rows = Vec::new();
    let looked = walk::look(topic, ReadFrom::First, |seen| {
        match format {
            ListFormat::Json => say::answer(&as_json(&seen))?,
            ListFormat::Table => rows.push(row(&seen)),
        }
        if rows.len() == ROWS {
            print(&mut rows)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if !rows.is_empty() {
        print(&mut rows)?;
    }
    let damage = looked.inspection.damage();
    for damage in damage {
        say::note(&format!("{}: {}", topic.name(), words::damage(damage)));
    }
    Ok(damage.is_empty())
}

fn print(rows: &mut Vec<[String; 8]>) -> Result<(), LogError> {
    let columns = [
        ("FILE", Align::Left),
        ("OFFSET", Align::Right),
        ("BYTES", Align::Right),
        ("HOLDS", Align::Left),
        ("FIRST", Align::Right),
        ("LAST", Align::Right),
        ("PUBLISHED", Align::Left),
        ("PRODUCERS", Align::Left),
    ];
    say::answer(&table(columns, rows))?;
    rows.clear();
    Ok(())
}

/// What is said of a record.
struct Said<'a> {
    holds: &'static str,
    sequences: Option<Range>,
    published: Option<u64>,
    producers: &'a [Mark],
}

impl<'a> Said<'a> {
    fn of(content: &'a SeenContent) -> Self {
        let (holds, sequences, published, producers) = match content {
            SeenContent::Head => ("head", None, None, &[][..]),
            SeenContent::Producers(marks) => ("producers", None, None, &marks[..]),
            SeenContent::Stored(stored) => match stored {
                Stored::Run {
                    published,
                    producers,
                    ..
                } => (
                    "messages",
                    Some(stored.sequences()),
                    Some(*published),
                    &producers[..],
                ),
                Stored::Gap(range) => ("gap", Some(*range), None, &[][..]),
            },
        };
        Self {
            holds,
            sequences,
            published,
            producers,
        }
    }
}

fn row(seen: &Seen) -> [String; 8] {
    let said = Said::of(&seen.content);
    let none = || "-".to_owned();
    let producers = said.producers.iter();
    let producers: Vec<_> = producers
        .map(|it| format!("{}#{}", it.name, it.position))
        .collect();
    let sequences = said.sequences;
    [
        seen.file.to_string(),
        seen.offset.to_string(),
        seen.bytes.to_string(),
        said.holds.to_owned(),
        sequences.map_or_else(none, |it| it.from.to_string()),
        sequences.map_or_else(none, |it| it.to.to_string()),
        said.published.map_or_else(none, date),
        producers.join(", "),
    ]
}

fn as_json(seen: &Seen) -> String {
    let said = Said::of(&seen.content);
    let line = json!({
        "file": seen.file.to_string(),
        "offset": seen.offset,
        "bytes": seen.bytes,
        "holds": said.holds,
        "first": said.sequences.map(|it| it.from),
        "last": said.sequences.map(|it| it.to),
        "published": said.published.and_then(json::date),
        "producers": said.producers.iter().map(|it| json!({
            "producer": it.name,
            "session": it.session,
            "position": it.position,
        })).collect::<Vec<_>>(),
    });
    format!("{line}\n")
}
