//! The simulation of the whole stack: enough seeds to notice a bug at once; CI runs more.

use message_queue_sim::hosts::{Program, TICK, World};
use message_queue_sim::net::WorldListener;
use message_queue_sim::rng::Rng;
use message_queue_sim::scenario::{Options, Scenario};
use message_queue_tokio::Server;
use message_queue_tokio::net::Listener;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use turmoil_net::shim::tokio::net::{TcpListener, TcpStream};

#[test]
fn twenty_seeds_keep_every_promise() {
    for seed in 0..20 {
        let plan = Scenario::Full.plan(seed);
        let outcome = Scenario::Full.run(&plan, Options::default());
        let first = outcome.violations.first();
        assert!(
            first.is_none(),
            "message-queue-sim replay {seed} --scenario full: {}",
            first.map_or_else(String::new, ToString::to_string)
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in [1, 6, 7] {
        let run = || {
            let plan = Scenario::Full.plan(seed);
            Scenario::Full.run(&plan, Options::default()).history
        };
        let (first, second) = (run(), run());
        assert_eq!(first.to_string(), second.to_string(), "seed {seed}");
    }
}

fn program<F: Future<Output = ()> + 'static>(make: impl Fn() -> F + 'static) -> Program {
    Box::new(move || Box::pin(make()))
}

/// A host that sends back what it receives, and one that sends so many bytes and ends when it has
/// all of them back.
fn echo(bytes: usize) -> Vec<(String, Program)> {
    let server = program(|| async {
        let listener = TcpListener::bind(("0.0.0.0", 7))
            .await
            .expect("a free port");
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut buf = [0; 1000];
        while let Ok(read @ 1..) = stream.read(&mut buf).await {
            stream
                .write_all(&buf[..read])
                .await
                .expect("a client that reads");
        }
    });
    let client = program(move || async move {
        let stream = TcpStream::connect(("server", 7)).await.expect("a server");
        let (mut reader, mut writer) = stream.into_split();
        let sent = vec![7; bytes];
        let mut received = vec![0; bytes];
        let (written, read) = tokio::join!(
            biased;
            writer.write_all(&sent),
            reader.read_exact(&mut received)
        );
        written
            .and(read.map(drop))
            .expect("a connection that holds");
        assert_eq!(received, sent);
    });
    vec![("server".to_owned(), server), ("client".to_owned(), client)]
}

/// Runs until the client has ended. Returns when that was, and the trace.
fn run(mut world: World) -> (Duration, u64) {
    while !world.step().contains(&"client".to_owned()) {
        assert!(world.now() < Duration::from_secs(600), "the client hangs");
    }
    (world.now(), world.trace())
}

fn world(programs: Vec<(String, Program)>, seed: u64) -> World {
    let mut world = World::new(Rng::new(seed), 4096, programs);
    world.network().set_latency_us(500..=5_000);
    world.start("server");
    world.start("client");
    world
}

#[test]
fn tcp_carries_everything_over_a_network_that_loses_and_doubles_packets() {
    let lossy = |seed| {
        let mut world = world(echo(20_000), seed);
        world.network().set_loss_ppm(100_000);
        world.network().set_duplication_ppm(100_000);
        run(world)
    };
    let clean = |seed| run(world(echo(20_000), seed));
    for seed in 0..5 {
        assert!(
            lossy(seed).0 > clean(seed).0,
            "seed {seed}: nothing was lost"
        );
        assert_eq!(lossy(seed), lossy(seed), "seed {seed}: the traces differ");
    }
    assert_ne!(lossy(0).1, lossy(1).1, "the seed makes no difference");
}

/// The driver's listener, with streams that panic when they are read from.
struct Bomb(WorldListener);

struct BombStream(TcpStream);

impl Listener for Bomb {
    type Stream = BombStream;

    async fn accept(&mut self) -> io::Result<(BombStream, SocketAddr)> {
        let (stream, addr) = self.0.accept().await?;
        Ok((BombStream(stream), addr))
    }
}

impl AsyncRead for BombStream {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        panic!("a planted panic");
    }
}

impl AsyncWrite for BombStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Tokio alone swallows the panic of a task; the server must not, and the world must not.
#[test]
fn a_panic_in_the_task_of_a_connection_fails_the_run() {
    let server = program(|| async {
        let listener = TcpListener::bind(("0.0.0.0", 7))
            .await
            .expect("a free port");
        let server = Server::new(Default::default(), Default::default());
        server.serve(Bomb(WorldListener(listener))).await;
    });
    let client = program(|| async {
        let mut stream = TcpStream::connect(("server", 7)).await.expect("a server");
        // The server is about to die of it.
        let _ = stream.read(&mut [0]).await;
    });
    let programs = vec![("server".to_owned(), server), ("client".to_owned(), client)];
    let mut world = world(programs, 1);
    let steps = Duration::from_secs(1).as_millis() / TICK.as_millis();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..steps {
            world.step();
        }
    }));
    let panic = panic.expect_err("the run went on");
    assert_eq!(panic.downcast_ref(), Some(&"a planted panic"));
}

/// A client's panic is no less a failure.
#[test]
fn a_panic_of_a_client_fails_the_run() {
    let client = program(|| async { panic!("a planted panic") });
    let mut world = World::new(Rng::new(1), 4096, vec![("client".to_owned(), client)]);
    world.start("client");
    let panic = catch_unwind(AssertUnwindSafe(|| world.step()));
    assert!(panic.is_err(), "the run went on");
}
