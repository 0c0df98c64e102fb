//! The state in which a proof fails, as far as the question speaks of it. Nobody knows whether the box can get there; whoever sees
//! that it cannot, sees which invariant is missing.

use super::ground::roots;
use super::model::Model;
use super::run::Options;
use crate::desk::{Failure, Reply, Seat};
use crate::solve::{Question, Status};
use crate::sym::{Engine, Sym, Unsupported};
use crate::term::Term;
use crate::term::print::script;
use grv_lang::ir::{Field, FieldId, HeaderId, Program, TableId, TableKind};
use grv_lang::text;

/// Where a proof fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stuck {
    /// Which step: `a packet at inside`, ...
    pub part: String,
    /// The state before it, and the packets.
    pub shown: Option<Shown>,
}

/// A state, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Nanoseconds since the start.
    pub now: Option<u128>,
    /// Packets by name: their fields, as `Header.field` and value.
    pub packets: Vec<(String, Vec<(String, String)>)>,
    /// Live entries of tables.
    pub rows: Vec<Row>,
}

/// An entry of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The table.
    pub table: String,
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// When it dies, in nanoseconds since the start.
    pub deadline: Option<u128>,
}

/// A question with names for what is to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    text: String,
    entries: Vec<Entry>,
}

/// The names of what there is at a key of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    table: TableId,
    live: String,
    key: Vec<String>,
    value: Vec<String>,
    deadline: Option<String>,
}

/// Gives names to terms.
struct Names<'e, 'p> {
    engine: &'e mut Engine<'p>,
    given: Vec<Term>,
}

impl Names<'_, '_> {
    fn name(&mut self, term: Term) -> String {
        // No two views share names: what they show differs in sort.
        let name = format!("shown {}", self.engine.stamp());
        let sort = self.engine.terms.sort(term);
        let var = self.engine.terms.var(&name, sort);
        let is = self.engine.terms.eq(var, term);
        self.given.push(is);
        name
    }

    fn value(&mut self, value: Sym) -> String {
        let term = match value {
            Sym::Bits(term) => term,
            other => self.engine.terms.as_integer(other),
        };
        self.name(term)
    }
}

impl View {
    /// Of a question that some terms hold, and its text: what it says of the state that all begins in.
    pub(super) fn of(engine: &mut Engine<'_>, mut all: Vec<Term>, text: &str) -> Result<View, Unsupported> {
        let program = engine.program;
        let world = engine.any("s");
        let (way, one, zero) = (engine.terms.bool(true), engine.terms.int(1), engine.terms.int(0));
        let mut names = Names { engine, given: Vec::new() };
        let mut entries = Vec::new();
        for (table, declared) in (0..).map(TableId).zip(&program.tables) {
            let spoken_of = text.contains(&format!("(declare-fun |s.{}.has|", declared.name))
                || text.contains(&format!("(declare-fun |s.{}.value", declared.name));
            if !spoken_of {
                continue;
            }
            let keyed = !matches!(declared.kind, TableKind::Array | TableKind::Cell | TableKind::Counter);
            for (key, _) in names.engine.touched[table.index()].clone() {
                let entry = names.engine.entry(&world, table, &key, way);
                let live = if keyed { entry.live } else { way };
                let live = names.engine.terms.ite(live, one, zero);
                entries.push(Entry {
                    table,
                    live: names.name(live),
                    key: key.iter().map(|part| names.value(*part)).collect(),
                    value: entry.value.iter().map(|part| names.value(*part)).collect(),
                    deadline: entry.deadline.map(|deadline| names.name(deadline)),
                });
            }
        }
        let Names { engine, given } = names;
        all.extend(given);
        let roots = roots(engine, &all)?.unwrap_or(all);
        Ok(View { text: script(&engine.terms, &roots), entries })
    }
}

impl Stuck {
    /// At a step, in a state that is not known.
    pub(super) fn at(part: &str) -> Stuck {
        Stuck { part: part.to_string(), shown: None }
    }

    /// Asks for the state.
    pub(super) fn show(&mut self, program: &Program, view: &View, options: &Options, seat: &mut Seat<'_>) -> Result<(), Failure> {
        let question =
            Question { text: view.text.clone(), budget: options.budget.max(1), seed: options.seed, model: true, older: false };
        let Reply::Answer(answer, _) = seat.ask(&question, "the state", "state")? else { return Ok(()) };
        if answer.status == Status::Sat {
            self.shown = Some(view.decoded(program, &Model::new(program, answer.model)));
        }
        Ok(())
    }
}

impl View {
    fn decoded(&self, program: &Program, model: &Model<'_>) -> Shown {
        let mut rows = Vec::new();
        for entry in &self.entries {
            if model.number(&entry.live) != Some(1) {
                continue;
            }
            let declared = &program.tables[entry.table.index()];
            let bits = |names: &[String]| names.iter().map(|name| model.number(name).unwrap_or(0)).collect::<Vec<u128>>();
            let (key, value) = (bits(&entry.key), bits(&entry.value));
            let value = match declared.kind {
                TableKind::Bucket { .. } => format!("{} tokens at {} ns", value[0], value[1]),
                TableKind::Counter => value[0].to_string(),
                _ => text::show(&declared.value_shape, &value),
            };
            let key = match declared.kind {
                TableKind::Array | TableKind::Cell | TableKind::Counter => key.first().map_or_else(String::new, u128::to_string),
                _ => text::show(&declared.key_shape, &key),
            };
            let deadline = entry.deadline.as_ref().and_then(|name| model.number(name));
            let row = Row { table: declared.name.clone(), key, value, deadline };
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        let packets = model.fields().into_iter().map(|(packet, fields)| {
            let mut paths: Vec<&str> = fields.iter().map(|(path, ..)| *path).collect();
            paths.dedup();
            // A header is named without those before it, unless there are two.
            let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_string();
            let name = |path: &str| {
                let alone = paths.iter().filter(|other| last(other) == last(path)).count() == 1;
                if alone { last(path) } else { path.to_string() }
            };
            let field = |(path, field, header, bits): (&str, _, HeaderId, u128)| {
                let declared: &Field = &program.headers[header.index()].fields[FieldId::index(field)];
                (format!("{}.{}", name(path), declared.name), text::show_scalar(&declared.show, bits))
            };
            let mut all: Vec<(String, String)> = fields.into_iter().map(field).collect();
            if let Some(length) = model.length(packet) {
                all.push(("length".to_string(), length.to_string()));
            }
            (packet.to_string(), all)
        });
        Shown { now: model.number("s.now"), packets: packets.collect(), rows }
    }
}
