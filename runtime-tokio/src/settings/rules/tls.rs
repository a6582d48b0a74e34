//! Rules between the settings for TLS.

use super::super::values::{Switch, Values};
use super::Broken;
use crate::access::tls::ClientAuth;

/// Every rule that is broken. What is in the files is not looked at here.
pub(super) fn broken(values: &Values) -> [Option<Broken>; 5] {
    [
        some_port(values),
        another_port(values),
        certificate(values),
        key(values),
        authorities(values),
    ]
}

/// What is allowed but does nothing.
pub(super) fn warnings(values: &Values) -> [Option<String>; 3] {
    [unused(values), unasked(values), readable(values)]
}

fn speaks_tls(values: &Values) -> bool {
    values.tls_port.0.is_some() || values.http_tls == Switch::On
}

fn some_port(values: &Values) -> Option<Broken> {
    (values.tcp_port.0.is_none() && values.tls_port.0.is_none()).then(|| Broken {
        name: "TCP_PORT",
        others: &["TLS_PORT"],
        allowed: "a port, or set TLS_PORT: nobody could connect".to_owned(),
    })
}

fn another_port(values: &Values) -> Option<Broken> {
    let port = values.tls_port.0.filter(|port| *port != 0)?;
    let (name, others): (_, &'static [&'static str]) = if values.tcp_port.0 == Some(port) {
        ("TCP_PORT", &["TCP_PORT"])
    } else if values.http_port == port {
        ("HTTP_PORT", &["HTTP_PORT"])
    } else {
        return None;
    };
    Some(Broken {
        name: "TLS_PORT",
        others,
        allowed: format!("a port other than {name}, or 0 for any free port"),
    })
}

fn certificate(values: &Values) -> Option<Broken> {
    let missing = values.tls_cert_file.is_none();
    let needed = if values.tls_port.0.is_some() {
        "TLS_PORT"
    } else if values.http_tls == Switch::On {
        "HTTP_TLS"
    } else if values.tls_key_file.is_some() {
        "TLS_KEY_FILE"
    } else {
        return None;
    };
    missing.then(|| Broken {
        name: "TLS_CERT_FILE",
        others: &["TLS_PORT", "HTTP_TLS", "TLS_KEY_FILE"],
        allowed: format!("the file of a certificate: {needed} is set"),
    })
}

fn key(values: &Values) -> Option<Broken> {
    (values.tls_cert_file.is_some() && values.tls_key_file.is_none()).then(|| Broken {
        name: "TLS_KEY_FILE",
        others: &["TLS_CERT_FILE"],
        allowed: "the file of the key that belongs to TLS_CERT_FILE".to_owned(),
    })
}

fn authorities(values: &Values) -> Option<Broken> {
    let asks = values.tls_client_auth != ClientAuth::Off;
    (asks && values.tls_client_ca_file.is_none()).then(|| Broken {
        name: "TLS_CLIENT_CA_FILE",
        others: &["TLS_CLIENT_AUTH"],
        allowed: "the file of the authorities whose certificates TLS_CLIENT_AUTH asks for"
            .to_owned(),
    })
}

fn unused(values: &Values) -> Option<String> {
    let given = values.tls_cert_file.is_some() || values.tls_client_auth != ClientAuth::Off;
    (given && !speaks_tls(values)).then(|| {
        "TLS_PORT and HTTP_TLS are off, so the certificate in TLS_CERT_FILE is not used".to_owned()
    })
}

fn unasked(values: &Values) -> Option<String> {
    let asks = values.tls_client_auth != ClientAuth::Off;
    (values.tls_client_ca_file.is_some() && !asks).then(|| {
        "TLS_CLIENT_AUTH is off, so nobody is asked for a certificate of TLS_CLIENT_CA_FILE"
            .to_owned()
    })
}

/// A token that goes over a plain connection is no secret to those on its way.
fn readable(values: &Values) -> Option<String> {
    let is_plain = values.tls_port.0.is_none() && !values.bind_address.is_loopback();
    (values.has_tokens() && is_plain).then(|| {
        "TLS_PORT is off, so clients' tokens can be read by whoever is on the network between"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{error, errors, settings};

    #[test]
    fn settings_that_contradict_each_other_are_named() {
        for (variables, expected) in [
            (
                &[("TCP_PORT", "off")][..],
                "TCP_PORT: \"off\" is not allowed: use a port, or set TLS_PORT: nobody could connect",
            ),
            (
                &[("TLS_PORT", "9443")],
                "TLS_CERT_FILE: \"\" (the default) is not allowed: use the file of a certificate: \
                 TLS_PORT is set",
            ),
            (
                &[("HTTP_TLS", "on")],
                "TLS_CERT_FILE: \"\" (the default) is not allowed: use the file of a certificate: \
                 HTTP_TLS is set",
            ),
            (
                &[("TLS_KEY_FILE", "key.pem")],
                "TLS_CERT_FILE: \"\" (the default) is not allowed: use the file of a certificate: \
                 TLS_KEY_FILE is set",
            ),
            (
                &[("TLS_CERT_FILE", "cert.pem")],
                "TLS_KEY_FILE: \"\" (the default) is not allowed: use the file of the key that \
                 belongs to TLS_CERT_FILE",
            ),
            (
                &[("TLS_CLIENT_AUTH", "required")],
                "TLS_CLIENT_CA_FILE: \"\" (the default) is not allowed: use the file of the \
                 authorities whose certificates TLS_CLIENT_AUTH asks for",
            ),
            (
                &[
                    ("TLS_PORT", "9080"),
                    ("TLS_CERT_FILE", "a"),
                    ("TLS_KEY_FILE", "b"),
                ],
                "TLS_PORT: \"9080\" is not allowed: use a port other than TCP_PORT, or 0 for any free \
                 port",
            ),
            (
                &[
                    ("TLS_PORT", "8080"),
                    ("TLS_CERT_FILE", "a"),
                    ("TLS_KEY_FILE", "b"),
                ],
                "TLS_PORT: \"8080\" is not allowed: use a port other than HTTP_PORT, or 0 for any \
                 free port",
            ),
        ] {
            let error = super::super::super::Settings::from_variables(variables.iter().copied())
                .unwrap_err()
                .to_string();
            assert_eq!(error, expected);
        }
        assert_eq!(
            error([("TLS_CLIENT_AUTH", "maybe")]),
            "TLS_CLIENT_AUTH: \"maybe\" is not allowed: use one of off, optional, required"
        );
        assert_eq!(errors([("TCP_PORT", "off"), ("HTTP_TLS", "on")]).len(), 2);
    }

    #[test]
    fn either_port_can_be_off() {
        let files = [("TLS_CERT_FILE", "a"), ("TLS_KEY_FILE", "b")];
        let [cert, key] = files;
        let both = settings([("TLS_PORT", "0"), cert, key]);
        assert_eq!(both.tcp_address().map(|it| it.port()), Some(9080));
        assert_eq!(both.tls_address().map(|it| it.port()), Some(0));
        let only_tls = settings([("TCP_PORT", "OFF"), ("TLS_PORT", "9443"), cert, key]);
        assert_eq!(only_tls.tcp_address(), None);
        assert_eq!(only_tls.tls_address().map(|it| it.port()), Some(9443));
        assert!(only_tls.tls_files().is_some());
        assert!(only_tls.warnings().is_empty());
    }

    #[test]
    fn what_has_no_effect_is_a_warning() {
        let unused = settings([("TLS_CERT_FILE", "a"), ("TLS_KEY_FILE", "b")]);
        assert_eq!(
            unused.warnings(),
            ["TLS_PORT and HTTP_TLS are off, so the certificate in TLS_CERT_FILE is not used"]
        );
        let unasked = settings([("TLS_CLIENT_CA_FILE", "a")]);
        assert_eq!(
            unasked.warnings(),
            ["TLS_CLIENT_AUTH is off, so nobody is asked for a certificate of TLS_CLIENT_CA_FILE"]
        );
    }

    #[test]
    fn tokens_that_can_be_read_on_their_way_are_warned_of() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/tokens.toml");
        let warned = |bind| {
            let both = [("AUTH_TOKENS_FILE", file), ("BIND_ADDRESS", bind)];
            !settings(both).warnings().is_empty()
        };
        assert!(warned("::") && warned("192.0.2.1"));
        assert!(!warned("127.0.0.1") && !warned("::1"));
        let tls = [
            ("AUTH_TOKENS_FILE", file),
            ("TLS_PORT", "9443"),
            ("TLS_CERT_FILE", "a"),
            ("TLS_KEY_FILE", "b"),
        ];
        assert_eq!(settings(tls).warnings(), [""; 0]);
    }
}
