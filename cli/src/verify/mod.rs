//! `grv verify`: proves what programs promise.

pub(crate) mod audit;
mod compliance;
mod entry;
mod example;
mod junit;
mod machine;
mod sarif;
mod save;
pub(crate) mod select;
pub(crate) mod stability;
mod state;
mod text;

use crate::{Status, files, render};
use clap::ValueEnum;
use entry::Entry;
use grv_lang::compile::Compilation;
use grv_lang::random;
use grv_verifier::cache::Cache;
use grv_verifier::cross::Cross;
use grv_verifier::desk::{Desk, Failure};
use grv_verifier::prove::{self, Options, Progress, Report, Task, Verdict};
use grv_verifier::solve::{self, SolverError};
use select::Selection;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Proves what middleboxes promise.
///
/// Exit status: 0 all is proved; 1 something is refuted, vacuous, unreachable or assumed, or a program has errors; 2 usage, or
/// no solver; 3 nothing is wrong, but not all is proved; 101 internal error; 130 interrupted.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Programs, or folders of programs
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only properties of that name; `*` and `?` stand for any characters. May be given several times
    #[arg(long, value_name = "GLOB")]
    property: Vec<String>,
    /// Only what is at this place, as reports name it
    #[arg(long, value_name = "FILE:LINE")]
    at: Option<String>,
    /// How results are shown
    #[arg(long, value_enum, default_value = "full")]
    format: Format,
    /// Show also what is proved
    #[arg(long, short)]
    verbose: bool,
    /// Show what each proof rests on
    #[arg(long)]
    explain: bool,
    /// Show the table of requirements: row, source, property, verdict
    #[arg(long)]
    compliance: bool,
    /// Properties of that name may be assumed. May be given several times
    #[arg(long, value_name = "GLOB")]
    allow_assumed: Vec<String>,
    #[command(flatten)]
    solving: Solving,
    /// Of each middlebox, stop at the first thing that is refuted
    #[arg(long)]
    fail_fast: bool,
    /// Where answers are kept: a folder, `off`, or `frozen`: what is not kept fails. Default: $GRV_CACHE, or `grv-cache` in the
    /// folder `target` if there is one, or `grv` in the user's folder of caches
    #[arg(long, value_name = "DIR|off|frozen")]
    cache: Option<String>,
    /// Write each question to this folder, as SMT-LIB 2
    #[arg(long, value_name = "DIR")]
    smt2: Option<PathBuf>,
    /// Add each counterexample to this file, as a test that fails until the program is mended. A file that is not there yet is
    /// created, and imports the program beside it
    #[arg(long, value_name = "FILE")]
    save_test: Option<PathBuf>,
    /// Write the packets of each counterexample to captures in this folder: NAME/in-PORT.pcap and NAME/out-PORT.pcap
    #[arg(long, value_name = "DIR")]
    save_pcap: Option<PathBuf>,
    /// Ask a second solver too: cvc5, or what GRV_CROSS_SOLVER names
    #[arg(long)]
    cross_check: bool,
}

/// How much may be spent.
#[derive(clap::Args)]
pub(crate) struct Solving {
    /// Threads, each with a solver process
    #[arg(long, value_name = "N", default_value_t = Options::default().jobs, value_parser = positive)]
    jobs: usize,
    /// Resource units of the solver that a question may cost
    #[arg(long, value_name = "N", default_value_t = Options::default().budget, value_parser = clap::value_parser!(u32).range(1..))]
    budget: u32,
    /// Random events that each middlebox is tried on first
    #[arg(long, value_name = "N", default_value_t = Options::default().events)]
    events: usize,
}

pub(crate) fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| (1..=1024).contains(n)).ok_or_else(|| "a number from 1 to 1024 is needed".to_string())
}

impl Solving {
    pub(crate) fn options(&self, seed: u32) -> Options {
        Options { jobs: self.jobs, events: self.events, seed, ..Options::of_budget(self.budget) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// What is not proved, with counterexamples
    Full,
    /// One line each
    Concise,
    /// One JSON object, see schemas/
    Json,
    /// One JSON object a line, as soon as it is known
    JsonLines,
    /// Annotations of a GitHub workflow
    Github,
    /// SARIF 2.1.0
    Sarif,
    /// JUnit XML
    Junit,
}

/// A program that was read.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) of: Compilation,
}

/// Reads all programs.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Source>, String> {
    let mut sources: Vec<Source> = Vec::new();
    for path in files::sources(paths)? {
        // A program that is named twice is one.
        if !sources.iter().any(|s| s.path == path) {
            let of = files::load(&path)?;
            sources.push(Source { path, of });
        }
    }
    Ok(sources)
}

/// The boxes of programs, by number of their program.
fn boxes(sources: &[Source]) -> Vec<(usize, &Arc<grv_lang::ir::Program>)> {
    sources.iter().enumerate().flat_map(|(index, s)| s.of.boxes.iter().map(move |b| (index, b))).collect()
}

/// The name of the folder that a file is in.
fn folder(path: &Path) -> String {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    whole.parent().and_then(Path::file_name).map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// What names a box among all: its folder, its file, its name.
pub(crate) fn box_name(path: &Path, program: &grv_lang::ir::Program) -> String {
    let stem = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    format!("{}/{stem}:{}", folder(path), program.name)
}

pub(crate) fn main(args: &Args) -> Result<Status, String> {
    let start = Instant::now();
    let selection = Selection::new(&args.property, args.at.as_deref())?;
    let sources = read(&args.paths)?;
    let desk = match desk(args) {
        Ok(desk) => desk,
        Err(failure) => return failed(failure),
    };
    let number = boxes(&sources);
    let show = |of: usize, report: &Report| {
        if args.format == Format::JsonLines {
            let (source, program) = number[of];
            let source = &sources[source];
            for entry in entry::entries(source, program, report) {
                match serde_json::to_string(&entry) {
                    Ok(line) => render::line(&line),
                    Err(error) => render::complain(&error.to_string()),
                }
            }
        }
    };
    let reports = match run(&sources, &selection, &Options { fail_fast: args.fail_fast, ..args.solving.options(0) }, &desk, &show)
    {
        Ok(reports) => reports,
        Err(failure) => return failed(failure),
    };
    for remark in desk.cache.remarks() {
        render::remark(&format!("remark: {remark}"));
    }
    let mut entries: Vec<Entry<'_>> =
        number.iter().zip(&reports).flat_map(|((s, program), report)| entry::entries(&sources[*s], program, report)).collect();
    entry::sort(&mut entries);
    let broken = sources.iter().any(|s| s.of.failed());
    if entries.is_empty() && !broken {
        return Err(selection.nothing());
    }
    if let Some(file) = &args.save_test {
        save::tests(&entries, file)?;
    }
    if let Some(folder) = &args.save_pcap {
        save::captures(&entries, folder)?;
    }
    let compliance = args.compliance.then(|| compliance::rows(&entries));
    let shown = Shown { sources: &sources, desk: &desk, entries: &entries, compliance: compliance.as_deref(), start };
    match args.format {
        Format::Full => text::full(&shown, args)?,
        Format::Concise => text::concise(&shown)?,
        Format::Json => machine::json(&shown)?,
        Format::JsonLines => {}
        Format::Github => machine::github(&shown),
        Format::Sarif => sarif::show(&shown)?,
        Format::Junit => junit::show(&shown),
    }
    if !matches!(args.format, Format::Full | Format::Concise | Format::Json) {
        remark_findings(&sources);
    }
    let status = status(&entries, &args.allow_assumed);
    Ok(if broken { Status::Bad } else { status })
}

/// The diagnostics of programs, where results have no place for them.
pub(crate) fn remark_findings(sources: &[Source]) {
    sources.iter().flat_map(|s| s.of.diagnostics.iter().map(move |d| (s, d))).for_each(|(s, d)| {
        render::remark(&format!("{}: [{}] {}", s.of.sources.place(d.primary.span), d.code, d.message));
    });
}

/// All that there is to show.
struct Shown<'r> {
    sources: &'r [Source],
    desk: &'r Desk,
    entries: &'r [Entry<'r>],
    compliance: Option<&'r [compliance::Row<'r>]>,
    start: Instant,
}

/// The exit status of a run.
fn status(entries: &[Entry<'_>], allowed: &[String]) -> Status {
    let mut status = Status::Good;
    for entry in entries {
        match &entry.obligation.verdict {
            Verdict::Proved => {}
            Verdict::Assumed(_) if allowed.iter().any(|glob| select::matches(glob, &entry.obligation.name)) => {}
            Verdict::Refuted(_) | Verdict::Vacuous | Verdict::Unreachable | Verdict::Assumed(_) => return Status::Bad,
            Verdict::NotInductive(_) | Verdict::Unknown(_) | Verdict::Budget | Verdict::NotAttempted(_) => {
                status = Status::Inconclusive;
            }
        }
    }
    status
}

/// What a run that has no verdicts ends with.
pub(crate) fn failed(failure: Failure) -> Result<Status, String> {
    match failure {
        Failure::Solver(SolverError::Interrupted) => {
            render::complain("interrupted: nothing is decided");
            Ok(Status::Interrupted)
        }
        Failure::Solver(_) | Failure::Usage(_) => Err(failure.to_string()),
        Failure::Disagreement { .. } | Failure::Internal(_) => {
            render::complain(&failure.to_string());
            Ok(Status::Internal)
        }
    }
}

fn desk(args: &Args) -> Result<Desk, Failure> {
    let cache = select::cache(args.cache.as_deref()).map_err(Failure::Usage)?;
    let cross = if args.cross_check { Some(Cross::find().map_err(Failure::Usage)?) } else { None };
    open(cache, cross, args.smt2.clone())
}

/// Starts a solver; from here on an interruption ends it first, and a second one ends this process at once.
pub(crate) fn open(cache: Cache, cross: Option<Cross>, smt2: Option<PathBuf>) -> Result<Desk, Failure> {
    let handler = || {
        if solve::interrupted() {
            std::process::exit(Status::Interrupted as i32);
        }
        solve::interrupt();
    };
    ctrlc::set_handler(handler).map_err(|e| Failure::Usage(format!("interruptions cannot be noticed: {e}")))?;
    Ok(Desk::open(solve::program(), cache, cross, smt2)?)
}

/// Verifies the boxes of programs; their reports in order.
pub(crate) fn run(
    sources: &[Source],
    selection: &Selection,
    options: &Options,
    desk: &Desk,
    show: &(dyn Fn(usize, &Report) + Sync),
) -> Result<Vec<Report>, Failure> {
    let wanted: Vec<_> = sources.iter().map(|s| selection.wanted(&s.of.sources)).collect();
    let task = |(index, program): (usize, &Arc<grv_lang::ir::Program>)| {
        let Source { path, of } = &sources[index];
        Task {
            name: box_name(path, program),
            program: program.clone(),
            tests: random::scripts(program, &of.tests),
            wanted: &wanted[index],
            first: &[],
            automatic: selection.automatic(),
            whole: selection.whole(),
        }
    };
    let tasks: Vec<Task<'_>> = boxes(sources).into_iter().map(task).collect();
    let bar = render::progress("");
    let watch = |progress: Progress<'_>| match progress {
        Progress::More(count) => bar.inc_length(count as u64),
        Progress::Done(count) => bar.inc(count as u64),
        Progress::Report(of, report) => bar.suspend(|| show(of, report)),
    };
    let reports = prove::verify(&tasks, options, desk, &watch);
    bar.finish_and_clear();
    reports
}
