//! What the comparison met: a test that never comes by something says nothing about it.

use super::seen::{Seen, Watched};
use grv_lang::interp::{Defect, DefectKind, Machine, Outcome};
use grv_lang::ir::TableId;
use std::collections::BTreeMap;

/// Counts of what was met.
#[derive(Debug, Default)]
pub(super) struct Met {
    /// Events that were compared.
    pub(super) events: usize,
    /// Steps of packets among them.
    pub(super) steps: usize,
    /// Facts that were checked.
    pub(super) facts: usize,
    /// Kinds of events.
    pub(super) formulas: usize,
    /// Those that have no formulas, and why.
    pub(super) unsupported: BTreeMap<String, usize>,
    counts: BTreeMap<&'static str, usize>,
}

/// All that is to be met.
const ALL: [&str; 27] = [
    "a property that holds",
    "a property that does not",
    "a timer",
    "entries before",
    "dead entries",
    "a header put in",
    "no room for a header",
    "a choice made",
    "no choice",
    "a tier left",
    "a first element",
    "no first element",
    "an entry put in",
    "an entry in the place of a dead one",
    "an entry refused",
    "a busy table",
    "a full table",
    "a table swept",
    "one packet sent",
    "several packets sent",
    "a drop",
    "a drop and a packet sent",
    "a check that fails",
    "a live key inserted",
    "no entry to change",
    "a contract broken",
    "a coarse clock behind",
];

impl std::fmt::Display for Met {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} events, {} steps, {} facts; {} formulas, but not {:?}",
            self.events, self.steps, self.facts, self.formulas, self.unsupported
        )
    }
}

impl Met {
    fn count(&mut self, what: &'static str, met: bool) {
        debug_assert!(ALL.contains(&what), "{what}");
        *self.counts.entry(what).or_default() += usize::from(met);
    }

    /// Takes in a step.
    pub(super) fn step(&mut self, before: &Machine, (seen, _): &Watched, did: &Result<Outcome, Defect>) {
        self.steps += 1;
        let program = before.program().clone();
        let tables = (0..program.tables.len() as u32).map(TableId);
        let entries: Vec<_> = tables.clone().flat_map(|t| before.physical(t)).collect();
        self.count("entries before", !entries.is_empty());
        self.count("dead entries", entries.iter().any(|e| !e.live));
        self.count("a coarse clock behind", tables.into_iter().any(|t| before.tick(t) < before.now()));
        for seen in seen {
            match seen {
                Seen::Enter { .. } | Seen::Fields { .. } => {}
                Seen::Header { ok, .. } => self.count(if *ok { "a header put in" } else { "no room for a header" }, true),
                Seen::Choice { value, left, .. } => {
                    self.count(if value.is_some() { "a choice made" } else { "no choice" }, true);
                    self.count("a tier left", value.is_some() && *left > 0);
                }
                Seen::First { ok, .. } => self.count(if *ok { "a first element" } else { "no first element" }, true),
                Seen::Entry { table, ok, there, same, contended, .. } => {
                    let full = *there as u64 >= program.tables[table.index()].capacity;
                    self.count(if *ok { "an entry put in" } else { "an entry refused" }, true);
                    self.count("an entry in the place of a dead one", *ok && *same);
                    self.count("a busy table", *contended);
                    self.count("a full table", !*ok && full);
                    self.count("a table swept", *there < before.occupied(*table));
                }
            }
        }
        match did {
            Ok(outcome) => {
                let (sent, dropped) = (outcome.out.len(), outcome.drops.len());
                self.count("one packet sent", sent == 1);
                self.count("several packets sent", sent > 1);
                self.count("a drop", dropped > 0);
                self.count("a drop and a packet sent", sent > 0 && dropped > 0);
            }
            Err(defect) => {
                self.count("a check that fails", matches!(defect.kind, DefectKind::Check(_)));
                self.count("a live key inserted", matches!(defect.kind, DefectKind::InsertLive(_)));
                self.count("no entry to change", matches!(defect.kind, DefectKind::NotLive(_)));
                self.count("a contract broken", matches!(defect.kind, DefectKind::Contract(_)));
            }
        }
    }

    /// How often something was met.
    pub(super) fn count_of(&self, what: &str) -> usize {
        self.counts.get(what).copied().unwrap_or(0)
    }

    /// A property was evaluated.
    pub(super) fn property(&mut self, holds: bool) {
        self.count(if holds { "a property that holds" } else { "a property that does not" }, true);
    }

    /// A timer fired.
    pub(super) fn timer(&mut self) {
        self.count("a timer", true);
    }

    /// All was met, and more than once.
    pub(super) fn everything(&self) {
        for what in ALL {
            assert!(self.count_of(what) >= 5, "`{what}` is met too seldom: {self:?}");
        }
    }
}
