//! What works over TLS: all that works without.

use crate::authority;
use crate::world::{PATIENCE, Wanted, World};
use message_queue_core::wire::FrameBatch;
use message_queue_core::{Config, DeliveryMode, Overflow};
use message_queue_tokio::access::tls::{ClientAuth, Ports};
use message_queue_tokio::client::{Consumer, Producer, acked};
use message_queue_tokio::net::Listener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

fn queue() -> Wanted {
    Wanted {
        config: Config {
            delivery: DeliveryMode::Queue,
            ..Config::default()
        },
        ..Wanted::default()
    }
}

#[tokio::test]
async fn version_1_over_tls_and_without_are_one_broker() {
    let world = World::start(queue()).await;
    let tls = world.client();
    let mut producer = Producer::connect_with(&world.tls, Some(&tls))
        .await
        .unwrap();
    let mut plain = Producer::connect(&world.plain).await.unwrap();
    for number in 0..1000_u32 {
        producer.send(number.to_string()).await.unwrap();
    }
    producer.finish().await.unwrap();
    plain.send("plain").await.unwrap();
    plain.finish().await.unwrap();

    let mut consumer = Consumer::connect_with(&world.tls, Some(&tls))
        .await
        .unwrap();
    for number in 0..1000_u32 {
        let message = consumer.next().await.unwrap().unwrap();
        assert_eq!(message, number.to_string());
    }
    assert_eq!(consumer.next().await.unwrap().unwrap(), "plain");
    assert_eq!(world.handshakes.completed(), 2);
    // The end of a drain is an orderly one: with TLS's mark, without which this is an error.
    world.broker.drain(PATIENCE);
    assert_eq!(consumer.next().await.unwrap(), None);
    let stats = world.serving.await.unwrap();
    assert_eq!(stats.flow.delivered.messages, 1001);
}

#[tokio::test]
async fn version_2_over_tls_confirms_and_acknowledges() {
    let world = World::start(Wanted::default()).await;
    let tls = world.client();
    // A group gets what comes after it.
    let consumer = acked::Consumer::builder()
        .topic("t")
        .group("g")
        .tls(tls.clone());
    let mut consumer = consumer.connect(&world.tls).await.unwrap();
    let producer = acked::Producer::builder().topic("t").tls(tls);
    let producer = producer.connect(&world.tls).await.unwrap();
    let large = vec![b'x'; 1 << 20];
    for number in 0..100_u32 {
        producer.send(number.to_string()).await.unwrap();
    }
    producer.send(&large).await.unwrap();
    producer.close().await.unwrap();

    for number in 0..100_u32 {
        let message = consumer.next().await.unwrap();
        assert_eq!(message.body, number.to_string());
        message.ack();
    }
    let message = consumer.next().await.unwrap();
    assert!(message.body == large);
    message.ack();
    consumer.close().await;
    world.drain().await;
}

/// Each consumer reads in steps of its own; one of them slowly and in small pieces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fan_out_of_bulk_with_a_slow_reader_loses_nothing() {
    const CONSUMERS: usize = 4;
    const MESSAGES: usize = 300;
    const SIZE: usize = 100_000;
    let world = World::start(Wanted {
        config: Config {
            overflow: Overflow::Block,
            ..Config::default()
        },
        ..Wanted::default()
    })
    .await;
    let tls = world.client();
    let message = |number: usize| vec![(number % 251) as u8; SIZE];
    let mut reading = Vec::new();
    for index in 0..CONSUMERS {
        let stream = TcpStream::connect(&world.tls).await.unwrap();
        let mut stream = tls.connect(&world.tls, stream).await.unwrap();
        stream.write_all(b"CONSUMER\n").await.unwrap();
        reading.push(tokio::spawn(async move {
            let step = if index == 0 { 1000 } else { 1 << 20 };
            let mut received = Vec::new();
            let mut part = vec![0; step];
            loop {
                match stream.read(&mut part).await.unwrap() {
                    0 => return received,
                    bytes => received.extend_from_slice(&part[..bytes]),
                }
                if index == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }));
    }
    world
        .until(|it| it.broker.snapshot().stats.consumers == CONSUMERS)
        .await;
    let mut producer = Producer::connect_with(&world.tls, Some(&tls))
        .await
        .unwrap();
    for number in 0..MESSAGES {
        producer.send(message(number)).await.unwrap();
    }
    producer.finish().await.unwrap();
    world.broker.drain(PATIENCE);
    let expected = FrameBatch::encode((0..MESSAGES).map(message)).unwrap();
    for reading in reading {
        let received = timeout(PATIENCE, reading).await.unwrap().unwrap();
        assert!(received == *expected.as_bytes(), "{} bytes", received.len());
    }
    let stats = world.serving.await.unwrap();
    assert_eq!(stats.flow.delivered.messages, (CONSUMERS * MESSAGES) as u64);
    assert_eq!(stats.flow.dropped_in_all().messages, 0);
}

/// The broker drains while a consumer has taken nothing for a while: what was handed to it still arrives, and so
/// does the mark of the end.
#[tokio::test]
async fn a_drain_waits_for_what_encryption_still_holds() {
    const SIZE: usize = 1 << 20;
    const MESSAGES: usize = 12;
    let world = World::start(queue()).await;
    let tls = world.client();
    let stream = TcpStream::connect(&world.tls).await.unwrap();
    let mut consumer = tls.connect(&world.tls, stream).await.unwrap();
    consumer.write_all(b"CONSUMER\n").await.unwrap();
    world
        .until(|it| it.broker.snapshot().stats.consumers == 1)
        .await;
    let mut producer = Producer::connect(&world.plain).await.unwrap();
    for _ in 0..MESSAGES {
        producer.send(vec![7; SIZE]).await.unwrap();
    }
    producer.finish().await.unwrap();
    world.broker.drain(PATIENCE);
    let mut received = Vec::new();
    let read = timeout(PATIENCE, consumer.read_to_end(&mut received)).await;
    read.unwrap().unwrap();
    assert_eq!(received.len(), MESSAGES * (SIZE + 4));
    let stats = world.serving.await.unwrap();
    assert_eq!(stats.flow.delivered.messages, MESSAGES as u64);
}

#[tokio::test]
async fn mutual_tls_knows_who_is_there() {
    let world = World::start(Wanted {
        client_auth: ClientAuth::Optional,
        ..queue()
    })
    .await;
    // A listener of our own shows what the driver will see.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    let options = message_queue_tokio::access::tls::TlsOptions {
        config: {
            let tls = std::sync::Arc::clone(&world.server_tls);
            std::sync::Arc::new(move || tls.config())
        },
        timeout: PATIENCE,
        most: 1,
        handshakes: std::sync::Arc::clone(&world.handshakes),
    };
    let port = message_queue_tokio::access::tls::TlsPort::new(listener, options);
    let mut ports = Ports::new(None, Some(port));

    let pair = world.authority.issue(&authority::client(
        "encoder",
        "spiffe://example.org/encoder",
    ));
    for (tls, expected) in [
        (world.client_with(&pair), Some("encoder")),
        (world.client(), None),
    ] {
        let connecting = async {
            let stream = TcpStream::connect(&address).await.unwrap();
            tls.connect(&address, stream).await.unwrap()
        };
        let (client, accepted) = tokio::join!(connecting, ports.accept());
        let (stream, _) = accepted.unwrap();
        let shown = Ports::<TcpListener>::certificate(&stream);
        assert_eq!(
            shown.as_ref().and_then(|it| it.common_name.as_deref()),
            expected
        );
        if let Some(shown) = shown {
            assert_eq!(shown.uris, ["spiffe://example.org/encoder"]);
        }
        drop(client);
    }
    world.drain().await;
}
