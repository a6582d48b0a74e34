//! What the core wants published and an engine has not confirmed, for one topic.

use message_queue_core::store::Answer;
use message_queue_core::wire::FrameBatch;
use message_queue_core::wire::control::Origin;
use std::collections::VecDeque;

/// Messages that the core wants appended together.
pub(in crate::store) struct Piece {
    pub(in crate::store) last: u64,
    pub(in crate::store) published: u64,
    pub(in crate::store) batch: FrameBatch,
    pub(in crate::store) origin: Option<Box<Origin>>,
    pub(in crate::store) state: PieceState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum PieceState {
    Waiting,
    /// On its way by this connection.
    Sent(u64),
    Confirmed,
}

/// Pieces, in order.
#[derive(Default)]
pub(in crate::store) struct Pieces(VecDeque<Piece>);

impl Pieces {
    /// Takes one; its first message has this sequence.
    pub(in crate::store) fn push(
        &mut self,
        first: u64,
        published: u64,
        batch: FrameBatch,
        origin: Option<Box<Origin>>,
    ) {
        self.0.push_back(Piece {
            last: first + batch.messages() as u64 - 1,
            published,
            batch,
            origin,
            state: PieceState::Waiting,
        });
    }

    /// Those that are to be sent.
    pub(in crate::store) fn waiting(&mut self) -> impl Iterator<Item = &mut Piece> {
        let pieces = self.0.iter_mut();
        pieces.filter(|it| it.state == PieceState::Waiting)
    }

    /// The engine has, or has not, got a piece that was sent by this connection.
    pub(in crate::store) fn confirmed(&mut self, last: u64, connection: u64, is_there: bool) {
        let Ok(at) = self.0.binary_search_by_key(&last, |it| it.last) else {
            return;
        };
        if self.0[at].state == PieceState::Sent(connection) {
            self.0[at].state = if is_there {
                PieceState::Confirmed
            } else {
                PieceState::Waiting
            };
        }
    }

    /// How far all is appended, if that is further than before.
    pub(in crate::store) fn appended(&mut self) -> Option<Answer> {
        let mut up_to = None;
        while let Some(piece) = self.0.pop_front_if(|it| it.state == PieceState::Confirmed) {
            up_to = Some(piece.last);
        }
        up_to.map(|up_to| Answer::Appended { up_to })
    }

    /// The connection is lost: what was on its way is to be sent again.
    pub(in crate::store) fn lose_connection(&mut self) {
        for piece in &mut self.0 {
            if let PieceState::Sent(_) = piece.state {
                piece.state = PieceState::Waiting;
            }
        }
    }

    /// Whether there is none.
    #[cfg(feature = "kafka")]
    pub(in crate::store) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
