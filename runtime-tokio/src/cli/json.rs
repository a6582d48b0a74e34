//! A message as one line of JSON.

use serde::de::IgnoredAny;

/// Appends `message` to `out` as JSON on one line: JSON as it is, without the white space between
/// its parts (keys keep their order, numbers their digits); anything else as a JSON string, in
/// which bytes that are not UTF-8 become U+FFFD.
pub(crate) fn write_line(out: &mut Vec<u8>, message: &[u8]) {
    let json = str::from_utf8(message)
        .ok()
        .filter(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    match json {
        Some(text) => write_compact(out, text),
        None => write_string(out, &String::from_utf8_lossy(message)),
    }
    out.push(b'\n');
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

fn write_string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &[u8]) -> String {
        let mut out = Vec::new();
        write_line(&mut out, message);
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
        assert_eq!(line(b"a\xffb"), "\"a\u{fffd}b\"\n");
        assert_eq!(line(b"\"\xff\""), "\"\\\"\u{fffd}\\\"\"\n");
    }
}
