//! Messages from a broker as the stream that `log export` writes: CHECK, RUN and, of a dead letter, ORIGIN frames.

use super::progress::Totals;
use super::sink::Printable;
use message_queue_core::log::{BadImport, Import, Imported, Stored};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// More bytes than stand before the messages of a piece, without an ORIGIN.
const HEAD: usize = 64;

/// Writes an export.
///
/// Its messages are numbered one by one: what a consumer is handed may be out of order, of many topics, or come twice, and
/// an export has no hole.
#[derive(Debug)]
pub(crate) struct Export {
    /// The sequence of the next message.
    next: u64,
}

impl Export {
    /// One that goes on behind what is in the file at `path`, where `appends` says so and the file is there.
    ///
    /// # Errors
    /// What is there is no whole export. Or something is there that would be replaced: its messages were
    /// acknowledged when they were written, so they are nowhere else.
    pub(crate) fn open(path: &Path, appends: bool) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() == 0 {
            return Ok(Self::default());
        }
        if !appends {
            return Err(io::Error::other(
                "it is there and not empty, and its messages may be nowhere else; name a new file, or use --append",
            ));
        }
        let (last, end) = end_of(&mut file)?;
        if end != metadata.len() {
            return Err(io::Error::other(format!(
                "nothing can be added to it: its last message ends at byte {end} of {}",
                metadata.len()
            )));
        }
        Ok(Self { next: last + 1 })
    }

    /// Writes messages in pieces of at most `most` bytes, or of one message that is larger. `bytes` is memory to use.
    pub(crate) fn in_pieces(
        &mut self,
        bytes: &mut Vec<u8>,
        most: usize,
        printable: &Printable,
        mut write: impl FnMut(&[u8], Totals) -> io::Result<()>,
    ) -> io::Result<()> {
        let meta = printable.meta.as_ref();
        let published = meta.map_or(0, |it| it.published);
        let origin = meta.and_then(|it| it.origin.clone()).map(Box::new);
        let mut rest = printable.frames.clone();
        while !rest.is_empty() {
            let batch = rest.split_within(most - HEAD);
            let mut totals = Totals::default();
            totals.add(&batch);
            let stored = Stored::Run {
                first: self.next,
                published,
                batch,
                // Who published them, a consumer is not told.
                producers: Vec::new(),
                origin: origin.clone(),
            };
            bytes.clear();
            for part in stored.encode() {
                bytes.extend_from_slice(&part);
            }
            write(bytes, totals)?;
            self.next += totals.messages;
        }
        Ok(())
    }
}

impl Default for Export {
    fn default() -> Self {
        Self { next: 1 }
    }
}

/// The last sequence of an export, every checksum verified, and where its last message ends.
fn end_of(file: &mut impl Read) -> io::Result<(u64, u64)> {
    let bad = |source: BadImport| io::Error::other(format!("nothing can be added to it: {source}"));
    let mut import = Import::default();
    let mut bytes = Vec::new();
    let (mut last, mut end) = (0, 0);
    loop {
        match import.next().map_err(bad)? {
            Imported::Read(size) => {
                bytes.clear();
                file.take(size as u64).read_to_end(&mut bytes)?;
                import.read(&bytes);
            }
            Imported::Stored(stored) => {
                last = stored.sequences().to;
                end = import.position();
            }
            Imported::End => return Ok((last, end)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::acked::Meta;
    use message_queue_core::wire::FrameBatch;
    use message_queue_core::wire::control::Origin;

    fn printable(messages: &[&[u8]], published: u64, origin: Option<Origin>) -> Printable {
        let meta = Meta {
            topic: "jobs".into(),
            sequence: 700,
            published,
            attempt: 3,
            origin,
        };
        Printable {
            frames: FrameBatch::encode(messages).expect("small"),
            meta: Some(meta),
        }
    }

    /// The pieces of these, and what they hold.
    fn pieces(export: &mut Export, most: usize, all: &[Printable]) -> Vec<(Vec<u8>, Totals)> {
        let mut pieces = Vec::new();
        for printable in all {
            let write = |bytes: &[u8], totals| {
                pieces.push((bytes.to_vec(), totals));
                Ok(())
            };
            let written = export.in_pieces(&mut Vec::new(), most, printable, write);
            written.expect("memory takes it");
        }
        pieces
    }

    fn read(bytes: &[u8]) -> Vec<Stored> {
        let mut import = Import::default();
        let (mut rest, mut all) = (bytes, Vec::new());
        loop {
            match import.next().expect("it is whole") {
                Imported::Read(size) => {
                    let (part, behind) = rest.split_at(size.min(rest.len()));
                    import.read(part);
                    rest = behind;
                }
                Imported::Stored(stored) => all.push(stored),
                Imported::End => return all,
            }
        }
    }

    #[test]
    fn messages_are_numbered_one_by_one_and_keep_their_bytes_times_and_origins() {
        let origin = Origin {
            topic: "jobs".into(),
            sequence: 9,
            group: "work".into(),
            failures: 5,
            published: 300,
            reason: "max_attempts".into(),
        };
        let all = [
            printable(&[b"a\n", b"", b"\0\0"], 1000, None),
            printable(&[b"dead"], 400, Some(origin.clone())),
        ];
        let bytes: Vec<u8> = pieces(&mut Export::default(), 4096, &all)
            .into_iter()
            .flat_map(|(bytes, _)| bytes)
            .collect();
        let stored = |first, published, at: usize, origin| Stored::Run {
            first,
            published,
            batch: all[at].frames.clone(),
            producers: Vec::new(),
            origin,
        };
        let expected = [
            stored(1, 1000, 0, None),
            stored(4, 400, 1, Some(Box::new(origin))),
        ];
        assert_eq!(read(&bytes), expected);
    }

    #[test]
    fn a_piece_has_at_most_so_many_bytes_but_for_one_larger_message() {
        let (large, small) = ([b'x'; 300], [b'y'; 40]);
        let many: Vec<&[u8]> = [&small[..]; 9].into_iter().chain([&large[..]]).collect();
        let pieces = pieces(&mut Export::default(), 256, &[printable(&many, 1, None)]);
        let messages: Vec<_> = pieces.iter().map(|(_, totals)| totals.messages).collect();
        assert_eq!(messages, [4, 4, 1, 1]);
        assert!(pieces[..3].iter().all(|(bytes, _)| bytes.len() <= 256));
        let bytes: u64 = pieces.iter().map(|(_, totals)| totals.bytes).sum();
        assert_eq!(bytes, 9 * 40 + 300);
        let all: Vec<u8> = pieces.into_iter().flat_map(|(bytes, _)| bytes).collect();
        assert_eq!(read(&all).len(), 4);
    }

    #[test]
    fn a_file_is_added_to_if_it_is_a_whole_export_and_is_not_replaced() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let opened = |bytes: &[u8], appends| {
            std::fs::write(file.path(), bytes).expect("room");
            let opened = Export::open(file.path(), appends);
            opened.map(|it| it.next).map_err(|it| it.to_string())
        };
        let written = pieces(
            &mut Export::default(),
            4096,
            &[printable(&[b"a", b"b"], 1, None)],
        );
        let (whole, _) = &written[0];
        assert_eq!(opened(b"", false), Ok(1));
        assert_eq!(opened(b"", true), Ok(1));
        assert_eq!(opened(whole, true), Ok(3));
        let zeros = [&whole[..], &[0; 100]].concat();
        for (bytes, appends, says) in [
            (&whole[..], false, "use --append"),
            (&whole[..whole.len() - 1], true, "it is cut off"),
            (b"a line of text\n", true, "it is not the export of a log"),
            (&zeros, true, "its last message ends at byte"),
        ] {
            let error = opened(bytes, appends).expect_err(says);
            assert!(error.contains(says), "{error}");
        }
    }
}
