//! Settings that change while the broker runs.

use super::{Effective, Settings, render};

/// What can change while the broker runs. Everything else is part of what the core, the sockets or
/// the log's writer were made with.
const AT_RUN_TIME: [&str; 4] = [
    "DRAIN_TIMEOUT_MS",
    "DRAIN_DELAY_MS",
    "LOG_LEVEL",
    "RUST_LOG",
];

/// What a second look at the settings has brought.
#[derive(Debug)]
pub struct Reload {
    /// The settings in force from now on.
    pub settings: Settings,
    /// What has changed, as `KEY=value`.
    pub applied: Vec<String>,
    /// What is different now and is not in force before a restart, as `KEY=value`.
    pub needs_restart: Vec<String>,
}

impl Settings {
    /// These settings with what of `new` can be applied while the broker runs.
    pub fn reload(&self, new: Self) -> Reload {
        let mut reload = Reload {
            settings: self.clone(),
            applied: Vec::new(),
            needs_restart: Vec::new(),
        };
        let pairs = reload.settings.effective.iter_mut().zip(new.effective);
        // A file of topics may say something else under the same name.
        let topics_differ = new.topics != self.topics;
        let differs = |old: &Effective, new: &Effective| {
            old.value != new.value || (new.setting.name == "TOPICS_FILE" && topics_differ)
        };
        for (old, new) in pairs.filter(|(old, new)| differs(old, new)) {
            let assignment = render::assignment(&new);
            if AT_RUN_TIME.contains(&new.setting.name) {
                reload.applied.push(assignment);
                *old = new;
            } else {
                reload.needs_restart.push(assignment);
            }
        }
        let values = &mut reload.settings.values;
        values.drain_timeout_ms = new.values.drain_timeout_ms;
        values.drain_delay_ms = new.values.drain_delay_ms;
        values.log_level = new.values.log_level;
        values.rust_log = new.values.rust_log;
        reload.settings.unknown = new.unknown;
        reload
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LogLevel, SETTINGS};
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_can_change_does_and_the_rest_is_named() {
        let before = Settings::from_variables([("MAX_CONSUMERS", "3")]).unwrap();
        let new = || {
            Settings::from_variables([
                ("LOG_LEVEL", "debug"),
                ("RUST_LOG", "warn"),
                ("DRAIN_DELAY_MS", "2s"),
                ("DRAIN_TIMEOUT_MS", "3s"),
                ("BACKLOG_BYTES", "64MiB"),
            ])
            .unwrap()
        };
        let Reload {
            settings,
            applied,
            needs_restart,
        } = before.reload(new());
        assert_eq!(
            applied,
            [
                "DRAIN_TIMEOUT_MS=3s",
                "DRAIN_DELAY_MS=2s",
                "LOG_LEVEL=debug",
                "RUST_LOG=warn"
            ]
        );
        assert_eq!(needs_restart, ["MAX_CONSUMERS=10", "BACKLOG_BYTES=64MiB"]);
        assert_eq!(settings.log_level(), LogLevel::Debug);
        assert_eq!(settings.rust_log(), Some("warn"));
        assert_eq!(settings.drain_delay(), Duration::from_secs(2));
        assert_eq!(settings.drain_timeout(), Duration::from_secs(3));
        assert_eq!(settings.broker_config(), before.broker_config());
        assert!(settings.print_config().contains("MAX_CONSUMERS=3\n"));

        // Once more: applied is applied, and what needs a restart still does.
        let again = settings.reload(new());
        assert!(again.applied.is_empty());
        assert_eq!(again.needs_restart, needs_restart);
    }

    #[test]
    fn a_file_of_topics_that_says_something_else_needs_a_restart() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let load = |text: &str| {
            std::fs::write(path, text).unwrap();
            Settings::from_variables([("TOPICS_FILE", path)]).unwrap()
        };
        let before = load("[[rule]]\ntopics = \"a\"\ncapacity = 1\n");
        assert!(before.reload(before.clone()).needs_restart.is_empty());
        let reload = before.reload(load("[[rule]]\ntopics = \"a\"\ncapacity = 2\n"));
        assert_eq!(reload.needs_restart, [format!("TOPICS_FILE={path}")]);
        assert_eq!(reload.settings.broker_config(), before.broker_config());
    }

    #[test]
    fn what_can_change_is_in_the_list() {
        for name in AT_RUN_TIME {
            assert!(
                SETTINGS.iter().any(|setting| setting.name == name),
                "{name}"
            );
        }
    }
}
