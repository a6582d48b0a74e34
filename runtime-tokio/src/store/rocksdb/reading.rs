//! Reading a topic's messages.

use super::keys::{self, Damaged, Head};
use ::rocksdb::{DB, DBRawIterator, ReadOptions};
use message_queue_core::store::{FetchFrom, Run};

/// Why something was not read.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error("{0}")]
    Database(#[from] ::rocksdb::Error),
}

/// The sequences of a topic that are kept and were reported as appended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) number: u32,
    pub(super) first: u64,
    /// The sequence behind the last.
    pub(super) end: u64,
}

/// Messages that were read, and where to go on.
pub(super) struct Chunk {
    pub(super) runs: Vec<Run>,
    pub(super) next: u64,
}

/// A walk through the pieces of a topic.
pub(super) struct Runs<'a> {
    number: u32,
    at: DBRawIterator<'a>,
}

impl<'a> Runs<'a> {
    /// Through those that are kept.
    pub(super) fn new(db: &'a DB, kept: Kept) -> Self {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(keys::run(kept.number, kept.end));
        // A group that is behind reads everything once.
        options.fill_cache(false);
        Self {
            number: kept.number,
            at: db.raw_iterator_opt(options),
        }
    }

    /// The first piece that begins at this sequence or later.
    pub(super) fn seek(&mut self, sequence: u64) -> Result<Option<(u64, &[u8])>, ReadError> {
        self.at.seek(keys::run(self.number, sequence));
        self.here()
    }

    /// The piece with this sequence in it, or the first behind.
    fn seek_into(&mut self, sequence: u64) -> Result<Option<(u64, &[u8])>, ReadError> {
        self.at.seek_for_prev(keys::run(self.number, sequence));
        let is_in = match self.here()? {
            Some((first, value)) => first + u64::from(Head::read(value)?.messages) > sequence,
            None => false,
        };
        if is_in {
            self.here()
        } else {
            self.seek(sequence)
        }
    }

    /// The last piece.
    pub(super) fn last(&mut self) -> Result<Option<(u64, &[u8])>, ReadError> {
        self.at.seek_to_last();
        self.here()
    }

    fn next(&mut self) -> Result<Option<(u64, &[u8])>, ReadError> {
        self.at.next();
        self.here()
    }

    fn here(&self) -> Result<Option<(u64, &[u8])>, ReadError> {
        let Some((key, value)) = self.at.item() else {
            self.at.status()?;
            return Ok(None);
        };
        let first = keys::sequence(self.number, key);
        Ok(first.map(|first| (first, value)))
    }

    /// The first piece of which this is so, where it is so of all that are behind such a piece.
    pub(super) fn first_where(
        &mut self,
        kept: Kept,
        mut is_so: impl FnMut(u64, &Head) -> bool,
    ) -> Result<Option<(u64, Head)>, ReadError> {
        let (mut from, mut to) = (kept.first, kept.end);
        while from < to {
            let middle = from + (to - from) / 2;
            match self.seek(middle)? {
                Some((first, value)) => {
                    let head = Head::read(value)?;
                    if is_so(first, &head) {
                        to = middle;
                    } else {
                        from = first + u64::from(head.messages).max(1);
                    }
                }
                None => to = middle,
            }
        }
        let found = self.seek(from)?;
        Ok(found
            .map(|(first, value)| Head::read(value).map(|head| (first, head)))
            .transpose()?)
    }
}

/// Reads about so many bytes of messages: one piece at least, if there is one.
pub(super) fn read(db: &DB, kept: Kept, from: FetchFrom, bytes: usize) -> Result<Chunk, ReadError> {
    let mut walk = Runs::new(db, kept);
    let begin = match from {
        FetchFrom::Sequence(sequence) => sequence.max(kept.first),
        FetchFrom::Time(time) => {
            let found = walk.first_where(kept, |_, head| head.published >= time)?;
            found.map_or(kept.end, |(first, _)| first.max(kept.first))
        }
    };
    let mut chunk = Chunk {
        runs: Vec::new(),
        next: begin,
    };
    if begin >= kept.end {
        return Ok(chunk);
    }
    let mut read = 0;
    let mut here = walk.seek_into(begin)?;
    while let Some((first, value)) = here {
        let mut run = keys::decode_run(first, value)?;
        chunk.next = first + run.batch.messages() as u64;
        let before = begin.saturating_sub(first);
        run.batch.split_to(before as usize);
        run.first += before;
        read += run.batch.byte_len();
        chunk.runs.push(run);
        if read >= bytes {
            return Ok(chunk);
        }
        here = walk.next()?;
    }
    chunk.next = kept.end;
    Ok(chunk)
}
