//! The names in a client's certificate.

use x509_cert::Certificate;
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::der::{self, Decode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};

/// The names by which a client's certificate calls the client. Whoever makes one from the certificate of a
/// connection has verified it: these are names that an authority vouches for.
///
/// Names are as they stand in the certificate. To compare them exactly is safe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The common name of the subject. None if there is none, or more than one: then it is not clear which
    /// of them is meant.
    pub common_name: Option<String>,
    /// The DNS names among the subject's alternative names.
    pub dns_names: Vec<String>,
    /// The URIs among them, such as `spiffe://example.org/encoder`.
    pub uris: Vec<String>,
    /// The e-mail addresses among them.
    pub emails: Vec<String>,
}

/// What was to be a certificate is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a certificate: {0}")]
pub struct BadCertificate(String);

impl From<der::Error> for BadCertificate {
    fn from(error: der::Error) -> Self {
        Self(error.to_string())
    }
}

impl PeerCertificate {
    /// The names in a certificate in DER. It is not verified here.
    ///
    /// # Errors
    /// If it is no certificate, or its names are not what RFC 5280 allows: then none of them count.
    pub fn from_der(der: &[u8]) -> Result<Self, BadCertificate> {
        let certificate = Certificate::from_der(der)?;
        let certificate = certificate.tbs_certificate();
        let mut names = Self::default();

        let mut common_names = certificate
            .subject()
            .iter()
            .filter(|it| it.oid == COMMON_NAME);
        if let (Some(name), None) = (common_names.next(), common_names.next()) {
            let name = DirectoryString::try_from(&name.value)?;
            names.common_name = Some(name.value().into_owned());
        }
        if let Some((_, SubjectAltName(alternatives))) = certificate.get_extension()? {
            for name in alternatives {
                match name {
                    GeneralName::DnsName(name) => names.dns_names.push(name.to_string()),
                    GeneralName::UniformResourceIdentifier(uri) => names.uris.push(uri.to_string()),
                    GeneralName::Rfc822Name(email) => names.emails.push(email.to_string()),
                    GeneralName::OtherName(_)
                    | GeneralName::DirectoryName(_)
                    | GeneralName::EdiPartyName(_)
                    | GeneralName::IpAddress(_)
                    | GeneralName::RegisteredId(_) => {}
                }
            }
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    fn der(params: &CertificateParams) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    fn params(common_name: Option<&str>) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params
    }

    #[test]
    fn every_kind_of_name_is_found_where_it_stands() {
        let mut params = params(Some("encoder ü"));
        params.subject_alt_names = vec![
            SanType::DnsName("a.example".try_into().unwrap()),
            SanType::IpAddress([10, 0, 0, 1].into()),
            SanType::URI("spiffe://example.org/encoder".try_into().unwrap()),
            SanType::Rfc822Name("me@example.org".try_into().unwrap()),
            SanType::DnsName("*.b.example".try_into().unwrap()),
        ];
        let expected = PeerCertificate {
            common_name: Some("encoder ü".to_owned()),
            dns_names: vec!["a.example".to_owned(), "*.b.example".to_owned()],
            uris: vec!["spiffe://example.org/encoder".to_owned()],
            emails: vec!["me@example.org".to_owned()],
        };
        assert_eq!(PeerCertificate::from_der(&der(&params)), Ok(expected));
    }

    #[test]
    fn a_certificate_may_have_no_names() {
        let names = PeerCertificate::from_der(&der(&params(None))).unwrap();
        assert_eq!(names, PeerCertificate::default());
    }

    #[test]
    fn what_is_cut_or_added_to_is_no_certificate() {
        let whole = der(&params(Some("a")));
        for length in 0..whole.len() {
            assert!(
                PeerCertificate::from_der(&whole[..length]).is_err(),
                "{length}"
            );
        }
        let longer = [&whole[..], b"\0"].concat();
        assert!(PeerCertificate::from_der(&longer).is_err());
    }

    #[test]
    fn no_byte_that_is_changed_makes_it_panic() {
        let mut params = params(Some("a"));
        params.subject_alt_names = vec![SanType::URI("spiffe://a/b".try_into().unwrap())];
        let whole = der(&params);
        for at in 0..whole.len() {
            for change in [1, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[at] ^= change;
                let _ = PeerCertificate::from_der(&changed);
            }
        }
    }
}
