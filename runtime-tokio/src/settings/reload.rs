//! Settings that change while the broker runs.

use super::{Effective, Settings, render};
use crate::access::Policy;
use message_queue_core::{NeedsRestart, TopicRule};

/// What can change while the broker runs. Everything else is part of what the core, the sockets or
/// the log's writer were made with.
const AT_RUN_TIME: [&str; 4] = [
    "DRAIN_TIMEOUT_MS",
    "DRAIN_DELAY_MS",
    "LOG_LEVEL",
    "RUST_LOG",
];

/// The setting that names the file of topics. Its rules can change, as far as [`Broker::set_rules`] can apply them.
///
/// [`Broker::set_rules`]: message_queue_core::Broker::set_rules
const TOPICS_FILE: &str = "TOPICS_FILE";

/// The settings that say who may do what. That can change, unless nobody was asked before, or is to be asked any more.
const OF_POLICY: [&str; 5] = [
    "AUTH_TOKENS_FILE",
    "AUTH_JWKS_FILE",
    "AUTH_JWT_ISSUER",
    "AUTH_JWT_AUDIENCE",
    "AUTH_ANONYMOUS",
];

/// The files among them, which may say something else under the same name.
const FILES_OF_POLICY: [&str; 2] = ["AUTH_TOKENS_FILE", "AUTH_JWKS_FILE"];

/// What a second look at the settings has brought.
#[derive(Debug)]
pub struct Reload {
    /// The settings in force from now on.
    pub settings: Settings,
    /// What has changed, as `KEY=value`.
    pub applied: Vec<String>,
    /// What is different now and is not in force before a restart, as `KEY=value`.
    pub needs_restart: Vec<String>,
    /// The rules for topics, where they are to be put in force.
    pub rules: Option<Vec<TopicRule>>,
    /// Who may do what, where that is to be put in force.
    pub policy: Option<Policy>,
    /// Why the rules that the file of topics has now need a restart.
    pub refused: Option<NeedsRestart>,
}

impl Settings {
    /// These settings with what of `new` can be applied while the broker runs.
    pub fn reload(&self, new: Self) -> Reload {
        let mut reload = Reload {
            settings: self.clone(),
            applied: Vec::new(),
            needs_restart: Vec::new(),
            rules: None,
            policy: None,
            refused: None,
        };
        let policies = (self.policy(), new.policy());
        let policies_differ = policies.0 != policies.1;
        let takes_policy = policies.0.is_some() && policies.1.is_some();
        let pairs = reload.settings.effective.iter_mut().zip(new.effective);
        // A file of topics may say something else under the same name.
        let new_principals = new.principals;
        let topics_differ = new.topics != self.topics;
        let differs = |old: &Effective, new: &Effective| {
            old.value != new.value
                || (new.setting.name == TOPICS_FILE && topics_differ)
                || (FILES_OF_POLICY.contains(&new.setting.name)
                    && !new.value.is_empty()
                    && self.principals != new_principals)
        };
        let rules = new.topics.rules.clone();
        let takes_rules = match self.broker_config().with_rules(rules.clone()) {
            Ok(_) => true,
            Err(why) => {
                reload.refused = topics_differ.then_some(why);
                false
            }
        };
        for (old, new) in pairs.filter(|(old, new)| differs(old, new)) {
            let assignment = render::assignment(&new);
            let is_of_topics = new.setting.name == TOPICS_FILE;
            let is_of_policy = OF_POLICY.contains(&new.setting.name);
            if AT_RUN_TIME.contains(&new.setting.name)
                || (is_of_topics && takes_rules)
                || (is_of_policy && takes_policy)
            {
                reload.applied.push(assignment);
                *old = new;
            } else {
                reload.needs_restart.push(assignment);
            }
        }
        if topics_differ && takes_rules {
            reload.settings.topics = new.topics;
            reload.rules = Some(rules);
        }
        if takes_policy {
            reload.policy = policies.1.filter(|_| policies_differ);
            reload.settings.principals = new_principals;
        }
        let values = &mut reload.settings.values;
        if takes_policy {
            values.auth_tokens_file = new.values.auth_tokens_file;
            values.auth_jwks_file = new.values.auth_jwks_file;
            values.auth_jwt_issuer = new.values.auth_jwt_issuer;
            values.auth_jwt_audience = new.values.auth_jwt_audience;
            values.auth_anonymous = new.values.auth_anonymous;
        }
        if takes_rules {
            values.topics_file = new.values.topics_file;
        }
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
            ..
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
    fn a_file_of_topics_is_taken_again_where_the_other_settings_allow_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let load = |text: &str| {
            std::fs::write(path, text).unwrap();
            Settings::from_variables([("TOPICS_FILE", path)]).unwrap()
        };
        let before = load("[[rule]]\ntopics = \"a\"\ncapacity = 1\n");
        assert!(before.reload(before.clone()).needs_restart.is_empty());
        let new = load("[[rule]]\ntopics = \"a\"\ncapacity = 2\n");
        let wanted = new.broker_config();
        let reload = before.reload(new);
        assert_eq!(reload.applied, [format!("TOPICS_FILE={path}")]);
        assert_eq!(reload.rules.as_ref(), Some(&wanted.topics.rules));
        assert_eq!(reload.settings.broker_config(), wanted);
        assert!(
            reload
                .settings
                .reload(reload.settings.clone())
                .rules
                .is_none()
        );
        let blocking = load("[[rule]]\ntopics = \"a\"\noverflow = \"block\"\n");
        let reload = before.reload(blocking);
        assert_eq!(reload.needs_restart, [format!("TOPICS_FILE={path}")]);
        assert_eq!(reload.refused, Some(NeedsRestart::Blocking));
        assert_eq!(reload.settings.broker_config(), before.broker_config());
    }

    #[test]
    fn the_first_topic_that_is_stored_needs_a_restart() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let load = |storage, capacity| {
            let rule = format!(
                "[[rule]]\ntopics = \"a\"\nstorage = \"{storage}\"\ncapacity = {capacity}\n"
            );
            std::fs::write(path, rule).unwrap();
            Settings::from_variables([("TOPICS_FILE", path), ("DATA_DIR", "/data")]).unwrap()
        };
        for (before, after) in [("memory", "disk"), ("disk", "memory")] {
            let before = load(before, 1);
            let reload = before.reload(load(after, 1));
            assert_eq!(reload.needs_restart, [format!("TOPICS_FILE={path}")]);
            assert_eq!(reload.refused, Some(NeedsRestart::Storing));
            assert_eq!(reload.settings.broker_config(), before.broker_config());
        }
        // Where topics are stored already, rules change as ever.
        let reload = load("disk", 1).reload(load("disk", 2));
        assert_eq!(reload.applied, [format!("TOPICS_FILE={path}")]);
        assert_eq!(reload.refused, None);
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
