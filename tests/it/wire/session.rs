//! The connection under everything that a peer can do to it.

use super::server::{DEADLINE, GREETING, GREETING_WITHOUT_OOB, Peer, Server, connected};
use base::clock::Stamp;
use nix::sys::stat::fstat;
use qmp::{Direction, Endpoint, Notice, Notices, QmpError, Request, Session, Tap};
use serde_json::{Value, json};
use std::fmt::Debug;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio::time::timeout;

fn status() -> Request {
    Request::raw("query-status", Value::Null)
}

/// An error as a user sees it, with the path of the socket made the same every time.
fn text(error: &QmpError, endpoint: &Endpoint) -> String {
    error.to_string().replace(&endpoint.to_string(), "unix:QMP")
}

fn refused<T: Debug>(result: Result<T, QmpError>) -> QmpError {
    result.unwrap_err()
}

async fn next_notice(notices: &mut Notices) -> Notice {
    timeout(DEADLINE, notices.next()).await.expect("no notice comes").unwrap()
}

async fn next_event(notices: &mut Notices) -> qmp::Event {
    match next_notice(notices).await {
        Notice::Event(event) => event,
        Notice::Unknown { line, .. } => panic!("not understood: {line}"),
    }
}

async fn next_unknown(notices: &mut Notices) -> String {
    match next_notice(notices).await {
        Notice::Unknown { line, .. } => line,
        Notice::Event(event) => panic!("{event:?}"),
    }
}

/// The session answers one more question.
async fn assert_alive(session: &Session, peer: &mut Peer) {
    let serve = async {
        let asked = peer.expect("query-status").await;
        peer.answer(&asked, json!("alive")).await;
    };
    let (answer, ()) = tokio::join!(session.execute(status(), DEADLINE), serve);
    assert_eq!(answer.unwrap(), "\"alive\"");
}

#[tokio::test]
async fn a_late_reply_disturbs_no_later_call() {
    let (session, _notices, mut peer) = connected().await;
    let late =
        session.execute(Request::raw("query-block", Value::Null), Duration::from_millis(1)).await;
    insta::assert_snapshot!(
        late.unwrap_err(),
        @"source: no answer to query-block within 1ms; QEMU may still carry it out. Is the process \
            stopped or overloaded?"
    );
    let late = peer.expect("query-block").await;
    let serve = async {
        let first = peer.expect("query-status").await;
        let second = peer.expect("query-name").await;
        peer.answer(&late, json!("late")).await;
        peer.answer(&second, json!("second")).await;
        peer.answer(&first, json!("first")).await;
    };
    let (first, second, ()) = tokio::join!(
        session.execute(status(), DEADLINE),
        session.execute(Request::raw("query-name", Value::Null), DEADLINE),
        serve
    );
    assert_eq!((first.unwrap().as_str(), second.unwrap().as_str()), ("\"first\"", "\"second\""));
}

#[tokio::test]
async fn a_caller_may_drop_its_call_at_any_time() {
    let (session, _notices, mut peer) = connected().await;
    let call = tokio::spawn({
        let session = session.clone();
        async move { session.execute(Request::raw("query-block", Value::Null), DEADLINE).await }
    });
    let dropped = peer.expect("query-block").await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    peer.answer(&dropped, json!("nobody waits")).await;
    assert_alive(&session, &mut peer).await;
}

#[tokio::test]
async fn a_reply_to_nobody_is_let_go() {
    let (session, _notices, mut peer) = connected().await;
    peer.line(r#"{"return": {}, "id": 4711}"#).await;
    peer.line(r#"{"error": {"class": "GenericError", "desc": "?"}, "id": 4712}"#).await;
    assert_alive(&session, &mut peer).await;
}

#[tokio::test]
async fn an_error_reply_carries_class_and_text() {
    let (session, _notices, mut peer) = connected().await;
    let serve = async {
        let asked = peer.expect("query-status").await;
        peer.refuse(&asked, "CommandNotFound", "The command query-status has not been found").await;
    };
    let (answer, ()) = tokio::join!(session.execute(status(), DEADLINE), serve);
    let error = answer.unwrap_err();
    assert!(error.is_refusal());
    insta::assert_snapshot!(
        error,
        @"source: QEMU refused query-status: The command query-status has not been found \
            (CommandNotFound)"
    );
}

#[tokio::test]
async fn an_error_without_id_is_kept_and_disturbs_no_waiter() {
    let (session, mut notices, mut peer) = connected().await;
    let complaint =
        r#"{"error": {"class": "GenericError", "desc": "JSON parse error, expecting value"}}"#;
    let serve = async {
        let asked = peer.expect("query-status").await;
        peer.line(complaint).await;
        peer.answer(&asked, json!("still")).await;
    };
    let (answer, ()) = tokio::join!(session.execute(status(), DEADLINE), serve);
    assert_eq!(answer.unwrap(), "\"still\"");
    assert_eq!(next_unknown(&mut notices).await, complaint);
}

#[tokio::test]
async fn events_that_no_schema_knows_arrive_all_the_same() {
    let (session, mut notices, mut peer) = connected().await;
    peer.line(concat!(
        r#"{"timestamp": {"seconds": 3, "microseconds": 5}, "#,
        r#""event": "WARP", "data": {"factor": 9}}"#
    ))
    .await;
    peer.line(concat!(
        r#"{"timestamp": {"seconds": 3, "microseconds": 5}, "#,
        r#""event": "MIGRATION", "data": {"status": "warp"}}"#
    ))
    .await;
    peer.line(r#"{"event": "NO_TIME"}"#).await;
    peer.line(r#"{"timestamp": {"seconds": -1, "microseconds": -1}, "event": "NO_CLOCK"}"#).await;
    let seen = |event: qmp::Event| (event.name, event.data, event.qemu_us);
    assert_eq!(
        seen(next_event(&mut notices).await),
        ("WARP".to_owned(), json!({"factor": 9}), Some(3_000_005))
    );
    assert_eq!(
        seen(next_event(&mut notices).await),
        ("MIGRATION".to_owned(), json!({"status": "warp"}), Some(3_000_005))
    );
    assert_eq!(seen(next_event(&mut notices).await), ("NO_TIME".to_owned(), Value::Null, None));
    assert_eq!(seen(next_event(&mut notices).await), ("NO_CLOCK".to_owned(), Value::Null, None));
    assert_alive(&session, &mut peer).await;
}

#[tokio::test]
async fn lines_that_are_no_messages_are_kept_and_the_session_lives() {
    let (session, mut notices, mut peer) = connected().await;
    let both = r#"{"return": {}, "error": {"class": "GenericError", "desc": ""}, "id": 7}"#;
    let textual = r#"{"return": 1, "id": "ours are numbers"}"#;
    for line in ["not json", "17", "{}", r#"{"return": {}}"#, r#"{"id": 7}"#, both, textual] {
        peer.line(line).await;
        assert_eq!(next_unknown(&mut notices).await, line);
    }
    peer.raw(b"\xff\xfe\r\n").await;
    assert_eq!(next_unknown(&mut notices).await, "\u{fffd}\u{fffd}");
    assert_alive(&session, &mut peer).await;
}

#[tokio::test]
async fn lines_may_come_in_any_pieces() {
    let (session, mut notices, mut peer) = connected().await;
    for byte in "{\"event\": \"BYTE_BY_BYTE\"}\r\n".as_bytes() {
        peer.raw([*byte]).await;
        tokio::task::yield_now().await;
    }
    peer.raw("\r\n\n{\"event\": \"TWO\"}\r\n{\"event\": \"AT_ONCE\"}\n\n{\"event\": \"AND_A").await;
    for name in ["BYTE_BY_BYTE", "TWO", "AT_ONCE"] {
        assert_eq!(next_event(&mut notices).await.name, name);
    }
    peer.raw("_HALF\"}\n").await;
    assert_eq!(next_event(&mut notices).await.name, "AND_A_HALF");
    assert_alive(&session, &mut peer).await;
}

#[tokio::test]
async fn long_lines_arrive_whole() {
    let (session, _notices, mut peer) = connected().await;
    for length in [120 << 10, 500 << 10, (1 << 20) - 100] {
        let long = "x".repeat(length);
        let serve = async {
            let asked = peer.expect("query-status").await;
            peer.answer(&asked, json!(long)).await;
        };
        let (answer, ()) = tokio::join!(session.execute(status(), DEADLINE), serve);
        assert!(answer.unwrap().trim_matches('"') == long, "{length} bytes");
    }
}

#[tokio::test]
async fn a_line_without_end_ends_the_session_and_no_more_of_it_is_taken() {
    let (session, mut notices, mut peer) = connected().await;
    let mut taken = 0;
    let flood = async {
        // Until it is closed, which may be seen here before it is there.
        while peer.stream.write_all(&vec![b'x'; 1 << 20]).await.is_ok() {
            taken += 1;
            assert!(taken < 64, "64 MiB were taken");
        }
    };
    let (closed, ()) = tokio::join!(notices.next(), flood);
    let closed = closed.unwrap_err();
    insta::assert_snapshot!(closed, @"it sent a line of more than 1 MiB, which no QEMU does: it is \
        broken, or means harm");
    // What a socket buffers comes on top of the 1.
    assert!(taken < 6, "{taken} MiB were taken");
    assert!(matches!(session.execute(status(), DEADLINE).await, Err(QmpError::Closed { .. })));
}

#[tokio::test]
async fn the_end_of_the_connection_reaches_every_caller_with_its_reason() {
    let (session, mut notices, mut peer) = connected().await;
    let mut calls = JoinSet::new();
    for _ in 0..3 {
        let session = session.clone();
        calls.spawn(async move { session.execute(status(), DEADLINE).await });
    }
    for _ in 0..3 {
        peer.expect("query-status").await;
    }
    peer.line(r#"{"event": "SHUTDOWN"}"#).await;
    peer.raw(r#"{"event": "CUT_OFF_IN_THE_MI"#).await;
    drop(peer);
    for call in calls.join_all().await {
        insta::allow_duplicates! {
            insta::assert_snapshot!(
                call.unwrap_err(),
                @"source: the QMP connection ended before query-status was answered: QEMU closed \
                    it (has the process ended?)"
            );
        }
    }
    assert_eq!(next_event(&mut notices).await.name, "SHUTDOWN");
    insta::assert_snapshot!(notices.next().await.unwrap_err(),
        @"QEMU closed it (has the process ended?)");
    assert!(notices.next().await.is_err(), "asked again, it says so again");
    insta::assert_snapshot!(
        session.execute(status(), DEADLINE).await.unwrap_err(),
        @"source: the QMP connection ended before query-status was answered: QEMU closed it (has \
            the process ended?)"
    );
}

/// Connects to a server that does what it is told instead of greeting.
async fn refused_connection(deadline: Duration, serve: impl AsyncFnOnce(&mut Peer)) -> String {
    let server = Server::start();
    let serving = async {
        let mut peer = server.accept().await;
        serve(&mut peer).await;
        peer
    };
    let (connected, peer) =
        tokio::join!(Session::connect("source", &server.endpoint, None, deadline), serving);
    drop(peer);
    text(&refused(connected), &server.endpoint)
}

#[tokio::test]
async fn a_server_that_does_not_greet_is_told_from_one_that_is_no_qmp() {
    let silent = refused_connection(Duration::from_millis(50), async |_| ()).await;
    insta::assert_snapshot!(
        silent,
        @"source: unix:QMP accepted the connection but sent no QMP greeting within 50ms; QMP \
            serves one client a socket, so another client probably holds it. Close that client, or \
            give the VM a second QMP socket (a second `-qmp` option)"
    );
    let monitor = refused_connection(DEADLINE, async |peer| {
        peer.line("QEMU 10.0.2 monitor - type 'help' for more information").await;
    });
    insta::assert_snapshot!(
        monitor.await,
        @"source: unix:QMP does not speak QMP: it sent `QEMU 10.0.2 monitor - type 'help' for more \
            information`. Give the socket of QEMU's `-qmp` option (not the human monitor's, nor \
            the migration socket)"
    );
    let event =
        refused_connection(DEADLINE, async |peer| peer.line(r#"{"event": "STOP"}"#).await).await;
    assert_eq!(
        event,
        "source: unix:QMP does not speak QMP: it sent `{\"event\": \"STOP\"}`. Give the socket of \
         QEMU's `-qmp` option (not the human monitor's, nor the migration socket)"
    );
}

#[tokio::test]
async fn a_server_that_closes_before_it_greets_cannot_be_connected_to() {
    let server = Server::start();
    let close = async { drop(server.accept().await) };
    let (connected, ()) =
        tokio::join!(Session::connect("source", &server.endpoint, None, DEADLINE), close);
    insta::assert_snapshot!(
        text(&refused(connected), &server.endpoint),
        @"source: cannot connect to unix:QMP"
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_what_to_do() {
    let server = Server::start();
    let endpoint = server.endpoint.clone();
    let connect = || Session::connect("destination", &endpoint, None, DEADLINE);
    let Endpoint::Unix(path) = &endpoint else { unreachable!() };
    drop(server);
    insta::assert_snapshot!(
        text(&refused(connect().await), &endpoint),
        @"destination: cannot connect to unix:QMP. There is no such socket: is QEMU running, with \
            `-qmp unix:PATH,server=on,wait=off`?"
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(path.file_name().unwrap());
    drop(tokio::net::UnixListener::bind(&path).unwrap());
    let endpoint = Endpoint::Unix(path);
    let refused = refused(Session::connect("destination", &endpoint, None, DEADLINE).await);
    insta::assert_snapshot!(
        text(&refused, &endpoint),
        @"destination: cannot connect to unix:QMP. Nothing listens there (a plain file, or the \
            socket of a QEMU that is gone); start QEMU with `-qmp ...,server=on,wait=off`"
    );
}

#[tokio::test]
async fn a_negotiation_that_is_refused_is_no_session() {
    let server = Server::start();
    let serve = async {
        let mut peer = server.accept().await;
        peer.line(GREETING).await;
        let asked = peer.expect("qmp_capabilities").await;
        peer.refuse(&asked, "CommandNotFound", "no").await;
        peer.expect_end().await;
    };
    let connect =
        async { refused(Session::connect("source", &server.endpoint, None, DEADLINE).await) };
    let (error, ()) = tokio::join!(connect, serve);
    insta::assert_snapshot!(error, @"source: QEMU refused qmp_capabilities: no (CommandNotFound)");
}

#[tokio::test]
async fn out_of_band_overtakes_where_it_is_offered() {
    let server = Server::start();
    let serve = async {
        let mut peer = server.accept().await;
        let negotiation = peer.negotiate(GREETING).await;
        assert_eq!(negotiation.arguments, json!({"enable": ["oob"]}));
        peer
    };
    let (session, mut peer) =
        tokio::join!(Session::connect("source", &server.endpoint, None, DEADLINE), serve);
    let (session, _notices) = session.unwrap();
    let slow = tokio::spawn({
        let session = session.clone();
        async move { session.execute(status(), DEADLINE).await }
    });
    let pending = peer.expect("query-status").await;
    assert!(!pending.out_of_band);
    let pause = Request::typed(&qapi::qmp::migrate_pause {});
    let serve = async {
        let asked = peer.expect("migrate-pause").await;
        assert!(asked.out_of_band);
        peer.answer(&asked, json!({})).await;
    };
    let (paused, ()) = tokio::join!(session.execute(pause, DEADLINE), serve);
    assert_eq!(paused.unwrap(), "{}");
    assert!(!slow.is_finished());
    peer.answer(&pending, json!("at last")).await;
    assert_eq!(slow.await.unwrap().unwrap(), "\"at last\"");
}

#[tokio::test]
async fn without_the_offer_the_same_command_goes_in_band() {
    let server = Server::start();
    let serve = async {
        let mut peer = server.accept().await;
        let negotiation = peer.negotiate(GREETING_WITHOUT_OOB).await;
        assert_eq!(negotiation.arguments, Value::Null);
        let asked = peer.expect("migrate-pause").await;
        assert!(!asked.out_of_band);
        peer.answer(&asked, json!({})).await;
    };
    let calls = async {
        let (session, _notices) =
            Session::connect("source", &server.endpoint, None, DEADLINE).await.unwrap();
        assert_eq!(
            (session.greeting().version.to_string().as_str(), session.side()),
            ("6.0.0", "source")
        );
        session.execute(Request::typed(&qapi::qmp::migrate_pause {}), DEADLINE).await.unwrap();
    };
    tokio::join!(calls, serve);
}

#[tokio::test]
async fn three_hundred_calls_at_once_get_their_own_answers() {
    let (session, _notices, mut peer) = connected().await;
    let mut calls = JoinSet::new();
    for number in 0..300 {
        let session = session.clone();
        calls.spawn(async move {
            let answer =
                session.execute(Request::raw("echo", json!({"number": number})), DEADLINE).await;
            assert_eq!(answer.unwrap(), number.to_string());
        });
    }
    let mut asked = Vec::new();
    for _ in 0..300 {
        asked.push(peer.expect("echo").await);
    }
    for asked in asked.iter().rev() {
        peer.answer(asked, asked.arguments["number"].clone()).await;
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
}

#[tokio::test]
async fn what_is_urgent_goes_before_what_is_in_the_background() {
    let (session, _notices, mut peer) = connected().await;
    let mut calls = JoinSet::new();
    for number in 0..3 {
        let session = session.clone();
        calls.spawn(async move {
            session
                .execute_in_background(Request::raw("sample", json!({"n": number})), DEADLINE)
                .await
        });
    }
    let first = peer.expect("sample").await;
    calls.spawn({
        let session = session.clone();
        async move { session.execute(Request::raw("migrate_cancel", Value::Null), DEADLINE).await }
    });
    // It does not wait for the sample's answer, and the other samples do.
    let urgent = peer.expect("migrate_cancel").await;
    peer.answer(&first, json!({})).await;
    let second = peer.expect("sample").await;
    peer.answer(&urgent, json!({})).await;
    peer.answer(&second, json!({})).await;
    let third = peer.expect("sample").await;
    peer.answer(&third, json!({})).await;
    assert!(calls.join_all().await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn of_what_waits_together_the_urgent_goes_first() {
    let (session, _notices, mut peer) = connected().await;
    // On one thread nothing is written before all six are in their queues.
    let mut calls = JoinSet::new();
    let background = session.clone();
    calls.spawn(async move {
        background.execute_in_background(Request::raw("sample", Value::Null), DEADLINE).await
    });
    for _ in 0..5 {
        let session = session.clone();
        calls.spawn(async move { session.execute(status(), DEADLINE).await });
    }
    for name in
        ["query-status", "query-status", "query-status", "query-status", "query-status", "sample"]
    {
        let asked = peer.expect(name).await;
        peer.answer(&asked, json!({})).await;
    }
    assert!(calls.join_all().await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_background_call_that_was_dropped_does_not_hold_up_the_next() {
    let (session, _notices, mut peer) = connected().await;
    let given_up = session
        .execute_in_background(Request::raw("sample", Value::Null), Duration::from_millis(1))
        .await;
    assert!(matches!(given_up, Err(QmpError::Deadline { .. })));
    let first = peer.expect("sample").await;
    let next = tokio::spawn(async move { session.execute_in_background(status(), DEADLINE).await });
    peer.answer(&first, json!({})).await;
    let second = peer.expect("query-status").await;
    peer.answer(&second, json!("next")).await;
    assert_eq!(next.await.unwrap().unwrap(), "\"next\"");
}

#[tokio::test]
async fn a_descriptor_travels_with_its_command() {
    let (session, _notices, mut peer) = connected().await;
    let file = tempfile::tempfile().unwrap();
    let there = fstat(&file).unwrap();
    let request = Request::raw("getfd", json!({"fdname": "stream"}));
    let serve = async {
        let fds = peer.read_with_fds().await;
        let asked = peer.expect("getfd").await;
        peer.answer(&asked, json!({})).await;
        (fds, asked.arguments)
    };
    let (answer, (fds, arguments)) =
        tokio::join!(session.execute_with_fd(request, OwnedFd::from(file), DEADLINE), serve);
    assert_eq!(answer.unwrap(), "{}");
    assert_eq!(arguments, json!({"fdname": "stream"}));
    let [fd] = fds.as_slice() else { panic!("{fds:?}") };
    let here = nix::sys::stat::stat(format!("/proc/self/fd/{fd}").as_str()).unwrap();
    assert_eq!((here.st_dev, here.st_ino), (there.st_dev, there.st_ino));
    assert_alive(&session, &mut peer).await;
}

#[tokio::test]
async fn over_tcp_everything_works_but_passing_descriptors() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint: Endpoint = format!("tcp:{}", listener.local_addr().unwrap()).parse().unwrap();
    let serve = async {
        let mut peer = Peer::new(listener.accept().await.unwrap().0);
        peer.negotiate(GREETING).await;
        let asked = peer.expect("query-status").await;
        peer.status("active").await;
        peer.answer(&asked, json!({"status": "running"})).await;
        peer.expect_end().await;
    };
    let calls = async {
        let (session, mut notices) =
            Session::connect("destination", &endpoint, None, DEADLINE).await.unwrap();
        let file = tempfile::tempfile().unwrap();
        let request = Request::raw("getfd", json!({"fdname": "stream"}));
        let passed = session.execute_with_fd(request, OwnedFd::from(file), DEADLINE).await;
        insta::assert_snapshot!(
            passed.unwrap_err(),
            @"destination: getfd needs a file descriptor passed along, which only a unix QMP \
                socket can do"
        );
        assert_eq!(session.execute(status(), DEADLINE).await.unwrap(), r#"{"status":"running"}"#);
        assert_eq!(next_event(&mut notices).await.data, json!({"status": "active"}));
    };
    tokio::join!(calls, serve);
}

#[tokio::test]
async fn the_tap_sees_every_line_both_ways_in_order_of_time() {
    let lines: Arc<Mutex<Vec<(Direction, Stamp, String)>>> = Arc::default();
    let tap = Tap(Arc::new({
        let lines = lines.clone();
        move |direction, stamp: Stamp, line: &[u8]| {
            lines.lock().unwrap().push((
                direction,
                stamp,
                String::from_utf8_lossy(line).into_owned(),
            ));
        }
    }));
    let server = Server::start();
    let serve = async {
        let mut peer = server.accept().await;
        peer.negotiate(GREETING).await;
        let asked = peer.expect("query-status").await;
        peer.line("{\"event\":\"STOP\"}").await;
        peer.answer(&asked, json!(1)).await;
    };
    let calls = async {
        let (session, _notices) =
            Session::connect("source", &server.endpoint, Some(tap), DEADLINE).await.unwrap();
        session.execute(status(), DEADLINE).await.unwrap();
    };
    tokio::join!(calls, serve);
    let lines = lines.lock().unwrap();
    assert!(lines.is_sorted_by_key(|(_, stamp, _)| stamp.mono_ns), "{lines:?}");
    let shown: Vec<String> =
        lines.iter().map(|(direction, _, line)| format!("{direction:?} {line}")).collect();
    assert_eq!(shown[0], format!("Received {}", super::server::GREETING));
    insta::assert_snapshot!(shown[1..].join("\n"), @r#"
    Sent {"execute":"qmp_capabilities","arguments":{"enable":["oob"]},"id":1}
    Received {"return":{},"id":1}
    Sent {"execute":"query-status","id":2}
    Received {"event":"STOP"}
    Received {"return":1,"id":2}
    "#);
}

#[tokio::test]
async fn the_connection_ends_with_the_last_handle() {
    let (session, notices, mut peer) = connected().await;
    let clone = session.clone();
    drop((session, notices));
    assert_alive(&clone, &mut peer).await;
    drop(clone);
    peer.expect_end().await;
}

#[tokio::test]
async fn a_qemu_may_connect_to_us_as_well() {
    let server = Server::start();
    let Endpoint::Unix(path) = &server.endpoint else { unreachable!() };
    let qemu = async {
        let mut peer = Peer::new(tokio::net::UnixStream::connect(path).await.unwrap());
        peer.negotiate(GREETING).await;
        peer
    };
    let (session, mut peer) =
        tokio::join!(Session::accept("source", &server.listener, None, DEADLINE), qemu);
    let (session, _notices) = session.unwrap();
    assert_alive(&session, &mut peer).await;
}

#[tokio::test]
async fn query_migrate_reads_what_it_knows_and_says_what_it_cannot() {
    let (session, _notices, mut peer) = connected().await;
    let serve = async {
        let asked = peer.expect("query-migrate").await;
        peer.answer(&asked, json!({"status": "warp", "ram": {"transferred": 7, "flux": 1}})).await;
        let asked = peer.expect("query-migrate").await;
        peer.answer(&asked, json!([])).await;
    };
    let calls = async {
        let info = session.query_migrate(DEADLINE).await.unwrap();
        let ram = info.ram.unwrap();
        assert_eq!((info.status.unwrap().as_str(), ram.transferred), ("warp", Some(7)));
        insta::assert_snapshot!(
            session.query_migrate(DEADLINE).await.unwrap_err(),
            @"source: the answer to query-migrate cannot be read: invalid type: sequence, expected \
                an object at line 1 column 0"
        );
    };
    tokio::join!(calls, serve);
}
