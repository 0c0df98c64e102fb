//! The formulas of one kind of event: what a step does, and what a table holds after it at a key that is a symbol of its own.

use super::quants::{self, Quantified};
use super::state::{Meaning, meaning};
use crate::prove::{Event, Happened, formula, happen};
use crate::sym::{Engine, Entry, Open, StepResult, Sym, Unsupported, World, is_keyed};
use crate::term::{Declared, Node, Sort, Symbol, Term, Terms};
use grv_lang::ir::{Form, Program, Property, Scalar, TableId};
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// The name of the state before the event.
const STATE: &str = "s";

/// The formulas of a step.
pub(super) struct Formula<'p> {
    pub(super) engine: Engine<'p>,
    pub(super) step: Rc<StepResult>,
    /// What is taken for facts, and the quantified formulas that these speak of.
    pub(super) facts: Vec<(Term, Vec<u32>)>,
    /// All quantified formulas.
    pub(super) quants: FxHashMap<u32, Quantified>,
    /// By table, what it holds afterwards.
    pub(super) after: Vec<Probe>,
    /// Of longest-prefix matches: that an entry is no longer one that holds the address.
    pub(super) longest: Vec<(TableId, Probe, Term)>,
    /// By the beginning of their names: fields that are left open, of headers where others were put in or written by way of.
    pub(super) fields: FxHashMap<String, Vec<OpenField>>,
    /// Terms from here on speak of probes.
    pub(super) mark: Term,
}

/// A key of a table that is a symbol by itself, and what is there.
pub(super) struct Probe {
    pub(super) key: Vec<Sym>,
    pub(super) entry: Entry,
    /// What holds of the key.
    pub(super) facts: Vec<Term>,
}

impl<'p> Formula<'p> {
    /// What an event does.
    pub(super) fn of(program: &'p Program, event: Event) -> Result<Formula<'p>, Unsupported> {
        let mut engine = Engine::new(program);
        let world = engine.any(STATE);
        let mut facts = Vec::new();
        let Happened { after, packet } = happen(&mut engine, &world, event, &mut facts)?;
        let mut obliged = engine.take_obliged();
        obliged.retain(|o| decided(&engine.terms, &[o.guard, o.holds]));
        let step = packet.map(|(_, step)| step);
        let nothing = || Rc::new(StepResult { out: Vec::new(), drops: Vec::new(), choices: Vec::new(), obliged, after });
        let step = step.unwrap_or_else(nothing);
        facts.extend(engine.facts.iter().map(|fact| fact.holds));
        facts.retain(|fact| decided(&engine.terms, &[*fact]));
        Formula::with(engine, step, facts)
    }

    /// A property that is to hold always, in a state at which nothing happens; and whether it holds.
    pub(super) fn always(program: &'p Program, property: &'p Property) -> Result<Option<(Formula<'p>, Term)>, Unsupported> {
        let Form::Always { block, holds } = &property.form else { return Ok(None) };
        let mut engine = Engine::new(program);
        let world = engine.any(STATE);
        let holds = formula(&mut engine, &property.body, block, *holds, &world)?;
        if !decided(&engine.terms, &[holds]) {
            return Ok(None);
        }
        let step = StepResult { out: Vec::new(), drops: Vec::new(), choices: Vec::new(), obliged: Vec::new(), after: world };
        let formula = Formula::with(engine, Rc::new(step), vec![holds])?;
        Ok(Some((formula, holds)))
    }

    fn with(mut engine: Engine<'p>, step: Rc<StepResult>, facts: Vec<Term>) -> Result<Formula<'p>, Unsupported> {
        let mark = engine.terms.fresh("mark", Sort::Bool);
        let facts: Vec<_> = facts.into_iter().map(|fact| (fact, quants::numbers(&engine, &[fact]))).collect();
        let roots: Vec<Term> = facts.iter().map(|(fact, _)| *fact).collect();
        let quants = quants::all(&mut engine, &roots)?;
        let fields = open_fields(&engine);
        let mut formula = Formula { engine, step, facts, quants, fields, after: Vec::new(), longest: Vec::new(), mark };
        formula.probes();
        Ok(formula)
    }

    fn probes(&mut self) {
        let tables = self.engine.program.tables.len() as u32;
        let after = self.step.after.clone();
        for table in (0..tables).map(TableId) {
            let probe = self.probe(&after, table);
            self.after.push(probe);
        }
        for found in self.engine.matches.clone() {
            let probe = self.probe(&after, found.table);
            if let Some(shorter) = self.engine.longest_at(&found, &probe.key) {
                self.longest.push((found.table, probe, shorter));
            }
        }
    }

    fn probe(&mut self, world: &World, table: TableId) -> Probe {
        let engine = &mut self.engine;
        let declared = &engine.program.tables[table.index()];
        let types: Vec<Scalar> = match is_keyed(&declared.kind) {
            true => declared.key.iter().map(|c| c.ty).collect(),
            false => declared.key.iter().map(|_| Scalar::Bits(64)).collect(),
        };
        let mut key = Vec::new();
        for ty in types {
            key.push(match ty {
                Scalar::Bool => Sym::Bool(engine.terms.fresh("probe", Sort::Bool)),
                Scalar::Bits(width) => Sym::Bits(engine.terms.fresh("probe", Sort::Bits(width))),
                Scalar::Int => Sym::Int(engine.terms.fresh("probe", Sort::Int)),
            });
        }
        let (before, way) = (engine.facts.len(), engine.terms.bool(true));
        let entry = engine.entry(world, table, &key, way);
        let facts = engine.facts[before..].iter().map(|fact| fact.holds).collect();
        Probe { key, entry, facts }
    }

    /// What a symbol means.
    pub(super) fn meaning(&self, declared: &Declared) -> Meaning {
        meaning(self.engine.program, declared, STATE)
    }

    /// By coarse clock: where it is in the event.
    pub(super) fn clocks(&self) -> impl Iterator<Item = (Symbol, TableId)> {
        let tables = (0..).map(TableId).zip(&self.engine.program.tables).filter(|(_, table)| table.granularity > 0);
        tables.flat_map(|(id, table)| {
            let name = format!("{}.tick!", table.name);
            let clocks = self.engine.terms.symbols().filter(move |(_, declared)| declared.name.starts_with(&name));
            clocks.map(move |(symbol, _)| (symbol, id))
        })
    }

    /// The symbol that a term is.
    pub(super) fn symbol(&self, term: Term) -> Option<Symbol> {
        if let Node::Apply(symbol, _) = self.engine.terms.node(term) { Some(*symbol) } else { None }
    }
}

/// Whether formulas speak of one state and one event alone: not of any key, not of how many there are.
fn decided(terms: &Terms, of: &[Term]) -> bool {
    let open = ["key!", "index!", "number!", "count!"];
    terms.cone(of).iter().all(|term| match terms.node(*term) {
        Node::Apply(symbol, _) => !open.iter().any(|name| terms.declared(*symbol).name.starts_with(name)),
        _ => true,
    })
}

/// A field that is left open.
pub(super) struct OpenField {
    pub(super) field: usize,
    /// Since which write.
    pub(super) since: u32,
    pub(super) symbol: Symbol,
}

/// Fields of which symbols are left open.
fn open_fields(engine: &Engine<'_>) -> FxHashMap<String, Vec<OpenField>> {
    let mut fields: FxHashMap<String, Vec<OpenField>> = FxHashMap::default();
    for opened in &engine.opened {
        if let Open::Fields { header, name, .. } = &opened.open {
            fields.entry(name.clone()).or_insert_with(|| {
                let declared = &engine.program.headers[header.index()].fields;
                let open = |(symbol, of): (Symbol, &Declared)| {
                    let field = of.name.strip_prefix(name.as_str())?;
                    let (field, since) = field.split_once('~').unwrap_or((field, "0"));
                    let since: u32 = since.parse().ok()?;
                    let at = declared.iter().position(|f| f.name == field)?;
                    (since > 0 || name.contains("/+")).then_some(OpenField { field: at, since, symbol })
                };
                engine.terms.symbols().filter_map(open).collect()
            });
        }
    }
    fields
}

/// A scalar's term.
pub(super) fn term_of(sym: Sym) -> Term {
    match sym {
        Sym::Bool(term) | Sym::Bits(term) | Sym::Int(term) | Sym::Nat { term, .. } | Sym::Small { term, .. } => term,
    }
}
