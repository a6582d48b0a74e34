//! The relay: copies bytes from producers to consumers and parses nothing but the role line. What
//! it does in a second is what sockets allow, and so the yardstick for a broker.
//!
//! One thread. Each read goes whole to every consumer, or to one of them
//! in turn; the next read comes when all of it is written.

use super::reading::{PAGE, next_start};
use message_queue_core::DeliveryMode;
use message_queue_core::wire::Role;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};

/// The consumers, and whose turn it is.
#[derive(Debug, Default)]
struct Consumers {
    streams: Vec<TcpStream>,
    next: usize,
}

/// Relays until the process is ended, on a port that it tells to `listening`. Producers are not
/// read from before there are `consumers` consumers, and then up to `read_bytes` at a time.
///
/// # Errors
/// If it cannot listen.
pub async fn relay(
    delivery: DeliveryMode,
    consumers: usize,
    read_bytes: usize,
    listening: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    listening(listener.local_addr()?);
    let outputs = Arc::new(Mutex::new(Consumers::default()));
    let (count, counted) = watch::channel(0);
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let mut line = [0; Role::Producer.line().len()];
        stream.read_exact(&mut line).await?;
        if line == Role::Consumer.line().as_bytes() {
            outputs.lock().await.streams.push(stream);
            count.send_modify(|count| *count += 1);
        } else {
            let outputs = Arc::clone(&outputs);
            let mut counted = counted.clone();
            tokio::spawn(async move {
                // Ends with the process that measures.
                let _ = counted.wait_for(|count| *count >= consumers).await;
                let _ = copy(stream, delivery, read_bytes, &outputs).await;
            });
        }
    }
}

async fn copy(
    mut producer: TcpStream,
    delivery: DeliveryMode,
    read_bytes: usize,
    outputs: &Mutex<Consumers>,
) -> io::Result<()> {
    let mut buffer = vec![0; read_bytes + PAGE];
    let mut start = 0;
    loop {
        start = next_start(start);
        let buffer = &mut buffer[start..start + read_bytes];
        let size = producer.read(buffer).await?;
        if size == 0 {
            return Ok(());
        }
        let chunk = &buffer[..size];
        let mut outputs = outputs.lock().await;
        match delivery {
            DeliveryMode::Broadcast => write_to_all(&mut outputs.streams, chunk).await?,
            DeliveryMode::Queue => {
                let turn = outputs.next % outputs.streams.len();
                outputs.next = turn + 1;
                write_to_all(&mut outputs.streams[turn..=turn], chunk).await?;
            }
        }
    }
}

/// Writes all of `chunk` to each of `streams`; one that has to wait does not hold up the others.
async fn write_to_all(streams: &mut [TcpStream], chunk: &[u8]) -> io::Result<()> {
    let mut rests = vec![chunk; streams.len()];
    poll_fn(|cx| {
        let mut done = true;
        for (stream, rest) in streams.iter_mut().zip(&mut rests) {
            done &= write(stream, rest, cx)?;
        }
        if done {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    })
    .await
}

/// Writes as much of `rest` as the socket takes. Returns whether that was all.
fn write(stream: &mut TcpStream, rest: &mut &[u8], cx: &mut Context<'_>) -> io::Result<bool> {
    while !rest.is_empty() {
        match Pin::new(&mut *stream).poll_write(cx, rest) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(0)) => return Err(ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(size)) => *rest = &rest[size..],
            Poll::Ready(Err(error)) => return Err(error),
        }
    }
    Ok(true)
}
