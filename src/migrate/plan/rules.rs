//! Combinations of capabilities and transports that a QEMU refuses, or that it accepts and then
//! loses the guest.
//!
//! Measured on 7.2.22, 10.0.2 and 11.1.3: every capability by itself, every pair, and every triple
//! whose members' requirements are met. QEMU's own checks are in `migrate_caps_check`
//! (migration/options.c; migration.c in 7.2).
//!
//! A rule ends at [`UNTESTED`]: from there on QEMU decides, because a newer version may lift the
//! limit, and it checks the whole set atomically when the set is made. Only a rule about something
//! that QEMU accepts and that then loses the guest may go further.

use super::{Support, Uri};
use base::Side;
use qmp::QemuVersion;
use std::collections::BTreeMap;

/// Two capabilities that the versions from `from` to before `below` do not support together.
struct Conflict {
    pair: (&'static str, &'static str),
    from: QemuVersion,
    below: QemuVersion,
    why: &'static str,
}

const FIRST: QemuVersion = QemuVersion::new(0, 0, 0);

/// The first version above those that were tested (11.1). Development builds of 11.2 report
/// 11.1.50 and more.
const UNTESTED: QemuVersion = QemuVersion::new(11, 1, 50);

const CONFLICTS: &[Conflict] = &[
    Conflict {
        pair: ("postcopy-ram", "multifd"),
        from: FIRST,
        below: QemuVersion::new(8, 0, 0),
        why: "7.2 accepts it and loses the guest: the destination aborts after `completed` \
              (yank_unregister_instance, 6 of 6 runs)",
    },
    Conflict {
        pair: ("postcopy-ram", "multifd"),
        from: QemuVersion::new(8, 0, 0),
        below: QemuVersion::new(10, 1, 0),
        why: "QEMU 8.0 to 10.0 refuses it (`Postcopy is not yet compatible with multifd`); \
              11.1 supports it",
    },
    Conflict {
        pair: ("postcopy-ram", "x-ignore-shared"),
        from: FIRST,
        below: UNTESTED,
        why: "QEMU refuses it (`Postcopy is not compatible with ignore-shared`)",
    },
    Conflict {
        pair: ("postcopy-ram", "mapped-ram"),
        from: FIRST,
        below: UNTESTED,
        why: "pages cannot be requested from a file (`Mapped-ram migration is incompatible with postcopy`)",
    },
    Conflict {
        pair: ("xbzrle", "multifd"),
        from: QemuVersion::new(9, 0, 0),
        below: UNTESTED,
        why: "multifd channels do not encode deltas (`Multifd is not compatible with xbzrle`)",
    },
    Conflict {
        pair: ("xbzrle", "mapped-ram"),
        from: FIRST,
        below: UNTESTED,
        why: "QEMU refuses it (`Mapped-ram migration is incompatible with xbzrle`)",
    },
    Conflict {
        pair: ("auto-converge", "dirty-limit"),
        from: FIRST,
        below: UNTESTED,
        why: "both throttle the guest (`dirty-limit conflicts with auto-converge`); take one",
    },
    Conflict {
        pair: ("compress", "multifd"),
        from: FIRST,
        below: UNTESTED,
        why: "QEMU refuses it (`Multifd is not compatible with compress`)",
    },
];

/// A capability that QEMU refuses unless another is on.
const NEEDS: &[(&str, &str)] = &[
    ("postcopy-preempt", "postcopy-ram"),
    ("zero-copy-send", "multifd"),
    ("switchover-ack", "return-path"),
];

/// Capabilities that QEMU allows together with background-snapshot.
const BESIDE_SNAPSHOT: &[&str] =
    &["background-snapshot", "events", "x-ignore-shared", "mapped-ram"];

/// The versions that added and removed capabilities, for the message (docs/qemu-notes.md).
const ADDED_IN: &[(&str, &str)] = &[
    ("background-snapshot", "6.0"),
    ("zero-copy-send", "7.1"),
    ("postcopy-preempt", "7.1"),
    ("switchover-ack", "8.1"),
    ("dirty-limit", "8.1"),
    ("mapped-ram", "9.0"),
];
const REMOVED_IN: &[(&str, &str)] = &[("compress", "9.1"), ("block", "9.1"), ("zero-blocks", "11")];

/// Capabilities that QEMU refuses together with TLS, and its message. It refuses mapped-ram only
/// when it gets `migrate`.
const NOT_WITH_TLS: &[(&str, &str)] = &[
    ("zero-copy-send", "Zero copy only available for non-compressed non-TLS multifd migration"),
    ("mapped-ram", "Cannot use TLS with mapped-ram"),
];

/// Returns the reasons why `side` cannot have the capabilities `wanted` in addition to those that
/// are on already. Capabilities that this QEMU does not know come last.
pub(super) fn check(
    side: Side,
    support: &Support,
    wanted: &BTreeMap<String, bool>,
    uri: &Uri,
    tls: bool,
) -> Vec<String> {
    let mut reasons = Vec::new();
    let unknown = wanted
        .keys()
        .filter(|name| !support.capabilities.contains_key(*name))
        .map(|name| unknown_capability(side, support, name));
    let mut on = support.capabilities.clone();
    // An unknown capability is reported once, as unknown; the other rules ignore it.
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
    // QEMU accepts this and aborts, so the rule has no last version.
    if is_on("background-snapshot") && support.run_state == "prelaunch" {
        reasons.push(format!(
            "{side}: background-snapshot of a VM that was never started aborts QEMU \
             (7.2, 10.0, 11.1); start it first"
        ));
    }
    if support.version < UNTESTED {
        reasons.extend(check_requirements(side, support, tls, &is_on));
        reasons.extend(check_uri(side, uri, &is_on));
    }
    reasons.extend(unknown);
    reasons
}

/// Checks what QEMU up to 11.1 refuses for one capability because of another setting.
fn check_requirements(
    side: Side,
    support: &Support,
    tls: bool,
    is_on: &dyn Fn(&str) -> bool,
) -> Vec<String> {
    let mut reasons = Vec::new();
    for (name, needed) in NEEDS {
        // The needed one may belong to the other side only in name: zero-copy-send is the source's,
        // multifd both's.
        if is_on(name) && !is_on(needed) {
            reasons.push(format!("{side}: {name} needs {needed}: turn that on too"));
        }
    }
    for (name, words) in NOT_WITH_TLS.iter().filter(|(name, _)| tls && is_on(name)) {
        reasons
            .push(format!("{side}: {name} does not go with TLS (`{words}`): turn one of them off"));
    }
    let mut names = support.capabilities.keys();
    if is_on("background-snapshot")
        && let Some(other) =
            names.find(|name| is_on(name) && !BESIDE_SNAPSHOT.contains(&name.as_str()))
    {
        reasons.push(format!(
            "{side}: background-snapshot goes with no other capability; {other} is on"
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
    reasons
}

/// Checks what QEMU up to 11.1 refuses because of the transport.
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
    let hint = if let Some(added) = look_up(ADDED_IN) {
        format!(": it came with {added}")
    } else if let Some(removed) = look_up(REMOVED_IN) {
        format!(": it was removed in {removed}")
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

#[cfg(test)]
mod tests {
    use super::super::support::tests::like;
    use super::*;

    fn reasons(version: (u32, u32, u32), names: &[&str], uri: &str) -> Vec<String> {
        let wanted = names.iter().map(|name| ((*name).to_owned(), true)).collect();
        let uri = Uri { outgoing: uri.to_owned(), incoming: uri.to_owned() };
        check(Side::Source, &like(version, false), &wanted, &uri, false)
    }

    #[test]
    fn refuses_postcopy_with_a_file_up_to_11_1_and_lets_newer_versions_decide() {
        for names in [&["postcopy-ram"][..], &["postcopy-ram", "mapped-ram"]] {
            assert!(!reasons((11, 1, 3), names, "file:/tmp/ram").is_empty());
            for newer in [(11, 1, 50), (11, 2, 0), (12, 0, 0)] {
                assert_eq!(reasons(newer, names, "file:/tmp/ram"), Vec::<String>::new());
            }
        }
    }

    #[test]
    fn refuses_no_pair_on_a_version_above_the_tested_ones() {
        for newer in [(11, 2, 0), (12, 0, 0)] {
            assert!(combinations(&like(newer, false)).is_empty());
            let none = reasons(newer, &["xbzrle", "multifd"], "tcp:h:1");
            assert_eq!(none, Vec::<String>::new());
        }
    }

    #[test]
    fn reports_an_unknown_capability_on_a_newer_version_too() {
        assert_eq!(reasons((12, 0, 0), &["xbzrl"], "tcp:h:1").len(), 1);
    }
}
