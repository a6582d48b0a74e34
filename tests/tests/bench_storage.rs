//! `message-queue bench --storage`, on the real binary: that it measures what it says. What it measures is not judged here.

use message_queue_tests::process::run;
use serde_json::Value;
use std::fs;
use std::process::Output;

fn bench(folder: &str, args: &[&str]) -> Output {
    let common = [
        "bench",
        "--storage",
        folder,
        "--pairs",
        "2",
        "--seconds",
        "0.05",
        "--json",
    ];
    let output = run([&common[..], args].concat(), &[("SEGMENT_BYTES", "1MiB")]);
    let left = fs::read_dir(folder).map_or(0, Iterator::count);
    assert_eq!(left, 0, "it tidies up");
    output
}

#[track_caller]
fn figures(args: &[&str]) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let output = bench(folder.path().to_str().expect("UTF-8"), args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let first = text.lines().next().expect("a line");
    serde_json::from_str(first).expect("JSON")
}

#[test]
fn a_confirming_broker_is_held_against_a_loop_that_writes_the_same_pieces() {
    for (job, has_p50) in [("confirmed", false), ("one-by-one", true)] {
        let figures = figures(&["--job", job, "--size", "1KiB"]);
        assert_eq!(figures["p50_ratio"].is_object(), has_p50, "{figures}");
        for pair in figures["pairs"].as_array().expect("pairs") {
            assert!(pair["broker"]["messages"].as_u64() > Some(0), "{pair}");
            assert!(pair["bare"]["messages"].as_u64() > Some(0), "{pair}");
        }
        let first = &figures["pairs"][0];
        assert_eq!(first["broker"]["messages"], first["bare"]["messages"]);
        assert_eq!(first["broker"]["confirms"], first["bare"]["syncs"]);
    }
}

/// In a build without the engine it is refused by name.
#[test]
fn another_engine_is_held_against_a_loop_that_writes_to_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().to_str().expect("UTF-8");
    let output = bench(folder, &["--engine", "rocksdb"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("it is not in this build") {
        assert_eq!(output.status.code(), Some(2), "{errors}");
        return;
    }
    let figures = figures(&["--engine", "rocksdb", "--size", "1KiB"]);
    assert_eq!(figures["engine"], "rocksdb");
    let first = &figures["pairs"][0];
    assert!(first["broker"]["messages"].as_u64() > Some(0), "{first}");
    assert_eq!(first["broker"]["messages"], first["bare"]["messages"]);
    assert_eq!(first["broker"]["confirms"], first["bare"]["syncs"]);
    let output = bench(folder, &["--engine", "rocksdb", "--job", "recovery"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(
        errors.contains("--engine: rocksdb is not allowed with this job"),
        "{errors}"
    );
}

/// Engines that run already: their names, where the suite says that they are, the setting of a broker that says so, and the
/// brokers that are held against the bare client.
const SHARED: [(&str, &str, &str, &[&str]); 2] = [
    (
        "kafka",
        "MESSAGE_QUEUE_KAFKA",
        "KAFKA_BROKERS",
        &["message", "batch"],
    ),
    (
        "rabbitmq",
        "MESSAGE_QUEUE_RABBITMQ",
        "RABBITMQ_URL",
        &["broker"],
    ),
];

fn beside_a_client(engine: &str, args: &[&str], env: &[(&str, &str)]) -> Output {
    let common = ["bench", "--engine", engine, "--pairs", "2", "--json"];
    run([&common[..], args].concat(), env)
}

/// With the engines that `MESSAGE_QUEUE_ENGINES` names, by a binary that has them (`.ci/run`, stage engines).
#[test]
fn another_engine_that_runs_is_held_against_a_bare_client_of_it() {
    let wanted = std::env::var("MESSAGE_QUEUE_ENGINES").unwrap_or_default();
    for (engine, place, setting, brokers) in SHARED {
        if !wanted.split(',').any(|it| it == engine) {
            continue;
        }
        let place = std::env::var(place).expect("where it is");
        for job in ["confirmed", "drain"] {
            let args = [
                "--job",
                job,
                "--seconds",
                "0.1",
                "--size",
                "1KiB",
                "--window",
                "100",
            ];
            let output = beside_a_client(engine, &args, &[(setting, &place)]);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{errors}");
            let figures: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            let said = ["engine", "job", "size", "window"].map(|it| figures[it].to_string());
            let job = format!("\"{job}\"");
            assert_eq!(said, [&format!("\"{engine}\""), &job, "1024", "100"]);
            let rounds = figures["rounds"].as_array().expect("rounds");
            assert_eq!(rounds.len(), 2, "{figures}");
            for side in rounds.iter().flat_map(|round| {
                let sides = brokers.iter().chain(&["bare"]);
                sides.map(|side| &round[*side])
            }) {
                assert!(side["messages"].as_u64() > Some(0), "{figures}");
                assert!(side["seconds"].as_f64() > Some(0.0), "{figures}");
                assert!(side["cpu_seconds"].as_f64() > Some(0.0), "{figures}");
            }
            for broker in brokers {
                let ratios = &figures["ratios"][format!("{broker}_to_bare")];
                let rate = |it: &Value, side: &str| {
                    let side = &it[side];
                    side["messages"].as_f64().expect("messages")
                        / side["seconds"].as_f64().expect("seconds")
                };
                let first = rate(&rounds[0], broker) / rate(&rounds[0], "bare");
                let second = rate(&rounds[1], broker) / rate(&rounds[1], "bare");
                let (min, max) = (&ratios["rate"]["min"], &ratios["rate"]["max"]);
                let off = |it: &Value, expected: f64| {
                    (it.as_f64().expect("a ratio") - expected).abs() / expected
                };
                assert!(off(min, first.min(second)) < 1e-6, "{figures}");
                assert!(off(max, first.max(second)) < 1e-6, "{figures}");
                assert!(ratios["cpu"]["median"].as_f64() > Some(0.0), "{figures}");
            }
        }
    }
}

/// Each is one line, and the exit code of a bad flag.
#[test]
fn another_engine_that_cannot_be_measured_is_refused_by_name() {
    let refused = |engine: &str, args: &[&str], env: &[(&str, &str)], expected: &str| {
        let output = beside_a_client(engine, args, env);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(expected), "{errors}");
    };
    let needs = "--engine: disk is not allowed without --storage DIR";
    refused("disk", &[], &[], needs);
    refused(
        "disk",
        &["--storage", "/tmp", "--job", "drain"],
        &[],
        "--engine: disk is not allowed with this job: use --job confirmed, one-by-one, never, catch-up or recovery",
    );
    for (engine, _, setting, _) in SHARED {
        let output = beside_a_client(engine, &[], &[(setting, "")]);
        let errors = String::from_utf8_lossy(&output.stderr);
        if errors.contains("it is not in this build") {
            let built = format!("`cargo build --release --features {engine}` makes one");
            refused(engine, &[], &[], &built);
            continue;
        }
        let unset =
            format!("{setting}: it is not set; set it as for a broker with STORAGE={engine}");
        refused(engine, &[], &[(setting, "")], &unset);
        let folder = ["--storage", "/tmp"];
        let none = format!("--storage: it is not allowed with --engine {engine}");
        refused(engine, &folder, &[], &none);
        let job = format!(
            "--engine: {engine} is not allowed with this job: use --job confirmed or drain"
        );
        refused(engine, &["--job", "recovery"], &[], &job);
    }
}

#[test]
fn stored_is_held_against_memory_and_a_reader_against_the_relay() {
    let never = figures(&["--job", "never"]);
    for side in ["stored", "memory"] {
        let outcome = &never["pairs"][0][side];
        assert!(outcome["delivered"].as_u64() > Some(0), "{never}");
        assert_eq!(outcome["lost"], 0);
    }
    let caught_up = figures(&["--job", "catch-up", "--stored", "3MiB", "--rate", "100"]);
    assert_eq!(caught_up["stored_bytes"], (3 << 20) / 132 * 132);
    assert!(caught_up["reader_to_relay"].as_f64() > Some(0.0));
    assert_eq!(caught_up["tail_beside"]["lost"], 0);
}

#[test]
fn starts_are_timed_and_groups_are_behind() {
    let figures = figures(&["--job", "recovery", "--stored", "3MiB"]);
    assert_eq!(figures["start_seconds"].as_array().map(Vec::len), Some(2));
    assert!(figures["peak_bytes"].as_u64() > Some(0), "{figures}");
}

#[test]
fn a_folder_that_cannot_be_used_is_named_with_its_flag() {
    let output = bench("/does/not/exist", &[]);
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("--storage: /does/not/exist: "), "{errors}");
}
