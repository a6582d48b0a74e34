//! `tls init` on the real binary: what it makes works, and what it prints can be typed.

use crate::process::tls_address;
use message_queue_tests::process::{self, Broker};
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Output};

/// Runs a line that was printed for a shell, in which `message-queue` is this binary.
fn shell(line: &str) -> Output {
    let mut path = OsString::from(process::binary().parent().expect("a directory"));
    path.push(":/usr/bin:/bin");
    Command::new("/bin/sh")
        .args(["-c", line])
        .env_clear()
        .env("PATH", path)
        .current_dir(std::env::temp_dir())
        .output()
        .expect("a shell")
}

fn init(directory: &Path, flags: &[&str]) -> Output {
    let mut command = process::command(["tls", "init"]);
    command.arg(directory).args(flags);
    command.output().expect("it ends")
}

#[test]
fn its_certificates_and_commands_work_and_it_overwrites_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let made = directory.path().join("made");
    let output = init(&made, &["--name", "broker.example", "--client", "encoder"]);
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    let printed = |with: &str| {
        let line = told.lines().find(|line| line.contains(with));
        line.expect(with).trim().to_owned()
    };

    let line = printed("TLS_PORT=9443");
    let settings = line.split(' ').filter_map(|word| word.split_once('='));
    let mut settings: Vec<_> = settings.collect();
    // The last of the same name holds.
    settings.extend([("TLS_PORT", "0"), ("DELIVERY_MODE", "queue")]);
    let broker = Broker::start(&settings);
    let address = tls_address(&broker);
    let here = |line: String| line.replace("localhost:9443", &address);
    let output = shell(&here(printed("message-queue produce")));
    assert!(output.status.success(), "{output:?}");
    let consume = here(printed("message-queue consume"));
    let output = shell(&format!("{consume} --count 1"));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"hello\n");
    // By the name that was asked for, and by no other.
    let produce = here(printed("message-queue produce"));
    let named = |name: &str| shell(&format!("{produce} --server-name {name}"));
    assert!(named("broker.example").status.success());
    let output = named("other.example");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    // Nobody comes in without a certificate.
    let without = produce.split(" --cert").next().unwrap();
    let output = shell(&format!("{without} -m hello --confirm"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");

    let before = std::fs::read(made.join("ca.pem")).unwrap();
    let output = init(&made, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        format!(
            "error: {}: is there already; nothing is overwritten\n",
            made.join("ca.pem").display()
        )
    );
    assert_eq!(std::fs::read(made.join("ca.pem")).unwrap(), before);
    // Who only wants them to be there is content; but not with a part of them.
    let output = init(&made, &["--if-missing"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(std::fs::read(made.join("ca.pem")).unwrap(), before);
    std::fs::remove_file(made.join("client.key")).unwrap();
    assert_eq!(init(&made, &["--if-missing"]).status.code(), Some(1));
    let new = directory.path().join("new");
    assert!(init(&new, &["--if-missing"]).status.success());
    assert!(new.join("client.key").exists());
}
