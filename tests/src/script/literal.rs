//! Byte strings as text.

use std::fmt;

/// The longest piece that is looked for when a byte string is found to be a repetition.
const LONGEST_PIECE: usize = 8;

/// The fewest repetitions that are worth writing as such.
const FEWEST_TIMES: usize = 4;

/// A byte string: a piece, and how often it is repeated. As text, `"ab"*3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    /// The piece.
    pub piece: Vec<u8>,
    /// How often it stands.
    pub times: usize,
}

impl Literal {
    /// The shortest literal for these bytes, near enough.
    pub fn of(bytes: &[u8]) -> Self {
        let is_repeated = |piece: &usize| {
            bytes.len().is_multiple_of(*piece)
                && bytes.len() / piece >= FEWEST_TIMES
                && bytes.chunks(*piece).all(|chunk| chunk == &bytes[..*piece])
        };
        let piece = (1..=LONGEST_PIECE).find(is_repeated);
        let piece = piece.unwrap_or(bytes.len());
        Self {
            piece: bytes[..piece].to_vec(),
            times: bytes.len().checked_div(piece).unwrap_or(1),
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> Vec<u8> {
        self.piece.repeat(self.times)
    }

    /// Reads a literal from the front of `text`. Returns it and what comes after it; none if that
    /// is not how `text` begins.
    pub(super) fn parse(text: &str) -> Option<(Self, &str)> {
        let mut rest = text.strip_prefix('"')?.chars();
        let mut piece = Vec::new();
        loop {
            let next = match rest.next()? {
                '"' => break,
                '\\' => escaped(&mut rest)?,
                plain => {
                    piece.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
            };
            piece.push(next);
        }
        let rest = rest.as_str();
        let Some(times) = rest.strip_prefix('*') else {
            return Some((Self { piece, times: 1 }, rest));
        };
        let end = times.find(' ').unwrap_or(times.len());
        let (times, rest) = times.split_at(end);
        let times = times.parse().ok()?;
        Some((Self { piece, times }, rest))
    }
}

/// The byte that an escape stands for; its backslash has been read.
fn escaped(rest: &mut std::str::Chars<'_>) -> Option<u8> {
    Some(match rest.next()? {
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        '0' => 0,
        '\\' => b'\\',
        '"' => b'"',
        'x' => {
            let (high, low) = (rest.next()?.to_digit(16)?, rest.next()?.to_digit(16)?);
            u8::try_from(high * 16 + low).ok()?
        }
        _ => return None,
    })
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for byte in &self.piece {
            match byte {
                b'\n' => f.write_str("\\n")?,
                b'\r' => f.write_str("\\r")?,
                b'\t' => f.write_str("\\t")?,
                0 => f.write_str("\\0")?,
                b'\\' => f.write_str("\\\\")?,
                b'"' => f.write_str("\\\"")?,
                b' '..=b'~' => write!(f, "{}", char::from(*byte))?,
                other => write!(f, "\\x{other:02x}")?,
            }
        }
        f.write_str("\"")?;
        if self.times != 1 {
            write!(f, "*{}", self.times)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_are_read_back_as_they_were() {
        let all: Vec<u8> = (0..=255).collect();
        for bytes in [&all[..], b"", b"a", b"aaaa", b"abababab", b"\"*3"] {
            let text = format!("{} more", Literal::of(bytes));
            let (literal, rest) = Literal::parse(&text).expect("what was written can be read");
            assert_eq!(literal.bytes(), bytes, "{text}");
            assert_eq!(rest, " more");
        }
    }

    #[test]
    fn a_repetition_is_written_as_one() {
        assert_eq!(Literal::of(b"m1 m1 m1 m1 ").to_string(), r#""m1 "*4"#);
        assert_eq!(
            Literal::of(b"m1 m1 m1 m2 ").to_string(),
            r#""m1 m1 m1 m2 ""#
        );
    }

    #[test]
    fn what_is_no_literal_is_not_taken_for_one() {
        for text in ["a", "\"a", r#""\q""#, r#""\x4""#, r#""a"*b"#] {
            assert_eq!(Literal::parse(text), None, "{text}");
        }
    }
}
