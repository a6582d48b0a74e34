//! What the log says of connections and dropped messages, and how often.

use message_queue_core::wire::Role;
use message_queue_core::{CloseReason, ConnId, Count, DropReason, GroupId};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tracing::{debug, info, warn};

/// The most lines a second about peers that were turned away or broke the protocol, for each
/// reason. A flood of them would otherwise be a flood of log lines; and one limit for all of them
/// would let a port scanner hide a consumer that stalled.
const LINES_A_SECOND: u32 = 5;

/// Gathers what is told at most once a second: [`tell`](Self::tell).
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Drops since the last telling; for each group in one line. No larger than the number of
    /// groups that lost something within that second.
    dropped: BTreeMap<Option<GroupId>, BTreeMap<DropReason, Count>>,
    /// Connections that ended by a fault since the last telling, by [`CloseReason::index`]; those
    /// included that had no line.
    faults: [u32; CloseReason::COUNT],
}

impl Report {
    pub(crate) fn registered(&self, conn: ConnId, peer: SocketAddr, role: Role) {
        info!(conn = %conn, peer = %peer, role = %role, "registered");
    }

    pub(crate) fn dropped(&mut self, group: Option<GroupId>, reason: DropReason, count: Count) {
        *self
            .dropped
            .entry(group)
            .or_default()
            .entry(reason)
            .or_default() += count;
    }

    pub(crate) fn closed(
        &mut self,
        conn: ConnId,
        peer: SocketAddr,
        role: Option<Role>,
        reason: CloseReason,
    ) {
        match reason {
            CloseReason::PeerClosed | CloseReason::PeerReset | CloseReason::Drained => match role {
                Some(role) => {
                    info!(conn = %conn, peer = %peer, role = %role, reason = %reason, "closed")
                }
                // How load balancers and port scanners knock.
                None => debug!(conn = %conn, peer = %peer, reason = %reason, "closed"),
            },
            CloseReason::Protocol(error) => {
                if self.may_tell(reason) {
                    warn!(conn = %conn, peer = %peer, reason = %reason, detail = %error, "closed");
                }
            }
            CloseReason::RoleTimeout
            | CloseReason::WriteTimeout
            | CloseReason::TooManyConnections
            | CloseReason::TooManyConsumers
            | CloseReason::Draining
            | CloseReason::DrainTimeout => {
                if self.may_tell(reason) {
                    warn!(conn = %conn, peer = %peer, reason = %reason, "closed");
                }
            }
        }
    }

    /// Tells what has gathered. To be called once a second, and at the end.
    pub(crate) fn tell(&mut self) {
        for (group, reasons) in std::mem::take(&mut self.dropped) {
            let mut sum = Count::ZERO;
            let mut why = String::new();
            for (reason, count) in reasons {
                sum += count;
                let space = if why.is_empty() { "" } else { " " };
                why.push_str(&format!("{space}{reason}={}", count.messages));
            }
            let Count { messages, bytes } = sum;
            let group = group.map(tracing::field::display);
            warn!(group, messages, bytes, reasons = why, "dropped");
        }
        let faults = std::mem::take(&mut self.faults);
        for reason in CloseReason::ALL {
            let untold = faults[reason.index()].saturating_sub(LINES_A_SECOND);
            if untold > 0 {
                warn!(reason = %reason, connections = untold, "closed, without a line for each");
            }
        }
    }

    /// Whether a connection that ended for `reason` gets a line of its own.
    fn may_tell(&mut self, reason: CloseReason) -> bool {
        let faults = &mut self.faults[reason.index()];
        *faults = faults.saturating_add(1);
        *faults <= LINES_A_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use message_queue_core::ProtocolError;
    use serde_json::Value;
    use std::io;
    use std::net::Ipv4Addr;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that a report logs.
    fn lines(events: impl FnOnce(&mut Report)) -> Vec<Value> {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || events(&mut Report::default()));
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn close(report: &mut Report, reason: CloseReason) {
        let peer = (Ipv4Addr::LOCALHOST, 1).into();
        report.closed(ConnId(1), peer, Some(Role::Consumer), reason);
    }

    #[test]
    fn a_flood_of_one_fault_is_a_few_lines_and_hides_no_other() {
        let scan = CloseReason::Protocol(ProtocolError::UnknownRole);
        let lines = lines(|report| {
            for _ in 0..1000 {
                close(report, scan);
            }
            close(report, CloseReason::WriteTimeout);
            report.tell();
            close(report, scan);
        });
        let of = |reason: CloseReason| {
            let named = lines
                .iter()
                .filter(move |it| it["reason"] == reason.as_str());
            named.collect::<Vec<_>>()
        };
        let scans = of(scan);
        assert_eq!(scans.len(), LINES_A_SECOND as usize + 2, "{lines:?}");
        assert_eq!(scans[0]["message"], "closed");
        assert!(scans[0]["detail"].is_string());
        assert_eq!(scans[LINES_A_SECOND as usize]["connections"], 995);
        assert_eq!(of(CloseReason::WriteTimeout).len(), 1);
    }

    #[test]
    fn drops_are_one_line_for_each_consumer_or_queue_with_how_many_and_why() {
        let lines = lines(|report| {
            for _ in 0..1000 {
                for (group, reason) in [
                    (GroupId::Shared, DropReason::BacklogMessages),
                    (GroupId::Own(ConnId(7)), DropReason::BacklogMessages),
                    (GroupId::Own(ConnId(7)), DropReason::BrokerBytes),
                ] {
                    report.dropped(Some(group), reason, Count::new(2, 20));
                }
            }
            report.tell();
            report.tell();
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        let own = lines.iter().find(|it| it["messages"] == 4000).unwrap();
        assert_eq!(own["level"], "WARN");
        assert_eq!(own["bytes"], 40_000);
        assert_eq!(own["reasons"], "backlog_messages=2000 broker_bytes=2000");
    }
}
