//! Consumers that verify, with a proxy before the broker that changes a byte.

use message_queue_tests::process::{Broker, command};
use message_queue_tokio::client::acked::{Change, Consumer};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

/// What the proxy changes once: more than a time or a sum can hold by chance.
const CHANGED: &[u8] = b"# second";

/// Leads connections on to the broker. The first [`CHANGED`] that comes from there arrives as something else.
fn proxy(broker: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let is_done = Arc::new(AtomicBool::new(false));
    thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { return };
            let Ok(broker) = TcpStream::connect(broker) else {
                return;
            };
            let (reading, writing) = (
                client.try_clone().expect("a socket"),
                broker.try_clone().expect("a socket"),
            );
            thread::spawn(move || forward(reading, writing, |_| {}));
            let is_done = Arc::clone(&is_done);
            thread::spawn(move || {
                forward(broker, client, |bytes| {
                    let found = bytes.windows(CHANGED.len()).position(|it| it == CHANGED);
                    if let Some(place) = found
                        && !is_done.swap(true, Ordering::Relaxed)
                    {
                        bytes[place] ^= 1;
                    }
                });
            });
        }
    });
    address
}

fn forward(mut from: TcpStream, mut to: TcpStream, mut change: impl FnMut(&mut [u8])) {
    let mut buffer = [0; 65_536];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        change(&mut buffer[..bytes]);
        if to.write_all(&buffer[..bytes]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn consume(address: SocketAddr, flags: &[&str]) -> Output {
    let mut client = command(["consume", "--topic", "jobs", "--group", "g"]);
    client.args(["--addr", &address.to_string()]).args(flags);
    client.output().expect("it ends")
}

/// Publishes these messages, each confirmed before the next is sent.
fn publish(broker: &Broker, messages: &[&str]) -> io::Result<()> {
    for message in messages {
        let mut client = command(["produce", "--topic", "jobs", "--confirm"]);
        client.args(["--addr", &broker.tcp().to_string()]);
        let mut child = client.stdin(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        child
            .stdin
            .take()
            .expect("it is piped")
            .write_all(message.as_bytes())?;
        assert!(child.wait()?.success());
    }
    Ok(())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn consume_ends_at_what_was_damaged_writes_none_of_it_and_gives_it_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Broker::start(&[
        ("STORAGE", "disk"),
        ("DATA_DIR", folder.path().to_str().expect("UTF-8")),
        ("DELIVERY_MODE", "queue"),
    ]);
    publish(&broker, &["first", "# second", "third"]).expect("they are safe");
    let proxied = proxy(broker.tcp());
    let output = consume(proxied, &["--from", "first", "--verify", "--prefetch", "1"]);
    let says = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{says}");
    assert!(
        says.contains("topic jobs: message 2 was damaged on its way; 1 message had been written"),
        "{says}"
    );
    assert_eq!(text(&output.stdout), "first\n");
    // It did not fail, and comes again; the proxy changes nothing any more.
    let meta = ["--verify", "--format", "json", "--meta", "--count", "2"];
    let output = consume(proxied, &meta);
    let says = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{says}");
    let lines: Vec<serde_json::Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines[0]["message"], "# second");
    assert_eq!(lines[0]["attempt"], 2);
    assert_eq!(lines[1]["message"], "third");
}

#[test]
fn without_verify_nobody_notices() {
    let broker = Broker::start(&[("DELIVERY_MODE", "queue")]);
    publish(&broker, &["# second"]).expect("it is safe");
    let mut client = command(["consume", "--topic", "jobs", "--count", "1"]);
    client.args(["--addr", &proxy(broker.tcp()).to_string()]);
    let output = client.output().expect("it ends");
    assert_eq!(
        text(&output.stdout),
        "\" second\n",
        "{}",
        text(&output.stderr)
    );
}

#[tokio::test]
async fn a_consumer_that_verifies_goes_on_with_what_was_sent() {
    let broker = Broker::start(&[("DELIVERY_MODE", "queue")]);
    publish(&broker, &["first", "# second", "third"]).expect("they are safe");
    let (tell, told) = mpsc::channel();
    let mut consumer = Consumer::builder()
        .topic("jobs")
        .verify(true)
        .on_change(move |change| {
            if let Change::Disconnected { gone, .. } = change {
                // Whoever listens may have heard enough.
                let _ = tell.send(gone.clone());
            }
        })
        .connect(&proxy(broker.tcp()).to_string())
        .await
        .expect("the broker is there");
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let message = consumer.next().await.expect("it connects again");
        bodies.push(text(&message.body).to_owned());
        message.ack();
    }
    assert_eq!(bodies, ["first", "# second", "third"]);
    let gone = told.try_recv().expect("it has noticed");
    assert!(gone.may_try_again());
    let damage = gone.damage().expect("that is why");
    assert_eq!(damage.topic.as_deref(), Some("jobs"));
    let sequences = damage.sequences.expect("it can be told");
    assert!((sequences.from..=sequences.to).contains(&2), "{damage}");
    consumer.close().await;
    assert!(told.try_recv().is_err(), "it was once");
}
