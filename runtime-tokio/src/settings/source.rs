//! Where values come from: the environment, then `.env`, then the default.

use super::error::{NotAllowed, service_link};
use super::table::{SETTINGS, Setting};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

/// Where the value of a setting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing was given, or an empty value.
    Default,
    /// The file `.env` in the working directory.
    DotEnv,
    /// The environment of the process.
    Environment,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::DotEnv => ".env",
            Self::Environment => "environment",
        })
    }
}

/// A setting and the value in force.
#[derive(Clone, Debug)]
pub struct Effective {
    pub(super) setting: &'static Setting,
    pub(super) value: String,
    pub(super) origin: Origin,
}

impl Effective {
    /// The setting.
    pub fn setting(&self) -> &'static Setting {
        self.setting
    }

    /// Its value in its usual form; empty where there is none.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Where the value comes from.
    pub fn origin(&self) -> Origin {
        self.origin
    }
}

/// The value in force of every setting, and every value that is not allowed; in the place of such
/// a value stands the default.
///
/// Only variables that the list names are looked at. A variable of the environment counts even
/// where it is empty: it then means the default, whatever `.env` says.
pub(super) fn resolve(
    environment: impl Fn(&str) -> Option<OsString>,
    dotenv: &BTreeMap<String, String>,
) -> (Vec<Effective>, Vec<NotAllowed>) {
    let mut effective = Vec::with_capacity(SETTINGS.len());
    let mut problems = Vec::new();
    for setting in &SETTINGS {
        let given = match environment(setting.name) {
            Some(value) => Some((value, Origin::Environment)),
            None => dotenv
                .get(setting.name)
                .map(|value| (value.into(), Origin::DotEnv)),
        };
        let default = || Effective {
            setting,
            value: setting.default.to_owned(),
            origin: Origin::Default,
        };
        effective.push(
            match given.map(|(value, origin)| check(setting, value, origin)) {
                Some(Ok(Some(checked))) => checked,
                Some(Ok(None)) | None => default(),
                Some(Err(problem)) => {
                    problems.push(problem);
                    default()
                }
            },
        );
    }
    (effective, problems)
}

/// The value in its usual form, or `None` where it is empty.
fn check(
    setting: &'static Setting,
    given: OsString,
    origin: Origin,
) -> Result<Option<Effective>, NotAllowed> {
    let not_allowed = |value: String, hint| NotAllowed {
        name: setting.name,
        value,
        origin,
        allowed: setting.allowed.to_string(),
        hint,
    };
    let given = given.into_string().map_err(|given| {
        not_allowed(
            format!("{given:?}"),
            Some("this value is not valid UTF-8".to_owned()),
        )
    })?;
    let trimmed = given.trim();
    if trimmed.is_empty() {
        return Ok(None);
    }
    match setting.allowed.canonical(trimmed) {
        Some(value) => Ok(Some(Effective {
            setting,
            value,
            origin,
        })),
        None => Err(not_allowed(
            format!("{trimmed:?}"),
            service_link(setting.name, trimmed),
        )),
    }
}
