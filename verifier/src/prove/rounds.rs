//! The proofs about one box. All invariants are taken to hold together, and the properties beside them, so that nothing waits. If
//! an invariant is not shown, all that was made of it is thrown away, and a new round begins without it, until all that is left holds.

use super::conclude::conclude;
use super::induct::{Known, Natural, goal, requires};
use super::kept;
use super::proof::{Effort, Proof, Settled, Unsettled, settle, slice};
use super::run::{Ask, BEGIN, Haste, INVARIANTS, Job, OTHERS, Progress, Run, SLOW, Site, What, label};
use super::search::{Aim, Start};
use super::stuck::Stuck;
use super::verdict::{Report, Verdict};
use super::{Asked, Goal, forms, ground, reach};
use crate::cache::Key;
use crate::desk::{Failure, Seat};
use crate::sym::{Engine, fits_64_bits};
use grv_lang::ir::{Form, Program, Property};
use grv_lang::random::{self, Broken, Explored};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// What is known of a box so far.
#[derive(Default)]
pub(super) struct State {
    pub(super) explored: Explored,
    given: Arc<Known>,
    /// Whether the conditions on control tables are known, so that the rest can be asked.
    begun: bool,
    round: u32,
    /// Of this round, what is not settled.
    open: usize,
    pub(super) proofs: BTreeMap<What, Proof>,
    pub(super) sites: Vec<Site>,
    key: Option<Key>,
    /// Searches under way.
    pub(super) searching: usize,
    /// Random events that are left to be tried.
    pub(super) untried: Untried,
    /// What waits for them to end.
    later: Vec<What>,
    /// That to which counterexamples were looked for.
    pub(super) sought: Vec<What>,
    /// States that examples and counterexamples are looked for from.
    pub(super) starts: Arc<[Start]>,
    /// The same with a table that is full.
    pub(super) full: Arc<OnceLock<Vec<Start>>>,
    pub(super) report: Option<Report>,
}

/// Without anything new among so many random events, proofs come first.
const QUIET: usize = 300;

/// What is left of the random events.
#[derive(Default)]
pub(super) enum Untried {
    /// Nothing.
    #[default]
    Nothing,
    /// Something, which is of no use if all is proved.
    Left,
    /// It is being tried, since something was not found, or not proved; what is to be looked for then.
    Going(Vec<Aim>),
}

impl Run<'_> {
    /// Random events, and the conditions on control tables, which all else may rest on.
    pub(super) fn begin(&self, of: usize) {
        let task = &self.tasks[of];
        let key = kept::key(task, self.options, self.desk);
        if let Some(report) = key.as_ref().and_then(|key| kept::get(self.desk, key)) {
            (self.watch)(Progress::Report(of, &report));
            self.state(of).report = Some(report);
            return;
        }
        let over = |explored: &Explored| {
            let wanted = |index: usize| self.is_last(of, What::Property(index));
            (self.options.haste == Haste::First && refuted(explored).into_iter().any(wanted)) || self.is_over(of, explored)
        };
        // What proofs show need not be tried any further.
        let quiet = |explored: &Explored| self.options.haste == Haste::None && explored.events >= explored.news + QUIET;
        let explored = self.explore(of, Explored::default(), &|explored| over(explored) || quiet(explored));
        let mut state = self.state(of);
        let stopped = explored.failures.iter().any(|c| matches!(c.broken, Broken::Defect(_)));
        if explored.events < self.options.events && !stopped {
            state.untried = Untried::Left;
        }
        state.explored = explored;
        state.key = key;
        if over(&state.explored) {
            return self.finish(of, &mut state);
        }
        self.look_for_examples(of, &mut state);
        let all: Vec<What> = (0..task.program.requires.len()).map(What::Require).collect();
        self.start(of, &mut state, &all);
        if all.is_empty() {
            self.first_round(of, &mut state);
        }
    }

    /// Goes on with random events.
    pub(super) fn explore(&self, of: usize, explored: Explored, enough: &dyn Fn(&Explored) -> bool) -> Explored {
        let task = &self.tasks[of];
        let wanted = |property: &Property| (task.wanted)(Some(property), property.span);
        let wants = random::Wants { property: &wanted, cover: task.automatic };
        random::explore_for(&task.program, &task.tests, explored, (self.options.events, 0), &wants, enough)
    }

    /// Whether there is nothing more to find out if something is not shown.
    fn is_last(&self, of: usize, what: What) -> bool {
        let task = &self.tasks[of];
        let property = match what {
            What::Property(index) => task.program.properties.get(index),
            _ => None,
        };
        self.options.haste == Haste::First && property.is_some_and(|property| (task.wanted)(Some(property), property.span))
    }

    /// Whether nothing is left to be found out: all that is wanted are properties, and these are refuted; or something that is wanted
    /// is refuted, and that is to be the end.
    pub(super) fn is_over(&self, of: usize, explored: &Explored) -> bool {
        let task = &self.tasks[of];
        let wanted = |property: &Property| (task.wanted)(Some(property), property.span) && property.assumed.is_none();
        let refuted = refuted(explored);
        if self.options.fail_fast {
            let defect = |c: &random::Counterexample| matches!(&c.broken, Broken::Defect(d) if (task.wanted)(None, d.span));
            return refuted.iter().any(|index| wanted(&task.program.properties[*index])) || explored.failures.iter().any(defect);
        }
        let open = (0..).zip(&task.program.properties).any(|(index, p)| wanted(p) && !refuted.contains(&index));
        !task.automatic && !open && !refuted.is_empty()
    }

    /// Ends what is under way, if nothing is left to be found out.
    pub(super) fn end_early(&self, of: usize, state: &mut State) {
        if state.report.is_none() && self.is_over(of, &state.explored) {
            (self.watch)(Progress::Done(state.open));
            state.round += 1;
            self.finish(of, state);
        }
    }

    /// Begins to look at some things.
    fn start(&self, of: usize, state: &mut State, all: &[What]) {
        state.open += all.len();
        (self.watch)(Progress::More(all.len()));
        for what in all {
            let class = self.class(of, state, *what);
            let urgency = match what {
                // It is not come to, if a property is not shown.
                What::Automatic if self.options.haste == Haste::First => (SLOW, 0),
                // What brings up most of the work comes first.
                What::Automatic => (class, u64::MAX),
                _ => (class, self.time(&label(&self.tasks[of], &state.sites, *what))),
            };
            self.queue.push(urgency, Job::Make(of, state.round, *what));
        }
    }

    /// How urgent something is.
    fn class(&self, of: usize, state: &State, what: What) -> u8 {
        let task = &self.tasks[of];
        match what {
            What::Require(_) => BEGIN,
            What::Property(index) if task.first.contains(&task.program.properties[index].name) => BEGIN,
            What::Natural(_) => INVARIANTS,
            What::Property(index) if state.given.invariants.contains(&index) => INVARIANTS,
            _ => OTHERS,
        }
    }

    /// All that may be an invariant is taken for one.
    fn first_round(&self, of: usize, state: &mut State) {
        let program = &self.tasks[of].program;
        let refuted = refuted(&state.explored);
        let invariants = (0..program.properties.len())
            .filter(|i| matches!(program.properties[*i].form, Form::Always { .. }) && !refuted.contains(i))
            .filter(|i| program.properties[*i].assumed.is_none())
            .collect();
        let shown =
            |index: &usize| state.proofs.get(&What::Require(*index)).is_some_and(|p| matches!(p.verdict(), Verdict::Proved));
        let requires = (0..program.requires.len()).filter(shown).collect();
        state.begun = true;
        self.round(of, state, Known { invariants, natural: Natural::of(program), requires, shows: false });
    }

    fn round(&self, of: usize, state: &mut State, given: Known) {
        let task = &self.tasks[of];
        state.proofs.retain(|what, _| matches!(what, What::Require(_)));
        let mut all: Vec<What> = candidates(&task.program, &given);
        let refuted = refuted(&state.explored);
        for (index, property) in task.program.properties.iter().enumerate() {
            if !(task.wanted)(Some(property), property.span) || property.assumed.is_some() || refuted.contains(&index) {
                continue;
            }
            if !given.invariants.contains(&index) {
                all.push(What::Property(index));
            }
            if !matches!(property.form, Form::Always { .. } | Form::Reachable { .. }) && !state.explored.shown[index] {
                all.push(What::Premise(index));
            }
        }
        if task.automatic {
            all.push(What::Automatic);
        }
        state.given = Arc::new(given);
        // That something cannot happen is asked only if no example of it is found.
        let needless = |what: &What| match what {
            What::Premise(_) | What::Automatic => true,
            What::Property(index) => matches!(task.program.properties[*index].form, Form::Reachable { .. }),
            _ => false,
        };
        let (later, now) = all.into_iter().partition(|what| state.searching > 0 && needless(what));
        state.later = later;
        self.start(of, state, &now);
        if now.is_empty() {
            self.go_on(of, state);
        }
    }

    /// Goes on when searches have ended, and when nothing is open any more.
    pub(super) fn go_on(&self, of: usize, state: &mut State) {
        if state.searching > 0 || !state.begun || state.report.is_some() {
            return;
        }
        if !state.later.is_empty() {
            let later = std::mem::take(&mut state.later);
            self.start(of, state, &later);
        } else if state.open == 0 {
            self.finish(of, state);
        }
    }

    /// Makes the goals of something.
    pub(super) fn make(&self, of: usize, round: u32, what: What) {
        let given = {
            let state = self.state(of);
            if state.round != round {
                return;
            }
            state.given.clone()
        };
        let start = Instant::now();
        let program = &*self.tasks[of].program;
        let goals = match what {
            // An example shows what can happen.
            What::Property(index)
                if matches!(program.properties[index].form, Form::Reachable { .. }) && self.state(of).explored.shown[index] =>
            {
                Vec::new()
            }
            What::Premise(index) if self.state(of).explored.shown[index] => Vec::new(),
            What::Automatic | What::Site(_) => return self.make_sites(of, round, &given),
            _ => goals(program, what, &given),
        };
        let time = start.elapsed().as_millis() as u64;
        let mut state = self.state(of);
        if state.round == round {
            self.spread(of, &mut state, what, goals, time);
        }
    }

    /// Makes the goals of all that every program is obliged to.
    fn make_sites(&self, of: usize, round: u32, given: &Known) {
        let task = &self.tasks[of];
        let mut sites: Vec<(Site, Vec<Goal>)> = Vec::new();
        let of_time: Vec<String> = task.program.tables.iter().map(fits_64_bits).collect();
        for (name, span, goal) in forms::automatic(&task.program, given) {
            match sites.iter_mut().find(|(site, _)| site.name == name && site.span == span) {
                Some((_, goals)) => goals.push(goal),
                None => {
                    let row = of_time.contains(&name).then_some("M8");
                    sites.push((Site { name, span, row, place: None }, vec![goal]));
                }
            }
        }
        let cover = self.state(of).explored.cover.clone();
        for place in reach::places(&task.program) {
            let goals = if place.seen(&cover) { Vec::new() } else { place.goals(&task.program, given) };
            sites.push((Site { name: place.name.clone(), span: place.span, row: Some("M6"), place: Some(place) }, goals));
        }
        let mut state = self.state(of);
        if state.round != round {
            return;
        }
        let (sites, goals): (Vec<Site>, Vec<Vec<Goal>>) = sites.into_iter().unzip();
        let wanted: Vec<bool> = sites.iter().map(|site| (task.wanted)(None, site.span)).collect();
        state.sites = sites;
        let count = wanted.iter().filter(|w| **w).count();
        state.open += count;
        (self.watch)(Progress::More(count));
        for (index, (goals, _)) in goals.into_iter().zip(wanted).enumerate().filter(|(_, (_, wanted))| *wanted) {
            self.spread(of, &mut state, What::Site(index), goals, 0);
        }
        self.settled(of, &mut state);
    }

    /// Hands out goals, one by one.
    fn spread(&self, of: usize, state: &mut State, what: What, goals: Vec<Goal>, time_ms: u64) {
        let mut proof = Proof { open: goals.len(), time_ms, ..Proof::default() };
        goals.iter().for_each(|goal| slice(&self.tasks[of].program, goal, &mut proof.slice));
        state.proofs.insert(what, proof);
        if goals.is_empty() {
            return self.settled(of, state);
        }
        let class = self.class(of, state, what);
        // Where the first that is not shown is the end, what can be asked is, before more is made.
        let soon = u64::from(self.options.haste == Haste::First);
        let time = self.time(&label(&self.tasks[of], &state.sites, what)).max(soon);
        for (number, goal) in goals.into_iter().enumerate() {
            let ask = Ask { of, round: state.round, what, number, goal };
            self.queue.push((class, time), Job::Ask(ask, Effort::Little));
        }
    }

    /// Asks about a goal, if it still matters: at first what is quick, and if that does not settle it, once more with all that may
    /// be spent. Before that, counterexamples are looked for.
    pub(super) fn ask(&self, ask: Ask, effort: Effort, seat: &mut Seat<'_>) -> Result<(), Failure> {
        let Ask { of, round, what, number, goal } = ask;
        let about = {
            let state = self.state(of);
            if state.round != round {
                return Ok(());
            }
            let needed = state.proofs.get(&what).is_some_and(|p| p.needs(number));
            let refuted = matches!(what, What::Property(index) if refuted(&state.explored).contains(&index));
            (needed && !refuted).then(|| label(&self.tasks[of], &state.sites, what))
        };
        let mut settled = Settled::default();
        if let Some(about) = &about {
            let start = Instant::now();
            let name = format!("{}.{number}", file_name(about));
            let found = settle(seat, &goal, effort, self.options, (about, &name))?;
            let time_ms = start.elapsed().as_millis() as u64;
            let found = match found {
                Ok(found) => found,
                Err(why) => {
                    let mut state = self.state(of);
                    if state.round == round
                        && let Some(proof) = state.proofs.get_mut(&what)
                    {
                        proof.time_ms += time_ms;
                        self.look_for_counterexamples(of, &mut state, what);
                        let time = self.time(about);
                        // Where one that is not shown is the end of all, what is in doubt is looked at before all else.
                        let in_doubt = why == Unsettled::InDoubt && self.is_last(of, what);
                        let class = if in_doubt { BEGIN } else { SLOW };
                        self.queue.push((class, time), Job::Ask(Ask { of, round, what, number, goal }, Effort::All));
                    }
                    return Ok(());
                }
            };
            settled = Settled { time_ms, ..found };
            if settled.failed.is_some() {
                self.look_for_counterexamples(of, &mut self.state(of), what);
            }
            if let Some(Verdict::NotInductive(stuck)) = &mut settled.failed {
                self.show_state(of, (what, number), stuck, seat)?;
            }
        } else {
            settled.failed = Some(Verdict::NotAttempted("it does not matter any more".to_string()));
        }
        let mut state = self.state(of);
        if state.round == round
            && let Some(proof) = state.proofs.get_mut(&what)
        {
            let last = matches!(settled.failed, Some(Verdict::NotInductive(_))) && self.is_last(of, what);
            proof.add(number, settled);
            if last {
                (self.watch)(Progress::Done(state.open));
                state.round += 1;
                self.finish(of, &mut state);
                return Ok(());
            }
            let Some(proof) = state.proofs.get(&what) else { return Ok(()) };
            if proof.open == 0 {
                self.settled(of, &mut state);
            }
        }
        Ok(())
    }

    /// Finds out in which state a proof fails.
    fn show_state(
        &self,
        of: usize,
        (what, number): (What, usize),
        stuck: &mut Stuck,
        seat: &mut Seat<'_>,
    ) -> Result<(), Failure> {
        if self.options.haste != Haste::None {
            return Ok(());
        }
        let (given, site) = {
            let state = self.state(of);
            let site = if let What::Site(index) = what { state.sites.get(index).cloned() } else { None };
            (Known { shows: true, ..(*state.given).clone() }, site)
        };
        let program = &*self.tasks[of].program;
        let goals = match site {
            Some(Site { place: Some(_), .. }) => return Ok(()),
            Some(Site { name, span, .. }) => forms::automatic(program, &given)
                .into_iter()
                .filter(|(what, at, _)| *what == name && *at == span)
                .map(|(.., goal)| goal)
                .collect(),
            None => goals(program, what, &given),
        };
        let Some(Asked::Texts(texts)) = goals.get(number).map(|goal| &goal.asked) else { return Ok(()) };
        for view in texts.iter().filter_map(|text| text.view.as_ref()) {
            stuck.show(program, view, self.options, seat)?;
            if stuck.shown.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Something is settled: goes on to what follows.
    fn settled(&self, of: usize, state: &mut State) {
        state.open -= 1;
        (self.watch)(Progress::Done(1));
        if !state.begun {
            if state.open == 0 {
                self.first_round(of, state);
            }
            return;
        }
        let proof = |what: &What| state.proofs.get(what).filter(|p| p.open == 0);
        let held = |what: &What| proof(what).is_some_and(|p| matches!(p.verdict(), Verdict::Proved));
        let program = &self.tasks[of].program;
        let candidates = candidates(program, &state.given);
        if candidates.iter().all(|what| proof(what).is_some()) && !candidates.iter().all(held) {
            let mut given = Known { requires: state.given.requires.clone(), ..Known::default() };
            for what in candidates.into_iter().filter(held) {
                match what {
                    What::Natural(index) => given.natural.push(Natural::of(program)[index]),
                    What::Property(index) => given.invariants.push(index),
                    _ => {}
                }
            }
            (self.watch)(Progress::Done(state.open));
            state.open = 0;
            state.round += 1;
            self.round(of, state, given);
        } else {
            self.go_on(of, state);
        }
    }

    /// All is done.
    fn finish(&self, of: usize, state: &mut State) {
        let report = conclude(&self.tasks[of], &state.explored, &state.proofs, &state.sites);
        if let Some(key) = &state.key {
            kept::put(self.desk, key, &report);
        }
        (self.watch)(Progress::Report(of, &report));
        state.report = Some(report);
    }
}

/// The goals of what is no site.
fn goals(program: &Program, what: What, given: &Known) -> Vec<Goal> {
    match what {
        What::Require(index) => vec![goal("at the start", || {
            let mut engine = Engine::new(program);
            let world = engine.initial();
            let holds = requires(&mut engine, &[index], &world)?;
            ground::ask(&mut engine, &[], holds[0])
        })],
        What::Natural(index) => Natural::of(program)[index].goals(program, given),
        What::Property(index) => asked(forms::goals(program, &program.properties[index], given)),
        What::Premise(index) => asked(forms::premise(program, &program.properties[index], given).into_iter().collect()),
        What::Automatic | What::Site(_) => Vec::new(),
    }
}

/// All that is taken for an invariant.
fn candidates(program: &Program, given: &Known) -> Vec<What> {
    let natural = (0..).zip(Natural::of(program)).filter(|(_, natural)| given.natural.contains(natural));
    natural.map(|(index, _)| What::Natural(index)).chain(given.invariants.iter().map(|i| What::Property(*i))).collect()
}

/// The properties that random events refuted, by index.
pub(super) fn refuted(explored: &Explored) -> Vec<usize> {
    let property = |c: &random::Counterexample| if let Broken::Property(id, _) = &c.broken { Some(id.0 as usize) } else { None };
    explored.failures.iter().filter_map(property).collect()
}

/// Goals; that there are none shows nothing.
fn asked(goals: Vec<Goal>) -> Vec<Goal> {
    let nothing = || Goal { part: String::new(), asked: Asked::Unsupported("there is nothing to ask about it yet".to_string()) };
    if goals.is_empty() { vec![nothing()] } else { goals }
}

/// A label as the name of a file.
fn file_name(label: &str) -> String {
    label.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect()
}
