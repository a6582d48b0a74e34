//! A connection ends between the moment at which its socket takes bytes and the moment at which the
//! core is told: where another worker thread would do harm.

use super::*;
use message_queue_core::wire::{FrameBatch, Role};
use message_queue_core::{DEFAULT_TOPIC, DeliveryMode, Overflow, TopicView, Write};
use std::io;
use std::pin::Pin;
use std::task::{Poll, Waker};

/// A socket that takes so many bytes and then no more. With the first it does something.
struct Socket {
    room: usize,
    taken: Arc<Mutex<Vec<u8>>>,
    meanwhile: Option<Box<dyn FnOnce() + Send>>,
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(meanwhile) = self.meanwhile.take() {
            meanwhile();
        }
        let taken = bytes.len().min(self.room);
        if taken == 0 {
            return Poll::Pending;
        }
        self.room -= taken;
        self.taken.lock().unwrap().extend(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A connection in this role, with a socket that has room for so much. Returns what that takes.
fn connect(
    driver: &Driver,
    role: Role,
    room: usize,
    meanwhile: Option<Box<dyn FnOnce() + Send>>,
) -> (ConnId, Arc<Mutex<Vec<u8>>>) {
    let taken = Arc::default();
    let socket = Socket {
        room,
        taken: Arc::clone(&taken),
        meanwhile,
    };
    let (peer, _) = driver.open(([127, 0, 0, 1], 1).into(), socket);
    // Its task has looked once, and would be woken.
    driver.flush(&peer, &mut Context::from_waker(Waker::noop()));
    driver.feed(peer.conn, Input::Role(role));
    (peer.conn, taken)
}

#[tokio::test]
async fn what_a_socket_took_and_the_core_was_not_told_of_goes_to_nobody_else() {
    let driver = Arc::new(Driver::new(Config {
        delivery: DeliveryMode::Queue,
        ..Config::default()
    }));
    let (first, taken) = connect(&driver, Role::Consumer, 7, None);
    // The first has taken 7 bytes of its run when the second is written to, and nobody has told the
    // core. Now the first is reset.
    let resets = {
        let driver = Arc::clone(&driver);
        move || driver.feed(first, Input::PeerReset)
    };
    let (_, taken_next) = connect(&driver, Role::Consumer, usize::MAX, Some(Box::new(resets)));
    let (producer, _) = connect(&driver, Role::Producer, 0, None);
    let batch = FrameBatch::encode(["a", "b", "c", "d"]).unwrap();
    driver.feed(producer, Input::Batch(batch));

    // "a" was taken whole. "b" was cut, and goes to the other after what it had.
    assert_eq!(*taken.lock().unwrap(), b"\0\0\0\x01a\0\0");
    assert_eq!(
        *taken_next.lock().unwrap(),
        b"\0\0\0\x01c\0\0\0\x01d\0\0\0\x01b"
    );
    let core = driver.core();
    core.broker.check_invariants();
    let flow = core.broker.stats().flow;
    assert_eq!(flow.delivered, Count::new(4, 20));
    assert!(flow.waiting.is_zero());
    assert_eq!(core.broker.stats().consumers, 1);
}

#[tokio::test]
async fn a_socket_that_is_sealed_takes_nothing_more() {
    let driver = Arc::new(Driver::new(Config::default()));
    let (consumer, taken) = connect(&driver, Role::Consumer, usize::MAX, None);
    let peer = Arc::clone(&driver.core().peers[&consumer]);
    // A thread has been asked to write and has not come to it when the connection ends.
    let batch = FrameBatch::encode(["late"]).unwrap();
    driver.feed(consumer, Input::PeerReset);
    assert_eq!(peer.start(Write::from(vec![batch])), None);
    assert_eq!(*taken.lock().unwrap(), b"");
}

#[tokio::test]
async fn an_orderly_end_may_take_for_ever() {
    let driver = Driver::new(Config::default());
    let (_consumer, _) = connect(&driver, Role::Consumer, 0, None);
    driver.drain(Duration::MAX);
    assert_eq!(driver.alarm(), None);
    driver.drain(Duration::from_secs(1));
    assert!(driver.alarm().is_some());
}

#[tokio::test]
async fn producers_stand_in_the_line_of_their_topic_while_one_waits_for_room() {
    let driver = Driver::new(Config {
        overflow: Overflow::Block,
        consumer_backlog: 1,
        ..Config::default()
    });
    let (consumer, _) = connect(&driver, Role::Consumer, 0, None);
    let [blocked, other] = [(); 2].map(|()| connect(&driver, Role::Producer, 0, None).0);
    let other = Arc::clone(&driver.core().peers[&other]);
    let has_to_wait = || other.line().is_some_and(|line| line.turn().is_some());
    assert!(!has_to_wait());
    let batch = FrameBatch::encode(["a", "b", "c"]).unwrap();
    driver.feed(blocked, Input::Batch(batch));
    assert!(has_to_wait());
    driver.feed(consumer, Input::PeerReset);
    assert!(!has_to_wait());
}

#[tokio::test]
async fn a_producer_in_line_looks_whether_its_topic_is_still_full() {
    let driver = Driver::new(Config {
        overflow: Overflow::Block,
        ..Config::default()
    });
    let (producer, _) = connect(&driver, Role::Producer, 0, None);
    let peer = Arc::clone(&driver.core().peers[&producer]);
    let has_to_wait = || peer.line().is_some_and(|line| line.turn().is_some());
    let full = TopicView {
        backlog_bytes: 0,
        unsettled_bytes: 0,
        is_blocked: true,
    };
    driver.core().pacing.note(DEFAULT_TOPIC, full);
    assert!(has_to_wait());
    driver.look_at_pace(producer);
    assert!(!has_to_wait());
}
