//! Which value of a setting counts: the environment's, then that of `.env`, then the default.

use super::error::{NotAllowed, quoted, service_link};
use super::origin::{Effective, Origin};
use super::table::Setting;
use std::collections::BTreeMap;
use std::ffi::OsString;

/// The value in force of every setting in `table`, and every value that is not allowed; in the place
/// of such a value stands the default.
///
/// A variable of the environment counts even where it is empty: it then means the default, whatever
/// `.env` says.
pub(super) fn resolve(
    table: &'static [Setting],
    environment: &BTreeMap<String, OsString>,
    dotenv: &BTreeMap<String, String>,
) -> (Vec<Effective>, Vec<NotAllowed>) {
    let mut effective = Vec::with_capacity(table.len());
    let mut problems = Vec::new();
    for setting in table {
        let given = match environment.get(setting.name) {
            Some(value) => Some((value.clone(), Origin::Environment)),
            None => dotenv
                .get(setting.name)
                .map(|value| (value.into(), Origin::DotEnv)),
        };
        let default = || Effective {
            setting,
            // Every default is allowed: a test.
            value: setting
                .allowed
                .canonical(setting.default)
                .unwrap_or_default(),
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

/// The value as it is kept, or `None` where it is empty.
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
            quoted(setting, &given),
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
            quoted(setting, &trimmed),
            service_link(setting.name, trimmed),
        )),
    }
}
