//! How messages stand in the output.

use super::{json, terminal};
use crate::client::acked::Meta;
use std::io;

/// How a message is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OutputFormat {
    /// As it is, and a line feed. On a terminal control characters are escaped
    Lines,
    /// As one line of JSON: JSON as it is, made compact; other text as a JSON string; bytes that
    /// are not UTF-8 as {"base64":"..."}
    Json,
    /// As one line of hexadecimal digits
    Hex,
    /// As a frame: a length (4 bytes, big-endian) and the bytes of the message
    Frames,
    /// As `log export` writes it: with when it was published, where a dead letter came from, and
    /// checksums. `log import` stores it, `produce --format export` publishes it
    Export,
}

/// A format that has each message by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Each {
    Lines,
    Json,
    Hex,
    Frames,
}

impl OutputFormat {
    /// The format of each message; none of an export, in which messages stand together.
    ///
    /// # Errors
    /// It is binary, and a terminal cannot show it.
    pub(crate) fn each(self, terminal: bool) -> io::Result<Option<Each>> {
        let (each, binary) = match self {
            Self::Lines => (Some(Each::Lines), None),
            Self::Json => (Some(Each::Json), None),
            Self::Hex => (Some(Each::Hex), None),
            Self::Frames => (Some(Each::Frames), Some("frames")),
            Self::Export => (None, Some("export")),
        };
        match binary {
            Some(name) if terminal => Err(io::Error::other(format!(
                "--format {name} is binary, and this is a terminal; use --output FILE or a pipe"
            ))),
            _ => Ok(each),
        }
    }
}

/// Prints messages in a format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    format: Each,
    /// Whether a terminal shows it, which must not take a message for commands.
    terminal: bool,
}

impl Printer {
    pub(crate) const fn new(format: Each, terminal: bool) -> Self {
        Self { format, terminal }
    }

    /// Appends `message` to `out`.
    pub(crate) fn write(self, out: &mut Vec<u8>, message: &[u8]) -> io::Result<()> {
        match (self.format, self.terminal) {
            (Each::Lines, false) => {
                out.extend_from_slice(message);
                out.push(b'\n');
            }
            (Each::Lines, true) => {
                terminal::escape_text(out, message);
                out.push(b'\n');
            }
            (Each::Json, false) => json::write_line(out, message)?,
            (Each::Json, true) => {
                let start = out.len();
                json::write_line(out, message)?;
                terminal::escape_json(out, start);
            }
            (Each::Hex, _) => write_hex_line(out, message),
            (Each::Frames, _) => {
                // A body is never longer than a length can say.
                out.extend_from_slice(&(message.len() as u32).to_be_bytes());
                out.extend_from_slice(message);
            }
        }
        Ok(())
    }
}

impl Printer {
    /// Appends the message at `place` of a batch to `out` with what is known of it, as a line of JSON.
    pub(crate) fn write_with_meta(
        self,
        out: &mut Vec<u8>,
        meta: &Meta,
        place: usize,
        message: &[u8],
    ) -> io::Result<()> {
        let start = out.len();
        json::write_line_with_meta(out, meta, place, message)?;
        if self.terminal {
            terminal::escape_json(out, start);
        }
        Ok(())
    }
}

fn write_hex_line(out: &mut Vec<u8>, message: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in message {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Each, messages: &[&[u8]]) -> Vec<u8> {
        print(format, false, messages)
    }

    fn print(format: Each, terminal: bool, messages: &[&[u8]]) -> Vec<u8> {
        let printer = Printer::new(format, terminal);
        let mut out = Vec::new();
        for message in messages {
            printer.write(&mut out, message).expect("memory takes it");
        }
        out
    }

    #[test]
    fn a_terminal_gets_no_commands_and_anything_else_gets_every_byte() {
        let message: &[&[u8]] = &[b"\x1b[2J\xff"];
        assert_eq!(written(Each::Lines, message), b"\x1b[2J\xff\n");
        assert_eq!(print(Each::Lines, true, message), b"\\x1b[2J\\xff\n");
        let json: &[&[u8]] = &["\"\u{9b}2J\"".as_bytes(), b"\x1b"];
        let raw = "\"\u{9b}2J\"\n\"\\u001b\"\n".as_bytes();
        assert_eq!(written(Each::Json, json), raw);
        let escaped = b"\"\\u009b2J\"\n\"\\u001b\"\n";
        assert_eq!(print(Each::Json, true, json), escaped);
        for format in [OutputFormat::Frames, OutputFormat::Export] {
            let error = format.each(true).expect_err("binary");
            assert!(error.to_string().contains("--output"), "{error}");
        }
    }

    #[test]
    fn each_format_keeps_messages_apart() {
        let messages: &[&[u8]] = &[b"a", b"", b"\x00\xfe"];
        assert_eq!(written(Each::Lines, messages), b"a\n\n\x00\xfe\n");
        assert_eq!(written(Each::Hex, messages), b"61\n\n00fe\n");
        assert_eq!(
            written(Each::Frames, messages),
            b"\0\0\0\x01a\0\0\0\0\0\0\0\x02\0\xfe"
        );
        assert_eq!(written(Each::Json, &[b"{ }", b"a"]), b"{}\n\"a\"\n");
    }
}
