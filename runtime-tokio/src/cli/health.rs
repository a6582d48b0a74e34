//! `message-queue health`: asks a running broker how it is, so that a container needs no other
//! program for that.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep, timeout};

use super::exit::Exit;
use super::{container, run, say};
use crate::client::{connect_any, connect_first};
use crate::settings::{Settings, SettingsError, format_time, parse_seconds};

/// Between two attempts while `--wait` lasts.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The most bytes that are read of an answer; what matters is its first line.
const ANSWER_BYTES: u64 = 4096;

/// Ask a running broker whether it is well: exit code 0 means yes, 1 means no
#[derive(Clone, Debug, clap::Args)]
pub struct HealthArgs {
    /// Ask whether it accepts work (/ready), not only whether it is alive (/healthz)
    #[arg(long)]
    ready: bool,

    /// Where it serves HTTP [default: HTTP_PORT of this environment, on this machine]
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    addr: Option<String>,

    /// Time one answer may take, such as 3 (seconds) or 500ms; at most 1h
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = answer_time)]
    timeout: Duration,

    /// Ask again until the answer is yes, for at most this long, such as 30 (seconds) or 1m; at most 1h
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = at_most_an_hour)]
    wait: Duration,

    /// For an image's health check: say yes, and ask nobody, where process 1 is a client
    #[arg(long)]
    if_serving: bool,
}

/// Why the broker does not count as well.
#[derive(Debug, thiserror::Error)]
enum HealthError {
    /// No `--addr`, and the environment does not say where to ask either.
    #[error(transparent)]
    Settings(#[from] SettingsError),
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
    /// The broker answered no.
    #[error("{url}: answered {status}")]
    No {
        /// What was asked.
        url: String,
        /// Such as `503 Service Unavailable`.
        status: String,
    },
    /// Something else listens there.
    #[error("{url}: the answer is not HTTP")]
    NotHttp {
        /// What was asked.
        url: String,
    },
}

/// Asks, and says in one line what came back. Exit codes: 0 where the answer is yes, 2 where the
/// settings do not tell whom to ask, otherwise 1.
/// Not to be called from within a runtime: it starts one of its own.
pub fn run(args: &HealthArgs) -> ExitCode {
    match check(args) {
        Ok(url) => {
            // The exit code is the answer: it holds where the line cannot be written.
            let _ = say::answer(&format!("{url}: ok\n"));
            Exit::Done.into()
        }
        Err(error @ (HealthError::Settings(_) | HealthError::NoPort)) => run::bad_usage(&error),
        Err(error) => run::failure(&error),
    }
}

/// The URL that answered yes.
fn check(args: &HealthArgs) -> Result<String, HealthError> {
    if args.if_serving && !container::may_serve() {
        return Ok("process 1 is a client".to_owned());
    }
    let target = match &args.addr {
        Some(addr) => Target::Named(addr.clone()),
        None => Target::Own(reachable(Settings::load()?.http_address())?),
    };
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(HealthError::Runtime)?
        .block_on(ask_until_yes(args, &target))
}

fn answer_time(text: &str) -> Result<Duration, String> {
    match at_most_an_hour(text)? {
        Duration::ZERO => Err("no answer takes no time: use 1ms to 1h".to_owned()),
        time => Ok(time),
    }
}

fn at_most_an_hour(text: &str) -> Result<Duration, String> {
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

/// Whom to ask.
#[derive(Debug)]
enum Target {
    /// `--addr`.
    Named(String),
    /// The broker of this machine: the addresses that may reach it, of which there is at least one.
    Own(Vec<SocketAddr>),
}

impl Target {
    async fn connect(&self) -> io::Result<TcpStream> {
        match self {
            Self::Named(addr) => connect_any(addr).await,
            Self::Own(addrs) => connect_first(addrs.clone()).await,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(addr) => f.write_str(addr),
            Self::Own(addrs) => addrs.first().map_or(Ok(()), |addr| addr.fmt(f)),
        }
    }
}

/// Where to reach on this machine what listens on `listen`, in the order in which to try.
fn reachable(listen: SocketAddr) -> Result<Vec<SocketAddr>, HealthError> {
    let port = match listen.port() {
        0 => return Err(HealthError::NoPort),
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

/// Asks once, and again while `--wait` lasts; the error is the last one.
async fn ask_until_yes(args: &HealthArgs, target: &Target) -> Result<String, HealthError> {
    let path = if args.ready { "/ready" } else { "/healthz" };
    let url = format!("http://{target}{path}");
    let give_up = Instant::now() + args.wait;
    loop {
        let answer = timeout(args.timeout, ask(target, path, &url)).await;
        let error = match answer {
            Ok(Ok(())) => return Ok(url),
            Ok(Err(error)) => error,
            Err(_) => HealthError::Late {
                url: url.clone(),
                time: args.timeout,
            },
        };
        if Instant::now() >= give_up {
            return Err(error);
        }
        sleep(RETRY_AFTER).await;
    }
}

/// One request on a connection of its own.
async fn ask(target: &Target, path: &str, url: &str) -> Result<(), HealthError> {
    let broken = |source| HealthError::Broken {
        url: url.to_owned(),
        source,
    };
    let mut stream = target
        .connect()
        .await
        .map_err(|source| HealthError::Connect {
            url: url.to_owned(),
            source,
        })?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_BYTES)
        .read_to_end(&mut answer)
        .await
        .map_err(broken)?;
    match status(&answer) {
        Some(status) if status.starts_with("200") => Ok(()),
        Some(status) => Err(HealthError::No {
            url: url.to_owned(),
            status,
        }),
        None => Err(HealthError::NotHttp {
            url: url.to_owned(),
        }),
    }
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
    use clap::Parser;
    use tokio::net::TcpListener;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        health: HealthArgs,
    }

    fn args<const N: usize>(flags: [&str; N]) -> HealthArgs {
        Cli::try_parse_from(["health"].into_iter().chain(flags))
            .unwrap()
            .health
    }

    /// Answers one connection after another with one `answer` after another; returns the address
    /// and, once all are given, the requests that came.
    async fn answering(
        answers: Vec<&'static str>,
    ) -> (Target, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = Target::Named(listener.local_addr().unwrap().to_string());
        let requests = tokio::spawn(async move {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
                requests.push(String::from_utf8(request).unwrap());
            }
            requests
        });
        (addr, requests)
    }

    async fn error<const N: usize>(flags: [&str; N], answer: &'static str) -> String {
        let (addr, _requests) = answering(vec![answer]).await;
        let error = ask_until_yes(&args(flags), &addr).await.unwrap_err();
        error.to_string().replace(&addr.to_string(), "ADDR")
    }

    #[tokio::test]
    async fn asks_healthz_or_ready_and_takes_200_for_yes() {
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let (addr, requests) = answering(vec![ok, ok]).await;
        let url = ask_until_yes(&args([]), &addr).await.unwrap();
        assert_eq!(url, format!("http://{addr}/healthz"));
        let url = ask_until_yes(&args(["--ready"]), &addr).await.unwrap();
        assert_eq!(url, format!("http://{addr}/ready"));
        let requests = requests.await.unwrap();
        let expected =
            |path| format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
        assert_eq!(requests, [expected("/healthz"), expected("/ready")]);
    }

    #[tokio::test]
    async fn any_other_answer_is_no() {
        let draining = "HTTP/1.1 503 Service Unavailable\r\n\r\ndraining";
        assert_eq!(
            error(["--ready"], draining).await,
            "http://ADDR/ready: answered 503 Service Unavailable"
        );
        for garbage in ["", "HTTP/1.1 \r\n", "SSH-2.0-OpenSSH\r\n", "HTTP/1.1 2é"] {
            assert_eq!(
                error([], garbage).await,
                "http://ADDR/healthz: the answer is not HTTP"
            );
        }
    }

    #[tokio::test]
    async fn waits_until_the_answer_is_yes() {
        let no = "HTTP/1.1 503 Service Unavailable\r\n\r\n";
        let (addr, requests) = answering(vec![no, no, "HTTP/1.1 200 OK\r\n\r\n"]).await;
        ask_until_yes(&args(["--ready", "--wait=3600"]), &addr)
            .await
            .unwrap();
        assert_eq!(requests.await.unwrap().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_no() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let target = Target::Named(addr.clone());
        let error = ask_until_yes(&args(["--timeout=7"]), &target).await;
        assert_eq!(
            error.unwrap_err().to_string(),
            format!("http://{addr}/healthz: no answer within 7s")
        );
    }

    #[tokio::test]
    async fn nobody_there_is_no() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = ask_until_yes(&args([]), &Target::Named(addr))
            .await
            .unwrap_err();
        assert!(matches!(error, HealthError::Connect { .. }), "{error}");
    }

    #[test]
    fn asks_this_machine_where_the_broker_listens_everywhere() {
        let ask = |listen: &str| {
            let addrs = reachable(listen.parse().unwrap())?;
            let addrs: Vec<_> = addrs.iter().map(SocketAddr::to_string).collect();
            Ok::<_, HealthError>(addrs.join(" "))
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

    /// As on a machine without IPv4.
    #[tokio::test]
    async fn where_ipv4_does_not_reach_it_ipv6_is_tried() {
        let Ok(listener) = TcpListener::bind("[::1]:0").await else {
            return; // A machine without IPv6.
        };
        let port = listener.local_addr().unwrap().port();
        let target = Target::Own(reachable((Ipv6Addr::UNSPECIFIED, port).into()).unwrap());
        let answered = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        });
        ask_until_yes(&args([]), &target).await.unwrap();
        answered.await.unwrap();
    }

    #[test]
    fn times_have_units_or_are_seconds() {
        let args = args(["--timeout=500ms", "--wait=30"]);
        assert_eq!(args.timeout, Duration::from_millis(500));
        assert_eq!(args.wait, Duration::from_secs(30));
        for bad in ["--timeout=0", "--timeout=2h", "--wait=soon"] {
            assert!(Cli::try_parse_from(["health", bad]).is_err(), "{bad}");
        }
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
