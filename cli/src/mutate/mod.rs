//! `grv mutate`: changes programs in small ways and tells which changes no property and no test notices.

mod machine;
mod text;

use crate::verify::select::{self, Selection};
use crate::verify::{Source, box_name, failed, open, positive, read, remark_findings};
use crate::{Status, render};
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use grv_lang::mutate::{Mutant, Operator};
use grv_lang::source::Position;
use grv_verifier::desk::{Desk, Failure};
use grv_verifier::mutate::{By, Choice, Outcome, Subject};
use grv_verifier::prove::{Options, Progress};
use grv_verifier::solve::{SolverError, interrupted};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Changes programs in small ways, as somebody who errs would: which changes does no property and no test notice?
///
/// What is changed are the handlers of all elements, how long entries live, and timers. A change is noticed if a property that is proved of
/// the program is refuted of the changed one, or does not follow any more; or something that every program is obliged to does not; or a test
/// fails. A proof that only runs out of budget notices nothing. What nothing notices because it is shown to change nothing does not count.
///
/// Exit status: 0 all changes are noticed; 1 some are not, or a program has errors; 2 usage, or no solver; 101 internal error; 130 interrupted.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Programs, or folders of programs
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// How results are shown
    #[arg(long, value_enum, default_value = "full")]
    format: Format,
    /// Only properties of that name count; `*` and `?` stand for any characters. May be given several times
    #[arg(long, value_name = "GLOB")]
    property: Vec<String>,
    /// Only changes of that kind. May be given several times
    #[arg(long, value_name = "NAME", value_parser = operators())]
    operator: Vec<Operator>,
    /// At most so many changes of each middlebox, taken from all over it
    #[arg(long, value_name = "N", value_parser = positive)]
    limit: Option<usize>,
    /// Find all that notice a change, not only the first
    #[arg(long)]
    all: bool,
    /// Changes that are tried at a time, each with a solver process
    #[arg(long, value_name = "N", default_value_t = Options::default().jobs, value_parser = positive)]
    jobs: usize,
    /// Resource units of the solver that a question about a change may cost. Default: twice what those about the program itself cost
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    budget: Option<u32>,
    /// Random events that each change is tried on first
    #[arg(long, value_name = "N", default_value_t = Options::default().events)]
    events: usize,
    /// Where answers about the programs are kept, as for `grv verify`
    #[arg(long, value_name = "DIR|off|frozen")]
    cache: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Each change, and what noticed it
    Full,
    /// What nothing notices, one line each
    Concise,
    /// One JSON object, see schemas/
    Json,
    /// One JSON object a line for each change, as soon as it was tried: a run that is interrupted has told what it found
    JsonLines,
}

fn operators() -> impl TypedValueParser<Value = Operator> {
    PossibleValuesParser::new(Operator::ALL.map(Operator::name)).map(|name| {
        // The parser takes no other names.
        Operator::ALL.into_iter().find(|o| o.name() == name).unwrap_or(Operator::NegateGuard)
    })
}

/// A change, and where it is.
struct Change {
    /// Names it in the run.
    id: String,
    file: String,
    start: Position,
    mutant: Mutant,
}

/// A change and what noticed it.
struct Tried {
    change: Change,
    outcome: Outcome,
}

/// What came of a box.
struct Ran {
    name: String,
    /// The properties that can kill.
    properties: Vec<String>,
    tests: usize,
    tried: Vec<Tried>,
    /// Changes that change nothing, and count for nothing.
    equivalent: Vec<Tried>,
}

/// How many changes were noticed by what.
#[derive(Clone, Copy, Default, serde::Serialize)]
struct Summary {
    mutants: usize,
    /// By properties, whatever else.
    by_properties: usize,
    /// By what every program is obliged to, and no property.
    by_automatic: usize,
    /// By tests, and nothing else.
    by_tests_only: usize,
    /// By tests, whatever else.
    by_tests: usize,
    surviving: usize,
    /// Not among the mutants: of these it is shown that they change nothing.
    equivalent: usize,
}

impl Summary {
    fn of<'t>(ran: impl Iterator<Item = &'t Ran> + Clone) -> Summary {
        let equivalent = ran.clone().map(|r| r.equivalent.len()).sum();
        let mut summary = Summary { equivalent, ..Summary::default() };
        for Tried { outcome, .. } in ran.flat_map(|r| &r.tried) {
            summary.mutants += 1;
            let count = match outcome.by() {
                Some(By::Property) => &mut summary.by_properties,
                Some(By::Automatic) => &mut summary.by_automatic,
                Some(By::Test) => &mut summary.by_tests_only,
                None => &mut summary.surviving,
            };
            *count += 1;
            summary.by_tests += usize::from(outcome.is_killed_by(By::Test));
        }
        summary
    }

    /// So many of all, in percent; all, if there are none.
    fn percent(&self, count: usize) -> f64 {
        if self.mutants == 0 { 100.0 } else { (count as f64 * 1_000.0 / self.mutants as f64).round() / 10.0 }
    }
}

/// The name of a property without its parts and ports.
fn base(name: &str) -> &str {
    name.split(['[', '/']).next().unwrap_or(name)
}

pub(crate) fn main(args: &Args) -> Result<Status, String> {
    let selection = Selection::new(&args.property, None)?;
    let sources = read(&args.paths)?;
    let done = select::cache(args.cache.as_deref()).map_err(Failure::Usage).and_then(|cache| open(cache, None, None));
    let ran = done.and_then(|desk| run(&sources, &selection, args, &desk));
    let ran = match ran {
        Ok(ran) => ran,
        Err(failure) => return failed(failure),
    };
    let broken = sources.iter().any(|s| s.of.failed());
    if ran.iter().all(|r| r.tried.is_empty()) && !broken {
        return Err("there is nothing to change: no middlebox, or none of the changes asked for".to_string());
    }
    match args.format {
        Format::Json => machine::show(&sources, &ran)?,
        // Changes were shown as they came.
        Format::JsonLines => remark_findings(&sources),
        Format::Full | Format::Concise => text::show(&sources, &ran, args.format)?,
    }
    let survive = ran.iter().flat_map(|r| &r.tried).any(|t| t.outcome.by().is_none());
    Ok(if broken || survive { Status::Bad } else { Status::Good })
}

fn run(sources: &[Source], selection: &Selection, args: &Args, desk: &Desk) -> Result<Vec<Ran>, Failure> {
    let mut all = Vec::new();
    for source in sources {
        for program in &source.of.boxes {
            all.push(of_box(source, program, selection, args, desk)?);
        }
    }
    Ok(all)
}

fn of_box(
    source: &Source,
    program: &std::sync::Arc<grv_lang::ir::Program>,
    selection: &Selection,
    args: &Args,
    desk: &Desk,
) -> Result<Ran, Failure> {
    let wanted = selection.wanted(&source.of.sources);
    let choice = Choice { wanted: &wanted, automatic: selection.automatic() };
    let usual = Options { jobs: args.jobs, events: args.events, ..Options::default() };
    let proofs = render::progress(&format!("{} as it is", program.name));
    let watch = |progress: Progress<'_>| match progress {
        Progress::More(count) => proofs.inc_length(count as u64),
        Progress::Done(count) => proofs.inc(count as u64),
        Progress::Report(..) => {}
    };
    let subject = Subject::new(program, &source.of.tests, choice, &usual, desk, &watch)?;
    proofs.finish_and_clear();
    let name = box_name(&source.path, program);
    let mutants = subject.mutants(&|operator, _| args.operator.is_empty() || args.operator.contains(&operator));
    let changes = changes(source, &name, mutants, args.limit);
    let options = Options { budget: args.budget.unwrap_or_else(|| subject.budget(usual.budget)), ..usual };
    let progress = render::progress(&format!("{} changed", program.name));
    progress.set_length(changes.len() as u64);
    let judge = |change: &Change| {
        let outcome = subject.judge(&source.of.tests, &change.mutant, args.all, &options, desk)?;
        progress.inc(1);
        if args.format == Format::JsonLines {
            machine::line(&name, change, &outcome).map_err(Failure::Internal)?;
        }
        Ok(outcome)
    };
    let outcomes = spread(&changes, args.jobs, &judge);
    progress.finish_and_clear();
    let mut tried: Vec<Tried> = changes.into_iter().zip(outcomes?).map(|(change, outcome)| Tried { change, outcome }).collect();
    tried.sort_by_key(|t| (t.change.mutant.span, t.change.mutant.operator));
    let properties: BTreeSet<String> = subject.properties().map(|name| base(name).to_string()).collect();
    let (equivalent, tried) = tried.into_iter().partition(|t: &Tried| t.outcome.changes_nothing);
    Ok(Ran { name, properties: properties.into_iter().collect(), tests: subject.tests(), tried, equivalent })
}

/// Changes with their names, at most so many, in an order in which the first are from all over the box, however few are looked at.
fn changes(source: &Source, name: &str, mutants: Vec<Mutant>, limit: Option<usize>) -> Vec<Change> {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let named = mutants.into_iter().map(|mutant| {
        let start = source.of.sources.start(mutant.span);
        let stem = format!("{name}:{}:{}", start.line, mutant.operator.name());
        let number = (1..).find(|n| taken.insert(format!("{stem}:{n}"))).unwrap_or(0);
        let file = source.of.sources.file(mutant.span.file).path.clone();
        Change { id: format!("{stem}:{number}"), file, start, mutant }
    });
    let mut all: Vec<(usize, Change)> = named.enumerate().collect();
    // Numbers read backwards: a half, a quarter, three quarters, ...
    all.sort_by_key(|(at, _)| at.reverse_bits());
    let all = all.into_iter().map(|(_, change)| change);
    all.take(limit.unwrap_or(usize::MAX)).collect()
}

/// Programs are walked recursively.
const STACK: usize = 64 << 20;

/// Tries all changes, several at a time; what came of them in order.
fn spread(
    changes: &[Change],
    jobs: usize,
    judge: &(dyn Fn(&Change) -> Result<Outcome, Failure> + Sync),
) -> Result<Vec<Outcome>, Failure> {
    let next = AtomicUsize::new(0);
    let outcomes: Mutex<Vec<Option<Outcome>>> = Mutex::new(vec![None; changes.len()]);
    let failure: Mutex<Option<Failure>> = Mutex::new(None);
    let fail = |found: Failure| {
        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(found);
        next.store(changes.len(), Ordering::SeqCst);
    };
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::SeqCst);
            let Some(change) = changes.get(at) else { return };
            if interrupted() {
                return fail(SolverError::Interrupted.into());
            }
            match judge(change) {
                Ok(outcome) => outcomes.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(outcome),
                Err(found) => return fail(found),
            }
        }
    };
    std::thread::scope(|scope| {
        let start = || std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        let workers: Vec<_> = (0..jobs).map(|_| start()).collect();
        for worker in workers {
            match worker.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(())) => {}
                Ok(Err(_)) => fail(Failure::Internal("a thread panicked".to_string())),
                Err(error) => fail(Failure::Usage(format!("no thread can be started: {error}"))),
            }
        }
    });
    if let Some(failure) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(failure);
    }
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| Failure::Internal("a change was not tried".to_string()))
}
