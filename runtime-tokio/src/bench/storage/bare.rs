//! The yardstick: a loop that writes and syncs, and does nothing else. It writes to what the broker writes to: a file, or a
//! database.

use super::scratch::Scratch;
use super::{of_file, per_second};
use crate::bench::consumer::latencies;
use crate::bench::error::BenchError;
#[cfg(not(feature = "rocksdb"))]
use crate::bench::plan::PlanError;
use crate::settings::FolderEngine;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;
use tokio::time::Instant;

/// The size of its file: that of a segment.
const FILE: usize = 64 << 20;

/// What a loop did that writes pieces and has each made safe before the next.
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

/// What pieces are written to. Each is safe when it was.
trait Place {
    fn write(&mut self, piece: &[u8]) -> io::Result<()>;
}

/// Writes pieces of so many messages to what this engine writes to, in a folder of its own.
///
/// # Errors
/// If that fails, or the engine is not in this build.
pub(super) fn run(
    scratch: &Scratch,
    engine: FolderEngine,
    pieces: &[u64],
    frame_size: usize,
) -> Result<Bare, BenchError> {
    match engine {
        FolderEngine::Disk => {
            let mut file = Filled::make(scratch).map_err(of_file)?;
            write_all(&mut file, pieces, frame_size)
        }
        #[cfg(feature = "rocksdb")]
        FolderEngine::RocksDb => {
            let mut database = database::Database::make(scratch).map_err(of_file)?;
            write_all(&mut database, pieces, frame_size)
        }
        #[cfg(not(feature = "rocksdb"))]
        FolderEngine::RocksDb => Err(PlanError::NoEngine(engine.storage().name()).into()),
    }
}

fn write_all(
    place: &mut impl Place,
    pieces: &[u64],
    frame_size: usize,
) -> Result<Bare, BenchError> {
    let size = |piece: u64| {
        let messages = usize::try_from(piece).unwrap_or(usize::MAX);
        messages.saturating_mul(frame_size).min(FILE)
    };
    let largest = pieces.iter().map(|it| size(*it)).max();
    let bytes = vec![b'x'; largest.unwrap_or_default()];
    let mut latencies = latencies()?;
    let start = Instant::now();
    for piece in pieces {
        let begun = Instant::now();
        place.write(&bytes[..size(*piece)]).map_err(of_file)?;
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

/// A file that was filled with zeros before. A piece is written behind the one before, and at the end of the file it begins
/// again at the front.
struct Filled {
    file: File,
    at: usize,
}

impl Filled {
    fn make(scratch: &Scratch) -> io::Result<Self> {
        const PIECE: usize = 1 << 20;
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true);
        let file = options.open(scratch.file("bare"))?;
        let zeros = vec![0; PIECE];
        for at in (0..FILE).step_by(PIECE) {
            file.write_all_at(&zeros, at as u64)?;
        }
        file.sync_all()?;
        Ok(Self { file, at: 0 })
    }
}

impl Place for Filled {
    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.at + piece.len() > FILE {
            self.at = 0;
        }
        self.file.write_all_at(piece, self.at as u64)?;
        self.file.sync_data()?;
        self.at += piece.len();
        Ok(())
    }
}

#[cfg(feature = "rocksdb")]
mod database {
    use super::{Place, Scratch};
    use crate::store::database_options;
    use rocksdb::{DB, WriteBatch, WriteOptions};
    use std::io;

    /// A database like the broker's. A piece is one value in a batch of its own, under a number.
    pub(super) struct Database {
        db: DB,
        next: u64,
    }

    impl Database {
        pub(super) fn make(scratch: &Scratch) -> io::Result<Self> {
            let db = DB::open(&database_options(), scratch.file("bare"));
            let db = db.map_err(io::Error::other)?;
            Ok(Self { db, next: 0 })
        }
    }

    impl Place for Database {
        fn write(&mut self, piece: &[u8]) -> io::Result<()> {
            let mut batch = WriteBatch::default();
            batch.put(self.next.to_be_bytes(), piece);
            self.next += 1;
            let mut options = WriteOptions::default();
            options.set_sync(true);
            self.db.write_opt(batch, &options).map_err(io::Error::other)
        }
    }
}
