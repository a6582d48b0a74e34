//! CSV rows as JSON objects.

use serde::Serializer;
use std::io;

/// Appends `row` to `out` as one JSON object on one line: `columns` are the keys, in their order.
/// Every value is a string, as it is in CSV.
pub(crate) fn write_object(
    out: &mut Vec<u8>,
    columns: &csv::StringRecord,
    row: &csv::StringRecord,
) -> io::Result<()> {
    serde_json::Serializer::new(out)
        .collect_map(columns.iter().zip(row))
        .map_err(io::Error::from)
}

/// The first name that two columns share. An object can hold only one of them.
pub(crate) fn repeated_column(columns: &csv::StringRecord) -> Option<&str> {
    let mut names: Vec<&str> = columns.iter().collect();
    names.sort_unstable();
    names
        .windows(2)
        .find(|pair| pair[0] == pair[1])
        .map(|pair| pair[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use csv::StringRecord;

    #[test]
    fn keys_keep_the_order_of_the_header_and_values_are_escaped() {
        let columns = StringRecord::from(vec!["z", "a \"b\"", "m"]);
        let row = StringRecord::from(vec!["1", "two\nlines, \"quoted\"", ""]);
        let mut out = Vec::new();
        write_object(&mut out, &columns, &row).expect("memory takes it");
        assert_eq!(
            String::from_utf8(out).expect("UTF-8"),
            r#"{"z":"1","a \"b\"":"two\nlines, \"quoted\"","m":""}"#
        );
    }

    #[test]
    fn a_repeated_column_is_found_wherever_it_stands() {
        assert_eq!(
            repeated_column(&StringRecord::from(vec!["a", "b", "a"])),
            Some("a")
        );
        assert_eq!(
            repeated_column(&StringRecord::from(vec!["a", "b", "A"])),
            None
        );
    }
}
