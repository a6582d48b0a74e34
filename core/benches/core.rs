//! What the core does with a batch, and that it allocates for batches only: the number of
//! allocations does not grow with the number of messages.

mod work;

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use message_queue_core::wire::Role;
use message_queue_core::{Broker, Config, ConnId, DeliveryMode, Input, Now};
use work::held::{Held, Order};
use work::{A_READ, Delivery, batch, decode, fed, split_in_four};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// Messages of 128 B in a batch: one, a few, and as many as one read brings.
const MESSAGES: [usize; 3] = [1, 64, A_READ];

fn main() {
    divan::main();
}

/// A read's bytes become a batch.
#[divan::bench(name = "decode", args = MESSAGES)]
fn a_read(bencher: Bencher<'_, '_>, messages: usize) {
    let frames = batch(messages).into_bytes();
    bencher
        .counter(ItemsCount::new(messages))
        .with_inputs(|| fed(&frames))
        .bench_refs(decode);
}

/// A batch is cut in four, as it is for four idle consumers of a queue.
#[divan::bench(name = "split_in_four", args = [64, A_READ])]
fn a_split(bencher: Bencher<'_, '_>, messages: usize) {
    let whole = batch(messages);
    bencher
        .counter(ItemsCount::new(messages))
        .with_inputs(|| whole.clone())
        .bench_values(split_in_four);
}

/// A batch goes to so many consumers, and their sockets take it at once.
#[divan::bench(args = [1, 10, 100, 1000])]
fn broadcast(bencher: Bencher<'_, '_>, consumers: usize) {
    deliver(bencher, DeliveryMode::Broadcast, consumers, A_READ);
}

/// A batch is shared by so many consumers, and their sockets take their share at once.
#[divan::bench(args = [1, 4, 100, 1000])]
fn queue(bencher: Bencher<'_, '_>, consumers: usize) {
    deliver(bencher, DeliveryMode::Queue, consumers, A_READ);
}

/// However many messages there are in the batch.
#[divan::bench(args = MESSAGES)]
fn broadcast_to_four(bencher: Bencher<'_, '_>, messages: usize) {
    deliver(bencher, DeliveryMode::Broadcast, 4, messages);
}

/// Beside the one consumer there is one that takes nothing and has no room.
#[divan::bench(args = [A_READ])]
fn broadcast_beside_a_stuck_one(bencher: Bencher<'_, '_>, messages: usize) {
    let delivery = Delivery::new(DeliveryMode::Broadcast, 1, batch(messages));
    publish(bencher, delivery.beside_a_stuck_one(), messages);
}

/// Each of four acknowledges what it is given of a queue, beside so many topics with ten groups each.
#[divan::bench(args = [0, 1000])]
fn queue_acknowledged_beside_topics(bencher: Bencher<'_, '_>, topics: usize) {
    let delivery = Delivery::acked(DeliveryMode::Queue, 4, topics, batch(A_READ));
    publish(bencher, delivery, A_READ);
}

/// A consumer that holds so many messages settles a hundred of them.
#[divan::bench(args = [1000, 100_000], sample_count = 10, sample_size = 1)]
fn a_hundred_settled_in_order(bencher: Bencher<'_, '_>, unsettled: usize) {
    settle_a_hundred(bencher, unsettled, Order::InOrder);
}

/// It settles them here and there.
#[divan::bench(args = [1000, 100_000], sample_count = 10, sample_size = 1)]
fn a_hundred_settled_at_random(bencher: Bencher<'_, '_>, unsettled: usize) {
    settle_a_hundred(bencher, unsettled, Order::AtRandom);
}

fn settle_a_hundred(bencher: Bencher<'_, '_>, unsettled: usize, order: Order) {
    const SETTLED: usize = 100;
    bencher
        .counter(ItemsCount::new(SETTLED))
        .with_inputs(|| Held::new(unsettled))
        .bench_local_refs(|held| {
            let positions = order.positions(unsettled).take(SETTLED);
            positions.for_each(|it| held.settle(it));
        });
}

/// A checkpoint is taken of 10,000 consumers that take nothing, for each of which wait so many
/// batches of a message each.
#[divan::bench(args = [1, 10, 100])]
fn checkpoint(bencher: Bencher<'_, '_>, batches: usize) {
    const CONSUMERS: usize = 10_000;
    bencher
        .counter(ItemsCount::new(CONSUMERS * batches))
        .with_inputs(|| nothing_taken(CONSUMERS, batches))
        .bench_refs(|broker| broker.checkpoint());
}

/// A broker with so many consumers, to which so many batches were published.
fn nothing_taken(consumers: usize, batches: usize) -> Broker {
    let mut broker = Broker::new(Config {
        max_connections: 2 * consumers,
        max_consumers: consumers,
        ..Config::default()
    });
    let mut input = |conn, input| {
        broker.handle_input(ConnId(conn), input, Now::START);
        while broker.poll_output().is_some() {}
    };
    for conn in 0..=consumers as u64 {
        input(conn, Input::Opened);
        let is_producer = conn == 0;
        let role = if is_producer {
            Role::Producer
        } else {
            Role::Consumer
        };
        input(conn, Input::Role(role));
    }
    for _ in 0..batches {
        // Each in a piece of memory of its own.
        input(0, Input::Batch(batch(1)));
    }
    broker
}

fn deliver(bencher: Bencher<'_, '_>, mode: DeliveryMode, consumers: usize, messages: usize) {
    let delivery = Delivery::new(mode, consumers, batch(messages));
    publish(bencher, delivery, messages);
}

fn publish(bencher: Bencher<'_, '_>, mut delivery: Delivery, messages: usize) {
    bencher
        .counter(ItemsCount::new(messages))
        .bench_local(|| delivery.publish());
}
