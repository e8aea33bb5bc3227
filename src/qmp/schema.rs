//! What a QEMU knows, from `query-qmp-schema`: commands, the types of their arguments, the values
//! of enums.
//!
//! Types have opaque names (numbers) in the answer, so everything is reached from a command.
//! Distributions backport features, so the schema is asked and versions are not compared.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;

/// The schema of one QEMU.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    entries: HashMap<String, Entry>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    name: String,
    meta_type: String,
    json_type: Option<String>,
    arg_type: Option<String>,
    element_type: Option<String>,
    #[serde(default)]
    members: Vec<WireMember>,
    #[serde(default)]
    values: Vec<String>,
}

/// A member of an object (`name`, `type`, maybe `default`), a value of an enum (`name`), or a
/// branch of an alternate (`type`).
#[derive(Clone, Debug, Deserialize)]
struct WireMember {
    #[serde(default)]
    name: String,
    #[serde(default, rename = "type")]
    type_name: String,
    #[serde(default)]
    features: Vec<String>,
}

/// One member of a command's arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// QAPI's name.
    pub name: String,
    /// What it takes.
    pub kind: Kind,
    /// Marked `unstable`.
    pub unstable: bool,
    /// Marked `deprecated`.
    pub deprecated: bool,
}

/// What a value has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A boolean.
    Bool,
    /// An integer (QAPI's int, uint8 … size).
    Int,
    /// A number with a fraction.
    Number,
    /// A string, or an alternate that takes one (`StrOrNull`).
    Str,
    /// One of these.
    Enum(Vec<String>),
    /// A list or an object: given as it stands.
    Other,
}

impl Schema {
    /// Reads the answer of `query-qmp-schema`. Entries of a shape that we don't know are left out.
    #[must_use]
    pub fn parse(answer: &str) -> Schema {
        let entries: Vec<&RawValue> = serde_json::from_str(answer).unwrap_or_default();
        let known =
            entries.into_iter().filter_map(|entry| serde_json::from_str::<Entry>(entry.get()).ok());
        Schema { entries: known.map(|entry| (entry.name.clone(), entry)).collect() }
    }

    /// Whether the command exists.
    #[must_use]
    pub fn has_command(&self, command: &str) -> bool {
        self.entries.get(command).is_some_and(|entry| entry.meta_type == "command")
    }

    /// The arguments of `command`; empty if it has none or does not exist.
    #[must_use]
    pub fn arguments(&self, command: &str) -> Vec<Member> {
        let wire =
            self.argument_entry(command).map(|entry| entry.members.as_slice()).unwrap_or_default();
        wire.iter()
            .map(|member| Member {
                name: member.name.clone(),
                kind: self.kind(&member.type_name),
                unstable: member.features.iter().any(|f| f == "unstable"),
                deprecated: member.features.iter().any(|f| f == "deprecated"),
            })
            .collect()
    }

    /// The values of the enum at `path` in the arguments of `command`; lists are looked through.
    #[must_use]
    pub fn enum_values(&self, command: &str, path: &[&str]) -> Vec<String> {
        let mut entry = self.argument_entry(command);
        for step in path {
            let member = entry.and_then(|e| e.members.iter().find(|m| m.name == *step));
            entry = member.and_then(|m| self.through_lists(&m.type_name));
        }
        entry.map(|e| e.values.clone()).unwrap_or_default()
    }

    fn argument_entry(&self, command: &str) -> Option<&Entry> {
        self.entries.get(self.entries.get(command)?.arg_type.as_ref()?)
    }

    fn through_lists(&self, type_name: &str) -> Option<&Entry> {
        let entry = self.entries.get(type_name)?;
        // An array's element is never an array of itself in QAPI, so this ends.
        match &entry.element_type {
            Some(element) if element != type_name => self.entries.get(element),
            _ => Some(entry),
        }
    }

    fn kind(&self, type_name: &str) -> Kind {
        let Some(entry) = self.entries.get(type_name) else { return Kind::Other };
        match (entry.meta_type.as_str(), entry.json_type.as_deref()) {
            ("enum", _) => Kind::Enum(entry.values.clone()),
            ("builtin", Some("boolean")) => Kind::Bool,
            ("builtin", Some("int")) => Kind::Int,
            ("builtin", Some("number")) => Kind::Number,
            ("builtin", Some("string")) => Kind::Str,
            ("alternate", _) if entry.members.iter().any(|m| self.is_string(&m.type_name)) => {
                Kind::Str
            }
            _ => Kind::Other,
        }
    }

    fn is_string(&self, type_name: &str) -> bool {
        self.entries
            .get(type_name)
            .is_some_and(|entry| entry.json_type.as_deref() == Some("string"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"[
        {"name":"migrate-set-capabilities","meta-type":"command","arg-type":"1","ret-type":"0"},
        {"name":"1","meta-type":"object","members":[{"name":"capabilities","type":"[2]"}]},
        {"name":"[2]","meta-type":"array","element-type":"2"},
        {"name":"2","meta-type":"object","members":[{"name":"capability","type":"3"},{"name":"state","type":"bool"}]},
        {"name":"3","meta-type":"enum","values":["xbzrle","events"],"members":[{"name":"xbzrle"},{"name":"events"}]},
        {"name":"migrate-set-parameters","meta-type":"command","arg-type":"4","ret-type":"0"},
        {"name":"4","meta-type":"object","members":[
            {"name":"tls-creds","type":"5","default":null},
            {"name":"x-checkpoint-delay","type":"int","default":null,"features":["unstable"]}]},
        {"name":"5","meta-type":"alternate","members":[{"type":"str"},{"type":"null"}]},
        {"name":"str","meta-type":"builtin","json-type":"string"},
        {"name":"int","meta-type":"builtin","json-type":"int"},
        {"name":"bool","meta-type":"builtin","json-type":"boolean"},
        {"name":"odd","meta-type":"from-the-future","something":1}, 17]"#;

    #[test]
    fn enums_are_found_through_lists_and_objects() {
        let schema = Schema::parse(SMALL);
        assert_eq!(
            schema.enum_values("migrate-set-capabilities", &["capabilities", "capability"]),
            ["xbzrle", "events"]
        );
        assert!(schema.enum_values("migrate-set-capabilities", &["nothing"]).is_empty());
        assert!(schema.has_command("migrate-set-parameters") && !schema.has_command("3"));
    }

    #[test]
    fn arguments_have_their_types_and_marks() {
        let members = Schema::parse(SMALL).arguments("migrate-set-parameters");
        assert_eq!(members[0].kind, Kind::Str);
        assert_eq!((&members[1].kind, members[1].unstable), (&Kind::Int, true));
        assert!(Schema::parse(SMALL).arguments("no-such-command").is_empty());
        assert!(Schema::parse("not json").arguments("migrate").is_empty());
    }
}
