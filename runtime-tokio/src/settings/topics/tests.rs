//! What the file may say, and what users are told of it.

use super::*;
use message_queue_core::log::Fsync;
use message_queue_core::names::Name;
use message_queue_core::{Config, DeliveryMode, Overflow, Storage, TopicsConfig};
use std::time::Duration;

/// Line and column of each problem, and what is said.
fn problems(text: &str) -> Vec<(usize, usize, String)> {
    let problems = parse(text).unwrap_err();
    let told = |it: Problem| (it.line, it.column, it.what);
    problems.into_iter().map(told).collect()
}

fn problem(text: &str) -> (usize, usize, String) {
    let mut problems = problems(text);
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

#[test]
fn a_rule_may_say_all_that_the_core_knows() {
    let text = r#"
        # Money first.
        [[rule]]
        topics = "jobs.>"
        mode = "queue"
        capacity = 5
        bytes = "2MiB"
        overflow = "drop_oldest"
        groups = ["billing", "audit"]
        ack_timeout_ms = "1m30s"
        max_failures = 3
        backoff_max_ms = 500
        dead_letter = false
        max_age_ms = "1day"
        storage = "disk"
        fsync = 5
        segment_bytes = "1MiB"
        retention_ms = "10years"
        retention_bytes = "1GiB"
        retention_settled = true

        [[rule]]
        topics = "plain"
    "#;
    let name = |name| Name::new(name).unwrap();
    let full = TopicRule {
        topics: Pattern::new("jobs.>").unwrap(),
        mode: Some(DeliveryMode::Queue),
        capacity: Some(5),
        bytes: Some(2 << 20),
        overflow: Some(Overflow::DropOldest),
        groups: Some(vec![name("billing"), name("audit")]),
        ack_timeout: Some(Duration::from_secs(90)),
        max_failures: Some(3),
        backoff_max: Some(Duration::from_millis(500)),
        dead_letter: Some(false),
        max_age: Some(Duration::from_secs(86_400)),
        storage: Some(Storage::Disk),
        fsync: Some(Fsync::Every(Duration::from_millis(5))),
        segment_bytes: Some(1 << 20),
        retention: Some(Duration::from_secs(315_576_000)),
        retention_bytes: Some(1 << 30),
        retention_settled: Some(true),
    };
    let rules = parse(text).unwrap();
    let plain = TopicRule::new(Pattern::new("plain").unwrap());
    assert_eq!(rules.rules, [full, plain]);
    assert_eq!(rules.lines, [3, 22]);
    assert_eq!(parse("").unwrap(), Rules::default());
    assert_eq!(parse("# nothing\n").unwrap(), Rules::default());
}

/// Whatever a key's form allows reaches the rule, and is shown as what the file would say.
#[test]
fn every_key_is_set_found_and_shown() {
    for (name, value, shown) in [
        ("mode", "\"broadcast\"", "\"broadcast\""),
        ("mode", "\"Queue\"", "\"queue\""),
        ("capacity", "7", "7"),
        ("bytes", "1048580", "\"1048580B\""),
        ("bytes", "\"2MiB\"", "\"2MiB\""),
        ("overflow", "\"drop\"", "\"drop\""),
        ("overflow", "\"block\"", "\"block\""),
        ("overflow", "\"reject\"", "\"reject\""),
        ("overflow", "\"drop_oldest\"", "\"drop_oldest\""),
        ("groups", "[\"a\"]", "[\"a\"]"),
        ("groups", "[]", "[]"),
        ("ack_timeout_ms", "0", "0"),
        ("ack_timeout_ms", "1", "\"1ms\""),
        ("max_failures", "0", "0"),
        ("backoff_max_ms", "\"1day\"", "\"1day\""),
        ("dead_letter", "false", "false"),
        ("dead_letter", "true", "true"),
        ("max_age_ms", "0", "0"),
        ("max_age_ms", "\"2h\"", "\"2h\""),
        ("storage", "\"memory\"", "\"memory\""),
        ("storage", "\"Disk\"", "\"disk\""),
        ("fsync", "\"Always\"", "\"always\""),
        ("fsync", "\"never\"", "\"never\""),
        ("fsync", "1", "\"1ms\""),
        ("fsync", "\"1m\"", "\"1m\""),
        ("segment_bytes", "1048576", "\"1MiB\""),
        ("segment_bytes", "\"1GiB\"", "\"1GiB\""),
        ("retention_ms", "0", "0"),
        ("retention_ms", "\"10years\"", "\"10years\""),
        ("retention_bytes", "0", "0"),
        ("retention_bytes", "\"1MiB\"", "\"1MiB\""),
        ("retention_settled", "true", "true"),
        ("retention_settled", "false", "false"),
    ] {
        let key = KEYS.iter().find(|key| key.name == name).unwrap();
        let empty = TopicRule::new(Pattern::new("t").unwrap());
        assert!(!(key.is_in)(&empty), "{name}");
        let rules = parse(&format!("[[rule]]\ntopics = \"t\"\n{name} = {value}\n")).unwrap();
        assert!((key.is_in)(&rules.rules[0]), "{name} = {value}");
        let config = Config {
            topics: TopicsConfig {
                rules: rules.rules,
                ..TopicsConfig::default()
            },
            ..Config::default()
        };
        assert_eq!(config.check(), Ok(()));
        let topic = config.topic(&TopicName::new("t").unwrap());
        assert_eq!((key.shown)(&topic), shown, "{name} = {value}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let rule = "[[rule]]\ntopics = \"a\"\n";
    for (text, line, column, what) in [
        ("[[rule]]\ntopics = \"a\n", 2, 12, "invalid basic string"),
        (
            "[[rules]]\n",
            1,
            3,
            "unknown field `rules`, expected `rule`",
        ),
        (
            "[[rule]]\nmode = \"queue\"\n",
            1,
            1,
            "a rule needs topics, such as topics = \"jobs.>\"",
        ),
        (
            "[[rule]]\ntopics = 5\n",
            2,
            10,
            "topics: use a topic or a pattern such as \"jobs.eu\"",
        ),
        (
            "[[rule]]\ntopics = \"a..b\"\n",
            2,
            10,
            "topics: \"a..b\": an empty token",
        ),
        (
            "[[rule]]\ntopics = \"a*\"\n",
            2,
            10,
            "topics: \"a*\": a wildcard in the wrong place",
        ),
        (
            "[[rule]]\ntopics = \"*.dead\"\n",
            2,
            10,
            "topics: \"*.dead\" matches nothing",
        ),
        (
            &format!("{rule}capacity = 0\n"),
            3,
            12,
            "capacity: 0 is not allowed: use a whole number of messages from 1",
        ),
        (
            &format!("{rule}capacity = -1\n"),
            3,
            12,
            "capacity: -1 is not allowed",
        ),
        (
            &format!("{rule}capacity = 1.5\n"),
            3,
            12,
            "capacity: 1.5 is not allowed",
        ),
        (
            &format!("{rule}capacity = [1]\n"),
            3,
            12,
            "capacity: an array is not allowed",
        ),
        (
            &format!("{rule}bytes = \"1KiB\"\n"),
            3,
            9,
            "bytes: \"1KiB\" is not allowed: use a size from 1048580B",
        ),
        (
            &format!("{rule}mode = \"fanout\"\n"),
            3,
            8,
            "mode: \"fanout\" is not allowed: use one of broadcast, queue",
        ),
        (
            &format!("{rule}dead_letter = \"no\"\n"),
            3,
            15,
            "dead_letter: \"no\" is not allowed: use true or false",
        ),
        (
            &format!("{rule}groups = \"a\"\n"),
            3,
            10,
            "groups: \"a\" is not allowed: use an array of names",
        ),
        (
            &format!("{rule}groups = [\"a b\"]\n"),
            3,
            10,
            "groups: \"a b\" is no name of a group: the byte ' '",
        ),
        (
            &format!("{rule}groups = [1]\n"),
            3,
            10,
            "groups: an array is not allowed: use an array of names",
        ),
        (
            &format!("{rule}ack_timeout = 1\n"),
            3,
            1,
            "\"ack_timeout\" is no key of a rule: did you mean ack_timeout_ms?",
        ),
        (
            &format!("{rule}\"ü\" = 1\n"),
            3,
            1,
            "\"ü\" is no key of a rule: use topics, mode, capacity",
        ),
        (
            &format!("{rule}capacity = 1\ncapacity = 2\n"),
            4,
            1,
            "duplicate key",
        ),
        (
            &format!("{rule}storage = \"tape\"\n"),
            3,
            11,
            "storage: \"tape\" is not allowed: use one of memory, disk",
        ),
        (
            &format!("{rule}fsync = 0\n"),
            3,
            9,
            "fsync: 0 is not allowed: use always, never, or a time from 1ms to 1m",
        ),
        (
            &format!("{rule}fsync = true\n"),
            3,
            9,
            "fsync: true is not allowed: use always, never, or a time from 1ms to 1m",
        ),
        (
            &format!("{rule}segment_bytes = \"2GiB\"\n"),
            3,
            17,
            "segment_bytes: \"2GiB\" is not allowed: use a size from 1MiB to 1GiB",
        ),
        (
            &format!("{rule}retention_ms = \"11years\"\n"),
            3,
            16,
            "retention_ms: \"11years\" is not allowed: use 0, or a time from 1ms to 10years",
        ),
        (
            &format!("{rule}retention_bytes = 1\n"),
            3,
            19,
            "retention_bytes: 1 is not allowed: use 0, or a size from 1MiB to 1024TiB",
        ),
        (
            &format!("{rule}retention_settled = \"on\"\n"),
            3,
            21,
            "retention_settled: \"on\" is not allowed: use true or false",
        ),
        (
            &format!("{rule}retention = 1\n"),
            3,
            1,
            "\"retention\" is no key of a rule: did you mean ",
        ),
        (
            "[[rule]]\ntopics = \"a.dead\"\nmode = \"broadcast\"\n",
            3,
            1,
            "mode: it has no effect on a dead-letter topic",
        ),
    ] {
        let told = problem(text);
        assert_eq!((told.0, told.1), (line, column), "{text}: {told:?}");
        assert!(told.2.starts_with(what), "{text}: {told:?}");
        assert!(!told.2.contains('\n'), "{told:?}");
    }
}

#[test]
fn all_problems_are_told_in_the_order_of_the_file() {
    let text = "[[rule]]\ntopics = \"a\"\nmod = 1\ncapacity = 0\n[[rule]]\ntopics = 7\n";
    let places: Vec<_> = problems(text).iter().map(|it| (it.0, it.1)).collect();
    assert_eq!(places, [(3, 1), (4, 12), (6, 10)]);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("topics.toml");
    let told = || read(&path).unwrap_err().to_string();
    assert!(
        told().contains("topics.toml: cannot be read: No such file"),
        "{}",
        told()
    );
    std::fs::write(&path, b"# \xff\n").unwrap();
    assert!(told().ends_with("line 1 is not valid UTF-8"), "{}", told());
    std::fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(told().ends_with("it is longer than 1MiB"), "{}", told());
    let told = read(directory.path()).unwrap_err().to_string();
    assert!(told.ends_with("it is not a file"), "{told}");
}

#[test]
fn what_is_in_force_is_explained() {
    let text = "[[rule]]\ntopics = \"jobs.*\"\ncapacity = 5\nstorage = \"disk\"\nfsync = \"never\"\n\
                [[rule]]\ntopics = \"jobs.>\"\ncapacity = 6\noverflow = \"block\"\n";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, text).unwrap();
    let path = file.path().to_str().unwrap();
    let settings = [
        ("TOPICS_FILE", path),
        ("DELIVERY_MODE", "queue"),
        ("RETENTION_MS", "0"),
        ("DATA_DIR", "/data"),
    ];
    let settings = crate::settings::Settings::from_variables(settings).unwrap();
    let told = |topic| settings.print_topic(&TopicName::new(topic).unwrap());
    let rule = "# In force for this topic.\n[[rule]]\ntopics = \"jobs.eu\"\n";
    assert_eq!(
        told("jobs.eu"),
        format!(
            "{rule}# DELIVERY_MODE (environment)\nmode = \"queue\"\n\
             # the rule for \"jobs.*\" in line 1\ncapacity = 5\n\
             # BACKLOG_BYTES (default)\nbytes = \"32MiB\"\n\
             # the rule for \"jobs.>\" in line 6\noverflow = \"block\"\n\
             # default\ngroups = []\n\
             # default\nack_timeout_ms = 0\n\
             # default\nmax_failures = 20\n\
             # default\nbackoff_max_ms = \"1s\"\n\
             # default\ndead_letter = true\n\
             # default\nmax_age_ms = 0\n\
             # the rule for \"jobs.*\" in line 1\nstorage = \"disk\"\n\
             # the rule for \"jobs.*\" in line 1\nfsync = \"never\"\n\
             # SEGMENT_BYTES (default)\nsegment_bytes = \"64MiB\"\n\
             # RETENTION_MS (environment)\nretention_ms = 0\n\
             # RETENTION_BYTES (default)\nretention_bytes = 0\n\
             # RETENTION_SETTLED (default)\nretention_settled = false\n"
        )
    );
    assert!(told("other").contains(
        "# QUEUE_CAPACITY (default); for a consumer that is a group of its own 10000, \
         CONSUMER_CHANNEL_BUFFER_SIZE (default)\n# capacity = 10000\n"
    ));
    // A dead-letter topic is kept where its source is, and has nothing else from there.
    let dead = told("jobs.eu.dead");
    for part in [
        "# the rule for \"jobs.*\" in line 1\nstorage = \"disk\"\n",
        "# FSYNC (default)\nfsync = \"always\"\n",
        "# always so for a dead-letter topic\n# mode = \"queue\"\n",
    ] {
        assert!(dead.contains(part), "{dead}");
    }
    // What is told can be used as a file.
    for topic in ["jobs.eu", "other", "jobs.dead"] {
        parse(&told(topic)).unwrap();
    }
}
