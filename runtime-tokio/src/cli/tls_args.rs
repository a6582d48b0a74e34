//! The flags for TLS, of every command that connects to a broker.

use crate::client::{ClientTls, ClientTlsError};
use std::io;
use std::path::PathBuf;

/// Whom to trust, and as whom to come.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct TlsArgs {
    /// Speak TLS with the broker, at its TLS_PORT
    #[arg(long, env = "BROKER_TLS", value_parser = clap::builder::FalseyValueParser::new(), hide_env_values = true)]
    tls: bool,

    /// With --tls: trust the authorities in this PEM file, not those of the system
    #[arg(long, env = "BROKER_CA", value_name = "FILE", requires = "tls")]
    ca: Option<PathBuf>,

    /// With --tls: show the certificate in this PEM file
    #[arg(long, env = "BROKER_CERT", value_name = "FILE", requires = "tls")]
    cert: Option<PathBuf>,

    /// With --tls: the PEM file of the certificate's key
    #[arg(long, env = "BROKER_KEY", value_name = "FILE", requires = "tls")]
    key: Option<PathBuf>,

    /// With --tls: expect a certificate for this name, and not for the host of --addr
    #[arg(
        long,
        env = "BROKER_SERVER_NAME",
        value_name = "NAME",
        requires = "tls"
    )]
    server_name: Option<String>,
}

impl TlsArgs {
    /// How to speak TLS, or none.
    ///
    /// # Errors
    /// What is wrong with a file or the name.
    pub(crate) fn client(&self) -> io::Result<Option<ClientTls>> {
        if !self.tls {
            return Ok(None);
        }
        let Self {
            ca,
            cert,
            key,
            server_name,
            ..
        } = self;
        let client = ClientTls::new(
            ca.as_deref(),
            cert.as_deref(),
            key.as_deref(),
            server_name.as_deref(),
        );
        client
            .map(Some)
            .map_err(|error: ClientTlsError| io::Error::new(io::ErrorKind::InvalidInput, error))
    }
}
