//! `message-queue bench --tls` and `--handshakes`, on the real binary: that they measure what they say. What they
//! measure is not judged here.

use message_queue_tests::process::run;
use serde_json::Value;
use std::fs;
use std::process::Output;

fn bench(args: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("UTF-8");
    let output = run([&["bench"][..], args].concat(), &[("TMPDIR", path)]);
    let left = fs::read_dir(path).map_or(0, Iterator::count);
    assert_eq!(left, 0, "no certificate is left");
    output
}

#[track_caller]
fn succeeds(args: &[&str]) -> String {
    let output = bench(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[track_caller]
fn figures(args: &[&str]) -> Value {
    serde_json::from_str(&succeeds(args)).expect("JSON")
}

#[track_caller]
fn is_refused(args: &[&str], expected: &str) {
    let output = bench(args);
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains(expected), "{errors}");
}

#[test]
fn a_broker_over_tls_is_held_against_a_relay_over_tls() {
    for (size, write) in [("128", "64KiB"), ("65532", "64KiB"), ("1048572", "1MiB")] {
        let messages = ["--messages", "200", "--pairs", "2", "--json"];
        let job = [
            "--tls",
            "--consumers",
            "2",
            "--size",
            size,
            "--write",
            write,
        ];
        let figures = figures(&[&job[..], &messages].concat());
        for pair in figures["pairs"].as_array().expect("pairs") {
            for side in ["broker", "relay"] {
                assert_eq!(pair[side]["delivered"], 400, "{pair}");
            }
        }
        assert!(figures["ratios"]["rate"]["median"].as_f64() > Some(0.0));
    }
}

#[test]
fn messages_in_turns_and_at_a_rate_pass_tls_too() {
    let job = ["--tls", "--messages", "300", "--pairs", "1", "--json"];
    for more in [
        &["--mode", "queue", "--consumers", "3"][..],
        &["--rate", "10000"],
    ] {
        let figures = figures(&[&job[..], more].concat());
        for side in ["broker", "relay"] {
            assert_eq!(figures["pairs"][0][side]["delivered"], 300, "{figures}");
        }
    }
}

#[test]
fn the_table_has_a_row_for_each_write() {
    let table = succeeds(&["--tls", "--matrix", "--pairs", "1", "--seconds", "0.02"]);
    for consumers in [1, 4] {
        for write in ["64 KiB", "1024 KiB"] {
            let row = format!("| broadcast to {consumers}, 128 B, writes of {write} |");
            assert!(table.contains(&row), "{table}");
        }
    }
}

#[test]
fn a_flood_is_measured_alone_and_beside_handshakes() {
    let job = ["--handshakes", "100", "--pairs", "2", "--seconds", "0.3"];
    let figures = figures(&[&job[..], &["--json"]].concat());
    for round in figures["rounds"].as_array().expect("rounds") {
        assert!(round["alone"]["delivered"].as_u64() > Some(0), "{round}");
        for place in ["acceptor", "broker"] {
            let beside = &round[place];
            assert!(beside["handshakes_per_second"].as_f64() > Some(0.0));
            assert!(beside["flood"]["delivered"].as_u64() > Some(0), "{round}");
            assert_eq!(beside["flood"]["lost"], 0);
        }
    }
    let text = succeeds(&job);
    assert!(
        text.contains("broker / acceptor, rate of the flood: median"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_is_named_with_its_flag() {
    is_refused(
        &["--handshakes", "0"],
        "--handshakes: 0 is not allowed: use a number above 0, up to 100000",
    );
    is_refused(&["--write", "0"], "use 1B to 16MiB");
    is_refused(&["--tls", "--ack"], "--ack");
}
