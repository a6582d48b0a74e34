//! What the core does with a batch, and that it allocates for batches only: the number of
//! allocations does not grow with the number of messages.

use bytes::BytesMut;
use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};
use message_queue_core::wire::{Decoded, Decoder, DecoderConfig, FrameBatch, Role};
use message_queue_core::{Broker, Config, ConnId, DeliveryMode, Input, Now, Output};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// Messages of 128 B in a batch: one, a few, and as many as one read brings.
const MESSAGES: [usize; 3] = [1, 64, 1985];

fn main() {
    divan::main();
}

fn batch(messages: usize) -> FrameBatch {
    FrameBatch::encode((0..messages).map(|_| [7; 128])).expect("small messages")
}

/// A read's bytes become a batch.
#[divan::bench(args = MESSAGES)]
fn decode(bencher: Bencher<'_, '_>, messages: usize) {
    let wire = batch(messages).into_bytes();
    bencher
        .counter(ItemsCount::new(messages))
        .with_inputs(|| {
            let mut decoder = Decoder::frames_only(DecoderConfig::default());
            *decoder.recv_buf() = BytesMut::from(&wire[..]);
            decoder
        })
        .bench_refs(|decoder| match decoder.next() {
            Ok(Some(Decoded::Batch(batch))) => batch,
            other => panic!("no batch: {other:?}"),
        });
}

/// A batch is cut in four, as it is for four idle consumers of a queue.
#[divan::bench(args = [64, 1985])]
fn split_in_four(bencher: Bencher<'_, '_>, messages: usize) {
    let whole = batch(messages);
    bencher
        .counter(ItemsCount::new(messages))
        .with_inputs(|| whole.clone())
        .bench_values(|mut rest| {
            let share = messages / 4;
            let parts = [(); 3].map(|()| rest.split_to(share));
            (parts, rest)
        });
}

/// A batch goes to so many consumers, and their sockets take it at once.
#[divan::bench(args = [1, 10, 100, 1000])]
fn broadcast(bencher: Bencher<'_, '_>, consumers: usize) {
    deliver(bencher, DeliveryMode::Broadcast, consumers, 1985);
}

/// A batch is shared by so many consumers, and their sockets take their share at once.
#[divan::bench(args = [1, 4, 100, 1000])]
fn queue(bencher: Bencher<'_, '_>, consumers: usize) {
    deliver(bencher, DeliveryMode::Queue, consumers, 1985);
}

/// However many messages there are in the batch.
#[divan::bench(args = MESSAGES)]
fn broadcast_to_four(bencher: Bencher<'_, '_>, messages: usize) {
    deliver(bencher, DeliveryMode::Broadcast, 4, messages);
}

fn deliver(bencher: Bencher<'_, '_>, delivery: DeliveryMode, consumers: usize, messages: usize) {
    let config = Config {
        delivery,
        max_consumers: consumers,
        ..Config::default()
    };
    let producer = ConnId(0);
    let mut broker = Broker::new(config);
    open(&mut broker, producer, Role::Producer);
    for number in 1..=consumers as u64 {
        open(&mut broker, ConnId(number), Role::Consumer);
    }
    let batch = batch(messages);
    bencher.counter(ItemsCount::new(messages)).bench_local(|| {
        broker.handle_input(producer, Input::Batch(black_box(batch.clone())), Now::START);
        settle(&mut broker);
    });
}

fn open(broker: &mut Broker, conn: ConnId, role: Role) {
    broker.handle_input(conn, Input::Opened, Now::START);
    broker.handle_input(conn, Input::Role(role), Now::START);
    settle(broker);
}

/// Does what a runtime does whose sockets take everything.
fn settle(broker: &mut Broker) {
    while let Some(output) = broker.poll_output() {
        if let Output::Write { conn, write } = output {
            let bytes = write.batches().iter().map(FrameBatch::byte_len).sum();
            broker.handle_input(conn, Input::Written(bytes), Now::START);
        }
    }
}
