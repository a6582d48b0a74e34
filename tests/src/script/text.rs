//! Scripts as text, read and written, and what a broker does, written.

use super::{Action, Bytes, Literal, Part, Reads, Script, Step};
use crate::model::Effect;
use message_queue_core::{ConnId, Count};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A line that is not a step of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    line: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a step of a script: {}", self.line)
    }
}

impl std::error::Error for ParseError {}

impl FromStr for Script {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut script = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            script.read_line(line).ok_or_else(|| ParseError {
                line: line.to_owned(),
            })?;
        }
        if let Err(error) = script.config.check() {
            let line = format!("config: {error}");
            return Err(ParseError { line });
        }
        Ok(script)
    }
}

impl Script {
    fn read_line(&mut self, line: &str) -> Option<()> {
        if let Some(settings) = line.strip_prefix("config ") {
            for setting in settings.split_whitespace() {
                let (name, value) = setting.split_once('=')?;
                self.set(name, value)?;
            }
            return Some(());
        }
        let step = if let Some(remark) = line.strip_prefix('#') {
            Step::Remark(remark.trim().to_owned())
        } else if let Some(time) = line.strip_prefix("drain ") {
            Step::Drain(duration(time)?)
        } else if line == "purge" {
            Step::Purge
        } else if let Some(time) = line.strip_suffix(" pass") {
            Step::Pass(duration(time)?)
        } else if let Some(time) = line.strip_suffix(" pass unnoticed") {
            Step::PassUnnoticed(duration(time)?)
        } else {
            let (conn, action) = line.split_once([' ', '\''])?;
            let conn = ConnId(conn.strip_prefix('c')?.parse().ok()?);
            Step::On(conn, Action::read(action)?)
        };
        self.steps.push(step);
        Some(())
    }
}

impl Action {
    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "opens" => Self::Opens,
            "s socket takes all" => Self::TakesAll,
            "s socket is sealed late" => Self::IsSealedLate,
            "s socket is sealed" => Self::IsSealed,
            "has nothing to read" => Self::HasNothingToRead,
            "is ended by an operator" => Self::IsEndedByOperator,
            "stalls" => Self::Stalls,
            "closes" => Self::Closes,
            "resets" => Self::Resets,
            _ => {
                if let Some(bytes) = text.strip_prefix("sends ") {
                    Self::Sends(Bytes::read(bytes)?)
                } else {
                    let bytes = text.strip_prefix("s socket takes ")?;
                    Self::Takes(bytes.strip_suffix(" bytes")?.parse().ok()?)
                }
            }
        })
    }
}

impl Bytes {
    fn read(mut text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut framed = false;
        loop {
            text = text.trim_start();
            if let Some((literal, rest)) = Literal::parse(text) {
                parts.push(if framed {
                    Part::Frame(literal)
                } else {
                    Part::Raw(literal)
                });
                text = rest;
            } else if let Some(rest) = text.strip_prefix("frames ") {
                (framed, text) = (true, rest);
            } else if let Some(rest) = text.strip_prefix("bytes ") {
                (framed, text) = (false, rest);
            } else {
                let reads = Reads::read(text)?;
                return Some(Self { parts, reads });
            }
        }
    }
}

impl Reads {
    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "" => Self::Whole,
            "frame by frame" => Self::FrameByFrame,
            "byte by byte" => Self::ByteByByte,
            _ => {
                let cuts = text.strip_prefix("cut at ")?.split_whitespace();
                Self::At(cuts.map(|cut| cut.parse().ok()).collect::<Option<_>>()?)
            }
        })
    }
}

/// Reads `1.5s` or `20ms`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    if let Some(milliseconds) = text.strip_suffix("ms") {
        return Some(Duration::from_millis(milliseconds.parse().ok()?));
    }
    Duration::try_from_secs_f64(text.strip_suffix('s')?.parse().ok()?).ok()
}

/// Writes what [`duration`] reads.
pub(super) fn seconds(time: Duration) -> String {
    format!("{}s", time.as_secs_f64())
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = self.settings();
        if !settings.is_empty() {
            writeln!(f, "config {}", settings.join(" "))?;
        }
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remark(remark) => write!(f, "# {remark}"),
            Self::Pass(time) => write!(f, "{} pass", seconds(*time)),
            Self::PassUnnoticed(time) => write!(f, "{} pass unnoticed", seconds(*time)),
            Self::Drain(time) => write!(f, "drain {}", seconds(*time)),
            Self::Purge => f.write_str("purge"),
            Self::On(conn, Action::Opens) => write!(f, "{conn} opens"),
            Self::On(conn, Action::Sends(bytes)) => write!(f, "{conn} sends{bytes}"),
            Self::On(conn, Action::Takes(bytes)) => {
                write!(f, "{conn}'s socket takes {bytes} bytes")
            }
            Self::On(conn, Action::TakesAll) => write!(f, "{conn}'s socket takes all"),
            Self::On(conn, Action::IsSealedLate) => write!(f, "{conn}'s socket is sealed late"),
            Self::On(conn, Action::IsSealed) => write!(f, "{conn}'s socket is sealed"),
            Self::On(conn, Action::HasNothingToRead) => write!(f, "{conn} has nothing to read"),
            Self::On(conn, Action::IsEndedByOperator) => {
                write!(f, "{conn} is ended by an operator")
            }
            Self::On(conn, Action::Stalls) => write!(f, "{conn} stalls"),
            Self::On(conn, Action::Closes) => write!(f, "{conn} closes"),
            Self::On(conn, Action::Resets) => write!(f, "{conn} resets"),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut framed = false;
        for part in &self.parts {
            let (Part::Raw(literal) | Part::Frame(literal)) = part;
            if framed != matches!(part, Part::Frame(_)) {
                framed = !framed;
                f.write_str(if framed { " frames" } else { " bytes" })?;
            }
            write!(f, " {literal}")?;
        }
        match &self.reads {
            Reads::Whole => Ok(()),
            Reads::FrameByFrame => f.write_str(" frame by frame"),
            Reads::ByteByByte => f.write_str(" byte by byte"),
            Reads::At(cuts) => {
                f.write_str(" cut at")?;
                cuts.iter().try_for_each(|cut| write!(f, " {cut}"))
            }
        }
    }
}

/// An effect as text.
pub(super) fn told(effect: &Effect) -> String {
    match effect {
        Effect::Write { conn, write } => {
            let messages = write.iter().map(|it| format!(" {}", Literal::of(it)));
            format!("write to {conn}:{}", messages.collect::<String>())
        }
        Effect::Farewell { conn, bytes } => format!("tell {conn} the last: {}", Literal::of(bytes)),
        Effect::Close { conn, reason } => format!("close {conn} ({reason})"),
        Effect::Pause { conn } => format!("stop reading from {conn}"),
        Effect::Resume { conn } => format!("read from {conn} again"),
        Effect::Registered { conn, role } => format!("{conn} is a {role}"),
        Effect::Dropped {
            group,
            reason,
            count: Count { messages, bytes },
            ..
        } => {
            let group = group.map(|group| format!(" of {group}"));
            let group = group.unwrap_or_default();
            format!("drop {messages} ({bytes} bytes){group}: {reason}")
        }
        Effect::Store { .. } => unreachable!("no topic is stored here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_was_read() {
        let text = r#"config delivery=queue overflow=block queue_capacity=2 role_timeout=1.5s
# a remark
c1 opens
c1 sends "CONSUMER\n"
c2 sends "PRODUCER\n" frames "a" "b"*3 "" bytes "\0\0\0\x05ab" cut at 3 12
c2 sends frames "c" frame by frame
c2 sends "x" byte by byte
c1's socket takes 9 bytes
c1's socket takes all
c1's socket is sealed late
c1's socket is sealed
1.5s pass
0.25s pass unnoticed
purge
c1 is ended by an operator
drain 5s
c2 has nothing to read
c2 resets
c1 closes
"#;
        let script: Script = text.parse().expect("a script");
        assert_eq!(script.to_string(), text);
    }

    #[test]
    fn a_line_that_is_no_step_is_named() {
        for line in [
            "c1 dances",
            "x1 opens",
            "c1 sends frames a",
            "c1 sends \"a\" cut at x",
            "c1's socket takes some",
            "5 pass",
            "config colour=red",
            "config queue_capacity=0",
        ] {
            let script: Result<Script, ParseError> = line.parse();
            let error = script.expect_err(line).to_string();
            let is_named = error.contains(line) || error.contains("queue_capacity must be");
            assert!(is_named, "{error}");
        }
    }
}
