//! What was written as a setting and is none: a misspelt name above all.

use super::dotenv::{BROKER_ADDR, DotEnv};
use super::origin::Origin;
use super::table::SETTINGS;
use std::collections::BTreeMap;
use std::ffi::OsString;

/// Variables of many programs, a letter or two from one of ours.
const OF_OTHERS: [&str; 2] = ["HTTPS_PORT", "SSL_CERT_FILE"];

/// How many names or lines a warning lists.
const LISTED: usize = 5;

/// What was written and has no effect.
#[derive(Clone, Debug, Default)]
pub(super) struct Unknown {
    /// One line for each name that is close to one of ours.
    pub(super) misspelt: Vec<String>,
    /// What else is in `.env`, one line for each kind.
    pub(super) ignored: Vec<String>,
}

impl Unknown {
    pub(super) fn find(environment: &BTreeMap<String, OsString>, dotenv: &DotEnv) -> Self {
        let in_environment = environment.keys().map(|name| (name, Origin::Environment));
        let in_dotenv = dotenv.variables.keys().map(|name| (name, Origin::DotEnv));
        let mut misspelt = Vec::new();
        let mut others = Vec::new();
        for (name, origin) in in_environment.chain(in_dotenv) {
            if is_ours(name) {
                continue;
            }
            match nearest(name) {
                Some(ours) => misspelt.push(format!(
                    "{name:?} ({origin}) is not a setting, so it has no effect: did you mean {ours}?"
                )),
                None if origin == Origin::DotEnv => others.push(name.clone()),
                // The environment is full of other programs' variables.
                None => {}
            }
        }
        let mut ignored = Vec::new();
        if !others.is_empty() {
            let names = list(&others);
            ignored.push(format!(".env: not settings of message-queue: {names}"));
        }
        if !dotenv.ignored.is_empty() {
            let lines = list(&dotenv.ignored);
            ignored.push(format!(
                ".env: not understood, and ignored: line {lines}; a line is KEY=value or a comment \
                 after #, and a value with spaces needs quotes"
            ));
        }
        Self { misspelt, ignored }
    }
}

/// The first few of `items`, and how many more there are.
fn list<T: ToString>(items: &[T]) -> String {
    let listed: Vec<_> = items.iter().take(LISTED).map(T::to_string).collect();
    let listed = listed.join(", ");
    match items.len().saturating_sub(LISTED) {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}

/// Whether this program, in any of its commands, reads the variable `name`.
pub(super) fn is_ours(name: &str) -> bool {
    ours().any(|ours| ours == name)
}

fn ours() -> impl Iterator<Item = &'static str> {
    let settings = SETTINGS.iter().map(|setting| setting.name);
    settings.chain([BROKER_ADDR])
}

/// The name of ours that `name` is a slip of, if it looks like one: other letter case, or a slip of
/// the finger for every six letters, two at the most.
fn nearest(name: &str) -> Option<&'static str> {
    if OF_OTHERS.contains(&name) {
        return None;
    }
    let upper = name.to_ascii_uppercase();
    ours()
        .map(|ours| (strsim::osa_distance(&upper, ours), ours))
        .filter(|(slips, ours)| *slips <= (ours.len() / 6).min(2))
        .min()
        .map(|(_, ours)| ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_has_a_nearest_name_and_another_programs_variable_has_none() {
        for (name, ours) in [
            ("QUEUE_CAPACTY", "QUEUE_CAPACITY"),
            ("QUEUE_CAPACITIY", "QUEUE_CAPACITY"),
            ("MAX_CONSUMER", "MAX_CONSUMERS"),
            ("MAX_CONNECTION", "MAX_CONNECTIONS"),
            ("tcp_port", "TCP_PORT"),
            ("TPC_PORT", "TCP_PORT"),
            ("LOGLEVEL", "LOG_LEVEL"),
            ("BROKER_ADRR", "BROKER_ADDR"),
            ("DRAIN_TIMOUT_MS", "DRAIN_TIMEOUT_MS"),
        ] {
            assert_eq!(nearest(name), Some(ours), "{name}");
        }
        for name in [
            "HTTPS_PORT",
            "SSL_CERT_FILE",
            "SSH_PORT",
            "UDP_PORT",
            "PATH",
            "HOME",
            "DB_PORT",
            "PORT",
            "HTTP_PROXY",
            "RUST_BACKTRACE",
            "TCP_PORT_80_TCP",
            "MAX_CONTAINERS",
            "LOGNAME",
            "A",
            "",
        ] {
            assert_eq!(nearest(name), None, "{name}");
        }
        for ours in ours() {
            assert_eq!(nearest(ours), Some(ours));
        }
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(list(&[1, 2]), "1, 2");
        assert_eq!(list(&[1, 2, 3, 4, 5, 6, 7]), "1, 2, 3, 4, 5 and 2 more");
    }
}
