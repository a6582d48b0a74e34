//! What the chart's alerts and the documents say of metrics, taken at its word: every name is one that the
//! binary exports.

use message_queue_core::CloseReason;
use message_queue_tests::process::{Broker, run};
use std::collections::BTreeSet;
use std::fs;
use tempfile::tempdir;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const ALERTS: &str = "charts/message-streaming-app/files/alerts.yaml";

fn read(path: &str) -> String {
    fs::read_to_string(format!("{ROOT}/{path}")).expect("text")
}

/// The metrics that are named in this text.
fn metrics(text: &str) -> BTreeSet<&str> {
    text.split(|byte: char| !byte.is_ascii_lowercase() && byte != '_')
        .filter(|word| word.starts_with("message_queue_") || word.starts_with("process_"))
        .collect()
}

/// What stands after `- alert: ` and `expr: ` in the rules, in pairs.
fn alerts(rules: &str) -> Vec<(&str, &str)> {
    let after = |field| {
        rules
            .lines()
            .filter_map(move |line| line.trim().strip_prefix(field))
    };
    after("- alert: ").zip(after("expr: ")).collect()
}

#[test]
fn every_metric_and_every_reason_of_an_alert_is_exported() {
    let recordings = tempdir().expect("a directory");
    let broker = Broker::start(&[("RECORD_DIR", recordings.path().to_str().expect("UTF-8"))]);
    let exported = broker.get("/metrics").1;
    let names = metrics(&exported);
    let rules = read(ALERTS);
    let alerts = alerts(&rules);
    assert!(alerts.len() > 10, "{alerts:?}");
    for (alert, expr) in alerts {
        let named = metrics(expr);
        assert!(!named.is_empty(), "{alert} names no metric");
        for name in named {
            assert!(names.contains(name), "{alert}: {name} is not exported");
        }
        for reasons in expr.split("reason=").skip(1) {
            let reasons = reasons.trim_start_matches('~').split('"').nth(1);
            for reason in reasons.expect("a quoted text").split('|') {
                let label = format!("reason=\"{reason}\"");
                assert!(exported.contains(&label), "{alert}: no {reason}");
            }
        }
    }
}

/// By what consumers are scaled: the broker's own metric, and the names of a group in Kafka and in RabbitMQ.
#[test]
fn what_consumers_are_scaled_by_is_there() {
    let example = read("examples/keda.yaml");
    let values = |field: &str| -> BTreeSet<String> {
        let lines = example.lines();
        let values = lines.filter_map(|it| it.trim().strip_prefix(field));
        values.map(str::to_owned).collect()
    };
    let broker = Broker::start(&[]);
    let exported = broker.get("/metrics").1;
    let queries = values("query: ");
    let named: BTreeSet<_> = queries.iter().flat_map(|it| metrics(it)).collect();
    assert!(!named.is_empty(), "{queries:?}");
    for name in named {
        assert!(metrics(&exported).contains(name), "{name} is not exported");
    }
    let output = run(["serve", "--print-config"], &[]);
    let settings = String::from_utf8(output.stdout).expect("UTF-8");
    for prefix in ["KAFKA_TOPIC_PREFIX", "RABBITMQ_PREFIX"] {
        let is_default = settings
            .lines()
            .any(|it| it.starts_with(&format!("{prefix}=mq.")));
        assert!(is_default, "{settings}");
    }
    let expected = |name: &str| BTreeSet::from([name.to_owned()]);
    assert_eq!(values("topic: "), expected("mq.orders"));
    assert_eq!(values("consumerGroup: "), expected("mq.orders/workers"));
    assert_eq!(values("queueName: "), expected("mq.orders/workers"));
}

/// The reasons that an alert asks for.
fn reasons(alert: &str) -> BTreeSet<String> {
    let rules = read(ALERTS);
    let alerts = alerts(&rules);
    let (_, expr) = alerts.iter().find(|(name, _)| *name == alert).expect(alert);
    let reasons = expr.split("reason=~\"").nth(1).expect("reasons");
    let reasons = reasons.split('"').next().expect("a quoted text");
    reasons.split('|').map(str::to_owned).collect()
}

#[test]
fn whoever_breaks_the_protocol_and_whoever_finds_no_place_is_alerted_to() {
    let misunderstood = reasons("MessageQueueMisunderstood");
    let refusing = reasons("MessageQueueRefusing");
    for reason in CloseReason::ALL {
        let name = reason.to_string();
        let is_broken = matches!(reason, CloseReason::Protocol(_));
        let is_silent = reason == CloseReason::RoleTimeout;
        assert_eq!(
            misunderstood.contains(&name),
            is_broken || is_silent,
            "{name}"
        );
        let finds_no_place = name.starts_with("too_many_");
        assert_eq!(refusing.contains(&name), finds_no_place, "{name}");
        let is_draining = reason == CloseReason::Draining;
        assert_eq!(reason.is_refusal(), finds_no_place || is_draining, "{name}");
    }
}

#[test]
fn the_run_book_shows_every_alert() {
    let book = read("docs/OPERATIONS.md");
    let rules = read(ALERTS);
    let alerts = alerts(&rules);
    for (alert, expr) in &alerts {
        let shown = book.split(&format!("**`{alert}`**")).nth(1);
        let shown = shown.unwrap_or_else(|| panic!("no {alert}"));
        let query = shown.split("```promql\n").nth(1).expect("an expression");
        assert_eq!(query.lines().next(), Some(*expr), "{alert}");
    }
    assert_eq!(book.matches("```promql").count(), alerts.len());
}

#[test]
fn every_metric_that_the_documents_name_in_full_is_exported() {
    let broker = Broker::start(&[]);
    let exported = broker.get("/metrics").1;
    let names = metrics(&exported);
    for path in [
        "docs/OPERATIONS.md",
        "charts/message-streaming-app/templates/NOTES.txt",
    ] {
        let text = read(path);
        for name in metrics(&text) {
            // A prefix alone, and what only a recording or TLS exports.
            let elsewhere = ["message_queue_recording_", "message_queue_tls_"];
            let known = name == "message_queue_" || elsewhere.iter().any(|it| name.starts_with(it));
            let crate_name = name.starts_with("message_queue_tokio");
            assert!(
                known || crate_name || names.contains(name),
                "{path}: {name}"
            );
        }
    }
}
