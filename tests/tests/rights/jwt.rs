//! Clients that show JSON Web Tokens: pods, and whom an identity provider knows.

use super::{answer, line, rest};
use message_queue_tests::process::Broker;
use serde_json::{Value, json};
use std::fs;
use std::io::Read;

/// The example key of RFC 8037, whose public half is in `examples/jwks.json`, in DER.
const SIGNER: [u8; 48] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
    0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];

fn example(name: &str) -> String {
    format!(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/{}"), name)
}

/// A JSON Web Token that says this, which is good for so many seconds.
fn token(seconds: u64, mut claims: Value) -> String {
    claims["iss"] = json!("https://cluster");
    claims["exp"] = json!(jsonwebtoken::get_current_timestamp() + seconds);
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
    let key = jsonwebtoken::EncodingKey::from_ed_der(&SIGNER);
    jsonwebtoken::encode(&header, &claims, &key).expect("it is signed")
}

/// One about a pod.
fn pods_token(seconds: u64, audience: &str) -> String {
    let subject = "system:serviceaccount:telemetry:collector";
    token(seconds, json!({ "aud": [audience], "sub": subject }))
}

#[test]
fn a_pod_is_its_service_account_for_as_long_as_its_token_says() {
    let (tokens, keys) = (example("tokens.toml"), example("jwks.json"));
    let broker = Broker::start(&[
        ("AUTH_TOKENS_FILE", &tokens),
        ("AUTH_JWKS_FILE", &keys),
        ("AUTH_JWT_ISSUER", "https://cluster"),
    ]);
    let says = |token: &str| format!("PRODUCER topic=gpu.0 heartbeat=0 token={token}\n");
    let told = answer(&broker, &says(&pods_token(3600, "somebody-else")));
    assert!(told.starts_with("ERROR unauthorized "), "{told}");
    let told = answer(&broker, &says(&pods_token(3600, "message-queue")));
    assert!(told.starts_with("OK "), "{told}");
    let mut stream = broker.connect_with(says(&pods_token(2, "message-queue")).as_bytes());
    assert!(line(&mut stream).starts_with("OK "));
    broker.wait_for_log(|it| it["principal"] == "telemetry" && it["role"] == "producer");
    // GOAWAY, then, to who stays, ERROR.
    let mut goaway = [0; 5];
    stream.read_exact(&mut goaway).expect("it is told");
    assert_eq!(goaway[4], 0x07);
    let told = rest(&mut stream);
    assert!(
        told.contains("unauthorized the broker does not know who you are"),
        "{told:?}"
    );
}

#[test]
fn rights_go_by_a_claim_and_by_nothing_that_only_looks_like_it() {
    let (tokens, keys) = (example("tokens.toml"), example("jwks.json"));
    let broker = Broker::start(&[
        ("AUTH_TOKENS_FILE", &tokens),
        ("AUTH_JWKS_FILE", &keys),
        ("AUTH_JWT_ISSUER", "https://cluster"),
        ("TOPIC_CREATION", "on"),
    ]);
    let says = |groups: Value, topic: &str| {
        let claims = json!({ "aud": "message-queue", "sub": "somebody", "groups": groups });
        let token = token(3600, claims);
        format!("CONSUMER topic={topic} group=audit-1 token={token}\n")
    };
    let of_group = json!(["staff", "mq-auditors"]);
    let told = answer(&broker, &says(of_group.clone(), "jobs.eu"));
    assert!(told.starts_with("OK "), "{told}");
    let told = answer(&broker, &says(of_group, "gpu.0"));
    assert_eq!(
        told,
        "ERROR forbidden topic gpu.0: auditors has no right to that\n"
    );
    for hostile in [
        json!([]),
        json!("staff mq-auditors"),
        json!({ "mq-auditors": true }),
        json!([["mq-auditors"]]),
    ] {
        let told = answer(&broker, &says(hostile.clone(), "jobs.eu"));
        assert!(told.starts_with("ERROR unauthorized "), "{hostile}: {told}");
    }
}

#[test]
fn keys_that_are_replaced_end_who_was_believed_because_of_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let keys = directory.path().join("jwks.json");
    let known = fs::read_to_string(example("jwks.json")).expect("an example");
    fs::write(&keys, &known).expect("a file");
    let tokens = example("tokens.toml");
    let broker = Broker::start(&[
        ("AUTH_TOKENS_FILE", &tokens),
        ("AUTH_JWKS_FILE", keys.to_str().expect("text")),
        ("AUTH_JWT_ISSUER", "https://cluster"),
    ]);
    let says = format!(
        "PRODUCER topic=gpu.0 heartbeat=0 token={}\n",
        pods_token(3600, "message-queue")
    );
    let mut standing = broker.connect_with(says.as_bytes());
    assert!(line(&mut standing).starts_with("OK "));

    // It is written by halves: all is as before.
    fs::write(&keys, &known[..known.len() / 2]).expect("a file");
    broker.signal("HUP");
    let told =
        broker.wait_for_log(|it| it["message"] == "settings not reloaded; all are as before");
    let detail = told["detail"].as_str().expect("text");
    assert!(detail.contains("it is no JWK set"), "{detail}");
    assert!(answer(&broker, &says).starts_with("OK "));

    // Another key beside the old one, and then in its place.
    let mut set: Value = serde_json::from_str(&known).expect("JSON");
    let mut other = set["keys"][0].clone();
    other["x"] = json!("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af0");
    other["kid"] = json!("another");
    set["keys"]
        .as_array_mut()
        .expect("keys")
        .push(other.clone());
    fs::write(&keys, set.to_string()).expect("a file");
    let changes = |unknown: u64| {
        broker.signal("HUP");
        broker.wait_for_log(|it| {
            it["message"] == "who may do what has changed" && it["unknown"] == unknown
        })
    };
    changes(0);
    assert!(answer(&broker, &says).starts_with("OK "));
    fs::write(&keys, json!({ "keys": [other] }).to_string()).expect("a file");
    changes(1);
    let told = rest(&mut standing);
    assert!(
        told.contains("unauthorized the broker does not know who you are"),
        "{told:?}"
    );
    let told = answer(&broker, &says);
    assert!(told.starts_with("ERROR unauthorized "), "{told}");
}
