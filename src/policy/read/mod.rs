//! Files → [`Model`], or every error at once.
//!
//! What it is: the readers of the language, one a noun, each of which reports everything it finds and
//! goes on. What it is not: it does not compile, and it decides nothing that needs two workloads to be
//! judged against each other, warnings aside. Invariants: [`Loaded`] means that no error was found;
//! a name that is declared wrongly still counts as declared, so one error does not make ten; with text
//! that could not be read, nothing is called undeclared. Cost: linear in the text, plus rules ×
//! kinds of claims for the warnings.

mod asked;
mod bounds;
mod document;
mod duration;
mod findings;
mod gate;
mod group;
mod holdings;
mod instant;
mod label;
mod lease;
mod names;
mod network;
mod overridden;
mod owner;
mod reach;
mod rule;
mod schema;
mod sections;
mod selector;
mod service;
mod syntax;
mod test;
#[cfg(test)]
mod tests;
mod wanted;
mod workload;
mod zone;

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::code::Code;
use super::diagnostic::Diagnostic;
use super::model::Model;
use super::source::{NotRead, PARTS_LIMIT, POLICY_LIMIT, SourceFile, Sources, part_name, read_file};
use super::verdict::Moment;
pub use asked::{NotMeant, receiver, sender};
use document::Value;
use findings::Findings;
pub(super) use instant::{end_of_day, moment};
pub use label::is_reserved;
use names::Names;
pub(super) use network::{interface, mapped};
pub use schema::schema;
use sections::Sections;
pub use sections::{NotAName, is_name};
use service::Services;
pub use service::service_atoms;
use syntax::Read;
pub(super) use workload::{is_one_account, no_host};

/// A policy that holds together.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its meaning.
    pub model: Model,
    /// Its text.
    pub sources: Sources,
    /// What deserves a look but stops nothing.
    pub warnings: Vec<Diagnostic>,
}

impl Loaded {
    /// Warnings that only a clock shows: bindings that have lapsed.
    #[must_use]
    pub fn lapsed(&self, now: Moment) -> Vec<Diagnostic> {
        lease::lapsed(&self.model, now)
    }
}

/// A policy that does not: nothing of it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// What could be read.
    pub sources: Sources,
    /// Every error and warning, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a policy from its first file; its parts lie relative to the folder of that file.
///
/// # Errors
/// All of them at once.
pub fn read(first: &Path) -> Result<Loaded, Rejected> {
    let folder = first.parent().unwrap_or_else(|| Path::new(""));
    let name = first.file_name().unwrap_or(first.as_os_str()).to_string_lossy().into_owned();
    let file = match read_file(first) {
        Ok(text) => SourceFile { path: first.to_owned(), name, text },
        Err(reason) => {
            let message = format!("can't read the policy {}: {reason}", first.display());
            let code = code_of(&reason, Code::FileUnreadable);
            let found = Diagnostic::new(code, None, message).help(remedy_of(&reason, code, "gate.toml"));
            return Err(Rejected { sources: Sources::default(), diagnostics: vec![found] });
        }
    };
    assemble(file, |part| {
        let path = folder.join(part);
        read_file(&path).map(|text| (path, text))
    })
}

/// Reads a policy from texts, without a disk: the first of `files` is the first file, and `parts`
/// finds the others by name.
///
/// # Errors
/// All of them at once.
pub fn read_text(files: Vec<(String, String)>) -> Result<Loaded, Rejected> {
    let mut files = files.into_iter();
    let (name, text) = files.next().unwrap_or_default();
    let mut parts: std::collections::BTreeMap<String, String> = files.collect();
    assemble(SourceFile { path: PathBuf::from(&name), name, text }, |part| {
        parts.remove(part).map(|text| (part.into(), text)).ok_or(NotRead::Missing)
    })
}

/// The candidate most like a name that does not exist; none where none is like it.
#[must_use]
pub fn nearest_name<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    Findings::new().nearest(name, candidates)
}

/// `; did you mean role = "vault"?` behind an error's text, if something is like what does not exist.
#[must_use]
pub fn did_you_mean(like: Option<&str>) -> String {
    like.map_or_else(String::new, |like| format!("; did you mean {like}?"))
}

/// The same of a name, which stands in quotes.
#[must_use]
pub fn did_you_mean_name(like: Option<&str>) -> String {
    did_you_mean(like.map(|like| format!("\"{like}\"")).as_deref())
}

fn code_of(reason: &NotRead, missing: Code) -> Code {
    match reason {
        NotRead::Missing => missing,
        NotRead::Folder | NotRead::NotRegular(_) => Code::NotAFile,
        NotRead::TooLarge => Code::TooLarge,
        NotRead::NotText { .. } => Code::NotText,
        NotRead::Refused(_) => Code::FileUnreadable,
    }
}

/// What to do about a file that was not read; `example` is the name of one that would do.
fn remedy_of(reason: &NotRead, code: Code, example: &str) -> String {
    match reason {
        NotRead::Folder => format!("name a file in it, like {example}: folders are never swept up"),
        NotRead::NotRegular(_) => {
            format!(
                "write the policy into a file, like {example}, and name that: nothing else is waited for"
            )
        }
        NotRead::Missing | NotRead::TooLarge | NotRead::NotText { .. } | NotRead::Refused(_) => {
            code.remedy().to_owned()
        }
    }
}

fn assemble(
    first: SourceFile,
    fetch: impl FnMut(&str) -> Result<(PathBuf, String), NotRead>,
) -> Result<Loaded, Rejected> {
    let mut findings = Findings::new();
    findings.learn_lines(std::iter::once(&first));
    let read = Read::of(0, &first.text, &mut findings);
    let parts = parts(&first, &read, fetch, &mut findings);
    findings.learn_lines(std::iter::once(&first).chain(&parts));
    let mut reads = vec![read];
    for (number, part) in (1..).zip(&parts) {
        reads.push(Read::of(number, &part.text, &mut findings));
    }
    let (tables, texts): (Vec<_>, Vec<_>) = reads.into_iter().map(Read::parted).unzip();
    let documents: Vec<DeTable<'_>> =
        tables.into_iter().zip(&texts).map(|(table, text)| table.unwrap_or_else(|| parse(text))).collect();
    let model = model(&documents, &mut findings);
    drop(documents);
    let failed = findings.has_errors();
    let diagnostics = findings.into_sorted();
    let sources = Sources { files: std::iter::once(first).chain(parts).collect() };
    match model {
        Some(model) if !failed => Ok(Loaded { model, sources, warnings: diagnostics }),
        Some(_) | None => Err(Rejected { sources, diagnostics }),
    }
}

/// Reads the files that the first one lists.
fn parts(
    first: &SourceFile,
    read: &Read<'_>,
    mut fetch: impl FnMut(&str) -> Result<(PathBuf, String), NotRead>,
    findings: &mut Findings,
) -> Vec<SourceFile> {
    let mut total = first.text.len();
    let mut seen = vec![first.name.clone()];
    let reread;
    let document = match read {
        Read::Whole(table) => table,
        Read::Blanked(text) => {
            reread = parse(text);
            &reread
        }
    };
    let mut files = Vec::new();
    let Some(parts) = document.get("parts") else { return files };
    let parts = Value::at(0, "parts", parts, findings);
    if let DeValue::Array(items) = parts.raw
        && items.len() > PARTS_LIMIT
    {
        let message = format!("`parts` names {} files, and at most {PARTS_LIMIT} are read", items.len());
        findings.say_with(Code::TooLarge, parts.origin, message, "merge some of them");
        findings.text_is_partial();
        return files;
    }
    let before = findings.len();
    let written = parts.texts(findings);
    if findings.len() > before {
        findings.text_is_partial();
    }
    for part in written {
        let Some(name) = part_name(part.text) else {
            let message = format!("\"{}\" is not the path of a part", part.text);
            let help = if part.text.contains('\0') {
                "the name of a file has no NUL character: remove it"
            } else {
                Code::PartPath.remedy()
            };
            findings.say_with(Code::PartPath, part.origin, message, help);
            findings.text_is_partial();
            continue;
        };
        if seen.contains(&name) {
            let message = format!("{name} is a part twice");
            let message = if seen.first() == Some(&name) {
                format!("{name} names itself as a part")
            } else {
                message
            };
            findings.say_with(Code::PartTwice, part.origin, message, "remove this one");
            continue;
        }
        match fetch(&name) {
            Ok((path, text)) => {
                total += text.len();
                if total > POLICY_LIMIT {
                    let message = "the policy is larger than 32 MiB in all";
                    findings.say_with(Code::TooLarge, part.origin, message, Code::TooLarge.remedy());
                    findings.text_is_partial();
                    break;
                }
                files.push(SourceFile { path, name: name.clone(), text });
            }
            Err(reason) => {
                let code = code_of(&reason, Code::PartMissing);
                let message = format!("can't read part {name}: {reason}");
                findings.say_with(code, part.origin, message, remedy_of(&reason, code, "rules.toml"));
                findings.text_is_partial();
            }
        }
        seen.push(name);
    }
    files
}

/// A text without syntax errors, as tables.
fn parse(text: &str) -> DeTable<'_> {
    DeTable::parse_recoverable(text).0.into_inner()
}

/// Reads all sections. None, or errors in `findings`, when the policy does not hold together.
fn model<'a>(documents: &'a [DeTable<'a>], findings: &mut Findings) -> Option<Model> {
    let sections = Sections::gather(documents, findings);
    let labels = label::declarations(&sections, findings);
    let mut names = Names::new(&sections, labels);
    let owners = owner::owners(&sections, findings);
    let gate = gate::gate(&sections, findings);
    let wire = network::wire(&sections, findings);
    let profile = match wire {
        // Without a wire the policy is not one yet: a list of all that is missing helps nobody.
        None if sections.of("wire").next().is_none() => std::collections::BTreeMap::new(),
        Some(_) | None => gate::profile(&sections, findings),
    };
    let networks = network::networks(&sections, &names, findings);
    let workloads = workload::workloads(&sections, &gate, &mut names, findings);
    let groups = group::groups(&sections, &networks, &workloads, findings);
    let (services, named) = Services::read(&sections, findings);
    let zones = zone::zones(&sections, &names, &services, findings);
    let placed = rule::rules(&sections, &names, &services, findings);
    let tests = test::tests(&sections, &names, &services, findings);
    reach::check(&networks, &workloads, &zones, &placed, findings);
    Some(Model {
        gate,
        wire: wire?,
        profile,
        labels: names.labels,
        owners,
        networks,
        workloads,
        groups,
        zones,
        services: named,
        rules: placed.into_iter().map(|placed| placed.rule).collect(),
        tests,
    })
}
