//! A stream of TLS over another stream.
//!
//! The session of rustls encrypts into a buffer of its own, so what it has taken need not be on its way yet.
//! Whoever writes must know the difference: a broker counts as delivered what the network has taken, and an end
//! that is orderly loses nothing. So a write here is done when the stream below has taken it:
//!
//! ```text
//! plaintext ─▶ at most FILL bytes ─▶ records in the session's buffer ─▶ the stream below
//!     ▲                                                                      │
//!     └────────── as many bytes as stand in records that it has taken ◀──────┘
//! ```
//!
//! A write that is [pending](Poll::Pending), or that has taken a part, is gone on with by another write of what is
//! left, as every writer in this crate does. One that is given up must be followed by nothing but the end of the
//! stream, which then comes without the mark of an orderly end.

use super::explain;
use rustls::{CipherSuite, Connection, SupportedCipherSuite};
use std::future::poll_fn;
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most plaintext that is encrypted before the stream below has taken what was: four records. It is the bound
/// of the session's buffer.
pub(super) const FILL: usize = 64 << 10;

/// The plaintext of a full record (RFC 8446, section 5.1).
const RECORD: usize = 16 << 10;

/// What encryption adds to a record in any case: a header of 5 bytes and a tag of 16.
const OVERHEAD: usize = 21;

/// The keys of TLS 1.2 are used up after so many records (with AES-GCM 2^24: RFC 8446, section 5.5), and it
/// cannot take new ones: rustls would end the stream there, and drop what is written after. So a connection fails
/// when it has come so near.
const SPARED_RECORDS: u64 = 1 << 10;

/// The most plaintext that one read gathers. A session gives no more than a record at a time; what is handed on
/// together is worth more.
const GATHER: usize = 64 << 10;

/// A stream of TLS over `S`.
#[derive(Debug)]
pub struct TlsStream<S> {
    below: S,
    session: Connection,
    /// Plaintext that the session has encrypted and no write has been told of yet.
    untold: usize,
    /// Bytes that the stream below has taken since the session had nothing left to send.
    sent: usize,
    /// What of that the writes have been told, in plaintext.
    told: usize,
    /// What encryption adds to a record.
    overhead: usize,
    /// Records with plaintext that were sent, and the most that may be.
    records: u64,
    most_records: u64,
    /// Why nothing can be read any more, for the next read.
    failed: Option<io::Error>,
    below_has_ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// A stream whose session has yet to shake hands.
    pub(super) fn new(below: S, mut session: Connection) -> Self {
        session.set_buffer_limit(Some(FILL));
        Self {
            below,
            session,
            untold: 0,
            sent: 0,
            told: 0,
            overhead: OVERHEAD,
            records: 0,
            most_records: u64::MAX,
            failed: None,
            below_has_ended: false,
        }
    }

    /// Shakes hands. What was read of the stream below before is `first`.
    ///
    /// # Errors
    /// Why the peer is not whom this side wants to speak to, or the other way round; or what the network says.
    pub(super) async fn handshake(&mut self, mut first: &[u8]) -> Result<(), HandshakeError> {
        while !first.is_empty() {
            self.session
                .read_tls(&mut first)
                .map_err(HandshakeError::Network)?;
            if let Err(error) = self.session.process_new_packets() {
                // It tells the peer why.
                let _ = poll_fn(|cx| self.poll_send(cx)).await;
                return Err(HandshakeError::Refused(error));
            }
        }
        poll_fn(|cx| self.poll_handshake(cx)).await?;
        match self.session.negotiated_cipher_suite() {
            Some(SupportedCipherSuite::Tls12(suite)) => {
                let most = suite.common.confidentiality_limit;
                self.most_records = most.saturating_sub(SPARED_RECORDS);
                // AES-GCM says a part of its nonce in each record (RFC 5288, section 3), ChaCha20 does not.
                if !is_chacha20(suite.common.suite) {
                    self.overhead += 8;
                }
            }
            // The true type of what is in the record (RFC 8446, section 5.2).
            Some(SupportedCipherSuite::Tls13(_)) | None => self.overhead += 1,
        }
        Ok(())
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        loop {
            // While one side cannot send, the other may be about to: so it reads all the same.
            let sent = self.poll_send(cx).map_err(HandshakeError::Network)?;
            if !self.session.is_handshaking() {
                return sent.map(Ok);
            }
            if self.below_has_ended {
                return Poll::Ready(Err(HandshakeError::Ended));
            }
            ready!(self.poll_fetch(cx)).map_err(HandshakeError::Network)?;
            if let Err(error) = self.session.process_new_packets() {
                // It tells the peer why, if it can do so at once.
                let _ = self.poll_send(cx);
                return Poll::Ready(Err(HandshakeError::Refused(error)));
            }
        }
    }

    /// The session.
    pub(super) const fn session(&self) -> &Connection {
        &self.session
    }

    /// The stream below.
    pub(super) const fn below(&self) -> &S {
        &self.below
    }

    /// The stream below, to look at.
    pub(super) const fn below_mut(&mut self) -> &mut S {
        &mut self.below
    }

    /// Whether something is there that was not read yet. `Some(false)` is the orderly end of the stream.
    /// Reads no more from the stream below than belongs to one record.
    pub(super) fn look_ahead(&mut self) -> io::Result<Option<bool>> {
        // Nobody waits to read, so there is nobody to wake.
        let mut cx = Context::from_waker(std::task::Waker::noop());
        loop {
            match self.session.reader().into_first_chunk() {
                Ok([]) => return Ok(Some(false)),
                Ok(_) => return Ok(Some(true)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            match self.poll_fetch(&mut cx)? {
                Poll::Ready(()) => {
                    self.session
                        .process_new_packets()
                        .map_err(explain::broken)?;
                }
                Poll::Pending => return Ok(None),
            }
        }
    }

    /// Writes by `write`, which does not wait. Returns how much plaintext was taken.
    pub(super) fn write_by(
        &mut self,
        slices: &[IoSlice<'_>],
        mut write: impl FnMut(&mut S, &[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.encrypt(slices)?;
        let mut failed = None;
        while failed.is_none() && self.session.wants_write() {
            let mut below = By(&mut self.below, &mut write);
            match self.session.write_tls(&mut below) {
                Ok(0) => failed = Some(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => self.sent += bytes,
                Err(error) => failed = Some(error),
            }
        }
        let bytes = self.tell();
        match failed {
            Some(error) if bytes == 0 => Err(error),
            Some(_) | None => Ok(bytes),
        }
    }

    fn poll_write_slices(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        match self.write_by(slices, |below, slices| {
            match Pin::new(below).poll_write_vectored(cx, slices) {
                Poll::Ready(written) => written,
                Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            }
        }) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            done => Poll::Ready(done),
        }
    }

    /// Encrypts the next part of what is to be written, unless a part is still on its way.
    fn encrypt(&mut self, slices: &[IoSlice<'_>]) -> io::Result<()> {
        if self.untold == 0 {
            (self.sent, self.told) = (0, 0);
            if self.records >= self.most_records {
                return Err(explain::used_up());
            }
            self.untold = self.session.writer().write_vectored(slices)?;
            self.records += self.untold.div_ceil(RECORD) as u64;
        }
        Ok(())
    }

    /// What a write may be told: the plaintext of the records that the stream below has taken whole.
    fn tell(&mut self) -> usize {
        let all = self.told + self.untold;
        let taken = if self.session.wants_write() {
            let whole = self.sent / (RECORD + self.overhead) * RECORD;
            // The last byte is told when nothing is left.
            whole.min(all.saturating_sub(1))
        } else {
            all
        };
        let news = taken - self.told;
        self.told = taken;
        self.untold -= news;
        news
    }

    /// Sends what the session has to send. Ready when nothing is left.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            let mut below = Below(&mut self.below, cx);
            match self.session.write_tls(&mut below) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(bytes) => self.sent += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Gives the session what has come.
    fn poll_fetch(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut below = Below(&mut self.below, cx);
        match self.session.read_tls(&mut below) {
            Ok(0) => self.below_has_ended = true,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
        Poll::Ready(Ok(()))
    }

    /// Reads into `buf` until it is full or nothing more is there.
    fn poll_gather(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let most = before + buf.remaining().min(GATHER);
        while buf.filled().len() < most {
            let mut reader = self.session.reader();
            match reader.fill_buf() {
                Ok([]) => return Poll::Ready(Ok(())),
                Ok(chunk) => {
                    let bytes = chunk.len().min(buf.remaining());
                    buf.put_slice(&chunk[..bytes]);
                    reader.consume(bytes);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(Err(explain::cut())),
            }
            if let Some(error) = self.failed.take() {
                return Poll::Ready(Err(error));
            }
            ready!(self.poll_fetch(cx))?;
            if let Err(error) = self.session.process_new_packets() {
                // It tells the peer why, if it can do so at once. What came before is read first.
                let _ = self.poll_send(cx);
                self.failed = Some(explain::broken(error));
            }
        }
        Poll::Ready(Ok(()))
    }
}

const fn is_chacha20(suite: CipherSuite) -> bool {
    use CipherSuite as It;
    matches!(
        suite,
        It::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | It::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    )
}

/// Why no hands were shaken.
#[derive(Debug)]
pub(super) enum HandshakeError {
    /// The network failed.
    Network(io::Error),
    /// The peer ended the stream in the middle of it.
    Ended,
    /// One side does not want to speak to the other.
    Refused(rustls::Error),
}

/// The stream below, for a session that reads and writes without waiting.
struct Below<'a, 'b, S>(&'a mut S, &'a mut Context<'b>);

impl<S: AsyncRead + Unpin> Read for Below<'_, '_, S> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(bytes);
        match Pin::new(&mut *self.0).poll_read(self.1, &mut buf) {
            Poll::Ready(Ok(())) => Ok(buf.filled().len()),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<S: AsyncWrite + Unpin> Write for Below<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match Pin::new(&mut *self.0).poll_write_vectored(self.1, slices) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The stream below, written to by a function.
struct By<'a, S, F>(&'a mut S, &'a mut F);

impl<S, F: FnMut(&mut S, &[IoSlice<'_>]) -> io::Result<usize>> Write for By<'_, S, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.1)(self.0, &[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (self.1)(self.0, slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match this.poll_gather(cx, buf) {
            // What has come before is handed on first.
            Poll::Ready(Err(error)) if buf.filled().len() > before => {
                this.failed = Some(error);
                Poll::Ready(Ok(()))
            }
            Poll::Pending if buf.filled().len() > before => Poll::Ready(Ok(())),
            outcome @ (Poll::Ready(_) | Poll::Pending) => outcome,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_slices(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_slices(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.below).poll_flush(cx)
    }

    /// Marks the end, so that the peer knows it for one that is meant, and ends the stream below. Where a write
    /// was given up, what of it is left must not follow, and so the mark cannot.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.untold == 0 {
            this.session.send_close_notify();
            ready!(this.poll_send(cx))?;
        }
        Pin::new(&mut this.below).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
