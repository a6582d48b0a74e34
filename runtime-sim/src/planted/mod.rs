//! Planted bugs: small mistakes of the kind that people make, each of which a simulation must catch.
//!
//! They prove the proof: a simulation that does not find them would not find their like. No production file
//! knows of them. Each is an edit, in a list under `runtime-sim/planted/`: a text that stands exactly once in a
//! file, and what stands there instead. [`plant()`] makes a copy of the source tree in which all of them are
//! in place, each behind a switch ([`message_queue_core`]'s `planted` module, in a build with
//! `--cfg planted_bugs`), so that one build serves for all. An edit whose text is no longer found is an
//! error, and a unit test says so before CI does.

mod tree;

pub use tree::{PlantError, plant};

use crate::scenario::Scenario;
use serde::Deserialize;

/// In the text of an edit: whether this bug is switched on.
const SWITCH: &str = "$BUG";

/// A mistake that can be planted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bug {
    /// Its name in the table of what was caught.
    pub name: String,
    /// What is wrong.
    pub mistake: String,
    /// The simulator that has to catch it: the one whose list it stands in; none: the core's own tests, with the model of a
    /// store (`core/tests/guarantees`).
    #[serde(skip)]
    pub scenario: Option<Scenario>,
    /// Where it is planted: one edit, or several that belong together.
    #[serde(rename = "edit")]
    pub edits: Vec<Edit>,
}

/// One change of one file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The file, from the root of the source tree.
    pub file: String,
    /// What stands in it exactly once.
    pub find: String,
    /// What stands there instead; `$BUG` is an expression that says whether the bug is switched on.
    pub plant: String,
}

#[derive(Deserialize)]
struct List {
    bug: Vec<Bug>,
}

/// Every bug there is. Its place in this list is its number for the switch.
///
/// # Panics
/// If a list under `runtime-sim/planted/` cannot be read: they are compiled in.
pub fn bugs() -> Vec<Bug> {
    let lists = [
        (
            Some(Scenario::Core),
            include_str!("../../planted/core.toml"),
        ),
        (
            Some(Scenario::Full),
            include_str!("../../planted/driver.toml"),
        ),
        (None, include_str!("../../planted/stores.toml")),
        (
            Some(Scenario::Guarantees),
            include_str!("../../planted/guarantees.toml"),
        ),
        (
            Some(Scenario::Guarantees),
            include_str!("../../planted/rights.toml"),
        ),
        (
            Some(Scenario::Durable),
            include_str!("../../planted/durable.toml"),
        ),
    ];
    let mut bugs = Vec::new();
    for (scenario, text) in lists {
        match toml::from_str::<List>(text) {
            Ok(list) => bugs.extend(list.bug.into_iter().map(|bug| Bug { scenario, ..bug })),
            Err(error) => panic!("a list of planted bugs: {error}"),
        }
    }
    bugs
}

impl Edit {
    /// `source` with this edit of the bug of that number in place; `None` if its text does not stand there
    /// exactly once.
    fn apply(&self, number: usize, source: &str) -> Option<String> {
        if source.matches(&self.find).count() != 1 {
            return None;
        }
        let core = if self.file.starts_with("core/") {
            "crate"
        } else {
            "message_queue_core"
        };
        let switch = format!("{core}::planted::is({number})");
        Some(source.replacen(&self.find, &self.plant.replace(SWITCH, &switch), 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    #[test]
    fn every_bug_can_be_planted_in_the_source_as_it_is() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut files = BTreeMap::new();
        for (number, bug) in bugs().iter().enumerate() {
            let switched = bug.edits.iter().any(|edit| edit.plant.contains(SWITCH));
            assert!(switched, "{} cannot be switched", bug.name);
            for edit in &bug.edits {
                let source = files.entry(edit.file.clone()).or_insert_with(|| {
                    std::fs::read_to_string(root.join(&edit.file)).expect("a file to edit")
                });
                let Some(planted) = edit.apply(number, source) else {
                    panic!(
                        "{}: {} no longer has, exactly once:\n{}",
                        bug.name, edit.file, edit.find
                    );
                };
                *source = planted;
            }
        }
    }

    #[test]
    fn every_bug_has_a_name_of_its_own_and_says_what_is_wrong() {
        let bugs = bugs();
        let names: BTreeSet<_> = bugs.iter().map(|bug| &bug.name).collect();
        assert_eq!(names.len(), bugs.len());
        assert!(bugs.iter().all(|bug| bug.mistake.ends_with('.')));
        for scenario in Scenario::ALL {
            assert!(bugs.iter().any(|bug| bug.scenario == Some(scenario)));
        }
    }

    #[test]
    fn an_edit_whose_text_is_not_there_or_there_twice_does_not_apply() {
        let edit = Edit {
            file: "core/src/lib.rs".into(),
            find: "x + 1".into(),
            plant: "x + usize::from(!$BUG)".into(),
        };
        let planted = "x + usize::from(!crate::planted::is(7))";
        assert_eq!(edit.apply(7, "x + 1").as_deref(), Some(planted));
        assert_eq!(edit.apply(7, "x + 2"), None);
        assert_eq!(edit.apply(7, "x + 1; x + 1"), None);
    }
}
