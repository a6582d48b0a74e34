//! Engines that are spoken to by TLS. Each test has one of its own, with a certificate that it makes.

use crate::engine::{Engine, is_confirmed};
use crate::server::Server;
use message_queue_tests::process::run;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::fs;
use std::process::Output;

/// An engine that runs, whose certificate an authority of the test's own has issued.
pub(crate) struct Secure {
    server: Server,
    /// The file of the authority.
    authority: String,
}

impl Secure {
    /// None where the tests are not to have one.
    pub(crate) fn new(engine: &'static str) -> Option<Self> {
        let mut server = Server::new(engine)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // For OpenSSL a certificate has issued itself that has its issuer's name.
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority");
        let authority = CertifiedIssuer::self_signed(params, key()).expect("a key");
        let (params, key) = (CertificateParams::new(["127.0.0.1".to_owned()]), key());
        let certificate = params.expect("a name").signed_by(&key, &authority);
        let pair = key.serialize_pem() + &certificate.expect("a key").pem();
        fs::write(server.folder.path().join("server.pem"), pair).expect("a file");
        let path = server.folder.path().join("authority.pem");
        fs::write(&path, authority.pem()).expect("a file");
        server.run();
        Some(Self {
            server,
            authority: path.to_str().expect("UTF-8").to_owned(),
        })
    }

    /// Where RabbitMQ is.
    fn url(&self) -> String {
        format!("amqps://guest:guest@127.0.0.1:{}/%2f", self.server.port)
    }

    /// Where Kafka is, for those who say who they are.
    fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.server.port + 2)
    }

    /// The file of properties of who says to Kafka that it has this password, with these beside that.
    fn properties(&self, password: &str, more: &str) -> String {
        let properties = format!(
            "security.protocol=sasl_ssl\nsasl.mechanism=SCRAM-SHA-512\nsasl.username=mq\nsasl.password={password}\n{more}"
        );
        let path = self.server.folder.path().join("client.properties");
        fs::write(&path, properties).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("randomness")
}

/// A broker of this engine confirms a message, and hands it out.
fn works(name: &str, settings: &[(&str, &str)]) {
    let place = Engine::named(name).place();
    let broker = place.start_with(settings);
    let mut consumer = broker.consumer("topic=jobs group=workers");
    let (mut producer, _) = broker.producer("topic=jobs confirm=1");
    producer.publish(["secret"]);
    assert!(is_confirmed(&mut producer, 1));
    assert_eq!(consumer.work().text, "secret");
    consumer.flush();
    broker.end();
}

/// What a broker does that is not to start.
fn refused(settings: &[(&str, &str)]) -> Output {
    let ports = [("TCP_PORT", "0"), ("HTTP_PORT", "0")];
    run(["serve"], &[&ports[..], settings].concat())
}

/// RabbitMQ's certificate is of an authority that nobody trusts.
pub(crate) fn untrusted_rabbitmq() -> Option<Output> {
    let rabbit = Secure::new("rabbitmq")?;
    let url = rabbit.url();
    Some(refused(&[("STORAGE", "rabbitmq"), ("RABBITMQ_URL", &url)]))
}

#[test]
fn rabbitmq_is_spoken_to_by_tls() {
    let Some(rabbit) = Secure::new("rabbitmq") else {
        return;
    };
    let url = rabbit.url();
    let settings = [
        ("RABBITMQ_URL", url.as_str()),
        ("RABBITMQ_CA_FILE", &rabbit.authority),
    ];
    works("rabbitmq", &settings);
}

#[test]
fn kafka_is_spoken_to_by_tls_and_scram() {
    let Some(kafka) = Secure::new("kafka") else {
        return;
    };
    let (brokers, trust) = (
        kafka.brokers(),
        format!("ssl.ca.location={}\n", kafka.authority),
    );
    let settings = |password: &str, trust: &str| {
        [
            ("STORAGE", "kafka".to_owned()),
            ("KAFKA_BROKERS", brokers.clone()),
            ("KAFKA_CONFIG_FILE", kafka.properties(password, trust)),
        ]
    };
    let right = settings("secret", &trust);
    let right: Vec<_> = right
        .iter()
        .map(|(name, it)| (*name, it.as_str()))
        .collect();
    works("kafka", &right[1..]);
    for (password, trust, says) in [
        ("wrong", trust.as_str(), "uthentication failed"),
        ("secret", "", "certificate verify failed"),
    ] {
        let wrong = settings(password, trust);
        let wrong: Vec<_> = wrong
            .iter()
            .map(|(name, it)| (*name, it.as_str()))
            .collect();
        let output = refused(&wrong);
        let all = String::from_utf8_lossy(&output.stderr);
        let lines = all.lines().filter(|it| it.contains("KAFKA_BROKERS: "));
        let lines: Vec<_> = lines.collect();
        assert_eq!(output.status.code(), Some(2), "{all}");
        assert_eq!(lines.len(), 1, "{all}");
        let refused = "KAFKA_BROKERS: Kafka refuses the connection: ";
        assert!(
            lines[0].contains(refused) && lines[0].contains(says),
            "{all}"
        );
        assert_eq!(all.lines().last(), lines.last().copied(), "{all}");
    }
}
