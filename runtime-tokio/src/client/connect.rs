//! From an address to a stream.

use super::error::ConnectError;
use crate::access::tls::{ClientTls, Socket};
use crate::serve::net::{CLIENT_KEEPALIVE, keep_alive};
use socket2::SockRef;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// How long a connection to one address may take to come about, and how long a name may take to
/// become addresses.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one address of a name is tried before the next is tried beside it (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);

/// What leads to a broker: plain, or TLS.
pub type Stream = Socket<TcpStream>;

/// Connects to `address`, a `host:port`.
pub(super) async fn connect(
    address: &str,
    tls: Option<&ClientTls>,
) -> Result<Stream, ConnectError> {
    let connecting = async {
        let stream = connect_any(address).await?;
        over(tls, address, stream).await
    };
    connecting.await.map_err(|source| ConnectError {
        address: address.to_owned(),
        source,
    })
}

/// The same, and what `take_up` makes of the stream: a client in its role.
pub(super) async fn connect_as<C>(
    address: &str,
    tls: Option<&ClientTls>,
    take_up: impl AsyncFnOnce(Stream) -> io::Result<C>,
) -> Result<C, ConnectError> {
    let stream = connect(address, tls).await?;
    take_up(stream).await.map_err(|source| ConnectError {
        address: address.to_owned(),
        source,
    })
}

/// Speaks TLS over `stream` if it is told how, in the time that a connection may take to come about.
pub(crate) async fn over(
    tls: Option<&ClientTls>,
    address: &str,
    stream: TcpStream,
) -> io::Result<Stream> {
    let Some(tls) = tls else {
        return Ok(Socket::Plain(stream));
    };
    match timeout(CONNECT_TIMEOUT, tls.connect(address, stream)).await {
        Ok(shaken) => Ok(Socket::Tls(Box::new(shaken?))),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "no end of the TLS handshake (is it the broker's TLS_PORT?)",
        )),
    }
}

/// Connects to the first address of `address` (`host:port`) that answers.
pub(crate) async fn connect_any(address: &str) -> io::Result<TcpStream> {
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let addresses = match timeout_at(deadline, lookup_host(address)).await {
        Ok(found) => by_turns(found?),
        Err(_) => return Err(no_answer()),
    };
    side_by_side(addresses, connect_to).await
}

/// Connects to the first of `addresses` that answers, tried in this order.
#[cfg(feature = "cli")]
pub(crate) async fn connect_first(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    side_by_side(addresses, connect_to).await
}

/// The addresses of both families by turns, in the order in which the system prefers them.
fn by_turns(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = addresses.collect();
    let Some(preferred) = addresses.first().map(SocketAddr::is_ipv6) else {
        return addresses;
    };
    let mut counts = [0, 0];
    addresses.sort_by_cached_key(|address| {
        let other = usize::from(address.is_ipv6() != preferred);
        counts[other] += 1;
        (counts[other], other)
    });
    addresses
}

/// Tries the addresses one after another, each with a head start on the next, and keeps the first
/// connection that comes about.
async fn side_by_side<T, F>(
    addresses: Vec<SocketAddr>,
    attempt: impl Fn(SocketAddr) -> F,
) -> io::Result<T>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>> + Send + 'static,
{
    let mut waiting = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut failures = Vec::new();
    loop {
        if let Some(address) = waiting.next() {
            let attempt = attempt(address);
            attempts.spawn(async move { (address, attempt.await) });
        }
        let head_start = Instant::now() + HEAD_START;
        tokio::select! {
            ended = attempts.join_next() => match ended {
                Some(Ok((_, Ok(stream)))) => return Ok(stream),
                Some(Ok((address, Err(error)))) => failures.push((address, error)),
                Some(Err(error)) => return Err(error.into()),
                None => return Err(together(failures)),
            },
            () = sleep_until(head_start), if waiting.len() > 0 => {}
        }
    }
}

/// One error for all the addresses that were tried.
fn together(mut failures: Vec<(SocketAddr, io::Error)>) -> io::Error {
    let Some((_, first)) = failures.first() else {
        return io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    };
    let (kind, text) = (first.kind(), first.to_string());
    if failures.iter().all(|(_, error)| error.to_string() == text) {
        return failures.swap_remove(0).1;
    }
    let each = failures
        .iter()
        .map(|(address, error)| format!("{error} ({address})"));
    io::Error::new(kind, each.collect::<Vec<_>>().join(", "))
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let stream = match timeout_at(deadline, TcpStream::connect(address)).await {
        Ok(stream) => refuse_itself(stream?)?,
        Err(_) => return Err(no_answer()),
    };
    // What is written is a batch: to hold it back for more gains nothing.
    stream.set_nodelay(true)?;
    // Otherwise a consumer would wait for ever for a broker that has vanished. No more than that
    // (`TCP_USER_TIMEOUT`): it would also end the connection of a producer that a broker does not
    // read from for a while, which with `OVERFLOW=block` it may.
    keep_alive(&stream, CLIENT_KEEPALIVE)?;
    Ok(stream)
}

fn no_answer() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer")
}

/// While nobody listens on a port of those that the system gives to clients, it may give that very
/// port to the client: which is then connected to itself, and keeps the broker from its port.
fn refuse_itself(stream: TcpStream) -> io::Result<TcpStream> {
    match (stream.local_addr(), stream.peer_addr()) {
        (Ok(own), Ok(peer)) if own == peer => {}
        // A connection that was reset has no peer any more: whoever uses it will see that.
        (Ok(_) | Err(_), Ok(_) | Err(_)) => return Ok(stream),
    }
    // By a reset, so that the port is free at once.
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    let text = "nobody listens there (the system connected this client to itself)";
    Err(io::Error::new(io::ErrorKind::ConnectionRefused, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpSocket};
    use tokio::time::sleep;

    fn addresses<const N: usize>(texts: [&str; N]) -> Vec<SocketAddr> {
        texts.map(|text| text.parse().expect("an address")).into()
    }

    #[test]
    fn families_take_turns_and_the_preferred_one_begins() {
        let found = ["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1", "10.0.0.2:1"];
        let expected = ["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"];
        let turns = by_turns(addresses(found).into_iter());
        assert_eq!(turns, addresses(expected));
    }

    /// An attempt that takes as many seconds as the port says, and succeeds if that is even.
    async fn attempt(address: SocketAddr) -> io::Result<SocketAddr> {
        sleep(Duration::from_secs(address.port().into())).await;
        if address.port().is_multiple_of(2) {
            return Ok(address);
        }
        Err(io::Error::new(io::ErrorKind::ConnectionRefused, "refused"))
    }

    async fn timed(texts: Vec<SocketAddr>) -> (io::Result<SocketAddr>, Duration) {
        let start = Instant::now();
        (side_by_side(texts, attempt).await, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_holds_up_the_next_for_a_head_start_only() {
        let found = addresses(["10.0.0.1:60", "10.0.0.2:2", "10.0.0.3:4"]);
        let (stream, took) = timed(found).await;
        assert_eq!(stream.expect("the second answers").port(), 2);
        assert!(took < Duration::from_millis(2_300), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_address_is_tried_at_once_where_one_refuses() {
        let start = Instant::now();
        let attempt = |address: SocketAddr| async move {
            if address.port() == 1 {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            Ok(address)
        };
        let found = addresses(["10.0.0.1:1", "10.0.0.2:2"]);
        let stream = side_by_side(found, attempt).await;
        assert_eq!(stream.expect("the second answers").port(), 2);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_answers_the_error_is_that_of_all() {
        let (outcome, _) = timed(addresses(["10.0.0.1:1", "10.0.0.2:3"])).await;
        let error = outcome.expect_err("both refuse");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(error.to_string(), "refused");
        let error = together(vec![
            (
                addresses(["10.0.0.1:1"])[0],
                io::ErrorKind::ConnectionRefused.into(),
            ),
            (addresses(["[::1]:1"])[0], no_answer()),
        ]);
        assert_eq!(
            error.to_string(),
            "connection refused (10.0.0.1:1), no answer ([::1]:1)"
        );
    }

    #[tokio::test]
    async fn a_client_that_is_connected_to_itself_is_not_connected() {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .bind("127.0.0.1:0".parse().expect("an address"))
            .expect("a port");
        let own = socket.local_addr().expect("bound");
        let stream = socket.connect(own).await.expect("it meets itself");
        let error = refuse_itself(stream).expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        TcpListener::bind(own).await.expect("the port is free");
    }

    #[tokio::test]
    async fn the_system_asks_whether_the_broker_is_still_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let stream = connect_any(&address).await.expect("it listens");
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().expect("a socket"));
        assert_eq!(
            socket.tcp_keepalive_time().expect("a time"),
            CLIENT_KEEPALIVE
        );
    }
}
