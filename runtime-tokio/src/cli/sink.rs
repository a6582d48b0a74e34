//! Where messages go: a file or standard output, which a thread of its own writes.

use super::WAITING_BATCHES;
use super::export::Export;
use super::output::{OutputFormat, Printer};
use super::progress::Totals;
use crate::client::acked::Meta;
use message_queue_core::wire::FrameBatch;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// The most that is written to a file at once, in bytes, but for larger messages.
const FILE_PIECE: usize = 256 * 1024;

/// The most that is written to anything else at once, in bytes, but for larger messages. A pipe
/// takes so much as a whole or not at all (`PIPE_BUF`), so it is known what it has taken while it
/// takes no more.
const PIPE_PIECE: usize = 4096;

/// What errors call it.
const STANDARD_OUTPUT: &str = "standard output";

/// The output could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {name}: {source}")]
pub(crate) struct OutputError {
    name: String,
    source: io::Error,
}

impl OutputError {
    /// Whether the one who read the output has seen enough (`| head`).
    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.source.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Messages to be printed.
#[derive(Debug)]
pub(crate) struct Printable {
    pub(crate) frames: FrameBatch,
    /// What is to be printed beside each of them, if anything.
    pub(crate) meta: Option<Meta>,
}

impl From<FrameBatch> for Printable {
    fn from(frames: FrameBatch) -> Self {
        Self { frames, meta: None }
    }
}

/// An output that is open and still as it was.
#[derive(Debug)]
pub(crate) struct Sink {
    name: String,
    file: File,
    form: Form,
    /// Whether it is a regular file.
    regular: bool,
    append: bool,
    new: NewFile,
}

/// How messages stand in it.
#[derive(Debug)]
enum Form {
    Printed(Printer),
    Exported(Export),
}

/// A file that did not exist before. Removed when dropped, unless it is kept.
#[derive(Debug)]
struct NewFile(Option<PathBuf>);

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Nothing is in it; if it cannot be removed, it is an empty file more.
            let _ = fs::remove_file(path);
        }
    }
}

impl Sink {
    /// Opens the file at `path`, or standard output where it is `-`, and changes nothing in it.
    pub(crate) fn open(
        path: &Path,
        append: bool,
        format: OutputFormat,
    ) -> Result<Self, OutputError> {
        let path = Some(path).filter(|path| path.as_os_str() != "-");
        let name = match path {
            Some(path) => path.display().to_string(),
            None => STANDARD_OUTPUT.to_owned(),
        };
        let open = || {
            let (file, new) = match path {
                Some(path) => open_file(path, append)?,
                // As a file, without the buffer that `io::stdout` has: each piece is one write.
                None => (io::stdout().as_fd().try_clone_to_owned()?.into(), None),
            };
            let new = NewFile(new);
            let terminal = file.is_terminal();
            let form = match (format.each(terminal)?, path) {
                (Some(each), _) => Form::Printed(Printer::new(each, terminal)),
                (None, Some(path)) => Form::Exported(Export::open(path, append)?),
                (None, None) => Form::Exported(Export::default()),
            };
            Ok((file.metadata()?.is_file(), file, form, new))
        };
        match open() {
            Ok((regular, file, form, new)) => Ok(Self {
                name,
                file,
                form,
                regular,
                append: append || path.is_none(),
                new,
            }),
            Err(source) => Err(OutputError { name, source }),
        }
    }

    /// Whether it is a file that nobody watches while it grows.
    pub(crate) fn is_regular_file(&self) -> bool {
        self.regular && self.name != STANDARD_OUTPUT
    }

    /// Makes a file empty that is not to be appended to, and writes from now on: on a thread of
    /// its own, so that a reader that stops does not stop the rest.
    pub(crate) fn begin(mut self) -> Result<Output, OutputError> {
        let name = self.name.clone();
        let made = self.new.0.take();
        self.start(made.as_deref())
            .map_err(|source| OutputError { name, source })
    }

    /// Whether what is written is to be on the disk before it counts.
    const fn syncs(&self) -> bool {
        self.regular && matches!(self.form, Form::Exported(_))
    }

    /// `made` is the path of a file that was not there before.
    fn start(self, made: Option<&Path>) -> io::Result<Output> {
        if self.regular && !self.append {
            self.file.set_len(0)?;
        }
        if let Some(path) = made.filter(|_| self.syncs()) {
            // Its name, too.
            let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        let (batches, received) = mpsc::channel(WAITING_BATCHES);
        let (ended, outcome) = oneshot::channel();
        let written = Arc::<Written>::default();
        let name = self.name.clone();
        // A file has no reader that could go.
        let hang_up = match self.regular {
            false => Some(watch_reader(self.file.as_fd().try_clone_to_owned()?)?),
            true => None,
        };
        thread::Builder::new().name("output".to_owned()).spawn({
            let written = Arc::clone(&written);
            move || {
                // A command that does not wait for the end does not want to know.
                let _ = ended.send(self.write(received, &written));
            }
        })?;
        Ok(Output {
            name,
            batches,
            outcome,
            hang_up,
            written,
        })
    }

    /// Writes what comes: what comes alone is seen at once, and what comes in bulk is written in
    /// bulk.
    ///
    /// An export in a file is where its messages are from then on: it counts as written once it is on the disk.
    fn write(
        mut self,
        mut batches: mpsc::Receiver<Printable>,
        written: &Written,
    ) -> Result<(), OutputError> {
        let piece = if self.regular { FILE_PIECE } else { PIPE_PIECE };
        let syncs = self.syncs();
        let mut bytes = Vec::new();
        let mut unsynced = Totals::default();
        while let Some(batch) = batches.blocking_recv() {
            let write = |bytes: &[u8], totals| {
                self.file.write_all(bytes)?;
                if syncs {
                    unsynced += totals;
                } else {
                    written.add(totals);
                }
                Ok(())
            };
            let mut outcome = match &mut self.form {
                Form::Printed(printer) => in_pieces(&mut bytes, piece, *printer, &batch, write),
                Form::Exported(export) => export.in_pieces(&mut bytes, piece, &batch, write),
            };
            // What waits already shares the next sync.
            if syncs && outcome.is_ok() && batches.is_empty() {
                outcome = self.file.sync_data();
                if outcome.is_ok() {
                    written.add(mem::take(&mut unsynced));
                }
            }
            outcome.map_err(|source| OutputError {
                name: self.name.clone(),
                source,
            })?;
        }
        Ok(())
    }
}

/// Watches whether whoever reads `output` has gone: then what is returned is closed. On a thread of
/// its own, which ends then or with the process.
fn watch_reader(output: OwnedFd) -> io::Result<watch::Receiver<()>> {
    let (reader, watched) = watch::channel(());
    thread::Builder::new()
        .name("hang-up".to_owned())
        .spawn(move || {
            // A hang-up and an error are told whatever is asked for.
            let mut watched = [PollFd::new(&output, PollFlags::empty())];
            while matches!(poll(&mut watched, None), Ok(0) | Err(Errno::INTR)) {}
            drop(reader);
        })?;
    Ok(watched)
}

/// Opens the file at `path` as it is. Returns its path too if it was not there before.
fn open_file(path: &Path, append: bool) -> io::Result<(File, Option<PathBuf>)> {
    let mut options = OpenOptions::new();
    options.write(true).append(append);
    match options.clone().create_new(true).open(path) {
        Ok(file) => Ok((file, Some(path.to_owned()))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // A link to a file that is not there exists, and its file does not.
            Ok((options.create(true).open(path)?, None))
        }
        Err(error) => Err(error),
    }
}

/// Formats messages and writes them in pieces of at most `most` bytes, or of one
/// message that is larger. `text` is memory to use.
fn in_pieces(
    text: &mut Vec<u8>,
    most: usize,
    printer: Printer,
    printable: &Printable,
    mut write: impl FnMut(&[u8], Totals) -> io::Result<()>,
) -> io::Result<()> {
    text.clear();
    let mut totals = Totals::default();
    for (place, message) in printable.frames.bodies().enumerate() {
        let before = text.len();
        match &printable.meta {
            None => printer.write(text, &message)?,
            Some(meta) => printer.write_with_meta(text, meta, place, &message)?,
        }
        if before > 0 && text.len() > most {
            write(&text[..before], totals)?;
            text.drain(..before);
            totals = Totals::default();
        }
        totals.messages += 1;
        totals.bytes += message.len() as u64;
    }
    write(text, totals)
}

/// What has been written so far: whole messages.
#[derive(Debug, Default)]
struct Written {
    messages: AtomicU64,
    bytes: AtomicU64,
    grown: Notify,
}

impl Written {
    fn add(&self, totals: Totals) {
        self.messages.fetch_add(totals.messages, Ordering::Relaxed);
        self.bytes.fetch_add(totals.bytes, Ordering::Relaxed);
        self.grown.notify_one();
    }

    fn totals(&self) -> Totals {
        Totals {
            messages: self.messages.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

/// An output that is being written.
#[derive(Debug)]
pub(crate) struct Output {
    name: String,
    batches: mpsc::Sender<Printable>,
    outcome: oneshot::Receiver<Result<(), OutputError>>,
    /// Ends when the reader has gone, if there is one.
    hang_up: Option<watch::Receiver<()>>,
    written: Arc<Written>,
}

/// The output takes no more: [`finish`](Output::finish) says why.
#[derive(Debug)]
pub(crate) struct Ended;

impl Output {
    /// Waits until the output has room for a batch.
    ///
    /// Cancel safe.
    pub(crate) async fn room(&self) -> Result<mpsc::Permit<'_, Printable>, Ended> {
        self.batches.reserve().await.map_err(|_| Ended)
    }

    /// Waits until the output takes no more: its reader has gone, or it could not be written.
    ///
    /// Cancel safe.
    pub(crate) async fn ended(&self) -> Ended {
        let hang_up = async {
            match &self.hang_up {
                // Nothing is ever sent: it is closed.
                Some(watched) => {
                    let _ = watched.clone().changed().await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.batches.closed() => Ended,
            () = hang_up => Ended,
        }
    }

    /// Waits until more has been written than when this was last waited for.
    ///
    /// Cancel safe.
    pub(crate) async fn has_grown(&self) {
        self.written.grown.notified().await;
    }

    /// The messages that have been written as a whole, so far.
    pub(crate) fn written(&self) -> Totals {
        self.written.totals()
    }

    /// Waits until everything is written.
    ///
    /// Cancel safe.
    pub(crate) async fn finish(&mut self) -> Result<(), OutputError> {
        // Its last sender, dropped, tells the thread that no more will come.
        self.batches = mpsc::channel(1).0;
        (&mut self.outcome).await.unwrap_or_else(|_| {
            let source = io::Error::other("its thread has panicked");
            Err(OutputError {
                name: self.name.clone(),
                source,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::output::Each;
    use super::*;
    use std::io::Read;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    fn batch(messages: &[&str]) -> FrameBatch {
        FrameBatch::encode(messages).expect("small")
    }

    fn sink(path: &Path, append: bool) -> Sink {
        Sink::open(path, append, OutputFormat::Lines).expect("it can be opened")
    }

    async fn written(sink: Sink, messages: &[&str]) {
        let mut output = sink.begin().expect("it can be written");
        output
            .room()
            .await
            .expect("room")
            .send(batch(messages).into());
        output.finish().await.expect("room on the disk");
        assert_eq!(output.written().messages, messages.len() as u64);
    }

    #[tokio::test]
    async fn a_file_is_replaced_or_appended_to_and_until_then_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kept.txt");
        drop(sink(&path, false));
        assert!(!path.exists(), "a file without a use");
        fs::write(&path, "old and long\n").expect("room");
        drop(sink(&path, false));
        let text = || fs::read_to_string(&path).expect("text");
        assert_eq!(text(), "old and long\n");
        written(sink(&path, true), &["new"]).await;
        assert_eq!(text(), "old and long\nnew\n");
        written(sink(&path, false), &["a", "", "b"]).await;
        assert_eq!(text(), "a\n\nb\n");
    }

    #[test]
    fn pieces_end_with_messages_and_are_small_but_for_large_messages() {
        let mut pieces = Vec::new();
        let batch = batch(&["a", "bc", "too large", "d", ""]);
        in_pieces(
            &mut Vec::new(),
            5,
            Printer::new(Each::Lines, false),
            &batch.into(),
            |text, totals| {
                let text = String::from_utf8(text.to_vec()).expect("text");
                pieces.push((text, totals.messages, totals.bytes));
                Ok(())
            },
        )
        .expect("memory takes it");
        let expected = [("a\nbc\n", 2, 3), ("too large\n", 1, 9), ("d\n\n", 2, 1)];
        assert_eq!(
            pieces,
            expected.map(|(text, n, bytes)| (text.to_owned(), n, bytes))
        );
    }

    /// An output into a pipe that takes so many bytes, and the pipe's other end.
    fn pipe() -> (Output, io::PipeReader) {
        let (reader, writer) = io::pipe().expect("a pipe");
        (unread(writer.into()), reader)
    }

    fn unread(output: OwnedFd) -> Output {
        let sink = Sink {
            name: "output".to_owned(),
            file: output.into(),
            form: Form::Printed(Printer::new(Each::Lines, false)),
            regular: false,
            append: false,
            new: NewFile(None),
        };
        sink.begin().expect("threads")
    }

    #[tokio::test]
    async fn an_output_without_a_reader_has_ended_before_anything_is_written() {
        let (output, reader) = pipe();
        drop(reader);
        output.ended().await;
    }

    #[tokio::test]
    async fn so_has_a_socket_and_one_that_is_only_half_closed_has_not() {
        let (own, peer) = UnixStream::pair().expect("sockets");
        // As systemd hands it over: nothing is to be read from it.
        own.shutdown(Shutdown::Read).expect("it is open");
        let mut output = unread(OwnedFd::from(own));
        output
            .room()
            .await
            .expect("room")
            .send(batch(&["a"]).into());
        assert_eq!((&peer).read(&mut [0; 9]).expect("a line"), 2);
        tokio::select! {
            biased;
            Ended = output.ended() => panic!("somebody reads it"),
            () = tokio::task::yield_now() => {}
        }
        drop(peer);
        output.ended().await;
        output.finish().await.expect("all was written");
    }

    #[tokio::test]
    async fn what_an_unread_pipe_has_taken_is_counted_and_nothing_else() {
        let (output, mut reader) = pipe();
        let line = "x".repeat(100);
        let many = vec![line.as_str(); 2_000];
        output.room().await.expect("room").send(batch(&many).into());
        // Whatever the count says at any time, a reader finds.
        while output.written().messages == 0 {
            tokio::task::yield_now().await;
        }
        let mut text = vec![0; 101 * output.written().messages as usize];
        reader.read_exact(&mut text).expect("all that is counted");
        drop(reader);
        output.ended().await;
        let written = output.written();
        assert!(written.messages < 2_000, "{written:?}");
        assert_eq!(written.bytes, 100 * written.messages);
    }

    #[tokio::test]
    async fn an_output_that_fails_takes_no_more_and_says_why() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            return;
        }
        let mut output = sink(full, false).begin().expect("a thread");
        output
            .room()
            .await
            .expect("room")
            .send(batch(&["a"]).into());
        output.ended().await;
        let error = output.finish().await.expect_err("the disk is full");
        let text = error.to_string();
        assert!(text.starts_with("cannot write /dev/full: "), "{text}");
        assert!(!error.is_closed_pipe());
        assert_eq!(output.written(), Totals::default());
    }
}
