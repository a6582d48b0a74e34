//! The PROXY protocol, versions 1 and 2: a load balancer says whose connection it passes on.
//!
//! Whoever says so must be trusted to: only connections that come from the load balancers begin with such a header, and
//! they must.

use super::seldom::Seldom;
use super::tls::PeerCertificate;
use crate::serve::net::{Listener, Unread};
use ipnet::IpNet;
use proxy_header::{ParseConfig, ProxyHeader};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::panic::resume_unwind;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

/// The most connections whose header is awaited. The kernel keeps further ones waiting.
const MOST: usize = 256;

/// What version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The bytes of a header of version 2 up to the end of its length.
const FIXED: usize = 16;

/// The shortest header that there is, `PROXY UNKNOWN\r\n`, has more bytes.
const FIRST_READ: usize = 13;

/// The longest header of version 1, in bytes.
const LONGEST_1: usize = 107;

/// The longest header of version 2 that is read, in bytes. What it may hold beside addresses is not looked at.
const LONGEST_2: usize = 4096;

/// Who may say whose connection it passes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyOptions {
    /// Where load balancers connect from.
    pub trusted: Vec<IpNet>,
    /// The time for a header, from the connection on.
    pub timeout: Duration,
}

/// A listener behind load balancers.
#[derive(Debug)]
pub struct Proxied<L: Listener> {
    listener: L,
    /// None: no connection begins with a header.
    options: Option<ProxyOptions>,
    reading: JoinSet<Result<(L::Stream, SocketAddr), Bad>>,
    lines: Seldom,
}

/// A connection from a load balancer that does not say whose it is.
#[derive(Debug)]
struct Bad {
    from: SocketAddr,
    why: String,
}

impl<L: Listener> Proxied<L> {
    /// Connections from who is trusted begin with a header, and are whose it says. Without options all are as they come.
    pub fn new(listener: L, options: Option<ProxyOptions>) -> Self {
        Self {
            listener,
            options,
            reading: JoinSet::new(),
            lines: Seldom::default(),
        }
    }

    fn log(&mut self, bad: &Bad) {
        let Some(others) = self.lines.one_more() else {
            return;
        };
        let connections = others + 1;
        warn!(
            peer = %bad.from, detail = bad.why, connections,
            "closed: a trusted proxy did not say whose connection it is (PROXY_PROTOCOL)"
        );
    }
}

/// Reads the header, and nothing behind it. Returns whose connection it is; none if it is the load balancer's own.
async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; FIRST_READ];
    stream.read_exact(&mut header).await?;
    if header.starts_with(SIGNATURE) {
        header.resize(FIXED, 0);
        stream.read_exact(&mut header[FIRST_READ..]).await?;
        let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
        if FIXED + length > LONGEST_2 {
            return Err(invalid("the header is longer than 4 KiB"));
        }
        header.resize(FIXED + length, 0);
        stream.read_exact(&mut header[FIXED..]).await?;
    } else if header.starts_with(b"PROXY ") {
        while header.last() != Some(&b'\n') {
            if header.len() == LONGEST_1 {
                return Err(invalid("the header is longer than 107 bytes"));
            }
            header.push(stream.read_u8().await?);
        }
    } else {
        return Err(invalid("it does not begin with a PROXY header"));
    }
    match ProxyHeader::parse(&header, ParseConfig::default()) {
        Ok((parsed, length)) if length == header.len() => {
            Ok(parsed.proxied_address().map(|it| it.source))
        }
        Ok(_) | Err(_) => Err(invalid("the PROXY header is malformed")),
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn is_trusted(trusted: &[IpNet], addr: IpAddr) -> bool {
    let addr = addr.to_canonical();
    trusted.iter().any(|net| net.contains(&addr))
}

impl<L: Listener> Listener for Proxied<L> {
    type Stream = L::Stream;

    async fn accept(&mut self) -> io::Result<(L::Stream, SocketAddr)> {
        let Some(options) = self.options.clone() else {
            return self.listener.accept().await;
        };
        loop {
            let has_room = self.reading.len() < MOST;
            tokio::select! {
                Some(ended) = self.reading.join_next() => match ended {
                    Ok(Ok(accepted)) => return Ok(accepted),
                    Ok(Err(bad)) => self.log(&bad),
                    Err(error) => {
                        if let Ok(panic) = error.try_into_panic() {
                            resume_unwind(panic);
                        }
                    }
                },
                accepted = self.listener.accept(), if has_room => {
                    let (mut stream, from) = accepted?;
                    if !is_trusted(&options.trusted, from.ip()) {
                        return Ok((stream, from));
                    }
                    let time = options.timeout;
                    self.reading.spawn(async move {
                        let header = timeout(time, read_header(&mut stream)).await;
                        let header = header.unwrap_or_else(|_| Err(invalid("no header came in time")));
                        match header {
                            Ok(client) => Ok((stream, client.unwrap_or(from))),
                            Err(error) => {
                                L::reset(&stream);
                                Err(Bad { from, why: error.to_string() })
                            }
                        }
                    });
                }
            }
        }
    }

    fn reset(stream: &L::Stream) {
        L::reset(stream);
    }

    fn write_now(stream: &mut L::Stream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        L::write_now(stream, slices)
    }

    fn unread(stream: &mut L::Stream) -> Option<Unread> {
        L::unread(stream)
    }

    fn certificate(stream: &L::Stream) -> Option<PeerCertificate> {
        L::certificate(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 9080\r\n";

    /// Version 2, of a TCP connection over IPv4, with something beside the addresses.
    fn v2(command: u8) -> Vec<u8> {
        let mut header = [SIGNATURE, &[0x20 | command, 0x11, 0, 17]].concat();
        header.extend([192, 0, 2, 7, 198, 51, 100, 1]);
        header.extend(56324_u16.to_be_bytes());
        header.extend(9080_u16.to_be_bytes());
        header.extend([4, 0, 2, 1, 1]);
        header
    }

    async fn read(mut bytes: &[u8]) -> io::Result<(Option<SocketAddr>, &[u8])> {
        let client = read_header(&mut bytes).await?;
        Ok((client, bytes))
    }

    #[tokio::test]
    async fn a_header_says_whose_connection_it_is_and_nothing_behind_it_is_read() {
        let client = Some("192.0.2.7:56324".parse().unwrap());
        let v6: &[u8] = b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 9080\r\n";
        for (header, client) in [
            (V1, client),
            (&v2(1), client),
            (v6, Some("[2001:db8::7]:56324".parse().unwrap())),
            // What the load balancer asks for itself, and what it knows nothing of.
            (&v2(0), None),
            (b"PROXY UNKNOWN\r\n", None),
        ] {
            let stream = [header, b"PRODUCER\n"].concat();
            let (found, rest) = read(&stream).await.unwrap();
            assert_eq!(found, client, "{}", header.escape_ascii());
            assert_eq!(rest, b"PRODUCER\n");
            for end in 0..header.len() {
                assert!(read(&header[..end]).await.is_err(), "{end}");
            }
        }
    }

    #[tokio::test]
    async fn anything_else_is_no_header() {
        let endless = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
        let mut long = v2(1);
        long[14..16].copy_from_slice(&4096_u16.to_be_bytes());
        let mut version = v2(1);
        version[12] = 0x31;
        for (bytes, told) in [
            (
                &b"PRODUCER\nxxxxxxxxx"[..],
                "it does not begin with a PROXY header",
            ),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 x 9080\r\n", "malformed"),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n", "malformed"),
            (b"PROXY TCP9 192.0.2.7 198.51.100.1 1 2\r\n", "malformed"),
            (&endless, "longer than 107 bytes"),
            (&long, "longer than 4 KiB"),
            (&version, "malformed"),
        ] {
            let error = read(bytes).await.unwrap_err().to_string();
            assert!(error.contains(told), "{}: {error}", bytes.escape_ascii());
        }
    }

    /// A listener that trusts these, and a way to connect to it.
    async fn proxied(trusted: &str) -> (Proxied<TcpListener>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let options = ProxyOptions {
            trusted: vec![trusted.parse().unwrap()],
            timeout: Duration::from_secs(60),
        };
        (Proxied::new(listener, Some(options)), addr)
    }

    #[tokio::test]
    async fn a_connection_from_a_load_balancer_is_its_clients_and_nobody_waits_for_another() {
        let (mut listener, addr) = proxied("127.0.0.0/8").await;
        // One that says nothing, and one that says what it must not.
        let _silent = TcpStream::connect(addr).await.unwrap();
        let mut wrong = TcpStream::connect(addr).await.unwrap();
        wrong.write_all(b"PRODUCER\nxxxxxxx").await.unwrap();
        let mut client = TcpStream::connect(addr).await.unwrap();
        client
            .write_all(&[V1, b"PRODUCER\n"].concat())
            .await
            .unwrap();
        let (mut stream, from) = listener.accept().await.unwrap();
        assert_eq!(from, "192.0.2.7:56324".parse().unwrap());
        let mut line = [0; 9];
        stream.read_exact(&mut line).await.unwrap();
        assert_eq!(&line, b"PRODUCER\n");
        // The listener goes on while it waits for the next, and resets the one that was wrong.
        let next = async { listener.accept().await.map(drop) };
        let ended = async { wrong.read(&mut [0]).await };
        tokio::select! {
            _ = next => panic!("nobody else came"),
            ended = ended => assert!(ended.is_err()),
        }
    }

    #[tokio::test]
    async fn who_is_not_trusted_is_taken_as_it_comes() {
        let (mut listener, addr) = proxied("192.0.2.0/24").await;
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(V1).await.unwrap();
        let (mut stream, from) = listener.accept().await.unwrap();
        assert_eq!(from, client.local_addr().unwrap());
        let mut first = [0; 6];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"PROXY ");
    }

    #[test]
    fn an_ipv4_address_is_one_however_it_is_written() {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        for (addr, trust) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.1", false),
            ("::1", true),
            ("::2", false),
        ] {
            assert_eq!(is_trusted(&trusted, addr.parse().unwrap()), trust, "{addr}");
        }
    }
}
