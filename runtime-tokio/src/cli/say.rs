//! What a command says. It is not its work: where it cannot be said, the work goes on.

use std::io::{self, Write};

/// Says `line` to the user, on standard error.
///
/// In one write, so that two commands on one terminal do not tear each other's lines. Where it
/// fails (`2>/dev/full`) there is nobody left to tell.
pub(crate) fn note(line: &str) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Says on standard error that something is wrong.
pub(crate) fn error(error: &dyn std::error::Error) {
    note(&format!("error: {error}"));
}

/// Prints `text`, which the user asked for, on standard output. A reader that has seen enough
/// (`| head`) is no failure.
///
/// # Errors
/// What the system says, a full disk for one.
pub(crate) fn answer(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(io::Error::new(
            error.kind(),
            format!("cannot write standard output: {error}"),
        )),
        Ok(()) | Err(_) => Ok(()),
    }
}
