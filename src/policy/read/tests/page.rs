//! docs/POLICY.md: every example is read, and every key of the schema has one.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use toml::Value;

use super::super::super::code::Code;
use super::super::super::{Exceptions, compile, lint};
use super::super::schema::schema;
use super::super::{Loaded, read_text};

const PAGE: &str = include_str!("../../../../docs/POLICY.md");

/// The examples of the page; the first is a whole policy.
fn examples() -> Vec<&'static str> {
    let blocks = PAGE.split("\n```").skip(1).step_by(2);
    blocks.map(|block| block.strip_prefix("toml\n").expect("examples are TOML")).collect()
}

/// The first example with another one beside it; one that lists parts stands before it, and they are empty.
fn beside(base: &str, example: &str) -> Loaded {
    let table: toml::Table = example.parse().expect("TOML");
    let file = |name: &str, text: String| (name.to_owned(), text);
    let files = match table.get("parts").and_then(Value::as_array) {
        None => {
            let base = format!("parts = [\"example.toml\"]\n{base}");
            vec![file("gate.toml", base), file("example.toml", example.to_owned())]
        }
        Some(parts) => {
            let parts = parts.iter().filter_map(Value::as_str).map(|name| file(name, String::new()));
            std::iter::once(file("gate.toml", format!("{example}\n{base}"))).chain(parts).collect()
        }
    };
    read_text(files).unwrap_or_else(|rejected| panic!("{example}\n{}", super::shown(Err(rejected))))
}

#[test]
fn every_example_of_the_page_is_read_without_a_finding() {
    let examples = examples();
    let (base, others) = examples.split_first().expect("a whole policy");
    assert!(others.len() > 12, "{}", others.len());
    let whole = read_text(vec![("gate.toml".to_owned(), (*base).to_owned())]);
    let whole = whole.unwrap_or_else(|rejected| panic!("{}", super::shown(Err(rejected))));
    for loaded in std::iter::once(whole).chain(others.iter().map(|example| beside(base, example))) {
        let found = lint::check(&loaded, &compile(&loaded.model, &Exceptions::NONE), super::golden::NOW);
        let shown = super::super::super::diagnostic::render(&loaded.sources, &found, false);
        assert!(found.is_empty(), "{shown}");
    }
}

/// Every key that a schema knows: `gate.rings`, `zone.*.mode`, `selector.zone`. The three kinds of rules share
/// their keys.
fn known(root: &Json, shape: &Json, path: &str, all: &mut BTreeSet<String>) {
    if let Some(name) = referred(shape) {
        if all.insert(name.to_owned()) {
            known(root, &root["definitions"][name], name, all);
        }
        return;
    }
    if !shape.is_object() {
        return;
    }
    for option in options(shape) {
        known(root, option, path, all);
    }
    for (key, shape) in shape["properties"].as_object().into_iter().flatten() {
        let path = under(path, key);
        all.insert(path.clone());
        known(root, shape, &path, all);
    }
    for shape in [&shape["additionalProperties"], &shape["items"]] {
        known(root, shape, &under(path, "*"), all);
    }
}

/// The keys among them that a value has.
fn used(root: &Json, shape: &Json, value: &Value, path: &str, all: &mut BTreeSet<String>) {
    if let Some(name) = referred(shape) {
        all.insert(name.to_owned());
        return used(root, &root["definitions"][name], value, name, all);
    }
    for option in options(shape) {
        used(root, option, value, path, all);
    }
    for item in value.as_array().into_iter().flatten() {
        used(root, &shape["items"], item, &under(path, "*"), all);
    }
    for (key, value) in value.as_table().into_iter().flatten() {
        if let Some(shape) = shape["properties"].get(key) {
            let path = under(path, key);
            all.insert(path.clone());
            used(root, shape, value, &path, all);
        } else {
            used(root, &shape["additionalProperties"], value, &under(path, "*"), all);
        }
    }
}

fn referred(shape: &Json) -> Option<&str> {
    shape["$ref"].as_str()?.strip_prefix("#/definitions/")
}

fn options(shape: &Json) -> impl Iterator<Item = &Json> {
    ["allOf", "anyOf"].into_iter().filter_map(|key| shape[key].as_array()).flatten()
}

fn under(path: &str, key: &str) -> String {
    match (path, key) {
        ("", "allow" | "deny" | "guardrail") => "rule".to_owned(),
        ("", _) => key.to_owned(),
        _ => format!("{path}.{key}"),
    }
}

#[test]
fn every_key_of_the_schema_has_an_example() {
    let schema = schema();
    let (mut keys, mut shown) = (BTreeSet::new(), BTreeSet::new());
    known(&schema, &schema, "", &mut keys);
    for key in
        ["gate.timeouts.udp", "rule.*.reply", "zone.*.service_modes", "selector.differs", "selector.*.not"]
    {
        assert!(keys.contains(key), "{key}: {keys:?}");
    }
    for example in examples() {
        let table: toml::Table = example.parse().expect("TOML");
        used(&schema, &schema, &Value::Table(table), "", &mut shown);
    }
    let missing: Vec<&String> = keys.difference(&shown).collect();
    assert!(missing.is_empty(), "docs/POLICY.md has no example of {missing:?}");
}

#[test]
fn every_code_that_the_page_names_exists() {
    let words = PAGE.split(|c: char| !c.is_ascii_alphanumeric());
    let codes = words.filter(|word| word.len() == 5 && word.starts_with("P0"));
    let named: Vec<&str> = codes.collect();
    assert!(!named.is_empty() && named.iter().all(|code| Code::of(code).is_some()), "{named:?}");
}
