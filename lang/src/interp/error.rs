//! What can go wrong, as values: defects of a program, and configurations and updates that do not fit it.

use super::value::Fault;
use crate::ir::Obligation;
use crate::span::Span;
use thiserror::Error;

/// The program did what no program may do, and the machine has stopped; or an event was asked for that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{kind}")]
pub struct Defect {
    /// What happened.
    pub kind: DefectKind,
    /// The element instance whose handler it happened in.
    pub element: Option<String>,
    /// The words in the source that it happened at.
    pub span: Span,
}

/// Kinds of defects.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DefectKind {
    /// An automatic obligation does not hold.
    #[error("{}", obligation(*.0))]
    Check(Obligation),
    /// `insert` on a live key.
    #[error("`insert` on a key of `{0}` that is live")]
    InsertLive(String),
    /// A change of an entry that is not live.
    #[error("the key is not live in `{0}`")]
    NotLive(String),
    /// A deadline that no 64 bits hold.
    #[error("a deadline in `{0}` does not fit its 64 bits")]
    Deadline(String),
    /// An index beyond an array's or a counter array's length.
    #[error("the index is beyond the length of `{0}`")]
    Index(String),
    /// A packet that does not start with the headers of an input's contract.
    #[error("a packet comes in without the header `{0}` that the input's contract promises")]
    Contract(String),
    /// A handler ended without having emitted or dropped its packet.
    #[error("the handler neither emits nor drops the packet")]
    Lost,
    /// An expression has no value.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A choice that was given from outside is none that the rules allow.
    #[error("the given choice of `{name}` is not one that its `choose` allows")]
    IllegalChoice {
        /// The chosen variable.
        name: String,
        /// The value; none: `else`.
        value: Option<u128>,
    },
    /// A choice without `within` over too many values for the interpreter.
    #[error("the choice of `{0}` has too many values to try")]
    SearchTooLong(String),
    /// Time would reach 2^62 ns.
    #[error("time would leave the model's range of 2^62 ns")]
    TimeRange,
    /// A frame of more than 65,535 bytes.
    #[error("a frame of {0} bytes is longer than 65535")]
    FrameTooLong(usize),
    /// A packet at a port where none can arrive.
    #[error("no packet can arrive at port `{0}`")]
    NoEntry(String),
}

impl DefectKind {
    /// Whether the program is at fault, and the machine therefore stops; else the event was none, and nothing happened.
    pub fn stops(&self) -> bool {
        !matches!(self, DefectKind::TimeRange | DefectKind::FrameTooLong(_) | DefectKind::NoEntry(_))
    }
}

fn obligation(obligation: Obligation) -> &'static str {
    match obligation {
        Obligation::Overflow => "the result does not fit its type",
        Obligation::DivisionByZero => "a division by zero",
        Obligation::Narrowing => "the value does not fit the narrower type",
        Obligation::Bounds => "the index is beyond the length",
        Obligation::Shift => "a shift by as many bits as the type has, or more",
        Obligation::Assertion => "an assertion does not hold",
    }
}

/// A box cannot be started with these parameters.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Not one value per parameter.
    #[error("the box has {expected} parameters, {given} are given")]
    ParamCount {
        /// Parameters of the box.
        expected: usize,
        /// Values given.
        given: usize,
    },
    /// A parameter without value and without default.
    #[error("parameter `{0}` has no value")]
    Missing(String),
    /// A value that is not of the parameter's type.
    #[error("the value of parameter `{0}` is not of its type")]
    Param(String),
    /// A bucket whose burst does not fit exact units.
    #[error("the rate of `{0}` is zero, or its burst too large")]
    Bucket(String),
    /// Tables that share their lifetimes in a circle.
    #[error("the lifetime of `{0}` depends on itself")]
    SharedLifetime(String),
    /// An initial value that cannot be computed.
    #[error("the initial value of `{0}` cannot be computed: {1}")]
    Initial(String, Fault),
}

/// A new generation of control tables that is not installed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UpdateError {
    /// A `require` does not hold of it.
    #[error("{message}")]
    Refused {
        /// The `require`'s message.
        message: String,
        /// The `require`.
        span: Span,
    },
    /// Contents that no control table can have.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The update handlers, or a `require`, are defective.
    #[error(transparent)]
    Defect(#[from] Defect),
}

/// An entry that the runtime cannot set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FeedError {
    /// Contents that the table cannot have.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The entry's lifetime could not be computed.
    #[error(transparent)]
    Defect(#[from] Defect),
}

/// Contents that a table cannot have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ContentError {
    /// The control plane (or the runtime) does not write this table.
    #[error("`{0}` is not written from outside")]
    NotWritable(String),
    /// More entries than the table holds.
    #[error("`{table}` holds {capacity} entries, {given} are given")]
    TooMany {
        /// The table.
        table: String,
        /// Its capacity.
        capacity: u64,
        /// Entries given (or needed).
        given: u64,
    },
    /// Two entries with one key.
    #[error("entry {index} of `{table}` has the key of an earlier one")]
    Duplicate {
        /// The table.
        table: String,
        /// Which entry, from 0.
        index: usize,
    },
    /// A key or value of the wrong shape, or out of its type's range.
    #[error("entry {index} of `{table}` is not of the table's type")]
    Type {
        /// The table.
        table: String,
        /// Which entry, from 0.
        index: usize,
    },
    /// A prefix with bits beyond its length, or longer than its address.
    #[error("entry {index} of `{table}` is not a prefix: bits beyond its length are set")]
    Prefix {
        /// The table.
        table: String,
        /// Which entry, from 0.
        index: usize,
    },
}
