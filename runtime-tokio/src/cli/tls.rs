//! `message-queue tls init`: certificates to try TLS out with.

use super::exit::Exit;
use super::{run, say};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::ServerName;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const EXAMPLES: &str = "\
Examples:
  tls init certificates                             for a broker and clients on this machine
  tls init certificates --name broker.example --name 192.0.2.7
                                                    for clients on other machines as well
  tls init certificates --client collector --days 30

It prints the commands that use them. They are for trying TLS out: the authority's key is not kept, so nothing can be
added or renewed.";

/// What every server certificate is for.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long ago certificates became valid: clocks of two machines are not the same.
const BEFORE: Duration = Duration::from_secs(5 * 60);

/// The longest common name that X.509 allows, in characters.
const MAX_COMMON_NAME: usize = 64;

/// For everybody to read.
const CERTIFICATE_MODE: u32 = 0o644;

/// For the owner only.
const KEY_MODE: u32 = 0o600;

/// Make certificates, to try TLS out
#[derive(Debug, clap::Args)]
pub struct TlsCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Init(InitArgs),
}

/// Make an authority, and certificates of it for a broker and a client
///
/// Writes ca.pem, server.pem, server.key, client.pem and client.key. Overwrites nothing. Only their owner may read the
/// keys.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct InitArgs {
    /// Where to write them; it is made if it is missing
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// A DNS name or address of the broker, beside localhost, 127.0.0.1 and ::1; may be given several times
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    name: Vec<String>,

    /// The common name in the client's certificate: 1 to 64 characters
    #[arg(long, value_name = "NAME", default_value = "client", value_parser = common_name)]
    client: String,

    /// How many days they are valid for: 1 to 3650
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,

    /// Do nothing where all five files are there already, whatever is in them
    #[arg(long)]
    if_missing: bool,
}

/// Does what the command says. Exit codes: 0, or 1 where a file is there already or cannot be written.
pub fn run(args: &TlsCommand) -> ExitCode {
    let Command::Init(args) = &args.command;
    match init(args) {
        Ok(()) => Exit::Done.into(),
        Err(error) => run::failure(&error),
    }
}

#[derive(Debug, thiserror::Error)]
enum TlsError {
    #[error("{}: is there already; nothing is overwritten", .0.display())]
    Exists(PathBuf),
    #[error("{}: cannot be written: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("no certificate can be made: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn init(args: &InitArgs) -> Result<(), TlsError> {
    if args.if_missing
        && Files::NAMES
            .iter()
            .all(|it| args.directory.join(it).exists())
    {
        return Ok(say::answer("They are there already.\n")?);
    }
    let files = Files::make(args, now())?;
    files.write(&args.directory)?;
    Ok(say::answer(&next_commands(args))?)
}

fn now() -> SystemTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates are valid from the real time on; no run depends on it"
    )]
    let now = SystemTime::now();
    now
}

/// The name, the mode and the text of each file.
#[derive(Debug)]
struct Files([(&'static str, u32, String); 5]);

impl Files {
    const NAMES: [&str; 5] = [
        "ca.pem",
        "server.pem",
        "server.key",
        "client.pem",
        "client.key",
    ];

    fn make(args: &InitArgs, now: SystemTime) -> Result<Self, rcgen::Error> {
        let mut ca = params("message-queue tls init", args.days, now);
        // It issues for broker and client, and no further authority.
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;

        let mut server = params("message-queue", args.days, now);
        let names = LOCAL.map(str::to_owned).into_iter();
        let names = names.chain(args.name.iter().cloned()).collect::<Vec<_>>();
        server.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];

        let mut client = params(&args.client, args.days, now);
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];

        let issue = |mut params: CertificateParams| {
            params.use_authority_key_identifier_extension = true;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &ca)?;
            Ok::<_, rcgen::Error>((certificate.pem(), key.serialize_pem()))
        };
        let (server, server_key) = issue(server)?;
        let (client, client_key) = issue(client)?;
        let [of_ca, of_server, of_server_key, of_client, of_client_key] = Self::NAMES;
        Ok(Self([
            (of_ca, CERTIFICATE_MODE, ca.pem()),
            (of_server, CERTIFICATE_MODE, server),
            (of_server_key, KEY_MODE, server_key),
            (of_client, CERTIFICATE_MODE, client),
            (of_client_key, KEY_MODE, client_key),
        ]))
    }

    /// Writes all of them or, where one cannot be written, none.
    fn write(&self, directory: &Path) -> Result<(), TlsError> {
        let failed = |path: &Path, source| TlsError::File {
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
        let mut written = Vec::new();
        let mut write = || {
            for (name, mode, text) in &self.0 {
                let path = directory.join(name);
                let mut file = create(&path, *mode).map_err(|error| {
                    if error.kind() == io::ErrorKind::AlreadyExists {
                        TlsError::Exists(path.clone())
                    } else {
                        failed(&path, error)
                    }
                })?;
                written.push(path.clone());
                let done = file.write_all(text.as_bytes());
                done.map_err(|error| failed(&path, error))?;
            }
            Ok(())
        };
        let outcome = write();
        if outcome.is_err() {
            for path in written {
                // What went wrong first is what the user has to know.
                let _ = fs::remove_file(path);
            }
        }
        outcome
    }
}

/// A file that is new, and at no time has a wider mode than this.
fn create(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode).open(path)
}

fn params(common_name: &str, days: u32, now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = date_time_ymd(1970, 1, 1) + Duration::from_secs(now.as_secs());
    params.not_before = now - BEFORE;
    params.not_after = now + DAY * days;
    params
}

/// What to type next.
fn next_commands(args: &InitArgs) -> String {
    let file = |name| quoted(&args.directory.join(name).to_string_lossy());
    let [ca, server, server_key] = ["ca.pem", "server.pem", "server.key"].map(file);
    let [client, client_key] = ["client.pem", "client.key"].map(file);
    let days = match args.days {
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    let tls = format!("--tls --ca {ca} --cert {client} --key {client_key}");
    format!(
        "\
Made an authority, whose key is not kept, and certificates for a broker and a client. Valid for {days}.

Run a broker:
  TLS_PORT=9443 TLS_CERT_FILE={server} TLS_KEY_FILE={server_key} TLS_CLIENT_AUTH=required TLS_CLIENT_CA_FILE={ca} message-queue

Consume, and in another terminal publish:
  message-queue consume --addr localhost:9443 {tls}
  message-queue produce --addr localhost:9443 {tls} -m hello
"
    )
}

/// A word for a shell.
fn quoted(text: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "/._-".contains(it);
    if text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn server_name(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("*.").unwrap_or(text);
    match ServerName::try_from(host) {
        Ok(ServerName::IpAddress(_)) if host != text => {
            Err("an address has no wildcard".to_owned())
        }
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("it is neither a DNS name nor an address".to_owned()),
    }
}

fn common_name(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("it has a control character".to_owned());
    }
    match text.chars().count() {
        1..=MAX_COMMON_NAME => Ok(text.to_owned()),
        count => Err(format!(
            "{count} characters; allowed: 1 to {MAX_COMMON_NAME}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::tls::ClientTls;
    use clap::Parser;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use std::os::unix::fs::PermissionsExt;
    use x509_cert::Certificate;
    use x509_cert::der::Decode;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: InitArgs,
    }

    fn parse(flags: &[&str]) -> Result<InitArgs, String> {
        let cli = Cli::try_parse_from([&["init"], flags].concat());
        cli.map(|it| it.args).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_for_their_owner_and_nothing_is_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let made = directory.path().join("a/b");
        let args = parse(&[made.to_str().unwrap()]).unwrap();
        let files = Files::make(&args, now()).unwrap();
        files.write(&made).unwrap();
        for (name, mode, text) in &files.0 {
            let path = made.join(name);
            assert_eq!(fs::read_to_string(&path).unwrap(), *text);
            let found = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(found & !mode, 0, "{name}: {found:o}");
            assert_eq!(*mode == 0o600, name.ends_with(".key"));
        }
        let file = |name| Some(made.join(name));
        ClientTls::new(
            file("ca.pem").as_deref(),
            file("client.pem").as_deref(),
            file("client.key").as_deref(),
            None,
        )
        .unwrap();

        // The last of them is there: the others are not left behind.
        for (name, ..) in &files.0[..4] {
            fs::remove_file(made.join(name)).unwrap();
        }
        let before = fs::read_to_string(made.join("client.key")).unwrap();
        let error = init(&args).unwrap_err().to_string();
        let path = made.join("client.key");
        let expected = format!(
            "{}: is there already; nothing is overwritten",
            path.display()
        );
        assert_eq!(error, expected);
        assert_eq!(fs::read_dir(&made).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
    }

    #[test]
    fn certificates_are_valid_for_as_long_as_was_said() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let args = parse(&["d", "--days", "30"]).unwrap();
        let files = Files::make(&args, now).unwrap();
        for (name, _, text) in &files.0 {
            if name.ends_with(".pem") {
                let der = CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
                let certificate: Certificate = Certificate::from_der(&der).unwrap();
                let validity = certificate.tbs_certificate().validity();
                let seconds = |time: x509_cert::time::Time| time.to_unix_duration().as_secs();
                assert_eq!(seconds(validity.not_before), 1_800_000_000 - 300);
                assert_eq!(seconds(validity.not_after), 1_800_000_000 + 30 * 86_400);
            }
        }
    }

    #[test]
    fn a_directory_with_a_space_is_one_word() {
        assert_eq!(quoted("a/b-c_d.pem"), "a/b-c_d.pem");
        assert_eq!(quoted("my files/it's"), r"'my files/it'\''s'");
    }

    #[test]
    fn what_is_not_allowed_says_what_is() {
        let long = "x".repeat(65);
        for (flags, told) in [
            (&["d", "--days", "0"][..], "1..=3650"),
            (&["d", "--days", "3651"], "1..=3650"),
            (&["d", "--name", "a b"], "neither a DNS name nor an address"),
            (&["d", "--name", "*.192.0.2.7"], "no wildcard"),
            (&["d", "--client", ""], "allowed: 1 to 64"),
            (&["d", "--client", &long], "allowed: 1 to 64"),
            (&["d", "--client", "a\nb"], "control character"),
            (&[], "DIR"),
        ] {
            let error = parse(flags).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        for name in [
            "broker.example",
            "*.example.org",
            "192.0.2.7",
            "2001:db8::1",
        ] {
            let args = parse(&["d", "--name", name]).unwrap();
            Files::make(&args, now()).unwrap();
        }
    }
}
