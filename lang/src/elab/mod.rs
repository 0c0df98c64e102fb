//! Elaboration: from trees to the core IR. Names are resolved, types checked, and what is generic (compile-time parameters,
//! alternatives of headers, loops, functions) is expanded, in one walk directed by types. A body that is expanded more than
//! once is checked each time; its diagnostics are reported once.
//!
//! | file | what it does |
//! |---|---|
//! | modules.rs | imports, items and their names |
//! | types.rs | types, their layout as columns |
//! | headers.rs | header declarations |
//! | body.rs | the state of elaborating one block: variables, scopes, statements |
//! | expr.rs, operator.rs, ops.rs, call.rs | expressions: names and literals, operators, the same on the IR, calls |
//! | stmt.rs, value_match.rs | statements, matches on values |
//! | packet.rs, packet_match.rs | header fields, checksums, matches on packets |
//! | state.rs, table.rs, choose.rs | declarations of state, its operations, bounded searches |
//! | element.rs, middlebox.rs, connect.rs, wiring.rs, program.rs | elements, instances, connections, and the program that they make |
//! | property.rs, formula.rs, shape.rs, claim.rs | specifications, and who claims them |
//! | test.rs, build.rs | tests, and the packets that they build |
//! | flow.rs | totality of handlers, over the IR |

mod body;
mod build;
mod call;
mod choose;
mod claim;
mod connect;
mod element;
mod expr;
mod flow;
mod formula;
mod headers;
mod middlebox;
mod modules;
mod operator;
mod ops;
mod packet;
mod packet_match;
mod program;
mod property;
mod shape;
mod state;
mod stmt;
mod table;
mod test;
mod types;
mod usefulness;
mod value_match;
mod wiring;

use crate::compile::Compilation;
use crate::diagnostics::{Code, Diagnostic};
use crate::ir;
use crate::source::{Loader, SourceMap};
use crate::span::{FileId, Span};
use crate::syntax::ast;
use crate::syntax::{Parsed, parse};
use modules::{ItemRef, Module};
use rustc_hash::{FxHashMap, FxHashSet};
use std::rc::Rc;
use std::sync::Arc;
use types::Ty;

/// What all of elaboration shares.
pub(crate) struct Elab {
    sources: SourceMap,
    parsed: Vec<Rc<Parsed>>,
    modules: Vec<Module>,
    by_path: FxHashMap<String, FileId>,
    diagnostics: Vec<Diagnostic>,
    reported: FxHashSet<(Code, Span, String)>,
    used: FxHashSet<ItemRef>,
    /// Types of the first file's expressions, by place.
    types: FxHashMap<Span, Ty>,
    /// Conditions under which one header selects another (outer, inner, in mathematical integers), over some handle of the outer one.
    selectors: FxHashMap<(ItemRef, ItemRef, bool), ir::Expr>,
    /// Header declarations, checked; none while they are being checked.
    headers: FxHashMap<ItemRef, Option<Rc<headers::HeaderInfo>>>,
    /// Types being laid out, to find cycles.
    open_types: Vec<ItemRef>,
    /// Struct and enum declarations, checked.
    type_infos: FxHashMap<ItemRef, Rc<types::TypeInfo>>,
    /// Constants, evaluated; none while they are being evaluated.
    constants: FxHashMap<ItemRef, Option<body::Val>>,
    /// Functions being expanded, to find recursion.
    open_fns: Vec<Span>,
    /// The program under construction.
    prog: program::Builder,
    /// Where each of its elements is instantiated.
    prog_spans: Vec<Span>,
    /// Where external ports are declared.
    port_spans: FxHashMap<ir::PortId, Span>,
    /// Elements and specs that some box uses.
    instantiated: FxHashSet<ItemRef>,
    /// Whether drop reasons may be named that nothing gives: where a spec is checked without a box.
    any_reason: bool,
    /// Arms of matches, by place: whether any of their elaborations can be reached.
    arms: FxHashMap<Span, bool>,
    /// Members (functions, state, shapes, named parts) that were used, by the place of their names.
    used_members: FxHashSet<Span>,
}

/// See [`crate::compile::compile`].
pub(crate) fn compile(path: &str, bytes: &[u8], loader: &dyn Loader) -> Compilation {
    let mut elab = Elab {
        sources: SourceMap::default(),
        parsed: Vec::new(),
        modules: Vec::new(),
        by_path: FxHashMap::default(),
        diagnostics: Vec::new(),
        reported: FxHashSet::default(),
        used: FxHashSet::default(),
        types: FxHashMap::default(),
        selectors: FxHashMap::default(),
        headers: FxHashMap::default(),
        open_types: Vec::new(),
        type_infos: FxHashMap::default(),
        constants: FxHashMap::default(),
        open_fns: Vec::new(),
        prog: program::Builder::default(),
        prog_spans: Vec::new(),
        port_spans: FxHashMap::default(),
        instantiated: FxHashSet::default(),
        any_reason: false,
        arms: FxHashMap::default(),
        used_members: FxHashSet::default(),
    };
    elab.load(path, bytes, loader);
    let (boxes, tests) = elab.run();
    elab.finish(boxes, tests)
}

type Tests = Vec<(ir::Test, Arc<ir::Program>)>;

impl Elab {
    /// Adds a diagnostic, once.
    pub(crate) fn report(&mut self, diagnostic: Diagnostic) {
        let key = (diagnostic.code, diagnostic.primary.span, diagnostic.message.clone());
        if self.reported.insert(key) {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Adds an error, once.
    pub(crate) fn error(&mut self, code: Code, span: Span, message: impl Into<String>) {
        self.report(Diagnostic::new(code, span, message));
    }

    /// Whether there is an error in a piece of text: what was elaborated from it may lack parts.
    fn errors_in(&self, span: Span) -> bool {
        let inside = |at: Span| at.file == span.file && at.start >= span.start && at.end <= span.end;
        self.diagnostics.iter().any(|d| d.severity() == crate::diagnostics::Severity::Error && inside(d.primary.span))
    }

    /// The number of errors so far: what was elaborated under new ones may lack parts.
    fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|d| d.severity() == crate::diagnostics::Severity::Error).count()
    }

    /// Parses a file and, depth first, what it imports.
    fn load(&mut self, path: &str, bytes: &[u8], loader: &dyn Loader) -> FileId {
        let (text, bad) = match std::str::from_utf8(bytes) {
            Ok(text) => (text.to_string(), None),
            Err(e) => (String::from_utf8_lossy(bytes).into_owned(), Some(e.valid_up_to())),
        };
        let file = self.sources.add(path.to_string(), text);
        self.by_path.insert(path.to_string(), file);
        if let Some(at) = bad {
            self.error(Code::UnknownText, Span::new(file, at, at), "the file is not UTF-8 from here on");
        }
        let parsed = Rc::new(parse(file, &self.sources.file(file).text));
        for diagnostic in &parsed.diagnostics {
            self.report(diagnostic.clone());
        }
        self.parsed.push(parsed.clone());
        self.modules.push(Module::default());
        let mut imports = FxHashMap::default();
        for item in &parsed.file.items {
            let ast::ItemKind::Use { module, .. } = &item.kind else { continue };
            let segments: Vec<&str> = module.segments.iter().map(|s| &*s.name).collect();
            let found = match modules::standard(&segments) {
                Some((path, text)) => Some((path.to_string(), text.as_bytes().to_vec())),
                None if segments.is_empty() || segments.first() == Some(&"std") => None,
                None => loader.load(&segments, path),
            };
            match found {
                Some((path, bytes)) => {
                    let id = match self.by_path.get(&path) {
                        Some(&id) => id,
                        None => self.load(&path, &bytes, loader),
                    };
                    imports.insert(module.span(), id);
                }
                None => self.unknown_module(item, module),
            }
        }
        self.modules[file.0 as usize].imports = imports;
        file
    }

    /// Elaborates what the first file declares.
    fn run(&mut self) -> (Vec<Arc<ir::Program>>, Tests) {
        for index in 0..self.parsed.len() {
            self.declare(FileId(index as u32));
        }
        let root = self.parsed[0].clone();
        for file in 0..self.parsed.len() {
            self.check_items(FileId(file as u32));
        }
        let mut built = self.check_blocks(&root);
        let shown = built.len();
        self.stray_properties(&root);
        let tests = self.check_tests(&root, &mut built);
        self.unused_members(&root);
        self.unused_items(&root);
        let programs: Vec<Arc<ir::Program>> = built.into_iter().map(|b| Arc::new(b.builder.finish())).collect();
        let tests = tests.into_iter().map(|(test, of)| (test, programs[of].clone())).collect();
        (programs.into_iter().take(shown).collect(), tests)
    }

    /// Notes whether an arm can be reached. What is elaborated more than once (for each alternative of a contract, say) may
    /// leave an arm out each time but one.
    fn arm(&mut self, span: Span, reached: bool) {
        *self.arms.entry(span).or_insert(false) |= reached;
    }

    fn unreachable_arms(&mut self) {
        let never: Vec<Span> = self.arms.iter().filter(|(_, reached)| !**reached).map(|(span, _)| *span).collect();
        for span in never {
            if self.errors_in(span) {
                continue;
            }
            self.report(Diagnostic::new(Code::UnreachableArm, span, "this arm never matches: those above take all of it"));
        }
    }

    fn finish(mut self, boxes: Vec<Arc<ir::Program>>, tests: Tests) -> Compilation {
        self.unreachable_arms();
        self.diagnostics.sort_by_key(|d| (d.primary.span, d.code));
        let failed = self.diagnostics.iter().any(|d| d.severity() == crate::diagnostics::Severity::Error);
        let types = std::mem::take(&mut self.types);
        let mut shown: FxHashMap<Ty, Arc<str>> = FxHashMap::default();
        let mut show = |ty: Ty| shown.entry(ty).or_insert_with_key(|ty| self.show(ty).into()).clone();
        let types = types.into_iter().map(|(span, ty)| (span, show(ty))).collect();
        let parsed = self.parsed.into_iter().map(|p| Rc::try_unwrap(p).unwrap_or_else(|shared| (*shared).clone())).collect();
        Compilation {
            sources: self.sources,
            parsed,
            diagnostics: self.diagnostics,
            boxes: if failed { Vec::new() } else { boxes },
            tests: if failed { Vec::new() } else { tests },
            types,
        }
    }

    /// An item's tree.
    fn item(&self, item: ItemRef) -> (Rc<Parsed>, usize) {
        (self.parsed[item.file.0 as usize].clone(), item.index as usize)
    }
}
