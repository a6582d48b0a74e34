//! A broker to put under load.

use crate::job::Job;
use crate::reader::Reader;
use std::env;
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// How long a server may take to come up, in hundredths of a second.
const PATIENCE: usize = 1000;

/// How much a producer writes in one go, in bytes, unless one message is larger.
const WRITE_BYTES: usize = 256 << 10;

/// A broker that runs, and how its clients talk.
pub(crate) trait Server {
    /// Its process.
    fn pid(&self) -> u32;

    /// A consumer that gets what is published from now on.
    fn consumer(&self, job: &Job) -> TcpStream;

    /// A producer, and what it writes again and again.
    fn producer(&self, job: &Job) -> (TcpStream, Batch);

    /// What its consumers do with what they receive.
    fn reader(&self, job: &Job) -> Reader;
}

/// Messages as a producer writes them.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) messages: u64,
}

impl Batch {
    /// As many pieces as one write holds, each with so many messages.
    pub(crate) fn of(piece: &[u8], messages: u64) -> Self {
        let count = (WRITE_BYTES / piece.len()).max(1);
        Self {
            bytes: piece.repeat(count),
            messages: messages * count as u64,
        }
    }
}

/// A process of another broker. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    addr: SocketAddr,
}

impl Process {
    /// Starts `command`, made for a port of its own, and waits until it can be connected to.
    pub(crate) fn start(command: impl FnOnce(u16) -> Command) -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let addr = free.local_addr().expect("an address");
        drop(free);
        let child = command(addr.port())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it was found");
        let process = Self { child, addr };
        for _ in 0..PATIENCE {
            match TcpStream::connect(addr) {
                Ok(_) => return process,
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    thread::park_timeout(Duration::from_millis(10));
                }
                Err(error) => panic!("cannot connect: {error}"),
            }
        }
        panic!("it does not listen on {addr}")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).expect("it listens");
        stream.set_nodelay(true).expect("a TCP socket");
        stream
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program that `variable` names, or else `name` from the `PATH`; none if there is none.
pub(crate) fn find(variable: &str, name: &str) -> Option<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        return Some(path.into());
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}

/// What the program answers to `--version`.
pub(crate) fn version(program: &PathBuf) -> String {
    let output = Command::new(program).arg("--version").output();
    let output = output.expect("it was found");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A folder of its own for a server. `TMPDIR` says on which disk.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Reads until what was read ends in `end`.
pub(crate) fn read_until(stream: &mut TcpStream, end: &[u8]) {
    let mut answer = Vec::new();
    while !answer.ends_with(end) {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        answer.extend(byte);
    }
}
