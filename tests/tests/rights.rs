//! What the real binary lets whom do: tokens, rights, and how they change.

#[path = "rights/jwt.rs"]
mod jwt;
#[path = "rights/run_book.rs"]
mod run_book;

use message_queue_tests::process::{Broker, command};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A file of who may do what, and the secrets of those who may.
struct Tokens {
    directory: TempDir,
}

impl Tokens {
    /// The principals of these tests, each with a token of its own.
    fn new() -> Self {
        let tokens = Self {
            directory: tempfile::tempdir().expect("a directory"),
        };
        tokens.add("sender", &["--produce", "jobs"]);
        tokens.add("worker", &["--consume", "jobs", "--group", "workers"]);
        tokens.add("operator", &["--admin", ">"]);
        tokens
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Has the binary make a token for `name`, and puts what it says into the files.
    fn add(&self, name: &str, rights: &[&str]) {
        let made = command([&["token", "new", name], rights].concat())
            .output()
            .expect("it ends");
        assert!(made.status.success(), "{made:?}");
        fs::write(self.path(name), made.stdout).expect("a file");
        let mut entries = fs::read(self.path("tokens.toml")).unwrap_or_default();
        entries.extend(made.stderr);
        fs::write(self.path("tokens.toml"), entries).expect("a file");
    }

    fn token(&self, of: &str) -> String {
        let token = fs::read_to_string(self.path(of)).expect("a token");
        token.trim().to_owned()
    }

    fn broker(&self, settings: &[(&str, &str)]) -> Broker {
        let file = self.path("tokens.toml");
        let file = file.to_str().expect("text");
        Broker::start(&[&[("AUTH_TOKENS_FILE", file)], settings].concat())
    }

    /// A client of `broker` as `who`, with these arguments.
    fn client(&self, broker: &Broker, who: &str, args: &[&str]) -> Command {
        let mut client = command(args);
        client.args(["--addr", &broker.tcp().to_string()]);
        client.arg("--token-file").arg(self.path(who));
        client
    }

    fn ended(&self, broker: &Broker, who: &str, args: &[&str]) -> Output {
        self.client(broker, who, args).output().expect("it ends")
    }
}

/// All that a broker says to somebody who says this, up to its end.
fn answer(broker: &Broker, says: &str) -> String {
    let mut stream = broker.connect_with(says.as_bytes());
    // It may have been reset already.
    let _ = stream.shutdown(Shutdown::Write);
    rest(&mut stream)
}

fn rest(stream: &mut TcpStream) -> String {
    let mut told = Vec::new();
    // A reset ends it too.
    let _ = stream.read_to_end(&mut told);
    String::from_utf8_lossy(&told).into_owned()
}

/// The first line of what comes.
fn line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        line.push(byte[0]);
    }
    String::from_utf8(line).expect("text")
}

#[test]
fn clients_do_what_their_tokens_allow_and_nothing_else() {
    let tokens = Tokens::new();
    let broker = tokens.broker(&[]);
    let send = ["produce", "--topic", "jobs", "-m", "a job"];
    // The group is there before anything is sent.
    let take = [
        "consume", "--topic", "jobs", "--group", "workers", "--count", "1",
    ];
    let worker = tokens
        .client(&broker, "worker", &take)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    broker.wait_for_metric("message_queue_consumers", 1.0);
    assert!(tokens.ended(&broker, "sender", &send).status.success());
    let taken = worker.wait_with_output().expect("it ends");
    assert_eq!(taken.stdout, b"a job\n");
    for (who, args, told) in [
        (
            "worker",
            &send[..],
            "forbidden: topic jobs: worker has no right to that",
        ),
        (
            "sender",
            &["produce", "--topic", "other", "-m", "x"],
            "forbidden: topic other: sender has no right to that",
        ),
        (
            "sender",
            &take,
            "forbidden: topic jobs: sender has no right to that",
        ),
        (
            "worker",
            &["consume", "--topic", "jobs", "--count", "1"],
            "forbidden: topic jobs: worker has no right to that",
        ),
        (
            "worker",
            &[
                "consume", "--topic", ">", "--group", "workers", "--count", "1",
            ],
            "forbidden: topic >: worker has no right to that",
        ),
    ] {
        let output = tokens.ended(&broker, who, args);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{who} {args:?}: {err}");
        assert!(err.contains(told), "{who} {args:?}: {err}");
    }
    // Whoever says nothing of who they are may do nothing, in version 1 above all.
    assert_eq!(answer(&broker, "PRODUCER\n"), "");
    broker.wait_for_log(|it| it["principal"] == "anonymous" && it["reason"] == "forbidden");
    let told = "ERROR forbidden topic jobs: anonymous has no right to that\n";
    assert_eq!(answer(&broker, "PRODUCER topic=jobs\n"), told);
    // The log says who was turned away, and why.
    broker.wait_for_log(|it| {
        it["principal"] == "sender" && it["detail"] == "topic other: sender has no right to that"
    });
}

#[test]
fn a_token_that_is_not_known_is_turned_away_whatever_it_is() {
    let tokens = Tokens::new();
    // Even where everybody else may do everything.
    let broker = tokens.broker(&[("AUTH_ANONYMOUS", "all"), ("ROLE_LINE_BYTES", "65536")]);
    let refused = "ERROR unauthorized the broker does not know who you are, or not any more\n";
    let good = tokens.token("sender");
    // Each waits twice as long for its answer as the one before.
    for token in [
        "",
        &good[..good.len() - 1],
        &format!("{good}%00"),
        &"x".repeat(60_000),
    ] {
        assert_eq!(
            answer(&broker, &format!("PRODUCER topic=jobs token={token}\n")),
            refused
        );
    }
    // No role line is as long as that, so it is no token at all.
    let endless = "x".repeat(100 << 10);
    let mut stream = broker.connect();
    // It is closed while it is sent.
    let _ = stream.write_all(format!("PRODUCER topic=jobs token={endless}\n").as_bytes());
    assert_eq!(broker.wait_for_close(&stream), "role_line_too_long");
    assert!(
        !broker
            .log()
            .iter()
            .any(|it| it.to_string().contains("xxxxxxxx"))
    );
    assert!(answer(&broker, "PRODUCER topic=jobs\n").starts_with("OK "));
    let known = answer(&broker, &format!("PRODUCER topic=jobs token={good}\n"));
    assert!(known.starts_with("OK "), "{known}");
    // It has its own rights, and not those of everybody.
    let told = answer(&broker, &format!("PRODUCER topic=other token={good}\n"));
    assert_eq!(
        told,
        "ERROR forbidden topic other: sender has no right to that\n"
    );
    assert_eq!(
        broker.metric(
            "message_queue_connections_closed_total",
            "reason=\"unauthorized\""
        ),
        4.0
    );
}

/// Has the broker read its files again, and waits until it has.
fn reload(broker: &Broker) {
    let before = broker.log().len();
    broker.signal("HUP");
    broker.wait_for_log(|it| it["message"] == "who may do what has changed");
    assert!(broker.log().len() > before);
}

#[test]
fn what_changes_in_the_file_changes_for_connections_that_stand() {
    let tokens = Tokens::new();
    let broker = tokens.broker(&[]);
    let connect = |who: &str, role: &str| {
        let says = format!("{role} token={}\n", tokens.token(who));
        let mut stream = broker.connect_with(says.as_bytes());
        let told = line(&mut stream);
        assert!(told.starts_with("OK "), "{who}: {told}");
        stream
    };
    tokens.add("extra", &["--produce", "jobs"]);
    // It is not known yet.
    let early = answer(
        &broker,
        &format!("PRODUCER topic=jobs token={}\n", tokens.token("extra")),
    );
    assert!(early.starts_with("ERROR unauthorized "), "{early}");
    let mut worker = connect("worker", "CONSUMER topic=jobs group=workers");
    let mut sender = connect("sender", "PRODUCER topic=jobs confirm=1");
    reload(&broker);
    let mut extra = connect("extra", "PRODUCER topic=jobs confirm=1");

    // The worker may do something else, the sender is no more, and the third stays what it was.
    let text = fs::read_to_string(tokens.path("tokens.toml")).expect("a file");
    let text = text.replace("topics = \"jobs\"", "topics = \"other\"");
    let entries: Vec<_> = text
        .split("[[token]]")
        .filter(|it| !it.contains("\"sender\""))
        .collect();
    fs::write(tokens.path("tokens.toml"), entries.join("[[token]]")).expect("a file");
    let changed = |it: &Value| it["message"] == "who may do what has changed" && it["unknown"] == 1;
    broker.signal("HUP");
    let told = broker.wait_for_log(changed);
    assert_eq!(told["changed"], 1, "{told}");
    let ends = rest(&mut worker);
    assert!(
        ends.contains("forbidden you have no right to that"),
        "{ends:?}"
    );
    let ends = rest(&mut sender);
    assert!(
        ends.contains("unauthorized the broker does not know who you are"),
        "{ends:?}"
    );
    extra.write_all(&[0, 0, 0, 0]).expect("it is connected");
    let mut confirmed = [0; 5];
    extra.read_exact(&mut confirmed).expect("it is told");
    assert_eq!(confirmed, [0x80, 0, 0, 17, 0x10]);

    // What is broken changes nothing.
    fs::write(tokens.path("tokens.toml"), "[[token]]\nname = 1\n").expect("a file");
    broker.signal("HUP");
    let line =
        broker.wait_for_log(|it| it["message"] == "settings not reloaded; all are as before");
    let detail = line["detail"].as_str().expect("text");
    assert!(
        detail.ends_with("line 2, column 8: name: use a text that is not empty"),
        "{detail}"
    );
    extra.write_all(&[0, 0, 0, 0]).expect("it is connected");
    extra
        .read_exact(&mut [0; 16])
        .expect("the rest of what it was told");
}

#[test]
fn no_token_is_ever_shown() {
    let tokens = Tokens::new();
    let recording = tempfile::tempdir().expect("a directory");
    let directory = recording.path().to_str().expect("text");
    let broker = tokens.broker(&[
        ("LOG_LEVEL", "trace"),
        ("RECORD_DIR", directory),
        ("RECORD_PAYLOADS", "full"),
    ]);
    let secret = tokens.token("sender");
    let mut stream =
        broker.connect_with(format!("PRODUCER topic=jobs token={secret}\n").as_bytes());
    assert!(line(&mut stream).starts_with("OK "));
    // Slips of a hand, with the secret in them.
    for says in [
        "PRODUCER topic=jobs token={secret}x\n",
        "PRODUCER topic=jobs tokn={secret}\n",
        "PRODUCER topic=jobs token={secret} token={secret}\n",
        "PRODUCER topic={secret}\n",
        "PRODUCER token={secret} v=3\n",
    ] {
        answer(&broker, &says.replace("{secret}", &secret));
    }
    for page in [
        "/producers",
        "/consumers",
        "/topics",
        "/metrics",
        "/topics/jobs",
    ] {
        let (_, text) = broker.get(page);
        assert!(!text.contains(&secret), "{page}");
    }
    drop(stream);
    broker.signal("TERM");
    let (status, log) = broker.wait();
    assert!(status.success());
    // Somebody's topic may be called like a secret; but a token is told nobody.
    let log: Vec<_> = log
        .iter()
        .map(Value::to_string)
        .filter(|it| !it.contains("topic "))
        .collect();
    assert!(!log.join("\n").contains(&secret), "{log:#?}");
    let mut bytes = 0;
    for file in fs::read_dir(recording.path()).expect("a recording") {
        let mut recorded = fs::read(file.expect("a file").path()).expect("a file");
        // The rest of a file is kept free for what may come.
        let end = recorded
            .iter()
            .rposition(|it| *it != 0)
            .map_or(0, |it| it + 1);
        recorded.truncate(end);
        bytes += recorded.len();
        let found = recorded
            .windows(secret.len())
            .filter(|it| *it == secret.as_bytes())
            .count();
        // As the name of a topic, which the client asked for.
        assert!(found <= 2, "the recording shows the token {found} times");
    }
    assert!(bytes > 0);
    let shown = command(["--print-config"])
        .env("AUTH_TOKENS_FILE", tokens.path("tokens.toml"))
        .output()
        .expect("it ends");
    let shown = String::from_utf8(shown.stdout).expect("text");
    assert!(
        shown.contains("tokens.toml") && !shown.contains("sha256"),
        "{shown}"
    );
}

#[test]
fn a_file_that_is_wrong_is_told_by_its_line_and_nothing_starts() {
    let tokens = Tokens::new();
    let file = tokens.path("tokens.toml");
    fs::write(
        &file,
        "[[token]]\nname = \"a\"\nsha256 = \"hunter2\"\n\n\n\nprodce = [\"x\"]\n",
    )
    .expect("a file");
    let output = command(["serve"])
        .env("AUTH_TOKENS_FILE", &file)
        .output()
        .expect("it ends");
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).expect("text");
    let at = format!("AUTH_TOKENS_FILE: {}: line ", file.display());
    let lines: Vec<_> = told
        .lines()
        .map(|it| it.strip_prefix(&at).unwrap_or(it))
        .collect();
    assert_eq!(
        lines,
        [
            "3, column 10: sha256: use the 64 hexadecimal digits that `message-queue token new` prints, or an array of such",
            "7, column 1: \"prodce\" is no key of a token: did you mean produce?",
        ]
    );
    let output = command(["serve"])
        .env("HTTP_AUTH", "all")
        .output()
        .expect("it ends");
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).expect("text");
    assert_eq!(
        told,
        "HTTP_AUTH: \"all\" is not allowed: use open, or AUTH_TOKENS_FILE with a principal that has the right admin\n"
    );
}

#[test]
fn a_token_file_is_read_again_before_each_connection() {
    let tokens = Tokens::new();
    let broker = tokens.broker(&[]);
    // At first the file of the client holds something else.
    let secret = tokens.token("sender");
    fs::write(tokens.path("sender"), "").expect("a file");
    let mut client = tokens.client(
        &broker,
        "sender",
        &["produce", "--topic", "jobs", "-m", "late", "--retry"],
    );
    let client = client
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    fs::write(tokens.path("sender"), format!("{secret}\n")).expect("a file");
    let output = client.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}

/// Operators see whose a connection is, and no secret of theirs.
#[test]
fn consumers_and_producers_are_shown_with_their_principals() {
    let tokens = Tokens::new();
    let broker = tokens.broker(&[("AUTH_ANONYMOUS", "all")]);
    let connect = |who: &str, role: &str| {
        let says = format!("{role} token={}\n", tokens.token(who));
        let mut stream = broker.connect_with(says.as_bytes());
        assert!(line(&mut stream).starts_with("OK "));
        stream
    };
    let _worker = connect("worker", "CONSUMER topic=jobs group=workers");
    let _sender = connect("sender", "PRODUCER topic=jobs");
    let _nobody = broker.connect_with(b"CONSUMER\n");
    broker.wait_for_metric("message_queue_consumers", 2.0);
    let principals = |path: &str| -> Vec<Value> {
        let (status, page) = broker.get(path);
        assert_eq!(status, 200, "{page}");
        assert!(!page.contains(&tokens.token("worker")) && !page.contains(&tokens.token("sender")));
        let page: Vec<Value> = serde_json::from_str(&page).expect("JSON");
        page.iter().map(|it| it["principal"].clone()).collect()
    };
    assert_eq!(principals("/consumers"), ["worker", "anonymous"]);
    assert_eq!(principals("/producers"), ["sender"]);
    // Where nobody is asked there is nobody to show.
    let broker = Broker::start(&[]);
    let _consumer = broker.consumer();
    let (_, page) = broker.get("/consumers");
    assert!(page.contains("\"principal\":null"), "{page}");
}

#[test]
fn from_where_too_many_tokens_were_tried_nobody_is_let_in() {
    let tokens = Tokens::new();
    let broker = tokens.broker(&[("FAILED_HANDSHAKES_PER_ADDRESS", "1")]);
    let good = format!("PRODUCER topic=jobs token={}\n", tokens.token("sender"));
    assert!(answer(&broker, &good).starts_with("OK "));
    let told = answer(&broker, "PRODUCER topic=jobs token=guessed\n");
    assert!(told.starts_with("ERROR unauthorized "), "{told}");
    // Nothing of it is read: neither a good token nor another guess.
    broker.refuses(good.as_bytes());
    broker.wait_for_log(|it| {
        it["message"] == "refused: too many failed handshakes from one address"
            && it["last"] == "127.0.0.1"
    });
    broker.wait_for_metric("message_queue_failed_handshake_refusals_total", 1.0);
    assert_eq!(
        broker.metric(
            "message_queue_connections_closed_total",
            "reason=\"unauthorized\""
        ),
        1.0
    );
}
