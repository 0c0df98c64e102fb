//! Boxes verified, all of them at once: random events, which refute what is plainly wrong and find examples, and proofs. One queue
//! feeds all threads, and each thread has a solver of its own.

use super::Goal;
use super::proof::Effort;
use super::queue::Queue;
use super::reach::Place;
use super::rounds::State;
use super::search::{Aim, From};
use super::verdict::Report;
use crate::cache::Key;
use crate::desk::{Desk, Failure, Seat};
use crate::solve::{SolverError, interrupted};
use grv_lang::ir::{Program, Property};
use grv_lang::random::Script;
use grv_lang::span::Span;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How much may be spent.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads, each with a solver process.
    pub jobs: usize,
    /// The solver's resource units per question.
    pub budget: u32,
    /// Where the solver's random choices start.
    pub seed: u32,
    /// Units per question for what is tried first, because it is quick if it helps at all.
    pub quick: u32,
    /// Random events to begin with.
    pub events: usize,
    /// What is left out.
    pub haste: Haste,
    /// Whether the first refutation of something wanted of a box is the end of it.
    pub fail_fast: bool,
}

/// What is left out where it only matters whether all that is wanted is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Haste {
    /// Nothing.
    None,
    /// No counterexamples are looked for but by random events, and nothing is kept of the run.
    Brief,
    /// The same; and the first wanted property that is not shown ends it.
    First,
}

/// What is quick costs at most one part of the budget in so many.
const QUICK: u32 = 8;

impl Default for Options {
    fn default() -> Options {
        let jobs = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Options { jobs, events: 3_000, ..Options::of_budget(20_000_000) }
    }
}

impl Options {
    /// The usual, with so many units per question.
    pub fn of_budget(budget: u32) -> Options {
        Options { jobs: 1, budget, seed: 0, quick: budget / QUICK, events: 0, haste: Haste::None, fail_fast: false }
    }
}

/// Which obligations are looked at: properties, and by place what every program is obliged to.
pub type Wanted<'t> = &'t (dyn Fn(Option<&Property>, Span) -> bool + Sync);

/// A box to be verified.
pub struct Task<'t> {
    /// Names it among the boxes of a run.
    pub name: String,
    /// The box.
    pub program: Arc<Program>,
    /// Its tests, and those of its other versions.
    pub tests: Vec<Script<'t>>,
    /// What is looked at.
    pub wanted: Wanted<'t>,
    /// Properties that are asked about before others, by name.
    pub first: &'t [String],
    /// Whether there may be something wanted that every program is obliged to.
    pub automatic: bool,
    /// Whether everything is wanted.
    pub whole: bool,
}

/// What those who wait are told.
pub enum Progress<'r> {
    /// So many obligations more.
    More(usize),
    /// So many less.
    Done(usize),
    /// A box is finished: its number and its report.
    Report(usize, &'r Report),
}

/// Something with goals of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// A condition on control tables, at the start.
    Require(usize),
    /// What is said of all entries of tables, by its number among those of the box.
    Natural(usize),
    Property(usize),
    /// That a property's premise cannot hold.
    Premise(usize),
    /// Makes the goals of all sites.
    Automatic,
    Site(usize),
}

/// A place at which every program is obliged to something.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) name: String,
    pub(super) span: Span,
    /// The row of the checklist.
    pub(super) row: Option<&'static str>,
    /// Where some event is to come by, if that is the obligation. A proof is that none does.
    pub(super) place: Option<Place>,
}

/// Verifies boxes; their reports in order.
pub fn verify(
    tasks: &[Task<'_>],
    options: &Options,
    desk: &Desk,
    watch: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Vec<Report>, Failure> {
    let past = Key::new(&[b"times"]);
    let remembers = options.haste == Haste::None;
    let times: BTreeMap<String, u64> = if remembers { desk.cache.get(&past).unwrap_or_default() } else { BTreeMap::new() };
    let boxes = tasks.iter().map(|_| Mutex::default()).collect();
    let run = Run { tasks, options, desk, watch, times, queue: Queue::new(), boxes, failure: Mutex::new(None) };
    for (of, task) in tasks.iter().enumerate() {
        run.queue.push((BEGIN, run.time(&task.name)), Job::Begin(of));
    }
    std::thread::scope(|scope| {
        let worker = || std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || run.work());
        let workers: Vec<_> = (0..options.jobs.max(1)).map(|_| worker()).collect();
        for worker in workers {
            match worker.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(())) => {}
                Ok(Err(_)) => run.fail(Failure::Internal("a thread panicked".to_string())),
                Err(error) => run.fail(Failure::Usage(format!("no thread can be started: {error}"))),
            }
        }
    });
    if let Some(failure) = run.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(failure);
    }
    let mut times = run.times;
    let mut reports = Vec::new();
    for (of, (state, task)) in run.boxes.into_iter().zip(tasks).enumerate() {
        let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (what, proof) in &state.proofs {
            times.insert(label(task, &state.sites, *what), proof.time_ms);
        }
        times.insert(task.name.clone(), state.proofs.values().map(|p| p.time_ms).sum());
        reports.push(state.report.ok_or_else(|| Failure::Internal(format!("box {of} was not finished")))?);
    }
    if remembers && reports.iter().flat_map(|r| &r.obligations).any(|o| !o.cached) {
        desk.cache.put(&past, &times);
    }
    Ok(reports)
}

/// What is more urgent.
pub(super) const SLOW: u8 = 0;
pub(super) const OTHERS: u8 = 1;
pub(super) const INVARIANTS: u8 = 2;
pub(super) const BEGIN: u8 = 3;
/// Formulas are walked recursively.
const STACK: usize = 64 << 20;

pub(super) enum Job {
    /// Random events, then the first round.
    Begin(usize),
    /// The rest of the random events.
    Explore(usize),
    /// Makes goals.
    Make(usize, u32, What),
    /// Asks about one.
    Ask(Ask, Effort),
    /// Looks for an example or a counterexample: from usual states, or from such with full tables.
    Search(usize, Aim, From),
}

/// A goal of something of a box, in a round.
pub(super) struct Ask {
    pub(super) of: usize,
    pub(super) round: u32,
    pub(super) what: What,
    pub(super) number: usize,
    pub(super) goal: Goal,
}

/// A run.
pub(super) struct Run<'r> {
    pub(super) tasks: &'r [Task<'r>],
    pub(super) options: &'r Options,
    pub(super) desk: &'r Desk,
    pub(super) watch: &'r (dyn Fn(Progress<'_>) + Sync),
    /// Milliseconds that things took the last time, by label.
    times: BTreeMap<String, u64>,
    pub(super) queue: Queue<Job>,
    boxes: Vec<Mutex<State>>,
    failure: Mutex<Option<Failure>>,
}

/// A name that stays the same while the program is edited.
pub(super) fn label(task: &Task<'_>, sites: &[Site], what: What) -> String {
    let properties = &task.program.properties;
    let name = match what {
        What::Require(index) => format!("require {index}"),
        What::Natural(index) => format!("natural {index}"),
        What::Property(index) => properties[index].name.clone(),
        What::Premise(index) => format!("{} premise", properties[index].name),
        What::Automatic => "automatic".to_string(),
        What::Site(index) => {
            let site = &sites[index];
            let count = sites[..index].iter().filter(|s| s.name == site.name).count();
            format!("{} {count}", site.name)
        }
    };
    format!("{} {name}", task.name)
}

impl Run<'_> {
    pub(super) fn time(&self, label: &str) -> u64 {
        self.times.get(label).copied().unwrap_or(0)
    }

    pub(super) fn state(&self, of: usize) -> MutexGuard<'_, State> {
        self.boxes[of].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, failure: Failure) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        self.queue.end();
    }

    /// What each thread does.
    fn work(&self) {
        let mut seat = self.desk.seat();
        while let Some(mut taken) = self.queue.take() {
            let Some(job) = taken.job() else { continue };
            let done = if interrupted() { Err(SolverError::Interrupted.into()) } else { self.carry_out(job, &mut seat) };
            if let Err(failure) = done {
                self.fail(failure);
            }
        }
    }

    fn carry_out(&self, job: Job, seat: &mut Seat<'_>) -> Result<(), Failure> {
        match job {
            Job::Begin(of) => {
                self.begin(of);
                Ok(())
            }
            Job::Explore(of) => {
                self.explore_on(of);
                Ok(())
            }
            Job::Make(of, round, what) => {
                self.make(of, round, what);
                Ok(())
            }
            Job::Ask(ask, effort) => self.ask(ask, effort, seat),
            Job::Search(of, aim, from) => self.search(of, aim, from, seat),
        }
    }
}
