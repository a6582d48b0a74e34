//! One direction of a connection: bytes on their way, in order, within a bound.

use crate::plan::Micros;
use bytes::Bytes;
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

    /// Reads at most `most` bytes of what has arrived by now.
    pub(super) fn read(&mut self, most: usize, now: Micros) -> Option<Bytes> {
        self.arrive(now);
        let front = self.arrived.front_mut()?;
        let bytes = front.split_to(most.min(front.len()));
        if front.is_empty() {
            self.arrived.pop_front();
        }
        self.arrived_bytes -= bytes.len();
        Some(bytes)
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
