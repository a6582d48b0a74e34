//! Settings and exit codes of the real binary.

use message_queue_tests::process::{Broker, command, run};
use std::io::{BufRead, BufReader, Write};
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
        ("STORAGE", "tape", "memory, disk"),
        ("FSYNC", "61s", "always, never, or a time from 1ms to 1m"),
    ] {
        for args in [&["serve"][..], &[], &["serve", "--check-config"]] {
            assert_one_line_naming(&run(args, &[(name, value)]), 2, &[name, value, allowed]);
        }
    }
}

#[test]
fn a_slip_in_the_file_of_topics_is_named_with_its_place_and_ends_with_2() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("topics.toml");
    let path = file.to_str().expect("UTF-8");
    for (text, words) in [
        (
            "[[rule]]\ntopics = \"a\"\ncapacty = 5\n",
            ["line 3, column 1", "capacity?"],
        ),
        (
            "[[rule]]\ntopics = \"a\"\nbytes = 5\n",
            ["line 3, column 9", "1048580"],
        ),
        ("[[rule]\n", ["line 1, column 8", "TOPICS_FILE"]),
    ] {
        std::fs::write(&file, text).expect("a file");
        let output = run(["serve"], &[("TOPICS_FILE", path)]);
        assert_one_line_naming(&output, 2, &[path, words[0], words[1]]);
    }
    let output = run(["serve"], &[("TOPICS_FILE", "/none")]);
    assert_one_line_naming(&output, 2, &["TOPICS_FILE", "/none", "No such file"]);
    std::fs::write(&file, "[[rule]]\ntopics = \"a\"\nbytes = \"1GiB\"\n").expect("a file");
    let output = run(["serve"], &[("TOPICS_FILE", path)]);
    assert_one_line_naming(
        &output,
        2,
        &["BROKER_BYTES", "512MiB", "TOPICS_FILE", "1GiB"],
    );
}

#[test]
fn what_stores_without_a_folder_is_named_and_ends_with_2() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("UTF-8");
    std::fs::write(path, "[[rule]]\ntopics = \"jobs.>\"\nstorage = \"disk\"\n").expect("written");
    for (variable, words) in [
        (("STORAGE", "disk"), ["STORAGE=disk", "STORAGE=memory"]),
        (
            ("TOPICS_FILE", path),
            ["\"jobs.>\" in TOPICS_FILE", "storage"],
        ),
    ] {
        let output = run(["serve"], &[variable]);
        assert_one_line_naming(&output, 2, &["DATA_DIR", words[0], words[1]]);
    }
}

#[test]
fn print_config_tells_which_rule_is_in_force_for_a_topic() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/topics.toml");
    let output = run(["--print-config", "jobs.eu"], &[("TOPICS_FILE", example)]);
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0));
    for lines in [
        "# the rule for \"jobs.>\" in line 12\ncapacity = 50000\n",
        "# OVERFLOW (default)\noverflow = \"drop\"\n",
    ] {
        assert!(printed.contains(lines), "{lines} is not in:\n{printed}");
    }
}

/// The first line that the broker says to a client of version 2.
fn answer(broker: &Broker, line: &str) -> String {
    let mut stream = broker.connect();
    stream.write_all(line.as_bytes()).expect("it listens");
    let mut answer = String::new();
    let mut reader = BufReader::new(stream);
    reader.read_line(&mut answer).expect("an answer");
    answer.trim_end().to_owned()
}

#[test]
fn topics_work_as_the_settings_and_the_file_say() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/topics.toml");
    let settings = [
        ("TOPICS_FILE", example),
        ("TOPIC_CREATION", "off"),
        ("DEFAULT_TOPIC", "news"),
        ("MAX_GROUPS", "3"),
    ];
    let broker = Broker::start(&settings);
    let told = answer(&broker, "PRODUCER v=2\n");
    let server = concat!(" server=message-queue/", env!("CARGO_PKG_VERSION"), " ");
    assert!(
        told.starts_with("OK v=2 ") && told.contains(server),
        "{told}"
    );
    assert!(told.contains(" topic=news "), "{told}");
    let told = answer(&broker, "PRODUCER topic=other\n");
    assert!(told.starts_with("ERROR unknown_topic "), "{told}");
    let told = answer(&broker, "CONSUMER topic=orders group=billing\n");
    assert!(told.contains(" group=billing created=0"), "{told}");
    // Two are declared.
    let told = answer(&broker, "CONSUMER topic=jobs.a group=mine\n");
    assert!(told.contains(" group=mine created=1"), "{told}");
    let told = answer(&broker, "CONSUMER topic=jobs.a group=more\n");
    assert!(told.starts_with("ERROR too_many_groups "), "{told}");

    // The sequences of the next broker are of another life.
    let epoch = |broker: &Broker| {
        let told = answer(broker, "PRODUCER topic=orders\n");
        let keys = told.split(' ');
        let epoch = keys.filter_map(|key| key.strip_prefix("epoch=")).next();
        epoch.expect("an epoch").to_owned()
    };
    assert_eq!(epoch(&broker), epoch(&broker));
    assert_ne!(epoch(&broker), epoch(&Broker::start(&settings)));
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

#[test]
fn a_misspelt_setting_is_told_with_the_nearest_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let dotenv = directory.path().join(".env");
    std::fs::write(
        &dotenv,
        "QUEUE_CAPACTY=5\nDB_PASSWORD=hunter2\nnot a setting\n",
    )
    .expect("a file");
    let output = command(["serve", "--check-config"])
        .current_dir(&directory)
        .output()
        .expect("it runs");
    let told = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("QUEUE_CAPACITY"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");

    let broker = Broker::start_in(directory.path(), &[("MAX_CONSUMER", "5")]);
    for part in [
        "did you mean QUEUE_CAPACITY?",
        "did you mean MAX_CONSUMERS?",
        ".env: not settings of message-queue: DB_PASSWORD",
        "line 3",
    ] {
        let line = broker.wait_for_log(|line| {
            line["message"]
                .as_str()
                .is_some_and(|message| message.contains(part))
        });
        assert_eq!(line["level"], "WARN");
    }
    // The clients read the same file, for what concerns them.
    std::fs::write(
        &dotenv,
        format!("not a setting\nBROKER_ADDR={}\n", broker.tcp()),
    )
    .expect("a file");
    let output = command(["produce"])
        .current_dir(&directory)
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = command(["produce"])
        .current_dir(&directory)
        .env("BROKER_ADDR", "nowhere")
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn a_hangup_applies_what_can_be_applied_and_names_what_needs_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let dotenv = directory.path().join(".env");
    std::fs::write(&dotenv, "LOG_LEVEL=info\n").expect("a file");
    let broker = Broker::start_in(directory.path(), &[]);
    let knocks = || {
        broker
            .log()
            .iter()
            .filter(|it| it["level"] == "DEBUG")
            .count()
    };
    assert_eq!(knocks(), 0);

    std::fs::write(
        &dotenv,
        "LOG_LEVEL=debug\nDRAIN_TIMEOUT_MS=7s\nMAX_CONSUMERS=99\n",
    )
    .expect("a file");
    broker.signal("HUP");
    let line = broker.wait_for_log(|line| line["message"] == "settings reloaded");
    assert_eq!(line["applied"], "DRAIN_TIMEOUT_MS=7s LOG_LEVEL=debug");
    assert_eq!(line["needs_restart"], "MAX_CONSUMERS=99");
    // A connection that comes and goes without a word is a line at this level only.
    drop(broker.connect());
    broker.wait_for_log(|line| line["level"] == "DEBUG" && line["message"] == "closed");

    std::fs::write(&dotenv, "LOG_LEVEL=loud\nDRAIN_TIMEOUT_MS=8s\n").expect("a file");
    broker.signal("HUP");
    let line = broker.wait_for_log(|line| line["level"] == "ERROR");
    let detail = line["detail"].as_str().expect("text");
    assert!(detail.starts_with("LOG_LEVEL: \"loud\""), "{detail}");

    broker.signal("TERM");
    let line = broker.wait_for_log(|line| line["message"] == "draining");
    assert_eq!(line["timeout_seconds"], 7.0);
    assert_eq!(broker.wait().0.code(), Some(0));
}

#[test]
fn the_first_line_tells_what_differs_from_the_defaults() {
    let broker = Broker::start(&[("MAX_CONSUMERS", "7"), ("WRITE_TIMEOUT_MS", "10000")]);
    let line = broker.wait_for_log(|line| line["message"] == "listening");
    let settings = line["settings"].as_str().expect("text");
    assert!(
        settings.contains(" MAX_CONSUMERS=7 WRITE_TIMEOUT_MS=10s "),
        "{settings}"
    );
    assert!(!settings.contains("QUEUE_CAPACITY"), "{settings}");
}

/// The kernel asks idle peers whether they are still there, unless it is told not to.
#[cfg(target_os = "linux")]
#[test]
fn an_idle_connection_is_kept_alive_unless_that_is_turned_off() {
    for (keepalive, timer) in [("", "02"), ("0", "00")] {
        let broker = Broker::start(&[("KEEPALIVE_MS", keepalive)]);
        let consumer = broker.consumer();
        // 02 is the keepalive timer: proc(5). Addresses there are hexadecimal.
        let port = |port: u16| format!(":{port:04X}");
        let local = port(broker.tcp().port());
        let remote = port(consumer.local_addr().expect("an address").port());
        let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux has it");
        let mut rows = table
            .lines()
            .map(|row| row.split_whitespace().collect::<Vec<_>>());
        let row = rows
            .find(|row| row[1].ends_with(&local) && row[2].ends_with(&remote))
            .expect("the connection");
        let running = row[5].split(':').next();
        assert_eq!(running, Some(timer), "{row:?}");
    }
}
