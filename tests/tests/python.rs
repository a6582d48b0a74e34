//! The client in `examples/python`, which was written from PROTOCOL.md alone, against the real binary.

use message_queue_tests::process::{self, Broker};
use std::io::ErrorKind;
use std::process::{Command, Stdio};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/python");

/// Runs Python with these arguments; nothing where there is none. CI has one: its stage `python` says so.
fn python(args: &[&str]) {
    let mut command = Command::new("python3");
    command.args(["-X", "dev", "-W", "error", "-B"]).args(args);
    command.current_dir(DIRECTORY).stdin(Stdio::null());
    match command.output() {
        Ok(output) => {
            let [out, err] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
            assert!(output.status.success(), "{args:?}\n{out}\n{err}");
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("SKIPPED: python: there is no python3");
        }
        Err(error) => panic!("python3 does not start: {error}"),
    }
}

#[test]
fn the_client_does_what_the_protocol_promises() {
    let broker = Broker::start(&[("DELIVERY_MODE", "queue"), ("QUEUE_CAPACITY", "1000")]);
    python(&["test_message_queue.py", &broker.tcp().port().to_string()]);
}

#[test]
fn it_takes_nothing_for_safe_that_was_refused() {
    let settings = [
        ("DELIVERY_MODE", "queue"),
        ("QUEUE_CAPACITY", "1"),
        ("OVERFLOW", "reject"),
    ];
    let broker = Broker::start(&settings);
    python(&[
        "test_message_queue.py",
        &broker.tcp().port().to_string(),
        "what_was_refused_is_told_again",
    ]);
}

#[test]
fn it_is_one_short_file_that_needs_nothing_else() {
    let source = std::fs::read_to_string(format!("{DIRECTORY}/message_queue.py")).expect("there");
    assert!(source.lines().count() <= 300);
    let imports = source
        .lines()
        .filter(|line| line.starts_with("import ") || line.starts_with("from "));
    for import in imports {
        let module = import.split([' ', '.']).nth(1).expect("a module");
        python(&[
            "-c",
            &format!("import sys; assert {module:?} in sys.stdlib_module_names"),
        ]);
    }
}

/// The examples of its README, on a broker of their own.
#[test]
fn the_examples_of_its_readme_run() {
    let readme = std::fs::read_to_string(format!("{DIRECTORY}/README.md")).expect("there");
    let examples: Vec<&str> = readme.split("```python\n").skip(1).collect();
    let examples: Vec<&str> = examples
        .iter()
        .filter_map(|it| it.split("```").next())
        .collect();
    let [send, once, work, _tls] = examples[..] else {
        panic!("not four examples: {}", examples.len());
    };
    let broker = Broker::start(&[("DELIVERY_MODE", "queue"), ("QUEUE_CAPACITY", "20000")]);
    let port = broker.tcp().port().to_string();
    let here = |example: &str| example.replace("9080", &port);
    python(&["-c", &here(send)]);
    let directory = tempfile::tempdir().expect("a directory");
    let rows = directory.path().join("jobs.csv");
    std::fs::write(&rows, "a\nb\n").expect("it is written");
    let once = here(once).replace("jobs.csv", rows.to_str().expect("UTF-8"));
    // Twice: the second time everything is known.
    for _ in 0..2 {
        python(&[
            "-c",
            &inside(&once, "from message_queue import Producer", ""),
        ]);
    }
    // The group is there before its messages are. The example never ends by itself.
    let [import, work] = work.splitn(2, "\n\n").collect::<Vec<_>>()[..] else {
        panic!("an import, then the example");
    };
    let setup = "\
from message_queue import Producer

done = []

class Enough(Exception):
    pass

async def work(body):
    done.append(body)
    if body == b'last':
        raise Enough

async def prepare():
    async with Consumer('127.0.0.1', 9080, topic='jobs', group='workers'):
        pass
    async with Producer('127.0.0.1', 9080, topic='jobs') as producer:
        await producer.send(b'first')
        await producer.send(b'last')

asyncio.run(prepare())
";
    let program = inside(work, import, setup).replace(
        "asyncio.run(main())",
        "try:\n    asyncio.run(main())\nexcept Enough:\n    assert done == [b'first', b'last'], done\nelse:\n    raise AssertionError",
    );
    python(&["-c", &here(&program)]);
}

/// The example of its README with TLS, and a consumer beside the producer.
#[test]
fn it_speaks_tls() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| {
        let path = directory.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    };
    let made = process::run(["tls", "init", &path("")], &[]);
    assert!(made.status.success(), "{made:?}");
    let broker = Broker::start(&[
        ("DELIVERY_MODE", "queue"),
        ("TLS_PORT", "0"),
        ("TLS_CERT_FILE", &path("server.pem")),
        ("TLS_KEY_FILE", &path("server.key")),
        ("TLS_CLIENT_AUTH", "required"),
        ("TLS_CLIENT_CA_FILE", &path("ca.pem")),
    ]);
    let listening = broker.wait_for_log(|line| line["message"] == "listening");
    let address = listening["tls_address"].as_str().expect("an address");
    let (_, port) = address.rsplit_once(':').expect("a port");
    let readme = std::fs::read_to_string(format!("{DIRECTORY}/README.md")).expect("there");
    let (_, example) = readme
        .split_once("```python\nimport asyncio, ssl\n")
        .expect("TLS");
    let (send, _) = example.split_once("```").expect("an end");
    let send = format!("import asyncio, ssl\n{send}");
    let here = |program: &str| {
        program
            .replace("certificates/", &path(""))
            .replace("9443", port)
    };
    python(&["-c", &here(&send)]);
    let take = send
        .replace("import Producer", "import Consumer")
        .replace("Producer(", "Consumer(")
        .replace("as producer", "as consumer")
        .replace(
            "await producer.send(b\"hello\")",
            "message = await consumer.__aiter__().__anext__()
        assert message.body == b'hello', message
        assert consumer.settle(message)",
        );
    python(&["-c", &here(&take)]);
    // Whom it does not trust it does not try again and again.
    let other = tempfile::tempdir().expect("a directory");
    let other = other.path().to_str().expect("UTF-8");
    let made = process::run(["tls", "init", other], &[]);
    assert!(made.status.success(), "{made:?}");
    let program = here(&send).replace(&path("ca.pem"), &format!("{other}/ca.pem"));
    let (before, run) = program
        .split_once("asyncio.run(main())")
        .expect("it runs at the end");
    python(&[
        "-c",
        &format!(
            "{before}try:\n    asyncio.run(main())\nexcept ssl.SSLCertVerificationError:\n    pass\n\
             else:\n    raise SystemExit('it was trusted')\n{run}"
        ),
    ]);
}

/// An example that stands inside of an `async def`, as a program.
fn inside(example: &str, import: &str, before: &str) -> String {
    let body: String = example
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    format!("import asyncio\n{import}\n{before}\nasync def main():\n{body}\nasyncio.run(main())\n")
}
