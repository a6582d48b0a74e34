//! Values as bytes, and back.
//!
//! A number is a varint (LEB128: seven bits a byte, least first, the top bit says that more follow);
//! everything else is made of numbers and byte strings. Each value has a method in [`Out`] and one
//! of the same name in [`In`].

use message_queue_core::wire::Role;
use message_queue_core::{
    CloseReason, ConnId, Count, DropReason, Flow, GroupId, Now, ProtocolError, Stats,
};
use std::time::Duration;

/// Bytes being written.
#[derive(Debug, Default)]
pub(super) struct Out(pub(super) Vec<u8>);

/// Bytes being read.
#[derive(Debug)]
pub(super) struct In<'a>(pub(super) &'a [u8]);

/// Bytes that are not what they should be. Their checksum was right, so another program wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct Malformed(pub(super) &'static str);

impl Out {
    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub(super) fn size(&mut self, size: usize) {
        self.number(size as u64);
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn flag(&mut self, flag: bool) {
        self.byte(u8::from(flag));
    }

    pub(super) fn duration(&mut self, duration: Duration) {
        self.number(duration.as_secs());
        self.number(u64::from(duration.subsec_nanos()));
    }

    pub(super) fn now(&mut self, now: Now) {
        self.duration(now.since_start());
    }

    pub(super) fn conn(&mut self, conn: ConnId) {
        self.number(conn.0);
    }

    pub(super) fn count(&mut self, count: Count) {
        self.number(count.messages);
        self.number(count.bytes);
    }

    pub(super) fn option<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            put(self, value);
        }
    }

    pub(super) fn role(&mut self, role: Role) {
        self.byte(match role {
            Role::Producer => 0,
            Role::Consumer => 1,
        });
    }

    pub(super) fn group(&mut self, group: GroupId) {
        match group {
            GroupId::Shared => self.byte(0),
            GroupId::Own(conn) => {
                self.byte(1);
                self.conn(conn);
            }
        }
    }

    pub(super) fn drop_reason(&mut self, reason: DropReason) {
        self.size(reason.index());
    }

    pub(super) fn close_reason(&mut self, reason: CloseReason) {
        self.size(reason.index());
        match reason {
            CloseReason::Protocol(ProtocolError::RoleLineTooLong { limit }) => self.size(limit),
            CloseReason::Protocol(ProtocolError::FrameTooLarge { length }) => {
                self.number(length.into());
            }
            CloseReason::Protocol(
                ProtocolError::UnknownRole
                | ProtocolError::TruncatedRoleLine
                | ProtocolError::TruncatedFrame
                | ProtocolError::UnexpectedData,
            )
            | CloseReason::PeerClosed
            | CloseReason::PeerReset
            | CloseReason::RoleTimeout
            | CloseReason::WriteTimeout
            | CloseReason::TooManyConnections
            | CloseReason::TooManyConsumers
            | CloseReason::Draining
            | CloseReason::Drained
            | CloseReason::DrainTimeout => {}
        }
    }

    pub(super) fn flow(&mut self, flow: &Flow) {
        self.count(flow.offered);
        self.count(flow.delivered);
        self.count(flow.waiting);
        for count in flow.dropped {
            self.count(count);
        }
    }

    pub(super) fn stats(&mut self, stats: &Stats) {
        let Stats {
            received,
            flow,
            opened,
            closed,
            connections,
            producers,
            consumers,
            producers_registered,
            consumers_registered,
            parked,
        } = stats;
        self.count(*received);
        self.flow(flow);
        self.number(*opened);
        for number in closed {
            self.number(*number);
        }
        for size in [connections, producers, consumers] {
            self.size(*size);
        }
        self.number(*producers_registered);
        self.number(*consumers_registered);
        self.count(*parked);
    }
}

impl<'a> In<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed("record: cut short"))?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed("number: above 64 bits"))
    }

    pub(super) fn size(&mut self) -> Result<usize, Malformed> {
        let number = self.number()?;
        usize::try_from(number).map_err(|_| Malformed("size: too large for this machine"))
    }

    pub(super) fn raw(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let cut_short = Malformed("byte string: cut short");
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(cut_short)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("flag")),
        }
    }

    pub(super) fn duration(&mut self) -> Result<Duration, Malformed> {
        let (seconds, nanos) = (self.number()?, self.number()?);
        match u32::try_from(nanos) {
            Ok(nanos) if nanos < 1_000_000_000 => Ok(Duration::new(seconds, nanos)),
            Ok(_) | Err(_) => Err(Malformed("duration")),
        }
    }

    pub(super) fn now(&mut self) -> Result<Now, Malformed> {
        self.duration().map(Now::at)
    }

    pub(super) fn conn(&mut self) -> Result<ConnId, Malformed> {
        self.number().map(ConnId)
    }

    pub(super) fn count(&mut self) -> Result<Count, Malformed> {
        Ok(Count {
            messages: self.number()?,
            bytes: self.number()?,
        })
    }

    pub(super) fn option<T>(
        &mut self,
        get: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        self.flag()?.then(|| get(self)).transpose()
    }

    /// As many values as a number says. Each takes a byte at least, so the number cannot make this
    /// allocate more than the record's own size.
    pub(super) fn list<T>(
        &mut self,
        mut get: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let length = self.size()?;
        if length > self.0.len() {
            return Err(Malformed("list: longer than its record"));
        }
        (0..length).map(|_| get(self)).collect()
    }

    pub(super) fn role(&mut self) -> Result<Role, Malformed> {
        match self.byte()? {
            0 => Ok(Role::Producer),
            1 => Ok(Role::Consumer),
            _ => Err(Malformed("role")),
        }
    }

    pub(super) fn group(&mut self) -> Result<GroupId, Malformed> {
        match self.byte()? {
            0 => Ok(GroupId::Shared),
            1 => self.conn().map(GroupId::Own),
            _ => Err(Malformed("group")),
        }
    }

    pub(super) fn drop_reason(&mut self) -> Result<DropReason, Malformed> {
        let reason = DropReason::ALL.get(self.size()?);
        reason.copied().ok_or(Malformed("reason of a drop"))
    }

    pub(super) fn close_reason(&mut self) -> Result<CloseReason, Malformed> {
        let malformed = Malformed("reason of a close");
        let reason = *CloseReason::ALL.get(self.size()?).ok_or(malformed)?;
        let CloseReason::Protocol(error) = reason else {
            return Ok(reason);
        };
        Ok(CloseReason::Protocol(match error {
            ProtocolError::RoleLineTooLong { .. } => ProtocolError::RoleLineTooLong {
                limit: self.size()?,
            },
            ProtocolError::FrameTooLarge { .. } => ProtocolError::FrameTooLarge {
                length: self.number()?.try_into().map_err(|_| malformed)?,
            },
            ProtocolError::UnknownRole
            | ProtocolError::TruncatedRoleLine
            | ProtocolError::TruncatedFrame
            | ProtocolError::UnexpectedData => error,
        }))
    }

    pub(super) fn flow(&mut self) -> Result<Flow, Malformed> {
        let mut flow = Flow {
            offered: self.count()?,
            delivered: self.count()?,
            waiting: self.count()?,
            ..Flow::default()
        };
        for count in &mut flow.dropped {
            *count = self.count()?;
        }
        Ok(flow)
    }

    pub(super) fn stats(&mut self) -> Result<Stats, Malformed> {
        let (received, flow, opened) = (self.count()?, self.flow()?, self.number()?);
        let mut closed = [0; CloseReason::COUNT];
        for number in &mut closed {
            *number = self.number()?;
        }
        Ok(Stats {
            received,
            flow,
            opened,
            closed,
            connections: self.size()?,
            producers: self.size()?,
            consumers: self.size()?,
            producers_registered: self.number()?,
            consumers_registered: self.number()?,
            parked: self.count()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for number in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u64::MAX - 1, u64::MAX] {
            let mut out = Out::default();
            out.number(number);
            let mut input = In(&out.0);
            assert_eq!(input.number(), Ok(number));
            assert!(input.0.is_empty());
        }
    }

    #[test]
    fn a_number_above_64_bits_is_refused() {
        assert!(In(&[0xff; 10]).number().is_err());
        assert!(In(&[0x80; 11]).number().is_err());
        assert!(In(&[0x80]).number().is_err());
    }

    #[test]
    fn every_reason_comes_back_with_what_it_says() {
        let limits = [
            ProtocolError::RoleLineTooLong { limit: 1024 },
            ProtocolError::FrameTooLarge { length: u32::MAX },
        ];
        let reasons = CloseReason::ALL.into_iter();
        for reason in reasons.chain(limits.map(CloseReason::Protocol)) {
            let mut out = Out::default();
            out.close_reason(reason);
            assert_eq!(In(&out.0).close_reason(), Ok(reason));
        }
        for reason in DropReason::ALL {
            let mut out = Out::default();
            out.drop_reason(reason);
            assert_eq!(In(&out.0).drop_reason(), Ok(reason));
        }
    }

    #[test]
    fn a_length_allocates_no_more_than_there_is() {
        let mut out = Out::default();
        out.number(u64::MAX >> 1);
        let list = In(&out.0).list(|input| input.byte());
        assert_eq!(list, Err(Malformed("list: longer than its record")));
    }
}
