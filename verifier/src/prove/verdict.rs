//! Verdicts, and the report that they make up.

use super::stuck::Stuck;
use grv_lang::random::Counterexample;
use grv_lang::span::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What is found out about an obligation.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It holds.
    Proved,
    /// It does not: a trace from the start that was replayed.
    Refuted(Box<Counterexample>),
    /// An event leads from a state that satisfies all invariants, but may not be reachable, to one that does not satisfy this.
    NotInductive(Box<Stuck>),
    /// It says nothing: its premise cannot hold.
    Vacuous,
    /// What it says can happen cannot.
    Unreachable,
    /// The solver does not know, or no example of the premise was found; why.
    Unknown(String),
    /// The budget was used up.
    Budget,
    /// Nothing was tried; why.
    NotAttempted(String),
    /// It is taken for granted; the reason given.
    Assumed(String),
}

impl Verdict {
    /// Its name, as in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Verdict::Proved => "proved",
            Verdict::Refuted(_) => "refuted",
            Verdict::NotInductive(_) => "not inductive",
            Verdict::Vacuous => "vacuous",
            Verdict::Unreachable => "unreachable",
            Verdict::Unknown(_) => "unknown",
            Verdict::Budget => "budget",
            Verdict::NotAttempted(_) => "not attempted",
            Verdict::Assumed(_) => "assumed",
        }
    }

    /// All names, in the order of summaries.
    pub const NAMES: [&'static str; 9] =
        ["proved", "refuted", "not inductive", "vacuous", "unreachable", "unknown", "budget", "not attempted", "assumed"];

    /// Why, in words.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Verdict::NotInductive(stuck) => Some(&stuck.part),
            Verdict::Unknown(why) | Verdict::NotAttempted(why) | Verdict::Assumed(why) => Some(why),
            _ => None,
        }
    }
}

/// What kind of obligation it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// In every state.
    Invariant,
    /// Of every step in every state.
    Step,
    /// Once, then, for as long as.
    Persistence,
    /// Only after.
    History,
    /// Of two runs.
    Independence,
    /// A sum over every interval.
    Bound,
    /// It can happen.
    Reachable,
    /// Every program is obliged to it.
    Automatic,
}

impl Kind {
    /// Its name, as in reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Invariant => "invariant",
            Kind::Step => "step",
            Kind::Persistence => "persistence",
            Kind::History => "history",
            Kind::Independence => "independence",
            Kind::Bound => "bound",
            Kind::Reachable => "reachable",
            Kind::Automatic => "automatic",
        }
    }
}

/// What the questions about an obligation speak of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// Elements whose state it rests on.
    pub elements: BTreeSet<String>,
    /// Tables, and fields of headers.
    pub fields: BTreeSet<String>,
}

/// Something to be proved, and what came of it.
#[derive(Clone, Debug)]
pub struct Obligation {
    /// Names it in its box: its name, with a number if others have it too.
    pub id: String,
    /// The property's name, or what an automatic one says.
    pub name: String,
    /// Where it is.
    pub span: Span,
    /// Its kind.
    pub kind: Kind,
    /// Rows of the checklist.
    pub rows: Vec<String>,
    /// Its name in Gravel's parity set.
    pub gravel: Option<String>,
    /// Where it comes from, e.g. an RFC.
    pub sources: Vec<String>,
    /// What was found out.
    pub verdict: Verdict,
    /// Whether an example of its premise was seen.
    pub witness: bool,
    /// Milliseconds.
    pub time_ms: u64,
    /// The solver's resource units.
    pub resource: u64,
    /// Whether all answers were known from before.
    pub cached: bool,
    /// What it rests on.
    pub slice: Slice,
}

/// What is known of a box.
#[derive(Clone, Debug)]
pub struct Report {
    /// Everything it is obliged to, by place.
    pub obligations: Vec<Obligation>,
}

/// How many obligations have each verdict, in the order of [`Verdict::NAMES`].
pub type Summary = [usize; 9];

impl Report {
    /// Counts verdicts.
    pub fn summary(&self) -> Summary {
        let mut counts = [0; 9];
        for obligation in &self.obligations {
            if let Some(at) = Verdict::NAMES.iter().position(|name| *name == obligation.verdict.name()) {
                counts[at] += 1;
            }
        }
        counts
    }
}
