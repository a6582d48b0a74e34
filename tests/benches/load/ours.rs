//! This broker.

use crate::job::{Delivery, Job};
use crate::reader::Reader;
use crate::server::{self, Batch, Server};
use message_queue_tests::frames::frames;
use message_queue_tests::process::{self, Broker};
use std::net::TcpStream;
use std::process::Command;
use tempfile::TempDir;

/// The largest message with its length: with `OVERFLOW=block` the least room for each consumer.
const MAX_FRAME: usize = (1 << 20) + 4;

/// The default of `BROKER_BYTES`.
const BROKER_BYTES: usize = 512 << 20;

/// This broker with its defaults, but for what the job says.
#[derive(Debug)]
pub(crate) struct Ours {
    broker: Broker,
    /// Where it stores messages.
    _folder: TempDir,
}

impl Ours {
    pub(crate) fn start(job: &Job) -> Self {
        let consumers = job.consumers + job.stuck;
        let delivery = match job.delivery {
            Delivery::Broadcast => "broadcast",
            Delivery::Queue => "queue",
        };
        let overflow = if job.drops { "drop" } else { "block" };
        // For each consumer one read on its way, and one that waits.
        let broker_bytes = BROKER_BYTES.max(2 * consumers * MAX_FRAME);
        let (consumers, broker_bytes) = (consumers.to_string(), broker_bytes.to_string());
        let mut settings = vec![
            ("DELIVERY_MODE", delivery),
            ("OVERFLOW", overflow),
            ("MAX_CONSUMERS", &consumers),
            ("BROKER_BYTES", &broker_bytes),
        ];
        if job.drops {
            // So that BACKLOG_BYTES is the bound that counts, whatever the size of the messages.
            settings.push(("CONSUMER_CHANNEL_BUFFER_SIZE", "1000000"));
        }
        let folder = server::folder();
        let data = folder.path().join("data");
        let data = data.to_str().expect("the name of a temporary folder");
        if job.stored {
            settings.extend([("STORAGE", "disk"), ("DATA_DIR", data)]);
        }
        Self {
            broker: Broker::start(&settings),
            _folder: folder,
        }
    }

    /// A connection that has sent its role line.
    pub(crate) fn connect(&self, line: &str) -> TcpStream {
        self.broker.connect_with(line.as_bytes())
    }

    pub(crate) fn version() -> String {
        let output = Command::new(process::binary()).arg("--version").output();
        let output = output.expect("the binary starts");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Server for Ours {
    fn pid(&self) -> u32 {
        self.broker.pid()
    }

    fn consumer(&self, _: &Job) -> TcpStream {
        self.broker.consumer()
    }

    fn producer(&self, job: &Job) -> (TcpStream, Batch) {
        let batch = Batch::of(&frames([vec![b'x'; job.size]]), 1);
        (self.broker.producer(), batch)
    }

    fn reader(&self, job: &Job) -> Reader {
        Reader::Bytes {
            of_message: 4 + job.size,
        }
    }
}
