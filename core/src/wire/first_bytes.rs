//! The first bytes of a connection that are no role line: which protocol they belong to, for whoever
//! reads the log (PROTOCOL.md, section 2).

use core::fmt;

/// The most bytes that are kept. Enough for every signature that is known here.
const KEPT: usize = 16;

/// The first line of HTTP/2, and those of HTTP/1.1 as far as their method.
const HTTP: [&[u8]; 9] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"TRACE ",
    b"PRI * HTTP/2.0",
];

/// What a client sent first that cannot become a role line: at most its first 16 bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FirstBytes {
    bytes: [u8; KEPT],
    len: u8,
}

/// A protocol that is spoken to the wrong port now and then, told by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// A header of the PROXY protocol, version 1 or 2, ahead of the client's own bytes.
    Proxy,
    /// A request of HTTP/1 or the preface of HTTP/2.
    Http,
    /// A handshake of TLS or SSL 3.
    Tls,
    /// An SSH client's greeting.
    Ssh,
    /// An AMQP client's header.
    Amqp,
    /// An MQTT client's `CONNECT`.
    Mqtt,
    /// A role and a space: the options of a later version.
    Options,
}

impl FirstBytes {
    /// None at all.
    pub const NONE: Self = Self {
        bytes: [0; KEPT],
        len: 0,
    };

    /// The first of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut first = Self::NONE;
        for (kept, byte) in first.bytes.iter_mut().zip(bytes) {
            *kept = *byte;
            first.len += 1;
        }
        first
    }

    /// The bytes, at most 16.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len).min(KEPT)]
    }

    /// The protocol that they belong to. `None` if that is none that is known here, or if too few
    /// of them had come to tell.
    pub fn signature(&self) -> Option<Signature> {
        let bytes = self.as_bytes();
        let begins = |signature: &[u8]| bytes.starts_with(signature);
        if begins(b"PRODUCER ") || begins(b"CONSUMER ") {
            Some(Signature::Options)
        } else if begins(b"PROXY ") || begins(b"\r\n\r\n\0\r\nQUIT\n") {
            Some(Signature::Proxy)
        } else if HTTP.into_iter().any(begins) {
            Some(Signature::Http)
        } else if begins(b"\x16\x03") {
            Some(Signature::Tls)
        } else if begins(b"SSH-") {
            Some(Signature::Ssh)
        } else if begins(b"AMQP") {
            Some(Signature::Amqp)
        } else if is_mqtt_connect(bytes) {
            Some(Signature::Mqtt)
        } else {
            None
        }
    }
}

/// A packet of type CONNECT: its length in one to four bytes, then the protocol's name (MQTT 5.0,
/// section 3.1; `MQIsdp` is that of version 3.1).
fn is_mqtt_connect(bytes: &[u8]) -> bool {
    bytes.split_first().is_some_and(|(&first, rest)| {
        let length = rest.iter().take(3).take_while(|&&byte| byte >= 0x80);
        let name = rest.get(length.count() + 1..).unwrap_or(&[]);
        first == 0x10 && (name.starts_with(b"\0\x04MQTT") || name.starts_with(b"\0\x06MQIsdp"))
    })
}

impl fmt::Display for FirstBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.signature() {
            Some(Signature::Proxy) => "this is the PROXY protocol",
            Some(Signature::Http) => "this is HTTP",
            Some(Signature::Tls) => "this is TLS",
            Some(Signature::Ssh) => "this is SSH",
            Some(Signature::Amqp) => "this is AMQP",
            Some(Signature::Mqtt) => "this is MQTT",
            Some(Signature::Options) => "options after the role are not supported",
            None => return write!(f, "it begins with \"{}\"", self.as_bytes().escape_ascii()),
        })
    }
}

impl fmt::Debug for FirstBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.as_bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn each_protocol_is_known_by_its_first_bytes_once_enough_have_come() {
        let signatures: [(&[u8], usize, Signature); 15] = [
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
                6,
                Signature::Proxy,
            ),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", 12, Signature::Proxy),
            (
                b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n",
                4,
                Signature::Http,
            ),
            (b"POST /messages HTTP/1.1\r\n", 5, Signature::Http),
            (b"OPTIONS * HTTP/1.1\r\n", 8, Signature::Http),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 14, Signature::Http),
            (
                b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
                2,
                Signature::Tls,
            ),
            (b"SSH-2.0-OpenSSH_9.9\r\n", 4, Signature::Ssh),
            (b"AMQP\0\0\x09\x01", 4, Signature::Amqp),
            (b"AMQP\x03\x01\0\0", 4, Signature::Amqp),
            (
                b"\x10\x0c\0\x04MQTT\x05\x02\0\x3c\0\0\0",
                8,
                Signature::Mqtt,
            ),
            (b"\x10\xff\xff\xff\x7f\0\x04MQTT\x04", 11, Signature::Mqtt),
            (b"\x10\x0e\0\x06MQIsdp\x03\x02\0\x3c", 10, Signature::Mqtt),
            (b"PRODUCER topic=a\n", 9, Signature::Options),
            (b"CONSUMER \n", 9, Signature::Options),
        ];
        for (bytes, enough, signature) in signatures {
            for length in 0..=bytes.len() {
                let first = FirstBytes::of(&bytes[..length]);
                let known = (length >= enough).then_some(signature);
                assert_eq!(first.signature(), known, "{first:?}");
            }
        }
    }

    #[test]
    fn what_is_not_known_is_shown_escaped_and_no_more_than_sixteen_bytes_of_it() {
        let shown = |bytes: &[u8]| FirstBytes::of(bytes).to_string();
        assert_eq!(
            shown(b"\0\0\0\x05hello"),
            r#"it begins with "\x00\x00\x00\x05hello""#
        );
        assert_eq!(shown(b"producer\n"), r#"it begins with "producer\n""#);
        assert_eq!(shown(b"\"\x1b[2J"), r#"it begins with "\"\x1b[2J""#);
        assert_eq!(shown(&[b'x'; 99]), r#"it begins with "xxxxxxxxxxxxxxxx""#);
        assert_eq!(shown(b"SSH-2.0-OpenSSH_9.9\r\n"), "this is SSH");
        for near in [
            &b"GETS"[..],
            b"\x16\x04",
            b"SSH_",
            b"PROXYTCP4",
            b"\x10\x0c\0\x04MQTX",
            b"\x10\xff\xff\xff\xff\x01\0\x04MQTT",
            b"\x10",
            b"",
        ] {
            assert_eq!(FirstBytes::of(near).signature(), None, "{near:?}");
        }
    }
}
