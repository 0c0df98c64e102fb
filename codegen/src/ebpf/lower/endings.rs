//! Ways that end alike: what the ways of handlers end with is often the same but for names, whatever port or protocol they are of. If tables are asked there and the
//! packet may be sent, it is lowered once, for all ways that lead there: numbers that differ are words then. (What only drops is short enough.)

use super::env::{Env, Frame, Open};
use super::{Lower, Lowering};
use grv_lang::ir::validate::ghost_locals;
use grv_lang::ir::{Body, ElementId, HandleId, LocalId, Program, Stmt, StmtKind, Target, Tier};
use grv_lang::span::Span;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;

/// Statements that ways end with, numbered: shorter ones before longer ones that end with them.
#[derive(Default)]
pub(super) struct Endings<'p> {
    /// By where the first statement is.
    places: FxHashMap<*const Stmt, Place>,
    /// By number: where it is first, and how often there is one that is alike.
    first: Vec<Ending<'p>>,
    /// Ways that lead there.
    pub(super) ways: BTreeMap<usize, Vec<Open<'p>>>,
    /// The one that is being lowered.
    current: Option<usize>,
}

/// Statements of a handler.
struct Ending<'p> {
    body: &'p Body,
    element: ElementId,
    stmts: &'p [Stmt],
    names: Names,
    count: usize,
    /// Whether they do something with tables, and send the packet.
    asks: bool,
    sends: bool,
}

/// Which one the statements from a place on are, and what is named there.
struct Place {
    number: usize,
    names: Names,
}

/// Variables and headers, of all those in the order from the end on the first so many.
#[derive(Clone)]
struct Names {
    all: Rc<Numbered>,
    locals: usize,
    handles: usize,
}

/// Variables and headers as they are met.
#[derive(Default)]
struct Numbered {
    locals: Vec<LocalId>,
    handles: Vec<HandleId>,
}

impl<'p> Lower<'p> {
    /// Finds out what is alike.
    pub(super) fn find_endings(&mut self) {
        // Who looks wants to see by which way packets went.
        if self.trace.is_some() {
            return;
        }
        let mut known = FxHashMap::default();
        for (id, element) in (0..).map(ElementId).zip(&self.program.elements) {
            for input in &element.inputs {
                let ghost = ghost_locals(self.program, &input.body);
                let of = Of { program: self.program, body: &input.body, element: id, ghost: &ghost };
                find(&of, &input.body.block, &mut known, &mut self.endings);
            }
        }
    }

    /// Leads ways to what they end with, if that is lowered elsewhere.
    pub(super) fn ends_alike(&mut self, opens: &mut Vec<Open<'p>>, stmt: &'p Stmt) -> bool {
        let Some(Place { number, names }) = self.endings.places.get(&std::ptr::from_ref(stmt)) else { return false };
        let ending = &self.endings.first[*number];
        // What is being lowered is alike as a whole, unless others end with a part of it, too.
        let least = self.endings.current.map_or(1, |current| self.endings.first[current].count);
        if !ending.asks || !ending.sends || ending.count <= least || opens.iter().any(|open| open.env.frames.len() != 1) {
            return false;
        }
        let mut ways = Vec::new();
        for Open { env, block } in opens.drain(..) {
            let mut frame = Frame::new(self.program, ending.body, ending.element);
            let from = env.frame();
            for (local, to) in names.locals().zip(ending.names.locals()) {
                frame.locals[to.index()] = from.locals[local.index()];
            }
            for (handle, to) in names.handles().zip(ending.names.handles()) {
                frame.places[to.index()] = from.places[handle.index()].clone();
            }
            ways.push(Open { env: Env { frames: vec![frame], ..env }, block });
        }
        self.endings.ways.entry(*number).or_default().extend(ways);
        true
    }

    /// Lowers what several ways end with; none that is longer is left.
    pub(super) fn ending(&mut self, number: usize, opens: Vec<Open<'p>>) -> Lowering<()> {
        self.endings.current = Some(number);
        let stmts = self.endings.first[number].stmts;
        let span = stmts.last().map_or(self.program.span, |stmt| stmt.span);
        let left = self.block(opens, stmts, true)?;
        self.ends(left, span)
    }
}

impl Names {
    fn locals(&self) -> impl Iterator<Item = &LocalId> {
        self.all.locals[..self.locals].iter()
    }

    fn handles(&self) -> impl Iterator<Item = &HandleId> {
        self.all.handles[..self.handles].iter()
    }
}

/// A handler.
struct Of<'p, 'g> {
    program: &'p Program,
    body: &'p Body,
    element: ElementId,
    ghost: &'g [bool],
}

/// Numbers what a block ends with, and the blocks that it may end in before. Whether all of it may be alike to something.
fn find<'p>(of: &Of<'p, '_>, block: &'p [Stmt], known: &mut FxHashMap<(usize, String), usize>, into: &mut Endings<'p>) -> bool {
    let inner = block.last().map(|last| within(&last.kind)).unwrap_or_default();
    let inner: Vec<bool> = inner.into_iter().map(|block| find(of, block, known, into)).collect();
    if inner.contains(&false) {
        return false;
    }
    let mut numbered = Numbered::default();
    let mut found = Vec::new();
    let (mut behind, mut whole) = (usize::MAX, true);
    let (mut asks, mut sends) = (false, false);
    for (at, stmt) in block.iter().enumerate().rev().filter(|(_, stmt)| !matches!(stmt.kind, StmtKind::Branch { .. })) {
        let mut plain = stmt.clone();
        if !plainly(of, &mut plain) {
            whole = false;
            break;
        }
        let text = numbered.text(of, &plain);
        asks |= any(stmt, &asks_tables);
        sends |= any(stmt, &|kind| matches!(kind, StmtKind::Emit { .. }));
        let next = known.len();
        let number = *known.entry((behind, text)).or_insert(next);
        found.push((at, number, numbered.locals.len(), numbered.handles.len(), asks, sends));
        behind = number;
    }
    let all = Rc::new(numbered);
    for (at, number, locals, handles, asks, sends) in found {
        let names = Names { all: all.clone(), locals, handles };
        if number == into.first.len() {
            let stmts = &block[at..];
            into.first.push(Ending { body: of.body, element: of.element, stmts, names: names.clone(), count: 0, asks, sends });
        }
        into.first[number].count += 1;
        into.places.insert(std::ptr::from_ref(&block[at]), Place { number, names });
    }
    whole
}

/// The blocks of which a statement runs one.
fn within(kind: &StmtKind) -> Vec<&[Stmt]> {
    match kind {
        StmtKind::If { then, other, .. } => vec![then, other],
        StmtKind::Switch { cases, default, .. } => {
            cases.iter().map(|(_, _, block)| block.as_slice()).chain([default.as_slice()]).collect()
        }
        StmtKind::Parse { ok, malformed, .. } => vec![ok, malformed],
        _ => Vec::new(),
    }
}

/// Whether something is so of a statement, or of one in it.
fn any(stmt: &Stmt, is: &impl Fn(&StmtKind) -> bool) -> bool {
    is(&stmt.kind) || within(&stmt.kind).into_iter().flatten().any(|stmt| any(stmt, is))
}

/// Whether a statement asks tables or changes them.
fn asks_tables(kind: &StmtKind) -> bool {
    use StmtKind::{Choose, First, Insert, Lookup, SetValue};
    matches!(kind, Lookup { .. } | Insert { .. } | SetValue { .. } | First { .. } | Choose { .. })
}

/// Makes of a statement what it has in common with others that are alike: ports for outputs, and no places in the source. False: it sends packets on to an element.
fn plainly(of: &Of<'_, '_>, stmt: &mut Stmt) -> bool {
    stmt.span = Span::default();
    let all = |block: &mut Vec<Stmt>| {
        block.retain(|stmt| !matches!(stmt.kind, StmtKind::Branch { .. }));
        block.iter_mut().all(|stmt| plainly(of, stmt))
    };
    match &mut stmt.kind {
        StmtKind::If { then, other, .. } => all(then) && all(other),
        StmtKind::Switch { cases, default, .. } => {
            let mut case = |(_, span, block): &mut (u128, Span, Vec<Stmt>)| {
                *span = Span::default();
                all(block)
            };
            cases.iter_mut().all(&mut case) && all(default)
        }
        StmtKind::Parse { ok, malformed, .. } => all(ok) && all(malformed),
        StmtKind::First { test, .. } => all(test),
        StmtKind::Choose { test, tiers, .. } => {
            let mut tier = |tier: &mut Tier| match tier {
                Tier::Exactly(_) => true,
                Tier::Test(block, _) => all(block),
            };
            tiers.iter_mut().all(&mut tier) && all(test)
        }
        StmtKind::Emit { output, .. } => match of.program.elements[of.element.index()].outputs[*output as usize].target {
            Target::Port(port) => {
                *output = port.0;
                true
            }
            Target::Input(_) => false,
        },
        _ => true,
    }
}

impl Numbered {
    /// A statement as text in which names are numbers, with the types of those that are new.
    fn text(&mut self, of: &Of<'_, '_>, stmt: &Stmt) -> String {
        // What is written for debugging says everything, and by which kind of number.
        let whole = format!("{:?}", stmt.kind);
        let (mut text, mut rest) = (String::with_capacity(whole.len()), whole.as_str());
        while let Some(at) = [LOCAL, HANDLE].into_iter().filter_map(|kind| rest.find(kind)).min() {
            let local = rest[at..].starts_with(LOCAL);
            let start = at + if local { LOCAL.len() } else { HANDLE.len() };
            let digits = rest[start..].bytes().take_while(u8::is_ascii_digit).count();
            let id = rest[start..start + digits].parse().unwrap_or(u32::MAX);
            text.push_str(&rest[..start]);
            match local {
                true => self.local(of, LocalId(id), &mut text),
                false => self.handle(of, HandleId(id), &mut text),
            }
            rest = &rest[start + digits..];
        }
        text.push_str(rest);
        text
    }

    fn local(&mut self, of: &Of<'_, '_>, id: LocalId, text: &mut String) {
        let known = self.locals.iter().position(|other| *other == id);
        let _ = write!(text, "{}", known.unwrap_or(self.locals.len()));
        if known.is_none() {
            self.locals.push(id);
            let ty = of.body.locals.get(id.index()).map(|local| local.ty);
            let _ = write!(text, " {ty:?} {:?}", of.ghost.get(id.index()));
        }
    }

    fn handle(&mut self, of: &Of<'_, '_>, id: HandleId, text: &mut String) {
        let known = self.handles.iter().position(|other| *other == id);
        let _ = write!(text, "{}", known.unwrap_or(self.handles.len()));
        if known.is_none() {
            self.handles.push(id);
            let header = of.body.handles.get(id.index()).map(|handle| handle.header);
            let _ = write!(text, " {header:?}");
        }
    }
}

/// How identities begin.
const LOCAL: &str = "LocalId(";
const HANDLE: &str = "HandleId(";
