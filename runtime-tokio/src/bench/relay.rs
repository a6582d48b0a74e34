//! The relay: copies bytes from producers to consumers and parses nothing but the role line. What
//! it does in a second is what sockets allow, and so the yardstick for a broker; over TLS, what
//! sockets and rustls allow.
//!
//! One thread. Each read goes whole to every consumer, or to one of them
//! in turn; the next read comes when all of it is written.

use super::leg::Leg;
use super::reading::{PAGE, next_start};
use message_queue_core::DeliveryMode;
use message_queue_core::wire::Role;
use rustls::ServerConfig;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};

/// What all connections of a relay share.
#[derive(Debug)]
struct Relay {
    delivery: DeliveryMode,
    /// Producers are not read from before there are so many consumers.
    consumers: usize,
    read_bytes: usize,
    tls: Option<Arc<ServerConfig>>,
    outputs: Mutex<Consumers>,
    /// How many consumers there are.
    count: watch::Sender<usize>,
}

/// The consumers, and whose turn it is.
#[derive(Debug, Default)]
struct Consumers {
    legs: Vec<Leg>,
    next: usize,
}

/// Relays until the process is ended, on a port that it tells to `listening`: over TLS, if `tls` says
/// how. Producers are not read from before there are `consumers` consumers, and then up to
/// `read_bytes` at a time.
///
/// # Errors
/// If it cannot listen.
pub async fn relay(
    delivery: DeliveryMode,
    consumers: usize,
    read_bytes: usize,
    tls: Option<Arc<ServerConfig>>,
    listening: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    listening(listener.local_addr()?);
    let relay = Arc::new(Relay {
        delivery,
        consumers,
        read_bytes,
        tls,
        outputs: Mutex::default(),
        count: watch::Sender::new(0),
    });
    loop {
        let (socket, _) = listener.accept().await?;
        let relay = Arc::clone(&relay);
        tokio::spawn(async move {
            // Ends with the process that measures, or with a client that only shook hands.
            let _ = relay.serve(socket).await;
        });
    }
}

impl Relay {
    async fn serve(&self, socket: TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let mut leg = match &self.tls {
            Some(config) => Leg::tls(socket, Arc::clone(config), self.read_bytes).await?,
            None => Leg::Plain(socket),
        };
        let mut line = [0; Role::Producer.line().len()];
        leg.read_exact(&mut line).await?;
        if line == Role::Consumer.line().as_bytes() {
            self.outputs.lock().await.legs.push(leg);
            self.count.send_modify(|count| *count += 1);
            return Ok(());
        }
        let mut count = self.count.subscribe();
        // The relay has the sender itself.
        let _ = count.wait_for(|count| *count >= self.consumers).await;
        self.copy(leg).await
    }

    async fn copy(&self, mut producer: Leg) -> io::Result<()> {
        let mut buffer = vec![0; self.read_bytes + PAGE];
        let mut start = 0;
        loop {
            start = next_start(start);
            let buffer = &mut buffer[start..start + self.read_bytes];
            let size = producer.read(buffer).await?;
            if size == 0 {
                return Ok(());
            }
            let chunk = &buffer[..size];
            let mut outputs = self.outputs.lock().await;
            match self.delivery {
                DeliveryMode::Broadcast => write_to_all(&mut outputs.legs, chunk).await?,
                DeliveryMode::Queue => {
                    let turn = outputs.next % outputs.legs.len();
                    outputs.next = turn + 1;
                    write_to_all(&mut outputs.legs[turn..=turn], chunk).await?;
                }
            }
        }
    }
}

/// Writes all of `chunk` to each of `legs`; one that has to wait does not hold up the others.
async fn write_to_all(legs: &mut [Leg], chunk: &[u8]) -> io::Result<()> {
    let mut rests = vec![chunk; legs.len()];
    poll_fn(|cx| {
        let mut done = true;
        for (leg, rest) in legs.iter_mut().zip(&mut rests) {
            done &= leg.poll_write(rest, cx)?;
        }
        if done {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    })
    .await
}
