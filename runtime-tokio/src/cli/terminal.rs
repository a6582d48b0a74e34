//! Messages on a terminal: shown, and never obeyed.

use std::io::Write;

/// Appends `message` to `out` with its control characters, but for tabs and line feeds, and its
/// bytes that are not UTF-8 as escapes: `\x1b`, `\u{9b}`.
pub(crate) fn escape_text(out: &mut Vec<u8>, message: &[u8]) {
    for chunk in message.utf8_chunks() {
        let mut plain = chunk.valid();
        let is_command = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        while let Some((before, command, after)) = split(plain, is_command) {
            out.extend_from_slice(before.as_bytes());
            match command {
                '\0'..='\x7f' => append(out, format_args!("\\x{:02x}", u32::from(command))),
                _ => append(out, format_args!("{}", command.escape_unicode())),
            }
            plain = after;
        }
        out.extend_from_slice(plain.as_bytes());
        for byte in chunk.invalid() {
            append(out, format_args!("\\x{byte:02x}"));
        }
    }
}

/// Escapes the control characters that JSON allows in strings, in the line of JSON that begins at
/// `start` of `out`. It stays the same JSON.
pub(crate) fn escape_json(out: &mut Vec<u8>, start: usize) {
    let is_command = |c: char| c.is_control() && c != '\n';
    let Ok(line) = str::from_utf8(&out[start..]) else {
        return;
    };
    if !line.contains(is_command) {
        return;
    }
    let line = line.to_owned();
    out.truncate(start);
    let mut plain = line.as_str();
    while let Some((before, command, after)) = split(plain, is_command) {
        out.extend_from_slice(before.as_bytes());
        append(out, format_args!("\\u{:04x}", u32::from(command)));
        plain = after;
    }
    out.extend_from_slice(plain.as_bytes());
}

/// What stands before and behind the first character that is meant.
fn split(text: &str, meant: impl Fn(char) -> bool) -> Option<(&str, char, &str)> {
    let at = text.find(meant)?;
    let (before, rest) = text.split_at(at);
    let mut rest = rest.chars();
    let meant = rest.next()?;
    Some((before, meant, rest.as_str()))
}

fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Memory takes it.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(message: &[u8]) -> String {
        let mut out = Vec::new();
        escape_text(&mut out, message);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn commands_are_shown_and_text_is_as_it_is() {
        assert_eq!(text("a\tb\n日 \\x".as_bytes()), "a\tb\n日 \\x");
        assert_eq!(text(b"\x1b]0;t\x07\r\x7f\0"), r"\x1b]0;t\x07\x0d\x7f\x00");
        assert_eq!(text("\u{9b}31m".as_bytes()), r"\u{9b}31m");
        assert_eq!(text(b"a\x9b\xffb"), r"a\x9b\xffb");
        assert_eq!(text(b""), "");
    }

    proptest! {
        #[test]
        fn no_message_holds_a_command_when_it_is_shown(message: Vec<u8>) {
            let shown = text(&message);
            let commands = shown.chars().filter(|c| c.is_control() && !"\n\t".contains(*c));
            prop_assert_eq!(commands.count(), 0);
        }

        #[test]
        fn json_stays_the_same(value: String) {
            let mut out = serde_json::to_vec(&value).expect("JSON");
            escape_json(&mut out, 0);
            let shown = String::from_utf8(out).expect("UTF-8");
            prop_assert!(!shown.contains(char::is_control));
            prop_assert_eq!(serde_json::from_str::<String>(&shown).expect("JSON"), value);
        }
    }
}
