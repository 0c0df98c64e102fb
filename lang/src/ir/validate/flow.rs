//! Statements along all paths: which variables are assigned, which headers are established, whether the packet has left.

use super::expr::fits;
use super::{Check, Fault, Scope};
use crate::ir::print::scalar;
use crate::ir::{
    Block, Body, Column, ElementId, Expr, HandleId, Header, HeaderId, Input, Local, LocalId, PacketId, Role, Scalar, Stmt,
    StmtKind, Table, TableId, TableKind, Tier,
};
use rustc_hash::FxHashMap;

/// What a body is for, and so what may stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    /// A header's declaration: expressions only.
    Header,
    /// Lifetimes, and expressions in tables' declarations.
    Pure,
    /// A handler of an input, a timer or an update.
    Handler {
        /// Whether there is a packet.
        packet: bool,
    },
    /// A test of a search in a handler.
    Reading,
    /// A property.
    Spec,
    /// A condition on control tables.
    Require,
    /// A test's script.
    Test,
}

impl Layer {
    pub(super) fn has_integers(self) -> bool {
        matches!(self, Layer::Header | Layer::Spec | Layer::Require | Layer::Test)
    }

    /// Whether a statement may stand here.
    fn allows(self, stmt: &StmtKind) -> bool {
        use StmtKind::{
            Assign, Check, Drop, Emit, First, If, Longest, Lookup, Parse, Pop, Push, ReadArray, ReadCell, ReadCounter, SetField,
            Spec, Switch, Test, UpdateChecksum, VerifyChecksums,
        };
        let packet = matches!(
            stmt,
            Parse { .. }
                | VerifyChecksums { .. }
                | SetField { .. }
                | UpdateChecksum { .. }
                | Push { .. }
                | Pop { .. }
                | Emit { .. }
                | Drop { .. }
        );
        let pure = matches!(stmt, Assign { .. } | If { .. } | Switch { .. } | Check { .. });
        let reads = matches!(
            stmt,
            Lookup { touch: false, .. } | Longest { .. } | ReadArray { .. } | ReadCell { .. } | ReadCounter { .. } | First { .. }
        );
        match self {
            Layer::Header => false,
            Layer::Pure => pure,
            Layer::Reading => pure || reads,
            Layer::Handler { packet: has } => !matches!(stmt, Spec(_) | Test(_)) && (has || !packet),
            Layer::Require => pure || reads || matches!(stmt, Spec(_)),
            Layer::Spec => pure || reads || matches!(stmt, Parse { .. } | VerifyChecksums { .. } | Spec(_)),
            Layer::Test => pure || reads || matches!(stmt, Parse { .. } | VerifyChecksums { .. } | Spec(_) | Test(_)),
        }
    }
}

/// Where an established header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At the packet's start.
    Start,
    /// Directly behind another.
    Behind(HandleId),
    /// Somewhere: paths differ.
    Somewhere,
}

/// What is known at a point of a body.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// Variables that are assigned.
    pub(super) locals: Vec<bool>,
    /// Headers that are established.
    pub(super) handles: Vec<Option<Place>>,
    /// Packets that are there.
    pub(super) packets: Vec<bool>,
    /// Whether the packet may have been emitted, and whether it may not have been.
    pub(super) emitted: (bool, bool),
}

impl State {
    pub(super) fn new(body: &Body) -> State {
        State {
            locals: vec![false; body.locals.len()],
            handles: vec![None; body.handles.len()],
            packets: vec![false; body.packets.len()],
            emitted: (false, true),
        }
    }

    /// What is known where two paths meet.
    pub(super) fn join(mut self, other: &State) -> State {
        for (mine, theirs) in self.locals.iter_mut().zip(&other.locals) {
            *mine &= *theirs;
        }
        for (mine, theirs) in self.packets.iter_mut().zip(&other.packets) {
            *mine &= *theirs;
        }
        for (mine, theirs) in self.handles.iter_mut().zip(&other.handles) {
            *mine = match (*mine, *theirs) {
                (Some(a), Some(b)) if a == b => Some(a),
                (Some(_), Some(_)) => Some(Place::Somewhere),
                _ => None,
            };
        }
        self.emitted = (self.emitted.0 | other.emitted.0, self.emitted.1 | other.emitted.1);
        self
    }
}

/// What is known where paths meet of which some may have ended.
pub(super) fn meet(a: Option<State>, b: Option<State>) -> Option<State> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.join(&b)),
        (a, b) => a.or(b),
    }
}

/// A walk along the paths of one body.
pub(super) struct Walk<'c, 'a> {
    pub(super) check: &'c mut Check<'a>,
    pub(super) body: &'c Body,
    pub(super) header: Option<&'c Header>,
    pub(super) layer: Layer,
    pub(super) element: Option<ElementId>,
    /// Variables that say which case of a switch comes next.
    switched: Vec<LocalId>,
    /// What is known where such a variable got a value; the way goes on at the switch.
    cases: FxHashMap<(LocalId, u128), State>,
}

impl<'c, 'a> Walk<'c, 'a> {
    pub(super) fn new(check: &'c mut Check<'a>, body: &'c Body, layer: Layer) -> Walk<'c, 'a> {
        let mut switched = Vec::new();
        if matches!(layer, Layer::Handler { .. }) {
            targets(&body.block, &mut switched);
        }
        Walk { check, body, header: None, layer, element: None, switched, cases: FxHashMap::default() }
    }

    pub(super) fn report(&mut self, fault: Fault) {
        self.check.report(fault);
    }

    pub(super) fn scope(&self) -> Scope<'_> {
        Scope { program: self.check.program, body: Some(self.body), header: None }
    }

    /// A variable that exists; reported if it does not.
    pub(super) fn get_local(&mut self, id: LocalId) -> Option<&'c Local> {
        let local = self.body.locals.get(id.index());
        self.check.demand(local.is_some(), || Fault::NoSuch("variable", id.0));
        local
    }

    /// Assigns a variable that must have a type.
    pub(super) fn define(&mut self, state: &mut State, what: &'static str, id: LocalId, ty: Scalar) {
        let Some(local) = self.get_local(id) else { return };
        if local.ty != ty {
            let fault = Fault::Type { what, expected: scalar(ty), found: scalar(local.ty) };
            self.report(fault);
        }
        state.locals[id.index()] = true;
    }

    /// Assigns variables that must have the types of columns.
    pub(super) fn define_all(&mut self, state: &mut State, what: &'static str, ids: &[LocalId], columns: &[Column]) {
        self.check.count(what, columns.len(), ids.len());
        for (id, column) in ids.iter().zip(columns) {
            self.define(state, what, *id, column.ty);
        }
    }

    /// A boolean that must be assigned where its block ends.
    pub(super) fn result(&mut self, state: Option<&State>, holds: LocalId) {
        if let Some(state) = state {
            self.expect(state, "condition", &Expr::Local(holds), Scalar::Bool);
        }
    }

    /// A header that must be established.
    pub(super) fn use_handle(&mut self, state: &State, id: HandleId) -> Option<&'a Header> {
        let Some(handle) = self.body.handles.get(id.index()) else {
            self.report(Fault::NoSuch("handle", id.0));
            return None;
        };
        if state.handles[id.index()].is_none() {
            self.report(Fault::NotEstablished(handle.name.clone()));
        }
        self.get_header(handle.header)
    }

    pub(super) fn get_header(&mut self, id: HeaderId) -> Option<&'a Header> {
        let header = self.check.program.headers.get(id.index());
        self.check.demand(header.is_some(), || Fault::NoSuch("header", id.0));
        header
    }

    /// A packet that must be there.
    pub(super) fn use_packet(&mut self, state: &State, id: PacketId) {
        match self.body.packets.get(id.index()) {
            None => self.report(Fault::NoSuch("packet", id.0)),
            Some(_) if state.packets[id.index()] => {}
            Some(name) => self.report(Fault::NoPacket(name.clone())),
        }
    }

    /// Establishes a header, which must be of that layout and packet.
    pub(super) fn establish(&mut self, state: &mut State, id: HandleId, of: (HeaderId, PacketId), place: Place) {
        let Some(handle) = self.body.handles.get(id.index()) else {
            return self.report(Fault::NoSuch("handle", id.0));
        };
        if (handle.header, handle.packet) != of {
            self.report(Fault::WrongHandle(handle.name.clone()));
        }
        // What was known relative to an earlier place of the same handle is no longer.
        if state.handles[id.index()].is_some_and(|before| before != place) {
            forget_behind(state, id);
        }
        state.handles[id.index()] = Some(place);
    }

    /// A table that must be of a kind.
    pub(super) fn get_table(&mut self, id: TableId, kind: fn(&TableKind) -> bool) -> Option<&'a Table> {
        let Some(table) = self.check.program.tables.get(id.index()) else {
            self.report(Fault::NoSuch("table", id.0));
            return None;
        };
        self.check.demand(kind(&table.kind), || Fault::WrongKind(table.name.clone()));
        if self.layer == Layer::Require && table.role != Role::Control {
            self.report(Fault::Misplaced("a table that is not a control table"));
        }
        Some(table)
    }

    /// A table that handlers write.
    pub(super) fn written(&mut self, id: TableId, kind: fn(&TableKind) -> bool) -> Option<&'a Table> {
        let table = self.get_table(id, kind)?;
        self.check.demand(matches!(table.role, Role::State | Role::Ghost), || Fault::NotWritable(table.name.clone()));
        Some(table)
    }

    /// A key of a table.
    pub(super) fn key(&mut self, state: &State, table: &Table, key: &[Expr]) {
        let types: Vec<Scalar> = table.key.iter().map(|c| c.ty).collect();
        self.expect_all(state, "key", key, &types);
    }

    /// A value of a table.
    pub(super) fn value(&mut self, state: &State, table: &Table, value: &[Expr]) {
        let types: Vec<Scalar> = table.value.iter().map(|c| c.ty).collect();
        self.expect_all(state, "value", value, &types);
    }

    /// An index of an array or a counter.
    pub(super) fn index(&mut self, state: &State, table: &Table, index: &Expr) {
        match table.key.first() {
            Some(column) => self.expect(state, "index", index, column.ty),
            None => {
                self.expect_bits(state, "index", index);
                self.check.demand(matches!(index, Expr::Const(0, _)), || Fault::Misplaced("an index other than 0"));
            }
        }
    }

    /// Walks a block from what is known before it, if it is reached; gives what is known behind it, if that is.
    pub(super) fn block(&mut self, block: &Block, state: Option<State>) -> Option<State> {
        let mut known = state;
        let mut reported = false;
        for stmt in block {
            let passed = known.is_some();
            let state = match known {
                Some(state) => Some(state),
                // All ways to here have chosen one of its cases.
                None => self.chosen(stmt).then(|| State::new(self.body)),
            };
            let Some(state) = state else {
                known = None;
                if !reported {
                    self.check.span = stmt.span;
                    self.report(Fault::Unreachable);
                    reported = true;
                }
                continue;
            };
            known = self.stmt(stmt, state, passed);
        }
        known
    }

    /// Whether a statement is a switch for which cases were chosen.
    fn chosen(&self, stmt: &Stmt) -> bool {
        match &stmt.kind {
            StmtKind::Switch { on: Expr::Local(id), .. } => self.cases.keys().any(|(chosen, _)| chosen == id),
            _ => false,
        }
    }

    /// Walks a block that reads only, in a scope of its own.
    fn search(&mut self, block: &Block, state: &State, holds: LocalId) {
        let outer = self.layer;
        if matches!(outer, Layer::Handler { .. }) {
            self.layer = Layer::Reading;
        }
        let end = self.block(block, Some(state.clone()));
        self.result(end.as_ref(), holds);
        self.layer = outer;
    }

    fn stmt(&mut self, stmt: &Stmt, mut state: State, passed: bool) -> Option<State> {
        self.check.span = stmt.span;
        if !self.layer.allows(&stmt.kind) {
            self.report(Fault::Misplaced("this statement"));
            return Some(state);
        }
        match &stmt.kind {
            StmtKind::Assign { dst, value } => {
                self.assign(&mut state, *dst, value);
                if let (Expr::Const(value @ 1.., _), true) = (value, self.switched.contains(dst)) {
                    let known = self.cases.remove(&(*dst, *value));
                    let known = meet(known, Some(state));
                    self.cases.extend(known.map(|known| ((*dst, *value), known)));
                    return None;
                }
            }
            StmtKind::If { cond, then, other, .. } => {
                self.expect(&state, "condition", cond, Scalar::Bool);
                let then = self.block(then, Some(state.clone()));
                let other = self.block(other, Some(state));
                return meet(then, other);
            }
            StmtKind::Branch { .. } => {}
            StmtKind::Switch { on, cases, default } => return self.switch(state, on, cases, default, passed),
            StmtKind::Check { cond, .. } => self.expect(&state, "condition", cond, Scalar::Bool),
            StmtKind::Parse { packet, header, after, into, ok, malformed } => {
                self.use_packet(&state, *packet);
                self.get_header(*header);
                let place = match after {
                    None => Place::Start,
                    Some(handle) => {
                        self.use_handle(&state, *handle);
                        if let Some(declared) = self.body.handles.get(handle.index())
                            && declared.packet != *packet
                        {
                            self.report(Fault::WrongHandle(declared.name.clone()));
                        }
                        Place::Behind(*handle)
                    }
                };
                let mut found = state.clone();
                self.establish(&mut found, *into, (*header, *packet), place);
                let ok = self.block(ok, Some(found));
                let malformed = self.block(malformed, Some(state));
                return meet(ok, malformed);
            }
            StmtKind::SetField { handle, field, value } => {
                self.expect_field(&state, *handle, *field, value);
            }
            StmtKind::UpdateChecksum { handle, field, optional, changes } => {
                self.update_checksum(&state, (*handle, *field, *optional), changes);
            }
            StmtKind::Push { header, before, into, fields, ok } => {
                self.push(&mut state, *header, *before, *into, fields);
                self.define(&mut state, "result", *ok, Scalar::Bool);
            }
            StmtKind::VerifyChecksums { handle, result } => {
                let header = self.use_handle(&state, *handle);
                let code = matches!(self.layer, Layer::Handler { .. });
                let wide = header.is_some_and(|h| h.checksums.iter().any(|sum| sum.body || !sum.pseudo.is_empty()));
                self.check.demand(!(code && wide), || Fault::Misplaced("a checksum over more than its header"));
                self.define(&mut state, "result", *result, Scalar::Bool);
            }
            StmtKind::Pop { handle } => {
                self.use_handle(&state, *handle);
                self.pop(&mut state, *handle);
            }
            StmtKind::Emit { output, args } => self.emit(&mut state, *output, args),
            StmtKind::Drop { reason } => {
                let known = reason.index() < self.check.program.reasons.len();
                self.check.demand(known, || Fault::NoSuch("reason", reason.0));
                self.check.demand(!state.emitted.0, || Fault::DropAfterEmit);
                return None;
            }
            StmtKind::First { table, index, value, test, holds, found } => {
                let array = self.get_table(*table, |k| matches!(k, TableKind::Array));
                if let Some(table) = array {
                    self.define_all(&mut state, "value", value, &table.value);
                }
                self.search(test, &state, *holds);
                if let Some(table) = array {
                    self.define_all(&mut state, "index", &[*index], &table.key);
                }
                self.define(&mut state, "result", *found, Scalar::Bool);
            }
            StmtKind::Choose { var, low, high, within, test, holds, tiers, ok } => {
                let ty = self.get_local(*var).map_or(Scalar::Bits(1), |local| local.ty);
                self.check.demand(matches!(ty, Scalar::Bits(_)), || Fault::Type {
                    what: "chosen variable",
                    expected: "bits".to_string(),
                    found: scalar(ty),
                });
                self.check.demand(*within != Some(0), || Fault::Zero("the number of probes"));
                self.expect(&state, "least value", low, ty);
                self.expect(&state, "greatest value", high, ty);
                for tier in tiers {
                    if let Tier::Exactly(value) = tier {
                        self.expect(&state, "preferred value", value, ty);
                    }
                }
                self.define(&mut state, "chosen variable", *var, ty);
                self.search(test, &state, *holds);
                for tier in tiers {
                    if let Tier::Test(block, holds) = tier {
                        self.search(block, &state, *holds);
                    }
                }
                self.define(&mut state, "result", *ok, Scalar::Bool);
            }
            StmtKind::Spec(stmt) => self.spec(&mut state, stmt),
            StmtKind::Test(stmt) => self.script(&mut state, stmt),
            other => self.access(&mut state, other),
        }
        Some(state)
    }

    fn assign(&mut self, state: &mut State, dst: LocalId, value: &Expr) {
        let Some(local) = self.get_local(dst) else { return };
        self.expect(state, "assigned value", value, local.ty);
        self.define(state, "assigned value", dst, local.ty);
    }

    fn switch(
        &mut self,
        state: State,
        on: &Expr,
        cases: &[(u128, crate::span::Span, Block)],
        default: &Block,
        passed: bool,
    ) -> Option<State> {
        let ty = self.expr(&state, on).unwrap_or(Scalar::Int);
        let chosen = match on {
            Expr::Local(id) if self.switched.contains(id) => Some(*id),
            _ => None,
        };
        let mut known = None;
        for (i, (value, _, block)) in cases.iter().enumerate() {
            self.check.demand(fits(*value, ty), || Fault::DoesNotFit(*value, scalar(ty)));
            let twice = cases[..i].iter().any(|(earlier, ..)| earlier == value);
            self.check.demand(!twice, || Fault::Duplicate("case", value.to_string()));
            let before = match chosen {
                Some(id) => self.cases.remove(&(id, *value)),
                None => Some(state.clone()),
            };
            if before.is_some() {
                known = meet(known, self.block(block, before));
            }
        }
        match chosen {
            // No case was chosen on the ways that come here by themselves.
            Some(_) if !passed => known,
            _ => meet(known, self.block(default, Some(state))),
        }
    }
}

/// The variables that switches are on.
fn targets(block: &Block, into: &mut Vec<LocalId>) {
    for stmt in block {
        match &stmt.kind {
            StmtKind::If { then: a, other: b, .. } | StmtKind::Parse { ok: a, malformed: b, .. } => {
                targets(a, into);
                targets(b, into);
            }
            StmtKind::Switch { on, cases, default } => {
                if let Expr::Local(id) = on {
                    into.push(*id);
                }
                cases.iter().for_each(|(_, _, case)| targets(case, into));
                targets(default, into);
            }
            _ => {}
        }
    }
}

/// Forgets the places of all headers that are known relative to a handle that moved.
fn forget_behind(state: &mut State, id: HandleId) {
    for place in &mut state.handles {
        if *place == Some(Place::Behind(id)) {
            *place = Some(Place::Somewhere);
        }
    }
}

impl<'a> Check<'a> {
    /// Checks the handler of an input.
    pub(super) fn input(&mut self, element: ElementId, input: &'a Input) {
        let body = &input.body;
        self.locals(body, Layer::Handler { packet: true });
        self.count("packets of a handler", 1, body.packets.len());
        let mut state = State::new(body);
        state.packets.iter_mut().for_each(|there| *there = true);
        let mut walk = Walk::new(self, body, Layer::Handler { packet: true });
        walk.element = Some(element);
        for (i, column) in input.args.iter().enumerate() {
            walk.define(&mut state, "value beside the packet", LocalId(i as u32), column.ty);
        }
        let mut place = Place::Start;
        for (i, header) in input.contract.iter().enumerate() {
            let id = HandleId(i as u32);
            walk.get_header(*header);
            walk.establish(&mut state, id, (*header, PacketId(0)), place);
            place = Place::Behind(id);
        }
        let end = walk.block(&body.block, Some(state));
        self.demand(end.is_none_or(|state| !state.emitted.1), || Fault::NoOutcome);
        self.ghosts(body);
    }

    /// Checks a handler without a packet.
    pub(super) fn plain_handler(&mut self, element: ElementId, body: &'a Body) {
        let layer = Layer::Handler { packet: false };
        self.locals(body, layer);
        self.count("packets", 0, body.packets.len());
        let mut walk = Walk::new(self, body, layer);
        walk.element = Some(element);
        walk.block(&body.block, Some(State::new(body)));
        self.ghosts(body);
    }

    /// Checks the declarations of a body.
    pub(super) fn locals(&mut self, body: &Body, layer: Layer) {
        let mut walk = Walk::new(self, body, layer);
        for local in &body.locals {
            walk.check_type(local.ty);
        }
        for handle in &body.handles {
            walk.get_header(handle.header);
            let known = handle.packet.index() < body.packets.len();
            walk.check.demand(known, || Fault::NoSuch("packet", handle.packet.0));
        }
    }
}
