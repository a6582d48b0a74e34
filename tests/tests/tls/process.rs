//! The real binary with TLS: how it starts, how it does not, and how it renews its certificate.

use crate::authority::{self, Authority, Pair, text};
use message_queue_tests::process::{self, Broker};
use message_queue_tests::run_book::{Row, check_each, tables};
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

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

/// The part of the run book's table in which files are no good; before it are settings that contradict each other.
const FILES: usize = 6;

#[test]
fn every_bad_file_ends_the_start_with_the_message_of_the_run_book() {
    let table = &tables("TLS")[0][FILES..];
    let spoilt = |row: &Row, spoil: &Spoil| {
        let authority = prepared();
        spoil(&authority);
        let mut settings = settings(&authority).to_vec();
        settings.push(("TLS_CLIENT_AUTH", "required".to_owned()));
        settings.push((
            "TLS_CLIENT_CA_FILE",
            text(&authority.path("ca.pem")).to_owned(),
        ));
        let output = run(&["serve"], &settings);
        assert_eq!(output.status.code(), Some(1), "{row:?}");
        let mut told = String::from_utf8(output.stderr).unwrap();
        for name in ["server.pem", "server.key", "ca.pem"] {
            told = told.replace(text(&authority.path(name)), "FILE");
        }
        row.assert_told(told.strip_suffix('\n').unwrap());
    };
    let remove =
        |name: &'static str| move |it: &Authority| std::fs::remove_file(it.path(name)).unwrap();
    let replace = |name: &'static str, by: &'static str| {
        move |it: &Authority| {
            it.write(name, by);
        }
    };
    let copy = |from: &'static str, to: &'static str| {
        move |it: &Authority| {
            std::fs::copy(it.path(from), it.path(to)).unwrap();
        }
    };
    check_each(
        table,
        &[
            ("a file that is not there", &|row| {
                spoilt(row, &remove("server.pem"))
            }),
            ("another file in place of the certificate", &|row| {
                spoilt(row, &copy("server.key", "server.pem"));
            }),
            ("a certificate that is cut off", &|row| {
                spoilt(
                    row,
                    &replace("server.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n"),
                );
            }),
            ("a certificate that is none", &|row| {
                let none = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
                spoilt(row, &replace("server.pem", none));
            }),
            ("a chain in the wrong order", &|row| {
                spoilt(row, &|it| {
                    let pair = it.issue(&authority::server());
                    let certificate = it.pem() + &pair.certificate;
                    it.keep(
                        "server",
                        &Pair {
                            certificate,
                            ..pair
                        },
                    );
                });
            }),
            ("another file in place of the key", &|row| {
                spoilt(row, &copy("server.pem", "server.key"));
            }),
            ("a key with a password", &|row| {
                let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
                spoilt(row, &replace("server.key", locked));
            }),
            ("the key of another certificate", &|row| {
                spoilt(row, &|it| {
                    it.write("server.key", &it.issue(&authority::server()).key);
                });
            }),
            ("a file of authorities that is empty", &|row| {
                spoilt(row, &replace("ca.pem", ""))
            }),
            ("a file of authorities that is not there", &|row| {
                spoilt(row, &remove("ca.pem"))
            }),
        ],
    );
}

#[test]
fn settings_that_contradict_each_other_end_the_start_with_the_message_of_the_run_book() {
    let table = &tables("TLS")[0][..FILES];
    let given = |row: &Row, settings: &[(&str, &str)]| {
        let output = process::run(["serve"], settings);
        assert_eq!(output.status.code(), Some(2), "{row:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        row.assert_told(told.strip_suffix('\n').unwrap());
    };
    check_each(
        table,
        &[
            ("no port for clients at all", &|row| {
                given(row, &[("TCP_PORT", "off")])
            }),
            ("`TLS_PORT` without a certificate", &|row| {
                given(row, &[("TLS_PORT", "9443")])
            }),
            ("`HTTP_TLS=on` without one", &|row| {
                given(row, &[("HTTP_TLS", "on")])
            }),
            ("a certificate without its key", &|row| {
                given(row, &[("TLS_CERT_FILE", "a")])
            }),
            ("clients are asked for certificates of nobody", &|row| {
                given(row, &[("TLS_CLIENT_AUTH", "required")]);
            }),
            ("one port for both", &|row| {
                let files = [("TLS_CERT_FILE", "a"), ("TLS_KEY_FILE", "b")];
                given(row, &[&[("TLS_PORT", "9080")], &files[..]].concat());
            }),
        ],
    );
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
