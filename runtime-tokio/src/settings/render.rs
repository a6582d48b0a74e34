//! The settings as text: for `--help`, for `--print-config`, for the log.

use super::origin::Effective;
use super::table::SETTINGS;
use std::fmt::Write;

/// What `--help` says about the settings: each with its default, what it does and what is allowed.
pub fn settings_help() -> String {
    let mut text = String::from(
        "Settings are environment variables, or KEY=value lines of the file .env in the working\n\
         directory. The environment wins over .env; an empty value means the default. Sizes and times\n\
         take units (64KiB, 1.5GB, 500ms, 10s); a plain number counts bytes or milliseconds.\n",
    );
    for setting in SETTINGS {
        let default = if setting.default.is_empty() {
            "none"
        } else {
            setting.default
        };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n  {} [default: {default}]\n      {}\n      Allowed: {}.\n",
            setting.name, setting.help, setting.allowed
        );
    }
    text
}

/// The settings in force as `KEY=value` lines, each below a comment that tells where its value comes
/// from. (Comments have lines of their own because some readers of such files, Docker's among them,
/// take one behind a value for a part of it.)
pub(super) fn print_config(effective: &[Effective]) -> String {
    let mut text = String::new();
    for effective in effective {
        let (name, origin) = (effective.setting().name, effective.origin());
        // Writing to a string cannot fail.
        let _ = match effective.shown() {
            Some(value) => writeln!(text, "# {origin}\n{name}={}", quoted(&value)),
            None => writeln!(text, "# {origin}; secret, so not shown\n# {name}="),
        };
    }
    text
}

/// What differs from the defaults, on one line; `None` where nothing does.
pub(super) fn differences(effective: &[Effective]) -> Option<String> {
    let differences: Vec<_> = effective
        .iter()
        .filter(|effective| {
            let default = effective.setting().default;
            effective.shown().is_none_or(|value| value != default)
        })
        .map(assignment)
        .collect();
    (!differences.is_empty()).then(|| differences.join(" "))
}

/// One setting as `KEY=value`, for the log.
pub(super) fn assignment(effective: &Effective) -> String {
    let name = effective.setting().name;
    match effective.shown() {
        Some(value) => format!("{name}={}", quoted(&value)),
        None => format!("{name}=(secret)"),
    }
}

/// `value` as it stands in a `.env` file: in quotes only where it would mean something else.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".,:_=/+-".contains(c);
    if value.chars().all(plain) {
        return value.to_owned();
    }
    let mut text = String::from("\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::super::allowed::Allowed;
    use super::super::source::resolve;
    use super::super::table::Setting;
    use super::super::{Settings, dotenv};
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_printed_configuration_is_a_file_that_gives_the_same_settings() {
        let before = Settings::from_variables([
            ("DELIVERY_MODE", "queue"),
            ("BIND_ADDRESS", "::1"),
            ("WRITE_TIMEOUT_MS", "90s"),
            ("BACKLOG_BYTES", "67108864"),
            ("RUST_LOG", r#"warn,a[b{c="$d \\e"}]=trace"#),
        ])
        .unwrap();
        let text = before.print_config();
        for part in [
            "# environment\nDELIVERY_MODE=queue\n",
            "# default\nTCP_PORT=9080\n",
            "# environment\nWRITE_TIMEOUT_MS=1m30s\n",
            "# environment\nBACKLOG_BYTES=64MiB\n",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(".env");
        std::fs::write(&file, text).unwrap();
        let read = dotenv::read(&file, &|_| true).unwrap();
        let after = Settings::from_sources(&BTreeMap::new(), &read).unwrap();
        assert_eq!(after.differences(), before.differences());
        let differences = after.differences().unwrap();
        assert!(
            differences.starts_with("BIND_ADDRESS=::1 DELIVERY_MODE=queue BACKLOG_BYTES=64MiB "),
            "{differences}"
        );
    }

    #[test]
    fn only_what_differs_is_told() {
        let given = |value| Settings::from_variables([("BACKLOG_BYTES", value)]).unwrap();
        assert_eq!(given("").differences(), None);
        assert_eq!(given("33554432").differences(), None);
        let other = given("33554433").differences();
        assert_eq!(other.as_deref(), Some("BACKLOG_BYTES=33554433B"));
    }

    /// No setting is secret yet. The first one that is must not have to think of this.
    #[test]
    fn a_secret_is_shown_nowhere() {
        static TABLE: [Setting; 2] = [
            Setting {
                name: "TOKEN",
                default: "",
                allowed: Allowed::Directory,
                help: "",
                memory: None,
                secret: true,
            },
            Setting {
                name: "PIN",
                default: "0",
                allowed: Allowed::Number {
                    min: 0,
                    max: 9999,
                    unit: "",
                },
                help: "",
                memory: None,
                secret: true,
            },
        ];
        let resolve = |pin: &str| {
            let environment = [("PIN".to_owned(), pin.into())].into();
            let dotenv = [("TOKEN".to_owned(), "hunter2".to_owned())].into();
            resolve(&TABLE, &environment, &dotenv)
        };
        let (effective, problems) = resolve("1234");
        assert!(problems.is_empty());
        assert_eq!(effective[0].value(), "hunter2");
        assert_eq!(
            print_config(&effective),
            "# .env; secret, so not shown\n# TOKEN=\n# environment; secret, so not shown\n# PIN=\n"
        );
        assert_eq!(
            differences(&effective).as_deref(),
            Some("TOKEN=(secret) PIN=(secret)")
        );
        let debug = format!("{effective:?}");
        assert!(
            !debug.contains("hunter2") && !debug.contains("1234"),
            "{debug}"
        );

        let (effective, problems) = resolve("top secret");
        assert_eq!(
            problems[0].to_string(),
            "PIN: the secret value is not allowed: use a whole number from 0 to 9999"
        );
        assert!(print_config(&effective).contains("# default\nPIN=0\n"));
    }

    #[test]
    fn help_tells_every_setting_in_lines_that_need_no_wrapping() {
        let help = settings_help();
        for setting in SETTINGS {
            let default = if setting.default.is_empty() {
                "none"
            } else {
                setting.default
            };
            let heading = format!("\n  {} [default: {default}]\n", setting.name);
            assert!(help.contains(&heading), "{}", setting.name);
            assert!(help.contains(&format!("      Allowed: {}.\n", setting.allowed)));
        }
        for line in help.lines() {
            assert!(line.len() <= 100, "{line}");
        }
    }
}
