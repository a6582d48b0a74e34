//! The task that reads from one connection. It decodes, and hands what it finds to the broker's task.

use super::{Event, Socket};
use message_queue_core::wire::{Decoded, Decoder, DecoderConfig, Role, SpareBuffers};
use message_queue_core::{ConnId, Input};
use smol::Timer;
use smol::channel::{Receiver, Sender};
use smol::future::{FutureExt, pending};
use std::convert::Infallible;
use std::io::{self, ErrorKind, Read};
use std::time::Duration;

/// While draining: who has been silent for so long has nothing more on its way.
const SILENCE: Duration = Duration::from_millis(20);

/// What a task that reads needs.
pub(super) struct Reader {
    pub(super) conn: ConnId,
    pub(super) socket: Socket,
    pub(super) events: Sender<Event>,
    /// One for each batch handed over, when the core is ready for the next.
    pub(super) permits: Receiver<()>,
    /// Closed when the orderly end begins.
    pub(super) draining: Receiver<Infallible>,
}

/// The broker, or this connection as far as the broker is concerned, has ended.
struct Ended;

impl Reader {
    /// Reads until the connection ends, or the broker drops this task.
    pub(super) async fn run(self, config: DecoderConfig) {
        let mut decoder = Decoder::new(config);
        let mut is_consumer = false;
        loop {
            let input = match read(&self.socket, &mut decoder) {
                Ok(0) => {
                    // Its frames were handed over when they came.
                    decoder
                        .finish()
                        .map_or_else(Input::Broke, |()| Input::PeerClosed)
                }
                Ok(_) => match self.hand_over(&mut decoder, &mut is_consumer).await {
                    Ok(()) => continue,
                    Err(Ended) => return,
                },
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    decoder.park(&mut SpareBuffers::default());
                    if let Some(bytes) = decoder.report_partial()
                        && self.tell(Input::Partial { bytes }).await.is_err()
                    {
                        return;
                    }
                    if self.readable_in_time(is_consumer).await {
                        continue;
                    }
                    Input::NothingToRead
                }
                Err(_) => Input::PeerReset,
            };
            // It was the last, whether or not anybody hears it.
            let _ = self.tell(input).await;
            return;
        }
    }

    /// Waits until there is something to read. False if the broker is about to end and this peer
    /// is silent. A consumer's silence means nothing.
    async fn readable_in_time(&self, is_consumer: bool) -> bool {
        let readable = async {
            // A socket that has failed is readable too: the read will tell.
            let _ = self.socket.readable().await;
            true
        };
        let silent = async {
            if is_consumer {
                pending::<()>().await;
            }
            // Nothing is ever sent: it returns when the channel is closed.
            let _ = self.draining.recv().await;
            Timer::after(SILENCE).await;
            false
        };
        readable.or(silent).await
    }

    /// Hands over what a read brought.
    async fn hand_over(&self, decoder: &mut Decoder, is_consumer: &mut bool) -> Result<(), Ended> {
        loop {
            match decoder.next() {
                Ok(None) => return Ok(()),
                Ok(Some(decoded)) => {
                    match &decoded {
                        Decoded::Role(role) => *is_consumer = *role == Role::Consumer,
                        Decoded::Options(options) => {
                            *is_consumer = options.role() == Role::Consumer;
                        }
                        Decoded::BadOptions(_) | Decoded::Batch(_) | Decoded::Control(_) => {}
                    }
                    let is_batch = matches!(decoded, Decoded::Batch(_));
                    self.tell(decoded.into()).await?;
                    if is_batch {
                        self.permits.recv().await.map_err(|_| Ended)?;
                    }
                }
                Err(error) => {
                    self.tell(Input::Broke(error)).await?;
                    return Err(Ended);
                }
            }
        }
    }

    async fn tell(&self, input: Input) -> Result<(), Ended> {
        self.events
            .send(Event::Input(self.conn, input))
            .await
            .map_err(|_| Ended)
    }
}

/// Reads what is there into the decoder's buffer, without waiting.
fn read(socket: &Socket, decoder: &mut Decoder) -> io::Result<usize> {
    let buf = decoder.recv_buf();
    let filled = buf.len();
    buf.resize(buf.capacity(), 0);
    let read = socket.get_ref().read(&mut buf[filled..]);
    buf.truncate(filled + read.as_ref().map_or(0, |bytes| *bytes));
    read
}
