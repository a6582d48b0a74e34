//! A message as one line of JSON.

use crate::client::acked::Meta;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::IgnoredAny;
use serde_json::json;
use std::io;
use std::time::{Duration, UNIX_EPOCH};

/// The last moment that has a date of four digits, in milliseconds since 1970.
const LAST_DATE: u64 = 253_402_300_799_999;

/// Appends one line: an object of what is known of the message at `place` of a batch, and the message as
/// [`write_line`] has it.
pub(crate) fn write_line_with_meta(
    out: &mut Vec<u8>,
    meta: &Meta,
    place: usize,
    message: &[u8],
) -> io::Result<()> {
    let mut known = json!({
        "topic": *meta.topic,
        "sequence": meta.sequence + place as u64,
        "time": date(meta.published),
        "attempt": meta.attempt,
    });
    if let Some(origin) = &meta.origin {
        known["origin"] = json!({
            "topic": origin.topic,
            "sequence": origin.sequence,
            "group": origin.group,
            "failures": origin.failures,
            "reason": origin.reason,
        });
    }
    serde_json::to_writer(&mut *out, &known)?;
    // The message is the last key.
    out.pop();
    out.extend_from_slice(b",\"message\":");
    write_value(out, message)?;
    out.extend_from_slice(b"}\n");
    Ok(())
}

/// The date and time of a moment in milliseconds since 1970, if it has one.
pub(crate) fn date(millis: u64) -> Option<String> {
    let since = Duration::from_millis(millis);
    (millis <= LAST_DATE).then(|| humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string())
}

/// Appends `message` to `out` as JSON on one line: JSON as it is, without the white space between
/// its parts (keys keep their order, numbers their digits); other text as a JSON string; bytes that
/// are not UTF-8 as an object with the one key `base64`.
pub(crate) fn write_line(out: &mut Vec<u8>, message: &[u8]) -> io::Result<()> {
    write_value(out, message)?;
    out.push(b'\n');
    Ok(())
}

fn write_value(out: &mut Vec<u8>, message: &[u8]) -> io::Result<()> {
    match str::from_utf8(message) {
        Ok(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => write_compact(out, text),
        Ok(text) => serde_json::to_writer(&mut *out, text)?,
        Err(_) => write_base64(out, message)?,
    }
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
    fn what_is_known_of_a_message_stands_before_it() {
        let meta = Meta {
            topic: "t".into(),
            sequence: 7,
            published: 1_000,
            attempt: 2,
            origin: None,
        };
        let line = |meta: &Meta| {
            let mut out = Vec::new();
            write_line_with_meta(&mut out, meta, 1, b"{ }").expect("memory takes it");
            String::from_utf8(out).expect("JSON is UTF-8")
        };
        assert_eq!(
            line(&meta),
            "{\"attempt\":2,\"sequence\":8,\"time\":\"1970-01-01T00:00:01.000Z\",\"topic\":\"t\",\"message\":{}}\n"
        );
        let late = Meta {
            published: u64::MAX,
            ..meta
        };
        assert!(line(&late).contains("\"time\":null"));
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
