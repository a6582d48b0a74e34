//! Real telemetry through the real binary: every row, byte for byte.

use message_queue_tests::frames::{frames, read_messages, read_to_end};
use message_queue_tests::process::Broker;
use std::collections::BTreeSet;
use std::io::Write;
use std::net::Shutdown;
use std::path::Path;

/// The rows of the recorded telemetry, or of the project's own sample where that is not there.
fn rows() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let recorded = root.join("../shared/data/dcgm_metrics.csv");
    let (path, expected) = if recorded.exists() {
        (recorded, Some(2470))
    } else {
        eprintln!(
            "{} is not there: the sample in examples/ is used",
            recorded.display()
        );
        (root.join("examples/telemetry.csv"), None)
    };
    let text = std::fs::read(&path).expect("the file can be read");
    let mut lines: Vec<Vec<u8>> = text
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    assert_eq!(
        lines.pop(),
        Some(vec![]),
        "the last row ends like the others"
    );
    lines.remove(0);
    assert_eq!(
        lines.len(),
        expected.unwrap_or(lines.len()),
        "{}",
        path.display()
    );
    lines
}

#[test]
fn in_broadcast_every_consumer_has_every_row_in_order() {
    let rows = rows();
    let broker = Broker::start(&[]);
    let mut consumers = [broker.consumer(), broker.consumer(), broker.consumer()];
    broker
        .producer()
        .write_all(&frames(&rows))
        .expect("the broker reads");
    for consumer in &mut consumers {
        assert_eq!(read_messages(consumer, rows.len()), rows);
    }
    let all = 3.0 * rows.len() as f64;
    assert_eq!(
        broker.metric("message_queue_delivered_messages_total", ""),
        all
    );
}

#[test]
fn in_queue_mode_three_consumers_have_all_rows_between_them_once_each() {
    let rows = rows();
    let broker = Broker::start(&[("DELIVERY_MODE", "queue")]);
    let consumers = [broker.consumer(), broker.consumer(), broker.consumer()];
    let readers = consumers.map(|mut it| std::thread::spawn(move || read_to_end(&mut it)));
    // Each row with its number, so that equal rows can be told apart.
    let numbered: Vec<Vec<u8>> = (0_u32..)
        .zip(&rows)
        .map(|(n, row)| [&n.to_be_bytes()[..], row].concat())
        .collect();
    let mut producer = broker.producer();
    producer
        .write_all(&frames(&numbered))
        .expect("the broker reads");
    producer.shutdown(Shutdown::Write).expect("an orderly end");
    broker.wait_for_close(&producer);
    broker.signal("TERM");

    let mut all = BTreeSet::new();
    for reader in readers {
        let received = reader.join().expect("it read to the end");
        assert!(received.is_sorted(), "a consumer has its part in order");
        for row in received {
            assert!(all.insert(row), "a row came twice");
        }
    }
    assert!(all.iter().eq(&numbered));
}
