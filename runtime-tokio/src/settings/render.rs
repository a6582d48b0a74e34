//! The settings as text: for `--help`, for `--print-config`, for the log.

use super::Settings;
use super::table::SETTINGS;
use std::fmt::Write;

/// What `--help` says about the settings: each with its default, what it does and what is allowed.
pub fn settings_help() -> String {
    let mut text = String::from(
        "Settings are environment variables, or KEY=value lines of the file .env in the working\n\
         directory. The environment wins over .env; an empty value means the default.\n",
    );
    for setting in &SETTINGS {
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

impl Settings {
    /// The settings in force as `KEY=value` lines, each below a comment that tells where its value
    /// comes from. It can be used as a `.env` file. (Comments have lines of their own because some
    /// readers of such files, Docker's among them, take one behind a value for a part of it.)
    pub fn print_config(&self) -> String {
        let mut text = String::new();
        for effective in self.effective() {
            let name = effective.setting().name;
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "# {}\n{name}={}",
                effective.origin(),
                quoted(effective.value())
            );
        }
        text
    }

    /// The settings in force on one line, for the log.
    pub fn summary(&self) -> String {
        self.effective()
            .iter()
            .map(|effective| format!("{}={}", effective.setting().name, quoted(effective.value())))
            .collect::<Vec<_>>()
            .join(" ")
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
    use super::super::dotenv;
    use super::*;

    #[test]
    fn the_printed_configuration_is_a_file_that_gives_the_same_settings() {
        let before = Settings::from_variables([
            ("DELIVERY_MODE", "queue"),
            ("BIND_ADDRESS", "::1"),
            ("RUST_LOG", r#"warn,a[b{c="$d \\e"}]=trace"#),
        ])
        .unwrap();
        let text = before.print_config();
        assert!(
            text.contains("# environment\nDELIVERY_MODE=queue\n"),
            "{text}"
        );
        assert!(text.contains("# default\nTCP_PORT=9080\n"), "{text}");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(".env");
        std::fs::write(&file, text).unwrap();
        let after = Settings::from_sources(|_| None, &dotenv::read(&file).unwrap()).unwrap();
        assert_eq!(after.summary(), before.summary());
        assert!(
            after
                .summary()
                .contains("BIND_ADDRESS=::1 DELIVERY_MODE=queue ")
        );
    }

    #[test]
    fn help_tells_every_setting_in_lines_that_need_no_wrapping() {
        let help = settings_help();
        for setting in &SETTINGS {
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
