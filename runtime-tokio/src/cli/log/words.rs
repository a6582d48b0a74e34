//! What is said of logs.

use indicatif::HumanCount;
use message_queue_core::log::{Damage, DamageKind, Groups, Plan};
use message_queue_core::store::FetchFrom;
use message_queue_core::wire::control::Range;
use serde_json::{Value, json};

/// What is damaged.
pub(super) fn damage(damage: &Damage) -> String {
    let Damage { file, offset, kind } = damage;
    match kind {
        DamageKind::Missing => format!("{file} is missing"),
        DamageKind::NoJournal => "there is no journal, which says how far groups are".to_owned(),
        DamageKind::NotARecord => format!("{file} is damaged at byte {offset}"),
        DamageKind::Misplaced => {
            format!("{file} holds at byte {offset} what does not belong there")
        }
        DamageKind::NewerFormat(format) => {
            format!("{file} has format {format}, which only a later version of this program reads")
        }
        DamageKind::EndsBefore(sequence) => {
            format!("{file} ends at byte {offset}, and message {sequence} should follow")
        }
    }
}

/// The same for a program.
pub(super) fn damage_as_json(it: &Damage) -> Value {
    json!({
        "file": it.file.to_string(),
        "offset": it.offset,
        "what": damage(it),
    })
}

/// What a repair loses, a line each.
pub(super) fn losses(plan: &Plan) -> Vec<String> {
    let mut lines: Vec<_> = plan.lost.iter().map(|it| lost(*it)).collect();
    if lines.is_empty() {
        lines.push("no message that is known of is lost".to_owned());
    }
    if let Some(begin) = plan.begin {
        lines.push(format!(
            "nothing says whether messages before {begin} were deleted on purpose; they are not there"
        ));
    }
    if plan.is_end_unknown {
        lines.push(
            "messages behind the last that is known of may be lost; nothing says how many, and their sequences will be given to others"
                .to_owned(),
        );
    }
    match plan.groups {
        Groups::Kept => {}
        Groups::Uncertain => lines.push(
            "groups: some may be missing, or get again what they had settled last".to_owned(),
        ),
        Groups::Lost => lines.push(
            "groups: nothing is known of them; each begins where its consumers say, as a new one"
                .to_owned(),
        ),
    }
    lines
}

fn lost(range: Range) -> String {
    let Range { from, to } = range;
    if from == to {
        return format!("lost: message {from}");
    }
    let count = HumanCount(to - from + 1);
    format!("lost: messages {from} to {to}, {count} in all")
}

/// Where something is that is read.
pub(super) fn place(from: &FetchFrom) -> String {
    match from {
        FetchFrom::Sequence(sequence) => format!("message {sequence}"),
        FetchFrom::Time(time) => format!("@{time}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use message_queue_core::log::File;

    #[test]
    fn what_is_lost_is_said_in_full() {
        let plan = Plan {
            lost: vec![Range { from: 4, to: 4 }, Range { from: 7, to: 1006 }],
            begin: Some(4),
            is_end_unknown: true,
            groups: Groups::Lost,
            ..Plan::default()
        };
        let lines = losses(&plan);
        assert_eq!(lines[0], "lost: message 4");
        assert_eq!(lines[1], "lost: messages 7 to 1006, 1,000 in all");
        assert!(lines[2].contains("messages before 4 "));
        assert!(lines[3].contains("nothing says how many"));
        assert!(lines[4].contains("nothing is known of them"));
        let nothing = losses(&Plan::default());
        assert_eq!(nothing, ["no message that is known of is lost"]);
    }

    #[test]
    fn a_damage_names_its_file_and_place() {
        let said = damage(&Damage {
            file: File::Segment(7),
            offset: 99,
            kind: DamageKind::NotARecord,
        });
        assert_eq!(said, "00000000000000000007.log is damaged at byte 99");
    }
}
