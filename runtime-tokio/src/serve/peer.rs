//! The write side of one connection: shared by its own task and by whoever feeds the core.

use super::pacing::Line;
use super::tally::{self, Tally};
use crate::access::Credential;
use bytes::Bytes;
use message_queue_core::access::Principal;
use message_queue_core::names::Name;
use message_queue_core::wire::Role;
use message_queue_core::{CloseReason, ConnId, Count, Write};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// The longest that the orderly end of a stream may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The most slices passed to the kernel in one call.
const MAX_SLICES: usize = 64;

/// One connection, as the driver knows it.
pub(crate) struct Peer {
    pub(crate) conn: ConnId,
    pub(crate) addr: SocketAddr,
    role: OnceLock<Role>,
    /// Who it is, where the broker asks.
    identity: Mutex<Option<Identity>>,
    /// Where it stands while it is not to be read from: a producer's, where producers are paced.
    line: OnceLock<Arc<Line>>,
    /// What came from it, and what its socket has taken of writes that are done.
    pub(crate) tally: Tally,
    side: Mutex<WriteSide>,
}

struct WriteSide {
    stream: Box<dyn AsyncWrite + Unpin + Send>,
    /// The write in flight, as far as the socket has not taken it.
    write: Option<Unwritten>,
    /// How many bytes the socket has taken in all.
    written: u64,
    /// The last that the peer is told, when it is closed.
    farewell: Option<Bytes>,
    /// Wakes the connection's own task.
    task: Option<Waker>,
    status: Status,
}

/// What the core has said of this connection, and what its socket has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Status {
    /// The producer is not to be read from.
    pub(crate) paused: bool,
    /// The connection has ended: its socket is sealed.
    pub(crate) closed: Option<CloseReason>,
    /// A write failed; the core has yet to be told.
    pub(crate) failed: bool,
    /// A deadline has come, or will soon: the socket is to be looked at before it is judged.
    pub(crate) overdue: bool,
}

/// Who a peer is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// What it has shown.
    pub(crate) credential: Credential,
    /// Whom the core takes it for; none: for nobody yet, or any more.
    pub(crate) principal: Option<Principal>,
}

/// How far a write has come.
struct Unwritten {
    write: Write,
    /// The first piece that the socket has not taken whole.
    piece: usize,
    /// How many bytes of that piece it has taken.
    offset: usize,
}

impl Peer {
    pub(crate) fn new(
        conn: ConnId,
        addr: SocketAddr,
        stream: impl AsyncWrite + Unpin + Send + 'static,
    ) -> Self {
        let stream = Box::new(stream);
        let side = WriteSide {
            stream,
            write: None,
            written: 0,
            farewell: None,
            task: None,
            status: Status::default(),
        };
        Self {
            conn,
            addr,
            role: OnceLock::new(),
            identity: Mutex::default(),
            line: OnceLock::new(),
            tally: Tally::new(),
            side: Mutex::new(side),
        }
    }

    /// Its role, once it has taken one up.
    pub(crate) fn role(&self) -> Option<Role> {
        self.role.get().copied()
    }

    /// Notes its role, which is for life.
    pub(crate) fn set_role(&self, role: Role) {
        self.role.get_or_init(|| role);
    }

    /// Who it is, where the broker asks and it has said so.
    pub(crate) fn identity(&self) -> Option<Identity> {
        let identity = self.identity.lock();
        identity.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whom the core takes it for, where the broker asks.
    pub(crate) fn principal(&self) -> Option<Name> {
        let identity = self.identity.lock();
        let identity = identity.unwrap_or_else(PoisonError::into_inner);
        Some(identity.as_ref()?.principal.as_ref()?.name.clone())
    }

    /// Notes who it is.
    pub(crate) fn set_identity(&self, new: Identity) {
        let identity = self.identity.lock();
        *identity.unwrap_or_else(PoisonError::into_inner) = Some(new);
    }

    pub(crate) fn line(&self) -> Option<&Arc<Line>> {
        self.line.get()
    }

    /// Notes where it stands, which is for life.
    pub(crate) fn set_line(&self, line: Option<Arc<Line>>) {
        if let Some(line) = line {
            self.line.get_or_init(|| line);
        }
    }

    /// The messages that came from it, or that its socket has taken whole.
    pub(crate) fn moved(&self) -> Count {
        let mut moved = self.tally.moved();
        if let Some(unwritten) = &self.side().write {
            moved += unwritten.whole();
        }
        moved
    }

    /// Starts a write and takes it as far as the socket goes without waiting; the connection's own
    /// task goes on with it when the socket is ready again. Returns how many bytes the socket has
    /// taken in all, if it took any.
    pub(crate) fn start(&self, write: Write) -> Option<u64> {
        let mut side = self.side();
        debug_assert!(side.write.is_none(), "one write at a time");
        if side.status.closed.is_some() || side.status.failed {
            return None;
        }
        side.write = Some(Unwritten {
            write,
            piece: 0,
            offset: 0,
        });
        // It is the connection's task that waits for the socket, not whoever is here now.
        let task = side.task.clone()?;
        side.flush(&mut Context::from_waker(&task), &self.tally)
    }

    /// Goes on with the write in flight. For the connection's own task, which is woken when the
    /// socket is ready or its status changes. Returns how many bytes the socket has taken in all,
    /// if it took any now, and the status.
    pub(crate) fn flush(&self, cx: &mut Context<'_>) -> (Option<u64>, Status) {
        let mut side = self.side();
        if side
            .task
            .as_ref()
            .is_none_or(|task| !task.will_wake(cx.waker()))
        {
            side.task = Some(cx.waker().clone());
        }
        let written = side.flush(cx, &self.tally);
        (written, side.status)
    }

    /// Has the connection's task look at its socket, because a deadline has come.
    pub(crate) fn set_overdue(&self) {
        self.change(|status| status.overdue = true);
    }

    /// Goes on with the write in flight, if there is one, by `write_now`, which does not wait to be
    /// told that the socket is ready. Returns how many bytes the socket has taken in all, if it took
    /// any now.
    pub(crate) fn flush_overdue(
        &self,
        mut write_now: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> Option<u64> {
        let mut side = self.side();
        side.status.overdue = false;
        let before = side.written;
        while side.status.closed.is_none()
            && let Some(unwritten) = &side.write
        {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            match write_now(unwritten.slices(&mut slices)) {
                Ok(bytes) if bytes > 0 => side.took(bytes, &self.tally),
                // If it fails, the next write the usual way fails too, and is seen.
                Ok(_) | Err(_) => break,
            }
        }
        (side.written > before).then_some(side.written)
    }

    /// Makes sure that the socket takes nothing more. Returns how many bytes it has taken in all.
    ///
    /// A farewell follows later, unless the socket would have to wait for the write before it.
    pub(crate) fn seal(&self, reason: CloseReason, farewell: Option<Bytes>) -> u64 {
        let (written, task) = {
            let mut side = self.side();
            if farewell.is_some()
                && let Some(task) = side.task.clone()
            {
                side.flush(&mut Context::from_waker(&task), &self.tally);
            }
            side.status.closed = Some(reason);
            match side.write.take() {
                Some(unwritten) => self.tally.add(unwritten.whole()),
                None => side.farewell = farewell,
            }
            (side.written, side.task.clone())
        };
        if let Some(task) = task {
            task.wake();
        }
        written
    }

    /// The last that the peer is to be told, if there is anything.
    pub(crate) fn take_farewell(&self) -> Option<Bytes> {
        self.side().farewell.take()
    }

    /// Whether the core has said that it is not to be read from.
    pub(crate) fn is_paused(&self) -> bool {
        self.side().status.paused
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        self.change(|status| status.paused = paused);
    }

    /// Wakes the connection's task, so that it looks again.
    pub(crate) fn wake(&self) {
        self.change(|_| ());
    }

    /// Ends the stream in an orderly way: what the socket has taken still goes out. A peer that
    /// does not let it come to its end within [`CLOSE_TIMEOUT`] is not waited for.
    pub(crate) async fn shutdown(&self) {
        let mut stream = self.take_stream();
        // The peer may be gone already; then there is nobody to be orderly with.
        let _ = timeout(CLOSE_TIMEOUT, stream.shutdown()).await;
    }

    /// Tells the peer the last, and ends the stream in an orderly way.
    pub(crate) async fn say_farewell(&self, bytes: &[u8]) {
        let mut stream = self.take_stream();
        let said = async {
            stream.write_all(bytes).await?;
            stream.shutdown().await
        };
        // The peer may be gone already, or not read; then it is not told.
        let _ = timeout(CLOSE_TIMEOUT, said).await;
    }

    /// Gives up the write side of the stream, as it is.
    pub(crate) fn take_stream(&self) -> Box<dyn AsyncWrite + Unpin + Send> {
        std::mem::replace(&mut self.side().stream, Box::new(tokio::io::sink()))
    }

    fn change(&self, change: impl FnOnce(&mut Status)) {
        let task = {
            let mut side = self.side();
            change(&mut side.status);
            side.task.clone()
        };
        if let Some(task) = task {
            task.wake();
        }
    }

    fn side(&self) -> MutexGuard<'_, WriteSide> {
        // A panic elsewhere ends the broker; it is not made worse here.
        self.side.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WriteSide {
    /// Writes until the write is done or the socket would block. Returns how many bytes the socket
    /// has taken in all, if it took any now.
    fn flush(&mut self, cx: &mut Context<'_>, tally: &Tally) -> Option<u64> {
        let before = self.written;
        while self.status.closed.is_none()
            && let Some(unwritten) = &mut self.write
        {
            match unwritten.poll_write(&mut self.stream, cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(bytes)) if bytes > 0 => self.took(bytes, tally),
                Poll::Ready(Ok(_) | Err(_)) => {
                    tally.add(unwritten.whole());
                    self.write = None;
                    self.status.failed = true;
                    cx.waker().wake_by_ref();
                }
            }
        }
        (self.written > before).then_some(self.written)
    }

    /// Notes that the socket has taken so much more of the write in flight.
    fn took(&mut self, bytes: usize, tally: &Tally) {
        let Some(unwritten) = &mut self.write else {
            return;
        };
        let done = unwritten.advance(bytes);
        self.written += bytes as u64;
        if done {
            tally.add(unwritten.write.count());
            self.write = None;
        }
    }
}

impl Unwritten {
    fn poll_write(
        &self,
        stream: &mut (dyn AsyncWrite + Unpin + Send),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        match self.slices(&mut slices) {
            [slice] => Pin::new(stream).poll_write(cx, slice),
            slices => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    /// What the socket has not taken, as much as fits.
    fn slices<'a, 'b>(&'a self, slices: &'b mut [IoSlice<'a>; MAX_SLICES]) -> &'b [IoSlice<'a>] {
        let pieces = &self.write.pieces()[self.piece..];
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece.as_bytes());
        }
        slices[0] = IoSlice::new(&pieces[0].as_bytes()[self.offset..]);
        &slices[..pieces.len().min(MAX_SLICES)]
    }

    /// What of it the socket has taken in whole messages.
    fn whole(&self) -> Count {
        tally::whole(self.write.pieces(), self.piece, self.offset)
    }

    /// Notes that `bytes` more were taken. Returns whether that was all.
    fn advance(&mut self, mut bytes: usize) -> bool {
        let pieces = self.write.pieces();
        while let Some(piece) = pieces.get(self.piece) {
            let left = piece.as_bytes().len() - self.offset;
            if bytes < left {
                self.offset += bytes;
                return false;
            }
            bytes -= left;
            self.piece += 1;
            self.offset = 0;
        }
        true
    }
}
