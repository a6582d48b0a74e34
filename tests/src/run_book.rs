//! The tables of `docs/OPERATIONS.md` that say what is told of a wrong set-up, as tests read them.

const RUN_BOOK: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../docs/OPERATIONS.md"
));

/// One row: what is set up wrong, and what is told, which is the last cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The first cell.
    pub set_up: &'static str,
    second: &'static str,
    last: &'static str,
}

impl Row {
    /// What is told: the stretches of code in the last cell.
    ///
    /// # Panics
    /// If there is none.
    pub fn told(&self) -> Vec<&'static str> {
        code_in(self.last)
    }

    /// What is seen: the stretches of code in the second cell.
    ///
    /// # Panics
    /// If there is none.
    pub fn seen(&self) -> Vec<&'static str> {
        code_in(self.second)
    }

    /// What is told, of which there is one.
    ///
    /// # Panics
    /// If there is none, or more.
    pub fn message(&self) -> &'static str {
        let told = self.told();
        assert_eq!(told.len(), 1, "{told:?}");
        told[0]
    }

    /// That `text` is what the row says. A last `…` stands for what the system or a library adds.
    ///
    /// # Panics
    /// If it is not.
    pub fn assert_told(&self, text: &str) {
        assert_is(self.message(), text);
    }
}

/// The stretches of code in a cell.
fn code_in(cell: &'static str) -> Vec<&'static str> {
    let mut rest = cell;
    let mut found = Vec::new();
    while let Some(start) = rest.find('`') {
        // As many as it begins with are the end of it.
        let ticks = rest[start..].bytes().take_while(|it| *it == b'`').count();
        let mark = &rest[start..start + ticks];
        let inner = &rest[start + ticks..];
        let end = inner.find(mark).expect("code has an end");
        found.push(inner[..end].trim());
        rest = &inner[end + ticks..];
    }
    assert!(!found.is_empty(), "nothing is told: {}", cell);
    found
}

/// That `text` is what a run book says. A last `…` stands for what the system or a library adds.
///
/// # Panics
/// If it is not.
pub fn assert_is(message: &str, text: &str) {
    match message.strip_suffix('…') {
        Some(start) => assert!(text.starts_with(start), "{text:?} is not {message:?}"),
        None => assert_eq!(text, message),
    }
}

/// The tables under a heading of the third level, up to the next heading, without their first two lines.
///
/// # Panics
/// If there is no such heading.
pub fn tables(heading: &str) -> Vec<Vec<Row>> {
    let start = RUN_BOOK
        .find(&format!("\n### {heading}\n"))
        .unwrap_or_else(|| panic!("no heading {heading}"));
    let text = &RUN_BOOK[start + 5..];
    let end = text.find("\n##").unwrap_or(text.len());
    let mut tables = vec![Vec::new()];
    for line in text[..end].lines() {
        let Some(cells) = line.strip_prefix("| ").and_then(|it| it.strip_suffix(" |")) else {
            // A line like |---|---| is a part of its table; any other ends it.
            if !line.starts_with("|-") {
                tables.push(Vec::new());
            }
            continue;
        };
        let (set_up, rest) = cells.split_once(" | ").expect("two cells at least");
        let second = rest.split_once(" | ").map_or(rest, |(second, _)| second);
        let last = rest.rsplit_once(" | ").map_or(rest, |(_, last)| last);
        let row = Row {
            set_up,
            second,
            last,
        };
        tables.last_mut().expect("one").push(row);
    }
    tables.retain(|it| !it.is_empty());
    for table in &mut tables {
        table.remove(0);
    }
    tables
}

/// The only table under a heading of the third level.
///
/// # Panics
/// If there is no such heading, or it has no table, or more.
pub fn table(heading: &str) -> Vec<Row> {
    let mut tables = tables(heading);
    assert_eq!(tables.len(), 1, "tables under {heading}");
    tables.remove(0)
}

/// What a test makes of a row, and which it is for: its first cell.
pub type Check<'a> = (&'a str, &'a dyn Fn(&Row));

/// Runs the check of each row of a table, by what it is about. No row may be without one, and none without a row.
///
/// # Panics
/// If that is not so, or a check panics.
pub fn check_each(table: &[Row], checks: &[Check<'_>]) {
    let set_ups: Vec<_> = table.iter().map(|it| it.set_up).collect();
    let checked: Vec<_> = checks.iter().map(|(set_up, _)| *set_up).collect();
    assert_eq!(set_ups, checked, "the page and its test differ");
    for (row, (_, check)) in table.iter().zip(checks) {
        check(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_may_hold_what_marks_code() {
        let row = Row {
            set_up: "a",
            second: "",
            last: "a warning: `` use `x` ``, or `y`",
        };
        assert_eq!(row.told(), ["use `x`", "y"]);
    }

    #[test]
    fn every_table_of_a_heading_is_found() {
        let tables = tables("TLS");
        assert_eq!(tables.len(), 3);
        assert!(tables.iter().all(|it| it.len() >= 4));
        assert_eq!(tables[0][0].set_up, "no port for clients at all");
        assert_eq!(
            tables[0][0].message(),
            "TCP_PORT: \"off\" is not allowed: use a port, or set TLS_PORT: nobody could connect"
        );
    }
}
