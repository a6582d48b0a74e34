//! A broker with a plain port and one of TLS, in this process.

use crate::authority::{self, Authority, Pair};
use message_queue_core::Config;
use message_queue_core::wire::DecoderConfig;
use message_queue_tokio::access::tls::{
    ClientAuth, ClientTls, Failure, Handshakes, Ports, ServerFiles, ServerTls, TlsOptions, TlsPort,
};
use message_queue_tokio::{Handle, Server};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) authority: Authority,
    pub(crate) plain: String,
    pub(crate) tls: String,
    pub(crate) server_tls: Arc<ServerTls>,
    pub(crate) handshakes: Arc<Handshakes>,
    pub(crate) broker: Handle,
    pub(crate) serving: JoinHandle<message_queue_core::Stats>,
}

/// How a broker is to be, where it matters.
pub(crate) struct Wanted {
    pub(crate) config: Config,
    pub(crate) client_auth: ClientAuth,
    pub(crate) handshake_timeout: Duration,
    pub(crate) most_handshakes: usize,
    /// Another certificate than one for localhost.
    pub(crate) pair: Option<Pair>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            config: Config::default(),
            client_auth: ClientAuth::Off,
            handshake_timeout: PATIENCE,
            most_handshakes: 1000,
            pair: None,
        }
    }
}

impl World {
    pub(crate) async fn start(wanted: Wanted) -> Self {
        Self::start_with(Authority::new(), wanted).await
    }

    pub(crate) async fn start_with(authority: Authority, wanted: Wanted) -> Self {
        let pair = wanted.pair;
        let pair = pair.unwrap_or_else(|| authority.issue(&authority::server()));
        let (cert, key) = authority.keep("server", &pair);
        let files = ServerFiles {
            cert,
            key,
            client_ca: Some(authority.path("ca.pem")),
            client_auth: wanted.client_auth,
        };
        let server_tls = Arc::new(ServerTls::load(files).expect("a good certificate"));
        let handshakes = Arc::<Handshakes>::default();
        let options = TlsOptions {
            config: {
                let tls = Arc::clone(&server_tls);
                Arc::new(move || tls.config())
            },
            timeout: wanted.handshake_timeout,
            most: wanted.most_handshakes,
            handshakes: Arc::clone(&handshakes),
        };
        let listen = async || {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let port = listener.local_addr().expect("bound").port();
            (listener, port)
        };
        let (plain, plain_port) = listen().await;
        let (tls, tls_port) = listen().await;
        let ports = Ports::new(Some(plain), Some(TlsPort::new(tls, options)));
        let server = Server::new(wanted.config, DecoderConfig::default());
        let broker = server.handle();
        Self {
            authority,
            plain: format!("127.0.0.1:{plain_port}"),
            tls: format!("localhost:{tls_port}"),
            server_tls,
            handshakes,
            broker,
            serving: tokio::spawn(server.serve(ports)),
        }
    }

    /// A client that trusts the authority.
    pub(crate) fn client(&self) -> ClientTls {
        let ca = self.authority.path("ca.pem");
        ClientTls::new(Some(&ca), None, None, None).expect("a good authority")
    }

    /// The same with a certificate of its own.
    pub(crate) fn client_with(&self, pair: &Pair) -> ClientTls {
        let ca = self.authority.path("ca.pem");
        let (cert, key): (PathBuf, PathBuf) = self.authority.keep("client", pair);
        ClientTls::new(Some(&ca), Some(&cert), Some(&key), None).expect("a good certificate")
    }

    /// How many handshakes have failed for this cause.
    pub(crate) fn failed(&self, failure: Failure) -> u64 {
        let mut all = self.handshakes.failed();
        all.find(|(cause, _)| *cause == failure)
            .map_or(0, |(_, count)| count)
    }

    /// Waits until this holds.
    pub(crate) async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("it comes true");
    }

    /// Ends the broker in an orderly way. Returns its counters.
    pub(crate) async fn drain(self) -> message_queue_core::Stats {
        self.broker.drain(PATIENCE);
        let ended = timeout(PATIENCE, self.serving).await;
        ended.expect("it ends").expect("it has not panicked")
    }
}
