//! Statements in order, ways that part and meet, and the ends of the program.
//!
//! Ways are kept apart until a statement follows, and meet in one block then. An `emit` at the end of a handler leads to the
//! input behind it, which is lowered once for all that lead there; any other is lowered in place, since what follows it runs
//! afterwards.

use super::super::lir::{Arg, Bin, Cmp, Helper, Type};
use super::super::{Hook, Told};
use super::env::{Env, Frame, Open};
use super::{Lower, Lowering, sums, whence};
use grv_lang::diagnostics::Code;
use grv_lang::ir::validate::is_ghost_stmt;
use grv_lang::ir::{
    BinaryOp, ElementId, Expr, HeaderId, InputRef, PortId, Program, ReasonId, Scalar, Stmt, StmtKind, Target, UnaryOp,
};
use grv_lang::span::Span;
use std::collections::BTreeMap;

/// Verdicts of XDP programs.
pub(super) const ABORTED: u64 = 0;
pub(super) const DROP: u64 = 1;
pub(super) const PASS: u64 = 2;
const BACK: u64 = 3;

/// Flags of `bpf_redirect_map` beside the verdict where there is no entry: to all entries; but not to the interface that the packet arrived at.
const BROADCAST: u64 = 8;
const EXCLUDE_INGRESS: u64 = 16;

/// Ways that may be kept apart because they sent different things so far.
const MOST_WAYS: usize = 64;

impl<'p> Lower<'p> {
    /// Runs statements on ways that have come here. `tail`: nothing follows them.
    pub(super) fn block(&mut self, mut opens: Vec<Open<'p>>, stmts: &'p [Stmt], tail: bool) -> Lowering<Vec<Open<'p>>> {
        for (index, stmt) in stmts.iter().enumerate() {
            if self.is_ghost(&opens, stmt) || matches!(stmt.kind, StmtKind::Branch { .. }) {
                continue;
            }
            if opens.is_empty() || tail && self.ends_alike(&mut opens, stmt) {
                break;
            }
            if let StmtKind::Assign { dst, value: value @ (Expr::Local(_) | Expr::Const(..)) } = &stmt.kind
                && opens.iter().all(|open| copied(&open.env, value).is_some())
            {
                // No reason to meet.
                for open in &mut opens {
                    let value = copied(&open.env, value);
                    open.env.frame_mut().locals[dst.index()] = value;
                }
                continue;
            }
            if let (StmtKind::UpdateChecksum { .. }, Some(open)) = (&stmt.kind, opens.first()) {
                match sums::due(open.env.frame().body, stmts, index) {
                    Some(changes) => self.changes = changes,
                    None => continue,
                }
            }
            let tail = tail && index + 1 == stmts.len();
            let depth = opens.first().map_or(0, |open| open.env.frames.len() - 1);
            self.rest.push((depth, &stmts[index + 1..]));
            opens = match &stmt.kind {
                StmtKind::If { cond, then, other } => self.fork(opens, stmt.span, cond, then, other, tail)?,
                StmtKind::Switch { on, cases, default } => self.switch(opens, stmt.span, on, cases, default, tail)?,
                _ => {
                    let mut next = Vec::new();
                    for ways in apart(opens) {
                        next.extend(self.stmt(ways, stmt, stmts.get(index + 1), tail)?);
                    }
                    next
                }
            };
            self.rest.pop();
            if opens.len() > MOST_WAYS {
                return Err(self.refuse(Code::TargetPacket, stmt.span, "so many ways to send copies".to_string()));
            }
        }
        Ok(opens)
    }

    /// Whether a statement is there for specifications only.
    fn is_ghost(&self, opens: &[Open<'p>], stmt: &Stmt) -> bool {
        let Some(open) = opens.first() else { return true };
        is_ghost_stmt(self.program, &open.env.frame().ghost, &stmt.kind)
    }

    /// Runs one of two blocks. Ways on which the condition is known go straight there.
    fn fork(
        &mut self,
        opens: Vec<Open<'p>>,
        span: Span,
        cond: &Expr,
        then: &'p [Stmt],
        other: &'p [Stmt],
        tail: bool,
    ) -> Lowering<Vec<Open<'p>>> {
        let (mut yes, mut no, mut open) = (Vec::new(), Vec::new(), Vec::new());
        for way in opens {
            match known(&way.env, cond) {
                Some(0) => no.push(way),
                Some(_) => yes.push(way),
                None => open.push(way),
            }
        }
        for ways in apart(open) {
            let mut env = self.join(ways)?;
            self.b.span = span;
            let blocks = (self.b.block(), self.b.block());
            let asked = whence::asked(&env, cond);
            self.cond(&mut env, cond, None, span, blocks.0, blocks.1)?;
            let way = |holds: bool, block| {
                let mut env = env.clone();
                if let Some((word, number, same)) = asked {
                    env.tell(word, |other| (other == number) == (same == holds));
                }
                Open { env, block }
            };
            yes.push(way(true, blocks.0));
            no.push(way(false, blocks.1));
        }
        let mut out = self.block(yes, then, tail)?;
        out.extend(self.block(no, other, tail)?);
        Ok(out)
    }

    /// Runs the block of the case that equals a number. Ways on which it is known go straight there.
    fn switch(
        &mut self,
        opens: Vec<Open<'p>>,
        span: Span,
        on: &Expr,
        cases: &'p [(u128, Span, Vec<Stmt>)],
        default: &'p [Stmt],
        tail: bool,
    ) -> Lowering<Vec<Open<'p>>> {
        let mut to: Vec<Vec<Open<'p>>> = vec![Vec::new(); cases.len() + 1];
        let mut open = Vec::new();
        for way in opens {
            match known(&way.env, on) {
                Some(number) => {
                    let case = cases.iter().position(|(value, ..)| *value == u128::from(number));
                    to[case.unwrap_or(cases.len())].push(way);
                }
                None => open.push(way),
            }
        }
        for ways in apart(open) {
            let mut env = self.join(ways)?;
            self.b.span = span;
            let on = self.eval(&mut env, on, span)?;
            for (index, (value, ..)) in cases.iter().enumerate() {
                let (hit, next) = (self.b.block(), self.b.block());
                self.b.branch(Cmp::Eq, on, Arg::Number(*value as u64), hit, next);
                to[index].push(Open { env: env.clone(), block: hit });
                self.b.enter(next);
            }
            to[cases.len()].push(Open { env, block: self.b.here() });
        }
        let mut out = Vec::new();
        let blocks = cases.iter().map(|(_, _, block)| block.as_slice()).chain([default]);
        for (ways, block) in to.into_iter().zip(blocks) {
            out.extend(self.block(ways, block, tail)?);
        }
        Ok(out)
    }

    /// One statement, on ways that sent the same.
    fn stmt(&mut self, opens: Vec<Open<'p>>, stmt: &'p Stmt, next: Option<&'p Stmt>, tail: bool) -> Lowering<Vec<Open<'p>>> {
        let mut env = self.join(opens)?;
        let span = stmt.span;
        self.b.span = span;
        let open = |lower: &Self, env: Env<'p>| Ok(vec![Open { env, block: lower.b.here() }]);
        match &stmt.kind {
            StmtKind::Assign { dst, value } => {
                if let Expr::Unary(..) | Expr::Binary(..) = value
                    && self.ty(&env, value, None) == Scalar::Bool
                    && next.is_some_and(|next| asks_for(next, *dst))
                {
                    // What is asked for next is decided by a branch; else a number is better, which parts no ways.
                    let (yes, no) = (self.b.block(), self.b.block());
                    self.cond(&mut env, value, None, span, yes, no)?;
                    let way = |block, number| {
                        let mut env = env.clone();
                        env.frame_mut().locals[dst.index()] = Some(Arg::Number(number));
                        Open { env, block }
                    };
                    return Ok(vec![way(yes, 1), way(no, 0)]);
                }
                let value = match value {
                    // What is computed from it is computed in ticks.
                    Expr::Now if self.is_for_deadlines(&env, *dst) => Arg::Number(0),
                    _ => self.eval(&mut env, value, span)?,
                };
                env.frame_mut().locals[dst.index()] = Some(value);
                open(self, env)
            }
            StmtKind::Parse { packet: _, header, after, into, ok, malformed } => {
                self.frame_length(&mut env);
                let other = self.b.block();
                let missing = env.clone();
                let place = self.parse(&mut env, *header, *after, span, other)?;
                env.frame_mut().places[into.index()] = Some(place);
                let block = self.b.here();
                let mut out = self.block(vec![Open { env, block }], ok, tail)?;
                out.extend(self.block(vec![Open { env: missing, block: other }], malformed, tail)?);
                Ok(out)
            }
            StmtKind::Check { cond, what: _ } => {
                if self.options.checks {
                    let (yes, no) = (self.b.block(), self.b.block());
                    self.cond(&mut env, cond, None, span, yes, no)?;
                    self.b.enter(no);
                    self.abandon(&env);
                    self.defect();
                    self.b.enter(yes);
                }
                open(self, env)
            }
            StmtKind::SetField { handle, field, value } => {
                let value = self.eval(&mut env, value, span)?;
                self.goes_on(&mut env)?;
                self.set_field(&mut env, *handle, *field, value, span)?;
                open(self, env)
            }
            StmtKind::UpdateChecksum { handle, field, optional, changes: _ } => {
                self.goes_on(&mut env)?;
                let changes = self.changes.clone();
                self.update_checksum(&mut env, *handle, *field, *optional, &changes, span)?;
                open(self, env)
            }
            StmtKind::VerifyChecksums { handle, result } => {
                let valid = self.verify_checksums(&mut env, *handle, span)?;
                env.frame_mut().locals[result.index()] = Some(valid);
                open(self, env)
            }
            StmtKind::Emit { output, args } => self.emit(env, *output, args, span, tail),
            StmtKind::Drop { reason } => self.dropped(env, *reason),
            StmtKind::If { .. } | StmtKind::Switch { .. } | StmtKind::Branch { .. } => {
                Err(self.broken(span, "a statement out of its place"))
            }
            StmtKind::Push { .. } | StmtKind::Pop { .. } if self.options.hook == Hook::Tc => Err(self.resized_at_tc(span)),
            StmtKind::Push { header, before, into, fields, ok } => {
                self.goes_on(&mut env)?;
                self.push_header(env, *header, *before, *into, fields, *ok, span)
            }
            StmtKind::Pop { handle } => {
                self.goes_on(&mut env)?;
                self.pop_header(&mut env, *handle, span)?;
                open(self, env)
            }
            StmtKind::First { .. } | StmtKind::Choose { .. } => {
                // Its test may be made again.
                self.rest.push((env.frames.len() - 1, std::slice::from_ref(stmt)));
                let ways = match stmt.kind {
                    StmtKind::First { .. } => self.first(env, stmt),
                    _ => self.choose(env, stmt),
                };
                self.rest.pop();
                ways
            }
            StmtKind::Spec(_) | StmtKind::Test(_) => Err(self.broken(span, "a specification in a handler")),
            _ => self.table_stmt(env, stmt),
        }
    }

    /// Whether what follows in the blocks around does nothing on a way.
    fn is_done(&self, env: &Env<'p>) -> bool {
        self.rest.iter().all(|(depth, stmts)| env.frames.get(*depth).is_some_and(|frame| is_idle(self.program, frame, stmts)))
    }

    /// Sends the packet along an output.
    fn emit(&mut self, mut env: Env<'p>, output: u32, args: &[Expr], span: Span, tail: bool) -> Lowering<Vec<Open<'p>>> {
        let tail = tail || self.is_done(&env);
        let element = &self.program.elements[env.frame().element.index()];
        match element.outputs[output as usize].target {
            Target::Port(port) => {
                self.settle(&mut env)?;
                let bit = 1 << port.index();
                if env.sent & bit != 0 {
                    let port = &self.program.ports[port.index()].name;
                    return Err(self.refuse(Code::TargetPacket, span, format!("sending a packet to `{port}` twice")));
                }
                env.sent |= bit;
                if env.frames.len() == 1 && tail {
                    self.finish(&env, span)?;
                    return Ok(Vec::new());
                }
                // What is sent is the packet as it is at the end.
                env.kept = true;
                Ok(vec![Open { env, block: self.b.here() }])
            }
            Target::Input(to) => {
                let values = args.iter().map(|arg| self.eval(&mut env, arg, span)).collect::<Lowering<Vec<Arg>>>()?;
                self.visit(&mut env, to.element)?;
                let frame = self.entered(&env, to, &values, span)?;
                let block = self.b.here();
                if tail && env.frames.len() == 1 {
                    let env = Env { frames: vec![frame], ..env };
                    self.pending.entry(to).or_default().push(Open { env, block });
                    return Ok(Vec::new());
                }
                let (kept, body) = (env.kept, frame.body);
                env.kept = !tail || kept;
                env.frames.push(frame);
                self.left.push(Vec::new());
                let mut out = self.block(vec![Open { env, block }], &body.block, tail)?;
                out.extend(self.left.pop().unwrap_or_default());
                for open in &mut out {
                    open.env.frames.pop();
                }
                Ok(out)
            }
        }
    }

    /// A packet comes to an element. If it has been there, and the step has changed something since, it is as if it were another one.
    fn visit(&mut self, env: &mut Env<'p>, element: ElementId) -> Lowering<()> {
        if env.visited.contains(&element) {
            self.settle(env)?;
            if env.written {
                self.forget(env);
                env.written = false;
            }
        } else {
            std::rc::Rc::make_mut(&mut env.visited).insert(element);
        }
        Ok(())
    }

    /// The variables of a handler that a packet comes into: the values beside it, and the headers that are promised.
    fn entered(&self, env: &Env<'p>, to: InputRef, args: &[Arg], span: Span) -> Lowering<Frame<'p>> {
        let input = &self.program.elements[to.element.index()].inputs[to.input as usize];
        let mut frame = Frame::new(self.program, &input.body, to.element);
        for (local, arg) in frame.locals.iter_mut().zip(args) {
            *local = Some(*arg);
        }
        if !input.contract.is_empty() && env.moved {
            return Err(self.refuse(Code::TargetPacket, span, "finding headers again whose lengths were changed".to_string()));
        }
        let mut start = super::linear::Linear::number(0);
        for (handle, header) in input.contract.iter().enumerate() {
            let Some(place) = self.established(env, *header, &start) else {
                return Err(self.broken(span, "a header that is promised was not found"));
            };
            start = place.after();
            frame.places[handle] = Some(place);
        }
        Ok(frame)
    }

    /// The header that begins there.
    fn established(&self, env: &Env<'p>, header: HeaderId, start: &super::linear::Linear) -> Option<super::env::Place> {
        let frame = env.frame();
        let handles = frame.body.handles.iter().zip(&frame.places);
        let mut found = handles.filter(|(handle, _)| handle.header == header).filter_map(|(_, place)| place.as_ref());
        found.find(|place| place.start == *start).cloned()
    }

    /// Drops the packet, and counts why.
    fn dropped(&mut self, mut env: Env<'p>, reason: ReasonId) -> Lowering<Vec<Open<'p>>> {
        self.goes_on(&mut env)?;
        let reason = u64::from(reason.0);
        if env.frames.len() > 1 {
            // The copy is dropped; whoever sent it goes on.
            self.copy_dropped(reason);
            if let Some(left) = self.left.last_mut() {
                left.push(Open { env, block: self.b.here() });
            }
            return Ok(Vec::new());
        }
        if env.sent != 0 {
            self.copy_dropped(reason);
            let span = self.b.span;
            self.finish(&env, span)?;
            return Ok(Vec::new());
        }
        self.drop_with(reason, DROP);
        Ok(Vec::new())
    }

    /// Ends the program: the packet goes to these ports.
    fn finish(&mut self, env: &Env<'p>, span: Span) -> Lowering<()> {
        let sent = env.sent;
        let way = match (env.from, env.from.count_ones()) {
            (from, 1) if sent == from => Way::Back,
            (from, 1) if sent.count_ones() > 1 && sent & from == 0 => Way::Others(from),
            // Of more ports it is less likely, and costs all others more.
            (from, 2) if sent.count_ones() == 1 && sent & from != 0 => Way::Perhaps,
            _ => Way::On,
        };
        let exit = match self.exits.get(&(sent, way)) {
            Some(exit) => *exit,
            None => {
                let here = self.b.here();
                let exit = self.b.block();
                self.exits.insert((sent, way), exit);
                let place = self.trace.is_some().then(|| self.b.param(exit, Type::Word, 32));
                self.b.enter(exit);
                if let Some(place) = place {
                    self.tell(Told::Sent, Arg::Number(sent), Arg::Value(place));
                }
                self.leave(sent, way, span)?;
                self.b.enter(here);
                exit
            }
        };
        let place = self.trace.is_some().then(|| self.place_of_sending(sent));
        self.b.jump(exit, place.into_iter().collect());
        Ok(())
    }

    /// What goes back where it came from drivers can turn back, and need no map then; but the far end of a pair without a program takes what is
    /// redirected to it, and not what is turned back. Who loads the program knows for which ports that is so.
    fn leave(&mut self, sent: u64, way: Way, span: Span) -> Lowering<()> {
        if let Some(probe) = self.probe {
            self.b.store(Arg::Global(probe.section, probe.sent), 0, 8, Arg::Number(sent));
        }
        let host = self.host.map_or(0, |port| 1 << port.index());
        if sent == host {
            self.b.ret(Arg::Number(self.verdict(PASS)));
            return Ok(());
        }
        if self.options.hook == Hook::Tc {
            return self.leave_tc(sent, span);
        }
        if let Way::Back | Way::Perhaps = way {
            let (back, turned, redirected) = (self.b.block(), self.b.block(), self.b.block());
            if way == Way::Perhaps {
                let (from, port) = (self.first_counter(), self.first_counter_of(PortId(sent.trailing_zeros())));
                self.b.branch(Cmp::Eq, from, Arg::Number(port), back, redirected);
            } else {
                self.b.jump(back, Vec::new());
            }
            self.b.enter(back);
            let ports = self.b.load(Arg::Global(self.constants, self.turns_back.into()), 0, 8);
            let turns = self.b.bin(Bin::And, ports, Arg::Number(sent));
            self.b.branch(Cmp::Ne, turns, Arg::Number(0), turned, redirected);
            self.b.enter(turned);
            self.b.ret(Arg::Number(BACK));
            self.b.enter(redirected);
        }
        if sent & host != 0 {
            let what = "sending copies of one packet to the host and to other ports".to_string();
            return Err(self.refuse(Code::TargetPacket, span, what));
        }
        let (map, key, flags) = match way {
            _ if sent.count_ones() == 1 => (self.ports, sent.trailing_zeros(), DROP),
            // The kernel leaves out the interface that it came from, so that all ports of a set have the same map.
            Way::Others(from) => (self.group(sent | from), 0, BROADCAST | EXCLUDE_INGRESS | DROP),
            Way::Back | Way::Perhaps | Way::On => (self.group(sent), 0, BROADCAST | DROP),
        };
        let args = vec![Arg::Map(map), Arg::Number(key.into()), Arg::Number(flags)];
        let verdict = self.b.call(Helper::RedirectMap, args);
        self.b.ret(verdict);
        Ok(())
    }

    /// The end of a handler: a way that dropped nothing has sent something.
    pub(super) fn ends(&mut self, opens: Vec<Open<'p>>, span: Span) -> Lowering<()> {
        for mut open in opens {
            self.b.enter(open.block);
            self.arrived_at(open.env.port());
            self.settle(&mut open.env)?;
            if open.env.sent == 0 {
                return Err(self.broken(span, "a way that neither emits nor drops"));
            }
            self.finish(&open.env, span)?;
        }
        Ok(())
    }

    /// The block where a packet of a port begins; packets of none are no business of the program.
    pub(super) fn dispatch(
        &mut self,
        from: Arg,
        entries: &[(PortId, InputRef)],
        number: impl Fn(&mut Self, PortId) -> Arg,
        env: &Env<'p>,
    ) -> Lowering<()> {
        for (port, to) in entries {
            let (hit, next) = (self.b.block(), self.b.block());
            let number = number(self, *port);
            self.b.branch(Cmp::Eq, from, number, hit, next);
            self.b.enter(hit);
            self.arrivals.push((hit, *port));
            self.arrived_at(Some(*port));
            self.untagged();
            let span = self.program.span;
            let frame = self.entered(env, *to, &[], span)?;
            let mut env = Env { frames: vec![frame], ports: 1 << port.index(), from: 1 << port.index(), ..env.clone() };
            self.visit(&mut env, to.element)?;
            let block = self.b.here();
            self.pending.entry(*to).or_default().push(Open { env, block });
            self.b.enter(next);
        }
        self.arrived = super::drops::Arrived::Nowhere;
        self.drop_with(self.no_port_reason(), ABORTED);
        Ok(())
    }
}

/// Where a packet is sent, as seen from the port that it arrived at, if that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// To that port only.
    Back,
    /// To one port, which may be that one.
    Perhaps,
    /// To several others.
    Others(u64),
    On,
}

/// Ways that may meet: those that sent the same.
fn apart(opens: Vec<Open<'_>>) -> Vec<Vec<Open<'_>>> {
    let mut groups: BTreeMap<u64, Vec<Open<'_>>> = BTreeMap::new();
    for open in opens {
        groups.entry(open.env.sent).or_default().push(open);
    }
    groups.into_values().collect()
}

/// A variable or a number, as an operand.
pub(super) fn copied(env: &Env<'_>, expr: &Expr) -> Option<Arg> {
    match expr {
        Expr::Const(value, _) => Some(Arg::Number(*value as u64)),
        Expr::Local(id) => env.frame().locals.get(id.index()).copied().flatten(),
        _ => None,
    }
}

/// Whether statements do nothing, as far as variables that are known decide it.
fn is_idle(program: &Program, frame: &Frame<'_>, stmts: &[Stmt]) -> bool {
    let idle = |stmt: &Stmt| match &stmt.kind {
        StmtKind::Branch { .. } => true,
        StmtKind::If { cond, then, other } => {
            known_in(frame, cond).is_some_and(|holds| is_idle(program, frame, if holds == 0 { other } else { then }))
        }
        StmtKind::Switch { on, cases, default } => known_in(frame, on).is_some_and(|number| {
            let case = cases.iter().find(|(value, ..)| *value == u128::from(number)).map_or(default, |(_, _, block)| block);
            is_idle(program, frame, case)
        }),
        other => is_ghost_stmt(program, &frame.ghost, other),
    };
    stmts.iter().all(idle)
}

/// The value of an expression, if variables that are known decide it.
pub(super) fn known(env: &Env<'_>, expr: &Expr) -> Option<u64> {
    known_in(env.frame(), expr)
}

fn known_in(frame: &Frame<'_>, expr: &Expr) -> Option<u64> {
    match expr {
        Expr::Const(value, _) => u64::try_from(*value).ok(),
        Expr::Local(id) => frame.locals.get(id.index()).copied().flatten()?.number(),
        Expr::Unary(UnaryOp::Not, a) => known_in(frame, a).map(|a| u64::from(a == 0)),
        Expr::Binary(BinaryOp::And, a, b) => match (known_in(frame, a), known_in(frame, b)) {
            (Some(0), _) | (_, Some(0)) => Some(0),
            (Some(a), Some(b)) => Some(a & b),
            _ => None,
        },
        Expr::Binary(BinaryOp::Eq, a, b) => Some(u64::from(known_in(frame, a)? == known_in(frame, b)?)),
        Expr::Binary(BinaryOp::Ne, a, b) => Some(u64::from(known_in(frame, a)? != known_in(frame, b)?)),
        Expr::Binary(BinaryOp::Lt, a, b) => Some(u64::from(known_in(frame, a)? < known_in(frame, b)?)),
        Expr::Binary(BinaryOp::Le, a, b) => Some(u64::from(known_in(frame, a)? <= known_in(frame, b)?)),
        _ => None,
    }
}

/// Whether a statement decides by a variable.
fn asks_for(stmt: &Stmt, local: grv_lang::ir::LocalId) -> bool {
    match &stmt.kind {
        StmtKind::If { cond, .. } => mentions(cond, local),
        _ => false,
    }
}

/// Whether an expression reads a variable.
pub(super) fn mentions(expr: &Expr, local: grv_lang::ir::LocalId) -> bool {
    match expr {
        Expr::Local(id) => *id == local,
        Expr::Unary(_, a) | Expr::Convert(a, _) => mentions(a, local),
        Expr::Binary(_, a, b) => mentions(a, local) || mentions(b, local),
        Expr::Select(a, b, c) => [a, b, c].into_iter().any(|expr| mentions(expr, local)),
        Expr::Hash(_, args) => args.iter().any(|expr| mentions(expr, local)),
        _ => false,
    }
}
