//! The language as a JSON schema, for editors with a TOML language server.
//!
//! What it is: made of the very lists of keys that the reader checks, so that neither knows a key that the
//! other does not. What it is not: the reader; a schema sees one file at a time, so nothing is required in it
//! and no name is looked up. Invariant: every key of every list has its shape here.

use serde_json::{Map, Value, json};

use super::super::model::Reply;
use super::document::Keys;
use super::gate::{ACTIONS, GATE, PROFILE};
use super::network::{MODES, NETWORK, WIRE};
use super::rule::{ALLOW, DENY, GUARDRAIL, REPLIES};
use super::sections::TOP;
use super::test::EXPECTED;
use super::{bounds, group, label, owner, test, workload, zone};

/// JSON Schema, draft 7: what TOML language servers read.
#[must_use]
pub fn schema() -> Value {
    let sections: Map<String, Value> =
        TOP.known.iter().filter_map(|key| Some(((*key).to_owned(), section(key)?))).collect();
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A policy of Portcullis",
        "type": "object",
        "additionalProperties": false,
        "properties": sections,
        "definitions": { "selector": selector(), "texts": texts(), "services": services() },
    })
}

fn section(key: &str) -> Option<Value> {
    let shape = match key {
        "parts" => told(texts(), "The other files, relative to the folder of this one."),
        "gate" => table(GATE, gate, "Settings of the gate itself."),
        "label" => named(&table(label::KEYS, label_key, "A label key."), "The label keys that exist."),
        "owner" => named(&table(owner::KEYS, owner_key, "Who answers for something."), "Owners."),
        "profile" => table(PROFILE, |_| Some(words(&ACTIONS)), "Housekeeping; all seven are written."),
        "wire" => named(&table(WIRE, wire, "Two ports."), "The wire."),
        "network" => named(&table(NETWORK, network, "Prefixes at one side."), "Networks."),
        "workload" => named(&table(workload::KEYS, claim, "Who claims which address."), "The inventory."),
        "group" => named(&table(group::KEYS, |_| Some(texts()), "Multicast destinations."), "Groups."),
        "zone" => named(&table(zone::KEYS, zone_key, "What is protected."), "Zones."),
        "service" => named(&reference("services"), "Names of services."),
        "allow" => named(&table(ALLOW, rule, "Who may."), "Allows."),
        "deny" => named(&table(DENY, rule, "Who may not."), "Denies."),
        "guardrail" => {
            named(&table(GUARDRAIL, rule, "Who never may; no exception passes it."), "Guardrails.")
        }
        "test" => {
            named(&table(test::KEYS, test_key, "What must hold."), "Tests, run before every publish.")
        }
        _ => return None,
    };
    Some(shape)
}

fn gate(key: &str) -> Option<Value> {
    let shape = match key {
        "socket" => told(text(), "Absolute path of the API's socket."),
        "rings" => json!({ "type": "integer", "minimum": 64, "maximum": 4096 }),
        "queues" => json!({
            "type": "integer", "minimum": 1, "maximum": 64,
            "description": "Queues of each port, each with its worker.",
        }),
        "symmetric_rss" => told(
            boolean(),
            "Whether cards are asked to bring both directions of a flow to one worker; if not, flows are handed over.",
        ),
        "flows" => json!({ "type": "integer", "minimum": 1024, "maximum": 16_777_216 }),
        "heartbeat" => told(text(), "Age at which a worker counts as dead: \"500ms\"."),
        "cold_start_reset" => {
            told(text(), "How long after a start without flows connections under way are reset: \"30s\".")
        }
        "inventory_limit" => told(
            text(),
            "How long a source of the inventory may be silent before its bindings lapse: \"1d\".",
        ),
        "management" => told(texts(), "The gate's own addresses."),
        "link_local" => words(&ACTIONS),
        "timeouts" => {
            table(bounds::TIMEOUTS, |_| Some(text()), "Silence after which something is forgotten.")
        }
        "limits" => table(
            bounds::LIMITS,
            |_| Some(json!({ "type": ["integer", "string"] })),
            "How much one party may take.",
        ),
        "approvals" => json!({ "enum": ["off"] }),
        _ => return None,
    };
    Some(shape)
}

fn label_key(key: &str) -> Option<Value> {
    let shape = match key {
        "values" => told(texts(), "The values there are; left out, any."),
        "required" => told(boolean(), "An allow names it at both ends."),
        _ => return None,
    };
    Some(shape)
}

fn owner_key(key: &str) -> Option<Value> {
    matches!(key, "authors" | "approvers")
        .then(|| json!({ "type": "array", "items": { "type": "string", "pattern": "^(user|group):.+" } }))
}

fn wire(key: &str) -> Option<Value> {
    let shape = match key {
        "outside" | "inside" => told(text(), "An interface."),
        "fail" => json!({ "enum": ["closed"] }),
        "unzoned" => words(&MODES),
        _ => return None,
    };
    Some(shape)
}

fn network(key: &str) -> Option<Value> {
    let shape = match key {
        "at" => json!({ "type": "string", "pattern": "\\.(inside|outside)$" }),
        "prefixes" => told(texts(), "Prefixes: \"10.20.0.0/24\"."),
        "vlans" => told(texts(), "Tags: \"untagged\", \"100\", \"100.20\"."),
        "via" => told(texts(), "MACs of the routers in front of it."),
        "labels" => labels(),
        _ => return None,
    };
    Some(shape)
}

fn claim(key: &str) -> Option<Value> {
    let shape = match key {
        "addresses" => told(texts(), "Addresses or prefixes."),
        "labels" => labels(),
        "service_account" => told(text(), "At most one; held by single addresses."),
        "macs" => told(texts(), "Its MACs."),
        "owner" => told(text(), "Who answers for it."),
        // A date or an instant: language servers hand TOML's own types over as strings.
        "valid_until" => told(json!({ "type": "string" }), "From then on the binding has lapsed."),
        _ => return None,
    };
    Some(shape)
}

fn zone_key(key: &str) -> Option<Value> {
    let shape = match key {
        "members" => reference("selector"),
        "owner" => told(text(), "Who answers for it."),
        "data_class" => told(text(), "What it protects."),
        "mode" => words(&MODES),
        "service_modes" => json!({ "type": "object", "additionalProperties": words(&MODES) }),
        _ => return None,
    };
    Some(shape)
}

fn rule(key: &str) -> Option<Value> {
    let shape = match key {
        "mode" => words(&MODES),
        "reply" => words::<Reply>(&REPLIES),
        "from" => told(reference("selector"), "Who opens."),
        "to" => told(reference("selector"), "To whom."),
        "services" => reference("services"),
        "owner" => told(text(), "Who answers for it."),
        "justification" => told(text(), "Why it exists."),
        "ticket" => told(text(), "Change record."),
        "review_by" => told(json!({ "type": "string" }), "A date without quotes."),
        "both_ways" => told(boolean(), "Of a protocol without ports."),
        "log" => told(boolean(), "Record allowed connections too."),
        "mitigation" => told(text(), "What makes an insecure service bearable."),
        _ => return None,
    };
    Some(shape)
}

fn test_key(key: &str) -> Option<Value> {
    match key {
        "expect" => Some(words(&EXPECTED)),
        "from" | "to" | "services" => rule(key),
        _ => None,
    }
}

/// Keys joined by *and*, lists *any of*; other keys are labels.
fn selector() -> Value {
    let list = || json!({ "anyOf": [text(), texts()] });
    let label = json!({ "anyOf": [text(), texts(), {
        "type": "object",
        "additionalProperties": false,
        "properties": { "not": list() },
    }] });
    json!({
        "type": "object",
        "minProperties": 1,
        "properties": {
            "any": { "const": true, "description": "Every claimed workload; alone." },
            "unknown": { "const": true, "description": "Addresses that no workload claims." },
            "name": list(),
            "zone": list(),
            "network": list(),
            "group": list(),
            "service_account": list(),
            "same": told(list(), "Labels that both ends carry and agree on; in `to`."),
            "differs": told(list(), "Labels that they do not; in `to`."),
            "except": {
                "type": "array",
                "minItems": 1,
                "items": reference("selector"),
                "description": "Everything else, unlabelled and unknown included; alone.",
            },
        },
        "additionalProperties": label,
    })
}

fn services() -> Value {
    told(texts(), "tcp/443, tcp/9000-9010, udp/67 from 68, icmp/8, ip/50, names, or any.")
}

fn text() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

fn texts() -> Value {
    json!({ "type": "array", "items": text() })
}

fn boolean() -> Value {
    json!({ "type": "boolean" })
}

fn labels() -> Value {
    json!({ "type": "object", "additionalProperties": text() })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{name}") })
}

fn words<T>(words: &[(&str, T)]) -> Value {
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    json!({ "enum": words })
}

/// With a description; beside a reference draft 7 reads nothing, so it goes around it.
fn told(mut shape: Value, words: &str) -> Value {
    if shape.get("$ref").is_some() {
        return json!({ "allOf": [shape], "description": words });
    }
    if let Some(shape) = shape.as_object_mut() {
        shape.insert("description".to_owned(), words.into());
    }
    shape
}

fn table(keys: Keys, shape: impl Fn(&str) -> Option<Value>, words: &str) -> Value {
    let properties: Map<String, Value> =
        keys.known.iter().filter_map(|key| Some(((*key).to_owned(), shape(key)?))).collect();
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "description": words,
    })
}

/// A section with an entry for each name.
fn named(entry: &Value, words: &str) -> Value {
    json!({ "type": "object", "additionalProperties": entry, "description": words })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_of(shape: &Value) -> Vec<&str> {
        let properties = shape["properties"].as_object().expect("properties");
        properties.keys().map(String::as_str).collect()
    }

    #[test]
    fn every_key_that_the_reader_knows_has_its_shape() {
        let schema = schema();
        let same = |shape: &Value, keys: Keys| {
            let mut known = keys.known.to_vec();
            known.sort_unstable();
            assert_eq!(keys_of(shape), known);
        };
        same(&schema, TOP);
        let section = |name: &str| &schema["properties"][name];
        let entry = |name: &str| &section(name)["additionalProperties"];
        same(section("gate"), GATE);
        same(&section("gate")["properties"]["timeouts"], bounds::TIMEOUTS);
        same(&section("gate")["properties"]["limits"], bounds::LIMITS);
        same(section("profile"), PROFILE);
        for (name, keys) in [
            ("label", label::KEYS),
            ("owner", owner::KEYS),
            ("wire", WIRE),
            ("network", NETWORK),
            ("workload", workload::KEYS),
            ("group", group::KEYS),
            ("zone", zone::KEYS),
            ("allow", ALLOW),
            ("deny", DENY),
            ("guardrail", GUARDRAIL),
            ("test", test::KEYS),
        ] {
            same(entry(name), keys);
        }
    }

    #[test]
    fn the_file_that_editors_read_is_this_schema() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/policy.schema.json");
        let file = std::fs::read_to_string(path).expect("the file");
        let made = serde_json::to_string_pretty(&schema()).expect("JSON") + "\n";
        assert!(file == made, "configs/policy.schema.json: portcullis schema > configs/policy.schema.json");
    }
}
