//! Certificates for tests.

use super::client::ClientTls;
use super::server::{ServerFiles, ServerTls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A directory with an authority's certificate, and a server's that it has issued for `localhost`.
pub(crate) struct Certificates {
    directory: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "an authority");
        let key = KeyPair::generate().unwrap();
        let authority = CertifiedIssuer::self_signed(params, key).unwrap();
        let this = Self {
            directory,
            authority,
        };
        this.write("ca.pem", &this.authority.pem());
        this.issue(CertificateParams::new(["localhost".to_owned()]).unwrap());
        this
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, contents: &str) {
        std::fs::write(self.path(name), contents).unwrap();
    }

    /// Has the authority issue another certificate for the server.
    pub(crate) fn issue(&self, params: CertificateParams) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        self.write("server.pem", &certificate.pem());
        self.write("server.key", &key.serialize_pem());
    }

    pub(crate) fn files(&self) -> ServerFiles {
        ServerFiles {
            cert: self.path("server.pem"),
            key: self.path("server.key"),
            ..ServerFiles::default()
        }
    }

    pub(crate) fn server(&self) -> ServerTls {
        ServerTls::load(self.files()).unwrap()
    }

    pub(crate) fn client(&self) -> ClientTls {
        let ca = self.path("ca.pem");
        ClientTls::new(Some(Path::new(&ca)), None, None, None).unwrap()
    }
}
