//! A producer, event by event.

use super::*;
use crate::names::Name;
use crate::wire::handshake::Identity;
use alloc::format;
use alloc::vec::Vec;
use bytes::BufMut;
use core::time::Duration;

fn options(name: Option<&str>) -> ProducerOptions {
    ProducerOptions {
        confirm: true,
        identity: name.map(|name| Identity {
            name: Name::new(name).expect("a name"),
            session: String::new(),
            at: 1,
        }),
        ..ProducerOptions::default()
    }
}

fn batch(messages: &[&str]) -> FrameBatch {
    FrameBatch::encode(messages).expect("small messages")
}

fn transmitted(client: &mut ProducerClient) -> String {
    let all = core::iter::from_fn(|| client.poll_transmit(Now::START));
    all.map(|bytes| bytes.escape_ascii().to_string()).collect()
}

fn events(client: &mut ProducerClient) -> Vec<ProducerEvent> {
    core::iter::from_fn(|| client.poll_event()).collect()
}

fn tell(client: &mut ProducerClient, bytes: &[u8]) {
    client.recv_buf().expect("connected").put_slice(bytes);
    client.received(Now::START);
}

fn tell_control(client: &mut ProducerClient, control: &Control) {
    let mut bytes = BytesMut::new();
    control.encode(&mut bytes);
    tell(client, &bytes);
}

fn connect(client: &mut ProducerClient, accepted: u64) {
    client.connected(Now::START);
    let answer = format!("OK v=2 heartbeat=15 accepted={accepted} resumed=1\n");
    tell(client, answer.as_bytes());
}

#[test]
fn a_named_producer_skips_what_the_broker_has_and_sends_the_rest_once() {
    let mut client = ProducerClient::new(options(Some("p")), Window::default());
    assert!(client.send(batch(&["a", "b"])).is_ok());
    client.connected(Now::START);
    assert_eq!(transmitted(&mut client), "PRODUCER v=2 producer=p\\n");
    tell(&mut client, b"OK v=2 heartbeat=15 accepted=0 resumed=0\n");
    assert_eq!(
        transmitted(&mut client),
        "\\x00\\x00\\x00\\x01a\\x00\\x00\\x00\\x01b"
    );
    client.disconnected();
    assert!(matches!(
        events(&mut client)[..],
        [
            ProducerEvent::Connected(_),
            ProducerEvent::Ended(Ended::Disconnected)
        ]
    ));
    client.connected(Now::START);
    assert_eq!(transmitted(&mut client), "PRODUCER v=2 producer=p\\n");
    tell(&mut client, b"OK v=2 accepted=1 resumed=1\n");
    assert_eq!(transmitted(&mut client), "\\x00\\x00\\x00\\x01b");
    let confirmed = |number| ProducerEvent::Confirmed {
        number,
        unrouted: 0,
    };
    assert_eq!(events(&mut client)[1..], [confirmed(1)]);
    tell_control(
        &mut client,
        &Control::Confirmed {
            position: 2,
            unrouted: 0,
        },
    );
    assert_eq!(events(&mut client), [confirmed(2)]);
    assert!(client.is_done());
    client.disconnected();
    client.connected(Now::START);
    assert_eq!(transmitted(&mut client), "PRODUCER v=2 producer=p at=3\\n");
}

#[test]
fn a_confirm_for_what_was_never_sent_confirms_nothing_more() {
    let mut client = ProducerClient::new(options(None), Window::default());
    connect(&mut client, 0);
    assert!(client.send(batch(&["a"])).is_ok());
    tell_control(
        &mut client,
        &Control::Confirmed {
            position: 9,
            unrouted: 0,
        },
    );
    assert!(!client.is_done());
}

#[test]
fn what_is_refused_is_told_by_number() {
    let mut client = ProducerClient::new(options(None), Window::default());
    connect(&mut client, 0);
    assert!(client.send(batch(&["a", "b"])).is_ok());
    transmitted(&mut client);
    events(&mut client);
    let reason = Reason {
        code: "full".into(),
        text: "queue".into(),
    };
    tell_control(
        &mut client,
        &Control::Refused(Range { from: 1, to: 1 }, reason.clone()),
    );
    assert_eq!(
        events(&mut client),
        [ProducerEvent::Refused(Range { from: 1, to: 1 }, reason)]
    );
    assert!(!client.is_done());
}

#[test]
fn the_end_of_all_is_told_where_the_last_was_refused() {
    let mut client = ProducerClient::new(options(None), Window::default());
    connect(&mut client, 0);
    client.send(batch(&["a", "b"])).expect("room");
    transmitted(&mut client);
    assert!(client.awaits_confirms());
    assert_eq!(client.unconfirmed().messages, 2);
    let reason = Reason {
        code: "full".into(),
        text: String::new(),
    };
    tell_control(
        &mut client,
        &Control::Confirmed {
            position: 1,
            unrouted: 0,
        },
    );
    tell_control(
        &mut client,
        &Control::Refused(Range { from: 2, to: 2 }, reason),
    );
    assert_eq!(client.settled(), 2);
    events(&mut client);
    tell_control(
        &mut client,
        &Control::Confirmed {
            position: 2,
            unrouted: 0,
        },
    );
    let told = ProducerEvent::Confirmed {
        number: 2,
        unrouted: 0,
    };
    assert_eq!(events(&mut client), [told]);
    assert!(!client.awaits_confirms());
}

#[test]
fn nothing_is_sent_after_goaway_and_a_final_error_says_so() {
    let mut client = ProducerClient::new(options(None), Window::default());
    connect(&mut client, 0);
    transmitted(&mut client);
    tell_control(
        &mut client,
        &Control::GoAway {
            left_ms: 9,
            wait_ms: 5,
            text: String::new(),
        },
    );
    assert!(client.send(batch(&["a"])).is_ok());
    assert_eq!(transmitted(&mut client), "");
    let taken_over = Reason {
        code: "taken_over".into(),
        text: String::new(),
    };
    tell_control(&mut client, &Control::Error(taken_over.clone()));
    let last = events(&mut client).pop();
    assert_eq!(
        last,
        Some(ProducerEvent::Ended(Ended::Refused(taken_over.clone())))
    );
    assert!(!Ended::Refused(taken_over).may_try_again());
    assert!(!client.is_connected() && !client.is_done());
}

fn full() -> Reason {
    Reason {
        code: "full".into(),
        text: String::new(),
    }
}

#[test]
fn what_was_refused_before_is_heard_before_anything_is_taken_for_safe() {
    let mut client = ProducerClient::new(options(Some("p")), Window::default());
    assert!(client.send(batch(&["a", "b", "c", "d"])).is_ok());
    connect(&mut client, 0);
    transmitted(&mut client);
    client.disconnected();
    events(&mut client);
    client.connected(Now::START);
    transmitted(&mut client);
    tell(&mut client, b"OK v=2 accepted=3 resumed=1 refused=2\n");
    // It was taken in meanwhile, and waits as well.
    assert!(client.send(batch(&["e"])).is_ok());
    assert_eq!(transmitted(&mut client), "");
    assert_eq!((client.settled(), client.is_done()), (0, false));
    tell_control(&mut client, &Control::Ping(1));
    assert_ne!(transmitted(&mut client), "", "it is alive");
    let range = |from, to| Range { from, to };
    tell_control(&mut client, &Control::Refused(range(1, 1), full()));
    tell_control(&mut client, &Control::Refused(range(3, 3), full()));
    assert_eq!(
        events(&mut client)[1..],
        [
            ProducerEvent::Refused(range(1, 1), full()),
            ProducerEvent::Refused(range(3, 3), full()),
            ProducerEvent::Confirmed {
                number: 3,
                unrouted: 0
            }
        ]
    );
    assert_eq!(
        transmitted(&mut client),
        "\\x00\\x00\\x00\\x01d\\x00\\x00\\x00\\x01e"
    );
}

#[test]
fn a_process_that_starts_again_hears_of_what_was_refused_to_the_one_before() {
    let mut client = ProducerClient::new(options(Some("p")), Window::default());
    client.connected(Now::START);
    tell(&mut client, b"OK v=2 accepted=4 resumed=1 refused=1\n");
    let range = |from, to| Range { from, to };
    tell_control(&mut client, &Control::Refused(range(2, 3), full()));
    assert_eq!(events(&mut client).len(), 1);
    assert!(client.send(batch(&["a", "b"])).is_ok());
    assert_eq!(client.poll_refused(), Some((range(2, 2), full())));
    assert_eq!(client.poll_refused(), None);
    assert!(client.send(batch(&["c", "d", "e"])).is_ok());
    assert_eq!(
        events(&mut client),
        [ProducerEvent::Refused(range(3, 3), full())]
    );
    transmitted(&mut client);
    // On the next connection it is told anew, of what it has not seen settled.
    client.disconnected();
    connect(&mut client, 4);
    assert_eq!(client.settled(), 4);
    assert_eq!(
        transmitted(&mut client),
        "PRODUCER v=2 producer=p at=5\\n\\x00\\x00\\x00\\x01e"
    );
}

#[test]
fn a_silent_broker_is_asked_and_then_given_up() {
    let mut client = ProducerClient::new(options(None), Window::default());
    connect(&mut client, 0);
    transmitted(&mut client);
    let at = |seconds| Now::at(Duration::from_secs(seconds));
    assert_eq!(client.poll_timeout(), Some(at(15)));
    client.handle_timeout(at(15));
    assert!(
        client
            .poll_transmit(at(15))
            .is_some_and(|bytes| bytes[4] == 0x02)
    );
    client.handle_timeout(at(30));
    assert_eq!(
        events(&mut client).pop(),
        Some(ProducerEvent::Ended(Ended::Silent))
    );
}

#[test]
fn without_confirms_nothing_is_kept() {
    let mut client = ProducerClient::new(ProducerOptions::default(), Window::default());
    connect(&mut client, 0);
    transmitted(&mut client);
    assert!(client.send(batch(&["a"])).is_ok());
    assert!(!client.is_done());
    assert_eq!(transmitted(&mut client), "\\x00\\x00\\x00\\x01a");
    assert!(client.is_done());
}

fn topic(name: &str) -> TopicName {
    TopicName::new(name).expect("a name")
}

#[test]
fn the_topic_is_told_at_each_change_and_again_on_the_next_connection() {
    let mut client = ProducerClient::new(options(Some("p")), Window::default());
    let answer = |accepted: u64| format!("OK v=2 topic=home accepted={accepted} resumed=1\n");
    client.connected(Now::START);
    transmitted(&mut client);
    tell(&mut client, answer(0).as_bytes());
    for (to, message) in [
        (Some("t.1"), "a"),
        (Some("t.1"), "b"),
        (Some("home"), "c"),
        (None, "d"),
        (Some("t.2"), "e"),
    ] {
        let batch = batch(&[message]);
        let sent = match to {
            Some(to) => client.send_to(topic(to), batch),
            None => client.send(batch),
        };
        assert!(sent.is_ok());
    }
    let said = |name: &str| format!("\\x80\\x00\\x00\\x{:02x}\\x01{name}", name.len() + 1);
    let message = |body: &str| format!("\\x00\\x00\\x00\\x01{body}");
    let expected = [
        said("t.1"),
        message("a"),
        message("b"),
        said("home"),
        message("c"),
        message("d"),
        said("t.2"),
        message("e"),
    ];
    assert_eq!(transmitted(&mut client), expected.concat());
    // The broker has a: what is left goes where it belongs, though the connection begins at home.
    client.disconnected();
    client.connected(Now::START);
    transmitted(&mut client);
    tell(&mut client, answer(1).as_bytes());
    let rest = [&[said("t.1")], &expected[2..]].concat();
    assert_eq!(transmitted(&mut client), rest.concat());
    assert!(client.send_to(topic("t.2"), batch(&["f"])).is_ok());
    assert_eq!(transmitted(&mut client), message("f"));
    assert!(client.send(batch(&["g"])).is_ok());
    assert_eq!(
        transmitted(&mut client),
        [said("home"), message("g")].concat()
    );
}

#[test]
fn without_the_name_of_its_own_topic_a_producer_does_not_send_to_another_by_mistake() {
    let mut client = ProducerClient::new(options(None), Window::default());
    connect(&mut client, 0);
    assert!(client.send_to(topic("t"), batch(&["a"])).is_ok());
    assert!(client.send(batch(&["b"])).is_ok());
    assert_eq!(
        transmitted(&mut client),
        "PRODUCER v=2 confirm=1\\n\\x80\\x00\\x00\\x02\\x01t\\x00\\x00\\x00\\x01a"
    );
    let ended = Ended::NoAnswer(BadAnswer::Key("topic"));
    assert_eq!(events(&mut client)[1..], [ProducerEvent::Ended(ended)]);
}

#[test]
fn after_goaway_no_topic_is_told() {
    let mut client = ProducerClient::new(options(Some("p")), Window::default());
    connect(&mut client, 0);
    transmitted(&mut client);
    let goaway = Control::GoAway {
        left_ms: 1,
        wait_ms: 1,
        text: String::new(),
    };
    tell_control(&mut client, &goaway);
    assert!(client.send_to(topic("t"), batch(&["a"])).is_ok());
    assert_eq!(transmitted(&mut client), "");
}
