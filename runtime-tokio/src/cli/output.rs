//! How messages stand in the output.

use super::json;

/// How a message is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OutputFormat {
    /// As it is, and a line feed
    Lines,
    /// As one line of JSON: JSON as it is, made compact; anything else as a JSON string
    Json,
    /// As one line of hexadecimal digits
    Hex,
    /// As a frame: a length (4 bytes, big-endian) and the bytes of the message
    Frames,
}

impl OutputFormat {
    /// Appends `message` to `out`.
    pub(crate) fn write(self, out: &mut Vec<u8>, message: &[u8]) {
        match self {
            Self::Lines => {
                out.extend_from_slice(message);
                out.push(b'\n');
            }
            Self::Json => json::write_line(out, message),
            Self::Hex => write_hex_line(out, message),
            Self::Frames => {
                // A body is never longer than a length can say.
                out.extend_from_slice(&(message.len() as u32).to_be_bytes());
                out.extend_from_slice(message);
            }
        }
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

    fn written(format: OutputFormat, messages: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for message in messages {
            format.write(&mut out, message);
        }
        out
    }

    #[test]
    fn each_format_keeps_messages_apart() {
        let messages: &[&[u8]] = &[b"a", b"", b"\x00\xfe"];
        assert_eq!(written(OutputFormat::Lines, messages), b"a\n\n\x00\xfe\n");
        assert_eq!(written(OutputFormat::Hex, messages), b"61\n\n00fe\n");
        assert_eq!(
            written(OutputFormat::Frames, messages),
            b"\0\0\0\x01a\0\0\0\0\0\0\0\x02\0\xfe"
        );
        assert_eq!(written(OutputFormat::Json, &[b"{ }", b"a"]), b"{}\n\"a\"\n");
    }
}
