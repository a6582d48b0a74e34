//! Rows in columns, for people.

/// How a column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    /// For numbers.
    Right,
}

/// Lines with these headings, and a row each; columns are two spaces apart.
///
/// What a broker or a message put into a cell cannot command a terminal.
pub(super) fn table<const N: usize>(columns: [(&str, Align); N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| plain(cell)))
        .collect();
    let widths: [usize; N] = std::array::from_fn(|at| {
        let cells = rows.iter().map(|row| width(&row[at]));
        cells.chain([width(columns[at].0)]).max().unwrap_or(0)
    });
    let mut text = String::new();
    let headings = columns.map(|(heading, _)| heading.to_owned());
    for row in std::iter::once(&headings).chain(&rows) {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            let padding = " ".repeat(widths[at] - width(cell));
            match columns[at].1 {
                Align::Left => line.extend([cell, padding.as_str()]),
                Align::Right => line.extend([padding.as_str(), cell]),
            }
            line.push_str("  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// How wide it is in characters, which is what it takes where none is wide or combines.
fn width(cell: &str) -> usize {
    cell.chars().count()
}

fn plain(cell: &str) -> String {
    cell.replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let columns = [
            ("NAME", Align::Left),
            ("N", Align::Right),
            ("WHY", Align::Left),
        ];
        let rows = [
            ["a", "1000", "-"].map(str::to_owned),
            ["grüße\u{1b}", "7", ""].map(str::to_owned),
        ];
        assert_eq!(
            table(columns, &rows),
            "NAME       N  WHY\na       1000  -\ngrüße\u{fffd}     7\n"
        );
        assert_eq!(table(columns, &[]), "NAME  N  WHY\n");
    }
}
