//! The process' file descriptors, and who may have how many of them.
//!
//! Clients get what is left when HTTP and files have theirs: an operator can always ask, however
//! many clients there are.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Neither sockets of clients nor of operators: the standard streams, the listeners, the runtimes'
/// own, the recordings, `/proc`.
const FILES: usize = 24;

/// The most sockets, beside those of connections, whose connections were refused or have ended and
/// that are being shut down.
const CLOSING: usize = 64;

/// Who may have how many descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// Connections of clients at a time.
    pub(crate) connections: usize,
    /// Their sockets at a time, those included that are being shut down.
    pub(crate) sockets: usize,
    /// Connections of operators at a time.
    pub(crate) http: usize,
}

impl Descriptors {
    /// Allows the process all that the system lets it have, and shares it out: as many as are
    /// `wanted` if they are enough.
    ///
    /// So many `handshakes` of TLS, on all ports together, have descriptors of their own.
    pub(crate) fn allot(connections: usize, http: usize, handshakes: usize) -> Self {
        let available = raise_limit().saturating_sub(handshakes);
        let allotted = Self::of(available, connections, http);
        if allotted.connections < connections {
            warn!(
                limit = available,
                connections = allotted.connections,
                http_connections = allotted.http,
                "the limit on open files allows fewer connections than MAX_CONNECTIONS; raise `ulimit -n`"
            );
        }
        allotted
    }

    fn of(available: usize, connections: usize, http: usize) -> Self {
        if connections + CLOSING + http + FILES <= available {
            return Self {
                connections,
                sockets: connections + CLOSING,
                http,
            };
        }
        let http = http.min((available / 8).max(1));
        let sockets = available.saturating_sub(FILES + http).max(3);
        let closing = (sockets / 8).clamp(1, CLOSING);
        Self {
            connections: connections.min(sockets - closing),
            sockets,
            http,
        }
    }
}

/// Raises the soft limit on descriptors to the hard one. Returns what it is then.
fn raise_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    let current = limit.current.unwrap_or(u64::MAX);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let available = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => most,
        Err(_) => current,
    };
    usize::try_from(available).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_for_less_than_there_is_gets_it() {
        let allotted = Descriptors::of(20_000, 10_000, 64);
        let expected = Descriptors {
            connections: 10_000,
            sockets: 10_000 + CLOSING,
            http: 64,
        };
        assert_eq!(allotted, expected);
    }

    #[test]
    fn where_they_are_scarce_files_and_operators_keep_theirs() {
        for available in [32, 64, 1024, 4096, 10_000] {
            let Descriptors {
                connections,
                sockets,
                http,
            } = Descriptors::of(available, 10_000, 64);
            assert_eq!(sockets + http + FILES, available);
            assert!(connections >= 1 && connections < sockets && http >= 1);
        }
        assert_eq!(
            Descriptors::of(64, 10_000, 64),
            Descriptors {
                connections: 28,
                sockets: 32,
                http: 8
            }
        );
    }

    #[test]
    fn somebody_can_connect_however_few_there_are() {
        for available in 0..32 {
            let allotted = Descriptors::of(available, 10_000, 64);
            assert!(allotted.connections >= 1 && allotted.http >= 1);
        }
    }
}
