//! Clients that show who they are by a certificate.

use crate::authority::{self, Authority, text};
use crate::process::{prepared, settings, tls_address};
use message_queue_tests::process::{self, Broker};
use serde_json::Value;
use std::process::Output;

const TOKENS: &str = r#"
[[certificate]]
name = "encoder"
common_name = "encoder 7"
produce = ["default"]

[[certificate]]
name = "sensor"
alternative_name = "spiffe://example.org/sensor"
produce = ["sensors.*"]
"#;

/// A broker that knows these principals, and no others.
fn broker(authority: &Authority, client_auth: &'static str) -> Broker {
    let mut wanted = settings(authority).to_vec();
    let file = |name| text(&authority.path(name)).to_owned();
    authority.write("tokens.toml", TOKENS);
    wanted.push(("AUTH_TOKENS_FILE", file("tokens.toml")));
    wanted.push(("TLS_CLIENT_AUTH", client_auth.to_owned()));
    wanted.push(("TLS_CLIENT_CA_FILE", file("ca.pem")));
    wanted.push(("DELIVERY_MODE", "queue".to_owned()));
    let wanted: Vec<_> = wanted
        .iter()
        .map(|(name, it)| (*name, it.as_str()))
        .collect();
    Broker::start(&wanted)
}

/// Publishes with the certificate of this name, or without any.
fn produce(broker: &Broker, authority: &Authority, who: Option<&str>, flags: &[&str]) -> Output {
    let mut command = process::command(["produce", "-m", "hello", "--tls"]);
    command.args(["--addr", &tls_address(broker)]).args(flags);
    command.arg("--ca").arg(authority.path("ca.pem"));
    if let Some(who) = who {
        let file = |suffix| authority.path(&format!("{who}.{suffix}"));
        command.arg("--cert").arg(file("pem"));
        command.arg("--key").arg(file("key"));
    }
    command.output().expect("it ends")
}

/// Waits until the log says that somebody was turned away.
fn turned_away(broker: &Broker, principal: &str) -> Value {
    broker.wait_for_log(|it| it["reason"] == "forbidden" && it["principal"] == principal)
}

#[test]
fn a_certificate_gives_its_principal_what_the_file_says_and_others_nothing() {
    for client_auth in ["optional", "required"] {
        let authority = prepared();
        for (file, name, uri) in [
            ("encoder", "encoder 7", "spiffe://example.org/encoder"),
            ("sensor", "a sensor", "spiffe://example.org/sensor"),
            ("other", "encoder 8", "spiffe://example.org/other"),
        ] {
            authority.keep(file, &authority.issue(&authority::client(name, uri)));
        }
        let broker = broker(&authority, client_auth);
        let received = || broker.metric("message_queue_received_messages_total", "");

        // Version 1, which has no place for a token.
        let output = produce(&broker, &authority, Some("encoder"), &[]);
        assert!(output.status.success(), "{output:?}");
        broker.wait_for_metric("message_queue_received_messages_total", 1.0);
        broker.wait_for_log(|it| it["message"] == "registered" && it["principal"] == "encoder");
        // Another name has no rights. Version 1 is not told why; the log is.
        produce(&broker, &authority, Some("other"), &[]);
        turned_away(&broker, "anonymous");
        assert_eq!(received(), 1.0);
        // Nor does the right to one topic give another one.
        produce(&broker, &authority, Some("sensor"), &[]);
        turned_away(&broker, "sensor");
        assert_eq!(received(), 1.0);

        // Version 2, by an alternative name.
        let sensors = ["--topic", "sensors.a", "--confirm"];
        let output = produce(&broker, &authority, Some("sensor"), &sensors);
        assert!(output.status.success(), "{output:?}");
        let output = produce(&broker, &authority, Some("encoder"), &sensors);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(
            told.contains("forbidden: topic sensors.a: encoder has no right to that"),
            "{told}"
        );
        // Without a certificate: let in as nobody, or not at all.
        let output = produce(&broker, &authority, None, &sensors);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        if client_auth == "optional" {
            let expected = "forbidden: topic sensors.a: anonymous has no right to that";
            assert!(told.contains(expected), "{told}");
        } else {
            let expected = "the peer asks for a certificate, and none was shown";
            assert!(told.contains(expected), "{told}");
            broker.wait_for_metric("message_queue_tls_handshakes_failed_total", 1.0);
        }
        assert_eq!(received(), 2.0);
    }
}
