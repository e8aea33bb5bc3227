//! A QMP connection whose other end sends what it is given.

use super::check_error;
use qmp::{BlockingSession, Endpoint, Notice, Request, Session};
use std::cell::RefCell;
use std::io::Write;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// Never meets it: the peer closes when it has sent everything.
const DEADLINE: Duration = Duration::from_secs(20);
/// Where nothing is asked for so long, an answer was none, and the peer goes on by itself.
const SILENT: Duration = Duration::from_millis(3);
/// What is kept of one line that is not understood, with what is said of its length.
const KEPT: usize = 17 << 10;
/// Requests that are made of a sampler's connection: they fit into the socket, from which nobody
/// takes them.
const ASKED: usize = 64;

thread_local! {
    static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

/// Lines of a peer. It sends the first by itself, and after each request all up to the next that
/// answers; then it closes.
pub fn wire(bytes: &[u8]) {
    RUNTIME.with_borrow_mut(|runtime| {
        let runtime = runtime.get_or_insert_with(|| {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
        });
        runtime.block_on(async {
            let (ours, theirs) = UnixStream::pair().unwrap();
            tokio::join!(session(ours), scripted(theirs, bytes));
        });
    });
    sampler(bytes);
}

async fn scripted(mut stream: UnixStream, bytes: &[u8]) {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let mut request = [0; 4096];
    let mut sent = stream.write_all(lines.next().unwrap_or_default()).await;
    while sent.is_ok()
        && timeout(SILENT, stream.read(&mut request))
            .await
            .map_or(true, |read| read.is_ok_and(|read| read > 0))
    {
        let mut all_sent = true;
        for line in lines.by_ref() {
            sent = stream.write_all(line).await;
            all_sent = false;
            if sent.is_err()
                || line.windows(8).any(|part| part == b"\"return\"" || part == b"\"error\":")
            {
                break;
            }
        }
        if all_sent {
            break;
        }
    }
}

async fn session(stream: UnixStream) {
    let endpoint: Endpoint = "unix:/fuzzed".parse().unwrap();
    let (session, mut notices) =
        match Session::over_unix("source", &endpoint, stream, None, DEADLINE).await {
            Ok(connected) => connected,
            Err(error) => return check_error(&error, "source"),
        };
    assert!(session.greeting().package.len() < KEPT);
    let bounded = |error: &qmp::QmpError| {
        check_error(error, "source");
        assert!(error.to_string().len() < KEPT);
    };
    match session.query_migrate(DEADLINE).await {
        Ok(info) => assert!(info.error_desc.is_none_or(|said| said.len() < 2 * KEPT)),
        Err(error) => bounded(&error),
    }
    match session.schema(DEADLINE).await {
        Ok(schema) => {
            for member in schema.arguments("migrate-set-parameters") {
                let _ = schema.enum_values("migrate-set-parameters", &[&member.name]);
            }
        }
        Err(error) => bounded(&error),
    }
    if let Err(error) =
        session.execute(Request::raw("query-status", serde_json::Value::Null), DEADLINE).await
    {
        bounded(&error);
    }
    drop(session);
    loop {
        match notices.next().await {
            Ok(Notice::Event(event)) => {
                assert!(!serde_json::to_string(&event).unwrap().contains('\n'));
            }
            Ok(Notice::Unknown { line, .. }) => assert!(line.len() < 3 * KEPT),
            Err(end) => return assert!(!end.to_string().is_empty()),
        }
    }
}

/// The same bytes, all at once, for who only samples.
fn sampler(bytes: &[u8]) {
    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    // What does not fit into the socket is not sent.
    let _ = theirs.write(bytes);
    theirs.shutdown(std::net::Shutdown::Write).unwrap();
    let endpoint: Endpoint = "unix:/fuzzed".parse().unwrap();
    let mut connection = match BlockingSession::over_unix("source", &endpoint, ours, DEADLINE) {
        Ok(connection) => connection,
        Err(error) => return check_error(&error, "source"),
    };
    for _ in 0..ASKED {
        if connection.send(br#"{"execute":"query-migrate"}"#).is_err() {
            return;
        }
        match connection.read_line() {
            Ok((line, _)) => assert!(!line.contains(&b'\n')),
            Err(_) => return,
        }
    }
}
