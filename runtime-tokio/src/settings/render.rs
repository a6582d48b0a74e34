//! The settings as text: for `--help`, for `--print-config`, for the log.

use std::fmt::Write;

use super::Settings;
use super::table::SETTINGS;

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
