//! Certificates that are no good, on either side, and those that take the place of others.

use crate::authority::{self, Authority, Pair};
use crate::world::{PATIENCE, Wanted, World};
use message_queue_core::{Config, DeliveryMode};
use message_queue_tests::run_book::tables;
use message_queue_tokio::access::tls::{ClientAuth, ClientTls, Failure, Refused};
use message_queue_tokio::client::{Consumer, Producer};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, date_time_ymd};
use tokio::time::timeout;

/// What the run book calls the client that speaks TLS to a plain port.
pub(crate) const PLAIN_PORT: &str = "the port is the plain one";

fn with(
    mut params: CertificateParams,
    change: impl FnOnce(&mut CertificateParams),
) -> CertificateParams {
    change(&mut params);
    params
}

fn expired(params: CertificateParams) -> CertificateParams {
    with(params, |it| it.not_after = date_time_ymd(2020, 1, 1))
}

fn not_yet_valid(params: CertificateParams) -> CertificateParams {
    with(params, |it| it.not_before = date_time_ymd(2200, 1, 1))
}

/// A broker with this certificate, and this authority for its clients.
async fn with_pair(authority: Authority, pair: Pair) -> World {
    let wanted = Wanted {
        pair: Some(pair),
        ..Wanted::default()
    };
    World::start_with(authority, wanted).await
}

/// What a client of this authority says of a broker with this certificate.
async fn refusal(authority: Authority, pair: Pair) -> String {
    let world = with_pair(authority, pair).await;
    let tls = world.client();
    let error = Producer::connect_with(&world.tls, Some(&tls)).await;
    let error = error.expect_err("it is no good").to_string();
    world
        .until(|it| it.failed(Failure::RefusedByClient) == 1)
        .await;
    let start = format!("cannot connect to {}: ", world.tls);
    let text = error.strip_prefix(&start).expect(&error).to_owned();
    world.drain().await;
    text
}

#[tokio::test]
async fn a_client_says_what_is_wrong_with_a_brokers_certificate() {
    let authority = Authority::new;
    let issued = |params: CertificateParams| {
        let authority = Authority::new();
        let pair = authority.issue(&params);
        (authority, pair)
    };
    let of_client = with(authority::server(), |it| {
        it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let own = with(authority::authority("the broker"), |it| {
        it.subject_alt_names = authority::server().subject_alt_names;
    });
    let named = authority::named(["other.example", "192.0.2.7"]);
    // The row about a plain port is where ports are tested.
    let rows = &tables("TLS")[1];
    let mut cases = vec![
        (
            "the certificate is of another authority, or vouches for itself",
            (authority(), authority::self_signed(&authority::server())),
        ),
        (
            "the other authority has the same name, as those of `tls init` have",
            (authority(), authority().issue(&authority::server())),
        ),
        ("it is for other names", issued(named)),
        ("it has expired", issued(expired(authority::server()))),
        (
            "it is not valid yet",
            issued(not_yet_valid(authority::server())),
        ),
        ("it is for clients only", issued(of_client)),
        ("it is the authority's own", issued(own)),
    ]
    .into_iter();
    for row in rows {
        if row.set_up == PLAIN_PORT {
            continue;
        }
        let (set_up, (authority, pair)) = cases.next().expect(row.set_up);
        assert_eq!(set_up, row.set_up);
        row.assert_told(&refusal(authority, pair).await);
    }
    assert!(cases.next().is_none(), "not in the run book");
}

#[tokio::test]
async fn a_chain_leads_to_the_authority() {
    let authority = Authority::new();
    let pair = authority.issue_by_another(&authority::server());
    let world = with_pair(authority, pair).await;
    let tls = world.client();
    let producer = Producer::connect_with(&world.tls, Some(&tls)).await;
    producer.unwrap().finish().await.unwrap();
    // For an address as for a name.
    let by_address = world.tls.replace("localhost", "127.0.0.1");
    let producer = Producer::connect_with(&by_address, Some(&tls)).await;
    producer.unwrap().finish().await.unwrap();
    world.drain().await;
}

#[tokio::test]
async fn a_client_without_a_good_certificate_is_told_why() {
    let world = World::start(Wanted {
        client_auth: ClientAuth::Required,
        ..Wanted::default()
    })
    .await;
    let of = || authority::client("encoder", "spiffe://example.org/encoder");
    let issue = |params: &CertificateParams| world.authority.issue(params);
    let rows = &tables("TLS")[2];
    let cases = [
        ("it has no certificate", None),
        ("its certificate has expired", Some(issue(&expired(of())))),
        (
            "its certificate is of another authority",
            Some(authority::self_signed(&of())),
        ),
        (
            "its certificate is a server's",
            Some(issue(&authority::server())),
        ),
    ];
    assert_eq!(rows.len(), cases.len());
    for ((set_up, pair), row) in cases.iter().zip(rows) {
        assert_eq!(*set_up, row.set_up);
        let tls = match pair {
            Some(pair) => world.client_with(pair),
            None => world.client(),
        };
        let told = match Consumer::connect_with(&world.tls, Some(&tls)).await {
            Ok(mut consumer) => timeout(PATIENCE, consumer.next())
                .await
                .unwrap()
                .expect_err("it is turned away")
                .to_string(),
            Err(error) => error.to_string(),
        };
        assert!(told.ends_with(row.message()), "{told}");
    }
    assert_eq!(world.failed(Failure::NoCertificate), 1);
    assert_eq!(world.failed(Failure::BadCertificate), 3);
    let tls = world.client_with(&issue(&of()));
    let producer = Producer::connect_with(&world.tls, Some(&tls)).await;
    producer.unwrap().finish().await.unwrap();
    world.drain().await;
}

#[tokio::test]
async fn a_certificate_is_renewed_without_touching_connections_that_stand() {
    let world = World::start(Wanted {
        config: Config {
            delivery: DeliveryMode::Queue,
            ..Config::default()
        },
        ..Wanted::default()
    })
    .await;
    let old = world.client();
    let mut standing = Consumer::connect_with(&world.tls, Some(&old))
        .await
        .unwrap();

    let another = Authority::new();
    let keep = |pair: &Pair| world.authority.keep("server", pair);
    keep(&another.issue(&authority::server()));
    world.server_tls.reload().unwrap();
    let error = Producer::connect_with(&world.tls, Some(&old)).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("the certificate is "), "{error}");
    let ca = another.path("ca.pem");
    let new = ClientTls::new(Some(&ca), None, None, None).unwrap();
    let mut producer = Producer::connect_with(&world.tls, Some(&new))
        .await
        .unwrap();
    producer.send("hello").await.unwrap();
    producer.finish().await.unwrap();
    assert_eq!(standing.next().await.unwrap().unwrap(), "hello");

    // What is no good changes nothing, and is told once.
    let refused = || match world.server_tls.reload().unwrap_err() {
        Refused::File(error) => error.to_string(),
        other @ (Refused::Same | Refused::Again) => panic!("{other:?}"),
    };
    let other_key = another.issue(&authority::server());
    world.authority.write("server.key", &other_key.key);
    assert!(refused().contains("the key does not fit the certificate in "));
    keep(&another.issue(&expired(authority::server())));
    assert!(refused().contains("the certificate has expired"));
    world.authority.write("server.pem", "nothing of use");
    assert!(refused().contains("holds no certificate"));
    let before = world.server_tls.reload_failures();
    world.server_tls.reload_and_tell();
    world.server_tls.reload_and_tell();
    assert_eq!(world.server_tls.reload_failures(), before + 1);
    let producer = Producer::connect_with(&world.tls, Some(&new)).await;
    producer.unwrap().finish().await.unwrap();

    keep(&another.issue(&authority::server()));
    world.server_tls.reload().unwrap();
    assert!(matches!(world.server_tls.reload(), Err(Refused::Same)));
    world.drain().await;
}
