//! NATS: `PUB` to a subject; `MSG` to each subscriber, or to one member of a queue group.

use crate::job::{Delivery, Job};
use crate::reader::Reader;
use crate::server::{self, Batch, Process, Server};
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

/// What a client tells when it connects: no answer to each message, nothing checked that need not
/// be.
const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false}\r\n";

/// NATS with its defaults.
#[derive(Debug)]
pub(crate) struct Nats {
    process: Process,
}

impl Nats {
    pub(crate) fn program() -> Option<PathBuf> {
        server::find("NATS_SERVER", "nats-server")
    }

    pub(crate) fn start(program: &PathBuf) -> Self {
        let process = Process::start(|port| {
            let mut command = Command::new(program);
            command.args(["--addr", "127.0.0.1", "--port", &port.to_string()]);
            command
        });
        Self { process }
    }

    /// A client that the server has heard out.
    fn connect(&self, also: &str) -> TcpStream {
        let mut stream = self.process.connect();
        write!(stream, "{CONNECT}{also}PING\r\n").expect("it reads");
        server::read_until(&mut stream, b"PONG\r\n");
        stream
    }
}

impl Server for Nats {
    fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn consumer(&self, job: &Job) -> TcpStream {
        self.connect(match job.delivery {
            Delivery::Broadcast => "SUB b 1\r\n",
            Delivery::Queue => "SUB b group 1\r\n",
        })
    }

    fn producer(&self, job: &Job) -> (TcpStream, Batch) {
        let mut message = format!("PUB b {}\r\n", job.size).into_bytes();
        message.resize(message.len() + job.size, b'x');
        message.extend(b"\r\n");
        (self.connect(""), Batch::of(&message, 1))
    }

    fn reader(&self, job: &Job) -> Reader {
        let head = format!("MSG b 1 {}\r\n", job.size);
        Reader::Bytes {
            of_message: head.len() + job.size + 2,
        }
    }
}
