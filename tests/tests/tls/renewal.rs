//! Clients whose files change while they live: what they connect with next is what stands there then.

use crate::authority::{self, Authority, text};
use crate::process::{prepared, settings, tls_address};
use message_queue_tests::process::{self, Broker};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

const CLIENT: &str = "spiffe://example.org/client";

/// A broker that lets in who has a certificate of the authority in `ca.pem`.
fn broker(authority: &Authority) -> Broker {
    let mut wanted = settings(authority).to_vec();
    let ca = text(&authority.path("ca.pem")).to_owned();
    wanted.push(("TLS_CLIENT_CA_FILE", ca));
    wanted.push(("TLS_CLIENT_AUTH", "required".to_owned()));
    wanted.push(("DELIVERY_MODE", "queue".to_owned()));
    let wanted: Vec<_> = wanted
        .iter()
        .map(|(name, it)| (*name, it.as_str()))
        .collect();
    Broker::start(&wanted)
}

/// Starts a client that connects again and again, by the files of an authority.
fn client(broker: &Broker, authority: &Authority, args: &[&str]) -> Child {
    let file = |name: &str| authority.path(name);
    let mut command = process::command(args);
    command.args(["--retry", "--tls", "--addr", &tls_address(broker)]);
    command.arg("--ca").arg(file("ca.pem"));
    command.arg("--cert").arg(file("client.pem"));
    command.arg("--key").arg(file("client.key"));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts")
}

/// Ends the only consumer.
fn end_consumer(broker: &Broker) {
    broker.wait_for_metric("message_queue_consumers", 1.0);
    let (_, page) = broker.get("/consumers");
    let page: Value = serde_json::from_str(&page).expect("JSON");
    let id = page[0]["id"].as_u64().expect("a number");
    let (status, told) = broker.request("DELETE", &format!("/connections/{id}"));
    assert_eq!(status, 200, "{told}");
}

/// Replaces all that either side has by what another authority has issued, and has the broker read it.
fn replace_all(broker: &Broker, authority: &Authority) {
    let other = Authority::new();
    authority.keep("server", &other.issue(&authority::server()));
    authority.keep("client", &other.issue(&authority::client("client", CLIENT)));
    fs::copy(other.path("ca.pem"), authority.path("ca.pem")).expect("a file");
    broker.signal("HUP");
    broker.wait_for_log(|line| line["message"] == "TLS certificate renewed");
}

#[test]
fn a_client_takes_its_files_anew_at_each_connection() {
    // Version 1 of the wire, and version 2.
    for flags in [&["consume"][..], &["consume", "--ack"]] {
        let authority = prepared();
        authority.keep(
            "client",
            &authority.issue(&authority::client("client", CLIENT)),
        );
        let broker = broker(&authority);
        let mut consumer = client(&broker, &authority, flags);
        broker.wait_for_metric("message_queue_consumers", 1.0);
        replace_all(&broker, &authority);
        // What stands, stands. A new connection has all three files to be taken anew.
        end_consumer(&broker);
        broker.wait_for_metric("message_queue_consumers_registered_total", 2.0);

        // A file that is no good is named, and read again.
        let good = fs::read(authority.path("client.key")).expect("a file");
        fs::write(authority.path("client.key"), "nothing of use").expect("a file");
        end_consumer(&broker);
        let mut said = BufReader::new(consumer.stderr.take().expect("a pipe"));
        let mut line = String::new();
        while !line.contains("--key: ") {
            line.clear();
            assert_ne!(said.read_line(&mut line).expect("text"), 0, "it has ended");
        }
        let expected = format!(
            "--key: {}: holds no private key",
            authority.path("client.key").display()
        );
        assert!(line.contains(&expected), "{line}");
        fs::write(authority.path("client.key"), good).expect("a file");
        broker.wait_for_metric("message_queue_consumers_registered_total", 3.0);

        let mut producer = client(&broker, &authority, &["produce"]);
        let mut input = producer.stdin.take().expect("a pipe");
        input.write_all(b"hello\n").expect("it reads");
        drop(input);
        assert!(producer.wait().expect("it ends").success());
        let mut received = String::new();
        let mut output = BufReader::new(consumer.stdout.take().expect("a pipe"));
        output.read_line(&mut received).expect("text");
        assert_eq!(received, "hello\n");
        consumer.kill().expect("it runs");
        consumer.wait().expect("it ends");
    }
}
