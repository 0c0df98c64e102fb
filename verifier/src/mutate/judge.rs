//! What notices one change.

use super::Subject;
use super::same::do_the_same;
use crate::desk::{Desk, Failure};
use crate::prove::{self, Haste, Kind, Options, Report, Task, Verdict};
use grv_lang::interp::test;
use grv_lang::ir::{Program, Property, Test};
use grv_lang::mutate::Mutant;
use grv_lang::random;
use grv_lang::span::Span;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

/// What noticed a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// A property of the box.
    Property,
    /// Something that every program is obliged to.
    Automatic,
    /// A test.
    Test,
}

/// Something that noticed a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// What kind of thing.
    pub by: By,
    /// Its name.
    pub name: String,
    /// Its verdict about the changed box; `failed` for a test.
    pub verdict: &'static str,
}

impl Kill {
    /// How sure it is: `refuted` was seen to happen; `not proved`: it does not follow any more, and may be true all the same.
    pub fn how(&self) -> &'static str {
        match (self.by, self.verdict) {
            (By::Property, "refuted") => "refuted",
            (By::Property, _) => "not proved",
            (By::Automatic, _) => "automatic",
            (By::Test, _) => "test",
        }
    }
}

/// What noticed a change: nothing, if it survives.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Properties first, refuted ones before others, then what every program is obliged to, then tests.
    pub kills: Vec<Kill>,
    /// Nothing noticed it, and nothing can: every event does the same as before.
    pub changes_nothing: bool,
    /// Milliseconds.
    pub time_ms: u64,
}

impl Outcome {
    /// The strongest that noticed it.
    pub fn by(&self) -> Option<By> {
        self.kills.first().map(|kill| kill.by)
    }

    /// Whether some of that kind noticed it.
    pub fn is_killed_by(&self, by: By) -> bool {
        self.kills.iter().any(|kill| kill.by == by)
    }
}

/// So many properties are asked before others.
const SUSPECTS: usize = 12;

/// Whether a verdict says that something does not hold, or could not be shown to. What was not found out says nothing.
fn says_something(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Refuted(_) | Verdict::NotInductive(_) | Verdict::Vacuous | Verdict::Unreachable)
}

impl Subject<'_> {
    /// What notices a change: the first property and the first test that do, or all of them.
    pub fn judge(
        &self,
        tests: &[(Test, Arc<Program>)],
        mutant: &Mutant,
        all: bool,
        options: &Options,
        desk: &Desk,
    ) -> Result<Outcome, Failure> {
        let start = Instant::now();
        let versions: Vec<Option<Arc<Program>>> =
            self.versions.iter().map(|(_, places)| places.changed(&mutant.key).map(Arc::new)).collect();
        let mut kills = Vec::new();
        if let Some(Some(program)) = versions.first() {
            let wanted = |property: Option<&Property>, _: Span| self.counts(property);
            let task = Task {
                name: self.program.name.clone(),
                program: program.clone(),
                tests: random::scripts(self.program, tests),
                wanted: &wanted,
                first: &self.suspects(mutant.span),
                automatic: self.automatic,
                whole: false,
            };
            let haste = if all { Haste::Brief } else { Haste::First };
            let options = Options { jobs: 1, haste, ..*options };
            let report = prove::verify(&[task], &options, desk, &|_| {})?.remove(0);
            kills = self.kills(&report);
            self.remember(mutant.span, &kills);
        }
        for (test, version) in &self.tests {
            if let Some(program) = &versions[*version]
                && test::run(test, program, 0, None).is_err()
            {
                kills.push(Kill { by: By::Test, name: test.name.clone(), verdict: "failed" });
                if !all {
                    break;
                }
            }
        }
        // Tests on other versions of the box have noticed nothing either.
        let changes_nothing = match versions.first() {
            Some(Some(changed)) if kills.is_empty() => {
                do_the_same((self.program, &self.invariants), changed, &mut desk.seat(), options)?
            }
            _ => false,
        };
        Ok(Outcome { kills, changes_nothing, time_ms: start.elapsed().as_millis() as u64 })
    }

    /// The properties that noticed changes nearby: they are the first to be asked. That changes what is found first, and not whether something is.
    fn suspects(&self, span: Span) -> Vec<String> {
        let mut known = self.noticed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        known.sort_by_key(|(at, _)| at.start.abs_diff(span.start));
        let mut names: Vec<String> = Vec::new();
        for (_, name) in known {
            if names.len() < SUSPECTS && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    fn remember(&self, span: Span, kills: &[Kill]) {
        let names = kills.iter().filter(|kill| kill.by == By::Property).map(|kill| (span, kill.name.clone()));
        self.noticed.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
    }

    fn kills(&self, report: &Report) -> Vec<Kill> {
        let mut kills = Vec::new();
        for o in &report.obligations {
            let automatic = o.kind == Kind::Automatic;
            if !says_something(&o.verdict) || (automatic && self.open.contains(&(o.name.clone(), o.span))) {
                continue;
            }
            let by = if automatic { By::Automatic } else { By::Property };
            let kill = Kill { by, name: o.name.clone(), verdict: o.verdict.name() };
            if !kills.contains(&kill) {
                kills.push(kill);
            }
        }
        kills.sort_by_key(|kill| (kill.by, kill.how() != "refuted"));
        kills
    }
}
