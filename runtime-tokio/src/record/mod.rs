//! The flight recorder: every input of the core, with its time, in a bounded ring of files.
//!
//! ```text
//! driver ─▶ Recorder ─▶ queue ─▶ writer thread ─▶ ring of files ─▶ Reader ─▶ replay
//!           recorder.rs          writer.rs        ring.rs          reader.rs  (message-queue-sim)
//! ```
//!
//! The core is a function of its inputs, so a broker in the state in which a file begins, told what
//! the file says, does again what the recorded one did. The recording also says what that was, with
//! a digest in place of messages, so that a replay can be held to it.
//!
//! **A file** ([`mod@file`]) begins with a line of text, [`Header`], and a checkpoint of the core: any
//! file of the ring can be replayed without those before it. Steps follow ([`Step`]), each a record
//! with a length and a checksum. A file ends with a record that says why it does; one that has none,
//! or a torn one, was left by a broker that was killed.
//!
//! **What is kept of messages** ([`Payloads`]) is all of them, or their lengths and hashes.
//!
//! **The broker never waits for the disk.** What happens is queued, by reference, for a thread that
//! encodes and writes it. Waiting would be the easier rule, but a broker that waits under the lock
//! of its core reads late and delivers late, and then drops and disconnects where it would not have:
//! the recorder would change what it records. So when the disk falls behind by more than the queue
//! holds, the file ends with a gap, and another one begins, with a checkpoint, once the disk has
//! caught up. A disk that fails or is full ends the recording; the broker goes on.
//!
//! `docs/FLIGHT_RECORDER.md` is the page for operators.

pub mod file;
mod header;
mod memory;
mod payload;
mod reader;
mod recorder;
mod ring;
mod size;
mod status;
mod step;
mod writer;

pub use file::{Malformed, Record, StopCause};
pub use header::{FORMAT, Header};
pub use payload::{Kept, Payloads};
pub use reader::{ReadError, Reader};
pub use recorder::{Options, Recorder, StartError};
pub use ring::{RecordedFile, recorded_files};
pub use status::RecordingStatus;
pub use step::{Call, Digest, Step};
