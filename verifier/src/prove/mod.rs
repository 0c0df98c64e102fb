//! From properties to questions, and from answers to verdicts.

mod bound;
mod conclude;
mod examples;
mod forms;
mod ground;
mod induct;
mod kept;
mod model;
mod persists;
mod proof;
mod queue;
mod reach;
mod rounds;
mod run;
mod search;
mod stuck;
mod verdict;

pub(crate) use induct::{Event, events, happen, invariants};
#[cfg(test)]
pub(crate) use induct::{Happened, formula};
pub(crate) use proof::follows;
pub use reach::unseen;
pub use run::{Haste, Options, Progress, Task, Wanted, verify};
pub use stuck::{Row, Shown, Stuck, View};
pub use verdict::{Kind, Obligation, Report, Slice, Summary, Verdict};

/// One thing to be proved: its negation, as text. Without text it was decided while it was put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// What it is a part of, in words: `init`, `a packet at inside`, ...
    pub part: String,
    /// The question, or the answer.
    pub asked: Asked,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It holds, or not, as the terms alone show.
    Decided(bool),
    /// Whether one of some texts has values that satisfy it.
    Texts(Vec<Text>),
    /// It cannot be put into a formula: why.
    Unsupported(String),
}

/// A question. What has no values in a lighter form has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Without what solvers find hard; none, if nothing in it is.
    pub light: Option<String>,
    /// As it is.
    pub exact: String,
    /// With less given: what follows from that follows all the same.
    pub bare: Option<String>,
    /// As it is, and what is to be shown of the state, if that was asked for.
    pub view: Option<View>,
}
