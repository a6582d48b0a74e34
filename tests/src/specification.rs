//! The tables of `docs/PROTOCOL.md` and `docs/OPERATIONS.md`, as tests read them.

const SPECIFICATION: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/PROTOCOL.md"));

const OPERATIONS: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../docs/OPERATIONS.md"
));

/// The cells of the table rows in a section, the heading's number given; headings left out.
///
/// # Panics
/// If there is no such section.
pub fn rows(section: &str) -> Vec<Vec<&'static str>> {
    under(SPECIFICATION, &format!("## {section}. "))
}

/// The same of the table below this heading of the operators' page.
///
/// # Panics
/// If there is no such heading.
pub fn operations_rows(heading: &str) -> Vec<Vec<&'static str>> {
    under(OPERATIONS, heading)
}

fn under(page: &'static str, heading: &str) -> Vec<Vec<&'static str>> {
    let start = page
        .find(&format!("\n{heading}"))
        .expect("the section is there");
    let text = &page[start + 1..];
    let level = heading.split(' ').next().unwrap_or(heading);
    let end = text.find(&format!("\n{level} ")).unwrap_or(text.len());
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
