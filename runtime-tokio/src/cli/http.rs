//! Asks a broker over HTTP: one request on a connection of its own.
//!
//! In HTTP/1.0, in which an answer comes as it is and ends with the connection. So this is all that it takes.

use super::run;
use crate::client::acked::{Token, TokenError};
use crate::client::{ClientTls, ClientTlsError, Stream, connect_any, connect_first, over};
use crate::settings::{Settings, SettingsError, format_time, parse_seconds};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Builder;
use tokio::time::timeout;

/// Which broker to ask, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct HttpArgs {
    /// Where it serves HTTP [default: HTTP_PORT of this environment, on this machine]
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    pub(crate) addr: Option<String>,

    /// Speak HTTPS with --addr, where HTTP_TLS is on
    #[arg(long, requires = "addr")]
    tls: bool,

    /// With --tls: trust the authorities in this PEM file, not those of the system
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca: Option<PathBuf>,

    /// Time one answer may take, such as 3 (seconds) or 500ms; at most 1h
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = answer_time)]
    pub(crate) timeout: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// No `--addr`, and the environment does not say where to ask either.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The token cannot be read.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// What is needed for TLS is no good.
    #[error(transparent)]
    Tls(#[from] ClientTlsError),
    /// The broker chose its port itself.
    #[error("HTTP_PORT is 0, so the port is not known: name it with --addr")]
    NoPort,
    /// The runtime could not be made.
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
    /// Nobody listens there, or the name is not known.
    #[error("{url}: cannot connect: {source}")]
    Connect {
        /// What was asked.
        url: String,
        /// Why not.
        source: io::Error,
    },
    /// The connection broke.
    #[error("{url}: {source}")]
    Broken {
        /// What was asked.
        url: String,
        /// How.
        source: io::Error,
    },
    /// No answer came in time.
    #[error("{url}: no answer within {}", format_time(*.time))]
    Late {
        /// What was asked.
        url: String,
        /// `--timeout`.
        time: Duration,
    },
    /// Something else listens there.
    #[error("{url}: the answer is not HTTP")]
    NotHttp {
        /// What was asked.
        url: String,
    },
}

impl HttpError {
    /// The end of a command that has no answer: 2 where the settings do not tell whom to ask.
    pub(crate) fn exit(&self) -> ExitCode {
        match self {
            Self::Settings(_) | Self::Tls(_) | Self::NoPort => run::bad_usage(self),
            Self::Runtime(_)
            | Self::Token(_)
            | Self::Connect { .. }
            | Self::Broken { .. }
            | Self::Late { .. }
            | Self::NotHttp { .. } => run::failure(self),
        }
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What was asked.
    pub(crate) url: String,
    /// Such as `503 Service Unavailable`.
    pub(crate) status: String,
    /// Its text, or as much of it as was wanted.
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn is_ok(&self) -> bool {
        self.status.starts_with("200")
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.status.starts_with("404")
    }
}

/// Whom to ask.
#[derive(Debug)]
pub(crate) enum Target {
    /// `--addr`.
    Named(String),
    /// The broker of this machine: the addresses that may reach it, of which there is at least one.
    Own(Vec<SocketAddr>),
    /// `--addr`, by HTTPS.
    NamedTls(String, ClientTls),
    /// The broker of this machine, whose certificate is known.
    OwnTls(Vec<SocketAddr>, ClientTls),
}

impl Target {
    /// Finds out whom to ask.
    pub(crate) fn find(args: &HttpArgs) -> Result<Self, HttpError> {
        if let Some(addr) = &args.addr {
            let addr = addr.clone();
            return Ok(if args.tls {
                let tls = ClientTls::new(args.ca.as_deref(), None, None, None)?;
                Self::NamedTls(addr, tls)
            } else {
                Self::Named(addr)
            });
        }
        let settings = Settings::load()?;
        let addrs = reachable(settings.http_address())?;
        Ok(match settings.tls_files() {
            Some(files) if settings.has_http_tls() => {
                Self::OwnTls(addrs, ClientTls::with_only(&files.cert)?)
            }
            Some(_) | None => Self::Own(addrs),
        })
    }

    /// Makes one request, and takes at most so many bytes of its answer.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        token: &Token,
        most: u64,
        time: Duration,
    ) -> Result<Answer, HttpError> {
        let scheme = match self {
            Self::Named(_) | Self::Own(_) => "http",
            Self::NamedTls(..) | Self::OwnTls(..) => "https",
        };
        let url = format!("{scheme}://{self}{path}");
        match timeout(time, self.exchange(method, path, token, most, &url)).await {
            Ok(answer) => answer,
            Err(_) => Err(HttpError::Late { url, time }),
        }
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        token: &Token,
        most: u64,
        url: &str,
    ) -> Result<Answer, HttpError> {
        let url = url.to_owned();
        let authorization = match token.read().await? {
            Some(token) => format!("Authorization: Bearer {token}\r\n"),
            None => String::new(),
        };
        let mut stream = match self.connect().await {
            Ok(stream) => stream,
            Err(source) => return Err(HttpError::Connect { url, source }),
        };
        let request = format!("{method} {path} HTTP/1.0\r\nHost: {self}\r\n{authorization}\r\n");
        let mut answer = Vec::new();
        let exchange = async {
            stream.write_all(request.as_bytes()).await?;
            stream.take(most).read_to_end(&mut answer).await
        };
        if let Err(source) = exchange.await {
            return Err(HttpError::Broken { url, source });
        }
        let Some(status) = status(&answer) else {
            return Err(HttpError::NotHttp { url });
        };
        let head = answer.windows(4).position(|it| it == b"\r\n\r\n");
        let body = head.map_or(&[][..], |end| &answer[end + 4..]);
        let body = String::from_utf8_lossy(body).into_owned();
        Ok(Answer { url, status, body })
    }

    async fn connect(&self) -> io::Result<Stream> {
        let (tls, stream) = match self {
            Self::Named(addr) => (None, connect_any(addr).await?),
            Self::NamedTls(addr, tls) => (Some(tls), connect_any(addr).await?),
            Self::Own(addrs) => (None, connect_first(addrs.clone()).await?),
            Self::OwnTls(addrs, tls) => (Some(tls), connect_first(addrs.clone()).await?),
        };
        over(tls, &self.to_string(), stream).await
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(addr) | Self::NamedTls(addr, _) => f.write_str(addr),
            Self::Own(addrs) | Self::OwnTls(addrs, _) => {
                addrs.first().map_or(Ok(()), |addr| addr.fmt(f))
            }
        }
    }
}

/// Runs on a runtime of its own.
pub(crate) fn block_on<T, E: From<HttpError>>(
    command: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(HttpError::Runtime)?
        .block_on(command)
}

fn answer_time(text: &str) -> Result<Duration, String> {
    match at_most_an_hour(text)? {
        Duration::ZERO => Err("no answer takes no time: use 1ms to 1h".to_owned()),
        time => Ok(time),
    }
}

pub(crate) fn at_most_an_hour(text: &str) -> Result<Duration, String> {
    let time = parse_seconds(text)?;
    if time > Duration::from_secs(3600) {
        return Err(format!("{} is too long: use at most 1h", format_time(time)));
    }
    Ok(time)
}

/// `HOST:PORT` as it is usable for connecting and as the `Host` of a request.
fn host_and_port(value: &str) -> Result<String, String> {
    let expected = || "use HOST:PORT, such as localhost:8080".to_owned();
    let (host, port) = value.rsplit_once(':').ok_or_else(expected)?;
    let host_is_sound = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
    match port.parse::<u16>() {
        Ok(1..) if host_is_sound => Ok(value.to_owned()),
        Ok(_) | Err(_) => Err(expected()),
    }
}

/// Where to reach on this machine what listens on `listen`, in the order in which to try.
pub(super) fn reachable(listen: SocketAddr) -> Result<Vec<SocketAddr>, HttpError> {
    let port = match listen.port() {
        0 => return Err(HttpError::NoPort),
        port => port,
    };
    let ips: Vec<IpAddr> = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![Ipv4Addr::LOCALHOST.into()],
        // `::` is of both families, or of the one that the system has.
        IpAddr::V6(ip) if ip.is_unspecified() => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => vec![ip],
    };
    Ok(ips.into_iter().map(|ip| (ip, port).into()).collect())
}

/// The status code and its reason from an answer's first line; `None` where it is not HTTP/1.
fn status(answer: &[u8]) -> Option<String> {
    let line = answer.split(|&byte| byte == b'\r').next()?;
    let (version, status) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let code = status.get(..3)?;
    (version.starts_with("HTTP/1.") && code.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| status.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_this_machine_where_the_broker_listens_everywhere() {
        let ask = |listen: &str| {
            let addrs = reachable(listen.parse().unwrap())?;
            let addrs: Vec<_> = addrs.iter().map(SocketAddr::to_string).collect();
            Ok::<_, HttpError>(addrs.join(" "))
        };
        assert_eq!(ask("0.0.0.0:8080").unwrap(), "127.0.0.1:8080");
        assert_eq!(ask("[::]:8080").unwrap(), "127.0.0.1:8080 [::1]:8080");
        assert_eq!(ask("[::1]:8080").unwrap(), "[::1]:8080");
        assert_eq!(ask("192.0.2.1:80").unwrap(), "192.0.2.1:80");
        assert_eq!(
            ask("0.0.0.0:0").unwrap_err().to_string(),
            "HTTP_PORT is 0, so the port is not known: name it with --addr"
        );
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["localhost:8080", "10.0.0.1:1", "[::1]:65535"] {
            assert_eq!(host_and_port(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "localhost",
            ":8080",
            "localhost:0",
            "a:65536",
            "a b:80",
            "a\r\nb:80",
        ] {
            assert!(host_and_port(bad).is_err(), "{bad:?}");
        }
    }
}
