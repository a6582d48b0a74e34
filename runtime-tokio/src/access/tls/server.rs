//! The certificate of a server: the one in force, and how it becomes another.

use super::PROVIDER;
use super::files::{self, FileError, Named, Problem};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WantsServerCert, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{ConfigBuilder, ServerConfig};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::sleep;
use tracing::{error, info, warn};

/// How often the files are looked at. Certificates are renewed days before they expire.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    Off,
    /// They are asked, and may have none. One that is shown must be good.
    Optional,
    /// Who has none is turned away.
    Required,
}

/// Where the certificate is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFiles {
    /// `TLS_CERT_FILE`: the certificate and the chain behind it.
    pub cert: PathBuf,
    /// `TLS_KEY_FILE`: its key.
    pub key: PathBuf,
    /// `TLS_CLIENT_CA_FILE`: the authorities whose certificates clients may show.
    pub client_ca: Option<PathBuf>,
    /// `TLS_CLIENT_AUTH`; without `client_ca` it is off.
    pub client_auth: ClientAuth,
}

/// The certificate in force.
#[derive(Debug)]
pub struct ServerTls {
    files: ServerFiles,
    state: Mutex<State>,
    reload_failures: AtomicU64,
}

#[derive(Debug)]
struct State {
    config: Arc<ServerConfig>,
    open_config: Arc<ServerConfig>,
    expires: Duration,
    /// What the files held when that was made.
    contents: Contents,
    /// What they held last, where that is no good.
    refused: Option<Contents>,
    /// Whether that was told.
    told: bool,
}

/// What was made of the files.
struct Made {
    config: Arc<ServerConfig>,
    open_config: Arc<ServerConfig>,
    expires: Duration,
}

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A key is among them.
        f.write_str("Contents")
    }
}

/// What another look at the files has brought.
#[derive(Debug)]
pub enum Refused {
    /// They hold what they held before.
    Same,
    /// They are no good, and were not the last time either.
    Again,
    /// They are no good.
    File(FileError),
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with which of them. That a certificate has expired is no error here: whoever connects will
    /// see it, and the log says so.
    pub fn load(files: ServerFiles) -> Result<Self, FileError> {
        let contents = Contents::read(&files)?;
        let Made {
            config,
            open_config,
            expires,
        } = contents.made(&files)?;
        if expires < now() {
            error!(file = %files.cert.display(), "TLS_CERT_FILE: the certificate has expired: clients will refuse it");
        }
        let state = State {
            config,
            open_config,
            expires,
            contents,
            refused: None,
            told: false,
        };
        Ok(Self {
            files,
            state: Mutex::new(state),
            reload_failures: AtomicU64::new(0),
        })
    }

    /// What to shake hands with now.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.state().config)
    }

    /// The same for clients that are not asked for a certificate, whatever [`ServerFiles::client_auth`] says.
    pub fn open_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.state().open_config)
    }

    /// When the certificate in force expires, from 1970 on.
    pub fn expires(&self) -> Duration {
        self.state().expires
    }

    /// How often the files had changed, and were no good.
    pub fn reload_failures(&self) -> u64 {
        self.reload_failures.load(Ordering::Relaxed)
    }

    /// Reads the files again. Connections that stand keep what they were made with. Files that are no good change
    /// nothing; then neither does a new certificate that has expired.
    ///
    /// It waits for the disk.
    ///
    /// # Errors
    /// Why nothing has changed.
    pub fn reload(&self) -> Result<(), Refused> {
        let contents = Contents::read(&self.files).map_err(Refused::File)?;
        if contents == self.state().contents {
            let mut state = self.state();
            state.refused = None;
            return Err(Refused::Same);
        }
        let made = contents.made(&self.files).and_then(|made| {
            if made.expires < now() {
                let cert = Named::new("TLS_CERT_FILE", &self.files.cert);
                return Err(cert.error(Problem::Expired));
            }
            Ok(made)
        });
        let mut state = self.state();
        match made {
            Ok(made) => {
                state.config = made.config;
                state.open_config = made.open_config;
                state.expires = made.expires;
                state.contents = contents;
                state.refused = None;
                Ok(())
            }
            Err(_) if state.told && state.refused.as_ref() == Some(&contents) => {
                Err(Refused::Again)
            }
            Err(error) => {
                if state.refused.as_ref() != Some(&contents) {
                    state.refused = Some(contents);
                    state.told = false;
                }
                Err(Refused::File(error))
            }
        }
    }

    /// Reads the files again because somebody asks for it, and tells the log what that has brought.
    pub fn reload_and_tell(&self) {
        self.tell(self.reload());
    }

    /// Looks at the files every few seconds, and never ends. One look may come between the writing of a
    /// certificate and of its key: what is no good is told when it still is so at the next look.
    pub async fn watch(self: Arc<Self>) {
        let mut suspected = false;
        loop {
            sleep(LOOK_EVERY).await;
            let this = Arc::clone(&self);
            let Ok(outcome) = tokio::task::spawn_blocking(move || this.reload()).await else {
                return;
            };
            let bad = matches!(outcome, Err(Refused::File(_)));
            if !bad || suspected {
                self.tell(outcome);
            }
            suspected = bad;
        }
    }

    fn tell(&self, outcome: Result<(), Refused>) {
        match outcome {
            Ok(()) => info!(
                file = %self.files.cert.display(),
                expires_unix = self.expires().as_secs(),
                "TLS certificate renewed"
            ),
            Err(Refused::Same | Refused::Again) => {}
            Err(Refused::File(error)) => {
                self.reload_failures.fetch_add(1, Ordering::Relaxed);
                self.state().told = true;
                warn!(%error, "TLS certificate not renewed; the one before stays in force");
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn read(files: &ServerFiles) -> Result<Self, FileError> {
        let client_ca = match &files.client_ca {
            Some(path) => Some(Named::new("TLS_CLIENT_CA_FILE", path).read()?),
            None => None,
        };
        Ok(Self {
            cert: Named::new("TLS_CERT_FILE", &files.cert).read()?,
            key: Named::new("TLS_KEY_FILE", &files.key).read()?,
            client_ca,
        })
    }

    fn made(&self, files: &ServerFiles) -> Result<Made, FileError> {
        let cert = Named::new("TLS_CERT_FILE", &files.cert);
        let key = Named::new("TLS_KEY_FILE", &files.key);
        let own = files::own(&cert, &self.cert, &key, &self.key)?;
        let bad_key = |error| key.error(Problem::BadKey(error));

        let builder = || {
            ServerConfig::builder_with_provider(Arc::clone(&PROVIDER))
                .with_protocol_versions(&[&TLS13, &TLS12])
                .map_err(bad_key)
        };
        let open = builder()?.with_no_client_auth();
        let asking = match self.verifier(files)? {
            Some(verifier) => builder()?.with_client_cert_verifier(verifier),
            None => builder()?.with_no_client_auth(),
        };
        let finish = |builder: ConfigBuilder<ServerConfig, WantsServerCert>| {
            let made = builder.with_single_cert(own.chain.clone(), own.key.clone_key());
            let mut config = made.map_err(bad_key)?;
            // Connections last. And who comes again is looked at again: a certificate may have expired meanwhile.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            Ok(Arc::new(config))
        };
        Ok(Made {
            config: finish(asking)?,
            open_config: finish(open)?,
            expires: own.expires,
        })
    }

    /// Who judges clients' certificates, if they are asked for any.
    fn verifier(
        &self,
        files: &ServerFiles,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, FileError> {
        let (Some(path), Some(contents)) = (&files.client_ca, &self.client_ca) else {
            return Ok(None);
        };
        let file = Named::new("TLS_CLIENT_CA_FILE", path);
        let roots = Arc::new(files::authorities(&file, contents)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&PROVIDER));
        let verifier = match files.client_auth {
            ClientAuth::Off => return Ok(None),
            ClientAuth::Optional => verifier.allow_unauthenticated(),
            ClientAuth::Required => verifier,
        };
        let verifier = verifier.build().map_err(|error| {
            file.error(Problem::BadCertificate {
                number: 1,
                why: error.to_string(),
            })
        })?;
        Ok(Some(verifier))
    }
}

/// The time of day, from 1970 on.
fn now() -> Duration {
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates are valid by the calendar, and no simulator has files"
    )]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}
