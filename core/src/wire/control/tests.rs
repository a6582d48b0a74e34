//! The encoder and the decoder against the table, and against bytes written by hand.

use super::table::{KINDS, Kind};
use super::{BadFrame, CONTROL_BIT, Control, Field, Lag, Link, Origin, Outcome, Range, Reason};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bytes::BytesMut;
use proptest::prelude::*;

const LINKS: [Link; 4] = [
    Link::FromProducer,
    Link::FromConsumer,
    Link::ToProducer,
    Link::ToConsumer,
];

/// A body made from the table alone, and the lengths at which its fields end.
fn body(kind: &Kind, link: Link) -> (Vec<u8>, Vec<usize>) {
    let mut body = vec![kind.code];
    let mut ends = vec![1];
    for (place, (_, field)) in kind.fields_on(link).enumerate() {
        // 1 is allowed for every number there is, and ranges do not run backwards.
        let number = 1 + place as u64;
        match field {
            Field::U8 => body.push(1),
            Field::U32 => body.extend((number as u32).to_be_bytes()),
            Field::U64 => body.extend(number.to_be_bytes()),
            Field::Text8 => body.extend(b"\x04word"),
            Field::Text16 => body.extend(b"\0\x04name"),
            Field::Rest => body.extend(b"code and a text"),
            Field::Marks => {
                for _ in 0..2 {
                    body.extend(b"\x04name\x07session");
                    body.extend(number.to_be_bytes());
                    ends.push(body.len());
                }
            }
            Field::Ranges => {
                for number in [1_u64, 5, 9, 9] {
                    body.extend(number.to_be_bytes());
                }
            }
        }
        ends.push(body.len());
    }
    (body, ends)
}

fn encoded(control: &Control) -> Vec<u8> {
    let mut out = BytesMut::new();
    control.encode(&mut out);
    out.to_vec()
}

#[test]
fn the_table_is_in_order_and_every_kind_has_a_name_of_its_own() {
    assert!(KINDS.windows(2).all(|pair| pair[0].code < pair[1].code));
    assert!(KINDS.windows(2).all(|pair| pair[0].name != pair[1].name));
}

/// The rows of the table in PROTOCOL.md, section "Control frames", without what they mean.
fn documented() -> Vec<[&'static str; 4]> {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/PROTOCOL.md"));
    let (_, section) = text.split_once("\n## 10. Control frames\n").expect("there");
    let (section, _) = section.split_once("\n## ").expect("another follows");
    let rows = section.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, code, name, by, fields, _, _] = cells[..] else {
            return None;
        };
        code.starts_with('`').then_some([code, name, by, fields])
    });
    rows.collect()
}

fn sent_by(links: &[Link]) -> &'static str {
    match links {
        [Link::FromProducer, Link::FromConsumer, ..] if links.len() == 4 => "everybody",
        [Link::FromProducer, Link::FromConsumer] => "client",
        [Link::FromProducer, Link::ToConsumer] => "producer, broker to consumer",
        [Link::FromConsumer] => "consumer",
        [Link::ToProducer, Link::ToConsumer] => "broker",
        [Link::ToProducer] => "broker to producer",
        [Link::ToConsumer] => "broker to consumer",
        other => panic!("no words for {other:?}"),
    }
}

fn in_words(fields: &[(&str, Field)]) -> String {
    let words = fields.iter().map(|(name, field)| {
        let written = match field {
            Field::U8 => "u8",
            Field::U32 => "u32",
            Field::U64 => "u64",
            Field::Text8 => "text8",
            Field::Text16 => "text16",
            Field::Rest => "text",
            Field::Ranges => "ranges",
            Field::Marks => "marks",
        };
        format!("{name}: {written}")
    });
    words.collect::<Vec<_>>().join(", ")
}

#[test]
fn the_table_in_the_specification_is_this_one() {
    let documented = documented();
    assert_eq!(documented.len(), KINDS.len());
    for (row, kind) in documented.iter().zip(&KINDS) {
        let code = format!("`{:02x}`", kind.code);
        let mut fields = in_words(kind.fields);
        if let Some((link, more)) = kind.more {
            assert_eq!(link, Link::ToConsumer);
            fields = format!("{fields}; to a consumer also {}", in_words(more));
        }
        let expected = [&code, kind.name, sent_by(kind.links), &fields];
        assert_eq!(row, &expected, "{}", kind.name);
    }
}

#[test]
fn every_row_is_decoded_and_encoded_as_it_says() {
    for kind in &KINDS {
        for link in LINKS {
            let (body, _) = body(kind, link);
            let decoded = Control::decode(link, &body);
            if !kind.may_come(link) {
                assert_eq!(decoded, Err(BadFrame::WrongWay(kind.code)), "{link:?}");
                continue;
            }
            let control = decoded.expect(kind.name).expect("a kind that is known");
            assert_eq!(control.kind(), kind);
            let header = CONTROL_BIT | body.len() as u32;
            let frame = [&header.to_be_bytes()[..], &body].concat();
            assert_eq!(encoded(&control), frame, "{} on {link:?}", kind.name);
        }
    }
}

#[test]
fn what_is_cut_short_is_bad_and_what_follows_is_ignored() {
    for kind in &KINDS {
        for link in kind.links {
            let (body, ends) = body(kind, *link);
            let last = kind.fields_on(*link).last().map(|(_, field)| field);
            let open = matches!(last, Some(Field::Rest | Field::Ranges | Field::Marks));
            // A text to the end may be of any length; whole ranges may be missing, but not all.
            let fixed = if last == Some(Field::Rest) {
                ends[ends.len() - 2]
            } else {
                body.len()
            };
            for cut in 1..fixed {
                let whole_range = last == Some(Field::Ranges) && cut + 16 == body.len();
                // All marks may be missing.
                let whole_marks = last == Some(Field::Marks)
                    && (ends.contains(&cut) && cut >= ends[ends.len() - 4]);
                let decoded = Control::decode(*link, &body[..cut]);
                if whole_range || whole_marks {
                    assert!(decoded.is_ok(), "{} cut to {cut}", kind.name);
                } else {
                    assert_eq!(decoded, Err(BadFrame::Field(kind.code)), "cut to {cut}");
                }
            }
            if !open {
                let longer = [&body[..], b"of a later version"].concat();
                assert_eq!(
                    Control::decode(*link, &longer),
                    Control::decode(*link, &body)
                );
            }
        }
    }
}

#[test]
fn an_unknown_kind_is_skipped_from_80_on_and_bad_below() {
    let known: Vec<u8> = KINDS.iter().map(|kind| kind.code).collect();
    for code in (0..=u8::MAX).filter(|code| !known.contains(code)) {
        let decoded = Control::decode(Link::ToConsumer, &[code, 1, 2, 3]);
        if code < 0x80 {
            assert_eq!(decoded, Err(BadFrame::Unknown(code)));
        } else {
            assert_eq!(decoded, Ok(None));
        }
    }
    assert_eq!(
        Control::decode(Link::ToConsumer, b""),
        Err(BadFrame::Length(0))
    );
}

#[test]
fn bytes_written_by_hand() {
    let frame = |control: &Control| encoded(control);
    assert_eq!(frame(&Control::Bye), b"\x80\0\0\x01\x08");
    assert_eq!(
        frame(&Control::Topic("gpu.0".into())),
        b"\x80\0\0\x06\x01gpu.0"
    );
    assert_eq!(
        frame(&Control::Settle {
            outcome: Outcome::Done,
            delay_ms: 0,
            ranges: vec![Range { from: 1, to: 10 }],
        }),
        b"\x80\0\0\x16\x30\x01\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x0a"
    );
    assert_eq!(
        frame(&Control::Pong(
            7,
            Some(Lag {
                messages: 3,
                oldest_ms: 20
            })
        )),
        b"\x80\0\0\x15\x03\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x03\0\0\0\x14"
    );
    assert_eq!(
        frame(&Control::Error(Reason {
            code: "bad_frame".into(),
            text: "why".into()
        })),
        b"\x80\0\0\x0e\x06bad_frame why"
    );
    assert_eq!(
        frame(&Control::Origin(Origin {
            sequence: 1,
            failures: 20,
            published: 2,
            topic: "t".into(),
            group: "g".into(),
            reason: String::from("rejected"),
        })),
        b"\x80\0\0\x23\x22\0\0\0\0\0\0\0\x01\0\0\0\x14\0\0\0\0\0\0\0\x02\0\x01t\0\x01grejected"
    );
}

#[test]
fn values_that_are_not_allowed() {
    let bad = |link, body: &[u8]| Control::decode(link, body);
    for outcome in [0, 6, 255] {
        let mut body = vec![0x30, outcome, 0, 0, 0, 0];
        body.extend([0; 16]);
        assert_eq!(bad(Link::FromConsumer, &body), Err(BadFrame::Field(0x30)));
    }
    let backwards = [
        &[0x30, 1, 0, 0, 0, 0][..],
        &2_u64.to_be_bytes(),
        &1_u64.to_be_bytes(),
    ];
    assert_eq!(
        bad(Link::FromConsumer, &backwards.concat()),
        Err(BadFrame::Field(0x30))
    );
    assert_eq!(
        bad(Link::ToProducer, b"\x12\x02full"),
        Err(BadFrame::Field(0x12))
    );
    assert_eq!(
        bad(Link::FromProducer, b"\x01\xff"),
        Err(BadFrame::Field(0x01))
    );
}

proptest! {
    #[test]
    fn what_any_bytes_say_is_said_again_in_the_same_bytes(
        link in 0..LINKS.len(),
        code in any::<u8>(),
        fields in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let body = [&[code][..], &fields].concat();
        if let Ok(Some(control)) = Control::decode(LINKS[link], &body) {
            let again = encoded(&control);
            prop_assert!(body.starts_with(&again[4..]) || again[4..].ends_with(b" ") || body.ends_with(b" "));
            prop_assert_eq!(Control::decode(LINKS[link], &again[4..]), Ok(Some(control)));
        }
    }
}
