//! `message-queue log inspect`.

use super::data::{Data, Topic};
use super::{LogError, TopicsArgs, aside, each, records, walk, words};
use crate::cli::exit::Exit;
use crate::cli::table::{Align, table};
use crate::cli::topics::ListFormat;
use crate::cli::{json, say};
use indicatif::HumanBytes;
use message_queue_core::log::{Inspection, Progress, ReadFrom, Summary};
use message_queue_core::wire::control::Range;
use serde_json::{Value, json};
use std::ops::ControlFlow;

/// Show what stored topics hold
///
/// Without a topic, a line for each. With one, its segments, how far each group has got, and the producers that it
/// remembers. Reads the journal, the heads of segments and the last segment, however large the topic is, and changes
/// nothing. What is damaged there is named; verify reads all of it.
#[derive(Debug, clap::Args)]
pub(super) struct InspectArgs {
    #[command(flatten)]
    topics: TopicsArgs,

    /// Show every record of the topic and where in its files it is. Reads all of it
    #[arg(long, requires = "topic")]
    records: bool,

    /// How to print it
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    format: ListFormat,
}

pub(super) fn inspect(args: &InspectArgs) -> Result<Exit, LogError> {
    let data = Data::take(&args.topics.data.data)?;
    let topics = data.topics(args.topics.topic.as_ref())?;
    let mut rows = Vec::new();
    let is_whole = each(&topics, |topic| {
        aside::refuse_pending(topic)?;
        if args.records {
            return records::list(topic, args.format);
        }
        let looked = walk::look(topic, ReadFrom::Last, |_| Ok(ControlFlow::Continue(())))?;
        let inspection = &looked.inspection;
        let summary = inspection.summary();
        match (args.format, &args.topics.topic) {
            (ListFormat::Json, _) => say::answer(&as_json(topic, inspection, &summary))?,
            (ListFormat::Table, Some(_)) => say::answer(&in_full(&summary))?,
            (ListFormat::Table, None) => rows.push(row(topic, &summary, looked.bytes)),
        }
        for note in inspection.notes() {
            say::note(&format!("{}: {note}", topic.name()));
        }
        for damage in inspection.damage() {
            say::note(&format!("{}: {}", topic.name(), words::damage(damage)));
        }
        Ok(inspection.damage().is_empty())
    });
    if args.format == ListFormat::Table && args.topics.topic.is_none() {
        let columns = [
            ("TOPIC", Align::Left),
            ("FIRST", Align::Right),
            ("NEXT", Align::Right),
            ("SEGMENTS", Align::Right),
            ("SIZE", Align::Right),
            ("GROUPS", Align::Right),
            ("PRODUCERS", Align::Right),
            ("LAST PUBLISHED", Align::Left),
        ];
        say::answer(&table(columns, &rows))?;
    }
    Ok(if is_whole { Exit::Done } else { Exit::Failed })
}

fn row(topic: &Topic, summary: &Summary, bytes: u64) -> [String; 8] {
    [
        topic.name().to_owned(),
        summary.first.to_string(),
        summary.next.to_string(),
        summary.segments.len().to_string(),
        HumanBytes(bytes).to_string(),
        summary.groups.len().to_string(),
        summary.producers.len().to_string(),
        summary.published.map_or("-".to_owned(), |(_, it)| date(it)),
    ]
}

/// The date of a moment in milliseconds since 1970; of 0, that there is none.
pub(super) fn date(millis: u64) -> String {
    let known = json::date(millis).filter(|_| millis > 0);
    known.unwrap_or_else(|| "-".to_owned())
}

fn in_full(summary: &Summary) -> String {
    let mut text = String::new();
    let columns = [
        ("SEGMENT", Align::Left),
        ("FIRST", Align::Right),
        ("NEXT", Align::Right),
        ("SIZE", Align::Right),
        ("PUBLISHED UNTIL", Align::Left),
    ];
    let rows = summary.segments.iter().map(|it| {
        [
            it.file.to_string(),
            it.first.to_string(),
            it.next.to_string(),
            HumanBytes(it.bytes).to_string(),
            date(it.published),
        ]
    });
    text.push_str(&table(columns, &rows.collect::<Vec<_>>()));
    let columns = [
        ("GROUP", Align::Left),
        ("SETTLED UP TO", Align::Right),
        ("NOT SETTLED", Align::Right),
        ("FAILED", Align::Right),
    ];
    let rows = summary.groups.iter().map(|(name, progress)| {
        [
            name.clone(),
            progress.settled_up_to.to_string(),
            not_settled(summary.next, progress).to_string(),
            progress.failed.len().to_string(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(columns, &rows));
    }
    let columns = [
        ("PRODUCER", Align::Left),
        ("SESSION", Align::Left),
        ("POSITION", Align::Right),
    ];
    let producers = summary.producers.iter();
    let rows = producers.map(|it| {
        let position = it.position.to_string();
        [it.name.clone(), it.session.clone(), position]
    });
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(columns, &rows));
    }
    text
}

/// How many of the sequences before `next` a group has not settled.
fn not_settled(next: u64, progress: &Progress) -> u64 {
    let above = progress.settled.iter();
    let above: u64 = above.map(|Range { from, to }| to - from + 1).sum();
    let up_to = progress.settled_up_to.saturating_add(above);
    next.saturating_sub(1).saturating_sub(up_to)
}

fn as_json(topic: &Topic, inspection: &Inspection, summary: &Summary) -> String {
    let published = summary.published;
    let line = json!({
        "topic": topic.name(),
        "epoch": summary.epoch,
        "first": summary.first,
        "next": summary.next,
        "published": published.map(|(first, last)| json!({
            "first": json::date(first),
            "last": json::date(last),
        })),
        "segments": summary.segments.iter().map(|it| json!({
            "file": it.file.to_string(),
            "first": it.first,
            "next": it.next,
            "bytes": it.bytes,
            "published_until": json::date(it.published),
        })).collect::<Vec<_>>(),
        "groups": summary.groups.iter().map(|(name, progress)| {
            group_as_json(name, progress, summary.next)
        }).collect::<Vec<_>>(),
        "producers": summary.producers.iter().map(|it| json!({
            "producer": it.name,
            "session": it.session,
            "position": it.position,
        })).collect::<Vec<_>>(),
        "damage": inspection.damage().iter().map(words::damage_as_json).collect::<Vec<_>>(),
        "notes": inspection.notes().iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    format!("{line}\n")
}

fn group_as_json(name: &str, progress: &Progress, next: u64) -> Value {
    let settled = progress.settled.iter().map(|it| json!([it.from, it.to]));
    let failed = progress.failed.iter().map(|it| {
        json!({
            "sequence": it.sequence,
            "failures": it.failures,
            "not_before": json::date(it.not_before_ms),
        })
    });
    json!({
        "group": name,
        "settled_up_to": progress.settled_up_to,
        "settled_above": settled.collect::<Vec<_>>(),
        "not_settled": not_settled(next, progress),
        "failed": failed.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_group_has_settled_above_is_not_counted_twice() {
        let progress = Progress {
            settled_up_to: 3,
            settled: vec![Range { from: 5, to: 6 }, Range { from: 9, to: 9 }],
            failed: Vec::new(),
        };
        assert_eq!(not_settled(11, &progress), 4);
        assert_eq!(not_settled(1, &Progress::default()), 0);
        assert_eq!(not_settled(11, &Progress::default()), 10);
    }

    #[test]
    fn nothing_published_has_no_date() {
        assert_eq!(date(0), "-");
        assert_eq!(date(1000), "1970-01-01T00:00:01.000Z");
        assert_eq!(date(u64::MAX), "-");
    }
}
