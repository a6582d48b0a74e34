//! What turmoil-net's TCP leaves out, and without which a connection can stand still for ever.
//!
//! A real TCP answers a segment that it has already had, so that an acknowledgement which was lost
//! is said again; and it answers probes of a closed window, so that a window update which was lost
//! (or never sent, as turmoil-net does if the reader reads in small pieces) is said again. Here,
//! both ends of every connection restate both at intervals. These segments take the same way as all
//! others and may be lost like them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use turmoil_net::{EnterGuard, NetstatState, Packet, TcpFlags, TcpSegment, Transport, netstat};

/// How often an end restates what it has received.
pub const RESTATED_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Upkeep {
    /// The receive buffer of every socket.
    socket_bytes: usize,
    /// The last segment from one end to the other that acknowledged something.
    said: BTreeMap<(SocketAddr, SocketAddr), TcpSegment>,
    due: Duration,
}

impl Upkeep {
    pub(super) const fn new(socket_bytes: usize) -> Self {
        Self {
            socket_bytes,
            said: BTreeMap::new(),
            due: RESTATED_EVERY,
        }
    }

    /// Notes what a packet that leaves its host says.
    pub(super) fn note(&mut self, packet: &Packet) {
        let Transport::Tcp(segment) = &packet.payload else {
            return;
        };
        let from = SocketAddr::new(packet.src, segment.src_port);
        let to = SocketAddr::new(packet.dst, segment.dst_port);
        if segment.flags.rst {
            // The other end goes on until it has heard of it.
            self.said.remove(&(from, to));
        } else if segment.flags.ack {
            self.said.insert((from, to), segment.clone());
        }
    }

    /// What the ends of all connections restate now.
    pub(super) fn restate(&mut self, now: Duration) -> Vec<Packet> {
        if now < self.due {
            return Vec::new();
        }
        self.due = now + RESTATED_EVERY;
        let mut restated = Vec::new();
        let mut hosts: Vec<IpAddr> = self.said.keys().map(|(from, _)| from.ip()).collect();
        hosts.dedup();
        for entry in hosts.into_iter().flat_map(|host| netstat(host).entries) {
            let Some(peer) = entry.peer.filter(|_| is_open(entry.state)) else {
                continue;
            };
            if let Some(said) = self.said.get(&(entry.local, peer)) {
                let room = self.socket_bytes.saturating_sub(entry.recv_q);
                let window = room.min(usize::from(u16::MAX)) as u16;
                restated.push(acknowledgement(entry.local, peer, said, window));
            }
        }
        restated
    }

    /// Resets all connections of a host, at both ends.
    pub(super) fn reset_connections(&mut self, kernels: &EnterGuard, host: IpAddr) {
        for entry in netstat(host).entries {
            if let Some(peer) = entry.peer {
                kernels.deliver(reset(peer, entry.local));
                kernels.deliver(reset(entry.local, peer));
            }
        }
        self.said.retain(|(from, _), _| from.ip() != host);
    }

    /// Makes a host forget its connections without a word to its peers.
    pub(super) fn forget_connections(&mut self, kernels: &EnterGuard, host: IpAddr) {
        for entry in netstat(host).entries {
            if let Some(peer) = entry.peer {
                kernels.deliver(reset(peer, entry.local));
            }
        }
        self.said.retain(|(from, _), _| from.ip() != host);
    }
}

/// Whether a socket has sent, and may be waiting for, an acknowledgement.
const fn is_open(state: Option<NetstatState>) -> bool {
    match state {
        Some(
            NetstatState::Established
            | NetstatState::FinWait1
            | NetstatState::FinWait2
            | NetstatState::CloseWait
            | NetstatState::LastAck
            | NetstatState::Closing,
        ) => true,
        Some(
            NetstatState::Listen
            | NetstatState::SynSent
            | NetstatState::SynReceived
            | NetstatState::Closed,
        )
        | None => false,
    }
}

fn acknowledgement(from: SocketAddr, to: SocketAddr, said: &TcpSegment, window: u16) -> Packet {
    let flags = TcpFlags {
        ack: true,
        ..TcpFlags::default()
    };
    packet(from, to, said.seq, said.ack, flags, window)
}

fn reset(from: SocketAddr, to: SocketAddr) -> Packet {
    let flags = TcpFlags {
        rst: true,
        ..TcpFlags::default()
    };
    packet(from, to, 0, 0, flags, 0)
}

fn packet(
    from: SocketAddr,
    to: SocketAddr,
    seq: u32,
    ack: u32,
    flags: TcpFlags,
    window: u16,
) -> Packet {
    Packet {
        src: from.ip(),
        dst: to.ip(),
        ttl: 64,
        payload: Transport::Tcp(TcpSegment {
            src_port: from.port(),
            dst_port: to.port(),
            seq,
            ack,
            flags,
            window,
            payload: Default::default(),
        }),
    }
}
