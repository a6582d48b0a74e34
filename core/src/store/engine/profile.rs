//! What an engine promises.

/// What an engine promises, as far as a broker can tell. All of them: what was appended may be there twice when a
/// connection was lost before it was confirmed; what was delivered and not settled comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// In how many partitions a topic is. Order holds within one, and each is one broker's alone.
    pub partitions: usize,
    /// Whether only the place of the first message of a partition is kept that is not settled: what is settled beyond it
    /// comes again when the group is lost.
    pub settles_in_order: bool,
    /// Whether it says how often a message was delivered before.
    pub counts_deliveries: bool,
    /// Whether it keeps what was before a group, so that one that is new may begin there.
    pub has_history: bool,
}

impl Profile {
    /// As RabbitMQ: a queue for each group, which its consumers share.
    pub const RABBITMQ: Self = Self {
        partitions: 1,
        settles_in_order: false,
        counts_deliveries: true,
        has_history: false,
    };

    /// As Kafka: partitions, which the brokers of a group divide among them.
    pub const KAFKA: Self = Self {
        partitions: 3,
        settles_in_order: true,
        counts_deliveries: false,
        has_history: true,
    };

    /// Whether a message can only come to the broker that its partition is assigned to.
    pub const fn has_partitions(self) -> bool {
        self.partitions > 1
    }
}
