//! Diagnostics for terminals, one line each, and as JSON. Colours only on terminals.

use crate::Format;
use codespan_reporting::diagnostic::{Diagnostic as Shown, Label, LabelStyle, Severity as Level};
use codespan_reporting::files::SimpleFiles;
use codespan_reporting::term::{self, termcolor};
use grv_lang::diagnostics::{Diagnostic, Severity};
use grv_lang::source::{Position, SourceMap};
use grv_lang::span::Span;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::io::Write;

/// Prints a line to standard output. A reader that has gone away ends the program quietly.
pub(crate) fn line(text: &str) {
    let mut out = anstream::stdout().lock();
    if writeln!(out, "{text}").is_err() {
        std::process::exit(0);
    }
}

/// Says on standard error why a command is not carried out.
pub(crate) fn complain(message: &str) {
    // Nobody to tell if standard error is closed.
    let _told = writeln!(anstream::stderr(), "error: {message}");
}

/// Says something on standard error that is no error.
pub(crate) fn remark(message: &str) {
    let _told = writeln!(anstream::stderr(), "{message}");
}

/// Prints JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), String> {
    let text = serde_json::to_string_pretty(value).map_err(|e| e.to_string())?;
    line(&text);
    Ok(())
}

/// Shows findings.
pub(crate) fn findings(sources: &SourceMap, found: &[Diagnostic], format: Format) -> Result<(), String> {
    match format {
        Format::Json => Ok(()),
        Format::Concise => {
            for d in found {
                line(&format!("{}: {} [{}] {}", sources.place(d.primary.span), severity(d), d.code, d.message));
            }
            Ok(())
        }
        Format::Full => full(sources, found),
    }
}

fn severity(d: &Diagnostic) -> &'static str {
    match d.severity() {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn full(sources: &SourceMap, found: &[Diagnostic]) -> Result<(), String> {
    if found.is_empty() {
        return Ok(());
    }
    let mut files = SimpleFiles::new();
    for file in sources.files() {
        files.add(file.path.as_str(), file.text.as_str());
    }
    let choice = if anstream::AutoStream::choice(&std::io::stdout()) == anstream::ColorChoice::Never {
        termcolor::ColorChoice::Never
    } else {
        termcolor::ColorChoice::Always
    };
    let out = termcolor::StandardStream::stdout(choice);
    for d in found {
        let label = |span: Span, text: &str, style| Label::new(style, span.file.0 as usize, span.range()).with_message(text);
        let mut labels = vec![label(d.primary.span, &d.primary.text, LabelStyle::Primary)];
        labels.extend(d.secondary.iter().map(|l| label(l.span, &l.text, LabelStyle::Secondary)));
        let mut notes = d.notes.clone();
        if let Some(fix) = &d.fix {
            let said = fix.message.contains(&fix.replacement);
            notes.push(if said { fix.message.clone() } else { format!("{}: `{}`", fix.message, fix.replacement) });
        }
        let level = match d.severity() {
            Severity::Error => Level::Error,
            Severity::Warning => Level::Warning,
        };
        let shown = Shown::new(level).with_code(d.code.name()).with_message(&d.message).with_labels(labels).with_notes(notes);
        let done = term::emit_to_write_style(&mut out.lock(), &term::Config::default(), &files, &shown);
        match done {
            Ok(()) => {}
            Err(codespan_reporting::files::Error::Io(_)) => std::process::exit(0),
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

/// A finding in JSON.
#[derive(Serialize)]
pub(crate) struct Finding<'d> {
    code: &'static str,
    severity: &'static str,
    message: &'d str,
    #[serde(flatten)]
    place: Place<'d>,
    labels: Vec<JsonLabel<'d>>,
    notes: &'d [String],
    fix: Option<JsonFix<'d>>,
}

#[derive(Serialize)]
struct JsonLabel<'d> {
    #[serde(flatten)]
    place: Place<'d>,
    message: &'d str,
}

#[derive(Serialize)]
struct JsonFix<'d> {
    #[serde(flatten)]
    place: Place<'d>,
    replacement: &'d str,
    message: &'d str,
}

/// A place in JSON: lines and columns from 1.
#[derive(Serialize)]
pub(crate) struct Place<'d> {
    file: &'d str,
    start: Position,
    end: Position,
}

/// A place in JSON.
pub(crate) fn place(sources: &SourceMap, span: Span) -> Place<'_> {
    Place { file: &sources.file(span.file).path, start: sources.start(span), end: sources.end(span) }
}

/// A finding in JSON.
pub(crate) fn finding<'d>(sources: &'d SourceMap, d: &'d Diagnostic) -> Finding<'d> {
    let own = (!d.primary.text.is_empty()).then_some(&d.primary);
    let labels = own.into_iter().chain(&d.secondary);
    Finding {
        code: d.code.name(),
        severity: severity(d),
        message: &d.message,
        place: place(sources, d.primary.span),
        labels: labels.map(|l| JsonLabel { place: place(sources, l.span), message: &l.text }).collect(),
        notes: &d.notes,
        fix: d.fix.as_ref().map(|f| JsonFix { place: place(sources, f.span), replacement: &f.replacement, message: &f.message }),
    }
}

/// A bar for work of which it turns out on the way how much it is: on stderr, and only on a terminal.
pub(crate) fn progress(what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(what.to_string());
    bar
}
