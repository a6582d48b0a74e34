//! One conformance suite for everything that can keep a topic. What each engine keeps, and what it cannot, is a table in
//! docs/OPERATIONS.md, "Engines"; a real broker with each of them is held to it.
//!
//! `MESSAGE_QUEUE_BIN` names a binary that was built with more engines than the default one. `MESSAGE_QUEUE_ENGINES` lists those
//! that must be in it: without that, an engine which the binary refuses, with the line that says so, is passed over.

mod checks;
mod commands;
mod engine;
mod fronts;
mod kafka;
mod moving;
mod rabbitmq;
mod refused;
mod secure;
mod server;

use checks::CHECKS;
use engine::{ENGINES, Engine};
use message_queue_tests::specification::{code, operations_rows};

/// The rows of the table: what is kept, and by whom.
fn table() -> Vec<(&'static str, Vec<(&'static str, bool)>)> {
    let mut rows = operations_rows("### Engines").into_iter();
    let heading = rows.next().expect("a heading");
    let names: Vec<_> = heading[1..].iter().map(|it| code(it)).collect();
    let is_check = |row: &Vec<&'static str>| row[0].starts_with('`') && row[0].contains("`: ");
    let rows = rows.filter(is_check).map(|row| {
        let kept = row[1..].iter().map(|cell| match *cell {
            "yes" => true,
            "no" => false,
            other => panic!("{other:?} is neither yes nor no"),
        });
        (code(row[0]), names.iter().copied().zip(kept).collect())
    });
    rows.collect()
}

#[test]
fn the_table_and_the_suite_have_the_same_rows_and_engines() {
    let table = table();
    let rows: Vec<_> = table.iter().map(|(name, _)| *name).collect();
    let checks: Vec<_> = CHECKS.iter().map(|(name, _)| *name).collect();
    assert_eq!(rows, checks);
    let engines: Vec<_> = ENGINES.iter().map(|it| it.name).collect();
    for (_, kept) in &table {
        let columns: Vec<_> = kept.iter().map(|(name, _)| *name).collect();
        assert_eq!(columns, engines);
    }
}

/// Holds an engine to its column.
fn conforms(name: &str) {
    let engine = Engine::named(name);
    if !engine.is_in_the_binary() {
        return;
    }
    let mut differs = Vec::new();
    for ((row, kept), (_, check)) in table().iter().zip(CHECKS) {
        let (_, promised) = kept
            .iter()
            .find(|(it, _)| *it == name)
            .expect("it has a column");
        let is_kept = check(engine);
        if is_kept != *promised {
            differs.push(format!(
                "{row}: the table says {promised}, and it is {is_kept}"
            ));
        }
    }
    assert!(differs.is_empty(), "{name}: {differs:#?}");
}

#[test]
fn memory_keeps_what_the_table_says() {
    conforms("memory");
}

#[test]
fn disk_keeps_what_the_table_says() {
    conforms("disk");
}

#[test]
fn rabbitmq_keeps_what_the_table_says() {
    conforms("rabbitmq");
}

#[test]
fn kafka_keeps_what_the_table_says() {
    conforms("kafka");
}

#[test]
fn rocksdb_keeps_what_the_table_says() {
    conforms("rocksdb");
}
