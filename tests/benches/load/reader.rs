//! What consumers do with what they receive: as little as they can.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// How many requests a consumer that asks for messages has under way.
const REQUESTS: usize = 4;

const PAGE: usize = 4096;

/// How the messages in a stream are counted.
#[derive(Clone, Debug)]
pub(crate) enum Reader {
    /// They come by themselves, and each takes so many bytes.
    Bytes { of_message: usize },
    /// They come as lists, on request. The head of a list ends in how many there are, and a line
    /// feed; then they follow, so many bytes each.
    Lists {
        request: Vec<u8>,
        head: &'static [u8],
        of_message: usize,
    },
}

impl Reader {
    /// Reads to the end of the stream, of so many bytes at a time, and tells after each read
    /// how many messages have come so far.
    pub(crate) fn run(
        &self,
        mut stream: &TcpStream,
        read_bytes: usize,
        mut tell: impl FnMut(u64),
    ) -> io::Result<()> {
        let mut buffer = vec![0; read_bytes + PAGE];
        match self {
            Self::Bytes { of_message } => {
                let (mut bytes, mut start) = (0, 0);
                loop {
                    // Not always to the same place in a page: `docs/PERFORMANCE.md` has why.
                    start = (start + 7 * 64) % PAGE;
                    match stream.read(&mut buffer[start..start + read_bytes])? {
                        0 => return Ok(()),
                        size => bytes += size,
                    }
                    tell((bytes / of_message) as u64);
                }
            }
            Self::Lists {
                request,
                head,
                of_message,
            } => {
                stream.write_all(&request.repeat(REQUESTS))?;
                let mut lists = Lists::new(head, *of_message);
                loop {
                    let size = stream.read(&mut buffer)?;
                    if size == 0 {
                        return Ok(());
                    }
                    let ended = lists.read(&buffer[..size])?;
                    stream.write_all(&request.repeat(ended))?;
                    tell(lists.messages);
                }
            }
        }
    }
}

/// Follows lists through a stream, however it is cut into reads.
#[derive(Debug)]
struct Lists {
    head: &'static [u8],
    of_message: usize,
    /// What has come of the head of the next list.
    begun: Vec<u8>,
    /// What is to come of this list, in bytes.
    rest: usize,
    /// In lists that have begun.
    messages: u64,
}

impl Lists {
    const fn new(head: &'static [u8], of_message: usize) -> Self {
        Self {
            head,
            of_message,
            begun: Vec::new(),
            rest: 0,
            messages: 0,
        }
    }

    /// Goes on with these bytes. Returns how many lists have ended.
    fn read(&mut self, mut bytes: &[u8]) -> io::Result<usize> {
        let mut ended = 0;
        while let Some((&first, others)) = bytes.split_first() {
            if self.rest > 0 {
                let size = self.rest.min(bytes.len());
                self.rest -= size;
                bytes = &bytes[size..];
                ended += usize::from(self.rest == 0);
                continue;
            }
            self.begun.push(first);
            bytes = others;
            if self.begun.len() > self.head.len() && first == b'\n' {
                let count = self.begun.strip_prefix(self.head);
                let count = count.and_then(|count| str::from_utf8(count).ok());
                let count = count.and_then(|count| count.trim().parse::<u32>().ok());
                let count = count.filter(|count| *count > 0);
                let count = count.ok_or_else(|| io::Error::other("an answer that is no list"))?;
                self.begun.clear();
                self.rest = count as usize * self.of_message;
                self.messages += u64::from(count);
            }
        }
        Ok(ended)
    }
}
