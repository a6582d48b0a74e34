//! From where too many handshakes have failed, nobody is let in for a while.

use crate::authority::text;
use crate::process::{prepared, settings, tls_address};
use message_queue_tests::process::{self, Broker};
use std::io::{Read, Write};
use std::net::TcpStream;

#[test]
fn from_where_too_many_handshakes_have_failed_nobody_is_let_in() {
    let authority = prepared();
    let mut wanted = settings(&authority).to_vec();
    wanted.push(("FAILED_HANDSHAKES_PER_ADDRESS", "1".to_owned()));
    wanted.push(("DELIVERY_MODE", "queue".to_owned()));
    let wanted: Vec<_> = wanted
        .iter()
        .map(|(name, it)| (*name, it.as_str()))
        .collect();
    let broker = Broker::start(&wanted);
    let address = tls_address(&broker);
    let ca = authority.path("ca.pem");
    let produce = || {
        let args = ["produce", "-m", "hello", "--tls", "--addr", &address];
        process::run([&args[..], &["--ca", text(&ca)]].concat(), &[])
    };
    let failed = |cause: &str| {
        let label = format!("cause=\"{cause}\"");
        broker.metric("message_queue_tls_handshakes_failed_total", &label)
    };
    // Whoever only looks whether the port is open has not failed.
    for _ in 0..10 {
        drop(TcpStream::connect(&address).expect("it listens"));
    }
    broker.wait_until("message_queue_tls_handshakes_failed_total", |_| {
        failed("gone") == 10.0
    });
    assert!(produce().status.success());
    let mut stream = TcpStream::connect(&address).expect("it listens");
    stream.write_all(b"neither TLS nor ours\n").expect("room");
    let _ = stream.read_to_end(&mut Vec::new());
    assert_eq!(failed("not_tls"), 1.0);
    let output = produce();
    let told = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{told}");
    // At the plain port as well: it is the address that is refused.
    broker.refuses(b"PRODUCER\n");
    let line = broker
        .wait_for_log(|it| it["message"] == "refused: too many failed handshakes from one address");
    assert_eq!(line["last"], "127.0.0.1");
    let refusals = broker.metric("message_queue_failed_handshake_refusals_total", "");
    assert_eq!(refusals, 2.0);
    // They were not let as far as a handshake.
    let handshakes = broker.metric(
        "message_queue_tls_handshakes_completed_total",
        "port=\"tcp\"",
    );
    assert_eq!(handshakes, 1.0);
}
