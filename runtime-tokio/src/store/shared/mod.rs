//! What the engines have in common that brokers share (docs/ENGINES.md).

mod complaint;
mod origin;
mod pieces;

pub(super) use complaint::Complaint;
pub(super) use origin::{
    ORIGIN_FAILURES, ORIGIN_GROUP, ORIGIN_PUBLISHED, ORIGIN_REASON, ORIGIN_SEQUENCE, ORIGIN_TOPIC,
};
pub(super) use pieces::{Piece, PieceState, Pieces};

use super::engine::{Order, Store};
use std::thread::JoinHandle;
use tokio::sync::mpsc::UnboundedSender;

/// An engine whose thread is told by a channel.
pub(super) fn told_by(channel: UnboundedSender<Order>, thread: JoinHandle<()>) -> Store {
    let tell = move |order| {
        // When the thread is gone nobody wants to know.
        let _ = channel.send(order);
    };
    Store::new(tell, thread)
}
