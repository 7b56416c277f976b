//! The rooms have one direction: a lower one never names a higher one (docs/ARCHITECTURE.md).
//!
//! Paths are parsed, not lines: `use` trees, inline `crate::…`, `super::…`, `self::…`, the package's own
//! name, and paths inside macros.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use syn::visit::Visit;

/// From the wire inward; each may name those before it.
const ROOMS: [&str; 13] = [
    "wire", "policy", "flow", "pipeline", "io", "worker", "gateway", "record", "rollout", "control",
    "report", "lab", "cli",
];

fn rank(room: &str) -> Option<usize> {
    ROOMS.iter().position(|known| *known == room)
}

/// Collects the rooms that the paths of one module lead to.
struct Paths {
    /// Where the module is: `["policy", "read"]`.
    module: Vec<String>,
    rooms: BTreeSet<String>,
}

impl Paths {
    /// The room an absolute or relative path leads to, if it leaves through the crate's root.
    fn follow(&mut self, segments: &[String]) {
        let Some(first) = segments.first() else { return };
        let mut here: Vec<String> = match first.as_str() {
            "crate" | "portcullis" => Vec::new(),
            "super" | "self" => self.module.clone(),
            _ => return,
        };
        let skip = usize::from(first != "super");
        for segment in segments.iter().skip(skip) {
            match segment.as_str() {
                "super" => {
                    here.pop();
                }
                "self" => {}
                name => here.push(name.to_owned()),
            }
        }
        if let Some(room) = here.first() {
            self.rooms.insert(room.clone());
        }
    }

    fn tree(&mut self, prefix: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [prefix, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.follow(&with(&name.ident)),
            syn::UseTree::Rename(name) => self.follow(&with(&name.ident)),
            syn::UseTree::Glob(_) => {
                assert!(
                    prefix != ["crate"] && prefix != ["portcullis"],
                    "a glob of the crate's root hides which rooms it names"
                );
                self.follow(prefix);
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.tree(prefix, item)),
        }
    }

    /// Paths inside a macro's tokens, which syn does not parse.
    fn tokens(&mut self, tokens: proc_macro2::TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                proc_macro2::TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.follow(&std::mem::take(&mut path));
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                proc_macro2::TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                proc_macro2::TokenTree::Group(group) => {
                    self.follow(&std::mem::take(&mut path));
                    colons = 0;
                    self.tokens(group.stream());
                }
                proc_macro2::TokenTree::Punct(_) | proc_macro2::TokenTree::Literal(_) => {
                    self.follow(&std::mem::take(&mut path));
                    colons = 0;
                }
            }
        }
        self.follow(&path);
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.follow(&segments);
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.tokens(item.tokens.clone());
        syn::visit::visit_macro(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        syn::visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}
}

fn rooms_named_by(module: &[&str], source: &str) -> BTreeSet<String> {
    let file = syn::parse_file(source).expect("the source parses");
    let mut paths =
        Paths { module: module.iter().map(|m| (*m).to_owned()).collect(), rooms: BTreeSet::new() };
    paths.visit_file(&file);
    paths.rooms
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// `src/policy/read/zone.rs` → `["policy", "read", "zone"]`, `…/mod.rs` → its folder.
fn module_of(root: &Path, file: &Path) -> Vec<String> {
    let relative = file.strip_prefix(root).expect("below src").with_extension("");
    let mut module: Vec<String> =
        relative.components().map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|m| m == "mod") {
        module.pop();
    }
    module
}

#[test]
fn no_room_names_a_higher_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 20, "the sources were found");
    let mut upward = Vec::new();
    let mut edges = 0;
    for file in &files {
        let module = module_of(&root, file);
        let Some(room) = module.first().filter(|first| !matches!(first.as_str(), "main" | "lib")) else {
            continue;
        };
        let own = rank(room).unwrap_or_else(|| panic!("{room} is not a room of the plan"));
        let text = std::fs::read_to_string(file).expect("readable");
        let module: Vec<&str> = module.iter().map(String::as_str).collect();
        for named in rooms_named_by(&module, &text) {
            let Some(other) = rank(&named) else {
                upward.push(format!("{}: crate::{named} is no room", file.display()));
                continue;
            };
            edges += usize::from(other != own);
            if other > own {
                upward.push(format!("{}: {room} names {named}", file.display()));
            }
        }
    }
    assert!(edges > 20, "edges were seen: {edges}");
    assert_eq!(upward, Vec::<String>::new());
}

#[test]
fn the_root_re_exports_nothing() {
    // A re-export at the root would be a name without a room.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let file = syn::parse_file(&std::fs::read_to_string(root).expect("readable")).expect("parses");
    assert!(file.items.iter().all(|item| matches!(item, syn::Item::Mod(_))), "lib.rs holds only rooms");
}

#[test]
fn every_way_to_name_a_room_is_seen() {
    let named =
        |module: &[&str], source: &str| rooms_named_by(module, source).into_iter().collect::<Vec<_>>();
    assert_eq!(named(&["wire", "key"], "use crate::cli::Screen;"), ["cli"]);
    assert_eq!(named(&["wire", "key"], "use crate::{wire::Key, worker as w};"), ["wire", "worker"]);
    assert_eq!(named(&["wire", "key"], "fn f() { super::super::gateway::start(); }"), ["gateway"]);
    assert_eq!(named(&["wire"], "fn f() -> super::policy::Mode { todo() }"), ["policy"]);
    assert_eq!(named(&["wire", "key"], "fn f() { print(crate::lab::UP) }"), ["lab"]);
    assert_eq!(named(&["wire", "key"], "fn f() { write!(x, \"{}\", crate::io::BURST); }"), ["io"]);
    assert_eq!(named(&["wire", "key"], "m! { { super::super::flow::Entry } }"), ["flow"]);
    assert_eq!(named(&["wire"], "mod tests { use super::super::record::Log; }"), ["record"]);
    assert_eq!(named(&["wire"], "mod tests { use super::Key; }"), ["wire"]);
    assert_eq!(named(&["wire"], "pub use portcullis::control;"), ["control"]);
    assert_eq!(named(&["wire"], "impl crate::report::Page for X {}"), ["report"]);
    assert_eq!(named(&["wire"], "use std::io; fn f() { io::stdout(); }"), Vec::<String>::new());
}

#[test]
#[should_panic(expected = "a glob of the crate's root")]
fn a_glob_of_the_root_is_refused() {
    rooms_named_by(&["wire"], "use crate::*;");
}
