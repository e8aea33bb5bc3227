//! The connection of a sampler: one question, one answer, on a thread of its own.

use super::server::{DEADLINE, GREETING, Peer, Server};
use qmp::{BlockingSession, Endpoint, QmpError};
use serde_json::json;
use std::io;
use std::time::Duration;
use tokio::task::spawn_blocking;

const QUERY: &[u8] = br#"{"execute":"query-migrate"}"#;

/// Runs `client` on a thread with a connection, and `serve` at the other end of it.
async fn with<T: Send + 'static>(
    client: impl FnOnce(BlockingSession) -> T + Send + 'static,
    serve: impl AsyncFnOnce(Peer),
) -> T {
    let server = Server::start();
    let endpoint = server.endpoint.clone();
    let client = spawn_blocking(move || {
        client(BlockingSession::connect("source", &endpoint, DEADLINE).unwrap())
    });
    let serving = async {
        let mut peer = server.accept().await;
        let negotiation = peer.negotiate(GREETING).await;
        assert_eq!((negotiation.arguments, negotiation.id), (json!(null), json!(null)));
        serve(peer).await;
    };
    let (result, ()) = tokio::join!(client, serving);
    result.unwrap()
}

fn line_of(qmp: &mut BlockingSession) -> String {
    String::from_utf8(qmp.read_line().unwrap().0.to_vec()).unwrap()
}

#[tokio::test]
async fn lines_come_as_they_were_sent_however_they_were_cut() {
    let long = format!("{{\"return\": \"{}\"}}", "x".repeat(200 << 10));
    let expected = long.clone();
    let client = move |mut qmp: BlockingSession| {
        qmp.send(QUERY).unwrap();
        let lines = [(); 4].map(|()| line_of(&mut qmp));
        assert_eq!(lines[..3], [r#"{"event": "STOP"}"#, r#"{"return": 1}"#, r#"{"return": 2}"#]);
        assert!(lines[3] == expected, "a line of 200 KiB");
    };
    with(client, async |mut peer| {
        assert_eq!(peer.expect("query-migrate").await.text.as_bytes(), QUERY);
        for byte in "{\"event\": \"STOP\"}\r\n".as_bytes() {
            peer.raw([*byte]).await;
        }
        peer.raw("{\"return\": 1}\r\n{\"return\": 2}\n").await;
        peer.line(&long).await;
    })
    .await;
}

#[tokio::test]
async fn the_end_of_the_connection_is_an_end_even_within_a_line() {
    let client = |mut qmp: BlockingSession| {
        assert_eq!(line_of(&mut qmp), "{\"event\": \"SHUTDOWN\"}");
        qmp.read_line().unwrap_err().kind()
    };
    let kind =
        with(client, async |mut peer| peer.raw("{\"event\": \"SHUTDOWN\"}\r\n{\"retu").await).await;
    assert_eq!(kind, io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_line_without_end_is_refused() {
    let client = |mut qmp: BlockingSession| qmp.read_line().unwrap_err().to_string();
    let flood = async |mut peer: Peer| {
        use tokio::io::AsyncWriteExt;
        // Fails when the client has had enough and closes.
        while peer.stream.write_all(&[b'x'; 1 << 16]).await.is_ok() {}
    };
    insta::assert_snapshot!(with(client, flood).await,
        @"it sent a line of more than 256 KiB, which no QEMU does: it is broken, or means harm");
}

async fn refused(deadline: Duration, serve: impl AsyncFnOnce(&mut Peer)) -> String {
    let server = Server::start();
    let endpoint = server.endpoint.clone();
    let client = spawn_blocking(move || {
        BlockingSession::connect("source", &endpoint, deadline).unwrap_err()
    });
    let serving = async {
        let mut peer = server.accept().await;
        serve(&mut peer).await;
        peer
    };
    let (error, peer) = tokio::join!(client, serving);
    drop(peer);
    let error: QmpError = error.unwrap();
    error.to_string().replace(&server.endpoint.to_string(), "unix:QMP")
}

#[tokio::test]
async fn a_server_that_does_not_greet_is_told_from_one_that_is_no_qmp() {
    let silent = refused(Duration::from_millis(50), async |_| ()).await;
    insta::assert_snapshot!(
        silent,
        @"source: unix:QMP accepted the connection but sent no QMP greeting within 50ms; QMP \
            serves one client a socket, so another client probably holds it. Close that client, or \
            give the VM a second QMP socket (a second `-qmp` option)"
    );
    let monitor = refused(DEADLINE, async |peer| {
        peer.line("QEMU 10.0.2 monitor - type 'help' for more information").await;
    })
    .await;
    insta::assert_snapshot!(
        monitor,
        @"source: unix:QMP does not speak QMP: it sent `QEMU 10.0.2 monitor - type 'help' for more \
            information`. Give the socket of QEMU's `-qmp` option (not the human monitor's, nor \
            the migration socket)"
    );
}

#[tokio::test]
async fn it_works_over_tcp() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint: Endpoint = format!("tcp:{}", listener.local_addr().unwrap()).parse().unwrap();
    let client = spawn_blocking(move || {
        let mut qmp = BlockingSession::connect("source", &endpoint, DEADLINE).unwrap();
        let sent_ns = qmp.send(QUERY).unwrap();
        let (line, arrived) = qmp.read_line().unwrap();
        assert!(arrived.mono_ns >= sent_ns);
        line.to_vec()
    });
    let serve = async {
        let mut peer = Peer::new(listener.accept().await.unwrap().0);
        peer.negotiate(GREETING).await;
        peer.expect("query-migrate").await;
        peer.line(r#"{"return": {}}"#).await;
    };
    let (line, ()) = tokio::join!(client, serve);
    assert_eq!(line.unwrap(), br#"{"return": {}}"#);
}
