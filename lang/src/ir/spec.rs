//! The parts of the core IR that are evaluated and never compiled: properties over states, steps and traces, and tests.

use super::{Block, Body, Expr, FieldId, HandleId, HeaderId, LocalId, PacketId, PortId, ReasonId, TableId};
use crate::span::Span;
use serde::Serialize;

/// Index into [`super::Program::properties`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct PropertyId(pub u32);

/// A promise of the box: an invariant, a property, or a property of a spec that it claims.
#[derive(Clone, Debug, Serialize)]
pub struct Property<E = Expr> {
    /// Name; with the index of each port array that it ranges over, e.g. `never_back[0]`.
    pub name: String,
    /// Where it is declared.
    pub span: Span,
    /// The spec that it comes from, if it is claimed.
    pub claim: Option<String>,
    /// Sources, e.g. `rfc 4787 REQ-1`.
    pub sources: Vec<String>,
    /// Rows of the property checklist that it states.
    pub rows: Vec<String>,
    /// Its name in Gravel's parity set.
    pub gravel: Option<String>,
    /// The reason, if it is assumed and not to be proved.
    pub assumed: Option<String>,
    /// Variables of all its blocks; its own block is empty.
    pub body: Body<E>,
    /// What it says.
    pub form: Form<E>,
}

/// The forms of properties. Blocks of one property share their variables: a later block sees what an earlier one bound.
#[derive(Clone, Debug, Serialize)]
pub enum Form<E = Expr> {
    /// In every reachable state.
    Always {
        /// Computes `holds`.
        block: Block<E>,
        /// The formula.
        holds: LocalId,
    },
    /// In every reachable state, for all packets that arrive there.
    Step {
        /// The packets and the ports at which they arrive.
        packets: Vec<(PacketId, PortId)>,
        /// Computes both; both start false.
        block: Block<E>,
        /// Whether the packets are of the shapes named and the `where` holds.
        premise: LocalId,
        /// What must hold then.
        holds: LocalId,
    },
    /// Once A, then B for as long as C.
    Persists {
        /// A.
        once: EventPattern<E>,
        /// The packets that B speaks of: `emits` is not set.
        then: EventPattern<E>,
        /// What must happen to them.
        outcome: Outcome<E>,
        /// The clocks that C reads.
        since: Vec<Since<E>>,
        /// Computes `holds`: C, at the time of `then`'s packet.
        condition: Block<E>,
        /// C.
        holds: LocalId,
    },
    /// B only if A has happened before.
    OnlyAfter {
        /// B.
        then: EventPattern<E>,
        /// A; sees the variables of `then`: earlier events are matched for each B.
        after: EventPattern<E>,
        /// At most that many nanoseconds before.
        within: Option<E>,
        /// What undoes A if it happens after A; sees the variables of both.
        unless: Option<EventPattern<E>>,
    },
    /// What happens to packets of `observed` does not depend on the events of `from`.
    Independent {
        /// V.
        observed: EventPattern<E>,
        /// U; sees the variables of `observed`: it is matched for each pair.
        from: EventPattern<E>,
        /// Drop reasons through which V may depend on U.
        except: Vec<ReasonId>,
    },
    /// The sum of an amount over every interval of a trace stays below a limit, per key.
    Bound {
        /// The events that count; its block also computes `amount` and `key`.
        event: EventPattern<E>,
        /// What each adds, an integer.
        amount: E,
        /// Per which key.
        key: Vec<E>,
        /// Set to the interval's length in nanoseconds, an integer.
        interval: LocalId,
        /// Computes what `limit` needs.
        block: Block<E>,
        /// The limit, an integer.
        limit: E,
    },
    /// A trace exists in which this happens.
    Reachable {
        /// The event.
        event: EventPattern<E>,
    },
}

/// A packet that arrives at a port and what becomes of it.
#[derive(Clone, Debug, Serialize)]
pub struct EventPattern<E = Expr> {
    /// Where it is written.
    pub span: Span,
    /// The packet.
    pub packet: PacketId,
    /// At which port.
    pub port: PortId,
    /// A packet that its step emits there, if that is asked for: each one is tried.
    pub emits: Option<(PortId, PacketId)>,
    /// Whether its step drops it, for one of these reasons (any, if empty).
    pub drops: Option<Vec<ReasonId>>,
    /// Computes `matches` from both packets; it starts false. Evaluated in the state before the step.
    pub block: Block<E>,
    /// Whether the shapes and the `where` fit.
    pub matches: LocalId,
}

/// What must become of a packet.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome<E = Expr> {
    /// It is emitted on that port as a packet for which `matches` holds.
    pub emits: Option<Emission<E>>,
    /// Or dropped for one of these reasons.
    pub drops: Vec<ReasonId>,
}

/// A packet that a step emits.
#[derive(Clone, Debug, Serialize)]
pub struct Emission<E = Expr> {
    /// On which port.
    pub port: PortId,
    /// Bound to it.
    pub packet: PacketId,
    /// Computes `matches`; it starts false.
    pub block: Block<E>,
    /// Whether it is as asked.
    pub matches: LocalId,
}

/// The time since the last event of a kind.
#[derive(Clone, Debug, Serialize)]
pub struct Since<E = Expr> {
    /// The event; sees what `once` bound.
    pub event: EventPattern<E>,
    /// Set to the nanoseconds since its last occurrence, an integer; since `once`'s event, if it has not happened.
    pub elapsed: LocalId,
}

/// How the instances of a quantifier are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Quantifier {
    /// All of them hold.
    All,
    /// One of them holds.
    Exists,
    /// The number of those that hold, an integer.
    Count,
}

/// Statements of specifications. They read; they change nothing.
#[derive(Clone, Debug, Serialize)]
pub enum SpecStmt<E = Expr> {
    /// Over the live entries of a table (all elements of an array).
    Entries {
        /// How instances are put together.
        quantifier: Quantifier,
        /// The table.
        table: TableId,
        /// Set to the key's scalars (the index).
        key: Vec<LocalId>,
        /// Set to the value's scalars; empty if not asked for.
        value: Vec<LocalId>,
        /// Computes `holds`.
        block: Block<E>,
        /// The instance.
        holds: LocalId,
        /// The result.
        result: LocalId,
    },
    /// Over the integers `low..=high`; none if `high < low`.
    Range {
        /// How instances are put together.
        quantifier: Quantifier,
        /// The integer.
        var: LocalId,
        /// Least.
        low: E,
        /// Greatest.
        high: E,
        /// Computes `holds`.
        block: Block<E>,
        /// The instance.
        holds: LocalId,
        /// The result.
        result: LocalId,
    },
    /// The deadline of a live entry, 64 bits; 0 if there is none.
    Deadline {
        /// The table.
        table: TableId,
        /// The key.
        key: Vec<E>,
        /// The result.
        result: LocalId,
    },
    /// The number of live entries, an integer.
    Size {
        /// The table.
        table: TableId,
        /// The result.
        result: LocalId,
    },
    /// Whether as many entries as the capacity are physically there.
    Full {
        /// The table.
        table: TableId,
        /// The result.
        result: LocalId,
    },
    /// A bucket's tokens as of now, in units of one bit divided by 10^9 (rate x nanoseconds), an integer. Absent: full.
    Tokens {
        /// The bucket table.
        table: TableId,
        /// The key.
        key: Vec<E>,
        /// The result.
        result: LocalId,
    },
    /// Over the packets that the step of `packet` (arriving at `port`, in the current state) emits on `on`.
    Emits {
        /// How instances are put together.
        quantifier: Quantifier,
        /// The packet that arrives.
        packet: PacketId,
        /// Where it arrives.
        port: PortId,
        /// Where packets are emitted.
        on: PortId,
        /// Set to each.
        into: PacketId,
        /// Computes `holds`.
        block: Block<E>,
        /// The instance.
        holds: LocalId,
        /// The result.
        result: LocalId,
    },
    /// Whether the step of a packet drops it (or a copy of it).
    Drops {
        /// The packet that arrives.
        packet: PacketId,
        /// Where it arrives.
        port: PortId,
        /// For one of these reasons; any, if empty.
        reasons: Vec<ReasonId>,
        /// The result.
        result: LocalId,
    },
    /// Whether the step of a packet makes a choice that leaves a tier because all its values, or as many as `within` says, were
    /// refused.
    Refused {
        /// The packet that arrives.
        packet: PacketId,
        /// Where it arrives.
        port: PortId,
        /// The chosen variable's name.
        choice: String,
        /// Which tier, from 0.
        tier: u32,
        /// The result.
        result: LocalId,
    },
    /// Evaluates a block in the state after an event. The choices of steps there are those of the step shown by `Emits`.
    After {
        /// The event.
        event: AfterEvent<E>,
        /// The block.
        block: Block<E>,
    },
    /// Whether two packets are the same bytes, but for fields of the first's headers.
    Same {
        /// One packet.
        left: PacketId,
        /// The other.
        right: PacketId,
        /// Fields that may differ: headers of `left`.
        except: Vec<(HandleId, FieldId)>,
        /// The result.
        result: LocalId,
    },
    /// Whether what follows two headers is the same bytes, up to the end of their bodies.
    SameBody {
        /// One header.
        left: HandleId,
        /// The other.
        right: HandleId,
        /// The result.
        result: LocalId,
    },
}

/// What moves a specification to another state.
#[derive(Clone, Debug, Serialize)]
pub enum AfterEvent<E = Expr> {
    /// A packet is processed.
    Packet(PacketId, PortId),
    /// Time passes: nanoseconds.
    Time(E),
}

/// A `test` block: a script of events and expectations.
#[derive(Clone, Debug, Serialize)]
pub struct Test {
    /// Name.
    pub name: String,
    /// Where it is declared.
    pub span: Span,
    /// Values of the box's parameters, one constant per column; none: the default.
    pub params: Vec<Option<Vec<u128>>>,
    /// The script.
    pub body: Body,
}

/// Statements of tests.
#[derive(Clone, Debug, Serialize)]
pub enum TestStmt {
    /// Makes a packet.
    Build {
        /// Bound to it.
        packet: PacketId,
        /// Headers, outermost first.
        parts: Vec<Part>,
        /// What follows them.
        payload: Vec<Payload>,
    },
    /// Another packet's first bytes.
    Truncate {
        /// Bound to the result.
        packet: PacketId,
        /// The whole.
        from: PacketId,
        /// How many bytes.
        length: Expr,
    },
    /// A packet arrives. What the last one caused must have been expected (or ignored) before.
    Send {
        /// Where.
        port: PortId,
        /// The packet.
        packet: PacketId,
    },
    /// The next packet that left on that port is exactly this one.
    ExpectPacket {
        /// Where.
        port: PortId,
        /// The packet.
        packet: PacketId,
    },
    /// The next packet that left on that port fits.
    ExpectMatch {
        /// Where.
        port: PortId,
        /// Bound to it; visible to the rest of the test.
        packet: PacketId,
        /// Computes `holds`.
        block: Block,
        /// Whether it fits.
        holds: LocalId,
    },
    /// A packet was dropped.
    ExpectDrop {
        /// Why; none: for any reason.
        reason: Option<ReasonId>,
    },
    /// Forgets what the last packet caused.
    Ignore,
    /// Time passes; timers fire.
    Advance(Expr),
    /// A new generation of control tables: these are replaced, the others stay.
    Update {
        /// New contents.
        tables: Vec<TableContent>,
        /// Whether a `require` must refuse it.
        refused: bool,
    },
    /// The runtime sets (or removes) one entry of a fed table.
    Feed {
        /// The table.
        table: TableId,
        /// The key.
        key: Vec<Expr>,
        /// The value; none: it is removed.
        value: Option<Vec<Expr>>,
    },
    /// Something holds of the state.
    Assert {
        /// Computes `holds`.
        block: Block,
        /// The condition.
        holds: LocalId,
    },
    /// Properties hold of what happened so far.
    Property {
        /// The properties.
        properties: Vec<PropertyId>,
        /// Packets that they speak of beyond that, and where these may arrive.
        packets: Vec<(PortId, PacketId)>,
    },
    /// The values of the next choices, in order.
    Choices(Vec<Expr>),
    /// Runs a block for each value of `low..high`.
    Repeat {
        /// The value.
        var: LocalId,
        /// First.
        low: Expr,
        /// After the last.
        high: Expr,
        /// The block.
        block: Block,
    },
}

/// A header of a packet that is built.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// The layout.
    pub header: HeaderId,
    /// Bound to it; visible to the rest of the test.
    pub handle: HandleId,
    /// One per field.
    pub fields: Vec<Fill>,
    /// The variable part.
    pub variable: Vec<u8>,
}

/// How a field of a packet that is built gets its value.
#[derive(Clone, Debug, Serialize)]
pub enum Fill {
    /// This value.
    Value(Expr),
    /// An integer over the length of the header, and of all bytes from its start to the packet's end.
    Lengths {
        /// Set to the header's length.
        header: LocalId,
        /// Set to the bytes from its start to the packet's end.
        total: LocalId,
        /// The value.
        value: Expr,
    },
    /// The right checksum.
    Checksum,
}

/// A piece of a payload.
#[derive(Clone, Debug, Serialize)]
pub enum Payload {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many zero bytes.
    Zeros(Expr),
    /// Bytes of a packet, from a header (or its start) on, at most so many.
    Quote {
        /// The packet.
        packet: PacketId,
        /// From where.
        from: Option<HandleId>,
        /// At most so many bytes.
        limit: Option<Expr>,
    },
}

/// The whole content of a table, in a test's update or in a configuration.
#[derive(Clone, Debug, Serialize)]
pub struct TableContent {
    /// The table.
    pub table: TableId,
    /// Keys and values. For arrays the key is empty: elements in order; the rest get the initial value.
    pub entries: Vec<(Vec<Expr>, Vec<Expr>)>,
}
