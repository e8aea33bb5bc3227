//! What a peer that means harm costs in memory: 64 MiB of what it likes, against the QMP reader.
//!
//! Each kind of harm has a child process of its own (this program again) that connects, is greeted
//! by the other child as by a QEMU, and then sent that harm until the connection ends or all is
//! sent. It asks what a run asks: `query-migrate`, the schema, a value of any shape; and it takes
//! no event unless said otherwise. Growth is of its VmHWM (reset once it is connected) over its
//! VmRSS then, in MiB.
//!
//! Target: growth ≤ 8 MiB, each.
//!
//! `--mib N` (64).

mod support;

use qmp::{Endpoint, Session};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;
use support::memory::{Memory, reset_peak};
use support::{Arguments, Result, machine, say, verdict};

const GREETING: &[u8] = b"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 2, \"minor\": 0, \
    \"major\": 10}, \"package\": \"\"}, \"capabilities\": [\"oob\"]}}\r\n";
const DEADLINE: Duration = Duration::from_secs(60);

/// Its name, and whether somebody takes the events.
const HARMS: [(&str, bool); 9] = [
    ("one line without an end", false),
    ("lines of 1 MiB that are one text", false),
    ("answers of 1 MiB, one text", false),
    ("answers of 60,000 values", false),
    ("answers nested without end", false),
    ("errors of 1 MiB", false),
    ("events that nobody takes", false),
    ("events of 30 KiB that are taken", true),
    ("empty lines, and lines of one byte", true),
];

fn main() -> ExitCode {
    support::main(run)
}

fn run(arguments: &Arguments) -> Result<()> {
    let mib = arguments.number("--mib", 64, 8)?;
    if let (Some(socket), Some(harm)) = (arguments.value("--serve"), arguments.value("--harm")) {
        return serve(Path::new(socket), harm.parse()?, mib << 20);
    }
    if let (Some(socket), Some(harm)) = (arguments.value("--suffer"), arguments.value("--harm")) {
        return suffer(Path::new(socket), harm.parse()?);
    }
    say(&format!("hostile: {mib} MiB of each kind of harm, against the QMP reader"));
    say(&machine());
    say("");
    for (harm, (name, _)) in HARMS.iter().enumerate() {
        let directory = tempfile::tempdir()?;
        let socket = directory.path().join("qmp");
        let child = |role: &str| {
            let mut command = Command::new(std::env::current_exe().unwrap_or_default());
            command.arg(role).arg(&socket).args([
                "--harm",
                &harm.to_string(),
                "--mib",
                &mib.to_string(),
            ]);
            command
        };
        let mut peer = child("--serve").spawn()?;
        let said = child("--suffer").output()?;
        peer.wait()?;
        let text = String::from_utf8(said.stdout)?;
        let (grown, end) = text
            .trim()
            .split_once(' ')
            .ok_or_else(|| format!("{name}: nothing was measured: {text}"))?;
        let grown: f64 = grown.parse()?;
        verdict(name, &format!("{grown:.1} MiB"), "≤ 8 MiB", grown <= 8.0);
        say(&format!("      {end}"));
    }
    Ok(())
}

/// The other child: connects, asks, and says how much it grew and how the connection ended.
fn suffer(socket: &Path, harm: usize) -> Result<()> {
    let takes = HARMS.get(harm).is_some_and(|(_, takes)| *takes);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        while !socket.exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (session, mut notices) =
            Session::connect("source", &Endpoint::Unix(socket.to_owned()), None, DEADLINE).await?;
        let before = Memory::now()?;
        reset_peak()?;
        let asking = async {
            loop {
                if let Err(error) = session.query_migrate(DEADLINE).await
                    && is_end(&error)
                {
                    break error.to_string();
                }
                let schema = session.schema(DEADLINE).await;
                drop(schema);
                let value: std::result::Result<serde_json::Value, _> =
                    session.ask("query-status", serde_json::Value::Null, DEADLINE).await;
                drop(value);
            }
        };
        let taking = async {
            while takes && notices.next().await.is_ok() {}
            std::future::pending::<()>().await;
        };
        let end = tokio::select! {
            end = asking => end,
            () = taking => String::new(),
        };
        let grown = (Memory::now()?.peak - before.now) * 1e6 / f64::from(1 << 20);
        say(&format!("{grown:.2} {end}"));
        Ok(())
    })
}

fn is_end(error: &qmp::QmpError) -> bool {
    matches!(error, qmp::QmpError::Closed { .. })
}

/// A peer that greets like a QEMU and then does harm, until all is sent or the other end closes.
fn serve(socket: &Path, harm: usize, total: usize) -> Result<()> {
    let listener = UnixListener::bind(socket)?;
    let (mut stream, _) = listener.accept()?;
    stream.write_all(GREETING)?;
    let mut request = [0; 4096];
    let _ = stream.read(&mut request)?;
    stream.write_all(b"{\"return\": {}, \"id\": 1}\r\n")?;
    let _ = do_harm(&mut stream, harm, total);
    Ok(())
}

fn do_harm(stream: &mut UnixStream, harm: usize, total: usize) -> std::io::Result<()> {
    let long = "x".repeat((1 << 20) - 100);
    let mut sent = 0;
    let mut id = 1;
    while sent < total {
        let answers = (2..=5).contains(&harm);
        if answers {
            id = next_id(stream, id)?;
        }
        let text = match harm {
            0 => "x".repeat(1 << 20),
            1 => format!("{{\"unknown\": \"{long}\"}}\n"),
            2 => format!("{{\"return\": \"{long}\", \"id\": {id}}}\n"),
            3 => format!("{{\"return\": [{}1], \"id\": {id}}}\n", "1,".repeat(60_000)),
            4 => format!("{{\"return\": {}", "[".repeat(1 << 20)),
            5 => format!(
                "{{\"error\": {{\"class\": \"GenericError\", \"desc\": \"{long}\"}}, \"id\": \
                    {id}}}\n"
            ),
            6 => "{\"event\":\"A\"}\n".repeat(1000),
            7 => format!("{{\"event\": \"A\", \"data\": [{}1]}}\n", "1,".repeat(15_000)),
            _ => "\n\nx\n".repeat(1000),
        };
        stream.write_all(text.as_bytes())?;
        sent += text.len();
    }
    Ok(())
}

/// The id of the next request, which comes in one piece.
fn next_id(stream: &mut UnixStream, last: u32) -> std::io::Result<u32> {
    let mut request = [0; 4096];
    let read = stream.read(&mut request)?;
    if read == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let value: serde_json::Value = serde_json::from_slice(&request[..read]).unwrap_or_default();
    Ok(value["id"].as_u64().and_then(|id| u32::try_from(id).ok()).unwrap_or(last + 1))
}
