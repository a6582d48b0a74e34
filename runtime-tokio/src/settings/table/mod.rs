//! The one list of settings.
//!
//! Everything that names a setting comes from here or is tested against it: parsing and its errors,
//! `--help`, `--print-config`, `docs/SETTINGS.md`, `.env.example` and the chart's values. It is in
//! parts, and one list behind the other.

mod access;
mod connections;
mod limits;
mod ports;
mod process;
mod storage;
mod topics;

use super::allowed::Allowed;

pub(super) use limits::{BACKLOG, MESSAGES};
pub(super) use storage::{FSYNC, RETENTION, RETENTION_SIZE, SEGMENT, STORAGE};

/// One setting: an environment variable.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The name of the variable.
    pub name: &'static str,
    /// The value where none is given, as it would be written; empty where there is none.
    pub default: &'static str,
    /// The values that are allowed.
    pub allowed: Allowed,
    /// What it does, in one or two sentences.
    pub help: &'static str,
    /// For a bound: what it costs in memory.
    pub memory: Option<&'static str>,
    /// Whether the value is never shown: not by `--print-config`, in the log, or in an error.
    pub secret: bool,
}

/// Places for things that are counted, of which there is at least one.
const PLACES: Allowed = Allowed::Number {
    min: 1,
    max: 1_000_000,
    unit: "",
};

/// An hour: a longer deadline is more likely a slip of the unit than a wish.
const DEADLINE: Allowed = Allowed::Time {
    min: 1,
    max: 3_600_000,
    or_zero: false,
};

/// Things that are counted, of which there may be none.
const COUNT: Allowed = Allowed::Number {
    min: 0,
    max: 1_000_000,
    unit: "",
};

/// What each file holds, in the order in which settings are listed everywhere.
const PARTS: [&[Setting]; 7] = [
    ports::SETTINGS,
    limits::SETTINGS,
    topics::SETTINGS,
    storage::SETTINGS,
    access::SETTINGS,
    connections::SETTINGS,
    process::SETTINGS,
];

/// Every setting, in the order in which they are listed everywhere.
pub static SETTINGS: &[Setting] = &all();

/// How many there are.
const LENGTH: usize = {
    let (mut length, mut part) = (0, 0);
    while part < PARTS.len() {
        length += PARTS[part].len();
        part += 1;
    }
    length
};

/// The parts, one behind the other.
const fn all() -> [Setting; LENGTH] {
    let mut all = [PARTS[0][0]; LENGTH];
    let (mut at, mut part) = (0, 0);
    while part < PARTS.len() {
        let mut place = 0;
        while place < PARTS[part].len() {
            all[at] = PARTS[part][place];
            (at, place) = (at + 1, place + 1);
        }
        part += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_default_is_allowed_and_in_its_usual_form() {
        for setting in SETTINGS {
            let canonical = setting.allowed.canonical(setting.default).unwrap();
            assert_eq!(
                setting.allowed.shown(&canonical),
                setting.default,
                "{}",
                setting.name
            );
        }
    }

    #[test]
    fn every_name_is_listed_once() {
        let names: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        assert_eq!(names.len(), SETTINGS.len());
    }
}
