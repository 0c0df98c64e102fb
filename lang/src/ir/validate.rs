//! Checks a [`Program`] (or a [`Test`] of one) for all that its consumers rely on. It reports; it never repairs, and it never
//! panics, whatever the IR holds. A program that passes makes no interpreter, verifier or code generator panic.
//!
//! # What every consumer may rely on
//! **Declarations.** Every id is in range. Names of parameters, ports, elements, tables, hashes and properties are distinct;
//! reasons are distinct. Widths are 1 to 128. Constants fit their types. A header's fields follow one another without
//! gaps and fill its fixed part, which is at least one byte; its length and body are integers and its `valid` a boolean over its
//! own fields, constants and operators only. A checksum is a 16-bit field at an even offset. A hash has 1 to 64 bits and takes
//! no integers. A parameter's default has one constant per column.
//!
//! **Types.** Both operands of an operator have one type, but for shifts; conditions are booleans; bit operators, saturating
//! operators and overflow tests work on bits ([`BinaryOp::And`](super::BinaryOp::And), `Or`, `Xor` on booleans too), order and
//! arithmetic on bits or integers. Conversions are between bits, and between bits and integers; a boolean is never converted.
//! Keys, values, arguments and results have the types of their columns, one each. [`Scalar::Int`](super::Scalar::Int) occurs in specifications, tests
//! and header declarations only.
//!
//! **Variables.** A variable is assigned before it is read, on every path. [`StmtKind::First`](super::StmtKind::First) and
//! [`StmtKind::Choose`](super::StmtKind::Choose) set their variables before their tests; what a test assigns is not seen behind
//! it; every path of a test assigns its `holds`. In specifications and tests all variables start as zero and all headers absent; to
//! speak of an absent header is an error of the evaluation.
//!
//! **Headers.** A handle is used only where it is established on every path: in the `ok` block of its parse, behind its push,
//! by the contract; it is gone behind its pop. `Parse` and `Push` name places of the same packet. A handler changes packet 0
//! only.
//!
//! **Control.** Every path of an input's handler ends in a drop or has emitted, and no path drops after it has emitted. Timers,
//! update handlers and lifetimes neither emit nor drop nor look at packets. No statement follows one that does not fall through.
//! Cases of a switch are distinct and of the type of `on`.
//!
//! **Layers.** Tests of `First`, `Choose` and tiers read only: `Assign`, `If`, `Switch`, `Check`, `Lookup` without `touch`,
//! `Longest`, `ReadArray`, `ReadCell`, `ReadCounter`, `First`. Lifetimes compute only, from the entry's key and value, constants
//! and parameters: `Assign`, `If`, `Switch`, `Check`. Specifications read, and may parse and use [`SpecStmt`](super::SpecStmt). A
//! `require` reads control tables only, and sees neither packets nor the time. [`TestStmt`](super::TestStmt) is in tests only.
//!
//! **State.** Each statement is used on the kinds of tables that its documentation names. A table's capacity is at least 1, that of
//! cells and single counters is 1. Arrays and counter arrays have one index column of bits; the index of a single counter is the
//! constant 0. Arrays and cells have an initial value; other tables have none. Handlers do not write control and feed tables.
//! Nothing but writes to ghost tables depends on ghost tables. An insertion is into ghost tables only or into none. Lifetimes
//! belong to maps, sets and buckets. `IdleWith` names an earlier map or set whose own lifetime is not `IdleWith`, of the same ghostliness.
//!
//! **Wiring.** The graph of inputs and of the outputs that their handlers emit on is acyclic; an element may be passed twice
//! through different inputs. Arguments agree with those of the input that an output leads to; out of the box there are none.
//! Where an input has a contract, every emit that leads to it has established these headers from the packet's start on. A
//! property speaks of packets that arrive only at ports that have an entry.

mod declare;
mod effects;
mod expr;
mod flow;
mod ghost;
mod script;
mod specs;
mod wiring;

use super::{ElementId, Program, Test};
use crate::span::Span;

pub use expr::Scope;
pub use ghost::{assigned, ghost_locals, is_ghost_stmt, read};

/// A breach of what consumers rely on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {fault}")]
pub struct Invalid {
    /// Which part of the program: `input rewriter.from_inside`, `property inverse`.
    pub at: String,
    /// The source that the statement or declaration comes from.
    pub span: Span,
    /// What is wrong.
    pub fault: Fault,
}

/// The kinds of breaches.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// An id names nothing.
    #[error("there is no {0} {1}")]
    NoSuch(&'static str, u32),
    /// A name or a value occurs twice.
    #[error("{0} `{1}` occurs twice")]
    Duplicate(&'static str, String),
    /// A width is not 1 to 128, or not what is allowed here.
    #[error("{0} bits are not allowed here")]
    Width(u8),
    /// A constant does not fit its type.
    #[error("{0} does not fit {1}")]
    DoesNotFit(u128, String),
    /// A list has the wrong length.
    #[error("{what}: expected {expected}, found {found}")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many there must be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// An expression or a variable has the wrong type.
    #[error("{what}: expected {expected}, found {found}")]
    Type {
        /// Of what.
        what: &'static str,
        /// The type, or kind of type, that it must have.
        expected: String,
        /// The type that it has.
        found: String,
    },
    /// An integer where only bits and booleans are.
    #[error("an integer outside of specifications and header declarations")]
    IntInCode,
    /// A statement or an expression stands where it must not.
    #[error("{0} must not stand here")]
    Misplaced(&'static str),
    /// A variable is read that is not assigned on every path.
    #[error("variable `{0}` is not assigned on every path")]
    Unassigned(String),
    /// A header is used that is not established on every path.
    #[error("header `{0}` is not established on every path")]
    NotEstablished(String),
    /// A packet is used that is not there.
    #[error("packet `{0}` is not there")]
    NoPacket(String),
    /// A handle belongs to another packet or another layout than is said.
    #[error("handle `{0}` is of another packet or layout")]
    WrongHandle(String),
    /// A statement behind one that does not fall through.
    #[error("a statement that no path reaches")]
    Unreachable,
    /// A drop on a path that has emitted.
    #[error("a path that has emitted drops")]
    DropAfterEmit,
    /// A path neither emits nor drops.
    #[error("a path neither emits nor drops")]
    NoOutcome,
    /// A statement on a table of a kind that it is not for.
    #[error("table `{0}` is not of a kind that this is for")]
    WrongKind(String),
    /// A handler writes a table that is not its to write.
    #[error("table `{0}` is not written by handlers")]
    NotWritable(String),
    /// Something other than ghost state depends on ghost state.
    #[error("`{0}` depends on ghost state")]
    GhostLeak(String),
    /// A header's layout is wrong.
    #[error("layout: {0}")]
    Layout(&'static str),
    /// A checksum update that the header's declaration does not have.
    #[error("no such checksum is declared")]
    NoChecksum,
    /// A table's declaration is wrong.
    #[error("table: {0}")]
    Table(&'static str),
    /// The wiring leads from an input back to itself.
    #[error("the wiring leads from here back to here")]
    Cycle,
    /// An emit leads to an input whose contract is not established.
    #[error("the contract of `{0}` is not established")]
    Contract(String),
    /// Packets are said to arrive at a port where none can.
    #[error("no packets arrive at port `{0}`")]
    NoEntry(String),
    /// A number that must not be zero is.
    #[error("{0} is zero")]
    Zero(&'static str),
}

/// Checks a program. All breaches are reported, in the order of the program.
pub fn validate(program: &Program) -> Result<(), Vec<Invalid>> {
    let mut check = Check::new(program);
    check.declarations();
    // Bodies are read with the help of declarations; where those are broken, what is said of bodies would mislead.
    if check.errors.is_empty() {
        check.elements();
        check.requires();
        check.properties();
        check.acyclic();
    }
    check.finish()
}

/// Checks a test of a program that passed [`validate`].
pub fn validate_test(program: &Program, test: &Test) -> Result<(), Vec<Invalid>> {
    let mut check = Check::new(program);
    check.test(test);
    check.finish()
}

/// A check under way.
struct Check<'a> {
    program: &'a Program,
    errors: Vec<Invalid>,
    /// The part of the program that is being checked.
    at: String,
    span: Span,
}

impl<'a> Check<'a> {
    fn new(program: &'a Program) -> Check<'a> {
        let at = format!("middlebox {}", program.name);
        Check { program, errors: Vec::new(), at, span: program.span }
    }

    fn finish(self) -> Result<(), Vec<Invalid>> {
        if self.errors.is_empty() { Ok(()) } else { Err(self.errors) }
    }

    fn report(&mut self, fault: Fault) {
        self.errors.push(Invalid { at: self.at.clone(), span: self.span, fault });
    }

    /// Reports `fault` unless `holds`.
    fn demand(&mut self, holds: bool, fault: impl FnOnce() -> Fault) {
        if !holds {
            self.report(fault());
        }
    }

    fn count(&mut self, what: &'static str, expected: usize, found: usize) -> bool {
        self.demand(expected == found, || Fault::Count { what, expected, found });
        expected == found
    }

    /// Goes to another part of the program.
    fn enter(&mut self, at: String, span: Span) {
        self.at = at;
        self.span = span;
    }

    /// Checks all handlers.
    fn elements(&mut self) {
        for (id, element) in self.program.elements.iter().enumerate() {
            let id = ElementId(id as u32);
            for input in &element.inputs {
                self.enter(format!("input {}.{}", element.name, input.name), element.span);
                self.input(id, input);
            }
            for timer in &element.timers {
                self.enter(format!("timer of {}", element.name), element.span);
                self.demand(timer.every > 0, || Fault::Zero("the time between two events"));
                self.plain_handler(id, &timer.body);
            }
            if let Some(body) = &element.update {
                self.enter(format!("update of {}", element.name), element.span);
                self.plain_handler(id, body);
            }
        }
    }
}
