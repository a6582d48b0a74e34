//! What a write and an end mean, on streams that take little.

use super::super::testing::Certificates;
use super::*;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};
use std::pin::pin;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

type Stream = TlsStream<DuplexStream>;

/// A server's and a client's end of a stream that holds so many bytes in each direction.
async fn connected(room: usize) -> (Stream, Stream) {
    let certificates = Certificates::new();
    let (server, client) = duplex(room);
    let session = ServerConnection::new(certificates.server().config()).unwrap();
    let mut server = TlsStream::new(server, Connection::from(session));
    let tls = certificates.client();
    let (shaken, client) = tokio::join!(server.handshake(&[]), tls.connect("localhost:1", client));
    shaken.unwrap();
    (server, client.unwrap())
}

/// The same, where the client speaks by one suite only.
async fn connected_by(room: usize, suite: SupportedCipherSuite) -> (Stream, Stream) {
    let certificates = Certificates::new();
    let (server, client) = duplex(room);
    let session = ServerConnection::new(certificates.server().config()).unwrap();
    let mut server = TlsStream::new(server, Connection::from(session));
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(certificates.path("ca.pem")).unwrap();
    roots.add(ca).unwrap();
    let provider = CryptoProvider {
        cipher_suites: vec![suite],
        ..ring::default_provider()
    };
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[suite.version()])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut client = TlsStream::new(client, Connection::from(session));
    let (server_has, client_has) = tokio::join!(server.handshake(&[]), client.handshake(&[]));
    server_has.unwrap();
    client_has.unwrap();
    (server, client)
}

/// Polls a write of `bytes` once.
async fn try_write(stream: &mut Stream, bytes: &[u8]) -> Option<usize> {
    poll_fn(|cx| {
        Poll::Ready(match Pin::new(&mut *stream).poll_write(cx, bytes) {
            Poll::Ready(written) => Some(written.unwrap()),
            Poll::Pending => None,
        })
    })
    .await
}

/// Reads until nothing more is there, or to the end. Returns how the stream ended, if it did.
async fn read_what_is_there(stream: &mut Stream, bytes: &mut Vec<u8>) -> Option<io::Result<()>> {
    let mut read = pin!(stream.read_to_end(bytes));
    poll_fn(|cx| {
        Poll::Ready(match read.as_mut().poll(cx) {
            Poll::Ready(ended) => Some(ended.map(|_| ())),
            Poll::Pending => None,
        })
    })
    .await
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|it| (it % 251) as u8).collect()
}

#[tokio::test]
async fn what_is_written_arrives_whole_however_little_the_stream_holds() {
    for room in [1, 100, 20_000, 1 << 20] {
        let (mut server, mut client) = connected(room).await;
        let sent = pattern(300_000);
        let write = async {
            server.write_all(&sent).await.unwrap();
            server.shutdown().await.unwrap();
        };
        let mut received = Vec::new();
        let (read, ()) = tokio::join!(client.read_to_end(&mut received), write);
        assert_eq!(read.unwrap(), sent.len(), "room for {room}");
        assert!(received == sent, "room for {room}");
    }
}

#[tokio::test]
async fn a_write_is_told_what_its_peer_can_read_and_no_more() {
    for room in [1_000, 16_384, 17_000, 40_000, 60_000, 70_000] {
        let (mut server, mut client) = connected(room).await;
        let sent = pattern(200_000);
        let mut written = 0;
        while let Some(bytes) = try_write(&mut server, &sent[written..]).await {
            assert!(bytes > 0);
            written += bytes;
        }
        let mut received = Vec::new();
        let ended = read_what_is_there(&mut client, &mut received).await;
        assert!(ended.is_none(), "{ended:?}");
        assert_eq!(received.len(), written, "room for {room}");
        assert!(received == sent[..written]);
    }
}

#[tokio::test]
async fn whatever_the_version_and_the_cipher_a_write_is_told_whole_records_and_no_more() {
    let suites = ring::default_provider().cipher_suites.into_iter();
    let suites = suites.filter(|it| {
        // The certificate is of an elliptic curve.
        let name = format!("{:?}", it.suite());
        name.starts_with("TLS13") || name.contains("ECDSA")
    });
    let mut tried = 0;
    for suite in suites {
        for records in [1, 4] {
            // Around the end of a record, whatever is added to it.
            for spare in (0..=40).step_by(4).chain([21, 22, 29]) {
                let room = records * RECORD + spare;
                let (mut server, mut client) = connected_by(room, suite).await;
                let sent = pattern(100_000);
                let mut written = 0;
                while let Some(bytes) = try_write(&mut server, &sent[written..]).await {
                    written += bytes;
                }
                let mut received = Vec::new();
                read_what_is_there(&mut client, &mut received).await;
                assert_eq!(received.len(), written, "{suite:?}, room for {room}");
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 6 * 2 * 14);
}

#[tokio::test]
async fn a_write_that_was_given_up_is_not_gone_on_with_at_the_end() {
    let (mut server, mut client) = connected(20_000).await;
    let sent = pattern(50_000);
    let mut written = 0;
    while let Some(bytes) = try_write(&mut server, &sent[written..]).await {
        written += bytes;
    }
    assert!(written < sent.len());
    server.shutdown().await.unwrap();
    drop(server);
    let mut received = Vec::new();
    let error = client.read_to_end(&mut received).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(received.len(), written);
}

#[tokio::test]
async fn an_end_waits_until_it_can_be_marked() {
    let (mut server, mut client) = connected(20_000).await;
    let sent = pattern(20_000 - 22 - 3_616);
    server.write_all(&sent).await.unwrap();
    let filling = pattern(3_616 - 22);
    server.write_all(&filling).await.unwrap();
    let mut shutdown = Box::pin(server.shutdown());
    let first = poll_fn(|cx| Poll::Ready(shutdown.as_mut().poll(cx).is_pending())).await;
    assert!(first, "there is no room for the mark");
    let mut received = Vec::new();
    let (read, ended) = tokio::join!(client.read_to_end(&mut received), shutdown);
    ended.unwrap();
    assert_eq!(read.unwrap(), sent.len() + filling.len());
}

#[tokio::test]
async fn a_stream_that_is_cut_is_no_orderly_end() {
    let (mut server, mut client) = connected(1 << 20).await;
    client.write_all(b"hello").await.unwrap();
    // The stream below ends, without the mark.
    client.below_mut().shutdown().await.unwrap();
    assert_eq!(server.look_ahead().unwrap(), Some(true));
    let mut received = Vec::new();
    let error = server.read_to_end(&mut received).await.unwrap_err();
    assert_eq!(received, b"hello");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(error.to_string().contains("was cut"), "{error}");
    assert!(server.look_ahead().is_err());
}

#[tokio::test]
async fn what_is_there_is_seen_without_reading_it() {
    let (mut server, mut client) = connected(1 << 20).await;
    assert_eq!(server.look_ahead().unwrap(), None);
    client.write_all(&pattern(100_000)).await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(server.look_ahead().unwrap(), Some(true));
    let mut received = vec![0; 100_000];
    server.read_exact(&mut received).await.unwrap();
    assert!(received == pattern(100_000));
    assert_eq!(server.look_ahead().unwrap(), Some(false));
    assert_eq!(server.read(&mut received).await.unwrap(), 0);
}

#[tokio::test]
async fn bytes_that_were_changed_on_their_way_end_the_stream() {
    let (mut server, mut client) = connected(1 << 20).await;
    client.write_all(b"hello").await.unwrap();
    client
        .below_mut()
        .write_all(&[
            0x17, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0,
        ])
        .await
        .unwrap();
    let mut received = Vec::new();
    let error = server.read_to_end(&mut received).await.unwrap_err();
    assert_eq!(received, b"hello");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_connection_stops_before_its_keys_are_used_up() {
    let (mut server, mut client) = connected(1 << 20).await;
    server.most_records = 3;
    for _ in 0..3 {
        server.write_all(b"hello").await.unwrap();
    }
    let error = server.write_all(b"more").await.unwrap_err();
    assert!(error.to_string().contains("used up its keys"), "{error}");
    let mut received = [0; 15];
    client.read_exact(&mut received).await.unwrap();
}

#[tokio::test]
async fn a_write_that_does_not_wait_takes_what_there_is_room_for() {
    let (mut server, mut client) = connected(1 << 20).await;
    let sent = pattern(100_000);
    let mut room = 40_000;
    let mut write = |below: &mut DuplexStream, slices: &[IoSlice<'_>]| {
        let most = room.min(slices[0].len());
        if most == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        room -= most;
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match Pin::new(below).poll_write(&mut cx, &slices[0][..most]) {
            Poll::Ready(written) => written,
            Poll::Pending => panic!("there is room"),
        }
    };
    let halves = [IoSlice::new(&sent[..50_000]), IoSlice::new(&sent[50_000..])];
    // Two records of 16 KiB are out, and a part of the third.
    assert_eq!(server.write_by(&halves, &mut write).unwrap(), 32_768);
    let error = server
        .write_by(&[IoSlice::new(&sent[32_768..])], &mut write)
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    server.write_all(&sent[32_768..]).await.unwrap();
    let mut received = vec![0; sent.len()];
    client.read_exact(&mut received).await.unwrap();
    assert!(received == sent);
}
