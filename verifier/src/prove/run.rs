//! A box verified: random events first, which refute what is plainly wrong and find examples; then proofs.

use super::induct::{Known, Natural, goal, requires};
use super::verdict::{Kind, Obligation, Report, Verdict};
use super::{Asked, Goal, forms};
use crate::solve::{Question, Solver, SolverError, Status};
use crate::sym::Engine;
use grv_lang::ir::{Form, Program, Property, Test};
use grv_lang::random::{self, Broken, Explored};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// How much may be spent.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Solver processes.
    pub jobs: usize,
    /// The solver's resource units per question.
    pub budget: u32,
    /// Where random choices start.
    pub seed: u32,
    /// Random events to begin with.
    pub events: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { jobs: 2, budget: 20_000_000, seed: 0, events: 3_000 }
    }
}

/// What came of some goals.
struct Outcome {
    verdict: Verdict,
    resource: u64,
}

/// Verifies a box. `wanted` says which properties to look at, by index; `None`: all, and what every program is obliged to.
pub fn verify(
    program: &Arc<Program>,
    tests: &[&Test],
    options: Options,
    solver: &Path,
    wanted: &(dyn Fn(&Property) -> bool + Sync),
    automatic: bool,
) -> Result<Report, SolverError> {
    let explored = random::explore(program, tests, options.events, options.seed.into());
    let mut pool = Vec::new();
    for _ in 0..options.jobs.max(1) {
        pool.push(Solver::start(solver)?);
    }
    let mut run = Run { program, options, pool, explored };
    let given = run.known()?;
    let mut obligations = run.properties(&given, wanted)?;
    if automatic {
        obligations.extend(run.automatic(&given)?);
    }
    obligations.sort_by(|a, b| (a.span.file, a.span.start, &a.name).cmp(&(b.span.file, b.span.start, &b.name)));
    Ok(Report { obligations })
}

/// What may be an invariant.
#[derive(Clone, Copy)]
enum Candidate {
    Natural(Natural),
    Property(usize),
}

struct Run<'a> {
    program: &'a Arc<Program>,
    options: Options,
    pool: Vec<Solver>,
    explored: Explored,
}

impl Run<'_> {
    /// Invariants that hold together, and conditions on control tables that hold from the start. What cannot be shown is taken
    /// out, and the rest is tried again, until all that is left holds.
    fn known(&mut self) -> Result<Known, SolverError> {
        let program = self.program.clone();
        let mut known = Known::default();
        let checks: Vec<usize> = (0..program.requires.len()).collect();
        let held = self.each(&checks, |index| {
            vec![goal("at the start", || {
                let mut engine = Engine::new(&program);
                let world = engine.initial();
                let holds = requires(&mut engine, &[*index], &world)?;
                super::ground::ask(&mut engine, &[], holds[0])
            })]
        })?;
        known.requires =
            held.iter().enumerate().filter(|(_, (o, _))| matches!(o.verdict, Verdict::Proved)).map(|(i, _)| i).collect();
        let refuted = self.refuted();
        known.invariants = (0..program.properties.len())
            .filter(|i| matches!(program.properties[*i].form, Form::Always { .. }) && !refuted.contains(i))
            .filter(|i| program.properties[*i].assumed.is_none())
            .collect();
        known.natural = Natural::of(&program);
        loop {
            let given = known.clone();
            let candidates: Vec<Candidate> = known
                .natural
                .iter()
                .map(|n| Candidate::Natural(*n))
                .chain(known.invariants.iter().map(|i| Candidate::Property(*i)))
                .collect();
            let tried = self.each(&candidates, |candidate| match candidate {
                Candidate::Natural(natural) => natural.goals(&program, &given),
                Candidate::Property(index) => forms::goals(&program, &program.properties[*index], &given),
            })?;
            let held = tried.iter().map(|(outcome, _)| matches!(outcome.verdict, Verdict::Proved));
            let mut kept = Known { requires: known.requires.clone(), ..Known::default() };
            for (candidate, _) in candidates.iter().zip(held).filter(|(_, held)| *held) {
                match candidate {
                    Candidate::Natural(natural) => kept.natural.push(*natural),
                    Candidate::Property(index) => kept.invariants.push(*index),
                }
            }
            if kept.natural.len() + kept.invariants.len() == candidates.len() {
                return Ok(known);
            }
            known = kept;
        }
    }

    fn refuted(&self) -> Vec<usize> {
        let property =
            |c: &random::Counterexample| if let Broken::Property(id, _) = &c.broken { Some(id.0 as usize) } else { None };
        self.explored.failures.iter().filter_map(property).collect()
    }

    /// All properties that are wanted.
    fn properties(&mut self, given: &Known, wanted: &(dyn Fn(&Property) -> bool + Sync)) -> Result<Vec<Obligation>, SolverError> {
        let program = self.program.clone();
        let chosen: Vec<usize> = (0..program.properties.len()).filter(|i| wanted(&program.properties[*i])).collect();
        let explored = self.explored.clone();
        let open: Vec<usize> = chosen.iter().copied().filter(|i| !self.refuted().contains(i)).collect();
        let proofs = self.each(&open, |index| forms::goals(&program, &program.properties[*index], given))?;
        let unseen: Vec<usize> = open.iter().copied().filter(|i| !explored.shown[*i]).collect();
        let premises =
            self.each(&unseen, |index| forms::premise(&program, &program.properties[*index], given).into_iter().collect())?;
        let mut obligations = Vec::new();
        for index in chosen {
            let property = &program.properties[index];
            let refutation =
                explored.failures.iter().find(|c| matches!(&c.broken, Broken::Property(id, _) if id.0 as usize == index));
            let (mut verdict, mut time_ms, mut resource) = (Verdict::NotAttempted(String::new()), 0, 0);
            if let Some(reason) = &property.assumed {
                verdict = Verdict::Assumed(reason.clone());
            } else if let Some(found) = refutation {
                verdict = Verdict::Refuted(Box::new(found.clone()));
            } else if let Some((outcome, time)) = open.iter().position(|i| *i == index).map(|at| &proofs[at]) {
                (verdict, time_ms, resource) = (outcome.verdict.clone(), *time, outcome.resource);
            }
            let witness = explored.shown[index];
            let premise = unseen.iter().position(|i| *i == index).map(|at| &premises[at].0.verdict);
            verdict = with_witness(verdict, &property.form, witness, premise);
            obligations.push(Obligation {
                name: property.name.clone(),
                span: property.span,
                kind: kind(&property.form),
                rows: property.rows.clone(),
                gravel: property.gravel.clone(),
                verdict,
                witness,
                time_ms,
                resource,
            });
        }
        Ok(obligations)
    }

    /// What every program is obliged to.
    fn automatic(&mut self, given: &Known) -> Result<Vec<Obligation>, SolverError> {
        let program = self.program.clone();
        let mut sites: Vec<(String, grv_lang::span::Span, Vec<Goal>)> = Vec::new();
        for (what, span, goal) in forms::automatic(&program, given) {
            match sites.iter_mut().find(|(name, at, _)| *name == what && *at == span) {
                Some((_, _, goals)) => goals.push(goal),
                None => sites.push((what, span, vec![goal])),
            }
        }
        let asked = self.each(&sites, |(_, _, goals)| goals.clone())?;
        let defects: Vec<&random::Counterexample> =
            self.explored.failures.iter().filter(|c| matches!(c.broken, Broken::Defect(_))).collect();
        let at = |span: grv_lang::span::Span| {
            defects.iter().find(|c| matches!(&c.broken, Broken::Defect(d) if d.span == span)).map(|c| Box::new((*c).clone()))
        };
        let mut obligations: Vec<Obligation> = sites
            .into_iter()
            .zip(asked)
            .map(|((name, span, _), (outcome, time_ms))| Obligation {
                verdict: at(span).map_or(outcome.verdict, Verdict::Refuted),
                name,
                span,
                kind: Kind::Automatic,
                rows: Vec::new(),
                gravel: None,
                witness: true,
                time_ms,
                resource: outcome.resource,
            })
            .collect();
        for found in &defects {
            if let Broken::Defect(defect) = &found.broken
                && !obligations.iter().any(|o| o.span == defect.span)
            {
                obligations.push(Obligation {
                    name: defect.kind.to_string(),
                    span: defect.span,
                    kind: Kind::Automatic,
                    rows: Vec::new(),
                    gravel: None,
                    verdict: Verdict::Refuted(Box::new((*found).clone())),
                    witness: true,
                    time_ms: 0,
                    resource: 0,
                });
            }
        }
        Ok(obligations)
    }

    /// Makes goals for each of some things and asks about them, on all solvers at once; outcomes in order, with milliseconds.
    fn each<T: Sync>(&mut self, things: &[T], make: impl Fn(&T) -> Vec<Goal> + Sync) -> Result<Vec<(Outcome, u64)>, SolverError> {
        let next = AtomicUsize::new(0);
        let options = self.options;
        let work = |solver: &mut Solver| -> Result<Vec<(usize, Outcome, u64)>, SolverError> {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(thing) = things.get(index) else { return Ok(done) };
                let start = Instant::now();
                let outcome = settle(solver, &make(thing), options)?;
                done.push((index, outcome, start.elapsed().as_millis() as u64));
            }
        };
        let mut all = Vec::new();
        std::thread::scope(|scope| {
            let workers: Vec<_> = self.pool.iter_mut().map(|solver| scope.spawn(|| work(solver))).collect();
            for worker in workers {
                let done = worker.join().unwrap_or_else(|_| Err(SolverError::Gone("a worker of ours ended".to_string())));
                all.push(done);
            }
        });
        let mut outcomes = Vec::new();
        for done in all {
            outcomes.extend(done?);
        }
        outcomes.sort_by_key(|(index, ..)| *index);
        Ok(outcomes.into_iter().map(|(_, outcome, time)| (outcome, time)).collect())
    }
}

/// Asks about goals, one after the other, until one is not shown.
fn settle(solver: &mut Solver, goals: &[Goal], options: Options) -> Result<Outcome, SolverError> {
    let mut resource = 0;
    for goal in goals {
        let part = &goal.part;
        let verdict = match &goal.asked {
            Asked::Decided(true) => continue,
            Asked::Decided(false) => Verdict::NotInductive(part.clone()),
            Asked::Unsupported(why) => Verdict::NotAttempted(why.clone()),
            Asked::Text { light, exact } => {
                let mut ask = |text: &String, older: bool, budget: u32| -> Result<Status, SolverError> {
                    let question = Question { text: text.clone(), budget, seed: options.seed, model: false, older };
                    let answer = solver.ask(&question)?;
                    resource += answer.resource;
                    Ok(answer.status)
                };
                let light = light.as_ref().unwrap_or(exact);
                // What is quick in one way or the other is tried first.
                let mut shown = false;
                for (older, share) in [(true, 16), (false, 8), (true, 2)] {
                    if !shown {
                        shown = ask(light, older, options.budget / share)? == Status::Unsat;
                    }
                }
                if shown {
                    continue;
                }
                match ask(exact, false, options.budget)? {
                    Status::Unsat => continue,
                    Status::Sat => Verdict::NotInductive(part.clone()),
                    Status::Budget => Verdict::Budget,
                    Status::Unknown(why) => Verdict::Unknown(format!("{part}: {why}")),
                }
            }
        };
        return Ok(Outcome { verdict, resource });
    }
    Ok(Outcome { verdict: Verdict::Proved, resource })
}

/// A proof counts only if its premise was seen to hold; what can happen must have been seen.
fn with_witness(verdict: Verdict, form: &Form, witness: bool, premise: Option<&Verdict>) -> Verdict {
    match (form, verdict) {
        (Form::Reachable { .. }, Verdict::Proved) if !witness => Verdict::Unknown("no event was found that shows it".to_string()),
        (Form::Always { .. }, verdict) => verdict,
        (_, Verdict::Proved) if !witness => match premise {
            Some(Verdict::Proved) => Verdict::Vacuous,
            _ => Verdict::Unknown("it holds, but no example of its premise was found".to_string()),
        },
        (_, verdict) => verdict,
    }
}

fn kind(form: &Form) -> Kind {
    match form {
        Form::Always { .. } => Kind::Invariant,
        Form::Step { .. } => Kind::Step,
        Form::Persists { .. } => Kind::Persistence,
        Form::OnlyAfter { .. } => Kind::History,
        Form::Independent { .. } => Kind::Independence,
        Form::Bound { .. } => Kind::Bound,
        Form::Reachable { .. } => Kind::Reachable,
    }
}
