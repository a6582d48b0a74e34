//! One connection: its task reads, decodes and feeds the core, and goes on with writes that had to
//! wait for the socket.

use super::driver::Driver;
use super::net::{Listener, Unread};
use super::pacing::{Line, Turn};
use super::peer::Peer;
use super::stall::StallWatch;
use super::stream::Stream;
use message_queue_core::wire::{Decoded, Decoder, DecoderConfig, Role};
use message_queue_core::{CloseReason, Count, Input, ProtocolError};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_util::io::poll_read_buf;

/// While draining: a producer silent for so long has nothing more on its way.
const QUIET: Duration = Duration::from_millis(20);

/// While draining: for so long a producer that is not silent is read from.
const LAST_READS: Duration = Duration::from_millis(500);

/// How many reads a connection may have before the others, and whoever asks for the broker's health,
/// have their turn. The runtime's own limit is 128, which is 128 MiB.
const READS_A_TURN: usize = 4;

/// How often it is looked what there is to read of a producer that is not read from.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// How long a connection that was told the last is read from, to be discarded.
const LINGER: Duration = Duration::from_secs(1);

/// One connection's task.
pub(crate) struct Connection<L: Listener> {
    driver: Arc<Driver>,
    peer: Arc<Peer>,
    stream: Stream<L::Stream>,
    decoder: Decoder,
    role: Option<Role>,
    /// What it waits for before the next read, where its consumers are behind.
    turn: Option<Turn>,
    last_reads: Option<LastReads>,
    /// None until it was once not read from.
    watch: Option<Watch>,
    stall: StallWatch,
    /// Whether it came while the broker was draining: then only a consumer's role is awaited.
    late: bool,
    /// Whether its peer is to be told that it counts as alive.
    is_version2: bool,
    /// Whether something has arrived that was not handed on yet: its producer was blocked before.
    has_more: bool,
    /// Whether the stream has ended behind all that has arrived.
    has_ended: bool,
    /// Its peer could not show who it is. Goes off when it is to be told so.
    turned_away: Option<Pin<Box<Sleep>>>,
}

/// The watch over a producer that is not read from.
struct Watch {
    /// Goes off when it is next to be looked what there is to read.
    timer: Pin<Box<Sleep>>,
    /// Whether the time was set for the orderly end: then silence is an end.
    draining: bool,
}

/// The end of a producer while draining.
struct LastReads {
    /// When it is read from no more, in any case.
    until: Instant,
    /// Goes off when it has been silent for long enough.
    quiet: Pin<Box<Sleep>>,
    /// Whether it has been read from since. Where it had to wait for room it may be late.
    has_read: bool,
}

impl<L: Listener> Connection<L> {
    pub(crate) fn new(
        driver: Arc<Driver>,
        peer: Arc<Peer>,
        stream: Stream<L::Stream>,
        config: DecoderConfig,
        late: bool,
        frame_timeout: Duration,
    ) -> Self {
        let decoder = Decoder::new(config);
        Self {
            driver,
            peer,
            stream,
            decoder,
            role: None,
            turn: None,
            last_reads: None,
            stall: StallWatch::new(frame_timeout),
            watch: None,
            late,
            is_version2: false,
            has_more: false,
            has_ended: false,
            turned_away: None,
        }
    }

    /// Serves the connection until it has ended.
    pub(crate) async fn run(mut self) {
        let reason = poll_fn(|cx| self.poll(cx)).await;
        // Its memory is free before anybody is told the last.
        self.decoder = Decoder::new(DecoderConfig::default());
        if reason == CloseReason::BrokerBytes {
            self.driver.freed();
        }
        if let Some(farewell) = self.peer.take_farewell() {
            self.peer.say_farewell(&farewell).await;
            self.linger().await;
        } else if reason.is_orderly() {
            self.peer.shutdown().await;
        } else {
            L::reset(&self.stream.lock());
            drop(self.peer.take_stream());
        }
    }

    /// Reads and discards for a while: what the peer is still sending would else be answered by a reset, and that
    /// would take the farewell away from it.
    async fn linger(&mut self) {
        let discarded = async {
            let mut discarded = [0; 4096];
            while let Ok(1..) = self.stream.read(&mut discarded).await {}
        };
        // A peer that goes on sending is not waited for.
        let _ = timeout(LINGER, discarded).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let mut reads = 0;
        // Whether the core knows that there is nothing more to read. It may have to wait for the store before it ends
        // the connection: then it is not told again, and others have their turn.
        let mut is_told = false;
        loop {
            let status = self.driver.flush(&self.peer, cx);
            if let Some(reason) = status.closed {
                // Others may stand in line behind it.
                self.turn = None;
                return Poll::Ready(reason);
            }
            if status.overdue {
                let write_now =
                    |slices: &[IoSlice<'_>]| L::write_now(&mut self.stream.lock(), slices);
                self.driver.flush_overdue(&self.peer, write_now);
                continue;
            }
            if status.failed {
                self.driver.feed(self.peer.conn, Input::PeerReset);
                continue;
            }
            if let Some(wait) = &mut self.turned_away {
                ready!(wait.as_mut().poll(cx));
                self.turned_away = None;
                self.driver.feed(self.peer.conn, Input::Unauthorized);
                continue;
            }
            if status.paused {
                if self.report_partial() {
                    continue;
                }
                // Whatever else it has sent has to wait, and so has its end: only the end of the
                // stream confirms what it has parked.
                if let Some(Unread::Failure) = ready!(self.poll_unread(cx)) {
                    self.driver.feed(self.peer.conn, Input::PeerReset);
                }
                continue;
            }
            if self.has_more {
                self.decode();
                continue;
            }
            if self.has_ended {
                // It is yet to be told what became of what it sent.
                return Poll::Pending;
            }
            if self.poll_turn(cx).is_pending() {
                if self.report_partial() {
                    continue;
                }
                let unread = ready!(self.poll_unread(cx));
                self.left_in_line(unread);
                continue;
            }
            if self.reads_expired() {
                if !mem::replace(&mut is_told, true) {
                    self.driver.feed(self.peer.conn, Input::NothingToRead);
                    continue;
                }
                if self.report_partial() {
                    continue;
                }
                return Poll::Pending;
            }
            if reads == READS_A_TURN || self.driver.awaits_freeing() {
                // If it has to go for that, it does so at once.
                if self.report_partial() {
                    continue;
                }
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            reads += 1;
            match self.poll_read(cx) {
                Poll::Ready(Ok(bytes)) => self.received(bytes),
                Poll::Ready(Err(_)) => self.driver.feed(self.peer.conn, Input::PeerReset),
                Poll::Pending if self.report_partial() => {}
                Poll::Pending if self.poll_stalled(cx).is_ready() => {
                    self.driver.feed(self.peer.conn, Input::FrameStalled);
                }
                Poll::Pending => {
                    ready!(self.poll_quiet(cx));
                    if mem::replace(&mut is_told, true) {
                        return Poll::Pending;
                    }
                    self.driver.feed(self.peer.conn, Input::NothingToRead);
                }
            }
        }
    }

    /// Ready when this connection is to be read from: a producer waits for its turn where its
    /// consumers are behind. While draining, too: if all were read from at once, each would have a
    /// read in memory, outside of all bounds.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.role == Some(Role::Producer) {
            if self.turn.is_none() {
                self.turn = self.peer.line().and_then(Line::turn);
            }
            if let Some(turn) = &mut self.turn {
                ready!(turn.as_mut().poll(cx));
            }
        }
        self.turn = None;
        Poll::Ready(())
    }

    /// For a producer that is not read from: ready when it is time to look, with what there is to read.
    /// It is looked, too, whether it still has to wait.
    fn poll_unread(&mut self, cx: &mut Context<'_>) -> Poll<Option<Unread>> {
        let watch = self.watch.get_or_insert_with(|| Watch {
            timer: Box::pin(sleep(Duration::ZERO)),
            draining: false,
        });
        if self.driver.is_draining() && !watch.draining {
            watch.draining = true;
            watch.timer.as_mut().reset(Instant::now() + QUIET);
        }
        ready!(watch.timer.as_mut().poll(cx));
        watch.timer.as_mut().reset(Instant::now() + WATCH_EVERY);
        self.driver.look_at_pace(self.peer.conn);
        if self.is_version2 {
            // It is not read from, so nothing can be heard of it.
            self.driver.feed(self.peer.conn, Input::Heard);
        }
        Poll::Ready(L::unread(&mut self.stream.lock()))
    }

    /// This is what there is to read of a producer that waits for its turn. Who has nothing more to
    /// say need not wait for it.
    fn left_in_line(&mut self, unread: Option<Unread>) {
        match unread {
            Some(Unread::Failure) => self.driver.feed(self.peer.conn, Input::PeerReset),
            Some(Unread::End) => self.received(0),
            Some(Unread::Nothing) if self.driver.is_draining() => {
                self.driver.feed(self.peer.conn, Input::NothingToRead);
            }
            Some(Unread::Nothing | Unread::Bytes) | None => {}
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let bytes = ready!(poll_read_buf(
            Pin::new(&mut self.stream),
            cx,
            self.decoder.recv_buf_from(&mut self.driver.spares())
        ))?;
        self.stall.progressed();
        if let Some(last_reads) = &mut self.last_reads {
            last_reads.quiet.as_mut().reset(Instant::now() + QUIET);
            last_reads.has_read = true;
        }
        Poll::Ready(Ok(bytes))
    }

    /// While nothing is read, whoever reads next may do so into this buffer, and the core knows how
    /// much of a frame is kept. Returns whether it was told.
    fn report_partial(&mut self) -> bool {
        self.decoder.park(&mut self.driver.spares());
        let Some(bytes) = self.decoder.report_partial() else {
            return false;
        };
        self.driver.feed(self.peer.conn, Input::Partial { bytes });
        true
    }

    /// A read found nothing: ready when the rest of a frame has not come for too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.decoder.is_mid_frame() {
            self.stall.poll_stalled(cx)
        } else {
            Poll::Pending
        }
    }

    /// While draining: whether this producer has been read from for long enough.
    fn reads_expired(&mut self) -> bool {
        if !self.driver.is_draining() || self.late || self.role == Some(Role::Consumer) {
            return false;
        }
        let now = Instant::now();
        let last_reads = self.last_reads.get_or_insert_with(|| LastReads {
            until: now + LAST_READS,
            quiet: Box::pin(sleep_until(now + QUIET)),
            has_read: false,
        });
        last_reads.has_read && last_reads.until <= now
    }

    /// While draining: ready when this producer has been silent for long enough.
    fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.last_reads {
            Some(last_reads) => last_reads.quiet.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    /// Hands on what a read brought; no bytes are the end of the stream.
    fn received(&mut self, bytes: usize) {
        self.has_ended |= bytes == 0;
        if !self.decode() && bytes > 0 && self.is_version2 {
            self.driver.feed(self.peer.conn, Input::Heard);
        }
    }

    /// Hands on what has arrived. What stands behind a batch that its producer is blocked by has to
    /// wait as well. Returns whether there was anything.
    fn decode(&mut self) -> bool {
        let mut found = false;
        loop {
            // In version 1 all that has arrived is one batch.
            self.has_more = self.is_version2 && self.peer.is_paused();
            if self.has_more {
                return found;
            }
            match self.decoder.next() {
                Ok(Some(decoded)) => self.hand_on(decoded),
                Ok(None) => break,
                Err(error) => {
                    self.broke(error);
                    return true;
                }
            }
            found = true;
            if self.turned_away.is_some() {
                return found;
            }
        }
        if self.has_ended {
            match self.decoder.finish() {
                Ok(()) => self.driver.feed(self.peer.conn, Input::PeerClosed),
                Err(error) => self.broke(error),
            }
        }
        found
    }

    fn hand_on(&mut self, mut decoded: Decoded) {
        match &mut decoded {
            Decoded::Role(role) => {
                self.role = Some(*role);
                if !self.identify(None) {
                    return;
                }
            }
            Decoded::Options(options) => {
                self.role = Some(options.role());
                self.is_version2 = true;
                let token = options.take_token();
                if !self.identify(token.as_deref()) {
                    return;
                }
            }
            Decoded::Batch(batch) => self.peer.tally.add(Count::of(batch)),
            Decoded::BadOptions(_) | Decoded::Control(_) => {}
        }
        self.driver.feed(self.peer.conn, decoded.into());
    }

    /// Finds out who the peer is, where that matters. Returns whether it is somebody; if not, it is told so after a
    /// while, and nothing more of it is looked at.
    fn identify(&mut self, token: Option<&str>) -> bool {
        let Some(gate) = self.driver.gate.get() else {
            return true;
        };
        let certificate = L::certificate(&self.stream.lock());
        let credential = gate.credential(token, certificate);
        let known = self.driver.identify(gate, &self.peer, credential).is_ok();
        if !known {
            let wait = gate.note_failure(self.peer.addr.ip());
            self.turned_away = Some(Box::pin(sleep(wait)));
        }
        known
    }

    fn broke(&self, error: ProtocolError) {
        self.driver.feed(self.peer.conn, Input::Broke(error));
    }
}
