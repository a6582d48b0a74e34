//! What has happened.

use std::ops::AddAssign;

/// How often something happened.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) again: u64,
    pub(crate) dead: u64,
    pub(crate) waited: u64,
    pub(crate) refused: u64,
    pub(crate) resumed: u64,
    pub(crate) taken_over: u64,
    pub(crate) lost: u64,
    pub(crate) revoked: u64,
    pub(crate) settled_late: u64,
    pub(crate) expired: u64,
    pub(crate) forbidden: u64,
    pub(crate) turned_away: u64,
    pub(crate) sent_elsewhere: u64,
    pub(crate) drains: u64,
    pub(crate) too_late: u64,
    pub(crate) let_go: u64,
    pub(crate) came_late: u64,
    pub(crate) alone: u64,
    pub(crate) topics: u64,
    pub(crate) gaps_by_pattern: u64,
    pub(crate) by_pattern: u64,
    pub(crate) alone_by_pattern: u64,
    pub(crate) of_several_topics: u64,
}

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.again += other.again;
        self.dead += other.dead;
        self.waited += other.waited;
        self.refused += other.refused;
        self.resumed += other.resumed;
        self.taken_over += other.taken_over;
        self.lost += other.lost;
        self.revoked += other.revoked;
        self.settled_late += other.settled_late;
        self.expired += other.expired;
        self.forbidden += other.forbidden;
        self.turned_away += other.turned_away;
        self.sent_elsewhere += other.sent_elsewhere;
        self.drains += other.drains;
        self.too_late += other.too_late;
        self.let_go += other.let_go;
        self.came_late += other.came_late;
        self.alone += other.alone;
        self.topics += other.topics;
        self.gaps_by_pattern += other.gaps_by_pattern;
        self.by_pattern += other.by_pattern;
        self.alone_by_pattern += other.alone_by_pattern;
        self.of_several_topics += other.of_several_topics;
    }
}
