//! What a service manager is told by the real binary (`sd_notify(3)`).

use message_queue_tests::process::{Broker, PATIENCE};
use std::os::unix::net::UnixDatagram;
use tempfile::tempdir;

#[test]
fn systemd_hears_when_the_broker_is_ready_and_how_long_it_may_take_to_stop() {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("notify");
    let systemd = UnixDatagram::bind(&path).expect("a socket");
    systemd.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let hears = || {
        let mut message = [0; 256];
        let length = systemd.recv(&mut message).expect("a message");
        String::from_utf8_lossy(&message[..length]).into_owned()
    };

    let broker = Broker::start(&[
        ("NOTIFY_SOCKET", path.to_str().expect("UTF-8")),
        ("DRAIN_DELAY_MS", "1"),
        ("DRAIN_TIMEOUT_MS", "3600000"),
    ]);
    assert_eq!(hears(), "READY=1\n");
    assert_eq!(broker.get("/ready").0, 200);
    broker.signal("TERM");
    // The two settings and five seconds, in microseconds.
    assert_eq!(hears(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=3605001000\n");
    assert_eq!(broker.wait().0.code(), Some(0));
}
