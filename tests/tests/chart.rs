//! What the chart renders, taken at its word: its snapshots against the real binary. `.ci/chart` holds
//! the snapshots to the chart.

use message_queue_tests::process::{Broker, command, run};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use tempfile::tempdir;

const SNAPSHOTS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../charts/message-streaming-app/ci/snapshots"
);

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

/// The object of this kind and name, as the chart rendered it.
fn object(snapshot: &str, kind: &str, name: &str) -> String {
    let (kind, name) = (format!("\nkind: {kind}\n"), format!("\n  name: {name}\n"));
    let mut objects = snapshot.split("\n---\n");
    let object = objects.find(|object| object.contains(&kind) && object.contains(&name));
    object.expect("it is rendered").to_owned()
}

/// The broker's ConfigMap, whatever the release is called.
fn settings(snapshot: &str) -> &str {
    let mut objects = snapshot.split("\n---\n");
    let object = objects.find(|object| object.contains("\n  TCP_PORT: "));
    object.expect("the settings are rendered")
}

/// The variables of a rendered ConfigMap.
fn variables(config_map: &str) -> Vec<(String, String)> {
    let data = config_map.split("\ndata:\n").nth(1).expect("data");
    data.lines()
        .filter_map(|line| line.trim().split_once(": "))
        .map(|(name, value)| {
            // What a Secret would hold.
            let value = value
                .trim_matches('"')
                .replace("/etc/message-queue/auth", EXAMPLES);
            (name.to_owned(), value)
        })
        .collect()
}

#[test]
fn the_broker_accepts_every_configuration_that_the_chart_renders() {
    let mut checked = 0;
    for entry in fs::read_dir(SNAPSHOTS).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.extension() != Some("yaml".as_ref()) {
            continue;
        }
        let snapshot = fs::read_to_string(&path).expect("text");
        let variables = variables(settings(&snapshot));
        assert!(variables.len() > 20, "{variables:?}");
        let storage = variables.iter().find(|(name, _)| name == "STORAGE");
        let storage = storage.map_or("memory", |(_, value)| value.as_str());
        let mut check = command(["serve", "--check-config"]);
        if storage == "rabbitmq" {
            // From a Secret.
            check.env("RABBITMQ_URL", "amqps://rabbitmq");
        }
        let output = check.envs(variables.iter().cloned()).output();
        let output = output.expect("the binary starts");
        let told = String::from_utf8_lossy(&output.stderr);
        // An engine that is not in this build is all that it may miss. Stage `engines` of CI has a binary with all.
        let is_missing = ["rabbitmq", "kafka"].contains(&storage)
            && told.contains("is not in this build")
            && told.lines().count() == 1;
        assert_eq!(
            output.status.code(),
            Some(if is_missing { 2 } else { 0 }),
            "{}: {told}",
            path.display()
        );
        checked += 1;
    }
    assert!(checked >= 8, "{checked} snapshots");
}

/// The arguments of a rendered container, in the one-line form that the test pod has.
fn arguments(pod: &str, container: &str) -> Vec<String> {
    let start = format!("- name: {container}\n");
    let container = pod.split(&start).nth(1).expect("the container is there");
    let line = container
        .lines()
        .find_map(|line| line.trim().strip_prefix("args: "))
        .expect("arguments");
    serde_json::from_str(line).expect("a list of texts")
}

#[test]
fn what_helm_test_runs_sends_a_message_and_reads_it_back() {
    let snapshot = fs::read_to_string(Path::new(SNAPSHOTS).join("default.yaml")).expect("text");
    let pod = object(&snapshot, "Pod", "release-message-streaming-app-test");
    let broker = Broker::start(&[]);
    let directory = tempdir().expect("a directory");
    let file = directory.path().join("message.txt");
    fs::write(&file, "helm test of release\n").expect("a file");
    let arguments = |container| -> Vec<String> {
        let here = |argument: String| {
            argument
                .replace(
                    "release-message-streaming-app-http:8080",
                    &broker.http().to_string(),
                )
                .replace(
                    "release-message-streaming-app:9080",
                    &broker.tcp().to_string(),
                )
                .replace("/data/message.txt", file.to_str().expect("UTF-8"))
        };
        arguments(&pod, container).into_iter().map(here).collect()
    };

    let ready = run(arguments("ready"), &[]);
    assert_eq!(ready.status.code(), Some(0), "{ready:?}");
    let mut consumer = command(arguments("consume"));
    let consumer = consumer
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut producer = command(arguments("produce")).spawn().expect("it runs");
    let consumed = consumer.wait_with_output().expect("it ends");
    producer.kill().expect("it can be ended");
    producer.wait().expect("it ends");
    assert_eq!(consumed.status.code(), Some(0), "{consumed:?}");
    assert_eq!(
        String::from_utf8_lossy(&consumed.stdout),
        "helm test of release\n"
    );
}
