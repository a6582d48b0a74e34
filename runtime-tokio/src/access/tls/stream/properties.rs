//! What must hold on any network: one that takes and gives little, breaks off anywhere, or changes bytes.
//!
//! Both ends are in this file, with queues between, and take turns. A case is a list of numbers, so one that fails
//! shrinks.

use super::super::testing::Certificates;
use super::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

/// One direction of a network.
#[derive(Debug, Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    /// Bytes that it has ever taken.
    taken: usize,
    damage: Option<Damage>,
    /// Nothing more goes in.
    ended: bool,
}

/// What becomes of one byte of a direction.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// From this byte on nothing is taken: the writer sees a reset, and the reader an end.
    Cut(usize),
    /// This byte comes changed.
    Changed(usize, u8),
}

/// The most that a direction holds.
const ROOM: usize = 30_000;

/// One end of a network that takes and gives as much at a time as it likes, or nothing.
#[derive(Debug)]
struct End {
    read: Rc<RefCell<Pipe>>,
    write: Rc<RefCell<Pipe>>,
    reading: Moods,
    writing: Moods,
}

/// Small numbers in turn, over and over.
#[derive(Clone, Debug)]
struct Moods(Rc<[u16]>, usize);

impl Moods {
    fn next(&mut self) -> usize {
        self.1 = (self.1 + 1) % self.0.len();
        usize::from(self.0[self.1])
    }
}

impl Pipe {
    /// Takes some of `bytes`, at most `most`.
    fn take(&mut self, bytes: &[u8], most: usize) -> Poll<io::Result<usize>> {
        let mut most = most.min(bytes.len()).min(ROOM - self.bytes.len());
        if let Some(Damage::Cut(at)) = self.damage {
            if self.taken >= at {
                self.ended = true;
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            most = most.min(at - self.taken);
        }
        if most == 0 {
            return Poll::Pending;
        }
        let before = self.bytes.len();
        self.bytes.extend(&bytes[..most]);
        if let Some(Damage::Changed(at, change)) = self.damage
            && let Some(offset) = at.checked_sub(self.taken).filter(|it| *it < most)
        {
            self.bytes[before + offset] ^= change;
        }
        self.taken += most;
        Poll::Ready(Ok(most))
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let most = this.reading.next().min(buf.remaining());
        let mut pipe = this.read.borrow_mut();
        if pipe.bytes.is_empty() && pipe.ended {
            return Poll::Ready(Ok(()));
        }
        let bytes: Vec<u8> = {
            let most = most.min(pipe.bytes.len());
            pipe.bytes.drain(..most).collect()
        };
        if bytes.is_empty() {
            return Poll::Pending;
        }
        buf.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let most = this.writing.next();
        this.write.borrow_mut().take(bytes, most)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write.borrow_mut().ended = true;
        Poll::Ready(Ok(()))
    }
}

/// What one side sends and how.
#[derive(Clone, Debug)]
struct Plan {
    /// The sizes of its writes.
    writes: Vec<usize>,
    /// Whether it gives up the last one when that has to wait.
    gives_up: bool,
    /// How much of the peer's first bytes is read before the session is made, at most: a server's only.
    read_before: usize,
    moods: Vec<u16>,
}

/// What became of one side.
#[derive(Debug, Default)]
struct Side {
    shaken: bool,
    /// How much its writes were told that the network has taken.
    told: usize,
    received: Vec<u8>,
    /// The peer's end was an orderly one, or it was none.
    peer_ended: Option<bool>,
    /// It has given up a write.
    gave_up: bool,
    /// It has ended its stream.
    finished: bool,
    /// It met an error.
    failed: bool,
}

/// What a side sends: told apart from any other part of it.
fn payload(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|it| (it % 251) as u8).collect()
}

/// Runs one side to its end.
async fn side(mut stream: TlsStream<End>, plan: &Plan, reads_on: bool, side: &RefCell<Side>) {
    let mut first = vec![0; plan.read_before];
    let mut buf = ReadBuf::new(&mut first);
    if plan.read_before > 0 {
        let read = poll_fn(|cx| Pin::new(&mut stream.below).poll_read(cx, &mut buf)).await;
        assert!(read.is_ok());
    }
    if stream.handshake(buf.filled()).await.is_err() {
        // As whoever owns the connection then does.
        stream.below.write.borrow_mut().ended = true;
        side.borrow_mut().failed = true;
        return;
    }
    side.borrow_mut().shaken = true;
    let wanted: usize = plan.writes.iter().sum();
    let all = payload(wanted);
    let mut moods = Moods(plan.moods.clone().into(), 0);
    let (mut writes, mut end) = (plan.writes.iter(), 0);
    let mut closing = false;
    poll_fn(|cx| {
        let mut side = side.borrow_mut();
        // Having marked its end, rustls asserts that what comes is good, where assertions are compiled in at all.
        let may_read = reads_on || !closing;
        if may_read && side.peer_ended.is_none() && moods.next().is_multiple_of(3) {
            match stream.look_ahead() {
                Ok(Some(false)) => {
                    let mut byte = [0];
                    let mut buf = ReadBuf::new(&mut byte);
                    let read = Pin::new(&mut stream).poll_read(cx, &mut buf);
                    assert!(matches!(read, Poll::Ready(Ok(()))) && buf.filled().is_empty());
                    side.peer_ended = Some(true);
                }
                Ok(_) => {}
                Err(_) => (side.peer_ended, side.failed) = (Some(false), true),
            }
        }
        if may_read && side.peer_ended.is_none() {
            let mut bytes = vec![0; 1 + 7 * moods.next()];
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if buf.filled().is_empty() => side.peer_ended = Some(true),
                Poll::Ready(Ok(())) => side.received.extend_from_slice(buf.filled()),
                Poll::Ready(Err(_)) => (side.peer_ended, side.failed) = (Some(false), true),
                Poll::Pending => {}
            }
        }
        if side.told == end {
            match writes.next() {
                Some(bytes) => end += bytes,
                None => closing = true,
            }
        }
        if !closing && side.told < end {
            let left = &all[side.told..end];
            let (one, other) = left.split_at(left.len() / 2);
            let slices = [IoSlice::new(one), IoSlice::new(other)];
            let written = if moods.next().is_multiple_of(2) {
                Pin::new(&mut stream).poll_write_vectored(cx, &slices)
            } else {
                let now = stream.write_by(&slices, |below, slices| {
                    let cx = &mut Context::from_waker(Waker::noop());
                    match Pin::new(below).poll_write_vectored(cx, slices) {
                        Poll::Ready(written) => written,
                        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                    }
                });
                match now {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                    now => Poll::Ready(now),
                }
            };
            match written {
                Poll::Ready(Ok(bytes)) => {
                    assert!(bytes > 0 && bytes <= left.len());
                    side.told += bytes;
                }
                Poll::Ready(Err(_)) => (side.failed, closing) = (true, true),
                Poll::Pending if plan.gives_up && writes.len() == 0 => {
                    (side.gave_up, closing) = (true, true);
                }
                Poll::Pending => {}
            }
        }
        if closing && !side.finished {
            match Pin::new(&mut stream).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => side.finished = true,
                Poll::Ready(Err(_)) => {
                    stream.below.write.borrow_mut().ended = true;
                    (side.failed, side.finished) = (true, true);
                }
                Poll::Pending => {}
            }
        }
        if side.finished && (side.peer_ended.is_some() || !may_read) {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

/// A server, and clients of both versions.
struct Configs {
    server: Arc<ServerConfig>,
    clients: [Arc<ClientConfig>; 2],
}

impl Configs {
    fn new() -> Self {
        let certificates = Certificates::new();
        let ca = CertificateDer::from_pem_file(certificates.path("ca.pem")).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(ca).unwrap();
        let client = |version| {
            let provider: CryptoProvider = ring::default_provider();
            let config = ClientConfig::builder_with_provider(Arc::new(provider))
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(roots.clone())
                .with_no_client_auth();
            Arc::new(config)
        };
        Self {
            server: certificates.server().config(),
            clients: [client(&TLS12), client(&TLS13)],
        }
    }

    /// Runs both sides until neither gets on. Returns the client and the server, and whether both came to an end.
    fn run(&self, case: &Case) -> (Side, Side, bool) {
        let name = ServerName::try_from("localhost").unwrap();
        let config = &self.clients[usize::from(case.is_tls_13)];
        let client = ClientConnection::new(Arc::clone(config), name).unwrap();
        let server = ServerConnection::new(Arc::clone(&self.server)).unwrap();
        let pipes = [Rc::<RefCell<Pipe>>::default(), Rc::default()];
        if let Some((to_server, damage)) = case.damage {
            pipes[usize::from(!to_server)].borrow_mut().damage = Some(damage);
        }
        let end = |read: usize, plan: &Plan| End {
            read: Rc::clone(&pipes[read]),
            write: Rc::clone(&pipes[1 - read]),
            reading: Moods(plan.moods.clone().into(), 0),
            writing: Moods(plan.moods.clone().into(), 0),
        };
        let [client_plan, server_plan] = &case.plans;
        let (client_side, server_side) = (RefCell::default(), RefCell::default());
        let client = TlsStream::new(end(1, client_plan), Connection::from(client));
        let server = TlsStream::new(end(0, server_plan), Connection::from(server));
        let reads_on = !matches!(case.damage, Some((_, Damage::Changed(..))));
        let mut sides = [
            Some(Box::pin(side(client, client_plan, reads_on, &client_side))),
            Some(Box::pin(side(server, server_plan, reads_on, &server_side))),
        ];
        // Enough that whoever is stuck is stuck, whatever mood its end is in.
        let (mut idle, mut before) = (0, None);
        while idle < 4 * MOODS && sides.iter().any(Option::is_some) {
            for side in &mut sides {
                let cx = &mut Context::from_waker(Waker::noop());
                if side
                    .as_mut()
                    .is_some_and(|it| it.as_mut().poll(cx).is_ready())
                {
                    *side = None;
                }
            }
            let state = pipes.each_ref().map(|it| {
                (
                    it.borrow().taken,
                    it.borrow().bytes.len(),
                    it.borrow().ended,
                )
            });
            let received =
                [&client_side, &server_side].map(|it: &RefCell<Side>| it.borrow().received.len());
            let state = Some((state, received, sides.each_ref().map(Option::is_some)));
            idle = if state == before { idle + 1 } else { 0 };
            before = state;
        }
        let both_ended = sides.iter().all(Option::is_none);
        drop(sides);
        (
            client_side.into_inner(),
            server_side.into_inner(),
            both_ended,
        )
    }
}

/// The most moods of an end.
const MOODS: usize = 12;

#[derive(Clone, Debug)]
struct Case {
    is_tls_13: bool,
    /// Of the bytes to the server, or of those from it.
    damage: Option<(bool, Damage)>,
    /// The client's and the server's.
    plans: [Plan; 2],
}

fn plan(is_server: bool) -> impl Strategy<Value = Plan> {
    let size = prop_oneof![1..200_usize, 16_300..16_500_usize, 1..70_000_usize];
    let mood = prop_oneof![0..8_u16, 1..600_u16, 15_000..17_000_u16];
    let read_before = if is_server { 0..300_usize } else { 0..1 };
    (
        prop::collection::vec(size, 1..5),
        any::<bool>(),
        read_before,
        prop::collection::vec(mood, 1..MOODS),
    )
        .prop_map(|(writes, gives_up, read_before, mut moods)| {
            // There is one in which it gets on.
            moods.push(600);
            Plan {
                writes,
                gives_up,
                read_before,
                moods,
            }
        })
}

fn damage() -> impl Strategy<Value = Option<(bool, Damage)>> {
    let at = || prop_oneof![0..2_500_usize, 0..60_000_usize];
    let damage = prop_oneof![
        at().prop_map(Damage::Cut),
        (at(), 1..=255_u8).prop_map(|(at, change)| Damage::Changed(at, change)),
    ];
    prop::option::weighted(0.7, (any::<bool>(), damage))
}

/// What holds for what one side has sent and the other received.
fn check(
    case: &Case,
    of_client: bool,
    sender: &Side,
    receiver: &Side,
) -> Result<(), TestCaseError> {
    let plan = &case.plans[usize::from(!of_client)];
    let wanted: usize = plan.writes.iter().sum();
    prop_assert!(sender.told <= wanted);
    // No byte is another one, and none is there twice.
    prop_assert!(receiver.received.len() <= wanted);
    prop_assert!(receiver.received == payload(wanted)[..receiver.received.len()]);
    // What a write was told has arrived whole, unless it was changed behind the network's back, or the reader has failed
    // to answer and so to the end.
    let is_changed = matches!(case.damage, Some((_, Damage::Changed(..))));
    if !is_changed && receiver.shaken && receiver.peer_ended.is_some() {
        prop_assert_eq!(receiver.received.len(), sender.told);
    }
    // An end that is orderly is the end of all that was wanted.
    if receiver.peer_ended == Some(true) {
        prop_assert_eq!(receiver.received.len(), wanted);
        prop_assert!(sender.finished && !sender.gave_up);
    }
    if case.damage.is_none() {
        prop_assert!(sender.shaken && sender.finished);
        prop_assert_eq!(sender.failed, receiver.gave_up);
        prop_assert_eq!(receiver.peer_ended, Some(!sender.gave_up));
    }
    Ok(())
}

#[test]
fn no_network_makes_a_wrong_byte_of_a_right_one_or_an_orderly_end_of_a_cut() {
    let configs = Configs::new();
    let mut runner = TestRunner::new(Config {
        cases: 400,
        ..Config::default()
    });
    let cases = (any::<bool>(), damage(), plan(false), plan(true));
    let cases = cases.prop_map(|(is_tls_13, damage, client, server)| Case {
        is_tls_13,
        damage,
        plans: [client, server],
    });
    let ran = runner.run(&cases, |case| {
        let (client, server, both_ended) = configs.run(&case);
        if case.damage.is_none() {
            prop_assert!(
                both_ended,
                "stuck: {:?} {:?}",
                state(&client),
                state(&server)
            );
        }
        check(&case, true, &client, &server)?;
        check(&case, false, &server, &client)
    });
    if let Err(error) = ran {
        panic!("{error}");
    }
}

/// Without what was received.
fn state(side: &Side) -> impl std::fmt::Debug {
    (
        side.shaken,
        side.told,
        side.received.len(),
        side.peer_ended,
        side.gave_up,
        side.finished,
        side.failed,
    )
}

#[test]
fn no_bytes_are_a_handshake_that_are_none() {
    let configs = Configs::new();
    let mut runner = TestRunner::new(Config {
        cases: 500,
        ..Config::default()
    });
    let bytes = || prop::collection::vec(any::<u8>(), 0..1500);
    // As they are, or as what stands in a record of a handshake.
    let cases = (any::<bool>(), bytes(), bytes());
    let ran = runner.run(&cases, |(in_record, mut first, then)| {
        if in_record {
            let length = (first.len() as u16).to_be_bytes();
            first.splice(0..0, [0x16, 3, 1, length[0], length[1]]);
        }
        let read = Rc::new(RefCell::new(Pipe {
            bytes: then.into(),
            ended: true,
            ..Pipe::default()
        }));
        let moods = || Moods([600].into(), 0);
        let end = End {
            read,
            write: Rc::default(),
            reading: moods(),
            writing: moods(),
        };
        let session = ServerConnection::new(Arc::clone(&configs.server)).unwrap();
        let mut stream = TlsStream::new(end, Connection::from(session));
        let mut shaking = std::pin::pin!(stream.handshake(&first));
        let cx = &mut Context::from_waker(Waker::noop());
        let polled = shaking.as_mut().poll(cx);
        prop_assert!(matches!(polled, Poll::Ready(Err(_))), "{polled:?}");
        Ok(())
    });
    if let Err(error) = ran {
        panic!("{error}");
    }
}
