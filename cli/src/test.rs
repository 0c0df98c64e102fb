//! `grv test`: runs the `test` blocks of programs.

use crate::script::{self, hex};
use crate::{Format, Status, files, render};
use grv_lang::compile::Compilation;
use grv_lang::interp::test::{self, FailureKind};
use grv_lang::ir::{Form, Program, Test};
use grv_lang::random::{self, Explored};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Programs, or folders of programs
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only tests whose name holds this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Where the semantics leaves a choice open and a test gives none, decide by this number; also the start of random events
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Try also so many random events per file: invariants and properties must hold, and nothing may overflow
    #[arg(long, value_name = "N", default_value_t = 0)]
    random: usize,
    /// How results are shown
    #[arg(long, value_enum, default_value = "full")]
    format: Format,
}

#[derive(Serialize)]
struct Report<'r> {
    schema_version: u32,
    tests: Vec<Entry<'r>>,
    /// What random events refuted, as text.
    refuted: &'r [String],
    diagnostics: Vec<render::Finding<'r>>,
    summary: Summary,
}

#[derive(Serialize)]
struct Entry<'r> {
    file: &'r str,
    name: &'r str,
    middlebox: &'r str,
    line: u32,
    status: &'static str,
    failure: Option<Failed<'r>>,
}

#[derive(Serialize)]
struct Failed<'r> {
    message: String,
    #[serde(flatten)]
    place: render::Place<'r>,
}

#[derive(Serialize)]
struct Summary {
    passed: usize,
    failed: usize,
}

/// A test that was run.
struct Ran<'r> {
    of: &'r Compilation,
    test: &'r Test,
    middlebox: &'r str,
    failure: Option<test::Failure>,
}

pub(crate) fn main(args: &Args) -> Result<Status, String> {
    let mut compiled = Vec::new();
    for path in files::sources(&args.paths)? {
        compiled.push(files::load(&path)?);
    }
    let wanted = |test: &Test| args.only.as_ref().is_none_or(|text| test.name.contains(text));
    let all: Vec<_> = compiled.iter().flat_map(|c| c.tests.iter().filter(|(t, _)| wanted(t)).map(move |t| (c, t))).collect();
    let bar = ProgressBar::with_draw_target(Some(all.len() as u64), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let mut ran = Vec::new();
    for (of, (test, program)) in all {
        bar.set_message(test.name.clone());
        let failure = test::run(test, program, args.seed, None).err();
        ran.push(Ran { of, test, middlebox: &program.name, failure });
        bar.inc(1);
    }
    bar.finish_and_clear();
    let mut refuted = Vec::new();
    if args.random > 0 {
        for c in &compiled {
            let variants = variants(c);
            for program in &variants {
                bar.set_message(format!("random events at {}", program.name));
                refuted.extend(random(c, program, args.random.div_ceil(variants.len()), args));
            }
        }
    }
    let broken = compiled.iter().any(Compilation::failed) || !refuted.is_empty();
    let failed = ran.iter().filter(|r| r.failure.is_some()).count();
    let summary = Summary { passed: ran.len() - failed, failed };
    if args.format == Format::Json {
        let diagnostics = compiled.iter().flat_map(|c| c.diagnostics.iter().map(|d| render::finding(&c.sources, d))).collect();
        render::json(&Report {
            schema_version: 1,
            tests: ran.iter().map(entry).collect(),
            refuted: &refuted,
            diagnostics,
            summary,
        })?;
    } else {
        for c in &compiled {
            render::findings(&c.sources, &c.diagnostics, args.format)?;
        }
        ran.iter().for_each(|r| show(r, args.format));
        refuted.iter().for_each(|text| render::line(text));
        render::line(&format!("{} passed, {} failed", summary.passed, summary.failed));
    }
    if broken || failed > 0 {
        return Ok(Status::Bad);
    }
    if ran.is_empty() && args.random == 0 {
        return Err("there are no such tests".to_string());
    }
    Ok(Status::Good)
}

fn entry<'r>(ran: &'r Ran<'_>) -> Entry<'r> {
    let sources = &ran.of.sources;
    Entry {
        file: &sources.file(ran.test.span.file).path,
        name: &ran.test.name,
        middlebox: ran.middlebox,
        line: sources.start(ran.test.span).line,
        status: if ran.failure.is_some() { "failed" } else { "passed" },
        failure: ran.failure.as_ref().map(|f| Failed { message: f.to_string(), place: render::place(sources, f.span) }),
    }
}

fn show(ran: &Ran<'_>, format: Format) {
    let sources = &ran.of.sources;
    let path = &sources.file(ran.test.span.file).path;
    let Some(failure) = &ran.failure else {
        if format == Format::Full {
            render::line(&format!("pass  {path}: {}", ran.test.name));
        }
        return;
    };
    let at = sources.place(failure.span);
    if format == Format::Concise {
        return render::line(&format!("{at}: FAIL {}: {failure}", ran.test.name));
    }
    render::line(&format!("FAIL  {path}: {}", ran.test.name));
    render::line(&format!("      {at}: {failure}"));
    for text in sources.text(failure.span).lines().take(3) {
        render::line(&format!("      | {}", text.trim_end()));
    }
    match &failure.kind {
        FailureKind::Differs { expected, found, .. } => {
            render::line(&format!("      expected {}", crate::capture::describe(expected)));
            render::line(&format!("               {}", hex(expected)));
            render::line(&format!("      found    {}", crate::capture::describe(found)));
            render::line(&format!("               {}", hex(found)));
        }
        FailureKind::DoesNotFit { found, .. } | FailureKind::Unexpected { packet: found, .. } => {
            render::line(&format!("      found {}", crate::capture::describe(found)));
            render::line(&format!("            {}", hex(found)));
        }
        FailureKind::Defect(defect) => {
            if let Some(element) = &defect.element {
                render::line(&format!("      in `{element}`, at {}", sources.place(defect.span)));
            }
        }
        _ => {}
    }
}

/// The boxes of a file, each also with the compile-time parameters that its tests give it: small tables fill up sooner.
fn variants(of: &Compilation) -> Vec<&Arc<Program>> {
    let mut variants: Vec<&Arc<Program>> = of.boxes.iter().collect();
    for (_, on) in &of.tests {
        if !variants.iter().any(|known| Arc::ptr_eq(known, on)) {
            variants.push(on);
        }
    }
    variants
}

/// Tries random events at a middlebox; what they refute, as text.
fn random(of: &Compilation, program: &Arc<Program>, count: usize, args: &Args) -> Vec<String> {
    let sources = &of.sources;
    let file = &sources.file(program.span.file).path;
    let explored = random::explore(program, &random::scripts(program, &of.tests), count, args.seed);
    if explored.failures.is_empty() && args.format == Format::Full {
        let Explored { events, checks, .. } = explored;
        render::remark(&format!("{file}: {}: {events} random events, {checks} checks of properties", program.name));
        for (property, _) in program.properties.iter().zip(&explored.shown).filter(|(_, shown)| !**shown) {
            if matches!(property.form, Form::Reachable { .. }) {
                render::remark(&format!("{}: no random event reached `{}`", sources.place(property.span), property.name));
            }
        }
    }
    explored.failures.iter().map(|found| script::counterexample(of, program, found)).collect()
}
