//! Every kind of control frame: its number, its name, who sends it, and its fields in their order.

/// One direction of one kind of connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// From a producer to the broker.
    FromProducer,
    /// From a consumer to the broker.
    FromConsumer,
    /// From the broker to a producer.
    ToProducer,
    /// From the broker to a consumer.
    ToConsumer,
}

/// How a field stands on the wire. Numbers are big-endian, texts are UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// One byte.
    U8,
    /// Four bytes.
    U32,
    /// Eight bytes.
    U64,
    /// A length of one byte, then a text of that many bytes.
    Text8,
    /// A length of two bytes, then a text of that many bytes.
    Text16,
    /// A text to the end of the frame.
    Rest,
    /// One or more pairs of U64, to the end of the frame.
    Ranges,
    /// Any number of marks, each a Text8, a Text8 and a U64, to the end of the frame.
    Marks,
}

/// A kind of control frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its number: the first byte of the body.
    pub code: u8,
    /// Its name in PROTOCOL.md.
    pub name: &'static str,
    /// Who sends it.
    pub links: &'static [Link],
    /// Its fields, in their order.
    pub fields: &'static [(&'static str, Field)],
    /// Fields that follow on one link only.
    pub more: Option<(Link, &'static [(&'static str, Field)])>,
}

use Field::{Marks, Ranges, Rest, Text8, Text16, U8, U32, U64};
use Link::{FromConsumer, FromProducer, ToConsumer, ToProducer};

const EVERYBODY: &[Link] = &[FromProducer, FromConsumer, ToProducer, ToConsumer];
const CLIENTS: &[Link] = &[FromProducer, FromConsumer];
const BROKER: &[Link] = &[ToProducer, ToConsumer];
const RANGE_AND_REASON: &[(&str, Field)] = &[("from", U64), ("to", U64), ("reason", Rest)];

/// Every kind that this version knows, by its number.
#[rustfmt::skip]
pub const KINDS: [Kind; 19] = [
    row(0x01, "TOPIC", &[FromProducer, ToConsumer], &[("name", Rest)]),
    row(0x02, "PING", EVERYBODY, &[("number", U64)]),
    Kind {
        more: Some((ToConsumer, &[("waiting", U64), ("oldest", U32)])),
        ..row(0x03, "PONG", EVERYBODY, &[("number", U64)])
    },
    row(0x04, "FLUSH", CLIENTS, &[("number", U64)]),
    row(0x05, "FLUSHED", BROKER, &[("number", U64)]),
    row(0x06, "ERROR", BROKER, &[("reason", Rest)]),
    row(0x07, "GOAWAY", BROKER, &[("left", U32), ("wait", U32), ("text", Rest)]),
    row(0x08, "BYE", &[FromConsumer], &[]),
    row(0x10, "CONFIRMED", &[ToProducer], &[("position", U64), ("unrouted", U64)]),
    row(0x11, "REFUSED", &[ToProducer], RANGE_AND_REASON),
    row(0x12, "BLOCKED", &[ToProducer], &[("blocked", U8), ("text", Rest)]),
    row(0x20, "RUN", &[ToConsumer], &[("first", U64), ("published", U64), ("attempt", U32)]),
    row(0x21, "GAP", &[ToConsumer], RANGE_AND_REASON),
    row(0x22, "ORIGIN", &[ToConsumer], &[
        ("sequence", U64), ("failures", U32), ("published", U64), ("topic", Text16), ("group", Text16), ("reason", Rest),
    ]),
    row(0x23, "REVOKED", &[ToConsumer], &[("code", Text8), ("positions", Ranges)]),
    row(0x30, "SETTLE", &[FromConsumer], &[("outcome", U8), ("delay", U32), ("positions", Ranges)]),
    row(0x31, "CREDIT", &[FromConsumer], &[("messages", U32), ("bytes", U32)]),
    row(0x80, "CHECK", &[ToConsumer], &[("crc32c", U32), ("length", U32), ("safe", U64), ("producers", Marks)]),
    row(0x81, "SEGMENT", &[ToConsumer], &[
        ("format", U32), ("epoch", U64), ("first", U64), ("previous", U64), ("published", U64),
    ]),
];

const fn row(
    code: u8,
    name: &'static str,
    links: &'static [Link],
    fields: &'static [(&'static str, Field)],
) -> Kind {
    Kind {
        code,
        name,
        links,
        fields,
        more: None,
    }
}

/// The row of a kind, if there is one.
pub fn find(code: u8) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.code == code)
}

/// The row of a kind that is known to be there.
pub(super) fn kind(code: u8) -> &'static Kind {
    match find(code) {
        Some(kind) => kind,
        None => unreachable!("every control frame stands in the table"),
    }
}

impl Kind {
    /// Whether it may come on this link.
    pub fn may_come(&self, link: Link) -> bool {
        self.links.contains(&link)
    }

    /// Its fields on this link.
    pub fn fields_on(&self, link: Link) -> impl Iterator<Item = (&'static str, Field)> {
        let more = match self.more {
            Some((on, more)) if on == link => more,
            Some(_) | None => &[],
        };
        self.fields.iter().chain(more).copied()
    }
}
