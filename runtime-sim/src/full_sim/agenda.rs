//! Faults become a list of deeds, each at its moment.

use crate::plan::{Direction, Fault, FaultKind, MILLISECOND, Micros, PacketFault, PacketFaultKind};

/// Something that is done to the world.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    /// A client's connections are reset; it stays away for a while.
    Reset(u32, Micros),
    /// A client leaves for a while.
    Leave(u32, Micros),
    /// A client does nothing, or goes on.
    Stall(u32, bool),
    /// Nothing gets through between a client and the broker, and nothing is lost.
    Hold(u32),
    /// Every packet between a client and the broker is lost.
    Cut(u32, Direction),
    /// What `Hold` and `Cut` began is over.
    Mend(u32),
    /// Packets take so much longer at the most.
    Lag(Micros),
    /// Of a hundred packets, so many are lost.
    Loss(u64),
    /// Of a hundred packets, so many arrive twice.
    Duplication(u64),
    /// The broker is killed.
    KillBroker,
    /// The broker's host loses its power.
    CutBrokersPower,
    /// The broker starts, if it is not running.
    StartBroker,
    /// A client is killed.
    KillClient(u32),
    /// A client's host loses its power.
    CutClientsPower(u32),
    /// A client starts, if it is not running.
    StartClient(u32),
}

/// A deed, when, and what to say of it if it is the beginning of a fault.
pub(crate) struct Item {
    pub(crate) at: Micros,
    pub(crate) deed: Deed,
    pub(crate) words: Option<String>,
}

/// All that is done while clients publish, in order.
pub(crate) fn of(faults: &[Fault], packets: &[PacketFault]) -> Vec<Item> {
    let mut items = Vec::new();
    let mut add = |at, words: String, deed, end: Option<(Micros, Deed)>| {
        let words = Some(words);
        items.push(Item { at, deed, words });
        if let Some((span, deed)) = end {
            let (at, words) = (at + span, None);
            items.push(Item { at, deed, words });
        }
    };
    for fault in faults {
        let (deed, end) = match &fault.kind {
            FaultKind::Reset { client, away_us } => (Deed::Reset(*client, *away_us), None),
            FaultKind::Leave { client, away_us } => (Deed::Leave(*client, *away_us), None),
            FaultKind::Stall { client, for_us } => {
                let end = (*for_us, Deed::Stall(*client, false));
                (Deed::Stall(*client, true), Some(end))
            }
            FaultKind::Hold { client, for_us } => {
                (Deed::Hold(*client), Some((*for_us, Deed::Mend(*client))))
            }
            FaultKind::Lag { extra_us, for_us } => {
                (Deed::Lag(*extra_us), Some((*for_us, Deed::Lag(0))))
            }
            FaultKind::Restart { down_us } => {
                (Deed::KillBroker, Some((*down_us, Deed::StartBroker)))
            }
            FaultKind::EndedByOperator { .. } | FaultKind::Purge => continue,
        };
        add(fault.at_us, describe(&fault.kind), deed, end);
    }
    for fault in packets {
        let (deed, end) = match fault.kind {
            PacketFaultKind::Loss { percent } => (Deed::Loss(percent), Deed::Loss(0)),
            PacketFaultKind::Duplication { percent } => {
                (Deed::Duplication(percent), Deed::Duplication(0))
            }
            PacketFaultKind::Partition { client, direction } => {
                (Deed::Cut(client, direction), Deed::Mend(client))
            }
            PacketFaultKind::KillClient { client } => {
                (Deed::KillClient(client), Deed::StartClient(client))
            }
            PacketFaultKind::ClientPowerCut { client } => {
                (Deed::CutClientsPower(client), Deed::StartClient(client))
            }
            PacketFaultKind::BrokerPowerCut => (Deed::CutBrokersPower, Deed::StartBroker),
        };
        add(
            fault.at_us,
            fault.describe(),
            deed,
            Some((fault.for_us, end)),
        );
    }
    items.sort_by_key(|item| item.at);
    items
}

/// What happens, in words.
fn describe(fault: &FaultKind) -> String {
    match fault {
        FaultKind::Reset { client, .. } => format!("client {client} reset"),
        FaultKind::Leave { client, .. } => format!("client {client} leaves"),
        FaultKind::Stall { client, for_us } => {
            format!("client {client} stalls for {} ms", for_us / MILLISECOND)
        }
        FaultKind::Hold { client, for_us } => {
            format!("client {client} held for {} ms", for_us / MILLISECOND)
        }
        FaultKind::Lag { extra_us, for_us } => format!(
            "up to {} ms longer for {} ms",
            extra_us / MILLISECOND,
            for_us / MILLISECOND
        ),
        FaultKind::Restart { down_us } => {
            format!("broker killed for {} ms", down_us / MILLISECOND)
        }
        FaultKind::EndedByOperator { client } => format!("client {client} ended by an operator"),
        FaultKind::Purge => "queue emptied by an operator".to_owned(),
    }
}
