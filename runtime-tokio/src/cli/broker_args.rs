//! Which broker, and what to do while it is not there: what the clients share.

use super::tls_args::TlsArgs;
use super::token_args::TokenArgs;
use crate::settings::broker_address_in_dotenv;

/// Where a broker listens by default.
const DEFAULT_ADDRESS: &str = "localhost:9080";

/// The environment variable that names the broker where `--addr` does not.
pub(crate) const ADDRESS_VARIABLE: &str = "BROKER_ADDR";

/// Stands for "look into `.env`", which is done by who needs it only.
const IN_DOTENV: &str = ".env";

/// The flag of every command that connects to a broker.
#[derive(Debug, clap::Args)]
pub(crate) struct AddressArgs {
    /// The broker's host and port [default: BROKER_ADDR in .env, or localhost:9080]
    #[arg(
        long,
        env = ADDRESS_VARIABLE,
        value_name = "HOST:PORT",
        default_value = IN_DOTENV,
        hide_default_value = true,
        value_parser = parse_address
    )]
    pub(crate) addr: String,

    #[command(flatten)]
    pub(crate) tls: TlsArgs,
}

/// The flags of `produce` and `consume`.
#[derive(Debug, clap::Args)]
pub(crate) struct BrokerArgs {
    #[command(flatten)]
    pub(crate) address: AddressArgs,

    #[command(flatten)]
    pub(crate) token: TokenArgs,

    /// Connect again and again, after up to 0.1 s, 0.2 s, ... 5 s, while there is no broker
    #[arg(long)]
    pub(crate) retry: bool,
}

/// The broker that `.env` names, or one on this machine.
fn default_address() -> Result<String, String> {
    let text = broker_address_in_dotenv().unwrap_or_default();
    check_address(&text).map_err(|error| format!("BROKER_ADDR={text:?} in .env: {error}"))
}

/// Checks a `host:port`, or finds the default.
pub(crate) fn parse_address(text: &str) -> Result<String, String> {
    if text == IN_DOTENV {
        default_address()
    } else {
        check_address(text)
    }
}

/// Checks a `host:port`. An empty one is the default, as for every setting.
fn check_address(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(DEFAULT_ADDRESS.to_owned());
    }
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| format!("it has no port; use HOST:PORT, for example {DEFAULT_ADDRESS}"))?;
    let bare_ipv6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    if host.is_empty() || host.contains('/') || bare_ipv6 {
        return Err(format!(
            "{host:?} is no host; use HOST:PORT, for example {DEFAULT_ADDRESS} or [::1]:9080"
        ));
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(text.to_owned()),
        Ok(0) | Err(_) => Err(format!("{port:?} is no port; use a number from 1 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_port_are_an_address() {
        for text in [
            "localhost:9080",
            "10.0.0.1:1",
            "[::1]:65535",
            "mq.example:9080",
        ] {
            assert_eq!(parse_address(text).as_deref(), Ok(text));
        }
        assert_eq!(parse_address(" mq:1 ").as_deref(), Ok("mq:1"));
        assert_eq!(parse_address("").as_deref(), Ok(DEFAULT_ADDRESS));
    }

    #[test]
    fn anything_else_is_refused_with_what_is_allowed() {
        for (text, part) in [
            ("localhost", "no port"),
            (":9080", "no host"),
            ("::1:9080", "[::1]:9080"),
            ("tcp://10.0.0.1:80", "no host"),
            ("localhost:0", "1 to 65535"),
            ("localhost:65536", "1 to 65535"),
            ("localhost:", "1 to 65535"),
        ] {
            let error = parse_address(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
