//! Planted bugs: small mistakes of the kind that people make, each of which a simulation must catch.
//!
//! They prove the proof: a simulation that does not find them would not find their like. No production file
//! knows of them. Each is an edit, in a list under `runtime-sim/planted/`: a text that stands exactly once in a
//! file, and what stands there instead. [`plant()`] makes a copy of the source tree in which all of them are
//! in place, each behind a switch ([`message_queue_core`]'s `planted` module, which the copy alone is built
//! with: `cfg(planted_bugs)`), so that one build serves for all. An edit whose text is no longer found is an
//! error, and a unit test says so before CI does.

mod tree;

pub use tree::{PlantError, plant};

use crate::scenario::Scenario;
use serde::Deserialize;

/// In the text of an edit: whether this bug is switched on.
const SWITCH: &str = "$BUG";

/// A mistake that can be planted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bug {
    /// Its name in the table of what was caught.
    pub name: String,
    /// What is wrong.
    pub mistake: String,
    /// What has to catch it.
    pub catcher: Catcher,
    /// Where it is planted: one edit, or several that belong together.
    pub edits: Vec<Edit>,
}

/// What has to catch a bug: it goes with the list that the bug stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Catcher {
    /// A simulator.
    Scenario(Scenario),
    /// The core's own tests in this folder, which find their bugs in a file `planted.txt` there.
    Tests(&'static str),
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
    bug: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    mistake: String,
    edit: Vec<Edit>,
}

/// Every bug there is. Its place in this list is its number for the switch.
///
/// # Panics
/// If a list under `runtime-sim/planted/` cannot be read: they are compiled in.
pub fn bugs() -> Vec<Bug> {
    let lists = [
        (
            Catcher::Scenario(Scenario::Core),
            include_str!("../../planted/core.toml"),
        ),
        (
            Catcher::Scenario(Scenario::Full),
            include_str!("../../planted/driver.toml"),
        ),
        (
            Catcher::Tests("core/tests/guarantees"),
            include_str!("../../planted/stores.toml"),
        ),
        (
            Catcher::Tests("core/src/log/tests"),
            include_str!("../../planted/log.toml"),
        ),
        (
            Catcher::Scenario(Scenario::Guarantees),
            include_str!("../../planted/guarantees.toml"),
        ),
        (
            Catcher::Scenario(Scenario::Guarantees),
            include_str!("../../planted/rights.toml"),
        ),
        (
            Catcher::Scenario(Scenario::Guarantees),
            include_str!("../../planted/rules.toml"),
        ),
        (
            Catcher::Scenario(Scenario::Guarantees),
            include_str!("../../planted/shared.toml"),
        ),
        (
            Catcher::Scenario(Scenario::Durable),
            include_str!("../../planted/durable.toml"),
        ),
    ];
    let mut bugs = Vec::new();
    for (catcher, text) in lists {
        match toml::from_str::<List>(text) {
            Ok(list) => bugs.extend(list.bug.into_iter().map(|entry| Bug {
                name: entry.name,
                mistake: entry.mistake,
                catcher,
                edits: entry.edit,
            })),
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
            assert!(
                bugs.iter()
                    .any(|bug| bug.catcher == Catcher::Scenario(scenario))
            );
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
