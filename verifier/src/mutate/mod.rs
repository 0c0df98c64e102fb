//! Which changes of a box its properties and its tests notice. A change is tried by random events first, then by proofs: a property that
//! was proved of the box and is not of the changed one kills it. Proofs about what the change does not touch are known from the box itself.

mod judge;
mod same;

pub use judge::{By, Kill, Outcome};

use crate::desk::{Desk, Failure};
use crate::prove::{self, Haste, Kind, Options, Progress, Report, Task, Verdict};
use grv_lang::interp::test;
use grv_lang::ir::{Form, Program, Property, Test};
use grv_lang::mutate::{Mutant, Operator, Places};
use grv_lang::random;
use grv_lang::span::Span;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// A box that is changed.
pub struct Subject<'s> {
    program: &'s Arc<Program>,
    /// The box, and the same with the compile-time parameters that tests give it.
    versions: Vec<(&'s Arc<Program>, Places<'s>)>,
    /// The tests that pass, each with the number of its version.
    tests: Vec<(&'s Test, usize)>,
    /// The properties that are proved.
    proved: BTreeSet<String>,
    /// Those of them that are invariants, by index.
    invariants: Vec<usize>,
    /// What every program is obliged to, and what is not shown of this one.
    open: BTreeSet<(String, Span)>,
    /// Where a property noticed something.
    noticed: Mutex<Vec<(Span, String)>>,
    /// Units of the solver that the most costly proof took.
    costs: u64,
    /// Whether what every program is obliged to is looked at.
    automatic: bool,
}

/// Which obligations are looked at.
#[derive(Clone, Copy)]
pub struct Choice<'c> {
    /// Which properties.
    pub wanted: prove::Wanted<'c>,
    /// Whether what every program is obliged to is looked at too.
    pub automatic: bool,
}

impl<'s> Subject<'s> {
    /// A box with the tests of its file, each with the version of the box that it runs on. What holds of the box as it is is found out.
    pub fn new(
        program: &'s Arc<Program>,
        tests: &'s [(Test, Arc<Program>)],
        choice: Choice<'_>,
        options: &Options,
        desk: &Desk,
        watch: &(dyn Fn(Progress<'_>) + Sync),
    ) -> Result<Subject<'s>, Failure> {
        let task = Task {
            name: program.name.clone(),
            program: program.clone(),
            tests: random::scripts(program, tests),
            wanted: choice.wanted,
            first: &[],
            automatic: choice.automatic,
            whole: false,
        };
        let options = Options { haste: Haste::Brief, ..*options };
        let report = prove::verify(&[task], &options, desk, watch)?.remove(0);
        let proved = proved(&report);
        let is_invariant = |property: &Property| matches!(property.form, Form::Always { .. }) && proved.contains(&property.name);
        let invariants = (0..).zip(&program.properties).filter(|(_, p)| is_invariant(p)).map(|(index, _)| index).collect();
        let mut subject = Subject {
            program,
            versions: vec![(program, Places::new(program))],
            tests: Vec::new(),
            proved,
            invariants,
            open: open(&report),
            noticed: Mutex::default(),
            costs: report.obligations.iter().map(|o| o.resource).max().unwrap_or(0),
            automatic: choice.automatic,
        };
        for (test, on) in tests.iter().filter(|(_, on)| on.span == program.span) {
            if test::run(test, on, 0, None).is_ok() {
                let version = subject.version(on);
                subject.tests.push((test, version));
            }
        }
        Ok(subject)
    }

    fn version(&mut self, program: &'s Arc<Program>) -> usize {
        let known = self.versions.iter().position(|(known, _)| Arc::ptr_eq(known, program));
        known.unwrap_or_else(|| {
            self.versions.push((program, Places::new(program)));
            self.versions.len() - 1
        })
    }

    /// Its changes that the filter accepts, in order of place.
    pub fn mutants(&self, wanted: &dyn Fn(Operator, Span) -> bool) -> Vec<Mutant> {
        self.versions[0].1.mutants(wanted)
    }

    /// Its properties that are proved, so that they can kill.
    pub fn properties(&self) -> impl Iterator<Item = &str> {
        self.proved.iter().map(String::as_str)
    }

    /// How many of its tests pass.
    pub fn tests(&self) -> usize {
        self.tests.len()
    }

    /// Units of the solver that a question about a change may cost: what those about the box cost, and as much again.
    pub fn budget(&self, most: u32) -> u32 {
        let twice = u32::try_from(self.costs.saturating_mul(2)).unwrap_or(u32::MAX);
        twice.max(1_000_000).min(most)
    }

    /// Whether a property can kill.
    fn counts(&self, property: Option<&Property>) -> bool {
        property.map_or(self.automatic, |property| self.proved.contains(&property.name))
    }
}

fn proved(report: &Report) -> BTreeSet<String> {
    let proved = report.obligations.iter().filter(|o| o.kind != Kind::Automatic && matches!(o.verdict, Verdict::Proved));
    proved.map(|o| o.name.clone()).collect()
}

fn open(report: &Report) -> BTreeSet<(String, Span)> {
    let open = report.obligations.iter().filter(|o| o.kind == Kind::Automatic && !matches!(o.verdict, Verdict::Proved));
    open.map(|o| (o.name.clone(), o.span)).collect()
}
