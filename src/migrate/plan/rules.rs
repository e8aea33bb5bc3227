//! What does not go together, measured on 7.2.22, 10.0.2 and 11.1.3: every capability alone, every pair, every triple that
//! keeps its members' needs. QEMU's own checks are in `migrate_caps_check` (migration/options.c; migration.c in 7.2).
//!
//! A version between the measured ones that differs is not a danger: QEMU checks the set itself when it is set, atomically.

use super::{Support, Uri};
use base::Side;
use qmp::QemuVersion;
use std::collections::BTreeMap;

/// Two capabilities that a range of versions does not take together.
struct Conflict {
    pair: (&'static str, &'static str),
    from: QemuVersion,
    below: QemuVersion,
    why: &'static str,
}

const ALWAYS: QemuVersion = QemuVersion::new(0, 0, 0);
const STILL: QemuVersion = QemuVersion::new(u32::MAX, 0, 0);

const CONFLICTS: &[Conflict] = &[
    Conflict {
        pair: ("postcopy-ram", "multifd"),
        from: ALWAYS,
        below: QemuVersion::new(8, 0, 0),
        why: "7.2 accepts it and loses the guest: the destination aborts after `completed` (yank_unregister_instance, 6 of 6 runs)",
    },
    Conflict {
        pair: ("postcopy-ram", "multifd"),
        from: QemuVersion::new(8, 0, 0),
        below: QemuVersion::new(10, 1, 0),
        why: "10.0 and its neighbours refuse it (`Postcopy is not yet compatible with multifd`); 11.1 can",
    },
    Conflict {
        pair: ("postcopy-ram", "x-ignore-shared"),
        from: ALWAYS,
        below: STILL,
        why: "QEMU refuses it (`Postcopy is not compatible with ignore-shared`)",
    },
    Conflict {
        pair: ("postcopy-ram", "mapped-ram"),
        from: ALWAYS,
        below: STILL,
        why: "a file cannot be asked for pages (`Mapped-ram migration is incompatible with postcopy`)",
    },
    Conflict {
        pair: ("xbzrle", "multifd"),
        from: QemuVersion::new(9, 0, 0),
        below: STILL,
        why: "multifd channels don't encode deltas (`Multifd is not compatible with xbzrle`)",
    },
    Conflict {
        pair: ("xbzrle", "mapped-ram"),
        from: ALWAYS,
        below: STILL,
        why: "QEMU refuses it (`Mapped-ram migration is incompatible with xbzrle`)",
    },
    Conflict {
        pair: ("auto-converge", "dirty-limit"),
        from: ALWAYS,
        below: STILL,
        why: "both throttle the guest (`dirty-limit conflicts with auto-converge`); take one",
    },
    Conflict {
        pair: ("compress", "multifd"),
        from: ALWAYS,
        below: STILL,
        why: "QEMU refuses it (`Multifd is not compatible with compress`)",
    },
];

/// A capability that QEMU refuses unless another is on.
const NEEDS: &[(&str, &str)] = &[
    ("postcopy-preempt", "postcopy-ram"),
    ("zero-copy-send", "multifd"),
    ("switchover-ack", "return-path"),
];

/// What may be on beside background-snapshot.
const BESIDE_SNAPSHOT: &[&str] =
    &["background-snapshot", "events", "x-ignore-shared", "mapped-ram"];

/// When capabilities came and went, for the message (facts/qapi.md §6.1).
const CAME: &[(&str, &str)] = &[
    ("background-snapshot", "6.0"),
    ("zero-copy-send", "7.1"),
    ("postcopy-preempt", "7.1"),
    ("switchover-ack", "8.1"),
    ("dirty-limit", "8.1"),
    ("mapped-ram", "9.0"),
];
const WENT: &[(&str, &str)] = &[("compress", "9.1"), ("block", "9.1"), ("zero-blocks", "11")];

/// What QEMU refuses beside TLS, and its words: only when `migrate` is asked for, in the second case.
const NOT_WITH_TLS: &[(&str, &str)] = &[
    ("zero-copy-send", "Zero copy only available for non-compressed non-TLS multifd migration"),
    ("mapped-ram", "Cannot use TLS with mapped-ram"),
];

/// Reasons why `wanted` cannot be on `side`, with what is on already.
pub(super) fn check(
    side: Side,
    support: &Support,
    wanted: &BTreeMap<String, bool>,
    uri: &Uri,
    tls: bool,
) -> Vec<String> {
    let mut reasons = Vec::new();
    for name in wanted.keys().filter(|name| !support.capabilities.contains_key(*name)) {
        reasons.push(unknown_capability(side, support, name));
    }
    let mut on = support.capabilities.clone();
    // What it does not know is reported above, once; no rule about it says more.
    on.extend(
        wanted
            .iter()
            .filter(|(name, _)| support.capabilities.contains_key(*name))
            .map(|(name, state)| (name.clone(), *state)),
    );
    let is_on = |name: &str| on.get(name) == Some(&true);

    for conflict in CONFLICTS {
        let (first, second) = conflict.pair;
        if is_on(first)
            && is_on(second)
            && (conflict.from..conflict.below).contains(&support.version)
        {
            let version = support.version;
            reasons.push(format!(
                "{side}: {second} does not go with {first} on this QEMU ({version}): {}",
                conflict.why
            ));
        }
    }
    for (name, needed) in NEEDS {
        // The needed one may belong to the other side only in name: zero-copy-send is the source's, multifd both's.
        if is_on(name) && !is_on(needed) {
            reasons.push(format!("{side}: {name} needs {needed}: turn that on too"));
        }
    }
    for (name, words) in NOT_WITH_TLS.iter().filter(|(name, _)| tls && is_on(name)) {
        reasons
            .push(format!("{side}: {name} does not go with TLS (`{words}`): turn one of them off"));
    }
    if is_on("background-snapshot")
        && let Some(other) =
            on.iter().find(|(name, state)| **state && !BESIDE_SNAPSHOT.contains(&name.as_str()))
    {
        reasons.push(format!(
            "{side}: background-snapshot goes with no other capability; {} is on",
            other.0
        ));
    }
    if is_on("background-snapshot") && support.run_state == "prelaunch" {
        reasons.push(format!(
            "{side}: background-snapshot of a VM that was never started aborts QEMU (7.2, 10.0, 11.1); start it first"
        ));
    }
    if support.listens {
        // 10.0 and 11.1 refuse these late; 7.2 accepts them and hangs or dies.
        for name in ["multifd", "postcopy-preempt"] {
            if is_on(name) && support.capabilities.get(name) != Some(&true) {
                reasons.push(format!(
                    "{side}: {name} cannot be set once it listens; start it with `-incoming defer`"
                ));
            }
        }
    }
    reasons.extend(check_uri(side, uri, &is_on));
    reasons.sort_by_key(|reason| reason.contains("has no capability"));
    reasons
}

fn check_uri(side: Side, uri: &Uri, is_on: &dyn Fn(&str) -> bool) -> Vec<String> {
    let scheme = match side {
        Side::Source => uri.scheme(),
        Side::Destination => Uri::scheme_of(&uri.incoming),
    };
    let mut reasons = Vec::new();
    let several_channels = matches!(scheme, "tcp" | "unix" | "vsock" | "");
    for name in ["multifd", "postcopy-preempt"] {
        let into_file = name == "multifd" && scheme == "file" && is_on("mapped-ram");
        if is_on(name) && !several_channels && !into_file {
            reasons
                .push(format!("{side}: {name} needs several channels, which `{scheme}:` cannot give: use tcp:, unix: or vsock:"));
        }
    }
    if is_on("mapped-ram") && scheme != "file" {
        reasons.push(format!(
            "{side}: mapped-ram needs a seekable `file:` URI; `{scheme}:` is a stream"
        ));
    }
    for name in ["postcopy-ram", "return-path"] {
        if is_on(name) && scheme == "file" {
            reasons.push(format!(
                "{side}: {name} needs an answer from the destination, which a file cannot give"
            ));
        }
    }
    reasons
}

fn unknown_capability(side: Side, support: &Support, name: &str) -> String {
    let version = support.version;
    let look_up = |table: &[(&str, &str)]| {
        table.iter().find(|(known, _)| *known == name).map(|(_, version)| version.to_string())
    };
    let hint = if let Some(came) = look_up(CAME) {
        format!(": it came with {came}")
    } else if let Some(went) = look_up(WENT) {
        format!(": it was removed in {went}")
    } else {
        nearest(name, support.capabilities.keys().map(String::as_str))
    };
    format!("{side}: this QEMU ({version}) has no capability `{name}`{hint}")
}

/// `; did you mean ...?` for a name that is close to one that exists.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    known
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .min()
        .filter(|(distance, _)| *distance <= 1 + name.len() / 4)
        .map(|(_, known)| format!("; did you mean `{known}`?"))
        .unwrap_or_default()
}

/// Pairs that this QEMU knows and does not take together, each with its reason: for `inspect`.
#[must_use]
pub fn combinations(support: &Support) -> Vec<(String, String, String)> {
    CONFLICTS
        .iter()
        .filter(|c| (c.from..c.below).contains(&support.version))
        .filter(|c| {
            support.capabilities.contains_key(c.pair.0)
                && support.capabilities.contains_key(c.pair.1)
        })
        .map(|c| (c.pair.0.to_owned(), c.pair.1.to_owned(), c.why.to_owned()))
        .collect()
}
