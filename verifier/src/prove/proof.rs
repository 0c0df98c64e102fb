//! From the answers about goals to the verdict about what they are the goals of.

use super::ground::ask;
use super::run::Options;
use super::stuck::Stuck;
use super::verdict::{Slice, Verdict};
use super::{Asked, Goal, Text};
use crate::desk::{Failure, Reply, Seat};
use crate::solve::{Question, Status};
use crate::sym::Engine;
use crate::term::Term;
use grv_lang::ir::Program;

/// A proof under way. It fails with its first goal that is not shown, whatever order they are looked at in.
#[derive(Clone, Debug, Default)]
pub(super) struct Proof {
    /// Goals that nothing is known of yet.
    pub(super) open: usize,
    /// The first goal that was not shown so far, by number.
    pub(super) failed: Option<(usize, Verdict)>,
    pub(super) resource: u64,
    pub(super) time_ms: u64,
    /// Questions that were looked up, and that a solver was asked.
    pub(super) questions: (usize, usize),
    pub(super) slice: Slice,
}

impl Proof {
    /// Adds what came of a goal.
    pub(super) fn add(&mut self, number: usize, settled: Settled) {
        self.open -= 1;
        self.resource += settled.resource;
        self.time_ms += settled.time_ms;
        self.questions.0 += settled.questions.0;
        self.questions.1 += settled.questions.1;
        if let Some(verdict) = settled.failed
            && self.failed.as_ref().is_none_or(|(first, _)| number < *first)
        {
            self.failed = Some((number, verdict));
        }
    }

    /// Whether a goal may still matter.
    pub(super) fn needs(&self, number: usize) -> bool {
        self.failed.as_ref().is_none_or(|(first, _)| number < *first)
    }

    /// What the goals say together.
    pub(super) fn verdict(&self) -> Verdict {
        match &self.failed {
            Some((_, verdict)) => verdict.clone(),
            None if self.open == 0 => Verdict::Proved,
            None => Verdict::NotAttempted("it was not finished".to_string()),
        }
    }

    /// Whether it rests on answers that were kept, and no solver was asked.
    pub(super) fn cached(&self) -> bool {
        self.questions.0 > 0 && self.questions.1 == 0
    }
}

/// What came of a goal; no verdict: it is shown.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) failed: Option<Verdict>,
    pub(super) resource: u64,
    pub(super) time_ms: u64,
    pub(super) questions: (usize, usize),
}

/// How much is spent on a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// What is quick if it helps at all.
    Little,
    /// All that may be spent.
    All,
}

/// Why little did not settle something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsettled {
    /// Nothing is known.
    Open,
    /// Something satisfies the question, as far as was looked.
    InDoubt,
}

/// How a question is asked if more is spent on it, one way after the other: for which share of the budget, and whether by the older
/// procedure for integers.
const SLOW: [(u32, bool); 2] = [(2, true), (2, false)];

/// What is to be found at once may cost one part in so many of what is quick.
const AT_ONCE: u32 = 8;

/// Asks about a goal. `about` says what it belongs to, the name is for files. An error: little did not settle it.
pub(super) fn settle(
    seat: &mut Seat<'_>,
    goal: &Goal,
    effort: Effort,
    options: &Options,
    (about, name): (&str, &str),
) -> Result<Result<Settled, Unsettled>, Failure> {
    let mut settled = Settled::default();
    let part = &goal.part;
    settled.failed = match &goal.asked {
        Asked::Decided(true) => None,
        Asked::Decided(false) => Some(Verdict::NotInductive(Box::new(Stuck::at(part)))),
        Asked::Unsupported(why) => Some(Verdict::NotAttempted(why.clone())),
        Asked::Texts(texts) => {
            let mut failed = None;
            for (number, text) in texts.iter().enumerate() {
                let mut case = Case { seat, options, about, name, part, number, settled: &mut settled };
                match case.settle(text, effort)? {
                    Outcome::Shown => {}
                    Outcome::Failed(verdict) => {
                        failed = Some(verdict);
                        break;
                    }
                    Outcome::Open(why) => return Ok(Err(why)),
                }
            }
            failed
        }
    };
    Ok(Ok(settled))
}

/// Whether something is shown to follow.
pub(crate) fn follows(
    engine: &mut Engine<'_>,
    given: &[Term],
    holds: Term,
    seat: &mut Seat<'_>,
    options: &Options,
) -> Result<bool, Failure> {
    if engine.terms.as_bool(holds) == Some(true) {
        return Ok(true);
    }
    let Ok(asked) = ask(engine, given, holds) else { return Ok(false) };
    let goal = Goal { part: "in every state".to_string(), asked };
    for effort in [Effort::Little, Effort::All] {
        if let Ok(settled) = settle(seat, &goal, effort, options, ("a change", "change"))? {
            return Ok(settled.failed.is_none());
        }
    }
    Ok(false)
}

/// One of the cases of a goal.
struct Case<'a, 'd> {
    seat: &'a mut Seat<'d>,
    options: &'a Options,
    about: &'a str,
    name: &'a str,
    part: &'a str,
    number: usize,
    settled: &'a mut Settled,
}

/// What comes of a case.
enum Outcome {
    Shown,
    Failed(Verdict),
    /// Little did not settle it.
    Open(Unsettled),
}

impl Case<'_, '_> {
    fn ask(&mut self, text: &str, (budget, older): (u32, bool), form: &str) -> Result<Option<Status>, Failure> {
        // To solvers, a budget of none is one without end.
        let question = Question { text: text.to_string(), budget: budget.max(1), seed: self.options.seed, model: false, older };
        let about = format!("{}: {}", self.about, self.part);
        Ok(match self.seat.ask(&question, &about, &format!("{}.{}.{form}", self.name, self.number))? {
            Reply::Answer(answer, fresh) => {
                self.settled.resource += answer.resource;
                let counted = if fresh { &mut self.settled.questions.1 } else { &mut self.settled.questions.0 };
                *counted += 1;
                Some(answer.status)
            }
            Reply::NotKept => None,
        })
    }

    fn settle(&mut self, text: &Text, effort: Effort) -> Result<Outcome, Failure> {
        let (budget, quick) = (self.options.budget, self.options.quick);
        // What is quick in one way or the other is tried first.
        let little = [(quick, true), (quick, false)];
        let slow = SLOW.map(|(share, older)| (budget / share, older));
        // With less given, it is found at once or not at all.
        let at_once = little.map(|(quick, older)| (quick / AT_ONCE, older));
        let ways = if effort == Effort::Little { &at_once[..] } else { &slow[..] };
        for way in ways {
            let Some(bare) = &text.bare else { break };
            match self.ask(bare, *way, "bare")? {
                Some(Status::Unsat) => return Ok(Outcome::Shown),
                Some(Status::Sat) => break,
                _ => {}
            }
        }
        let light = text.light.as_ref().unwrap_or(&text.exact);
        let ways = if effort == Effort::Little { &little[..] } else { &slow[..] };
        let mut unsettled = Unsettled::Open;
        for way in ways {
            match self.ask(light, *way, "light")? {
                Some(Status::Unsat) => return Ok(Outcome::Shown),
                // It will have values in any other way.
                Some(Status::Sat) => {
                    unsettled = Unsettled::InDoubt;
                    break;
                }
                _ => {}
            }
        }
        if effort == Effort::Little {
            return Ok(Outcome::Open(unsettled));
        }
        let part = self.part;
        Ok(match self.ask(&text.exact, (budget, false), "exact")? {
            Some(Status::Unsat) => Outcome::Shown,
            Some(Status::Sat) => Outcome::Failed(Verdict::NotInductive(Box::new(Stuck::at(part)))),
            Some(Status::Budget) => Outcome::Failed(Verdict::Budget),
            Some(Status::Unknown(why)) => Outcome::Failed(Verdict::Unknown(format!("{part}: {why}"))),
            None => Outcome::Failed(Verdict::NotAttempted(format!("the cache is frozen and has no answer: {part}"))),
        })
    }
}

/// What a goal's question speaks of: its symbols are named after fields of tables and of headers.
pub(super) fn slice(program: &Program, goal: &Goal, into: &mut Slice) {
    let Asked::Texts(texts) = &goal.asked else { return };
    for name in
        texts.iter().flat_map(|text| text.exact.lines()).filter_map(|line| line.strip_prefix("(declare-fun |")?.split('|').next())
    {
        if let Some((path, field)) = name.rsplit_once('/').and_then(|(_, last)| last.split_once('.')) {
            into.fields.insert(format!("{path}.{}", field.split('~').next().unwrap_or(field)));
            continue;
        }
        for table in program.tables.iter().filter(|t| name.contains(&format!(".{}.", t.name))) {
            into.fields.insert(table.name.clone());
            into.elements.extend(program.elements.get(table.element.index()).map(|e| e.name.clone()));
        }
    }
}
