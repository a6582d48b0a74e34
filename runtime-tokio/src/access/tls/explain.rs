//! What went wrong with TLS, in words that say what to do.

use super::stream::HandshakeError;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};
use std::io;
use std::net::IpAddr;

/// A stream that failed after the handshake.
pub(super) fn broken(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, words(&error))
}

/// A stream that ended without the mark of an orderly end: maybe somebody on the way has cut it.
pub(super) fn cut() -> io::Error {
    let text = "the stream was cut: TLS's mark of an orderly end is missing";
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}

/// A connection of TLS 1.2 that has sent as much as it may.
pub(super) fn used_up() -> io::Error {
    io::Error::other(
        "this connection has used up its keys, which TLS 1.2 cannot renew: connect again",
    )
}

/// A handshake that a client has begun and that has failed.
pub(super) fn failed(error: HandshakeError) -> io::Error {
    match error {
        HandshakeError::Network(error) => {
            let text = format!("{error} in the TLS handshake{WRONG_PORT}");
            io::Error::new(error.kind(), text)
        }
        HandshakeError::Ended => {
            let text = format!("the connection ended in the TLS handshake{WRONG_PORT}");
            io::Error::new(io::ErrorKind::UnexpectedEof, text)
        }
        HandshakeError::Refused(error) => io::Error::new(io::ErrorKind::InvalidData, words(&error)),
    }
}

/// What a broker does with a TLS handshake at a port that is plain.
const WRONG_PORT: &str = " (is it the broker's TLS_PORT?)";

/// What `error` means. Ends without a full stop.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "rustls may add more; its own words do for those"
)]
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "what answers does not speak TLS: is it the broker's TLS_PORT?".to_owned()
        }
        Error::NoCertificatesPresented => "the peer has shown no certificate".to_owned(),
        Error::AlertReceived(alert) => refused(*alert),
        error => error.to_string(),
    }
}

/// Why a certificate does not do.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "rustls may add more; its own words do for those"
)]
fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "the certificate is of an authority that is not trusted here; name the file of the right one"
                .to_owned()
        }
        CertificateError::BadSignature => {
            "the certificate is not by the authority that is trusted here, but by another one of its name; \
             name the file of the right one"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet (or the clock is wrong)".to_owned()
        }
        CertificateError::NotValidForName => "the certificate is for another name".to_owned(),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => format!(
            "the certificate is not for {}, but for {}",
            expected.to_str(),
            if presented.is_empty() {
                "no name at all".to_owned()
            } else {
                presented
                    .iter()
                    .map(|name| plain(name))
                    .collect::<Vec<_>>()
                    .join(", ")
            }
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate is not for this use: a server's must allow serverAuth, a client's clientAuth"
                .to_owned()
        }
        error if error.to_string().contains("CaUsedAsEndEntity") => {
            "the certificate is an authority's own, and not one that it has issued".to_owned()
        }
        error => format!("the certificate is not accepted: {error}"),
    }
}

/// A name as a certificate has it; rustls tells its kind as well: `DnsName("a.example")`, `IpAddress(0::1)`.
fn plain(name: &str) -> String {
    let inner = name
        .split_once('(')
        .and_then(|(_, it)| it.strip_suffix(')'));
    let plain = inner.map_or(name, |it| it.trim_matches('"'));
    let address = plain.parse().map(|it: IpAddr| it.to_string());
    address.unwrap_or_else(|_| plain.to_owned())
}

/// What the peer has against this side.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the rest tells of defects, by its own name"
)]
fn refused(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            "the peer asks for a certificate, and none was shown".to_owned()
        }
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "the peer does not trust the authority of this side's certificate".to_owned()
        }
        AlertDescription::CertificateExpired => {
            "the peer says that this side's certificate has expired, or is not valid yet".to_owned()
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRevoked => {
            format!("the peer does not accept this side's certificate ({alert:?})")
        }
        AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion => {
            "the two sides have no version or cipher of TLS in common, or a certificate is missing"
                .to_owned()
        }
        alert => format!("the peer refuses: {alert:?}"),
    }
}
