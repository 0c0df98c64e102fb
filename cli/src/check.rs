//! `grv check`: what the compiler has to say of programs.

use crate::build::Target;
use crate::render::{self, Finding};
use crate::{Format, Status, files};
use clap::ValueEnum;
use grv_codegen::ebpf::{self, Kernel, Options, Proofs};
use grv_lang::compile::Compilation;
use grv_lang::diagnostics::{Diagnostic, Severity};
use grv_lang::ir::{Program, print};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Programs, or folders of programs
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// How findings are shown
    #[arg(long, value_enum, default_value = "full")]
    format: Format,
    /// Print a stage of the compilation instead
    #[arg(long, value_enum, value_name = "STAGE")]
    emit: Option<Stage>,
    /// Find out, too, what a target does not have of what the programs need
    #[arg(long, value_enum)]
    target: Option<Target>,
    /// The oldest kernel that the target must run on: 5.15, 6.1, 6.6, 6.12 or 6.18
    #[arg(long, value_name = "VERSION", default_value = "5.15", requires = "target")]
    kernel: Kernel,
    /// Warnings count as errors
    #[arg(long)]
    deny_warnings: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// The syntax tree, as JSON
    Ast,
    /// The types of expressions, by place
    Typed,
    /// The core IR of each middlebox and test
    Ir,
}

#[derive(Serialize)]
struct Report<'r> {
    schema_version: u32,
    diagnostics: Vec<Finding<'r>>,
    summary: Summary,
}

#[derive(Serialize)]
struct Summary {
    files: usize,
    errors: usize,
    warnings: usize,
}

pub(crate) fn main(args: &Args) -> Result<Status, String> {
    let mut compiled = Vec::new();
    for path in files::sources(&args.paths)? {
        let mut c = files::load(&path)?;
        if let Some(Target::Ebpf) = args.target {
            fits_ebpf(&mut c, args.kernel);
        }
        compiled.push(c);
    }
    let count = |wanted: Severity| compiled.iter().flat_map(|c| &c.diagnostics).filter(|d| d.severity() == wanted).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let status = if errors > 0 || (args.deny_warnings && warnings > 0) { Status::Bad } else { Status::Good };
    if args.format == Format::Json {
        let diagnostics = compiled.iter().flat_map(|c| c.diagnostics.iter().map(|d| render::finding(&c.sources, d))).collect();
        let summary = Summary { files: compiled.len(), errors, warnings };
        render::json(&Report { schema_version: 1, diagnostics, summary })?;
        return Ok(status);
    }
    for c in &compiled {
        match args.emit {
            Some(Stage::Ast) => {
                if let Some(parsed) = c.parsed.first() {
                    render::json(&parsed.file)?;
                }
            }
            Some(Stage::Typed) => typed(c),
            Some(Stage::Ir) => {
                c.boxes.iter().for_each(|program| render::line(&print::print(program)));
                c.tests.iter().for_each(|(test, program)| render::line(&print::print_test(program, test)));
            }
            None => {}
        }
        render::findings(&c.sources, &c.diagnostics, args.format)?;
    }
    if errors + warnings > 0 {
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let (errors, warnings) = (count(errors, "error"), count(warnings, "warning"));
        render::remark(&format!("{errors}, {warnings} in {}", count(compiled.len(), "file")));
        if args.format == Format::Full
            && let Some(d) = compiled.iter().flat_map(|c| &c.diagnostics).next()
        {
            render::remark(&format!("`grv explain {}` tells more about a code", d.code));
        }
    }
    // The process ends: what was compiled need not be taken apart.
    std::mem::forget(compiled);
    Ok(status)
}

/// Adds what the target does not have; a program with errors of its own is for none.
fn fits_ebpf(c: &mut Compilation, kernel: Kernel) {
    let options = Options { kernel, ..Options::default() };
    let missing = |program: &Arc<Program>| ebpf::build(program, &c.sources, &options, &Proofs::default()).err();
    let found: Vec<Diagnostic> = c.boxes.iter().filter_map(missing).flatten().collect();
    c.diagnostics.extend(found);
}

/// Each expression of the first file with its type.
fn typed(c: &Compilation) {
    let mut types: Vec<_> = c.types.iter().collect();
    types.sort();
    for (span, ty) in types {
        let text = c.sources.text(*span);
        let first = text.lines().next().unwrap_or_default();
        let more = if text.lines().count() > 1 { " ..." } else { "" };
        render::line(&format!("{}: {first}{more}: {ty}", c.sources.place(*span)));
    }
}
