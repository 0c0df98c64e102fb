//! The passes in order: text -> tokens -> tree -> resolved and typed -> core IR. Nothing fails: what is wrong is a diagnostic.

use crate::diagnostics::{Diagnostic, Severity};
use crate::ir;
use crate::source::{Loader, SourceMap};
use crate::span::FileId;
use crate::syntax::Parsed;
use std::sync::Arc;

/// What a compilation makes of a file and its imports.
pub struct Compilation {
    /// All files; the first is the one asked for.
    pub sources: SourceMap,
    /// Their trees, in the same order.
    pub parsed: Vec<Parsed>,
    /// What is wrong, sorted by file and place.
    pub diagnostics: Vec<Diagnostic>,
    /// The middleboxes declared in the first file, with default compile-time parameters; none if there are errors.
    pub boxes: Vec<Arc<ir::Program>>,
    /// The tests of the first file, each with the box it runs on; none if there are errors.
    pub tests: Vec<(ir::Test, Arc<ir::Program>)>,
    /// Types of the first file's expressions, in no order: the typed program.
    pub types: Vec<(crate::span::Span, Arc<str>)>,
}

impl Compilation {
    /// Whether there is any error.
    pub fn failed(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity() == Severity::Error)
    }
}

/// Compiles a file. `path` is how it is shown; bytes that are no UTF-8 are reported.
pub fn compile(path: &str, bytes: &[u8], loader: &dyn Loader) -> Compilation {
    crate::elab::compile(path, bytes, loader)
}

/// The file asked for.
pub const ROOT: FileId = FileId(0);
