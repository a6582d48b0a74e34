//! What the log says of connections and dropped messages, and how often.

use message_queue_core::wire::Role;
use message_queue_core::{CloseReason, ConnId, Count, DropReason, GroupId};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tracing::{debug, info, warn};

/// The most lines a second about peers that were turned away or broke the protocol. A flood of
/// them would otherwise be a flood of log lines.
const FAULTS_A_SECOND: u32 = 10;

/// Gathers what is told at most once a second: [`tell`](Self::tell).
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Drops since the last telling; for each group in one line. No larger than the number of
    /// groups that lost something within that second.
    dropped: BTreeMap<Option<GroupId>, BTreeMap<DropReason, Count>>,
    /// Faults since the last telling, those included that had no line.
    faults: u32,
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
                if self.may_tell_fault() {
                    warn!(conn = %conn, peer = %peer, reason = %reason, "closed: {error}");
                }
            }
            CloseReason::RoleTimeout
            | CloseReason::WriteTimeout
            | CloseReason::TooManyConnections
            | CloseReason::TooManyConsumers
            | CloseReason::Draining
            | CloseReason::DrainTimeout => {
                if self.may_tell_fault() {
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
        let untold = self.faults.saturating_sub(FAULTS_A_SECOND);
        if untold > 0 {
            warn!(
                connections = untold,
                "closed, with no line of their own in this second"
            );
        }
        self.faults = 0;
    }

    fn may_tell_fault(&mut self) -> bool {
        self.faults = self.faults.saturating_add(1);
        self.faults <= FAULTS_A_SECOND
    }
}
