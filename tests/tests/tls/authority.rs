//! An authority, and whatever it can be asked to certify.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SanType,
};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// An authority with a directory of its own, in which there is `ca.pem`.
pub(crate) struct Authority {
    pub(crate) directory: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with the chain behind it, and its key, in PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A certificate for these names, for no use in particular.
pub(crate) fn named<const N: usize>(names: [&str; N]) -> CertificateParams {
    CertificateParams::new(names.map(str::to_owned)).expect("names")
}

/// A server's for `localhost` and 127.0.0.1.
pub(crate) fn server() -> CertificateParams {
    let mut params = named(["localhost", "127.0.0.1"]);
    params.distinguished_name.push(DnType::CommonName, "broker");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// A client's with this common name and URI.
pub(crate) fn client(name: &str, uri: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("a URI"))];
    params
}

/// An authority's own, by this name.
pub(crate) fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("randomness");
        let issuer = CertifiedIssuer::self_signed(authority("the authority"), key).expect("a key");
        let directory = tempfile::tempdir().expect("a directory");
        let this = Self { directory, issuer };
        this.write("ca.pem", &this.issuer.pem());
        this
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, contents: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, contents).expect("a directory of our own");
        path
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn issue(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().expect("randomness");
        let certificate = params.signed_by(&key, &self.issuer).expect("a key");
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Issues by another authority in between, whose certificate stands behind the other in the chain.
    pub(crate) fn issue_by_another(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().expect("randomness");
        let between = authority("the one in between");
        let between = CertifiedIssuer::signed_by(between, key, &self.issuer).expect("a key");
        let key = KeyPair::generate().expect("randomness");
        let certificate = params.signed_by(&key, &between).expect("a key");
        Pair {
            certificate: certificate.pem() + &between.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Writes `NAME.pem` and `NAME.key`. Returns both.
    pub(crate) fn keep(&self, name: &str, pair: &Pair) -> (PathBuf, PathBuf) {
        let certificate = self.write(&format!("{name}.pem"), &pair.certificate);
        (certificate, self.write(&format!("{name}.key"), &pair.key))
    }
}

/// A certificate that nobody but its own key vouches for.
pub(crate) fn self_signed(params: &CertificateParams) -> Pair {
    let key = KeyPair::generate().expect("randomness");
    Pair {
        certificate: params.self_signed(&key).expect("a key").pem(),
        key: key.serialize_pem(),
    }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a name in UTF-8")
}
