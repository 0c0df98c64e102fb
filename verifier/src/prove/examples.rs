//! When examples and counterexamples are looked for: examples at first, since what was seen need not be asked about; a
//! counterexample as soon as a proof is not found quickly.

use super::reach::places;
use super::rounds::{State, Untried, refuted};
use super::run::{Haste, INVARIANTS, Job, OTHERS, Progress, Run, SLOW, What};
use super::search::{self, Aim, Found, From};
use crate::desk::{Failure, Seat};
use grv_lang::ir::Form;
use grv_lang::random;

impl Run<'_> {
    /// Looks for examples of all that was not seen yet.
    pub(super) fn look_for_examples(&self, of: usize, state: &mut State) {
        let task = &self.tasks[of];
        let refuted = refuted(&state.explored);
        let mut aims = Vec::new();
        for (index, property) in task.program.properties.iter().enumerate() {
            let settled = state.explored.shown[index] || refuted.contains(&index) || property.assumed.is_some();
            if !settled && (task.wanted)(Some(property), property.span) && !matches!(property.form, Form::Always { .. }) {
                aims.push(Aim::Shown(index));
            }
        }
        if task.automatic {
            let unseen = places(&task.program).into_iter().filter(|place| !place.seen(&state.explored.cover));
            aims.extend(unseen.filter(|place| (task.wanted)(None, place.span)).map(Aim::Passes));
        }
        let starts = random::starts(&task.program, &task.tests);
        state.starts = starts.into_iter().map(|run| search::Start::new(&task.program, run)).collect();
        for aim in aims {
            state.searching += 1;
            (self.watch)(Progress::More(1));
            self.queue.push((INVARIANTS, 0), Job::Search(of, aim, From::Tests));
        }
    }

    /// Looks for a counterexample, once.
    pub(super) fn look_for_counterexamples(&self, of: usize, state: &mut State, what: What) {
        if self.options.haste != Haste::None {
            return;
        }
        let task = &self.tasks[of];
        let aim = match what {
            What::Property(index)
                if !(task.wanted)(Some(&task.program.properties[index]), task.program.properties[index].span) =>
            {
                return;
            }
            What::Property(index) if matches!(task.program.properties[index].form, Form::Reachable { .. }) => return,
            What::Property(index) => Aim::Broken(index),
            What::Site(index) if state.sites[index].place.is_none() => Aim::Defect(state.sites[index].span),
            _ => return,
        };
        if state.sought.contains(&what) {
            return;
        }
        state.sought.push(what);
        state.searching += 1;
        (self.watch)(Progress::More(1));
        if let Some(aim) = self.try_rest(of, state, aim) {
            self.queue.push((OTHERS, 0), Job::Search(of, aim, From::Tests));
        }
    }

    /// Has the rest of the random events tried, if any are left; what is looked for then waits for that.
    fn try_rest(&self, of: usize, state: &mut State, then: Aim) -> Option<Aim> {
        match &mut state.untried {
            Untried::Nothing => return Some(then),
            Untried::Going(all) => all.push(then),
            Untried::Left => {
                state.untried = Untried::Going(vec![then]);
                state.searching += 1;
                (self.watch)(Progress::More(1));
                self.queue.push((OTHERS, u64::MAX), Job::Explore(of));
            }
        }
        None
    }

    /// Tries the rest of the random events; then looks for what they did not find.
    pub(super) fn explore_on(&self, of: usize) {
        let so_far = {
            let state = self.state(of);
            if state.report.is_some() {
                return;
            }
            state.explored.clone()
        };
        let known = so_far.failures.len();
        let mut more = self.explore(of, so_far, &|explored| self.is_over(of, explored));
        let mut state = self.state(of);
        state.explored.failures.extend(more.failures.drain(known..));
        state.explored.cover.seen.append(&mut more.cover.seen);
        state.explored.shown.iter_mut().zip(&more.shown).for_each(|(shown, more)| *shown |= more);
        if let Untried::Going(aims) = std::mem::take(&mut state.untried) {
            // Examples were looked for already.
            let (examples, others): (Vec<Aim>, Vec<Aim>) = aims.into_iter().partition(Aim::is_example);
            state.searching -= examples.len();
            (self.watch)(Progress::Done(examples.len()));
            others.into_iter().for_each(|aim| self.queue.push((OTHERS, 0), Job::Search(of, aim, From::Tests)));
        }
        state.searching -= 1;
        (self.watch)(Progress::Done(1));
        self.end_early(of, &mut state);
        self.go_on(of, &mut state);
    }

    /// Looks for an example or a counterexample: from states that tests lead to, and later from such in which a table is full, which
    /// takes its time.
    pub(super) fn search(&self, of: usize, aim: Aim, from: From, seat: &mut Seat<'_>) -> Result<(), Failure> {
        let task = &self.tasks[of];
        let (starts, full) = {
            let state = self.state(of);
            if state.report.is_some() {
                return Ok(());
            }
            (state.starts.clone(), state.full.clone())
        };
        let example = aim.is_example();
        let known = |state: &State| match &aim {
            Aim::Passes(place) => place.seen(&state.explored.cover),
            Aim::Broken(property) => refuted(&state.explored).contains(property),
            Aim::Shown(property) => state.explored.shown[*property],
            Aim::Defect(_) => false,
        };
        let is_known = known(&self.state(of));
        let found = match from {
            _ if is_known => None,
            From::Tests => search::look(seat, &task.program, &starts, (&aim, 1), self.options.budget)?,
            From::Full => {
                let full = full.get_or_init(|| search::filled(&task.program, &starts));
                search::look(seat, &task.program, full, (&aim, usize::from(example)), self.options.budget)?
            }
        };
        let mut state = self.state(of);
        if found.is_none() && from == From::Tests && !known(&state) && state.report.is_none() {
            let class = if example { OTHERS } else { SLOW };
            self.queue.push((class, 0), Job::Search(of, aim, From::Full));
            return Ok(());
        }
        // What cannot be found out may have come up by chance.
        let aim = if found.is_none() && example && !known(&state) { self.try_rest(of, &mut state, aim) } else { Some(aim) };
        let Some(aim) = aim else { return Ok(()) };
        match found {
            Some(Found::Shown(run)) => {
                state.explored.cover.seen.extend(run.cover.seen);
                if let Aim::Shown(property) = aim {
                    state.explored.shown[property] = true;
                }
            }
            Some(Found::Broken(found)) => state.explored.failures.push(found),
            None => {}
        }
        state.searching -= 1;
        (self.watch)(Progress::Done(1));
        self.end_early(of, &mut state);
        self.go_on(of, &mut state);
        Ok(())
    }
}
