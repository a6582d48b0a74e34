//! Handshakes that are cut, slow, too many, or none at all.

use crate::bad_certificates::PLAIN_PORT;
use crate::world::{PATIENCE, Wanted, World};
use message_queue_core::{Config, DeliveryMode};
use message_queue_tests::run_book::tables;
use message_queue_tokio::access::tls::Failure;
use message_queue_tokio::client::{Consumer, Producer, acked};
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// What a client sends first.
async fn hello(world: &World) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = world.client();
    let connecting = tokio::spawn(async move {
        let stream = TcpStream::connect(address).await.unwrap();
        // Nobody answers.
        let _ = tls.connect("localhost:1", stream).await;
    });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut hello = vec![0; 5];
    stream.read_exact(&mut hello).await.unwrap();
    let length = usize::from(u16::from_be_bytes([hello[3], hello[4]]));
    hello.resize(5 + length, 0);
    stream.read_exact(&mut hello[5..]).await.unwrap();
    drop(stream);
    connecting.await.unwrap();
    hello
}

/// Sends some bytes to the TLS port.
async fn begin(world: &World, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(&world.tls).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// Passes a message from a producer to a consumer, over TLS or not.
async fn pass(world: &World, over_tls: bool) {
    let tls = world.client();
    let (address, tls) = if over_tls {
        (&world.tls, Some(&tls))
    } else {
        (&world.plain, None)
    };
    let passing = async {
        let mut producer = Producer::connect_with(address, tls).await.unwrap();
        producer.send("hello").await.unwrap();
        producer.finish().await.unwrap();
        let mut consumer = Consumer::connect_with(address, tls).await.unwrap();
        assert_eq!(consumer.next().await.unwrap().unwrap(), "hello");
    };
    timeout(PATIENCE, passing).await.expect("it gets on");
}

fn queue() -> Config {
    Config {
        delivery: DeliveryMode::Queue,
        ..Config::default()
    }
}

#[tokio::test]
async fn handshakes_that_begin_and_stop_cost_nobody_else() {
    const STALLED: usize = 500;
    const MOST: usize = 100;
    let world = World::start(Wanted {
        config: queue(),
        most_handshakes: MOST,
        ..Wanted::default()
    })
    .await;
    let hello = hello(&world).await;
    let mut stalled = Vec::new();
    for index in 0..STALLED {
        // Some say nothing at all, some a part, some all of it.
        let sent = match index % 3 {
            0 => &[][..],
            1 => &hello[..hello.len() / 2],
            _ => &hello,
        };
        stalled.push(begin(&world, sent).await);
    }
    pass(&world, false).await;
    pass(&world, true).await;
    world
        .until(|it| it.failed(Failure::Displaced) as usize >= STALLED - MOST)
        .await;
    assert_eq!(world.broker.snapshot().stats.opened, 4);
    drop(stalled);
    world.drain().await;
}

#[tokio::test]
async fn a_handshake_has_a_deadline() {
    let world = World::start(Wanted {
        config: queue(),
        handshake_timeout: Duration::from_millis(50),
        ..Wanted::default()
    })
    .await;
    let hello = hello(&world).await;
    for bytes in [&[][..], &hello[..1], &hello] {
        let mut stream = begin(&world, bytes).await;
        let mut answer = Vec::new();
        let closed = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        // By an end or by a reset.
        let _ = closed.expect("the broker closes it");
    }
    assert_eq!(world.failed(Failure::Timeout), 3);
    world.drain().await;
}

#[tokio::test]
async fn a_handshake_that_is_cut_anywhere_is_the_clients_affair() {
    let world = World::start(Wanted {
        config: queue(),
        ..Wanted::default()
    })
    .await;
    let hello = hello(&world).await;
    let lengths: Vec<usize> = (0..hello.len()).step_by(7).collect();
    for length in &lengths {
        let mut stream = begin(&world, &hello[..*length]).await;
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("the broker closes it");
    }
    assert_eq!(world.failed(Failure::Gone), lengths.len() as u64);
    pass(&world, true).await;
    assert_eq!(world.broker.snapshot().stats.opened, 2);
    world.drain().await;
}

#[tokio::test]
async fn a_hello_in_which_any_byte_is_wrong_does_no_harm() {
    let world = World::start(Wanted {
        config: queue(),
        ..Wanted::default()
    })
    .await;
    let hello = hello(&world).await;
    for at in (0..hello.len()).step_by(5) {
        let mut changed = hello.clone();
        changed[at] ^= 0xff;
        let mut stream = begin(&world, &changed).await;
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("the broker closes it");
    }
    pass(&world, true).await;
    world.drain().await;
}

/// Speaks plainly to the TLS port. Returns the answer.
async fn answer_to(world: &World, bytes: &[u8]) -> String {
    let mut stream = begin(world, bytes).await;
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("the broker closes it")
        .unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn who_speaks_plainly_to_the_tls_port_is_told() {
    let world = World::start(Wanted::default()).await;
    assert_eq!(
        answer_to(&world, b"PRODUCER v=2\n").await,
        "ERROR tls_required this port speaks TLS only\n"
    );
    let answer = answer_to(&world, b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 400 "), "{answer}");
    assert!(
        answer.ends_with("this port speaks TLS only: use https\n"),
        "{answer}"
    );
    // Version 1 has no words for it; but its end must not be taken for success.
    let mut stream = begin(&world, b"PRODUCER\n\0\0\0\x01x").await;
    let ended = timeout(PATIENCE, stream.read(&mut [0])).await;
    let ended = ended.expect("the broker closes it");
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(world.failed(Failure::NotTls), 3);

    let error = acked::Producer::builder().connect(&world.tls).await;
    let Err(error) = error else {
        panic!("it is refused");
    };
    assert!(!error.may_try_again());
    let text = error.to_string();
    assert!(
        text.contains("tls_required: this port speaks TLS only"),
        "{text}"
    );
    world.drain().await;
}

#[tokio::test]
async fn who_speaks_tls_to_the_plain_port_is_told() {
    let world = World::start(Wanted::default()).await;
    let tls = world.client();
    let error = Producer::connect_with(&world.plain, Some(&tls)).await;
    let error = error.expect_err("the port is plain").to_string();
    // Which of the two it is depends on how much of the hello was read.
    let rows = tables("TLS").remove(1);
    let row = rows.iter().find(|it| it.set_up == PLAIN_PORT);
    let told = row.expect("it is in the run book").told();
    assert!(told.iter().any(|it| error.ends_with(it)), "{error}");
    world.drain().await;
}
