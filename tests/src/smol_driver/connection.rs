//! One connection, as the broker's task holds it: the write side, and the leash of its reader.

use super::Socket;
use message_queue_core::{CloseReason, Write};
use smol::Task;
use smol::channel::Sender;
use socket2::SockRef;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write as _};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

/// One connection.
pub(super) struct Connection {
    socket: Socket,
    /// What the socket has not taken of the write in flight. No piece is empty.
    unwritten: VecDeque<bytes::Bytes>,
    /// How many bytes it has taken in all.
    written: u64,
    /// Waits until the socket takes bytes again. Dropped, it waits no more.
    waiting: Option<Task<()>>,
    /// Reads. Dropped, it ends, wherever it stands.
    _reading: Task<()>,
    /// Lets the reader read on after a batch.
    go_on: Sender<()>,
    /// The reader has handed over a batch and waits for leave to read on.
    reader_waits: bool,
    /// The core does not want to hear from this producer.
    paused: bool,
    /// Its peer was told why it is closed: it need not see a reset.
    was_told_the_last: bool,
}

/// How a write went.
pub(super) enum Progress {
    /// All of it was taken.
    Done,
    /// The socket takes no more for now.
    WouldBlock,
    /// The connection is broken.
    Failed,
}

impl Connection {
    pub(super) const fn new(socket: Socket, go_on: Sender<()>, reading: Task<()>) -> Self {
        Self {
            socket,
            unwritten: VecDeque::new(),
            written: 0,
            waiting: None,
            _reading: reading,
            go_on,
            reader_waits: false,
            paused: false,
            was_told_the_last: false,
        }
    }

    pub(super) fn socket(&self) -> Socket {
        Arc::clone(&self.socket)
    }

    /// Takes note of what is to be written.
    pub(super) fn start(&mut self, write: Write) {
        debug_assert!(self.unwritten.is_empty(), "one write at a time");
        self.unwritten = write
            .pieces()
            .iter()
            .map(|piece| piece.as_bytes().clone())
            .collect();
    }

    /// Writes what the socket takes without waiting. Returns how many bytes it has taken in all.
    pub(super) fn write(&mut self) -> (u64, Progress) {
        while !self.unwritten.is_empty() {
            match self.write_once() {
                Ok(0) => return (self.written, Progress::Failed),
                Ok(bytes) => self.written += bytes as u64,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return (self.written, Progress::WouldBlock);
                }
                Err(_) => return (self.written, Progress::Failed),
            }
        }
        (self.written, Progress::Done)
    }

    fn write_once(&mut self) -> io::Result<usize> {
        let slices: Vec<_> = self
            .unwritten
            .iter()
            .map(|piece| IoSlice::new(piece))
            .collect();
        let taken = self.socket.get_ref().write_vectored(&slices)?;
        let mut left = taken;
        while let Some(piece) = self.unwritten.front_mut() {
            if left < piece.len() {
                drop(piece.split_to(left));
                break;
            }
            left -= piece.len();
            self.unwritten.pop_front();
        }
        Ok(taken)
    }

    pub(super) fn set_waiting(&mut self, waiting: Task<()>) {
        self.waiting = Some(waiting);
    }

    /// The core has seen the batch that the reader handed over.
    pub(super) fn batch_taken(&mut self) {
        self.reader_waits = true;
        self.let_read();
    }

    pub(super) fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
        self.let_read();
    }

    fn let_read(&mut self) {
        if self.reader_waits && !self.paused {
            self.reader_waits = false;
            // There is room for one, and no more than one is ever asked for.
            let _ = self.go_on.try_send(());
        }
    }

    /// Tells the peer the last, if its socket takes that now and nothing is on its way before it.
    pub(super) fn say_farewell(&mut self, bytes: &[u8]) {
        if self.unwritten.is_empty() {
            let told = self.socket.get_ref().write(bytes);
            self.was_told_the_last = told.is_ok_and(|told| told == bytes.len());
        }
    }

    /// Ends the connection. In an orderly end what the socket has taken still goes out; every other
    /// is a reset. Returns how much it has taken in all.
    pub(super) fn close(self, reason: CloseReason) -> u64 {
        // It fails if the peer is gone, and then there is nobody to be told.
        if reason.is_orderly() || self.was_told_the_last {
            let _ = self.socket.get_ref().shutdown(Shutdown::Write);
        } else {
            let _ = SockRef::from(self.socket.get_ref()).set_linger(Some(Duration::ZERO));
        }
        self.written
    }
}
