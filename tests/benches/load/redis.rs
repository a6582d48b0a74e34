//! Redis: `PUBLISH` to a channel's subscribers; as a queue, a list that is pushed to and popped
//! from many messages at a time, which is the cheapest way it has.

use crate::job::{Delivery, Job};
use crate::reader::Reader;
use crate::server::{self, Batch, Process, Server};
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

/// How many messages one push or pop takes at the most.
const OF_LIST: usize = 64;

/// Redis without files, and without the bound on what waits for a subscriber: beyond it Redis
/// disconnects, and it has no way to hold publishers back.
#[derive(Debug)]
pub(crate) struct Redis {
    process: Process,
}

impl Redis {
    pub(crate) fn program() -> Option<PathBuf> {
        server::find("REDIS_SERVER", "redis-server")
    }

    pub(crate) fn start(program: &PathBuf) -> Self {
        let process = Process::start(|port| {
            let mut command = Command::new(program);
            command
                .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
                .args(["--save", "", "--appendonly", "no"])
                .args(["--client-output-buffer-limit", "pubsub 0 0 0"]);
            command
        });
        Self { process }
    }
}

impl Server for Redis {
    fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn consumer(&self, job: &Job) -> TcpStream {
        let mut stream = self.process.connect();
        match job.delivery {
            Delivery::Broadcast => {
                let subscribe = command(&[b"SUBSCRIBE", b"b"]);
                stream.write_all(&subscribe).expect("it reads");
                server::read_until(&mut stream, b":1\r\n");
            }
            // It asks for messages when the run begins.
            Delivery::Queue => {}
        }
        stream
    }

    fn producer(&self, job: &Job) -> (TcpStream, Batch) {
        let mut stream = self.process.connect();
        let silence = command(&[b"CLIENT", b"REPLY", b"OFF"]);
        stream.write_all(&silence).expect("it reads");
        let body = vec![b'x'; job.size];
        let batch = match job.delivery {
            Delivery::Broadcast => Batch::of(&command(&[b"PUBLISH", b"b", &body]), 1),
            Delivery::Queue => {
                let mut words: Vec<&[u8]> = vec![b"RPUSH", b"b"];
                words.resize(words.len() + OF_LIST, &body);
                Batch::of(&command(&words), OF_LIST as u64)
            }
        };
        (stream, batch)
    }

    fn reader(&self, job: &Job) -> Reader {
        let body = format!("${}\r\n", job.size).len() + job.size + 2;
        match job.delivery {
            Delivery::Broadcast => {
                let head = b"*3\r\n$7\r\nmessage\r\n$1\r\nb\r\n";
                Reader::Bytes {
                    of_message: head.len() + body,
                }
            }
            Delivery::Queue => {
                let count = OF_LIST.to_string();
                let words = ["BLMPOP", "0", "1", "b", "LEFT", "COUNT", &count];
                Reader::Lists {
                    request: command(&words.map(str::as_bytes)),
                    head: b"*2\r\n$1\r\nb\r\n*",
                    of_message: body,
                }
            }
        }
    }
}

/// A command in Redis's protocol: how many words, then each with its length.
pub(crate) fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend(*word);
        bytes.extend(b"\r\n");
    }
    bytes
}
