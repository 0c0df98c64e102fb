//! Events of all kinds, carried out by the interpreter and compared.

use super::case::{Case, Differs, Meanings};
use super::formula::Formula;
use super::met::Met;
use super::quants;
use super::seen::{self, Watched};
use super::state::Snapshot;
use crate::prove::{Event, events};
use crate::term::Term;
use grv_lang::interp::trace::{Event as Told, Observer};
use grv_lang::interp::{Bindings, Defect, Machine, Outcome, Seeded, Session, Stimulus};
use grv_lang::ir::{Form, Program, Property, TableId};
use rustc_hash::FxHashMap;

/// The formulas of all kinds of events of a box, and what their symbols mean.
#[derive(Default)]
pub(super) struct Formulas<'p> {
    events: FxHashMap<Event, (Formula<'p>, Meanings)>,
    /// What is to hold always.
    always: Vec<(&'p Property, Formula<'p>, Term, Meanings)>,
}

/// What an event came to.
struct Happened<'a> {
    before: &'a Machine,
    seen: Watched,
    did: &'a Result<Outcome, Defect>,
    after: &'a Machine,
}

impl<'p> Formulas<'p> {
    pub(super) fn new(program: &'p Program, met: &mut Met) -> Formulas<'p> {
        let mut formulas = Formulas::default();
        for event in events(program) {
            met.formulas += 1;
            match Formula::of(program, event) {
                Ok(formula) => drop(formulas.events.insert(event, (formula, Meanings::default()))),
                Err(why) => *met.unsupported.entry(why.what).or_default() += 1,
            }
        }
        for property in &program.properties {
            met.formulas += 1;
            match Formula::always(program, property) {
                Ok(Some((formula, holds))) => formulas.always.push((property, formula, holds, Meanings::default())),
                Ok(None) => {}
                Err(why) => *met.unsupported.entry(why.what).or_default() += 1,
            }
        }
        formulas
    }

    /// Compares what is to hold always, in a state: whether it does or not.
    pub(super) fn always(&mut self, machine: &Machine, met: &mut Met) -> Result<(), Differs> {
        for (property, formula, holds, meanings) in &mut self.always {
            let Form::Always { block, holds: local } = &property.form else { continue };
            let mut case = Case::new(formula, meanings, Snapshot::new(machine, &[]));
            let quants = quants::numbers(&formula.engine, &[*holds]);
            let Some(by_formula) = case.holds_of_all(*holds, &quants)? else { continue };
            let mut bindings = Bindings::new(&property.body);
            let did = Session::new(machine).run(&property.body, &mut bindings, block, &mut Seeded::exact(1));
            if did.is_ok() {
                met.property(bindings.holds(*local));
            }
            if did.is_ok() && bindings.holds(*local) != by_formula {
                let differs = format!("`{}` is {by_formula} by the formulas, and not by the interpreter", property.name);
                return Err(shown(machine, Event::Time, &[], &differs));
            }
        }
        Ok(())
    }

    /// Lets something happen, and compares it.
    pub(super) fn happen(
        &mut self,
        machine: &mut Machine,
        event: &Stimulus,
        seed: u64,
        met: &mut Met,
    ) -> Result<Result<Outcome, Defect>, Differs> {
        if let Stimulus::Time(nanoseconds) = event {
            self.timer(machine, *nanoseconds, met)?;
        }
        let before = machine.clone();
        let (mut oracle, mut watching) = seen::watch(&before, Seeded::adversarial(seed));
        let mut refused = false;
        let did = match event {
            Stimulus::Update(tables) => match machine.update(tables, &mut oracle, Some(&mut watching)) {
                Err(grv_lang::interp::UpdateError::Defect(defect)) => Err(defect),
                done => {
                    refused = done.is_err();
                    Ok(Outcome::default())
                }
            },
            Stimulus::Feed(table, key, value) => {
                refused = machine.feed(*table, key, value.as_deref(), &mut oracle).is_err();
                Ok(Outcome::default())
            }
            _ => machine.happen(event, &mut oracle, Some(&mut watching)),
        };
        let happened = Happened { before: &before, seen: watching.seen(), did: &did, after: machine };
        if refused {
            return Ok(did);
        }
        match event {
            Stimulus::Packet(port, bytes) => {
                met.step(&before, &happened.seen, &did);
                self.compare(Event::Packet(*port), Snapshot::new(&before, bytes), happened, |_| Ok(()), met)?;
            }
            Stimulus::Time(_) => {
                self.compare(Event::Time, Snapshot::new(&before, &[]), happened, |_| Ok(()), met)?;
            }
            Stimulus::Update(_) => {
                let mut snapshot = Snapshot::new(&before, &[]);
                snapshot.new = Some(Box::new(Snapshot::new(machine, &[])));
                self.compare(Event::Update, snapshot, happened, |_| Ok(()), met)?;
            }
            Stimulus::Feed(table, key, value) => {
                let fed = |case: &mut Case<'_, '_>| case.feed(*table, key, value.as_deref(), machine);
                self.compare(Event::Feed(*table), Snapshot::new(&before, &[]), happened, fed, met)?;
            }
        }
        Ok(did)
    }

    /// Compares the first timer that fires within that time.
    fn timer(&mut self, machine: &Machine, nanoseconds: u64, met: &mut Met) -> Result<(), Differs> {
        let mut fired = Fired::default();
        // What is wrong on the way is found when that time passes.
        let _ = machine.clone().advance(nanoseconds, &mut Seeded::exact(0), Some(&mut fired));
        let [(element, timer, at), ref rest @ ..] = fired.0[..] else { return Ok(()) };
        if at <= machine.now() || rest.first().is_some_and(|(_, _, next)| *next == at) {
            return Ok(());
        }
        let mut before = machine.clone();
        let _ = before.advance(at - machine.now() - 1, &mut Seeded::exact(0), None);
        let mut after = before.clone();
        let (mut oracle, mut watching) = seen::watch(&before, Seeded::exact(0));
        let did = after.advance(1, &mut oracle, Some(&mut watching)).map(|()| Outcome::default());
        let mut snapshot = Snapshot::new(&before, &[]);
        snapshot.clocks = &after;
        met.timer();
        let happened = Happened { before: &before, seen: watching.seen(), did: &did, after: &after };
        self.compare(Event::Timer(element, timer), snapshot, happened, |_| Ok(()), met)
    }

    fn compare(
        &mut self,
        event: Event,
        snapshot: Snapshot<'_>,
        happened: Happened<'_>,
        given: impl FnOnce(&mut Case<'_, '_>) -> Result<(), Differs>,
        met: &mut Met,
    ) -> Result<(), Differs> {
        let Some((formula, meanings)) = self.events.get_mut(&event) else { return Ok(()) };
        let mut case = Case::new(formula, meanings, snapshot);
        let agrees = given(&mut case).and_then(|()| case.agrees(happened.seen, happened.did, happened.after));
        met.facts += case.facts;
        met.events += 1;
        agrees.map_err(|differs| shown(happened.before, event, case.before.packet, &differs))
    }
}

impl Case<'_, '_> {
    /// The entry that is fed.
    fn feed(&mut self, table: TableId, key: &[u128], value: Option<&[u128]>, after: &Machine) -> Result<(), Differs> {
        let fed = &self.formula.step.after.tables[table.index()];
        let change = fed.log.last().ok_or("nothing is fed")?.clone();
        let indexed = change.present.is_none();
        for (part, bits) in change.key.iter().zip(if indexed && key.is_empty() { &[0][..] } else { key }) {
            self.give_sym(*part, *bits);
        }
        change.present.into_iter().for_each(|present| self.give(present, value.is_some().into()));
        for (at, part) in change.value.into_iter().flatten().enumerate() {
            self.give_sym(part, value.and_then(|v| v.get(at)).copied().unwrap_or(0));
        }
        self.give(fed.count, after.occupied(table) as u128);
        Ok(())
    }
}

/// Timers that fired: element, number, and when.
#[derive(Default)]
struct Fired(Vec<(u32, u32, u64)>);

impl Observer for Fired {
    fn event(&mut self, event: Told<'_>) {
        if let Told::Timer { element, timer, now } = event {
            self.0.push((element.0, timer, now));
        }
    }
}

/// A difference, for people.
fn shown(before: &Machine, event: Event, packet: &[u8], differs: &str) -> String {
    let program = before.program();
    let mut text = format!("{differs}\n\nthe event is {event:?} {packet:02x?}\nat {} in", before.now());
    for (id, table) in (0..).map(TableId).zip(&program.tables) {
        text += &format!("\n  {} (of {}):", table.name, table.capacity);
        before.physical(id).iter().for_each(|e| text += &format!("\n    {e:x?}"));
        if before.physical(id).is_empty() {
            before.entries(id).iter().for_each(|e| text += &format!("\n    {:x?} = {:x?}", e.key, e.value));
        }
    }
    text
}
