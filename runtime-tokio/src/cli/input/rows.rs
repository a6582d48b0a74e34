//! CSV rows as JSON, and the names of their columns.

use serde::Serializer;
use std::collections::BTreeSet;
use std::io;

/// Appends a row to `out` as JSON on one line: an object whose keys are those, in their order, or
/// without keys an array. Every value is a string, as it is in CSV.
pub(super) fn write<'a>(
    out: &mut Vec<u8>,
    keys: Option<&[String]>,
    values: impl Iterator<Item = &'a str>,
) -> io::Result<()> {
    let mut json = serde_json::Serializer::new(out);
    match keys {
        Some(keys) => json.collect_map(keys.iter().zip(values)),
        None => json.collect_seq(values),
    }
    .map_err(io::Error::from)
}

/// The first name that two columns share. An object can hold only one of them.
pub(super) fn repeated_column(columns: &[String]) -> Option<&str> {
    let mut seen = BTreeSet::new();
    let repeated = columns.iter().find(|name| !seen.insert(name.as_str()));
    repeated.map(String::as_str)
}

/// Names that differ: an empty one becomes `column_` and its number, and one that came before gets
/// the first of the suffixes `_2`, `_3`, … with which no column has it.
pub(super) fn unique_columns(mut columns: Vec<String>) -> Vec<String> {
    for (number, name) in (1..).zip(&mut columns) {
        if name.is_empty() {
            *name = format!("column_{number}");
        }
    }
    let mut taken: BTreeSet<String> = columns.iter().cloned().collect();
    let mut seen = BTreeSet::new();
    for name in &mut columns {
        if !seen.insert(name.clone()) {
            let suffixed = (2_u32..).map(|suffix| format!("{name}_{suffix}"));
            if let Some(free) = suffixed.into_iter().find(|it| !taken.contains(it)) {
                taken.insert(free.clone());
                *name = free;
            }
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(names: &[&str]) -> Vec<String> {
        names.iter().copied().map(str::to_owned).collect()
    }

    #[test]
    fn keys_keep_the_order_of_the_header_and_values_are_escaped() {
        let keys = columns(&["z", "a \"b\"", "m"]);
        let values = ["1", "two\nlines, \"quoted\"", ""];
        let json = |keys| {
            let mut out = Vec::new();
            write(&mut out, keys, values.into_iter()).expect("memory takes it");
            String::from_utf8(out).expect("UTF-8")
        };
        assert_eq!(
            json(Some(&keys)),
            r#"{"z":"1","a \"b\"":"two\nlines, \"quoted\"","m":""}"#
        );
        assert_eq!(json(None), r#"["1","two\nlines, \"quoted\"",""]"#);
    }

    #[test]
    fn a_repeated_column_is_found_wherever_it_stands() {
        assert_eq!(repeated_column(&columns(&["a", "b", "a"])), Some("a"));
        assert_eq!(repeated_column(&columns(&["a", "b", "A"])), None);
    }

    #[test]
    fn names_are_made_to_differ_and_no_name_that_does_is_changed() {
        for (names, expected) in [
            (&["a", "b"][..], &["a", "b"][..]),
            (&["a", "a", "a"], &["a", "a_2", "a_3"]),
            (&["a", "a", "a_2", "a"], &["a", "a_3", "a_2", "a_4"]),
            (&["", "x", ""], &["column_1", "x", "column_3"]),
            (&["column_2", ""], &["column_2", "column_2_2"]),
        ] {
            assert_eq!(unique_columns(columns(names)), columns(expected));
        }
    }
}
