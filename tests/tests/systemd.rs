//! What a service manager is told by the real binary (`sd_notify(3)`).

use message_queue_tests::process::{Broker, PATIENCE};
use std::os::unix::net::UnixDatagram;
use tempfile::tempdir;

/// What it hears next but for the heartbeat.
fn hear(systemd: &UnixDatagram) -> String {
    let mut message = [0; 256];
    loop {
        let length = systemd.recv(&mut message).expect("a message");
        let text = String::from_utf8_lossy(&message[..length]).into_owned();
        if text != "WATCHDOG=1\n" {
            return text;
        }
    }
}

#[test]
fn systemd_hears_when_the_broker_is_ready_and_how_long_it_may_take_to_stop() {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("notify");
    let systemd = UnixDatagram::bind(&path).expect("a socket");
    systemd.set_read_timeout(Some(PATIENCE)).expect("a timeout");

    let broker = Broker::start(&[
        ("NOTIFY_SOCKET", path.to_str().expect("UTF-8")),
        ("DRAIN_DELAY_MS", "1"),
        ("DRAIN_TIMEOUT_MS", "3600000"),
    ]);
    assert_eq!(hear(&systemd), "READY=1\n");
    assert_eq!(broker.get("/ready").0, 200);
    broker.signal("TERM");
    // The two settings and five seconds, in microseconds.
    assert_eq!(
        hear(&systemd),
        "STOPPING=1\nEXTEND_TIMEOUT_USEC=3605001000\n"
    );
    assert_eq!(broker.wait().0.code(), Some(0));
}

#[test]
fn a_service_without_a_watchdog_says_nothing_more_and_one_with_it_is_heard_of() {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("notify");
    let systemd = UnixDatagram::bind(&path).expect("a socket");
    systemd.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let receive = || {
        let mut message = [0; 256];
        let length = systemd.recv(&mut message).expect("a message");
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    let socket = ("NOTIFY_SOCKET", path.to_str().expect("UTF-8"));
    let broker = Broker::start(&[socket, ("WATCHDOG_USEC", "30000000")]);
    assert_eq!(receive(), "READY=1\n");
    for _ in 0..2 {
        assert_eq!(receive(), "WATCHDOG=1\n");
    }
    drop(broker);
    while systemd.set_nonblocking(true).is_ok() && systemd.recv(&mut [0; 256]).is_ok() {}
    systemd.set_nonblocking(false).expect("a mode");

    let broker = Broker::start(&[socket]);
    assert_eq!(receive(), "READY=1\n");
    broker.signal("TERM");
    assert!(receive().starts_with("STOPPING=1\n"));
}

#[test]
fn a_reload_is_told_from_its_beginning_to_its_end() {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("notify");
    let systemd = UnixDatagram::bind(&path).expect("a socket");
    systemd.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let broker = Broker::start(&[("NOTIFY_SOCKET", path.to_str().expect("UTF-8"))]);
    assert_eq!(hear(&systemd), "READY=1\n");
    broker.signal("HUP");
    let reloading = hear(&systemd);
    let (first, second) = reloading.split_once('\n').expect("two lines");
    assert_eq!(first, "RELOADING=1");
    assert!(second.starts_with("MONOTONIC_USEC="), "{second}");
    assert_eq!(hear(&systemd), "READY=1\n");
}

#[cfg(target_os = "linux")]
#[test]
fn the_service_manager_may_listen_on_an_abstract_socket() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    let name = format!("message-queue-tests/{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("an address");
    let systemd = UnixDatagram::bind_addr(&address).expect("a socket");
    systemd.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let _broker = Broker::start(&[("NOTIFY_SOCKET", &format!("@{name}"))]);
    assert_eq!(hear(&systemd), "READY=1\n");
}
