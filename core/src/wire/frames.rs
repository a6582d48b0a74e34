//! Messages and control frames, as they stand in a stream of version 2.

use super::batch::FrameBatch;
use super::control::{BadFrame, CONTROL_BIT, Control, Link, MAX_CONTROL_BODY};
use super::frame::{self, Front, LENGTH_PREFIX};
use super::read_buffer::ReadBuffer;
use crate::error::ProtocolError;

/// What stands next in a stream of version 2, behind the line that it begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frames {
    /// Messages: all the whole frames up to the next control frame, so far as they have come.
    Batch(FrameBatch),
    /// A control frame. One that may be skipped and is not known does not appear.
    Control(Control),
}

/// Takes what stands at the front of `buffer`; `None` when it takes more bytes to go on.
pub(super) fn next(link: Link, buffer: &mut ReadBuffer) -> Result<Option<Frames>, ProtocolError> {
    loop {
        let (messages, end) = whole_messages(buffer.as_bytes());
        if messages > 0 {
            if link == Link::FromConsumer {
                return Err(ProtocolError::UnexpectedData);
            }
            return Ok(Some(Frames::Batch(buffer.take(messages, end))));
        }
        let bytes = buffer.as_bytes();
        let Some(header) = header_at(bytes, 0) else {
            return Ok(None);
        };
        if header & CONTROL_BIT == 0 {
            if link == Link::FromConsumer {
                return Err(ProtocolError::UnexpectedData);
            }
            // It is not whole, or announces too much.
            return frame::front(bytes).map(|_| None);
        }
        let Some(control) = control(link, buffer)? else {
            return Ok(None);
        };
        if let Some(control) = control {
            return Ok(Some(Frames::Control(control)));
        }
    }
}

/// Takes the control frame at the front of `buffer`, of which the header has come; `None` when it takes more bytes to
/// go on, and nothing of one that is unknown and may be skipped.
pub(super) fn control(
    link: Link,
    buffer: &mut ReadBuffer,
) -> Result<Option<Option<Control>>, ProtocolError> {
    let bytes = buffer.as_bytes();
    let length = header_at(bytes, 0).unwrap_or(0) & !CONTROL_BIT;
    let size = match length as usize {
        length @ 1..=MAX_CONTROL_BODY => LENGTH_PREFIX + length,
        _ => return Err(ProtocolError::BadFrame(BadFrame::Length(length))),
    };
    let Some(body) = bytes.get(LENGTH_PREFIX..size) else {
        return Ok(None);
    };
    let control = Control::decode(link, body).map_err(ProtocolError::BadFrame)?;
    buffer.advance(size);
    Ok(Some(control))
}

/// How many whole messages stand at the front, and the bytes they take.
pub(super) fn whole_messages(bytes: &[u8]) -> (usize, usize) {
    let (mut messages, mut end) = (0, 0);
    while header_at(bytes, end).is_some_and(|header| header & CONTROL_BIT == 0)
        && let Ok(Front::Whole(size)) = frame::front(&bytes[end..])
    {
        messages += 1;
        end += size;
    }
    (messages, end)
}

pub(super) fn header_at(bytes: &[u8], at: usize) -> Option<u32> {
    let header = bytes.get(at..at + LENGTH_PREFIX)?;
    header.first_chunk().map(|it| u32::from_be_bytes(*it))
}
