//! Items and their names: what each file declares and imports.

use super::Elab;
use crate::diagnostics::{Code, Diagnostic};
use crate::span::{FileId, Span};
use crate::syntax::Parsed;
use crate::syntax::ast::{self, Ident, ItemKind, Path};
use rustc_hash::FxHashMap;

/// An item of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ItemRef {
    pub(crate) file: FileId,
    pub(crate) index: u32,
}

/// A file's names.
#[derive(Default)]
pub(crate) struct Module {
    /// Names in scope: declared here or imported.
    pub(crate) names: FxHashMap<Box<str>, ItemRef>,
    /// Modules named by `use`, by the place of the path.
    pub(crate) imports: FxHashMap<Span, FileId>,
    /// Imported names: where, and what they name.
    pub(crate) uses: Vec<(Ident, ItemRef)>,
}

/// The standard library's modules.
const STANDARD: &[(&str, &str, &str)] = &[
    ("net", "std/net.grv", include_str!("../../std/net.grv")),
    ("l3", "std/l3.grv", include_str!("../../std/l3.grv")),
    ("time", "std/time.grv", include_str!("../../std/time.grv")),
];

/// The path and text of a module of the standard library.
pub(crate) fn standard(segments: &[&str]) -> Option<(&'static str, &'static str)> {
    let ["std", name] = segments else { return None };
    STANDARD.iter().find(|(n, ..)| n == name).map(|(_, path, text)| (*path, *text))
}

/// Whether a path is that of a module of the standard library.
pub(crate) fn is_standard(path: &str) -> bool {
    STANDARD.iter().any(|(_, known, _)| *known == path)
}

/// The name that an item declares.
pub(crate) fn declared(kind: &ItemKind) -> Option<&Ident> {
    match kind {
        ItemKind::Const { name, .. }
        | ItemKind::Newtype { name, .. }
        | ItemKind::Struct { name, .. }
        | ItemKind::Enum { name, .. }
        | ItemKind::Hash { name, .. }
        | ItemKind::Header { name, .. } => Some(name),
        ItemKind::Fn(f) => Some(&f.name),
        ItemKind::Shape(s) => Some(&s.name),
        ItemKind::Block(b) => Some(&b.name),
        ItemKind::Use { .. } | ItemKind::Property(_) | ItemKind::Test { .. } | ItemKind::Error => None,
    }
}

/// What an item is, in words.
pub(crate) fn kind_name(kind: &ItemKind) -> &'static str {
    match kind {
        ItemKind::Use { .. } => "an import",
        ItemKind::Const { .. } => "a constant",
        ItemKind::Newtype { .. } => "a newtype",
        ItemKind::Struct { .. } => "a struct",
        ItemKind::Enum { .. } => "an enum",
        ItemKind::Fn(_) => "a function",
        ItemKind::Hash { .. } => "a hash function",
        ItemKind::Header { .. } => "a header",
        ItemKind::Shape(_) => "a shape",
        ItemKind::Block(b) => match b.kind {
            ast::BlockKind::Element => "an element",
            ast::BlockKind::Middlebox => "a middlebox",
            ast::BlockKind::Spec => "a spec",
        },
        ItemKind::Property(_) => "a property",
        ItemKind::Test { .. } => "a test",
        ItemKind::Error => "an item with errors",
    }
}

impl Elab {
    pub(super) fn unknown_module(&mut self, item: &ast::Item, module: &Path) {
        let span = if module.segments.is_empty() { item.span } else { module.span() };
        let mut d = Diagnostic::new(Code::UnknownModule, span, "there is no such module");
        d = match module.segments.first() {
            Some(first) if &*first.name == "std" => {
                let known: Vec<String> = STANDARD.iter().map(|(n, ..)| format!("std::{n}")).collect();
                d.note(format!("the standard library has {}", known.join(", ")))
            }
            Some(_) => {
                let path: Vec<&str> = module.segments.iter().map(|s| &*s.name).collect();
                d.note(format!("looked for {}.grv beside this file and in the folders above it", path.join("/")))
            }
            None => d.note("an import names a module and an item of it: `use std::net::Ipv4;`"),
        };
        self.report(d);
    }

    /// Fills in the names of a file.
    pub(super) fn declare(&mut self, file: FileId) {
        let parsed = self.parsed[file.0 as usize].clone();
        let mut names: FxHashMap<Box<str>, (ItemRef, Span)> = FxHashMap::default();
        let mut uses = Vec::new();
        let mut duplicates = Vec::new();
        for (index, item) in parsed.file.items.iter().enumerate() {
            if let Some(name) = declared(&item.kind) {
                let this = ItemRef { file, index: index as u32 };
                if let Some((_, first)) = names.get(&name.name) {
                    duplicates.push((name.clone(), *first));
                } else {
                    names.insert(name.name.clone(), (this, name.span));
                }
            }
            let ItemKind::Use { module, names: imported, .. } = &item.kind else { continue };
            let Some(&from) = self.modules[file.0 as usize].imports.get(&module.span()) else { continue };
            for name in imported {
                match find(&self.parsed[from.0 as usize], from, &name.name) {
                    Some(target) => {
                        uses.push((name.clone(), target));
                        if let Some((_, first)) = names.get(&name.name) {
                            duplicates.push((name.clone(), *first));
                        } else {
                            names.insert(name.name.clone(), (target, name.span));
                        }
                    }
                    None => {
                        let path = self.sources.file(from).path.clone();
                        let candidates = self.parsed[from.0 as usize]
                            .file
                            .items
                            .iter()
                            .filter_map(|i| declared(&i.kind))
                            .map(|n| n.name.to_string());
                        let near = nearest(&name.name, candidates);
                        let mut d = Diagnostic::new(Code::ImportCycle, name.span, format!("{path} declares no `{}`", name.name));
                        if let Some(near) = near {
                            d = d.fix(name.span, near.clone(), format!("did you mean `{near}`?"));
                        }
                        self.report(d);
                    }
                }
            }
        }
        for (name, first) in duplicates {
            self.report(
                Diagnostic::new(Code::DuplicateName, name.span, format!("`{}` is declared twice", name.name))
                    .also(first, "declared here first"),
            );
        }
        let module = &mut self.modules[file.0 as usize];
        module.names = names.into_iter().map(|(n, (item, _))| (n, item)).collect();
        module.uses = uses;
    }

    /// What a name means in a file, if it names an item.
    pub(super) fn lookup(&mut self, file: FileId, name: &str) -> Option<ItemRef> {
        let item = self.modules[file.0 as usize].names.get(name).copied()?;
        // Only what the first file itself uses counts: other files use what they import in their own right.
        if file == crate::compile::ROOT {
            self.used.insert(item);
        }
        Some(item)
    }

    /// Resolves a path that must name an item.
    pub(super) fn resolve(&mut self, path: &Path) -> Option<ItemRef> {
        let span = path.span();
        let Some(name) = path.single() else {
            self.error(Code::UnknownName, span, "items are imported by `use` and then named alone");
            return None;
        };
        let found = self.lookup(span.file, &name.name);
        if found.is_none() {
            let candidates: Vec<String> = self.modules[span.file.0 as usize].names.keys().map(|n| n.to_string()).collect();
            self.unknown_name(name, candidates);
        }
        found
    }

    /// Reports a name that means nothing, with the nearest that does.
    pub(super) fn unknown_name(&mut self, name: &Ident, candidates: impl IntoIterator<Item = String>) {
        let mut d = Diagnostic::new(Code::UnknownName, name.span, format!("`{}` means nothing here", name.name));
        if let Some(near) = nearest(&name.name, candidates) {
            d = d.fix(name.span, near.clone(), format!("did you mean `{near}`?"));
        }
        self.report(d);
    }

    /// Resolves a path that must name an item of one kind.
    pub(super) fn resolve_kind(&mut self, path: &Path, wanted: &str, fits: impl Fn(&ItemKind) -> bool) -> Option<ItemRef> {
        let item = self.resolve(path)?;
        let (parsed, index) = self.item(item);
        let kind = &parsed.file.items[index].kind;
        if fits(kind) {
            return Some(item);
        }
        let place = declared(kind).map(|n| n.span).unwrap_or(path.span());
        self.report(
            Diagnostic::new(Code::WrongKind, path.span(), format!("expected {wanted}, but this is {}", kind_name(kind)))
                .also(place, "declared here"),
        );
        None
    }

    /// Warns of imports and items of the first file that nothing uses.
    pub(super) fn unused_items(&mut self, root: &Parsed) {
        let uses = std::mem::take(&mut self.modules[0].uses);
        for (name, item) in &uses {
            if !self.used.contains(item) {
                self.report(Diagnostic::new(Code::Unused, name.span, format!("`{}` is imported and never used", name.name)));
            }
        }
        self.modules[0].uses = uses;
        let is_program = root.file.items.iter().any(|i| match &i.kind {
            ItemKind::Block(b) => b.kind == ast::BlockKind::Middlebox,
            ItemKind::Test { .. } => true,
            _ => false,
        });
        if !is_program {
            return;
        }
        for (index, item) in root.file.items.iter().enumerate() {
            let this = ItemRef { file: FileId(0), index: index as u32 };
            let exempt = matches!(&item.kind, ItemKind::Block(b) if b.kind != ast::BlockKind::Element);
            if let Some(name) = declared(&item.kind)
                && !exempt
                && !self.used.contains(&this)
            {
                let message = format!("{} that nothing uses: `{}`", kind_name(&item.kind), name.name);
                self.report(Diagnostic::new(Code::Unused, name.span, message));
            }
        }
    }
}

/// An item by its name: declared there, not imported.
fn find(parsed: &Parsed, file: FileId, name: &str) -> Option<ItemRef> {
    let index = parsed.file.items.iter().position(|i| declared(&i.kind).is_some_and(|n| &*n.name == name))?;
    Some(ItemRef { file, index: index as u32 })
}

/// The candidate that differs least from a name, if it differs little.
pub(crate) fn nearest(name: &str, candidates: impl IntoIterator<Item = String>) -> Option<String> {
    let limit = (name.chars().count() / 3).max(1);
    let mut best: Vec<(usize, String)> =
        candidates.into_iter().map(|c| (distance(name, &c), c)).filter(|(d, _)| *d <= limit).collect();
    best.sort();
    best.into_iter().next().map(|(_, c)| c)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// What a path says, as written.
pub(crate) fn path_text(path: &Path) -> String {
    path.segments.iter().map(|s| &*s.name).collect::<Vec<_>>().join("::")
}
