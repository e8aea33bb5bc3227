//! What one QEMU offers and the state it is in.

use base::Side;
use qmp::{Kind, Member, QemuVersion, Result, Session, Status};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What one QEMU offers and the state it is in, as far as a plan depends on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Support {
    /// The version of QEMU itself.
    pub version: QemuVersion,
    /// The distributor's version.
    pub package: String,
    /// Capabilities that it knows, and whether each is on now.
    pub capabilities: BTreeMap<String, bool>,
    /// Parameters that it takes, with their types.
    pub parameters: Vec<Member>,
    /// `migrate-incoming` takes `exit-on-error` (since 9.1).
    pub incoming_has_exit_on_error: bool,
    /// `migrate` takes `channels` (since 8.2).
    pub migrate_has_channels: bool,
    /// Run state of the VM, such as `running` or `inmigrate`.
    pub run_state: String,
    /// State of its last or present migration.
    pub status: Status,
    /// Why it cannot migrate, by its own word.
    pub blocked_reasons: Vec<String>,
    /// It listens for an incoming migration already.
    pub listens: bool,
    /// Where, as a migration URI, if that can be told.
    pub listens_at: Option<String>,
}

#[derive(Deserialize)]
struct CapabilityState {
    capability: String,
    state: bool,
}

impl Support {
    /// The guest runs, or ran until the migration stopped it.
    pub(super) fn ran(&self) -> bool {
        matches!(self.run_state.as_str(), "running" | "finish-migrate" | "postmigrate")
    }

    /// Asks a QEMU. Changes nothing.
    ///
    /// `twin` is a QEMU that was asked before: where it is the same build, its schema is taken
    /// over. QEMU holds its big lock for some 10 ms while it answers `query-qmp-schema`, which a
    /// running guest feels.
    ///
    /// # Errors
    /// What the session gives.
    pub async fn ask(
        session: &Session,
        twin: Option<&Support>,
        deadline: Duration,
    ) -> Result<Support> {
        let greeting = session.greeting();
        let (parameters, incoming_has_exit_on_error, migrate_has_channels) =
            match twin.filter(|twin| twin.is_build_of(session)) {
                Some(twin) => (
                    twin.parameters.clone(),
                    twin.incoming_has_exit_on_error,
                    twin.migrate_has_channels,
                ),
                None => {
                    let schema = session.schema(deadline).await?;
                    let takes = |command, argument| {
                        schema.arguments(command).iter().any(|m| m.name == argument)
                    };
                    let (exit_on_error, channels) =
                        (takes("migrate-incoming", "exit-on-error"), takes("migrate", "channels"));
                    (schema.arguments("migrate-set-parameters"), exit_on_error, channels)
                }
            };
        // Read with names as text, not as qapi's enum: 7.2 has capabilities that the crate does not
        // know.
        let states: Vec<CapabilityState> =
            session.call(&qapi::qmp::query_migrate_capabilities {}, deadline).await?;
        let run_state = session.run_state(deadline).await?;
        let info = session.query_migrate(deadline).await?;
        Ok(Support {
            version: greeting.version,
            package: greeting.package.clone(),
            capabilities: states.into_iter().map(|c| (c.capability, c.state)).collect(),
            parameters,
            incoming_has_exit_on_error,
            migrate_has_channels,
            run_state,
            status: info.status.unwrap_or(Status::None),
            blocked_reasons: info.blocked_reasons.unwrap_or_default(),
            listens: info.socket_address.is_some(),
            listens_at: info
                .socket_address
                .and_then(|addresses| super::Uri::of_socket_address(addresses.first()?)),
        })
    }

    /// Whether the other one is the same build, as far as it says.
    #[must_use]
    pub fn is_build_of(&self, session: &Session) -> bool {
        let greeting = session.greeting();
        !self.package.is_empty()
            && self.package == greeting.package
            && self.version == greeting.version
    }

    /// The type of a parameter, if this QEMU has it.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&Kind> {
        self.parameters.iter().find(|member| member.name == name).map(|member| &member.kind)
    }

    /// Reasons why this QEMU cannot be the given side, whatever the scenario.
    pub(super) fn unfit(&self, side: Side) -> Vec<String> {
        let mut reasons = Vec::new();
        match (side, self.run_state.as_str()) {
            (Side::Source, "postmigrate") => {
                reasons.push("source: its VM has already been migrated away (run state postmigrate)".to_owned());
            }
            (Side::Source, "inmigrate") => {
                reasons.push("source: it waits for a migration itself (run state inmigrate); are the two sides swapped?".to_owned());
            }
            // Its `migrate-incoming` would say: "The incoming migration has already been started"
            // (qmp_migrate_incoming, to 11.1).
            (Side::Destination, "inmigrate") if self.status.is_final() => reasons.push(format!(
                "destination: the migration that it waited for has ended ({}), and QEMU waits only once; start it again, with the same \
                 options as the source and `-incoming defer`",
                self.status
            )),
            (Side::Destination, state) if state != "inmigrate" => reasons.push(format!(
                "destination: it does not wait for a migration (run state {state}); start it with the same options as the source and \
                 `-incoming defer`"
            )),
            _ => {}
        }
        let idle = self.status == Status::None
            || self.status.is_final()
            || self.status == Status::Setup && self.listens;
        if !idle {
            reasons.push(format!(
                "{side}: a migration is under way (status {}); let it end or cancel it first",
                self.status
            ));
        }
        reasons.extend(
            self.blocked_reasons
                .iter()
                .map(|why| format!("{side}: QEMU says that this VM cannot migrate: {why}")),
        );
        reasons
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A QEMU like the real one of that version, for tests without QEMU.
    pub(in crate::plan) fn like(version: (u32, u32, u32), destination: bool) -> Support {
        let mut names = vec![
            "xbzrle",
            "auto-converge",
            "events",
            "postcopy-ram",
            "release-ram",
            "return-path",
            "pause-before-switchover",
            "postcopy-blocktime",
            "multifd",
            "x-ignore-shared",
            "background-snapshot",
            "zero-copy-send",
            "postcopy-preempt",
        ];
        if version >= (10, 0, 0) {
            names.extend(["switchover-ack", "dirty-limit", "mapped-ram"]);
        }
        let member = |(name, kind): (&str, Kind)| Member {
            name: name.into(),
            kind,
            unstable: false,
            deprecated: false,
        };
        let compression = Kind::Enum(["none", "zlib", "zstd"].map(String::from).to_vec());
        let parameters = vec![
            ("max-bandwidth", Kind::Int),
            ("downtime-limit", Kind::Int),
            ("max-postcopy-bandwidth", Kind::Int),
            ("announce-rounds", Kind::Int),
            ("multifd-channels", Kind::Int),
            ("xbzrle-cache-size", Kind::Int),
            ("multifd-compression", compression),
            ("direct-io", Kind::Bool),
            ("tls-creds", Kind::Str),
        ];
        Support {
            version: version.into(),
            package: String::new(),
            capabilities: names.into_iter().map(|name| (name.to_owned(), false)).collect(),
            parameters: parameters.into_iter().map(member).collect(),
            incoming_has_exit_on_error: version >= (9, 1, 0),
            migrate_has_channels: version >= (8, 2, 0),
            run_state: if destination { "inmigrate" } else { "running" }.to_owned(),
            status: Status::None,
            blocked_reasons: Vec::new(),
            listens: false,
            listens_at: None,
        }
    }
}
