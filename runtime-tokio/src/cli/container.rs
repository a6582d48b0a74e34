//! What runs as process 1 of a container.
//!
//! An image has one health check for all that may be run from it. The clients serve no HTTP, so there
//! the check must not ask.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The name of this program's file.
const PROGRAM: &str = "message-queue";

/// Whether process 1 may be a broker. It may where it is another program, or where nobody can tell.
pub(super) fn may_serve() -> bool {
    fs::read("/proc/1/cmdline").map_or(true, |arguments| starts_broker(&arguments))
}

/// Whether these arguments, each of which ends in a zero byte, do not start a client. The program may
/// come behind another one that starts it, as with `docker run --init`.
fn starts_broker(arguments: &[u8]) -> bool {
    let mut arguments = arguments.split(|&byte| byte == 0);
    let is_program = |argument: &[u8]| {
        Path::new(OsStr::from_bytes(argument)).file_name() == Some(OsStr::new(PROGRAM))
    };
    if !arguments.any(is_program) {
        return true;
    }
    // Without a command it is a broker, and flags alone are a broker's.
    match arguments.next() {
        None | Some(b"" | b"serve") => true,
        Some(command) => command.starts_with(b"-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_told_from_a_client() {
        for broker in [
            "",
            "/bin/sh\0-c\0message-queue consume\0",
            "/message-queue\0",
            "/message-queue\0serve\0",
            "/message-queue\0--print-config\0",
            "/sbin/docker-init\0--\0/message-queue\0serve\0",
        ] {
            assert!(starts_broker(broker.as_bytes()), "{broker:?}");
        }
        for client in [
            "/message-queue\0consume\0--addr\0serve:9080\0",
            "/message-queue\0produce\0-\0",
            "message-queue\0bench\0",
            "/sbin/docker-init\0--\0/message-queue\0consume\0",
        ] {
            assert!(!starts_broker(client.as_bytes()), "{client:?}");
        }
    }
}
