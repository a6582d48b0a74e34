//! What the core wants published and an engine has not confirmed, for one topic.

use message_queue_core::Count;
use message_queue_core::store::Answer;
use message_queue_core::wire::FrameBatch;
use message_queue_core::wire::control::Origin;
use std::collections::VecDeque;
use std::iter;

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
    /// The engine has it, but for so much, which it has given to nobody.
    Confirmed(Count),
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

    /// The engine has got a piece that was sent by this connection, and has given so much of it to nobody; or it has not
    /// got it.
    pub(in crate::store) fn confirmed(
        &mut self,
        last: u64,
        connection: u64,
        unrouted: Option<Count>,
    ) {
        let Ok(at) = self.0.binary_search_by_key(&last, |it| it.last) else {
            return;
        };
        if self.0[at].state == PieceState::Sent(connection) {
            self.0[at].state = unrouted.map_or(PieceState::Waiting, PieceState::Confirmed);
        }
    }

    /// How far all is appended that was not before: an answer for each piece of which some was given to nobody, and one for
    /// what follows.
    pub(in crate::store) fn appended(&mut self) -> impl Iterator<Item = Answer> {
        iter::from_fn(|| self.take_appended())
    }

    fn take_appended(&mut self) -> Option<Answer> {
        let mut appended = None;
        while let Some(PieceState::Confirmed(unrouted)) = self.0.front().map(|it| it.state) {
            let up_to = self.0.pop_front()?.last;
            appended = Some(Answer::Appended { up_to, unrouted });
            if !unrouted.is_zero() {
                break;
            }
        }
        appended
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The connection that all is sent by, if nothing else is said.
    const NOW: u64 = 2;

    /// So many pieces of one message, which are sent.
    fn sent(pieces: u64) -> Pieces {
        let mut all = Pieces::default();
        for first in 1..=pieces {
            all.push(first, 1000, FrameBatch::encode(["a"]).unwrap(), None);
        }
        for piece in all.waiting() {
            piece.state = PieceState::Sent(NOW);
        }
        all
    }

    #[test]
    fn what_came_to_nobody_ends_an_answer() {
        let mut pieces = sent(4);
        let nobody = Count::new(1, 5);
        for (last, unrouted) in [(4, Count::ZERO), (2, nobody), (3, Count::ZERO)] {
            pieces.confirmed(last, NOW, Some(unrouted));
            assert_eq!(pieces.appended().count(), 0, "1 is not there");
        }
        pieces.confirmed(1, NOW, Some(Count::ZERO));
        let answers: Vec<Answer> = pieces.appended().collect();
        let second = Answer::Appended {
            up_to: 2,
            unrouted: nobody,
        };
        assert_eq!(answers, [second, Answer::appended(4)]);
    }

    #[test]
    fn what_the_engine_has_not_got_or_another_connection_says_is_sent_again() {
        let mut pieces = sent(2);
        pieces.confirmed(1, NOW, None);
        pieces.confirmed(2, NOW - 1, Some(Count::ZERO));
        let waiting: Vec<u64> = pieces.waiting().map(|it| it.last).collect();
        assert_eq!(waiting, [1]);
        assert_eq!(pieces.appended().count(), 0);
    }
}
