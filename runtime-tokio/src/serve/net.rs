//! Where connections come from: the one seam between the driver and the network.

use crate::access::tls::PeerCertificate;
use socket2::{SockRef, TcpKeepalive};
use std::future::Future;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How many connections the kernel keeps for us until they are accepted.
const ACCEPT_QUEUE: u32 = 1024;

/// A source of connections: real TCP, or a simulated network.
pub trait Listener: Send + 'static {
    /// One connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection and its peer's address. Dropping the future loses no connection.
    ///
    /// # Errors
    /// Whatever the network reports. The broker waits a little and tries again.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;

    /// Makes the end of a connection a reset: when `stream` is dropped, its peer reads an error and
    /// not the end of the stream, and what the socket still holds is lost. On a network without
    /// resets the stream just ends.
    fn reset(_stream: &Self::Stream) {}

    /// Writes what the socket has room for, however little, without waiting. The kernel calls a socket
    /// writable only when a third of its buffer is free, which a slow peer can take minutes for. A
    /// network that makes no such difference need not do it.
    ///
    /// # Errors
    /// Whatever the network says; that there is no room above all.
    fn write_now(_stream: &mut Self::Stream, _slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// What there is to read, without reading it. None where a network cannot tell.
    fn unread(_stream: &mut Self::Stream) -> Option<Unread> {
        None
    }

    /// The certificate by which the peer has shown who it is, verified. None if it has shown none.
    fn certificate(_stream: &Self::Stream) -> Option<PeerCertificate> {
        None
    }
}

/// What there is to read in a connection that is not read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Nothing yet.
    Nothing,
    /// Some bytes.
    Bytes,
    /// The end of the stream, and nothing before it.
    End,
    /// The connection was reset or has failed.
    Failure,
}

impl Unread {
    /// What it is, where a look at the next byte found so many.
    pub fn peeked(result: io::Result<usize>) -> Self {
        match result {
            Ok(0) => Self::End,
            Ok(_) => Self::Bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Self::Nothing,
            Err(_) => Self::Failure,
        }
    }
}

/// What is asked of the kernel for each connection; `None` leaves it to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// Bytes for what a socket has taken and its peer has not: part of what a consumer that has
    /// stopped reading hoards (`SO_SNDBUF`).
    pub send_buffer: Option<u32>,
    /// Bytes for what a peer has sent and the broker has not read: what a producer gets in ahead of
    /// the broker (`SO_RCVBUF`).
    pub receive_buffer: Option<u32>,
    /// After so much silence the kernel asks whether the peer is still there, again after each third
    /// of it, and gives up with the third question that has no answer (`SO_KEEPALIVE`). At least 3 s.
    pub keepalive: Option<Duration>,
    /// How long a peer may acknowledge nothing, questions included, or keep its receive buffer full,
    /// before the connection ends (`TCP_USER_TIMEOUT`; on Linux only).
    pub user_timeout: Option<Duration>,
}

/// What clients ask of [`keep_alive`]: a broker that has vanished is known to be gone after a minute.
pub(crate) const CLIENT_KEEPALIVE: Duration = Duration::from_secs(30);

/// Questions that a peer may leave without an answer.
const KEEPALIVE_PROBES: u32 = 3;

/// Listens for connections on `addr`. `::` stands for every address: of IPv6 and of IPv4, or of IPv4
/// alone where the system has no IPv6.
///
/// # Errors
/// Whatever the system says, an address in use above all.
pub fn listen(addr: SocketAddr, options: SocketOptions) -> io::Result<TcpListener> {
    match listen_on(addr, options) {
        Err(error) if addr.ip() == Ipv6Addr::UNSPECIFIED && no_ipv6(&error) => {
            listen_on((Ipv4Addr::UNSPECIFIED, addr.port()).into(), options)
        }
        outcome => outcome,
    }
}

fn listen_on(addr: SocketAddr, options: SocketOptions) -> io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A broker that was just ended can be started again at once.
    socket.set_reuseaddr(true)?;
    if addr.ip() == Ipv6Addr::UNSPECIFIED {
        SockRef::from(&socket).set_only_v6(false)?;
    }
    // Accepted sockets inherit all of it.
    if let Some(bytes) = options.send_buffer {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(silence) = options.keepalive {
        keep_alive(&socket, silence)?;
    }
    #[cfg(target_os = "linux")]
    if let Some(timeout) = options.user_timeout {
        SockRef::from(&socket).set_tcp_user_timeout(Some(timeout))?;
    }
    socket.bind(addr)?;
    socket.listen(ACCEPT_QUEUE)
}

/// Whether this is how a system without IPv6 answers: it has no such sockets, or no such addresses.
fn no_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// From now on the kernel asks the peer of `socket` whether it is still there, after so much
/// `silence` and again after each third of it; after three questions without an answer the
/// connection ends.
///
/// # Errors
/// Whatever the system says.
pub(crate) fn keep_alive(socket: &impl AsFd, silence: Duration) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(silence)
        .with_interval(silence / KEEPALIVE_PROBES)
        .with_retries(KEEPALIVE_PROBES);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    fn reset(stream: &TcpStream) {
        // It fails only for a peer that is gone already.
        let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    }

    fn write_now(stream: &mut TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        SockRef::from(&*stream).send_vectored(slices)
    }

    fn unread(stream: &mut TcpStream) -> Option<Unread> {
        match stream.take_error() {
            Ok(None) => {}
            // So Linux calls a peer that had ended its side before it was gone. What it sent is whole.
            Ok(Some(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Ok(Some(_)) | Err(_) => return Some(Unread::Failure),
        }
        let mut byte = [MaybeUninit::uninit()];
        Some(Unread::peeked(SockRef::from(&*stream).peek(&mut byte)))
    }

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, addr) = TcpListener::accept(self).await?;
        // Writes are gathered already; waiting for more would only delay the last message.
        // It fails only for a peer that is gone, and the first read will tell.
        let _ = stream.set_nodelay(true);
        // A socket of both families calls an IPv4 peer ::ffff:192.0.2.1; people do not.
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        Ok((stream, addr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};

    /// A connection to a listener with these options, its client, and the peer's address.
    async fn accepted(
        addr: IpAddr,
        options: SocketOptions,
        connect: IpAddr,
    ) -> (TcpStream, TcpStream, SocketAddr) {
        let mut listener = listen((addr, 0).into(), options).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect((connect, port)).await.unwrap();
        let (accepted, peer) = Listener::accept(&mut listener).await.unwrap();
        (accepted, client, peer)
    }

    #[tokio::test]
    async fn connections_have_the_options_that_were_asked_for() {
        const ASKED: usize = 8192;
        let options = SocketOptions {
            send_buffer: Some(ASKED as u32),
            receive_buffer: Some(ASKED as u32),
            keepalive: Some(Duration::from_secs(30)),
            user_timeout: Some(Duration::from_secs(60)),
        };
        let localhost = Ipv4Addr::LOCALHOST.into();
        let (stream, _client, _) = accepted(localhost, options, localhost).await;
        let socket = SockRef::from(&stream);
        for size in [socket.send_buffer_size(), socket.recv_buffer_size()] {
            // Linux reserves twice as much.
            let size = size.unwrap();
            assert!((ASKED..=2 * ASKED).contains(&size), "{size} bytes");
        }
        assert!(socket.keepalive().unwrap());
        assert_eq!(
            socket.tcp_keepalive_time().unwrap(),
            Duration::from_secs(30)
        );
        assert_eq!(
            socket.tcp_keepalive_interval().unwrap(),
            Duration::from_secs(10)
        );
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), options.user_timeout);

        let (stream, _client, _) = accepted(localhost, SocketOptions::default(), localhost).await;
        assert!(!SockRef::from(&stream).keepalive().unwrap());
    }

    #[tokio::test]
    async fn what_there_is_to_read_is_seen_without_reading_it() {
        let localhost = Ipv4Addr::LOCALHOST.into();
        let connect = || accepted(localhost, SocketOptions::default(), localhost);
        let unread = <TcpListener as Listener>::unread;

        let (mut stream, mut client, _) = connect().await;
        assert_eq!(unread(&mut stream), Some(Unread::Nothing));
        client.write_all(b"ab").await.unwrap();
        stream.readable().await.unwrap();
        assert_eq!(unread(&mut stream), Some(Unread::Bytes));
        // It ends its side, and then it is gone.
        client.shutdown().await.unwrap();
        TcpListener::reset(&client);
        drop(client);
        stream.ready(Interest::ERROR).await.unwrap();
        assert_eq!(unread(&mut stream), Some(Unread::Bytes));
        stream.read_exact(&mut [0; 2]).await.unwrap();
        assert_eq!(unread(&mut stream), Some(Unread::End));

        let (mut stream, mut client, _) = connect().await;
        client.write_all(b"ab").await.unwrap();
        TcpListener::reset(&client);
        drop(client);
        stream.ready(Interest::ERROR).await.unwrap();
        assert_eq!(unread(&mut stream), Some(Unread::Failure));
    }

    #[tokio::test]
    async fn the_unspecified_address_is_every_address_of_both_families() {
        let everywhere = IpAddr::from(Ipv6Addr::UNSPECIFIED);
        let options = SocketOptions::default();
        let v4 = IpAddr::from(Ipv4Addr::LOCALHOST);
        let (_stream, client, peer) = accepted(everywhere, options, v4).await;
        assert_eq!(
            peer,
            client.local_addr().unwrap(),
            "as IPv4, not as ::ffff:"
        );
        // A machine without IPv6 has only this half to show.
        if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            let v6 = IpAddr::from(Ipv6Addr::LOCALHOST);
            let (_stream, _client, peer) = accepted(everywhere, options, v6).await;
            assert_eq!(peer.ip(), v6);
        }
    }

    #[tokio::test]
    async fn only_a_lack_of_ipv6_leaves_ipv4_alone() {
        use rustix::io::Errno;
        let error = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        assert!(no_ipv6(&error(Errno::AFNOSUPPORT)));
        assert!(no_ipv6(&error(Errno::ADDRNOTAVAIL)));
        assert!(!no_ipv6(&error(Errno::ADDRINUSE)));
        // In use by one family is in use.
        let taken = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let both = (Ipv6Addr::UNSPECIFIED, port).into();
        let error = listen(both, SocketOptions::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
