use super::*;
use crate::access::FailureLimit;
use crate::access::tls::testing::Certificates;
use crate::serve::survey::TopicStatus;
use crate::store::Size;
use message_queue_core::names::{Pattern, TopicName};
use message_queue_core::wire::handshake::{ProducerOptions, RoleOptions};
use message_queue_core::wire::{FrameBatch, Role};
use message_queue_core::{
    Broker, CloseReason, Config, ConnId, DeliveryMode, DropReason, Input, Now, Output, Storage,
    TopicRule, TopicsConfig,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is shown of a consumer that has taken one message, has one in flight, and for which
/// two wait and two were dropped; of its producer; and of a connection that was refused.
fn text(delivery: DeliveryMode) -> String {
    let mut broker = Broker::new(Config {
        delivery,
        max_connections: 2,
        consumer_backlog: 2,
        queue_capacity: 2,
        ..Config::default()
    });
    let at = |millis| Now::at(Duration::from_millis(millis));
    let (consumer, producer, refused) = (ConnId(1), ConnId(2), ConnId(3));
    for (conn, role) in [(consumer, Role::Consumer), (producer, Role::Producer)] {
        broker.handle_input(conn, Input::Opened, at(0));
        broker.handle_input(conn, Input::Role(role), at(0));
    }
    broker.handle_input(refused, Input::Opened, at(0));
    let batch = |messages: &[&str]| Input::Batch(FrameBatch::encode(messages).unwrap());
    broker.handle_input(producer, batch(&["a"]), at(500));
    let writes = std::iter::from_fn(|| broker.poll_output())
        .filter(|output| matches!(output, Output::Write { .. }))
        .count();
    assert_eq!(writes, 1);
    broker.handle_input(consumer, Input::Written(5), at(500));
    broker.handle_input(producer, batch(&["b"]), at(1_000));
    broker.handle_input(producer, batch(&["c", "d", "ee", "ff"]), at(2_000));
    broker.handle_input(producer, Input::Partial { bytes: 20_000 }, at(2_500));
    let now = at(3_500);
    let snapshot = Snapshot {
        stats: broker.stats().clone(),
        config: broker.config().clone(),
        ready: true,
        draining: false,
        accept_failures: 7,
        address_refusals: 8,
        backlog: broker.backlog(),
        fullest_backlog: broker.backlog(),
        held_bytes: broker.held_bytes(),
        confirming_producers: broker.confirming_producers(),
        topics: topics(&broker),
        oldest: now - broker.waiting_since().unwrap(),
        uptime: now.since_start(),
    };
    Metrics::default()
        .with_topics(1)
        .encode(snapshot, Duration::from_millis(3), Format::Prometheus)
        .unwrap()
}

fn topics(broker: &Broker) -> Vec<TopicStatus> {
    let reports = broker.topics_after(None);
    let status = |report| TopicStatus {
        report,
        blocking_group: None,
        groups: Vec::new(),
    };
    reports.map(status).collect()
}

/// Every series and its value.
fn all_series(text: &str) -> BTreeMap<&str, f64> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name, value.parse().unwrap())
        })
        .collect()
}

/// Every series of the broker and its value, the prefix taken off.
fn series(text: &str) -> BTreeMap<&str, f64> {
    all_series(text)
        .into_iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("message_queue_")?, value)))
        .collect()
}

fn sum_of(series: &BTreeMap<&str, f64>, family: &str) -> f64 {
    let start = format!("{family}{{");
    series
        .iter()
        .filter(|(name, _)| name.starts_with(&start))
        .map(|(_, value)| value)
        .sum()
}

#[test]
fn what_was_counted_is_shown() {
    let text = text(DeliveryMode::Broadcast);
    let series = series(&text);
    let expected = [
        ("build_info{version=\"0.2.0\"}", 1.0),
        ("uptime_seconds", 3.5),
        ("received_messages_total", 6.0),
        ("received_bytes_total", 32.0),
        ("offered_messages_total", 6.0),
        ("offered_bytes_total", 32.0),
        ("delivered_messages_total", 1.0),
        ("delivered_bytes_total", 5.0),
        ("dropped_messages_total{reason=\"backlog_messages\"}", 2.0),
        ("dropped_bytes_total{reason=\"backlog_messages\"}", 12.0),
        ("waiting_messages", 3.0),
        ("waiting_bytes", 15.0),
        ("backlog_messages", 2.0),
        ("backlog_bytes", 10.0),
        ("fullest_backlog_messages", 2.0),
        ("fullest_backlog_bytes", 10.0),
        ("ready", 1.0),
        ("snapshot_age_seconds", 0.003),
        ("connections_limit", 2.0),
        ("consumers_limit", 10.0),
        ("backlog_messages_limit", 2.0),
        ("backlog_bytes_limit", f64::from(32 << 20)),
        ("broker_bytes_limit", f64::from(512 << 20)),
        ("accept_failures_total", 7.0),
        ("address_refusals_total", 8.0),
        ("parked_messages", 0.0),
        ("parked_bytes", 0.0),
        ("held_bytes", 15.0 + 20_000.0),
        ("oldest_waiting_message_age_seconds", 2.5),
        ("connections", 2.0),
        ("producers", 1.0),
        ("consumers", 1.0),
        ("topic_received_messages_total{topic=\"default\"}", 6.0),
        ("topic_offered_messages_total{topic=\"default\"}", 6.0),
        ("topic_delivered_messages_total{topic=\"default\"}", 1.0),
        ("topic_dropped_messages_total{topic=\"default\"}", 2.0),
        ("topic_waiting_messages{topic=\"default\"}", 3.0),
        ("connections_opened_total", 3.0),
        ("producers_registered_total", 1.0),
        ("consumers_registered_total", 1.0),
        (
            "connections_refused_total{reason=\"too_many_connections\"}",
            1.0,
        ),
    ];
    for (name, value) in expected {
        assert_eq!(series.get(name), Some(&value), "{name} in\n{text}");
    }
    let others = series
        .iter()
        .filter(|(name, _)| expected.iter().all(|(it, _)| it != *name));
    for (name, value) in others {
        assert_eq!(*value, 0.0, "{name}");
    }
}

/// Topics of which some have no label, and one has that of those.
#[test]
fn the_metrics_of_topics_add_up_to_those_of_the_broker() {
    let names = ["a", "other", "b", "c"];
    let rule = |name: &&str| TopicRule::new(Pattern::new(name).unwrap());
    let mut broker = Broker::new(Config {
        delivery: DeliveryMode::Queue,
        topics: TopicsConfig {
            rules: names.iter().map(rule).collect(),
            ..TopicsConfig::default()
        },
        ..Config::default()
    });
    for (conn, name) in (1..).map(ConnId).zip(names) {
        broker.handle_input(conn, Input::Opened, Now::START);
        let options = ProducerOptions {
            topic: Some(TopicName::new(name).unwrap()),
            ..ProducerOptions::default()
        };
        let options = Input::Options(RoleOptions::Producer(options));
        broker.handle_input(conn, options, Now::START);
        let messages = vec!["m"; 1 << conn.0];
        let batch = FrameBatch::encode(&messages).unwrap();
        broker.handle_input(conn, Input::Batch(batch), Now::START);
    }
    let server = crate::Server::new(broker.config().clone(), Default::default());
    for (most, labelled) in [
        (0, &[][..]),
        (3, &[("default", 0.0), ("a", 2.0), ("b", 8.0)]),
        (9, &[("default", 0.0), ("a", 2.0), ("b", 8.0), ("c", 16.0)]),
    ] {
        let snapshot = Snapshot {
            stats: broker.stats().clone(),
            topics: topics(&broker),
            ..server.handle().snapshot()
        };
        let metrics = Metrics::default().with_topics(most);
        let text = metrics.encode(snapshot, Duration::ZERO, Format::Prometheus);
        let text = text.unwrap();
        let series = series(&text);
        for (family, total) in [
            ("topic_received_messages_total", "received_messages_total"),
            ("topic_offered_messages_total", "offered_messages_total"),
            ("topic_waiting_messages", "waiting_messages"),
        ] {
            assert_eq!(sum_of(&series, family), 30.0, "{text}");
            assert_eq!(series[total], 30.0, "{text}");
        }
        let own: f64 = labelled.iter().map(|(_, messages)| messages).sum();
        for (name, messages) in labelled.iter().copied().chain([("other", 30.0 - own)]) {
            let name = format!("topic_waiting_messages{{topic=\"{name}\"}}");
            assert_eq!(series.get(&*name), Some(&messages), "{name} in\n{text}");
        }
    }
}

#[test]
fn what_is_stored_has_series_for_so_many_topics() {
    let status = Arc::<StoreStatus>::default();
    let sizes = [
        ("a", 1, 10),
        ("other", 2, 200),
        ("b", 3, 3_000),
        ("c", 4, 40_000),
    ];
    let sizes = sizes.map(|(name, segments, bytes)| {
        let name = TopicName::new(name).unwrap();
        (name, Size { segments, bytes })
    });
    status.set_sizes(sizes.into());
    for (most, labelled) in [
        (0, &[("other", 10.0, 43_210.0)][..]),
        (
            2,
            &[
                ("a", 1.0, 10.0),
                ("b", 3.0, 3_000.0),
                ("other", 6.0, 40_200.0),
            ],
        ),
        (9, &[("c", 4.0, 40_000.0), ("other", 2.0, 200.0)]),
    ] {
        let metrics = Metrics::default()
            .with_topics(most)
            .with_store(Arc::clone(&status), ".".into());
        let snapshot = crate::Server::new(Config::default(), Default::default())
            .handle()
            .snapshot();
        let text = metrics.encode(snapshot, Duration::ZERO, Format::Prometheus);
        let text = text.unwrap();
        let series = series(&text);
        assert_eq!(
            (series["store_segments"], series["store_bytes"]),
            (10.0, 43_210.0)
        );
        for (topic, segments, bytes) in labelled {
            for (family, value) in [("segments", segments), ("bytes", bytes)] {
                let name = format!("store_topic_{family}{{topic=\"{topic}\"}}");
                assert_eq!(series.get(&*name), Some(value), "{name} in\n{text}");
            }
        }
        assert_eq!(sum_of(&series, "store_topic_bytes"), 43_210.0, "{text}");
    }
}

#[test]
fn a_scrape_adds_up() {
    for delivery in [DeliveryMode::Broadcast, DeliveryMode::Queue] {
        let text = text(delivery);
        let series = series(&text);
        for unit in ["messages", "bytes"] {
            assert_eq!(
                series[&*format!("offered_{unit}_total")],
                series[&*format!("delivered_{unit}_total")]
                    + series[&*format!("waiting_{unit}")]
                    + series[&*format!("dead_{unit}_total")]
                    + series[&*format!("kept_{unit}_total")]
                    + sum_of(&series, &format!("dropped_{unit}_total")),
                "{text}"
            );
        }
        assert_eq!(
            series["connections_opened_total"],
            series["connections"]
                + sum_of(&series, "connections_closed_total")
                + sum_of(&series, "connections_refused_total"),
            "{text}"
        );
    }
}

#[test]
fn every_reason_is_there_from_the_start_once() {
    let text = text(DeliveryMode::Broadcast);
    let series = series(&text);
    let expected = CloseReason::ALL.into_iter().map(|reason| {
        let family = if reason.is_refusal() {
            "refused"
        } else {
            "closed"
        };
        format!("connections_{family}_total{{reason=\"{reason}\"}}")
    });
    for name in expected {
        assert!(series.contains_key(&*name), "{name}");
    }
    for reason in DropReason::ALL {
        assert!(series.contains_key(&*format!("dropped_bytes_total{{reason=\"{reason}\"}}")));
    }
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines.iter().collect::<BTreeSet<_>>().len(),
        lines.len(),
        "{text}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_has_the_standard_names_and_figures_that_can_be() {
    let text = text(DeliveryMode::Broadcast);
    let series = all_series(&text);
    let since_1970 = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    for (name, allowed) in [
        ("process_cpu_seconds_total", 0.0..1e6),
        (
            "process_start_time_seconds",
            since_1970 - 86_400.0..since_1970 + 2.0,
        ),
        ("process_resident_memory_bytes", 1e6..1e11),
        ("process_virtual_memory_bytes", 1e6..1e15),
        ("process_open_fds", 3.0..1e6),
        ("process_max_fds", 16.0..1e19),
    ] {
        let value = series.get(name).unwrap_or_else(|| panic!("{name}: {text}"));
        assert!(allowed.contains(value), "{name} {value}");
    }
}

/// An engine that is not reached yet is down.
#[test]
fn an_engine_that_brokers_share_is_up_or_down() {
    let status = Arc::new(StoreStatus::shared(Storage::RabbitMq));
    let snapshot = crate::Server::new(Config::default(), Default::default())
        .handle()
        .snapshot();
    let metrics = Metrics::default().with_engine(Arc::clone(&status));
    let encode = || {
        let age = Duration::ZERO;
        let text = metrics.encode(snapshot.clone(), age, Format::Prometheus);
        text.unwrap()
    };
    assert_eq!(series(&encode())["engine_up"], 0.0);
    status.out_of_reach.store(false, Ordering::Relaxed);
    let text = encode();
    let series = series(&text);
    assert_eq!(series["engine_up"], 1.0);
    let of_a_disk = series.keys().filter(|it| it.starts_with("store_"));
    assert_eq!(of_a_disk.count(), 0);
}

/// What is exported, is documented, and the other way round.
#[cfg(target_os = "linux")]
#[test]
fn the_table_in_the_documents_is_complete() {
    let page = include_str!("../../../../docs/OPERATIONS.md");
    let names_in = |text: &str| -> Vec<String> {
        let quoted = text.split('`').skip(1).step_by(2);
        let names = quoted.map(|it| it.split('{').next().unwrap_or_default().to_owned());
        names.collect()
    };
    let (_, table) = page
        .split_once("\n| Name | Type | What it says |\n")
        .unwrap();
    let (table, process) = table.split_once("\n\n").unwrap();
    let (process, _) = process.split_once("\n\n").unwrap();
    let first_cells = table
        .lines()
        .skip(1)
        .map(|line| line.split('|').nth(1).unwrap());
    let documented: BTreeSet<String> = first_cells
        .flat_map(names_in)
        .map(|name| format!("message_queue_{name}"))
        .chain(names_in(process))
        .collect();

    let metrics = Metrics::default()
        .with_topics(1)
        .with_http(Arc::new(HttpStats::new(1)))
        .with_recording(RecordingStatus::default())
        .with_tls(TlsMetrics::new(
            Arc::new(Certificates::new().server()),
            FailureLimit::default(),
        ))
        .with_store(Arc::default(), ".".into())
        .with_engine(Arc::default());
    let snapshot = crate::Server::new(Config::default(), Default::default())
        .handle()
        .snapshot();
    let text = metrics
        .encode(snapshot, Duration::ZERO, Format::Prometheus)
        .unwrap();
    let names = all_series(&text);
    let exported: BTreeSet<String> = names
        .keys()
        .map(|name| name.split('{').next().unwrap())
        // What a histogram is made of.
        .map(|name| {
            let parts = ["_bucket", "_sum", "_count"];
            let mut parts = parts.iter().filter_map(|part| name.strip_suffix(part));
            let family = parts.next().filter(|it| it.ends_with("_seconds"));
            family.unwrap_or(name).to_owned()
        })
        .collect();
    assert_eq!(documented, exported);
}
