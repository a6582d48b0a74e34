//! TLS on a network that loses, doubles and holds packets and resets connections: the server, its TLS port and the client
//! of production, on simulated hosts.
//!
//! The randomness of a handshake is the system's, so the bytes of two runs differ. Their lengths do not, with keys of
//! Ed25519: so two runs of one seed agree in every message, every counter and every time.

use message_queue_core::wire::DecoderConfig;
use message_queue_core::{Config, DeliveryMode, Overflow, Stats};
use message_queue_sim::hosts::{Program, TICK, Way, World};
use message_queue_sim::net::WorldListener;
use message_queue_sim::rng::Rng;
use message_queue_tokio::Server;
use message_queue_tokio::access::tls::{
    ClientAuth, Handshakes, Ports, ServerFiles, ServerTls, TlsOptions, TlsPort, TlsStream,
};
use message_queue_tokio::client::{ClientTls, Consumer, Producer};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ED25519};
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::sleep;
use turmoil_net::shim::tokio::net::{TcpListener, TcpStream};

const ADDRESS: &str = "broker:9443";

/// How long anything may take in a world.
const PATIENCE: Duration = Duration::from_secs(60);

/// Messages of one run, of very different lengths.
const MESSAGES: usize = 60;

fn message(number: usize) -> Vec<u8> {
    let length = 4 + number * 7919 % 40_000;
    let number = (number as u32).to_be_bytes();
    number.into_iter().cycle().take(length).collect()
}

/// The files of an authority, and of a broker and a client that it vouches for.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let key = || KeyPair::generate_for(&PKCS_ED25519).expect("randomness");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, key()).expect("a key");
        let this = Self(tempfile::tempdir().expect("a directory"));
        let write = |name: &str, text: &str| std::fs::write(this.path(name), text).expect("a file");
        write("ca.pem", &authority.pem());
        for name in ["broker", "client"] {
            let params = CertificateParams::new([name.to_owned()]).expect("a name");
            let key = key();
            let certificate = params.signed_by(&key, &authority).expect("a key");
            write(&format!("{name}.pem"), &certificate.pem());
            write(&format!("{name}.key"), &key.serialize_pem());
        }
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn server(&self) -> Arc<ServerTls> {
        let files = ServerFiles {
            cert: self.path("broker.pem"),
            key: self.path("broker.key"),
            client_ca: Some(self.path("ca.pem")),
            client_auth: ClientAuth::Required,
        };
        Arc::new(ServerTls::load(files).expect("good files"))
    }

    fn client(&self) -> ClientTls {
        let file = |name: &str| self.path(name);
        let (ca, cert, key) = (file("ca.pem"), file("client.pem"), file("client.key"));
        ClientTls::new(Some(&ca), Some(&cert), Some(&key), None).expect("good files")
    }
}

fn program<F: Future<Output = ()> + 'static>(make: impl Fn() -> F + 'static) -> Program {
    Box::new(move || Box::pin(make()))
}

/// What is seen of one run.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    received: Vec<Vec<u8>>,
    /// Whether the consumer's stream had an orderly end.
    orderly: bool,
    handshakes: u64,
    stats: Option<Stats>,
    /// When both clients were done, and the broker.
    ended: Vec<Duration>,
}

async fn connect(tls: &ClientTls) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(("broker", 9443)).await?;
    tls.connect(ADDRESS, stream).await
}

/// What happens to a world while it runs.
type Trouble = dyn Fn(&mut World, &mut Rng);

/// A producer sends all messages, connecting as often as it has to for each that it cannot hand over, and a consumer takes
/// what comes until the broker ends its stream.
fn run(files: &Rc<Files>, seed: u64, trouble: &Trouble) -> Seen {
    let seen = Rc::<RefCell<Seen>>::default();
    let handshakes = Arc::<Handshakes>::default();
    let is_over = Rc::new(Cell::new(false));
    let server = program({
        let (seen, files) = (Rc::clone(&seen), Rc::clone(files));
        let (handshakes, is_over) = (Arc::clone(&handshakes), Rc::clone(&is_over));
        move || {
            let tls = files.server();
            let options = TlsOptions {
                config: Arc::new(move || tls.config()),
                timeout: Duration::from_secs(10),
                most: 100,
                handshakes: Arc::clone(&handshakes),
            };
            let config = Config {
                delivery: DeliveryMode::Queue,
                overflow: Overflow::Block,
                queue_capacity: 20,
                ..Config::default()
            };
            let (seen, is_over) = (Rc::clone(&seen), Rc::clone(&is_over));
            async move {
                let listener = TcpListener::bind(("0.0.0.0", 9443)).await.expect("a port");
                let port = TlsPort::new(WorldListener(listener), options);
                let server = Server::new(config, DecoderConfig::default());
                let broker = server.handle();
                tokio::task::spawn_local(async move {
                    while !is_over.get() {
                        sleep(TICK).await;
                    }
                    broker.drain(PATIENCE);
                });
                let stats = server.serve(Ports::new(None, Some(port))).await;
                seen.borrow_mut().stats = Some(stats);
            }
        }
    });
    let consumer = program({
        let (seen, files) = (Rc::clone(&seen), Rc::clone(files));
        move || {
            let (seen, tls) = (Rc::clone(&seen), files.client());
            async move {
                loop {
                    let Ok(stream) = connect(&tls).await else {
                        continue;
                    };
                    let Ok(mut consumer) = Consumer::over(stream, ADDRESS).await else {
                        continue;
                    };
                    loop {
                        match consumer.next().await {
                            Ok(Some(message)) => seen.borrow_mut().received.push(message.to_vec()),
                            Ok(None) => {
                                seen.borrow_mut().orderly = true;
                                return;
                            }
                            Err(_) => break,
                        }
                    }
                }
            }
        }
    });
    let producer = program({
        let files = Rc::clone(files);
        move || {
            let tls = files.client();
            async move {
                // Version 1 confirms nothing but by the end of the stream: a connection for each few messages.
                for numbers in (0..MESSAGES).collect::<Vec<_>>().chunks(10) {
                    while send(&tls, numbers).await.is_err() {}
                }
            }
        }
    });
    let programs = vec![
        ("broker".to_owned(), server),
        ("consumer".to_owned(), consumer),
        ("producer".to_owned(), producer),
    ];
    let mut rng = Rng::new(seed);
    let mut world = World::new(Rng::new(seed), 8192, programs);
    world.network().set_latency_us(200..=3_000);
    for host in ["broker", "consumer", "producer"] {
        world.start(host);
    }
    let mut ended = Vec::new();
    while ended.len() < 3 {
        assert!(world.now() < PATIENCE, "seed {seed}: it hangs");
        if ended.is_empty() {
            trouble(&mut world, &mut rng);
        }
        for _host in world.step() {
            ended.push(world.now());
            if ended.len() == 1 {
                // The producer is the first to be done.
                let now = world.now();
                world.network().heal(now);
                world.network().set_loss_ppm(0);
                world.network().set_duplication_ppm(0);
                is_over.set(true);
            }
        }
    }
    drop(world);
    let mut seen = seen.take();
    (seen.ended, seen.handshakes) = (ended, handshakes.completed());
    seen
}

async fn send(tls: &ClientTls, numbers: &[usize]) -> Result<(), Box<dyn std::error::Error>> {
    let mut producer = Producer::over(connect(tls).await?, ADDRESS).await?;
    for number in numbers {
        producer.send(message(*number)).await?;
    }
    producer.finish().await?;
    Ok(())
}

/// What was lost in a simulation of seeds does no harm: all comes, in order, once, and the end is an orderly one.
#[test]
fn nothing_is_lost_on_a_network_that_loses_doubles_and_holds_packets() {
    let files = Rc::new(Files::new());
    let trouble = |world: &mut World, rng: &mut Rng| {
        world.network().set_loss_ppm(20_000);
        world.network().set_duplication_ppm(20_000);
        let now = world.now();
        // Now and then a client is cut off for a while; not for as long as TCP gives up.
        match rng.within(0..=399) {
            0 => {
                let client = if rng.chance(50) {
                    "producer"
                } else {
                    "consumer"
                };
                let way = Way {
                    from: world.ip("broker"),
                    to: world.ip(client),
                };
                world.network().hold(way);
            }
            1..10 => world.network().heal(now),
            _ => {}
        }
    };
    for seed in 0..4 {
        let seen = run(&files, seed, &trouble);
        assert!(seen.orderly, "seed {seed}");
        assert_eq!(seen.received.len(), MESSAGES, "seed {seed}");
        let wanted = (0..MESSAGES).map(message);
        assert!(
            seen.received.iter().eq(wanted.collect::<Vec<_>>().iter()),
            "seed {seed}"
        );
        let stats = seen.stats.as_ref().expect("the broker has ended");
        assert_eq!(stats.flow.delivered.messages, MESSAGES as u64);
        assert_eq!(
            run(&files, seed, &trouble),
            seen,
            "seed {seed}: another run"
        );
    }
}

/// Whose connection is reset in the middle of a record, or of a handshake, sees no message that was not sent, and no half
/// of one, and comes back.
#[test]
fn a_reset_anywhere_makes_no_wrong_message() {
    let files = Rc::new(Files::new());
    let trouble = |world: &mut World, rng: &mut Rng| match rng.within(0..=149) {
        0 => world.reset_connections("producer"),
        1 => world.reset_connections("consumer"),
        _ => {}
    };
    let mut resets = 0;
    for seed in 0..4 {
        let seen = run(&files, seed, &trouble);
        assert!(seen.orderly, "seed {seed}");
        for received in &seen.received {
            let number = u32::from_be_bytes(received[..4].try_into().expect("four bytes"));
            assert!(
                *received == message(number as usize),
                "seed {seed}: {number}"
            );
        }
        let stats = seen.stats.as_ref().expect("the broker has ended");
        // What the broker was told that a socket has taken may have been lost there; nothing else.
        assert!(stats.flow.delivered.messages >= seen.received.len() as u64);
        let delivered = stats.flow.delivered.messages + stats.flow.dropped_in_all().messages;
        assert_eq!(stats.received.messages, delivered, "seed {seed}");
        resets += seen.handshakes - 1 - (MESSAGES / 10) as u64;
        assert_eq!(
            run(&files, seed, &trouble),
            seen,
            "seed {seed}: another run"
        );
    }
    assert!(
        resets > 6,
        "only {resets} connections more than without a reset"
    );
}
