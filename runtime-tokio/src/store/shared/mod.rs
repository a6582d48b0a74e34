//! What the engines have in common that brokers share (docs/ENGINES.md).

mod complaint;
mod origin;
mod pieces;

pub(super) use complaint::Complaint;
pub(super) use origin::{
    ORIGIN_FAILURES, ORIGIN_GROUP, ORIGIN_PUBLISHED, ORIGIN_REASON, ORIGIN_SEQUENCE, ORIGIN_TOPIC,
};
pub(super) use pieces::{Piece, PieceState, Pieces};
