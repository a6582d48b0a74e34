//! A certificate for one broker or relay, and its key, in files that are gone afterwards.

use super::storage::Scratch;
use crate::access::tls::ClientTls;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ClientConfig;
use std::env;
use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name in the certificate.
pub(super) const NAME: &str = "localhost";

/// A certificate that nobody but the clients of this run trusts.
#[derive(Debug)]
pub(super) struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    client: Arc<ClientConfig>,
    /// Where the files are.
    _folder: Scratch,
}

impl Certificate {
    /// Makes one, in the folder for temporary files.
    ///
    /// # Errors
    /// Why that is not possible, in words.
    pub(super) fn new() -> Result<Self, String> {
        let said = |error: &dyn Display| format!("no certificate for it: {error}");
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([NAME.to_owned()]).map_err(|error| said(&error))?;
        let folder = Scratch::new(&env::temp_dir()).map_err(|error| said(&error))?;
        let (cert_file, key_file) = (folder.file("server.pem"), folder.file("server.key"));
        write(&cert_file, &cert.pem()).map_err(|error| said(&error))?;
        write(&key_file, &signing_key.serialize_pem()).map_err(|error| said(&error))?;
        let client = ClientTls::with_only(&cert_file)
            .and_then(|tls| tls.config_now())
            .map_err(|error| said(&error))?;
        Ok(Self {
            cert: cert_file,
            key: key_file,
            client,
            _folder: folder,
        })
    }

    /// The file of the certificate.
    pub(super) fn cert_file(&self) -> &Path {
        &self.cert
    }

    /// The file of its key, which only its owner may read.
    pub(super) fn key_file(&self) -> &Path {
        &self.key
    }

    /// How a client speaks TLS that trusts it.
    pub(super) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}
