//! Certificates and keys in files of PEM.

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, sign};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// What is wrong with a file, and which setting or flag names it.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {}: {problem}", path.display())]
pub struct FileError {
    /// The setting or the flag.
    pub name: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong with a file of certificates or a key.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The system does not give it.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// It is no PEM.
    #[error("is not PEM: {0}")]
    NotPem(pem::Error),
    /// There is no certificate in it.
    #[error("holds no certificate (a block of -----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// A certificate in it is none.
    #[error("certificate {number} in it cannot be read: {why}")]
    BadCertificate {
        /// Which, counted from 1.
        number: usize,
        /// Why.
        why: String,
    },
    /// The chain is not in order.
    #[error(
        "the chain is out of order: certificate {number} is of {found}, and {wanted} issued the one before it; \
         put the own certificate first, and behind each the one that issued it"
    )]
    OutOfOrder {
        /// Which certificate does not belong there, counted from 1.
        number: usize,
        /// Whom it is of.
        found: String,
        /// Whom it should be of.
        wanted: String,
    },
    /// There is no key in it.
    #[error("holds no private key (a block of -----BEGIN PRIVATE KEY-----)")]
    NoKey,
    /// The key needs a password.
    #[error("the key is encrypted: write it without a password (openssl pkey -in … -out …)")]
    EncryptedKey,
    /// The key is of a kind that TLS does not use here.
    #[error("the key cannot be used: {0}")]
    BadKey(rustls::Error),
    /// The key belongs to another certificate.
    #[error("the key does not fit the certificate in {0}")]
    KeyDoesNotFit(PathBuf),
    /// The certificate is not valid any more. Only where there is one that is.
    #[error("the certificate has expired")]
    Expired,
}

/// A file, and which setting or flag names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: &'static str,
    pub(super) path: PathBuf,
}

impl Named {
    pub(super) fn new(name: &'static str, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { name, path }
    }

    pub(super) fn error(&self, problem: Problem) -> FileError {
        FileError {
            name: self.name,
            path: self.path.clone(),
            problem,
        }
    }

    pub(super) fn read(&self) -> Result<Vec<u8>, FileError> {
        fs::read(&self.path).map_err(|error| self.error(Problem::Unreadable(error)))
    }
}

/// A certificate, the chain behind it, and its key.
pub(super) struct Own {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    /// Until when the certificate is valid, from 1970 on.
    pub(super) expires: Duration,
}

/// The certificate in `cert` with the key in `key`, of which these are the contents.
pub(super) fn own(
    cert: &Named,
    certificates: &[u8],
    key: &Named,
    private: &[u8],
) -> Result<Own, FileError> {
    let chain = chain(certificates).map_err(|problem| cert.error(problem))?;
    let expires = in_order(&chain).map_err(|problem| cert.error(problem))?;
    let private = private_key(private).map_err(|problem| key.error(problem))?;
    let signer = super::PROVIDER
        .key_provider
        .load_private_key(private.clone_key())
        .map_err(|error| key.error(Problem::BadKey(error)))?;
    let pair = sign::CertifiedKey::new(chain.clone(), signer);
    if let Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) =
        pair.keys_match()
    {
        return Err(key.error(Problem::KeyDoesNotFit(cert.path.clone())));
    }
    Ok(Own {
        chain,
        key: private,
        expires,
    })
}

/// The first certificate in a file.
pub(super) fn first(file: &Named) -> Result<CertificateDer<'static>, FileError> {
    let chain = chain(&file.read()?).map_err(|problem| file.error(problem))?;
    let first = chain.into_iter().next();
    first.ok_or_else(|| file.error(Problem::NoCertificate))
}

/// The authorities in a file, of which these are the contents.
pub(super) fn authorities(file: &Named, contents: &[u8]) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    let found = chain(contents).map_err(|problem| file.error(problem))?;
    for (index, certificate) in found.into_iter().enumerate() {
        roots.add(certificate).map_err(|error| {
            file.error(Problem::BadCertificate {
                number: index + 1,
                why: error.to_string(),
            })
        })?;
    }
    Ok(roots)
}

/// The certificates in PEM, of which there is at least one.
fn chain(contents: &[u8]) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(contents)
        .collect::<Result<_, _>>()
        .map_err(Problem::NotPem)?;
    if chain.is_empty() {
        return Err(Problem::NoCertificate);
    }
    Ok(chain)
}

/// Checks that each certificate is followed by the one that issued it. Returns until when the first is valid.
fn in_order(chain: &[CertificateDer<'_>]) -> Result<Duration, Problem> {
    let mut certificates = Vec::with_capacity(chain.len());
    for (index, der) in chain.iter().enumerate() {
        let certificate = Certificate::from_der(der).map_err(|error| Problem::BadCertificate {
            number: index + 1,
            why: error.to_string(),
        })?;
        certificates.push(certificate);
    }
    let pairs = certificates.iter().zip(certificates.iter().skip(1));
    for (index, (before, after)) in pairs.enumerate() {
        let wanted = before.tbs_certificate().issuer();
        let found = after.tbs_certificate().subject();
        if wanted != found {
            return Err(Problem::OutOfOrder {
                number: index + 2,
                found: found.to_string(),
                wanted: wanted.to_string(),
            });
        }
    }
    let first = certificates.first().ok_or(Problem::NoCertificate)?;
    let validity = first.tbs_certificate().validity();
    Ok(validity.not_after.to_unix_duration())
}

fn private_key(contents: &[u8]) -> Result<PrivateKeyDer<'static>, Problem> {
    PrivateKeyDer::from_pem_slice(contents).map_err(|error| {
        let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
        if !matches!(error, pem::Error::NoItemsFound) {
            Problem::NotPem(error)
        } else if contents.windows(encrypted.len()).any(|it| it == encrypted) {
            Problem::EncryptedKey
        } else {
            Problem::NoKey
        }
    })
}

/// Whether a path is given at all, for those who take an empty one for none.
pub(super) fn given(path: Option<&Path>) -> Option<&Path> {
    path.filter(|path| !path.as_os_str().is_empty())
}
