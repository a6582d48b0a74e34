//! Topics that are kept in RabbitMQ, which other brokers may share (docs/ENGINES.md).
//!
//! ```text
//! core ─▶ Request ─▶ worker.rs: a thread with a task ─▶ link.rs: one connection ─▶ RabbitMQ
//!      ◀─ Answer  ◀─  topic.rs: what is to be done    ◀─ deliveries, confirms  ◀─
//! ```
//!
//! What the core has asked for is state (`topic.rs`), and what a connection has is another (`link.rs`). A connection
//! that is new is brought to where the core wants it, in the same way as one that is there.

mod link;
mod message;
mod topic;
mod worker;

use super::engine::{Engine, Listener, SettingsOf, Store};
use super::shared::told_by;
use super::status::StoreStatus;
use lapin::runtime::default_runtime;
use lapin::tcp::OwnedTLSConfig;
use lapin::{Connection, ConnectionProperties};
use message_queue_core::names::TopicName;
use message_queue_core::{StoredTopic, TopicId};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;
use tracing::warn;
use worker::Worker;

/// How long RabbitMQ may take to do what it answers. Then the connection is given up; that a queue takes long is said.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where RabbitMQ is.
#[derive(Clone)]
pub(crate) struct Options {
    /// With user and password: it is shown to nobody.
    pub(crate) url: String,
    /// What all names of exchanges and queues begin with.
    pub(crate) prefix: String,
    /// The file of authorities to trust beside the system's.
    pub(crate) ca_file: Option<PathBuf>,
}

/// Why other settings are needed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RefusedByRabbitMq {
    #[error(
        "RABBITMQ_URL: RabbitMQ refuses the connection: {0}; see to the user, its password and its rights to the vhost"
    )]
    Connection(String),
    #[error(
        "RABBITMQ_CA_FILE: the certificate of RabbitMQ is not trusted: {0}; name the authority that has issued it, and \
         in RABBITMQ_URL a host that it is for"
    )]
    Certificate(String),
    #[error("RABBITMQ_CA_FILE: {}: {source}", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("RABBITMQ_CA_FILE: {} holds no certificate in PEM", .0.display())]
    NoCertificate(PathBuf),
}

/// What it takes to connect.
#[derive(Clone)]
pub(crate) struct Target {
    url: String,
    prefix: String,
    /// PEM of authorities.
    authorities: Option<String>,
}

impl Target {
    pub(crate) fn new(options: Options) -> Result<Self, RefusedByRabbitMq> {
        let Options {
            url,
            prefix,
            ca_file,
        } = options;
        let authorities = ca_file.map(authorities).transpose()?;
        Ok(Self {
            url,
            prefix,
            authorities,
        })
    }
}

fn authorities(path: PathBuf) -> Result<String, RefusedByRabbitMq> {
    let pem = match fs::read_to_string(&path) {
        Ok(pem) => pem,
        Err(source) => return Err(RefusedByRabbitMq::Unreadable { path, source }),
    };
    let mut certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
    match certificates.next() {
        Some(Ok(_)) => Ok(pem),
        Some(Err(_)) | None => Err(RefusedByRabbitMq::NoCertificate(path)),
    }
}

/// The engine, before it is started.
pub(super) struct RabbitMq {
    target: Target,
    status: Arc<StoreStatus>,
}

impl RabbitMq {
    /// Looks whether RabbitMQ is there. If it is not, that is said, and the engine goes on trying when it is started.
    ///
    /// # Errors
    /// If it is there and refuses the connection, if its certificate is not trusted, or if the file of authorities is none.
    pub(super) async fn open(
        options: Options,
        status: Arc<StoreStatus>,
    ) -> Result<Self, RefusedByRabbitMq> {
        let target = Target::new(options)?;
        match connect(&target).await {
            Ok(connection) => {
                // What it was for is known.
                let _ = connection.close(200, "bye".into()).await;
            }
            Err(error) if is_refused(&error) => {
                return Err(RefusedByRabbitMq::Connection(error));
            }
            Err(error) if is_untrusted(&error) => {
                return Err(RefusedByRabbitMq::Certificate(error));
            }
            Err(error) => {
                warn!(error, "RabbitMQ is out of reach; the broker goes on trying");
            }
        }
        Ok(Self { target, status })
    }
}

/// Connects once.
pub(crate) async fn connect(target: &Target) -> Result<Connection, String> {
    let properties = ConnectionProperties::default().with_connection_name("message-queue".into());
    let tls = OwnedTLSConfig {
        identity: None,
        cert_chain: target.authorities.clone(),
    };
    let runtime = default_runtime().map_err(|error| error.to_string())?;
    let connecting = Connection::connect_with_config(&target.url, properties, tls, runtime);
    match timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it does not answer".to_owned()),
    }
}

/// Whether RabbitMQ is there and does not want this user, or does not have that vhost.
fn is_refused(error: &str) -> bool {
    [
        "ACCESS_REFUSED",
        "ACCESS-REFUSED",
        "NOT_ALLOWED",
        "NOT-ALLOWED",
    ]
    .iter()
    .any(|it| error.contains(it))
}

/// Whether it shows a certificate that is not to be trusted, as rustls says it.
fn is_untrusted(error: &str) -> bool {
    error.contains("invalid peer certificate")
}

impl Engine for RabbitMq {
    /// It keeps no list of topics: they are there when somebody uses them.
    fn found(&self) -> Vec<StoredTopic> {
        Vec::new()
    }

    fn start(
        self: Box<Self>,
        _number: &dyn Fn(&TopicName) -> Option<TopicId>,
        _settings: SettingsOf,
        listener: Box<dyn Listener>,
    ) -> io::Result<Store> {
        let (tell, told) = unbounded_channel();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new()
            .name("mq-rabbitmq".into())
            .spawn(move || {
                runtime.block_on(Worker::new(self.target, self.status, listener, told).run());
            })?;
        Ok(told_by(tell, thread))
    }
}
