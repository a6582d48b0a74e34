//! Every row of the run book about tokens, by its own words.

use super::Tokens;
use message_queue_tests::process::{Broker, command};
use message_queue_tests::run_book::{Row, check_each, tables};
use std::fs;
use std::path::Path;

/// What is said at a start that comes to nothing, where `name` names a file with this in it.
fn refused(name: &str, contents: &str, more: &[(&str, &str)]) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    fs::write(&file, contents).expect("a file");
    let output = command(["serve"])
        .env(name, &file)
        .envs(more.iter().copied())
        .output()
        .expect("it ends");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = String::from_utf8(output.stderr).expect("text");
    let told = told.replace(file.to_str().expect("text"), "FILE");
    told.lines().map(str::to_owned).collect()
}

/// That this is the only line.
fn assert_only(row: &Row, lines: &[String]) {
    assert_eq!(lines.len(), 1, "{lines:?}");
    row.assert_told(&lines[0]);
}

/// Two tables, of which the second begins in line 4.
fn two(first: &str, second: &str) -> String {
    format!("[[token]]\nname = \"collector\"\n{first}\n[[token]]\nname = \"b\"\n{second}\n")
}

#[test]
fn the_broker_says_at_its_start_what_the_run_book_says() {
    let tokens = |row: &Row, contents: &str| {
        assert_only(row, &refused("AUTH_TOKENS_FILE", contents, &[]));
    };
    let keys = |row: &Row, contents: &str| {
        let issuer = [("AUTH_JWT_ISSUER", "https://issuer")];
        assert_only(row, &refused("AUTH_JWKS_FILE", contents, &issuer));
    };
    let warned = |row: &Row, settings: &[(&str, &str)]| {
        let broker = Broker::start(settings);
        let message = row.message();
        broker.wait_for_log(|line| line["level"] == "WARN" && line["message"] == message);
    };
    let directory = tempfile::tempdir().expect("a directory");
    let plain = directory.path().join("plain.toml");
    fs::write(
        &plain,
        "[[token]]\nname = \"collector\"\ntoken = \"secret\"\n",
    )
    .expect("a file");
    let plain = plain.to_str().expect("text");
    let all = tables("Tokens set up wrong");
    check_each(
        &all[0],
        &[
            ("an error in the file", &|row| {
                tokens(
                    row,
                    "[[token]]\nname = \"a\"\ntoken = \"x\"\n\n\n\nprodce = []\n",
                );
            }),
            (
                "the token itself where its digest belongs; it is not shown",
                &|row| tokens(row, "[[token]]\nname = \"a\"\nsha256 = \"secret\"\n"),
            ),
            ("one token for two", &|row| {
                tokens(row, &two("token = \"x\"", "token = \"x\""));
            }),
            ("a claim without its value", &|row| {
                tokens(row, "[[jwt]]\nname = \"a\"\nclaim = \"groups\"\n");
            }),
            ("HTTP for admins, and nobody can be one", &|row| {
                let output = command(["serve"]).env("HTTP_AUTH", "all").output();
                let told = String::from_utf8(output.expect("it ends").stderr).expect("text");
                assert_only(row, &[told.trim_end().to_owned()]);
            }),
            ("keys without an issuer", &|row| {
                let keys = include_str!("../../../examples/jwks.json");
                let lines = refused("AUTH_JWKS_FILE", keys, &[]);
                assert_only(row, &lines);
            }),
            ("keys that are no set", &|row| keys(row, "{\"keys\":")),
            ("keys of another kind", &|row| {
                keys(
                    row,
                    "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\",\"alg\":\"HS256\"}]}",
                );
            }),
            ("a token in the file as it is", &|row| {
                warned(row, &[("AUTH_TOKENS_FILE", plain)]);
            }),
            (
                "tokens without TLS, and not for this machine alone",
                &|row| {
                    let all = [("AUTH_TOKENS_FILE", plain), ("BIND_ADDRESS", "0.0.0.0")];
                    warned(row, &all);
                },
            ),
        ],
    );
}

#[test]
fn a_client_says_what_the_run_book_says() {
    let tokens = Tokens::new();
    tokens.add("collector", &["--produce", "gpu.>"]);
    let broker = tokens.broker(&[("HTTP_AUTH", "all")]);
    let address = broker.tcp().to_string();
    let told = |token: Option<&Path>| {
        let mut client = command(["produce", "--topic", "jobs", "-m", "x", "--addr", &address]);
        if let Some(file) = token {
            client.arg("--token-file").arg(file);
        }
        let output = client.output().expect("it ends");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = String::from_utf8(output.stderr).expect("text");
        let told = told.trim_end().strip_prefix("error: ").expect("an error");
        let start = format!("the broker at {address} did not accept the connection: ");
        let told = told.strip_prefix(&start).unwrap_or(told);
        match token {
            Some(file) => told.replace(file.to_str().expect("text"), "FILE"),
            None => told.to_owned(),
        }
    };
    let with = |contents: &str| {
        fs::write(tokens.path("other"), contents).expect("a file");
        told(Some(&tokens.path("other")))
    };
    let all = tables("Tokens set up wrong");
    check_each(
        &all[1],
        &[
            ("a client without a token", &|row| {
                row.assert_told(&told(None));
            }),
            ("a token that is not known", &|row| {
                row.assert_told(&with("guessed"));
            }),
            ("a token for something else", &|row| {
                row.assert_told(&told(Some(&tokens.path("collector"))));
            }),
            (
                "a token file that is missing; with `--retry` the client tries again",
                &|row| row.assert_told(&told(Some(Path::new("/nowhere/token")))),
            ),
            ("a token file that is empty, likewise", &|row| {
                row.assert_told(&with(""));
            }),
            ("an operator without a token", &|row| {
                let address = broker.http().to_string();
                let asked = command(["topics", "--addr", &address]).output();
                let told = String::from_utf8(asked.expect("it ends").stderr).expect("text");
                let told = told.trim_end();
                assert!(told.ends_with(row.message()), "{told}");
            }),
        ],
    );
    assert_eq!(all.len(), 2, "a table without a test");
}
