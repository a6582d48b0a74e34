//! A broker inside this process, and a proxy before it that can be cut.

use message_queue_core::Config;
use message_queue_core::wire::DecoderConfig;
use message_queue_tokio::{Detail, Handle, Server};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A broker.
pub(crate) struct Broker {
    pub(crate) address: String,
    handle: Handle,
    serving: JoinHandle<message_queue_core::Stats>,
}

impl Broker {
    /// A broker with these settings.
    pub(crate) async fn start(config: Config) -> Self {
        let server = Server::new(config, DecoderConfig::default());
        let handle = server.handle();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let serving = tokio::spawn(server.serve(listener));
        Self {
            address,
            handle,
            serving,
        }
    }

    /// Ends the connections of all producers, as an operator.
    pub(crate) async fn end_producers(&self) {
        let overview = self.handle.overview(Detail::Lists).await;
        for producer in overview.expect("it serves").producers {
            // It may have gone by itself.
            let _ = self.handle.end_connection(producer.conn).await;
        }
    }

    /// Ends in an orderly way.
    pub(crate) async fn drain(self) {
        self.handle.drain(Duration::from_secs(10));
        self.serving.await.expect("it ends");
    }
}

/// Leads connections on to a broker.
pub(crate) struct Proxy {
    pub(crate) address: String,
    state: Arc<State>,
}

struct State {
    target: Mutex<String>,
    /// How many bytes each of the next connections carries to the broker, and from it.
    cuts: Mutex<VecDeque<(usize, usize)>>,
    /// Ends what is connected.
    cut: watch::Sender<u64>,
}

impl Proxy {
    /// A proxy whose first connections are cut after so many bytes to the broker, or from it.
    pub(crate) async fn start(target: &str, cuts: &[(usize, usize)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let state = Arc::new(State {
            target: Mutex::new(target.to_owned()),
            cuts: Mutex::new(cuts.iter().copied().collect()),
            cut: watch::channel(0).0,
        });
        let accepting = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let ended = accepting.cut.subscribe();
                tokio::spawn(carry(Arc::clone(&accepting), client, ended));
            }
        });
        Self { address, state }
    }

    /// Ends what is connected, in the middle of whatever is said.
    pub(crate) fn cut(&self) {
        self.state.cut.send_modify(|it| *it += 1);
    }

    /// Leads new connections elsewhere.
    pub(crate) fn lead_to(&self, target: &str) {
        *lock(&self.state.target) = target.to_owned();
    }

    /// How many cuts are still to come.
    pub(crate) fn cuts_left(&self) -> usize {
        lock(&self.state.cuts).len()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn carry(state: Arc<State>, mut client: TcpStream, mut ended: watch::Receiver<u64>) {
    let target = lock(&state.target).clone();
    let Ok(mut broker) = TcpStream::connect(target).await else {
        return;
    };
    let cut = lock(&state.cuts).pop_front();
    let (most_to, most_from) = cut.unwrap_or((usize::MAX, usize::MAX));
    let (mut from_client, mut to_client) = client.split();
    let (mut from_broker, mut to_broker) = broker.split();
    let to = forward(&mut from_client, &mut to_broker, most_to);
    let from = forward(&mut from_broker, &mut to_client, most_from);
    tokio::select! {
        _ = ended.changed() => {}
        () = async { tokio::select! { () = to_the_cut(to) => {}, () = to_the_cut(from) => {} } } => {}
    }
}

/// Waits for ever where a direction ended in an orderly way; the other may still have something to say.
async fn to_the_cut(direction: impl Future<Output = bool>) {
    if !direction.await {
        std::future::pending::<()>().await;
    }
}

/// Carries up to so many bytes one way. Says whether it was cut; else one side has ended.
async fn forward(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut most: usize,
) -> bool {
    let mut buffer = [0; 4096];
    while most > 0 {
        let room = most.min(buffer.len());
        let Ok(bytes @ 1..) = from.read(&mut buffer[..room]).await else {
            let _ = to.shutdown().await;
            return false;
        };
        if to.write_all(&buffer[..bytes]).await.is_err() {
            return true;
        }
        most -= bytes;
    }
    true
}
