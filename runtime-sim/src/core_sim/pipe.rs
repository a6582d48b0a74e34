//! One direction of a connection: bytes on their way, in order, within a bound.

use crate::plan::Micros;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// All the buffers between a sender and a reader, as one.
#[derive(Debug)]
pub(super) struct Pipe {
    /// The most bytes on their way or waiting to be read.
    capacity: usize,
    /// Sent, and when they arrive.
    moving: VecDeque<(Micros, Bytes)>,
    /// Arrived and not read.
    arrived: VecDeque<Bytes>,
    moving_bytes: usize,
    arrived_bytes: usize,
    /// When the last of what was sent arrives.
    last_arrival: Micros,
    /// When the end of the stream arrives, if it was sent.
    end: Option<Micros>,
    /// Whether the sender found no room and waits for some.
    pub(super) sender_waits: bool,
}

impl Pipe {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            moving: VecDeque::new(),
            arrived: VecDeque::new(),
            moving_bytes: 0,
            arrived_bytes: 0,
            last_arrival: 0,
            end: None,
            sender_waits: false,
        }
    }

    /// Makes the buffers at least so large.
    pub(super) fn widen(&mut self, capacity: usize) {
        self.capacity = self.capacity.max(capacity);
    }

    pub(super) fn room(&self) -> usize {
        let used = self.moving_bytes + self.arrived_bytes;
        self.capacity.saturating_sub(used)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.moving_bytes + self.arrived_bytes == 0
    }

    /// The moment at which something sent now arrives, if by itself it would arrive at `at`:
    /// nothing overtakes what was sent before it.
    pub(super) fn in_order(&mut self, at: Micros) -> Micros {
        self.last_arrival = self.last_arrival.max(at);
        self.last_arrival
    }

    /// Sends bytes that arrive at `at`, a moment from [`in_order`](Self::in_order).
    pub(super) fn send(&mut self, bytes: Bytes, at: Micros) {
        self.moving_bytes += bytes.len();
        self.moving.push_back((at, bytes));
    }

    /// Sends the end of the stream.
    pub(super) fn send_end(&mut self, at: Micros) {
        self.end = Some(at);
    }

    /// Holds back what is on its way until `until`.
    pub(super) fn hold(&mut self, until: Micros) {
        for (at, _) in &mut self.moving {
            *at = (*at).max(until);
        }
        self.end = self.end.map(|at| at.max(until));
        self.last_arrival = self.last_arrival.max(until);
    }

    /// Reads at most `most` bytes of what has arrived by now, however it was cut when it was sent.
    pub(super) fn read(&mut self, most: usize, now: Micros) -> Option<Bytes> {
        self.arrive(now);
        let wanted = most.min(self.arrived_bytes);
        let front = self.arrived.front_mut()?;
        if wanted < front.len() {
            self.arrived_bytes -= wanted;
            return Some(front.split_to(wanted));
        }
        let mut bytes = BytesMut::with_capacity(wanted);
        while bytes.len() < wanted
            && let Some(front) = self.arrived.front_mut()
        {
            let part = front.split_to(front.len().min(wanted - bytes.len()));
            bytes.extend_from_slice(&part);
            if front.is_empty() {
                self.arrived.pop_front();
            }
        }
        self.arrived_bytes -= bytes.len();
        Some(bytes.freeze())
    }

    /// Whether there is something to read now.
    pub(super) fn is_readable(&mut self, now: Micros) -> bool {
        self.arrive(now);
        !self.arrived.is_empty()
    }

    /// Whether the reader has come to the end of the stream.
    pub(super) fn is_at_end(&self, now: Micros) -> bool {
        self.is_empty() && self.end.is_some_and(|at| at <= now)
    }

    fn arrive(&mut self, now: Micros) {
        while let Some((at, _)) = self.moving.front()
            && *at <= now
            && let Some((_, bytes)) = self.moving.pop_front()
        {
            self.moving_bytes -= bytes.len();
            self.arrived_bytes += bytes.len();
            self.arrived.push_back(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe() -> Pipe {
        let mut pipe = Pipe::new(10);
        pipe.send(Bytes::from_static(b"abc"), 5);
        pipe.send(Bytes::from_static(b"de"), 7);
        pipe
    }

    #[test]
    fn a_read_takes_what_has_arrived_however_it_was_sent() {
        assert_eq!(pipe().read(10, 4), None);
        assert_eq!(pipe().read(10, 6).as_deref(), Some(&b"abc"[..]));
        assert_eq!(pipe().read(10, 7).as_deref(), Some(&b"abcde"[..]));
        let mut pipe = pipe();
        assert_eq!(pipe.read(2, 7).as_deref(), Some(&b"ab"[..]));
        assert_eq!(pipe.read(2, 7).as_deref(), Some(&b"cd"[..]));
        assert_eq!(pipe.read(2, 7).as_deref(), Some(&b"e"[..]));
        assert!(pipe.is_empty());
    }

    #[test]
    fn what_is_on_its_way_and_what_was_not_read_takes_room() {
        let mut pipe = pipe();
        assert_eq!(pipe.room(), 5);
        pipe.read(4, 7);
        assert_eq!(pipe.room(), 9);
    }

    #[test]
    fn a_hold_delays_what_is_on_its_way_and_its_end() {
        let mut pipe = pipe();
        pipe.send_end(8);
        pipe.hold(20);
        assert_eq!(pipe.read(10, 19), None);
        assert!(pipe.read(10, 20).is_some());
        assert!(!pipe.is_at_end(19) && pipe.is_at_end(20));
    }
}
