//! What `revive` refuses: wherever the guest runs, may run, or goes on by itself, nothing is sent
//! that changes anything.

use super::server::{Peer, served};
use migrate::step::revive;
use serde_json::{Value, json};

/// The state of a migration and of a VM.
type Stands = (&'static str, &'static str);

/// Answers by these, one for each look and the last for all more; gives what was asked.
async fn answers(mut peer: Peer, looks: &[Stands], releases: bool) -> Vec<String> {
    let (mut names, mut look) = (Vec::new(), 0);
    while let Some(asked) = peer.next().await {
        let (status, run_state) = looks[look.min(looks.len() - 1)];
        let answer = match asked.name.as_str() {
            "query-migrate" => json!({ "status": status }),
            "query-status" => {
                look += 1;
                json!({ "status": run_state, "running": run_state == "running" })
            }
            "query-migrate-capabilities" => {
                json!([{ "capability": "release-ram", "state": releases }])
            }
            _ => Value::Null,
        };
        peer.answer(&asked, answer).await;
        names.push(asked.name);
    }
    names
}

/// The refusal.
async fn refused(source: &[Stands], destination: Stands, releases: bool) -> String {
    let (_server, (source_session, _notices, source_peer)) = served().await;
    let (_other, (destination_session, _more, destination_peer)) = served().await;
    let there = [destination];
    let stepping = async {
        let refused = revive(&source_session, &destination_session).await.unwrap_err().to_string();
        drop((source_session, destination_session));
        refused
    };
    let (said, asked, asked_there) = tokio::join!(
        stepping,
        answers(source_peer, source, releases),
        answers(destination_peer, &there, false)
    );
    assert!(
        asked.iter().chain(&asked_there).all(|name| name.starts_with("query-")),
        "{asked:?} {asked_there:?}"
    );
    said
}

const STANDS: Stands = ("device", "finish-migrate");
const SENT: Stands = ("postcopy-active", "finish-migrate");

#[tokio::test]
async fn a_destination_that_has_the_guest_or_may_get_it_keeps_it() {
    for there in [
        ("failed", "running"),
        ("active", "inmigrate"),
        ("postcopy-active", "inmigrate"),
        ("failed", "paused"),
    ] {
        let said = refused(&[STANDS], there, false).await;
        assert!(
            said.contains(&format!(
                "the destination is in state {}, run state {}",
                there.0, there.1
            )),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_source_that_is_done_or_runs_or_has_not_all_of_it_is_left_alone() {
    let there = ("failed", "inmigrate");
    for (source, releases, word) in [
        (("completed", "postmigrate"), false, "never to be started here"),
        (("device", "running"), false, "the guest runs on the source"),
        (("failed", "postmigrate"), false, "run state postmigrate"),
        (SENT, true, "given memory away"),
    ] {
        let said = refused(&[source], there, releases).await;
        assert!(said.contains(word), "{said}");
    }
}

#[tokio::test]
async fn a_source_that_goes_on_by_itself_does() {
    let said = refused(&[STANDS, ("failed", "running")], ("failed", "inmigrate"), false).await;
    assert!(said.contains("it goes on by itself"), "{said}");
}
