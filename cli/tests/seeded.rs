//! Bugs that can be put into the examples, one at a time. Here: each is still a program, so that the lists keep up with the
//! examples. `tests/seeded/README.md` says how they are written down, and what is not tested yet.

mod common;

use common::{Modules, files, programs, root};
use grv_lang::compile::{Compilation, compile};
use grv_lang::diagnostics::Severity;
use grv_lang::source::Loader;

/// A bug.
#[derive(Default)]
struct Bug {
    what: String,
    breaks: String,
    file: String,
    old: Vec<String>,
    new: Vec<String>,
}

fn bugs(list: &str) -> Vec<Bug> {
    let name = list.rsplit('/').next().and_then(|f| f.strip_suffix(".bugs")).expect("a list of bugs");
    let text = std::fs::read_to_string(root().join(list)).expect("the list can be read");
    let mut bugs: Vec<Bug> = Vec::new();
    for line in text.lines() {
        if let Some(what) = line.strip_prefix("== ") {
            let file = format!("examples/{name}/{name}.grv");
            bugs.push(Bug { what: what.to_string(), file, ..Bug::default() });
            continue;
        }
        let bug = bugs.last_mut().unwrap_or_else(|| panic!("{list}: `{line}` belongs to no bug"));
        match line.split_once(' ').unwrap_or((line, "")) {
            ("breaks", property) => bug.breaks = property.to_string(),
            ("in", file) => bug.file = file.to_string(),
            ("-", old) => bug.old.push(old.to_string()),
            ("+", new) => bug.new.push(new.to_string()),
            ("", "") => {}
            _ => panic!("{list}: what is `{line}`?"),
        }
    }
    bugs
}

/// Modules, one of them with a bug.
struct Buggy<'b> {
    file: &'b str,
    text: String,
}

impl Loader for Buggy<'_> {
    fn load(&self, module: &[&str], from: &str) -> Option<(String, Vec<u8>)> {
        let (path, bytes) = Modules.load(module, from)?;
        let bytes = if path.ends_with(self.file) { self.text.clone().into_bytes() } else { bytes };
        Some((path, bytes))
    }
}

/// The example with a bug.
fn buggy(list: &str, bug: &Bug) -> Compilation {
    let text = std::fs::read_to_string(root().join(&bug.file)).expect("the file can be read");
    let old = bug.old.join("\n");
    assert_eq!(text.matches(&old).count(), 1, "{list}: `{}`: the text is not there once", bug.what);
    let buggy = Buggy { file: &bug.file, text: text.replace(&old, &bug.new.join("\n")) };
    let name = list.rsplit('/').next().and_then(|f| f.strip_suffix(".bugs")).expect("a list of bugs");
    let path = format!("examples/{name}/{name}.grv");
    let whole =
        if path == bug.file { buggy.text.clone() } else { std::fs::read_to_string(root().join(&path)).expect("a program") };
    compile(&path, whole.as_bytes(), &buggy)
}

#[test]
fn each_bug_is_a_program() {
    let mut wrong = Vec::new();
    let mut boxes = 0;
    for list in files("tests/seeded", "bugs") {
        let all = bugs(&list);
        assert!(all.len() >= 5, "{list}: {} bugs", all.len());
        boxes += 1;
        for bug in all {
            assert!(!bug.breaks.is_empty(), "{list}: `{}` breaks nothing", bug.what);
            let of = buggy(&list, &bug);
            let errors: Vec<_> = of.diagnostics.iter().filter(|d| d.severity() == Severity::Error).map(|d| &d.message).collect();
            if let Some(first) = errors.first() {
                wrong.push(format!("{list}: {}: {first}", bug.what));
            }
        }
    }
    assert_eq!(boxes, programs("examples").len(), "each example has its bugs");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
