//! A peer that means harm: whatever it sends, what we hold of it is bounded, and what we say of it
//! says which side and which bound.

use super::server::{DEADLINE, GREETING, Peer, Server, connected};
use crate::harness::{Scratch, Switchover};
use base::text::escape_control;
use qmp::{BlockingSession, Notice, Request, Schema, Session};
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use tokio::io::AsyncWriteExt;

/// Sends this after the negotiation, until the other end closes; how the session ended.
async fn ended_by(sent: Vec<u8>) -> String {
    let (session, mut notices, mut peer) = connected().await;
    // It may close while we write.
    let sending = tokio::spawn(async move { drop(peer.stream.write_all(&sent).await) });
    let end = loop {
        if let Err(end) = notices.next().await {
            break end.to_string();
        }
    };
    let error = session
        .execute(Request::raw("query-status", json!(null)), DEADLINE)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        format!("source: the QMP connection ended before query-status was answered: {end}")
    );
    sending.await.unwrap();
    end
}

#[tokio::test]
async fn a_line_without_an_end_ends_the_connection() {
    let end = ended_by(vec![b'x'; 64 << 20]).await;
    assert_eq!(
        end,
        "it sent a line of more than 1 MiB, which no QEMU does: it is broken, or means harm"
    );
}

#[tokio::test]
async fn a_line_that_is_nested_too_deep_ends_the_connection() {
    let deep =
        format!(r#"{{"return":{}{},"id":1}}"#, "[".repeat(100_000), "]".repeat(100_000)) + "\n";
    assert_eq!(
        ended_by(deep.into_bytes()).await,
        "it sent a line nested more than 64 deep, which no QEMU does: it is broken, or means harm"
    );
}

#[tokio::test]
async fn a_line_of_too_many_values_ends_the_connection() {
    let wide = format!(r#"{{"return":[{}1],"id":1}}"#, "1,".repeat(100_000)) + "\n";
    assert_eq!(
        ended_by(wide.into_bytes()).await,
        "it sent a line of more than 65536 values, which no QEMU does: it is broken, or means harm"
    );
}

#[tokio::test]
async fn events_that_nobody_takes_end_the_connection_and_those_before_are_given() {
    let (session, mut notices, mut peer) = connected().await;
    let flood = async {
        let event = br#"{"timestamp":{"seconds":1,"microseconds":2},"event":"STOP"}
"#;
        while peer.stream.write_all(event).await.is_ok() {}
    };
    // Nobody takes any: the answer does not come, for the connection ends.
    let asked = session.execute(Request::raw("query-status", json!(null)), DEADLINE);
    let (error, ()) = tokio::join!(asked, flood);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("source: ") && error.contains("more than 2 MiB of them wait"),
        "{error}"
    );
    let mut taken = 0;
    while let Ok(notice) = notices.next().await {
        assert!(matches!(notice, Notice::Event(event) if event.name == "STOP"));
        taken += 1;
    }
    assert!((2000..20_000).contains(&taken), "{taken}");
}

#[tokio::test]
async fn events_that_are_taken_may_be_as_many_as_they_like() {
    let (session, mut notices, mut peer) = connected().await;
    let sending = tokio::spawn(async move {
        // In as few pieces as the socket takes: so they come when we were held up.
        peer.raw("{\"event\":\"STOP\"}\n".repeat(50_000)).await;
    });
    let mut taken = 0;
    while notices.next().await.is_ok() {
        taken += 1;
    }
    sending.await.unwrap();
    drop(session);
    assert_eq!(taken, 50_000);
}

#[tokio::test]
async fn what_is_kept_of_texts_and_of_unknown_lines_has_an_end() {
    let (session, mut notices, mut peer) = connected().await;
    let long = "a".repeat(300 << 10);
    let refusing = async {
        let asked = peer.expect("query-status").await;
        peer.refuse(&asked, &long, &long).await;
        peer.line(&format!("unknown {long}")).await;
        peer.event("STOP", json!({ "data": long })).await;
    };
    let asked = session.execute(Request::raw("query-status", json!(null)), DEADLINE);
    let (error, ()) = tokio::join!(asked, refusing);
    let error = error.unwrap_err().to_string();
    assert!(
        error.starts_with("source: QEMU refused query-status: aaa") && error.len() < 9000,
        "{}",
        error.len()
    );
    assert!(error.contains("… (303104 more bytes)"), "{error}");
    for begins in ["unknown aaa", "{\"timestamp\""] {
        let Ok(Notice::Unknown { line, .. }) = notices.next().await else {
            panic!("it is no message that we know")
        };
        assert!(
            line.starts_with(begins) && line.len() < 17_000 && line.ends_with(" bytes in all)"),
            "{}",
            line.len()
        );
    }
}

#[tokio::test]
async fn a_real_schema_is_far_from_every_bound() {
    let (session, _notices, mut peer) = connected().await;
    let answer = include_str!("../../../fixtures/qmp/11.1/schema.json").trim();
    let answering = async {
        let asked = peer.expect("query-qmp-schema").await;
        peer.line(&format!(r#"{{"return": {answer}, "id": {}}}"#, asked.id)).await;
    };
    let (schema, ()) = tokio::join!(session.schema(DEADLINE), answering);
    assert!(schema.unwrap().has_command("migrate"));
    assert!(Schema::parse(answer).has_command("migrate"));
}

#[tokio::test]
async fn a_greeting_that_is_none_is_shown_short_and_without_what_a_terminal_obeys() {
    for greeting in [
        format!("\x1b]0;owned\x07{}\n", "x".repeat(500 << 10)),
        format!("{}{}\n", "[".repeat(5000), "]".repeat(5000)),
    ] {
        let server = Server::start();
        let greeted = async {
            let mut peer: Peer = server.accept().await;
            drop(peer.stream.write_all(greeting.as_bytes()).await);
            peer
        };
        let (result, _peer) = tokio::join!(
            Session::connect("destination", &server.endpoint, None, DEADLINE),
            greeted
        );
        let error = result.unwrap_err().to_string();
        assert!(
            error.starts_with("destination: ")
                && error.contains("does not speak QMP")
                && error.len() < 500,
            "{error}"
        );
        assert!(!escape_control(&error).chars().any(char::is_control), "{error}");
    }
}

/// The sampler's wire, in the same way.
#[test]
fn a_sampler_s_line_without_an_end_ends_it() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let flooding = std::thread::spawn(move || {
        let mut request = [0; 100];
        theirs.write_all(format!("{GREETING}\r\n").as_bytes()).unwrap();
        assert!(theirs.read(&mut request).unwrap() > 0);
        theirs.write_all(b"{\"return\": {}}\r\n").unwrap();
        drop(theirs.write_all(&vec![b'x'; 64 << 20]));
    });
    let endpoint = "unix:/scripted".parse().unwrap();
    let mut connection = BlockingSession::over_unix("source", &endpoint, ours, DEADLINE).unwrap();
    let error = connection.read_line().unwrap_err().to_string();
    assert_eq!(
        error,
        "it sent a line of more than 256 KiB, which no QEMU does: it is broken, or means harm"
    );
    drop(connection);
    flooding.join().unwrap();
}

/// A run directory of somebody else's: what it says is shown, and obeyed by no terminal.
#[test]
fn a_run_directory_sends_nothing_to_the_terminal_but_text() {
    let scratch = Scratch::new();
    scratch.file("scenario.toml", r#""\u001b]0;owned\u0007\u009b2J\u202e" = 1"#);
    let done = Switchover::new(&scratch, &["diagnose", "."]).run();
    done.assert_code(2);
    assert!(done.stderr.contains(r"\u001b]0;owned\u0007\u009b2J\u202e"), "{}", done.stderr);
    assert!(!done.stderr.chars().any(|c| c.is_control() && c != '\n'), "{:?}", done.stderr);
}
