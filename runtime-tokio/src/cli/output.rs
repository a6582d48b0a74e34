//! Messages out of batches and into a file or standard output.

use super::json;
use message_queue_core::wire::FrameBatch;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use tokio::sync::{mpsc, oneshot};

/// How many batches may wait to be written. A slow reader then makes the broker hold back, and
/// the broker's bounds are what counts.
const WAITING_BATCHES: usize = 4;

/// How a message is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OutputFormat {
    /// As it is, and a line feed
    Lines,
    /// As one line of JSON: JSON as it is, made compact; anything else as a JSON string
    Json,
    /// As one line of hexadecimal digits
    Hex,
    /// As a frame: a length (4 bytes, big-endian) and the bytes of the message
    Frames,
}

impl OutputFormat {
    /// Appends the messages of `batch` to `out`.
    fn write(self, out: &mut Vec<u8>, batch: &FrameBatch) {
        match self {
            Self::Lines => {
                for message in batch.bodies() {
                    out.extend_from_slice(&message);
                    out.push(b'\n');
                }
            }
            Self::Json => batch
                .bodies()
                .for_each(|message| json::write_line(out, &message)),
            Self::Hex => batch
                .bodies()
                .for_each(|message| write_hex_line(out, &message)),
            Self::Frames => out.extend_from_slice(batch.as_bytes()),
        }
    }
}

fn write_hex_line(out: &mut Vec<u8>, message: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in message {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
    out.push(b'\n');
}

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

/// Where the messages go.
pub(crate) struct Output {
    name: String,
    sink: Box<dyn Write + Send>,
    format: OutputFormat,
}

impl Output {
    /// The file at `path`, made empty, or standard output.
    pub(crate) fn open(path: Option<&Path>, format: OutputFormat) -> Result<Self, OutputError> {
        let Some(path) = path else {
            let name = "standard output".to_owned();
            return Ok(Self {
                name,
                sink: Box::new(io::stdout()),
                format,
            });
        };
        let name = path.display().to_string();
        match File::create(path) {
            Ok(file) => Ok(Self {
                name,
                sink: Box::new(file),
                format,
            }),
            Err(source) => Err(OutputError { name, source }),
        }
    }

    /// Writes on a thread of its own, so that a reader that stops does not stop the rest.
    pub(crate) fn spawn(self) -> io::Result<OutputThread> {
        let (batches, received) = mpsc::channel(WAITING_BATCHES);
        let (ended, outcome) = oneshot::channel();
        let name = self.name.clone();
        thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || {
                // A command that does not wait for the end does not want to know.
                let _ = ended.send(self.write_all(received));
            })?;
        Ok(OutputThread {
            name,
            batches,
            outcome,
        })
    }

    /// One write for each batch: what comes alone is seen at once, and what comes in bulk is
    /// written in bulk.
    fn write_all(mut self, mut batches: mpsc::Receiver<FrameBatch>) -> Result<(), OutputError> {
        let mut text = Vec::new();
        while let Some(batch) = batches.blocking_recv() {
            text.clear();
            self.format.write(&mut text, &batch);
            self.sink
                .write_all(&text)
                .and_then(|()| self.sink.flush())
                .map_err(|source| OutputError {
                    name: self.name.clone(),
                    source,
                })?;
        }
        Ok(())
    }
}

/// The thread that writes the output.
pub(crate) struct OutputThread {
    name: String,
    batches: mpsc::Sender<FrameBatch>,
    outcome: oneshot::Receiver<Result<(), OutputError>>,
}

impl OutputThread {
    /// Hands over a batch; waits while too many wait. Returns whether the output still takes any:
    /// if not, [`finish`](Self::finish) says why.
    pub(crate) async fn write(&self, batch: FrameBatch) -> bool {
        self.batches.send(batch).await.is_ok()
    }

    /// Waits until everything is written.
    pub(crate) async fn finish(self) -> Result<(), OutputError> {
        drop(self.batches);
        self.outcome.await.unwrap_or_else(|_| {
            let source = io::Error::other("its thread has panicked");
            Err(OutputError {
                name: self.name,
                source,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: OutputFormat, messages: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        format.write(&mut out, &FrameBatch::encode(messages).expect("small"));
        out
    }

    #[test]
    fn each_format_keeps_messages_apart() {
        let messages: &[&[u8]] = &[b"a", b"", b"\x00\xfe"];
        assert_eq!(written(OutputFormat::Lines, messages), b"a\n\n\x00\xfe\n");
        assert_eq!(written(OutputFormat::Hex, messages), b"61\n\n00fe\n");
        assert_eq!(
            written(OutputFormat::Frames, messages),
            b"\0\0\0\x01a\0\0\0\0\0\0\0\x02\0\xfe"
        );
        assert_eq!(written(OutputFormat::Json, &[b"{ }", b"a"]), b"{}\n\"a\"\n");
    }

    #[tokio::test]
    async fn an_output_that_fails_takes_no_more_and_says_why() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let output = Output {
            name: "disk".to_owned(),
            sink: Box::new(Full),
            format: OutputFormat::Lines,
        };
        let thread = output.spawn().expect("a thread");
        while thread
            .write(FrameBatch::encode(["a"]).expect("small"))
            .await
        {}
        let error = thread.finish().await.expect_err("the disk is full");
        assert!(
            error.to_string().starts_with("cannot write disk: "),
            "{error}"
        );
        assert!(!error.is_closed_pipe());
    }
}
