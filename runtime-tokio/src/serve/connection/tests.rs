//! What a connection hands to the core, and what it keeps back.

use super::*;
use crate::serve::observe::{Observed, Observer};
use message_queue_core::wire::FrameBatch;
use message_queue_core::{Broker, Config, ConnId, Now, Overflow};
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

/// A network that is not listened to: connections are made by hand.
struct Network;

impl Listener for Network {
    type Stream = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
        pending().await
    }
}

/// The inputs that the core was told, in words.
#[derive(Clone, Default)]
struct Inputs(Arc<Mutex<Vec<(ConnId, String)>>>);

impl Inputs {
    fn of(&self, conn: ConnId) -> Vec<String> {
        let inputs = self.0.lock().unwrap();
        let of = inputs.iter().filter(|(of, _)| *of == conn);
        of.map(|(_, input)| input.clone()).collect()
    }
}

impl Observer for Inputs {
    fn observe(&mut self, observed: Observed<'_>, _: Now) {
        if let Observed::Input(conn, input) = observed {
            self.0.lock().unwrap().push((conn, format!("{input:?}")));
        }
    }

    fn step_ended(&mut self, _: &Broker, _: Now) {}
}

/// A connection that has sent `bytes`, which arrive together. Returns the client's end.
async fn connect(
    driver: &Arc<Driver>,
    bytes: &[u8],
) -> (ConnId, Connection<Network>, DuplexStream) {
    let (stream, mut client) = duplex(4096);
    client.write_all(bytes).await.unwrap();
    let stream = Stream::new(stream);
    let (peer, late) = driver.open(([127, 0, 0, 1], 1).into(), stream.clone());
    let config = DecoderConfig::default();
    let conn = peer.conn;
    let frame_timeout = Duration::from_secs(30);
    let connection = Connection::new(
        Arc::clone(driver),
        peer,
        stream,
        config,
        late,
        frame_timeout,
    );
    (conn, connection, client)
}

#[tokio::test]
async fn a_batch_behind_the_role_line_of_a_connection_that_is_refused_does_not_reach_the_core() {
    // One place for a producer, and one that is reserved.
    let driver = Arc::new(Driver::new(Config {
        overflow: Overflow::Block,
        max_connections: 2,
        ..Config::default()
    }));
    let inputs = Inputs::default();
    driver.core().set_observer(Box::new(inputs.clone()));
    let mut bytes = b"PRODUCER\n".to_vec();
    bytes.extend_from_slice(FrameBatch::encode(["a"]).unwrap().as_bytes());

    let (taken, connection, client) = connect(&driver, &bytes).await;
    drop(tokio::spawn(connection.run()));
    tokio::task::yield_now().await;
    let (refused, connection, mut other) = connect(&driver, &bytes).await;
    connection.run().await;
    assert_eq!(other.read(&mut [0]).await.unwrap(), 0);

    let told = inputs.of(taken);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[2].starts_with("Batch"), "{told:?}");
    assert_eq!(
        inputs.of(refused),
        ["Opened", "Role(Producer)", "Sealed { written: 0 }"]
    );
    drop(client);
}
