//! NATS JetStream: a stream, in memory or synced after each message, whose messages go when every consumer has acknowledged them, a push
//! consumer for each subscriber or one for all members of a queue group, explicit acknowledgements.

use super::{Acked, BATCH, Buffer, Consumer, Producer, WINDOW, line};
use crate::job::{Delivery, Job};
use crate::server::{self, Process};
use std::fs;
use std::io::{self, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

pub(crate) struct JetStream {
    process: Process,
    /// Where it stores messages.
    _folder: TempDir,
}

impl JetStream {
    pub(crate) fn start(program: &PathBuf, job: &Job) -> Self {
        let folder = server::folder();
        let config = folder.path().join("nats.conf");
        let store = folder.path().join("store");
        let settings = format!(
            "jetstream {{ store_dir: {:?}, sync_interval: always }}\n",
            store.display()
        );
        fs::write(&config, settings).expect("a temporary file");
        let process = Process::start(|port| {
            let mut command = Command::new(program);
            command
                .args(["--addr", "127.0.0.1", "--port", &port.to_string()])
                .arg("--config")
                .arg(config);
            command
        });
        let server = Self {
            process,
            _folder: folder,
        };
        let mut stream = server.connect();
        let retention = match job.delivery {
            Delivery::Broadcast => "interest",
            Delivery::Queue => "workqueue",
        };
        let storage = if job.stored { "file" } else { "memory" };
        let config = format!(
            "{{\"name\":\"S\",\"subjects\":[\"b\"],\"storage\":\"{storage}\",\"retention\":\"{retention}\"}}"
        );
        request(&mut stream, "$JS.API.STREAM.CREATE.S", &config);
        let consumers = match job.delivery {
            Delivery::Broadcast => job.consumers,
            Delivery::Queue => 1,
        };
        for number in 0..consumers {
            let group = match job.delivery {
                Delivery::Broadcast => "",
                Delivery::Queue => ",\"deliver_group\":\"g\"",
            };
            // A group's window is that of all its members together.
            let pending = match job.delivery {
                Delivery::Broadcast => WINDOW,
                Delivery::Queue => WINDOW * job.consumers as u64,
            };
            let config = format!(
                "{{\"stream_name\":\"S\",\"config\":{{\"durable_name\":\"c{number}\",\
                 \"deliver_subject\":\"d{number}\",\"ack_policy\":\"explicit\",\
                 \"max_ack_pending\":{pending}{group}}}}}"
            );
            let subject = format!("$JS.API.CONSUMER.DURABLE.CREATE.S.c{number}");
            request(&mut stream, &subject, &config);
        }
        server
    }

    /// A client that the server has heard out.
    fn connect(&self) -> TcpStream {
        let mut stream = self.process.connect();
        let hello = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n";
        stream.write_all(hello.as_bytes()).expect("it reads");
        server::read_until(&mut stream, b"PONG\r\n");
        stream
    }
}

/// Asks the server for something, and waits for a good answer.
fn request(stream: &mut TcpStream, subject: &str, body: &str) {
    let asked = format!(
        "SUB r 9\r\nPUB {subject} r {}\r\n{body}\r\nUNSUB 9 1\r\n",
        body.len()
    );
    stream.write_all(asked.as_bytes()).expect("it reads");
    let mut buffer = Buffer::new();
    let mut answer = None;
    while answer.is_none() {
        let read = buffer.read(stream, |bytes| {
            walk(bytes, |_, body| answer = Some(body.to_vec()))
        });
        read.expect("an answer");
    }
    let answer = String::from_utf8_lossy(&answer.unwrap_or_default()).into_owned();
    assert!(!answer.contains("\"error\""), "{subject}: {answer}");
}

impl Acked for JetStream {
    fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn producer(&self, job: &Job) -> Box<dyn Producer> {
        let mut stream = self.connect();
        stream.write_all(b"SUB a 1\r\n").expect("it reads");
        let mut message = format!("PUB b a {}\r\n", job.size).into_bytes();
        message.resize(message.len() + job.size, b'x');
        message.extend(b"\r\n");
        Box::new(Client {
            stream,
            buffer: Buffer::new(),
            out: message.repeat(usize::try_from(BATCH).expect("it is small")),
        })
    }

    fn consumer(&self, job: &Job, number: usize) -> Box<dyn Consumer> {
        let mut stream = self.connect();
        let subscribe = match job.delivery {
            Delivery::Broadcast => format!("SUB d{number} 1\r\nPING\r\n"),
            Delivery::Queue => "SUB d0 g 1\r\nPING\r\n".to_owned(),
        };
        stream.write_all(subscribe.as_bytes()).expect("it reads");
        server::read_until(&mut stream, b"PONG\r\n");
        Box::new(Client {
            stream,
            buffer: Buffer::new(),
            out: Vec::new(),
        })
    }
}

/// A producer, with what it writes again and again, or a consumer, with its acknowledgements.
struct Client {
    stream: TcpStream,
    buffer: Buffer,
    out: Vec<u8>,
}

impl Producer for Client {
    fn send(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.out)
    }

    fn confirmed(&mut self) -> io::Result<u64> {
        let mut confirmed = 0;
        self.buffer.read(&mut self.stream, |bytes| {
            walk(bytes, |_, body| {
                let text = String::from_utf8_lossy(body);
                assert!(!text.contains("\"error\""), "{text}");
                confirmed += 1;
            })
        })?;
        Ok(confirmed)
    }
}

impl Consumer for Client {
    fn take(&mut self) -> io::Result<u64> {
        let mut messages = 0;
        self.out.clear();
        let out = &mut self.out;
        self.buffer.read(&mut self.stream, |bytes| {
            walk(bytes, |reply, _| {
                out.extend(b"PUB ");
                out.extend(reply);
                out.extend(b" 0\r\n\r\n");
                messages += 1;
            })
        })?;
        self.stream.write_all(&self.out)?;
        Ok(messages)
    }
}

/// Shows the reply subject and the body of each whole message at the front of some bytes. Returns how long
/// that is, other lines included.
fn walk(bytes: &[u8], mut each: impl FnMut(&[u8], &[u8])) -> usize {
    let mut done = 0;
    while let Some((head, length)) = line(&bytes[done..]) {
        let Some(words) = head.strip_prefix(b"MSG ") else {
            assert!(
                !head.starts_with(b"-ERR"),
                "{}",
                String::from_utf8_lossy(head)
            );
            done += length;
            continue;
        };
        // Subject, subscription, reply if there is one, size.
        let mut words = words.rsplit(|byte| *byte == b' ');
        let size = words.next().and_then(|size| str::from_utf8(size).ok());
        let size: usize = size.and_then(|size| size.parse().ok()).expect("a size");
        let reply = words.next().unwrap_or(b"");
        let body = done + length;
        let Some(content) = bytes.get(body..body + size + 2) else {
            break;
        };
        each(reply, &content[..size]);
        done = body + size + 2;
    }
    done
}
