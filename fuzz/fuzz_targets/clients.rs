//! Whatever a broker sends, a client of wire version 2 does not panic, and how it is cut into reads changes nothing.
//!
//! The first byte of the input says which client; the rest is what it reads.

#![no_main]

use libfuzzer_sys::fuzz_target;
use message_queue_core::Now;
use message_queue_core::client::{
    ConsumerClient, ConsumerEvent, ProducerClient, ProducerEvent, Window,
};
use message_queue_core::wire::handshake::{ConsumerOptions, ProducerOptions};

fuzz_target!(|input: &[u8]| {
    let Some((&first, stream)) = input.split_first() else {
        return;
    };
    let check = first % 4 == 3;
    if first % 2 == 0 {
        assert_eq!(producer(stream, stream.len()), producer(stream, 1));
    } else {
        let whole = consumer(check, stream, stream.len());
        assert_eq!(whole, consumer(check, stream, 1));
    }
});

/// What a producer tells that reads this, so many bytes at a time.
fn producer(stream: &[u8], read: usize) -> Vec<ProducerEvent> {
    let options = ProducerOptions {
        confirm: true,
        ..ProducerOptions::default()
    };
    let mut client = ProducerClient::new(options, Window::default());
    client.connected(Now::START);
    for bytes in stream.chunks(read.max(1)) {
        let Some(buffer) = client.recv_buf() else {
            break;
        };
        buffer.extend_from_slice(bytes);
        client.received(Now::START);
    }
    while client.poll_transmit(Now::START).is_some() {}
    std::iter::from_fn(|| client.poll_event()).collect()
}

/// What a consumer tells that reads this, and verifies it or not; messages one by one.
fn consumer(check: bool, stream: &[u8], read: usize) -> Vec<String> {
    let mut client = ConsumerClient::new(ConsumerOptions {
        check,
        ..ConsumerOptions::default()
    });
    client.connected(Now::START);
    for bytes in stream.chunks(read.max(1)) {
        let Some(buffer) = client.recv_buf() else {
            break;
        };
        buffer.extend_from_slice(bytes);
        client.received(Now::START);
    }
    while client.poll_transmit(Now::START).is_some() {}
    let mut told = Vec::new();
    while let Some(event) = client.poll_event() {
        let ConsumerEvent::Delivered(delivery) = event else {
            told.push(format!("{event:?}"));
            continue;
        };
        for (place, body) in delivery.batch.bodies().enumerate() {
            let sequence = delivery.sequence.saturating_add(place as u64);
            told.push(format!(
                "{sequence} {:?} {body:?}",
                delivery.position(place)
            ));
        }
        told.extend(delivery.origin.map(|origin| format!("{origin:?}")));
    }
    told
}
