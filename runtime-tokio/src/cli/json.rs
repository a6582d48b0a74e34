//! A message as one line of JSON.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::IgnoredAny;
use std::io;

/// Appends `message` to `out` as JSON on one line: JSON as it is, without the white space between
/// its parts (keys keep their order, numbers their digits); other text as a JSON string; bytes that
/// are not UTF-8 as an object with the one key `base64`.
pub(crate) fn write_line(out: &mut Vec<u8>, message: &[u8]) -> io::Result<()> {
    match str::from_utf8(message) {
        Ok(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => write_compact(out, text),
        Ok(text) => serde_json::to_writer(&mut *out, text)?,
        Err(_) => write_base64(out, message)?,
    }
    out.push(b'\n');
    Ok(())
}

/// Appends valid JSON without the white space outside of its strings.
fn write_compact(out: &mut Vec<u8>, json: &str) {
    let (mut in_string, mut escaped) = (false, false);
    for &byte in json.as_bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            continue;
        } else {
            in_string = byte == b'"';
        }
        out.push(byte);
    }
}

fn write_base64(out: &mut Vec<u8>, message: &[u8]) -> io::Result<()> {
    out.extend_from_slice(b"{\"base64\":\"");
    let start = out.len();
    // Each three bytes that have begun take four characters.
    out.resize(start + message.len().div_ceil(3) * 4, 0);
    let encoded = BASE64_STANDARD.encode_slice(message, &mut out[start..]);
    out.truncate(start + encoded.map_err(io::Error::other)?);
    out.extend_from_slice(b"\"}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &[u8]) -> String {
        let mut out = Vec::new();
        write_line(&mut out, message).expect("memory takes it");
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn json_loses_its_white_space_and_nothing_else() {
        assert_eq!(line(b"{}"), "{}\n");
        assert_eq!(
            line(b" { \"z\" : 1.0 ,\r\n\t\"a\" : [ 123456789012345678901234567890 , null ] } "),
            "{\"z\":1.0,\"a\":[123456789012345678901234567890,null]}\n"
        );
    }

    #[test]
    fn strings_in_json_keep_their_spaces_quotes_and_backslashes() {
        for json in [r#"{"a b":"c \" d"}"#, r#"["\\", " x "]"#, r#"" \\\" ""#] {
            let expected = json.replace("\", \"", "\",\"");
            assert_eq!(line(json.as_bytes()), format!("{expected}\n"));
        }
    }

    #[test]
    fn what_is_not_json_becomes_a_string() {
        assert_eq!(line(b""), "\"\"\n");
        assert_eq!(line(b"two\n\"lines\""), "\"two\\n\\\"lines\\\"\"\n");
        assert_eq!(line(b"{} {}"), "\"{} {}\"\n");
    }

    #[test]
    fn what_is_not_utf_8_keeps_its_bytes() {
        assert_eq!(line(b"\xff"), "{\"base64\":\"/w==\"}\n");
        assert_eq!(line(b"\"\xff\""), "{\"base64\":\"Iv8i\"}\n");
        let all: Vec<u8> = (0..=255).collect();
        for size in 250..=256 {
            let json = line(&all[256 - size..]);
            let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
            let bytes = BASE64_STANDARD.decode(value["base64"].as_str().expect("text"));
            assert_eq!(bytes.expect("base64"), all[256 - size..]);
        }
    }
}
