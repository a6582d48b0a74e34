//! `message-queue log repair`.

use super::data::{Data, Topic};
use super::{LogError, TopicsArgs, aside, each, walk, words};
use crate::cli::exit::Exit;
use crate::cli::say;
use crate::cli::serve::since_1970;
use message_queue_core::log::{File, Plan};
use std::fmt::Write;
use std::path::Path;

/// Make damaged topics openable, and say what is lost
///
/// Without --yes it says what it would do, does nothing, and ends with 1 if there is something to be done. Every record
/// that is whole is kept. A gap stands for messages that are lost between others, so that their sequences are not used
/// again. A journal that is lost is made anew from the segments; groups are unknown then. Nothing is deleted: what is
/// replaced is in DATA_DIR/aside/TOPIC-1, or -2 and so on, afterwards. It may be interrupted at any time and run again.
///
/// If there is a backup of the files that are damaged, put it back instead.
#[derive(Debug, clap::Args)]
pub(super) struct RepairArgs {
    #[command(flatten)]
    topics: TopicsArgs,

    /// Do it
    #[arg(long)]
    yes: bool,
}

pub(super) fn repair(args: &RepairArgs) -> Result<Exit, LogError> {
    let data = Data::take(&args.topics.data.data)?;
    let topics = data.topics(args.topics.topic.as_ref())?;
    let is_well = each(&topics, |topic| repair_topic(topic, args.yes));
    if !is_well && !args.yes {
        say::note("nothing was done; the same command with --yes does it");
    }
    Ok(if is_well { Exit::Done } else { Exit::Failed })
}

/// Whether nothing is to be done any more.
fn repair_topic(topic: &Topic, yes: bool) -> Result<bool, LogError> {
    let name = topic.name();
    let failed = |source| LogError::File {
        name: format!("{name}: the repair"),
        source,
    };
    if let Some(prepared) = aside::pending(topic) {
        if !yes {
            say::answer(&format!(
                "{name}: a repair was interrupted; it would be brought to its end\n"
            ))?;
            return Ok(false);
        }
        aside::finish(topic, &prepared).map_err(failed)?;
        say::answer(&format!(
            "{name}: the repair that was interrupted is at its end; what it replaced is in {}\n",
            prepared.display()
        ))?;
    }
    let looked = walk::look_at_all(topic)?;
    let plan = looked.inspection.plan(epoch());
    let plan = plan.map_err(|damage| LogError::NewerFormat {
        topic: name.to_owned(),
        damage: damage.clone(),
    })?;
    let mut text = String::new();
    for damage in looked.inspection.damage() {
        let _ = writeln!(text, "{name}: {}", words::damage(damage));
    }
    if plan.is_empty() {
        let _ = writeln!(text, "{name}: whole; nothing is to be done");
        say::answer(&text)?;
        return Ok(true);
    }
    for loss in words::losses(&plan) {
        let _ = writeln!(text, "{name}: {loss}");
    }
    if !yes {
        text.push_str(&to_be_done(name, &plan));
        say::answer(&text)?;
        return Ok(false);
    }
    say::answer(&text)?;
    let folder = aside::carry_out(topic, &plan).map_err(failed)?;
    say::answer(&done(name, &plan, &folder))?;
    Ok(true)
}

fn to_be_done(name: &str, plan: &Plan) -> String {
    let mut text = String::new();
    for file in &plan.aside {
        let _ = writeln!(text, "{name}: would move aside {file}");
    }
    for new in &plan.new {
        let _ = writeln!(text, "{name}: would write {}", new.file);
    }
    text
}

fn done(name: &str, plan: &Plan, folder: &Path) -> String {
    let names = |files: &mut dyn Iterator<Item = &File>| {
        let names: Vec<_> = files.map(ToString::to_string).collect();
        names.join(", ")
    };
    let mut text = String::new();
    if !plan.new.is_empty() {
        let new = names(&mut plan.new.iter().map(|it| &it.file));
        let _ = writeln!(text, "{name}: wrote {new}");
    }
    if !plan.aside.is_empty() {
        let old = names(&mut plan.aside.iter());
        let _ = writeln!(text, "{name}: moved {old} to {}", folder.display());
    }
    let _ = writeln!(text, "{name}: repaired");
    text
}

/// An epoch for a log that has lost its own: later than all before.
pub(super) fn epoch() -> u64 {
    // As the broker counts them: milliseconds, and the number of the topic below.
    ((since_1970().as_millis() as u64) << 20) + 1
}
