//! TLS for clients: whom they trust, and as whom they come.

use super::files::{self, FileError, Named, Problem};
use super::pinned::Pinned;
use super::stream::TlsStream;
use super::{PROVIDER, explain};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_blocking;

/// How a client speaks TLS. A clone is cheap, and is the same one.
///
/// By default it trusts the authorities that the system trusts, expects a certificate for the host that it connects
/// to, and shows none of its own. Files that it was given are read again before each connection, so that certificates can
/// be renewed while the client lives.
#[derive(Clone)]
pub struct ClientTls {
    source: Arc<Source>,
    name: Option<ServerName<'static>>,
}

/// What a client's TLS is made of.
enum Source {
    /// Always the same.
    Fixed(Arc<ClientConfig>),
    /// Files, and what was made of them last.
    Files(ClientFiles, Mutex<Made>),
}

/// The files of a client.
struct ClientFiles {
    ca: Option<Named>,
    own: Option<(Named, Named)>,
}

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Contents {
    ca: Option<Vec<u8>>,
    own: Option<(Vec<u8>, Vec<u8>)>,
}

/// What was made of which contents.
struct Made {
    config: Arc<ClientConfig>,
    contents: Contents,
}

/// A client cannot speak TLS as it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ClientTlsError {
    /// A file is no good.
    #[error(transparent)]
    File(#[from] FileError),
    /// A certificate was named without its key, or the other way round.
    #[error("{given} was given without {missing}: a certificate and its key belong together")]
    Half {
        /// What there is.
        given: &'static str,
        /// What there is not.
        missing: &'static str,
    },
    /// The name is none that a certificate could have.
    #[error("--server-name: {0:?} is neither a DNS name nor an address")]
    Name(String),
    /// The system trusts nobody.
    #[error("this system has no list of trusted authorities; name the broker's with --ca")]
    NoRoots,
    /// What was asked for does not fit together.
    #[error("TLS: {0}")]
    Config(#[from] rustls::Error),
}

impl ClientTls {
    /// TLS with the authorities in the file `ca` (PEM), or those of the system; with the certificate in the file
    /// `cert` and its key in the file `key`, or none; and with a certificate of the server's for `server_name`, or
    /// for the host that is connected to. An empty path or name counts as none.
    ///
    /// # Errors
    /// What is wrong with a file or with the name. The file is named by the flag of the command line.
    pub fn new(
        ca: Option<&Path>,
        cert: Option<&Path>,
        key: Option<&Path>,
        server_name: Option<&str>,
    ) -> Result<Self, ClientTlsError> {
        let half = |given, missing| ClientTlsError::Half { given, missing };
        let own = match (files::given(cert), files::given(key)) {
            (Some(cert), Some(key)) => Some((Named::new("--cert", cert), Named::new("--key", key))),
            (None, None) => None,
            (Some(_), None) => return Err(half("--cert", "--key")),
            (None, Some(_)) => return Err(half("--key", "--cert")),
        };
        let ca = files::given(ca).map(|it| Named::new("--ca", it));
        let files = ClientFiles { ca, own };
        let name = match server_name.filter(|name| !name.is_empty()) {
            Some(name) => {
                let parsed = ServerName::try_from(name.to_owned());
                Some(parsed.map_err(|_| ClientTlsError::Name(name.to_owned()))?)
            }
            None => None,
        };
        let contents = files.read()?;
        let config = files.made(&contents)?;
        let made = Mutex::new(Made { config, contents });
        Ok(Self {
            source: Arc::new(Source::Files(files, made)),
            name,
        })
    }

    /// TLS with whoever has the key of the first certificate in the file `cert`, which is `TLS_CERT_FILE` of a broker on
    /// this machine. Names and dates do not matter.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn with_only(cert: &Path) -> Result<Self, ClientTlsError> {
        let file = Named::new("TLS_CERT_FILE", cert);
        let verifier = Pinned {
            certificate: files::first(&file)?,
            provider: Arc::clone(&PROVIDER),
        };
        let config = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Self {
            source: Arc::new(Source::Fixed(Arc::new(config))),
            name: None,
        })
    }

    /// Shakes hands with the broker at `address` (`host:port`) over `stream`.
    ///
    /// # Errors
    /// What is wrong with a file, or why one side does not want to speak to the other, in words that say what to do.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        address: &str,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => host(address)?,
        };
        let session = ClientConnection::new(self.config().await?, name).map_err(explain::broken)?;
        let mut stream = TlsStream::new(stream, Connection::from(session));
        stream.handshake(&[]).await.map_err(explain::failed)?;
        Ok(stream)
    }

    /// The same as [`with_only`](Self::with_only) and others made it, for who shakes hands without this crate's
    /// streams. It waits for the disk.
    #[cfg(feature = "cli")]
    pub(crate) fn config_now(&self) -> Result<Arc<ClientConfig>, ClientTlsError> {
        self.source.config()
    }

    /// What to shake hands with, as the files are now.
    async fn config(&self) -> io::Result<Arc<ClientConfig>> {
        let source = Arc::clone(&self.source);
        // It waits for the disk.
        spawn_blocking(move || source.config())
            .await?
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
    }
}

impl Source {
    fn config(&self) -> Result<Arc<ClientConfig>, ClientTlsError> {
        let (files, made) = match self {
            Self::Fixed(config) => return Ok(Arc::clone(config)),
            Self::Files(files, made) => (files, made),
        };
        let contents = files.read()?;
        let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.contents != contents {
            let config = files.made(&contents)?;
            *made = Made { config, contents };
        }
        Ok(Arc::clone(&made.config))
    }
}

impl ClientFiles {
    fn read(&self) -> Result<Contents, FileError> {
        let own = match &self.own {
            Some((cert, key)) => Some((cert.read()?, key.read()?)),
            None => None,
        };
        let ca = self.ca.as_ref().map(Named::read).transpose()?;
        Ok(Contents { ca, own })
    }

    fn made(&self, contents: &Contents) -> Result<Arc<ClientConfig>, ClientTlsError> {
        let roots = match (&self.ca, &contents.ca) {
            (Some(file), Some(contents)) => files::authorities(file, contents)?,
            (None, _) | (_, None) => system_roots()?,
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_root_certificates(roots);
        let config = match (&self.own, &contents.own) {
            (Some((cert, key)), Some((certificates, private))) => {
                let own = files::own(cert, certificates, key, private)?;
                builder
                    .with_client_auth_cert(own.chain, own.key)
                    .map_err(|error| key.error(Problem::BadKey(error)))?
            }
            (None, _) | (_, None) => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }
}

/// The host of `host:port`.
fn host(address: &str) -> io::Result<ServerName<'static>> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    ServerName::try_from(bare.unwrap_or(host).to_owned()).map_err(|_| {
        let text = format!("{host:?} is no name that a certificate could have");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })
}

/// The authorities that the system trusts.
fn system_roots() -> Result<RootCertStore, ClientTlsError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // Some systems have a few that nobody can read.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(ClientTlsError::NoRoots);
    }
    Ok(roots)
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
