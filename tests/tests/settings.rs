//! Settings and exit codes of the real binary.

use message_queue_tests::process::{Broker, command, run};
use std::process::Output;

fn assert_one_line_naming(output: &Output, code: i32, words: &[&str]) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    for word in words {
        assert!(told.contains(word), "{word:?} is not in: {told}");
    }
}

#[test]
fn a_bad_value_is_named_with_its_variable_and_what_is_allowed_and_ends_with_2() {
    for (name, value, allowed) in [
        ("TCP_PORT", "abc", "0 to 65535"),
        ("TCP_PORT", "65536", "0 to 65535"),
        ("DELIVERY_MODE", "fanout", "broadcast"),
        ("MAX_CONSUMERS", "-1", "1 to"),
        ("CONSUMER_CHANNEL_BUFFER_SIZE", "0", "1 to"),
        ("OVERFLOW", "maybe", "block"),
        ("BACKLOG_BYTES", "1048579", "1048580"),
        ("BROKER_BYTES", "1048580", "BACKLOG_BYTES"),
        ("LOG_FORMAT", "xml", "json"),
        ("BIND_ADDRESS", "localhost", "IP address"),
    ] {
        for args in [&["serve"][..], &[], &["serve", "--check-config"]] {
            assert_one_line_naming(&run(args, &[(name, value)]), 2, &[name, value, allowed]);
        }
    }
}

#[test]
fn a_port_that_a_kubernetes_service_put_there_is_explained() {
    let output = run(["serve"], &[("TCP_PORT", "tcp://10.0.0.1:80")]);
    assert_one_line_naming(
        &output,
        2,
        &["TCP_PORT", "tcp://10.0.0.1:80", "enableServiceLinks"],
    );
}

#[test]
fn a_port_in_use_is_named_and_ends_with_1() {
    let broker = Broker::start(&[]);
    let (tcp, http) = (
        broker.tcp().port().to_string(),
        broker.http().port().to_string(),
    );
    for (name, port) in [("TCP_PORT", tcp), ("HTTP_PORT", http)] {
        let mut settings = [
            ("BIND_ADDRESS", "127.0.0.1"),
            ("TCP_PORT", "0"),
            ("HTTP_PORT", "0"),
            ("LOG_LEVEL", "error"),
        ];
        for setting in &mut settings {
            if setting.0 == name {
                setting.1 = &port;
            }
        }
        assert_one_line_naming(&run(["serve"], &settings), 1, &[name, &port]);
    }
}

#[test]
fn spaces_case_and_emptiness_do_not_matter() {
    let settings = [
        ("DELIVERY_MODE", " Queue "),
        ("MAX_CONSUMERS", ""),
        ("TCP_PORT", " 0 "),
    ];
    let output = run(["serve", "--print-config"], &settings);
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0));
    for line in ["DELIVERY_MODE=queue", "MAX_CONSUMERS=10", "TCP_PORT=0"] {
        assert!(
            printed.lines().any(|printed| printed == line),
            "{line} is not in:\n{printed}"
        );
    }
}

#[test]
fn a_dotenv_file_is_read_and_the_environment_wins() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(
        directory.path().join(".env"),
        "MAX_CONSUMERS=7\nQUEUE_CAPACITY=8\n",
    )
    .expect("a file");
    let mut command = command(["serve", "--print-config"]);
    let output = command
        .current_dir(&directory)
        .env("QUEUE_CAPACITY", "9")
        .output();
    let printed = String::from_utf8(output.expect("it runs").stdout).expect("UTF-8");
    for line in ["MAX_CONSUMERS=7", "QUEUE_CAPACITY=9"] {
        assert!(
            printed.lines().any(|printed| printed == line),
            "{line} is not in:\n{printed}"
        );
    }
}

#[test]
fn the_help_lists_every_setting_of_the_sample_file() {
    let help = String::from_utf8(run(["--help"], &[]).stdout).expect("UTF-8");
    let sample = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../.env.example"));
    let assignments = sample
        .lines()
        .filter_map(|line| line.trim_start_matches(['#', ' ']).split_once('='));
    let names: Vec<&str> = assignments
        .map(|(name, _)| name)
        .filter(|name| name.chars().all(|it| it.is_ascii_uppercase() || it == '_'))
        .collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(help.contains(name), "{name} is not in the help");
    }
}
