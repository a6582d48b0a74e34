//! The yardstick: a loop that writes and syncs, and does nothing else.

use super::scratch::Scratch;
use super::{of_file, per_second};
use crate::bench::consumer::latencies;
use crate::bench::error::BenchError;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;
use tokio::time::Instant;

/// The size of its file: that of a segment.
const FILE: usize = 64 << 20;

/// What a loop did that writes pieces to a file and has each made safe (`fdatasync`) before the next.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Bare {
    /// Messages in all pieces.
    pub messages: u64,
    /// How many pieces: each was synced.
    pub syncs: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Half of the pieces took no longer to write and sync, in microseconds.
    pub p50: u64,
    /// 99 % took no longer.
    pub p99: u64,
}

impl Bare {
    /// Messages made safe in a second.
    pub fn rate(&self) -> f64 {
        per_second(self.messages, Duration::from_secs_f64(self.seconds))
    }
}

/// Writes pieces of so many messages, one behind the other, to a file that was filled with zeros before. At the end of
/// the file it begins again at the front.
pub(super) fn run(
    scratch: &Scratch,
    pieces: &[u64],
    frame_size: usize,
) -> Result<Bare, BenchError> {
    let file = filled(scratch).map_err(of_file)?;
    let largest = pieces.iter().max().copied().unwrap_or_default();
    let largest = usize::try_from(largest).unwrap_or(usize::MAX);
    let bytes = vec![b'x'; largest.saturating_mul(frame_size).min(FILE)];
    let mut latencies = latencies()?;
    let mut at = 0;
    let start = Instant::now();
    for piece in pieces {
        let size = usize::try_from(*piece).unwrap_or(usize::MAX);
        let size = size.saturating_mul(frame_size).min(FILE);
        if at + size > FILE {
            at = 0;
        }
        let begun = Instant::now();
        file.write_all_at(&bytes[..size], at as u64)
            .map_err(of_file)?;
        file.sync_data().map_err(of_file)?;
        at += size;
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        latencies.saturating_record(micros);
    }
    Ok(Bare {
        messages: pieces.iter().sum(),
        syncs: pieces.len() as u64,
        seconds: start.elapsed().as_secs_f64(),
        p50: latencies.value_at_quantile(0.5),
        p99: latencies.value_at_quantile(0.99),
    })
}

fn filled(scratch: &Scratch) -> io::Result<File> {
    const PIECE: usize = 1 << 20;
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true);
    let file = options.open(scratch.file("bare"))?;
    let zeros = vec![0; PIECE];
    for at in (0..FILE).step_by(PIECE) {
        file.write_all_at(&zeros, at as u64)?;
    }
    file.sync_all()?;
    Ok(file)
}
