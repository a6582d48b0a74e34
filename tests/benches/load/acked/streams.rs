//! Redis streams: `XADD`, `XREADGROUP` and `XACK`. A group for each consumer, or one for all of them.

use super::{Acked, BATCH, Buffer, Consumer, Producer, WINDOW, line};
use crate::job::{Delivery, Job};
use crate::redis::command;
use crate::server::{self, Process};
use std::io::{self, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

pub(crate) struct Streams {
    process: Process,
    /// Where it stores messages.
    _folder: TempDir,
}

/// How many messages the stream keeps at the least; Redis does not drop what was acknowledged by itself.
const KEPT: &[u8] = b"100000";

/// How much one request asks for, in bytes.
const ANSWER: u64 = 256 << 10;

impl Streams {
    pub(crate) fn start(program: &PathBuf, job: &Job) -> Self {
        let folder = server::folder();
        let process = Process::start(|port| {
            let mut command = Command::new(program);
            command
                .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
                .args(["--save", "", "--dir"])
                .arg(folder.path());
            if job.stored {
                command.args(["--appendonly", "yes", "--appendfsync", "always"]);
            } else {
                command.args(["--appendonly", "no"]);
            }
            command
        });
        let mut stream = process.connect();
        for number in 0..job.consumers {
            let create: [&[u8]; 6] = [
                b"XGROUP",
                b"CREATE",
                b"s",
                &*group(job, number),
                b"$",
                b"MKSTREAM",
            ];
            stream.write_all(&command(&create)).expect("it reads");
            server::read_until(&mut stream, b"\r\n");
        }
        Self {
            process,
            _folder: folder,
        }
    }
}

/// The group of a consumer.
fn group(job: &Job, number: usize) -> Vec<u8> {
    match job.delivery {
        Delivery::Broadcast => format!("g{number}"),
        Delivery::Queue => "g".to_owned(),
    }
    .into_bytes()
}

impl Acked for Streams {
    fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn producer(&self, job: &Job) -> Box<dyn Producer> {
        let body = vec![b'x'; job.size];
        let add = command(&[b"XADD", b"s", b"MAXLEN", b"~", KEPT, b"*", b"f", &body]);
        Box::new(Adding {
            stream: self.process.connect(),
            buffer: Buffer::new(),
            batch: add.repeat(usize::try_from(BATCH).expect("it is small")),
        })
    }

    fn consumer(&self, job: &Job, number: usize) -> Box<dyn Consumer> {
        let (group, name) = (group(job, number), format!("c{number}"));
        // An answer is parsed when it is whole, so it is no longer than what ours reads at a time.
        let count = (ANSWER / job.size as u64).clamp(1, WINDOW).to_string();
        let words: [&[u8]; 11] = [
            b"XREADGROUP",
            b"GROUP",
            &group,
            name.as_bytes(),
            b"COUNT",
            count.as_bytes(),
            b"BLOCK",
            b"0",
            b"STREAMS",
            b"s",
            b">",
        ];
        let request = command(&words);
        let mut stream = self.process.connect();
        stream.write_all(&request).expect("it reads");
        Box::new(Reading {
            stream,
            buffer: Buffer::new(),
            request,
            group,
            body: job.size,
        })
    }
}

struct Adding {
    stream: TcpStream,
    buffer: Buffer,
    batch: Vec<u8>,
}

impl Producer for Adding {
    fn send(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.batch)
    }

    fn confirmed(&mut self) -> io::Result<u64> {
        let mut confirmed = 0;
        self.buffer.read(&mut self.stream, |bytes| {
            // Of each message the number under which it stands: a line with its length, and a line.
            let mut done = 0;
            while let Some((head, first)) = line(&bytes[done..])
                && let Some((_, second)) = line(&bytes[done + first..])
            {
                assert!(head.starts_with(b"$"), "{}", String::from_utf8_lossy(head));
                done += first + second;
                confirmed += 1;
            }
            done
        })?;
        Ok(confirmed)
    }
}

struct Reading {
    stream: TcpStream,
    buffer: Buffer,
    request: Vec<u8>,
    group: Vec<u8>,
    body: usize,
}

impl Consumer for Reading {
    fn take(&mut self) -> io::Result<u64> {
        let Self { body, group, .. } = self;
        let mut out = Vec::new();
        let mut messages = 0;
        self.buffer.read(&mut self.stream, |bytes| {
            let mut done = 0;
            while let Some((ids, length)) = answer(&bytes[done..], *body) {
                done += length;
                if ids.is_empty() {
                    continue;
                }
                messages += ids.len() as u64;
                let mut words: Vec<&[u8]> = vec![b"XACK", b"s", group];
                words.extend(ids);
                out.extend(command(&words));
                out.extend(&self.request);
            }
            done
        })?;
        self.stream.write_all(&out)?;
        Ok(messages)
    }
}

/// The numbers of the messages in a whole answer, none if it is that of an `XACK`, and how long it is.
fn answer(bytes: &[u8], body: usize) -> Option<(Vec<&[u8]>, usize)> {
    let (head, mut done) = line(bytes)?;
    if head.starts_with(b":") {
        return Some((Vec::new(), done));
    }
    // One stream: its name, then its messages.
    assert_eq!(head, b"*1", "{}", String::from_utf8_lossy(head));
    let mut next = || {
        let (text, length) = line(bytes.get(done..)?)?;
        done += length;
        Some(text)
    };
    for expected in [&b"*2"[..], b"$1", b"s"] {
        assert_eq!(next()?, expected);
    }
    let count = next()?.strip_prefix(b"*").expect("how many");
    let count = str::from_utf8(count).ok()?.parse().ok()?;
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        assert_eq!(next()?, b"*2");
        next()?;
        ids.push(next()?);
        for expected in [&b"*2"[..], b"$1", b"f"] {
            assert_eq!(next()?, expected);
        }
        next()?;
        assert_eq!(next()?.len(), body);
    }
    Some((ids, done))
}
