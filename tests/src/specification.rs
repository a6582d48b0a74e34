//! The tables of `docs/PROTOCOL.md`, as tests read them.

const SPECIFICATION: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/PROTOCOL.md"));

/// The cells of the table rows in a section, the heading's number given; headings left out.
///
/// # Panics
/// If there is no such section.
pub fn rows(section: &str) -> Vec<Vec<&'static str>> {
    let start = SPECIFICATION
        .find(&format!("\n## {section}. "))
        .expect("the section is there");
    let text = &SPECIFICATION[start + 1..];
    let end = text.find("\n## ").unwrap_or(text.len());
    let lines = text[..end].lines().filter(|line| line.starts_with('|'));
    lines
        .map(|line| {
            line.trim_matches('|')
                .split('|')
                .map(str::trim)
                .collect::<Vec<_>>()
        })
        .filter(|cells| cells.iter().any(|cell| cell.starts_with('`')))
        .collect()
}

/// The first stretch of code in a cell.
///
/// # Panics
/// If there is none.
pub fn code(cell: &str) -> &str {
    cell.split('`').nth(1).expect("the cell holds code")
}

/// What a stretch of code stands for: `47 45 54`, or a line as `text\n`.
///
/// # Panics
/// If it is neither.
pub fn bytes(code: &str) -> Vec<u8> {
    if let Some(line) = code.strip_suffix("\\n") {
        return format!("{line}\n").into_bytes();
    }
    let digits = code.split_whitespace();
    digits
        .map(|pair| u8::from_str_radix(pair, 16).expect("two digits"))
        .collect()
}
