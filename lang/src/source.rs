//! Source files and where modules come from. The crate does no IO: a [`Loader`] is asked for texts.

use crate::span::{FileId, Span};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A source file.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Its path as it is shown; `std/net.grv` for the standard library.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Offsets of the beginnings of lines.
    lines: Vec<u32>,
}

/// All files of a compilation.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    files: Vec<SourceFile>,
}

/// A place for people: lines and columns from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

impl SourceMap {
    /// Adds a file.
    pub fn add(&mut self, path: String, text: String) -> FileId {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i as u32 + 1)).collect();
        self.files.push(SourceFile { path, text, lines });
        FileId(self.files.len() as u32 - 1)
    }

    /// A file.
    pub fn file(&self, id: FileId) -> &SourceFile {
        &self.files[id.0 as usize]
    }

    /// All files, in the order in which they were added.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// The words at a place.
    pub fn text(&self, span: Span) -> &str {
        self.file(span.file).text.get(span.range()).unwrap_or_default()
    }

    /// Where a span begins.
    pub fn start(&self, span: Span) -> Position {
        self.file(span.file).position(span.start)
    }

    /// Where a span ends.
    pub fn end(&self, span: Span) -> Position {
        self.file(span.file).position(span.end)
    }

    /// `path:line:column` of a span's beginning.
    pub fn place(&self, span: Span) -> String {
        let Position { line, column } = self.start(span);
        format!("{}:{line}:{column}", self.file(span.file).path)
    }
}

impl SourceFile {
    /// The line and column of an offset.
    pub fn position(&self, offset: u32) -> Position {
        let line = self.lines.partition_point(|&start| start <= offset).saturating_sub(1);
        let start = self.lines[line] as usize;
        let before = self.text.get(start..offset as usize).unwrap_or_default();
        Position { line: line as u32 + 1, column: before.chars().count() as u32 + 1 }
    }
}

/// Where the texts of imported modules come from.
pub trait Loader {
    /// The file that `use a::b::Name;` in the file `from` takes `Name` from (module `["a", "b"]`): its path and its bytes.
    fn load(&self, module: &[&str], from: &str) -> Option<(String, Vec<u8>)>;
}

/// Looks for the module `a::b` as `a/b.grv` in the folder of the file that imports it, or in the nearest folder above that has it.
/// `read` says what a path holds, if it is a file.
pub fn beside(module: &[&str], from: &Path, read: impl Fn(&Path) -> Option<Vec<u8>>) -> Option<(PathBuf, Vec<u8>)> {
    let file = module.iter().collect::<PathBuf>().with_extension("grv");
    from.ancestors().skip(1).map(|folder| folder.join(&file)).find_map(|path| read(&path).map(|bytes| (path, bytes)))
}

/// Finds modules [`beside()`] the files that import them.
pub struct Beside<F>(pub F);

impl<F: Fn(&Path) -> Option<Vec<u8>>> Loader for Beside<F> {
    fn load(&self, module: &[&str], from: &str) -> Option<(String, Vec<u8>)> {
        let (path, bytes) = beside(module, Path::new(from), &self.0)?;
        Some((path.display().to_string(), bytes))
    }
}

/// Finds no modules but those of the standard library.
pub struct NoModules;

impl Loader for NoModules {
    fn load(&self, _: &[&str], _: &str) -> Option<(String, Vec<u8>)> {
        None
    }
}
