//! `message-queue log verify`.

use super::data::{Data, Topic};
use super::{LogError, TopicsArgs, aside, each, walk, words};
use crate::cli::exit::Exit;
use crate::cli::progress::Messages;
use crate::cli::say;
use crate::cli::topics::ListFormat;
use indicatif::HumanBytes;
use serde_json::json;
use std::fmt::Write;

/// Read every byte of stored topics, and say what is damaged
///
/// Verifies the checksum of every record, that sequences have no hole, that segments follow upon each other, and that
/// the journal agrees with them. Changes nothing. A torn end, as a crash leaves it, is named and is no damage: it was
/// not safe yet, and opening the topic cuts it off. Ends with 0 if all is whole, with 1 if something is damaged.
#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    topics: TopicsArgs,

    /// How to print what was found: for people, or a line of JSON for each topic
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    format: ListFormat,
}

pub(super) fn verify(args: &VerifyArgs) -> Result<Exit, LogError> {
    let data = Data::take(&args.topics.data.data)?;
    let topics = data.topics(args.topics.topic.as_ref())?;
    let is_whole = each(&topics, |topic| {
        aside::refuse_pending(topic)?;
        verify_topic(topic, args.format)
    });
    Ok(if is_whole { Exit::Done } else { Exit::Failed })
}

/// Whether a topic is whole.
fn verify_topic(topic: &Topic, format: ListFormat) -> Result<bool, LogError> {
    let looked = walk::look_at_all(topic)?;
    let (damage, notes) = (looked.inspection.damage(), looked.inspection.notes());
    let segments = looked.inspection.summary().segments.len();
    let name = topic.name();
    let mut text = String::new();
    match format {
        ListFormat::Json => {
            let line = json!({
                "topic": name,
                "whole": damage.is_empty(),
                "messages": looked.totals.messages,
                "segments": segments,
                "bytes": looked.bytes,
                "damage": damage.iter().map(words::damage_as_json).collect::<Vec<_>>(),
                "notes": notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            });
            let _ = writeln!(text, "{line}");
        }
        ListFormat::Table => {
            for note in notes {
                let _ = writeln!(text, "{name}: {note}");
            }
            for damage in damage {
                let _ = writeln!(text, "{name}: {}", words::damage(damage));
            }
            let verdict = match damage.len() {
                0 => "whole".to_owned(),
                1 => "damaged in one place".to_owned(),
                places => format!("damaged in {places} places"),
            };
            let plural = if segments == 1 { "" } else { "s" };
            let _ = writeln!(
                text,
                "{name}: {verdict}; {} in {segments} segment{plural}, {}",
                Messages(looked.totals.messages),
                HumanBytes(looked.bytes)
            );
        }
    }
    say::answer(&text)?;
    Ok(damage.is_empty())
}
