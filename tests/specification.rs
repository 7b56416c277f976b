//! docs/SPECIFICATION.md names tests; each of them exists.

use std::collections::BTreeSet;
use std::path::Path;

use syn::visit::Visit;

/// Names of test functions, those inside `proptest!` included.
#[derive(Default)]
struct Tests(BTreeSet<String>);

impl<'ast> Visit<'ast> for Tests {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if item.attrs.iter().any(|attribute| attribute.path().is_ident("test")) {
            self.0.insert(item.sig.ident.to_string());
        }
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        if !item.path.is_ident("proptest") {
            return;
        }
        let mut after_fn = false;
        for token in item.tokens.clone() {
            if let proc_macro2::TokenTree::Ident(name) = token {
                if after_fn {
                    self.0.insert(name.to_string());
                }
                after_fn = name == "fn";
            }
        }
    }
}

fn collect(folder: &Path, into: &mut Tests) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).expect("readable");
            into.visit_file(&syn::parse_file(&text).expect("parses"));
        }
    }
}

/// Words between backticks that look like a test's name: lower case with underscores.
fn named(page: &str) -> BTreeSet<String> {
    let rows = page.lines().filter(|line| line.starts_with("| P") || line.starts_with("| F"));
    rows.flat_map(|row| row.split('`').skip(1).step_by(2))
        .filter(|word| {
            word.contains('_') && word.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        })
        .filter(|word| !portcullis::pipeline::Reason::ALL.iter().any(|reason| reason.name() == *word))
        .filter(|word| *word != "judge_at")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_test_named_in_the_specification_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = Tests::default();
    collect(&root.join("src"), &mut tests);
    collect(&root.join("tests"), &mut tests);
    let page = std::fs::read_to_string(root.join("docs/SPECIFICATION.md")).expect("the page");
    let named = named(&page);
    assert!(named.len() > 50 && tests.0.len() > 200, "{} {}", named.len(), tests.0.len());
    let missing: Vec<_> = named.difference(&tests.0).collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");
}

#[test]
fn a_name_without_a_test_would_be_seen() {
    let page = "| P1 | x | `no_such_test_anywhere`, `src/wire/` |\nprose `not_a_row_at_all`\n| F1 | `nor_here` |\n\
                | P2 | `ends_with_1`";
    assert_eq!(
        named(page).into_iter().collect::<Vec<_>>(),
        ["ends_with_1", "no_such_test_anywhere", "nor_here"]
    );
}

#[test]
fn every_promise_has_a_number_of_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/SPECIFICATION.md")).expect("the page");
    let mut numbers = BTreeSet::new();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |"));
    for (number, _) in rows.filter(|(word, _)| word.starts_with('P') && word.len() > 1) {
        assert!(numbers.insert(number), "{number} stands twice");
    }
    assert!(numbers.len() > 100, "{}", numbers.len());
}
