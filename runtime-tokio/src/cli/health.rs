//! `message-queue health`: asks a running broker how it is, so that a container needs no other
//! program for that.

use super::exit::Exit;
use super::http::{self, HttpArgs, HttpError, Target, at_most_an_hour};
use super::{container, run, say};
use crate::client::acked::Token;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{Instant, sleep};

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

    #[command(flatten)]
    http: HttpArgs,

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
    /// It does not answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The broker answered no.
    #[error("{url}: answered {status}")]
    No {
        /// What was asked.
        url: String,
        /// Such as `503 Service Unavailable`.
        status: String,
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
        Err(HealthError::Http(error)) => error.exit(),
        Err(error @ HealthError::No { .. }) => run::failure(&error),
    }
}

/// The URL that answered yes.
fn check(args: &HealthArgs) -> Result<String, HealthError> {
    if args.if_serving && !container::may_serve() {
        return Ok("process 1 is a client".to_owned());
    }
    let target = Target::find(&args.http)?;
    http::block_on(ask_until_yes(args, &target))
}

/// Asks once, and again while `--wait` lasts; the error is the last one.
async fn ask_until_yes(args: &HealthArgs, target: &Target) -> Result<String, HealthError> {
    let path = if args.ready { "/ready" } else { "/healthz" };
    let give_up = Instant::now() + args.wait;
    // Probes are answered to all.
    let nobody = Token::default();
    loop {
        let answer = target.ask("GET", path, &nobody, ANSWER_BYTES, args.http.timeout);
        let error = match answer.await {
            Ok(answer) if answer.is_ok() => return Ok(answer.url),
            Ok(answer) => HealthError::No {
                url: answer.url,
                status: answer.status,
            },
            Err(error) => error.into(),
        };
        if Instant::now() >= give_up {
            return Err(error);
        }
        sleep(RETRY_AFTER).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::http::reachable;
    use clap::Parser;
    use std::net::Ipv6Addr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
        let expected = |path| format!("GET {path} HTTP/1.0\r\nHost: {addr}\r\n\r\n");
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
        assert!(
            matches!(error, HealthError::Http(HttpError::Connect { .. })),
            "{error}"
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
        assert_eq!(args.http.timeout, Duration::from_millis(500));
        assert_eq!(args.wait, Duration::from_secs(30));
        for bad in ["--timeout=0", "--timeout=2h", "--wait=soon"] {
            assert!(Cli::try_parse_from(["health", bad]).is_err(), "{bad}");
        }
    }
}
