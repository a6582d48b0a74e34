//! A stream that makes trouble of the kind that a real socket makes and a simulated one does not:
//! reads and writes that stop short, and tasks that are woken for nothing.

use crate::rng::Rng;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Of a hundred reads or writes, how many come to nothing although the socket is ready.
const SPURIOUS: u64 = 10;

/// A stream whose reads and writes stop short.
#[derive(Debug)]
pub struct Chaos<S> {
    stream: S,
    rng: Rng,
    /// The most bytes that one read or write moves.
    most: usize,
}

impl<S> Chaos<S> {
    /// Lets one read or write move at most `most` bytes; at least 1.
    pub const fn new(stream: S, rng: Rng, most: usize) -> Self {
        Self { stream, rng, most }
    }

    /// How many bytes the next read or write may move; none if it is to come to nothing.
    fn allowance(&mut self, cx: &Context<'_>) -> Option<usize> {
        if self.rng.chance(SPURIOUS) {
            cx.waker().wake_by_ref();
            return None;
        }
        Some(self.rng.within(1..=self.most as u64) as usize)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Chaos<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(most) = self.allowance(cx) else {
            return Poll::Pending;
        };
        let most = most.min(buf.remaining());
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
        let poll = Pin::new(&mut self.stream).poll_read(cx, &mut part);
        let read = part.filled().len();
        buf.advance(read);
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Chaos<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(most) = self.allowance(cx) else {
            return Poll::Pending;
        };
        Pin::new(&mut self.stream).poll_write(cx, &bytes[..bytes.len().min(most)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(most) = self.allowance(cx) else {
            return Poll::Pending;
        };
        let mut left = most;
        let mut written = 0;
        // One slice after the other, as far as the stream goes: a vectored write that stops
        // anywhere, also between two slices.
        for slice in slices.iter().filter(|slice| !slice.is_empty()) {
            let part = &slice[..slice.len().min(left)];
            match Pin::new(&mut self.stream).poll_write(cx, part) {
                Poll::Ready(Ok(bytes)) => {
                    written += bytes;
                    left -= bytes;
                    if bytes < slice.len() {
                        break;
                    }
                }
                // What was taken is reported; the next write will come to the same end.
                Poll::Ready(Err(_)) | Poll::Pending if written > 0 => break,
                failed @ (Poll::Ready(Err(_)) | Poll::Pending) => return failed,
            }
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
