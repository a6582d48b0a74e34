//! The real binary with TLS: how it starts, how it does not, and how it renews its certificate.

use crate::authority::{self, Authority, Pair, text};
use message_queue_tests::process::{self, Broker};
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

/// `docs/OPERATIONS.md`, in which every message stands.
const OPERATIONS: &str = include_str!("../../../docs/OPERATIONS.md");

/// The settings for TLS with `server.pem` and `server.key` of an authority.
pub(crate) fn settings(authority: &Authority) -> [(&'static str, String); 3] {
    let file = |name| text(&authority.path(name)).to_owned();
    [
        ("TLS_PORT", "0".to_owned()),
        ("TLS_CERT_FILE", file("server.pem")),
        ("TLS_KEY_FILE", file("server.key")),
    ]
}

fn run(args: &[&str], settings: &[(&'static str, String)]) -> Output {
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, it)| (*name, it.as_str()))
        .collect();
    process::run(args, &settings)
}

fn start(settings: &[(&'static str, String)]) -> Broker {
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, it)| (*name, it.as_str()))
        .collect();
    Broker::start(&settings)
}

/// An authority with a good certificate for the broker.
pub(crate) fn prepared() -> Authority {
    let authority = Authority::new();
    authority.keep("server", &authority.issue(&authority::server()));
    authority
}

/// Where the broker speaks TLS, by a name that is in its certificate.
pub(crate) fn tls_address(broker: &Broker) -> String {
    let listening = broker.wait_for_log(|line| line["message"] == "listening");
    let address = listening["tls_address"].as_str().expect("an address");
    address.replace("127.0.0.1", "localhost")
}

/// Makes one of an authority's files useless.
type Spoil = dyn Fn(&Authority);

/// What a certificate that cannot be used makes of the start, in the words of the documentation, in which files are
/// called FILE.
#[test]
fn every_bad_file_ends_the_start_with_a_message_that_is_documented() {
    let cases: [(&Spoil, &str); 10] = [
        (
            &|it| std::fs::remove_file(it.path("server.pem")).unwrap(),
            "TLS_CERT_FILE: FILE: cannot be read: No such file or directory (os error 2)",
        ),
        (
            &|it| {
                std::fs::copy(it.path("server.key"), it.path("server.pem"))
                    .map(|_| ())
                    .unwrap()
            },
            "TLS_CERT_FILE: FILE: holds no certificate (a block of -----BEGIN CERTIFICATE-----)",
        ),
        (
            &|it| {
                std::fs::copy(it.path("server.pem"), it.path("server.key"))
                    .map(|_| ())
                    .unwrap()
            },
            "TLS_KEY_FILE: FILE: holds no private key (a block of -----BEGIN PRIVATE KEY-----)",
        ),
        (
            &|it| {
                it.write("server.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
            },
            "TLS_KEY_FILE: FILE: the key is encrypted: write it without a password (openssl pkey -in … -out …)",
        ),
        (
            &|it| {
                it.write("server.key", &it.issue(&authority::server()).key);
            },
            "TLS_KEY_FILE: FILE: the key does not fit the certificate in FILE",
        ),
        (
            &|it| {
                let pair = it.issue(&authority::server());
                let certificate = it.pem() + &pair.certificate;
                it.keep(
                    "server",
                    &Pair {
                        certificate,
                        ..pair
                    },
                );
            },
            "TLS_CERT_FILE: FILE: the chain is out of order: certificate 2 is of CN=broker, and CN=the authority \
             issued the one before it; put the own certificate first, and behind each the one that issued it",
        ),
        (
            &|it| {
                it.write(
                    "server.pem",
                    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                );
            },
            "TLS_CERT_FILE: FILE: certificate 1 in it cannot be read: ",
        ),
        (
            &|it| {
                it.write("server.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
            },
            "TLS_CERT_FILE: FILE: is not PEM: ",
        ),
        (
            &|it| {
                it.write("ca.pem", "");
            },
            "TLS_CLIENT_CA_FILE: FILE: holds no certificate (a block of -----BEGIN CERTIFICATE-----)",
        ),
        (
            &|it| std::fs::remove_file(it.path("ca.pem")).unwrap(),
            "TLS_CLIENT_CA_FILE: FILE: cannot be read: No such file or directory (os error 2)",
        ),
    ];
    for (spoil, expected) in cases {
        let authority = prepared();
        spoil(&authority);
        let mut settings = settings(&authority).to_vec();
        settings.push(("TLS_CLIENT_AUTH", "required".to_owned()));
        settings.push((
            "TLS_CLIENT_CA_FILE",
            text(&authority.path("ca.pem")).to_owned(),
        ));
        let output = run(&["serve"], &settings);
        assert_eq!(output.status.code(), Some(1), "{expected}");
        let mut told = String::from_utf8(output.stderr).unwrap();
        for name in ["server.pem", "server.key", "ca.pem"] {
            told = told.replace(text(&authority.path(name)), "FILE");
        }
        assert!(told.starts_with(expected), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(
            OPERATIONS.contains(expected),
            "not in OPERATIONS.md: {expected}"
        );
    }
}

#[test]
fn settings_that_contradict_each_other_are_documented() {
    let cases: [(&[(&str, &str)], &str); 6] = [
        (
            &[("TCP_PORT", "off")],
            "TCP_PORT: \"off\" is not allowed: use a port, or set TLS_PORT: nobody could connect",
        ),
        (
            &[("TLS_PORT", "9443")],
            "TLS_CERT_FILE: \"\" (the default) is not allowed: use the file of a certificate: TLS_PORT is set",
        ),
        (
            &[("HTTP_TLS", "on")],
            "TLS_CERT_FILE: \"\" (the default) is not allowed: use the file of a certificate: HTTP_TLS is set",
        ),
        (
            &[("TLS_CERT_FILE", "a")],
            "TLS_KEY_FILE: \"\" (the default) is not allowed: use the file of the key that belongs to TLS_CERT_FILE",
        ),
        (
            &[("TLS_CLIENT_AUTH", "required")],
            "TLS_CLIENT_CA_FILE: \"\" (the default) is not allowed: use the file of the authorities whose certificates TLS_CLIENT_AUTH asks for",
        ),
        (
            &[
                ("TLS_PORT", "9080"),
                ("TLS_CERT_FILE", "a"),
                ("TLS_KEY_FILE", "b"),
            ],
            "TLS_PORT: \"9080\" is not allowed: use a port other than TCP_PORT, or 0 for any free port",
        ),
    ];
    for (settings, expected) in cases {
        let output = process::run(["serve"], settings);
        assert_eq!(output.status.code(), Some(2), "{expected}");
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            format!("{expected}\n")
        );
        assert!(
            OPERATIONS.contains(expected),
            "not in OPERATIONS.md: {expected}"
        );
    }
}

/// Runs a client of the command line with this input.
fn client(args: &[&str], env: &[(&str, &str)], input: &str) -> Output {
    let mut child = process::command(args)
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A client that was refused reads nothing.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap()
}

#[test]
fn the_command_line_speaks_tls() {
    let authority = prepared();
    let mut wanted = settings(&authority).to_vec();
    wanted.push(("DELIVERY_MODE", "queue".to_owned()));
    wanted.push(("TLS_CLIENT_AUTH", "required".to_owned()));
    wanted.push((
        "TLS_CLIENT_CA_FILE",
        text(&authority.path("ca.pem")).to_owned(),
    ));
    let broker = start(&wanted);
    let address = tls_address(&broker);
    let (cert, key) = authority.keep(
        "client",
        &authority.issue(&authority::client("encoder", "spiffe://a/b")),
    );
    let ca = authority.path("ca.pem");
    let env = [
        ("BROKER_TLS", "1"),
        ("BROKER_CA", text(&ca)),
        ("BROKER_CERT", text(&cert)),
        ("BROKER_KEY", text(&key)),
        ("BROKER_ADDR", address.as_str()),
    ];
    for flags in [&["produce"][..], &["produce", "--confirm"]] {
        let output = client(flags, &env, "hello\n");
        assert!(output.status.success(), "{output:?}");
    }
    for flags in [
        &["consume", "--count", "1"][..],
        &["consume", "--count", "1", "--discard-rest"],
    ] {
        let output = client(flags, &env, "");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stdout, b"hello\n");
    }
    let by_address = broker.wait_for_log(|line| line["message"] == "listening")["tls_address"]
        .as_str()
        .unwrap()
        .to_owned();
    for (flags, expected) in [
        (
            &["--server-name", "other.example"][..],
            "the certificate is not for other.example",
        ),
        (&["--ca", "/nowhere"], "--ca: /nowhere: cannot be read: "),
        (
            &["--server-name", "a b"],
            "--server-name: \"a b\" is neither a DNS name nor an address",
        ),
        (&["--key", text(&cert)], "holds no private key"),
        (
            &["--addr", &by_address, "--server-name", "broker.example"],
            "the certificate is not for broker.example",
        ),
    ] {
        let output = client(&[&["produce"][..], flags].concat(), &env, "hello\n");
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(expected), "{told}");
    }
    let output = client(&["produce", "--ca", text(&ca)], &[], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--tls"));
}

#[test]
fn a_certificate_is_renewed_on_sighup_and_by_a_swapped_link() {
    let authority = prepared();
    // As Kubernetes does it: the file is a link into a directory, which is a link that is swapped.
    let renew = |version: &str, pair: &Pair| {
        let directory = authority.path(version);
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("server.pem"), &pair.certificate).unwrap();
        std::fs::write(directory.join("server.key"), &pair.key).unwrap();
        let link = authority.path("..data_tmp");
        std::os::unix::fs::symlink(Path::new(version), &link).unwrap();
        std::fs::rename(&link, authority.path("..data")).unwrap();
    };
    renew("one", &authority.issue(&authority::server()));
    for name in ["server.pem", "server.key"] {
        std::fs::remove_file(authority.path(name)).unwrap();
        let target = Path::new("..data").join(name);
        std::os::unix::fs::symlink(target, authority.path(name)).unwrap();
    }
    let broker = start(&settings(&authority));
    let expiry = "message_queue_tls_certificate_expiry_seconds";
    let before = broker.metric(expiry, "");

    let mut params = authority::server();
    params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    renew("two", &authority.issue(&params));
    broker.signal("HUP");
    broker.wait_for_log(|line| line["message"] == "TLS certificate renewed");
    let after = broker.metric(expiry, "");
    assert!(after > 4e9 && after < before, "{before} {after}");

    // Nobody tells it this time.
    params.not_after = rcgen::date_time_ymd(2101, 1, 1);
    renew("three", &authority.issue(&params));
    broker.wait_until(expiry, |found| found > after);

    std::fs::remove_file(authority.path("three").join("server.key")).unwrap();
    broker.signal("HUP");
    let line = broker.wait_for_log(|line| {
        line["message"] == "TLS certificate not renewed; the one before stays in force"
    });
    let error = line["error"].as_str().unwrap();
    assert!(error.starts_with("TLS_KEY_FILE: "), "{error}");
    broker.wait_for_metric("message_queue_tls_reload_failures_total", 1.0);
}

#[test]
fn a_broker_without_a_plain_port_serves_all_the_same() {
    let authority = prepared();
    let mut child = process::command(["serve"])
        .envs(settings(&authority))
        .envs([
            ("TCP_PORT", "off"),
            ("HTTP_PORT", "0"),
            ("BIND_ADDRESS", "127.0.0.1"),
        ])
        .env("LOG_FORMAT", "json")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut log, &mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains("\"tls_address\":\"127.0.0.1:"), "{line}");
    assert!(!line.contains("tcp_address"), "{line}");
}

#[test]
fn operators_are_answered_by_https() {
    let authority = prepared();
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port().to_string()
    };
    let mut settings = settings(&authority).to_vec();
    settings.push(("TLS_PORT", "off".to_owned()));
    settings.push(("HTTP_TLS", "on".to_owned()));
    settings.push(("HTTP_PORT", port.clone()));
    let broker = start(&settings);
    // Whoever is on the same machine knows the certificate.
    let output = run(&["health"], &settings);
    assert!(output.status.success(), "{output:?}");
    let address = format!("localhost:{port}");
    let ca = authority.path("ca.pem");
    let asked = ["topics", "--addr", &address, "--tls", "--ca", text(&ca)];
    let output = process::run(asked, &[]);
    assert!(output.status.success(), "{output:?}");
    let output = process::run(["health", "--addr", &address], &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    drop(broker);
}
