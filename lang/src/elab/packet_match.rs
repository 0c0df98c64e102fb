//! Matches on packets. Arms are expanded by their alternatives and made into a decision tree that looks for each header once;
//! arms that several leaves reach are run after the tree, by number.
//!
//! The selectors of the headers inside of one header are taken to exclude each other: the first that is selected decides.

use super::Elab;
use super::body::{Binding, Body, Chain, HeaderBinding, PacketBinding, Val};
use super::modules::ItemRef;
use super::ops;
use super::stmt::Branches;
use super::types::Ty;
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::{self, Expr, HandleId, LocalId, PacketId, Scalar, StmtKind};
use crate::span::Span;
use crate::syntax::ast::{self, ExprKind, HeaderPattern, PatternKind};
use rustc_hash::{FxHashMap, FxHashSet};
use std::rc::Rc;
use std::sync::Arc;

/// A layer of a pattern, with one header.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) malformed: bool,
    pub(crate) item: ItemRef,
    pub(crate) name: Option<ast::Ident>,
    pub(crate) span: Span,
}

/// An arm with one header per layer.
struct Arm<'a> {
    layers: Vec<Layer>,
    source: usize,
    arm: &'a ast::Arm,
}

/// What is looked at in which order.
enum Tree {
    /// An arm.
    Leaf(usize),
    /// An arm if its guard holds.
    Guard(usize, Box<Tree>),
    /// Looks for a header after those found.
    Test { item: ItemRef, span: Span, ok: Box<Tree>, malformed: Box<Tree>, absent: Box<Tree> },
    /// No arm is left.
    Fail,
    /// No packet comes here: it begins with its first header, be it malformed.
    Never,
}

/// What was found out of the header after those found: these it would be, and is malformed.
type Malformed = Vec<ItemRef>;

/// Pairs of headers that may be selected by the same bytes.
type Overlaps = FxHashSet<(ItemRef, ItemRef)>;

/// Code of the arms, while it is made.
struct Emitter<'a> {
    packet: PacketId,
    arms: &'a [Arm<'a>],
    /// How many leaves reach each arm.
    leaves: Vec<usize>,
    /// Places of headers by the headers before them.
    places: FxHashMap<Vec<ItemRef>, HandleId>,
    /// Number of the arm to run after the tree.
    selected: Option<LocalId>,
}

impl Elab {
    /// The alternatives of a pattern, each with one header per layer.
    pub(super) fn expand_pattern(&mut self, pattern: &HeaderPattern) -> Vec<Vec<Layer>> {
        let mut all: Vec<Vec<Layer>> = vec![Vec::new()];
        for (i, layer) in pattern.layers.iter().enumerate() {
            if layer.malformed && i + 1 < pattern.layers.len() {
                self.error(
                    Code::BadPattern,
                    layer.span,
                    "nothing is known behind a malformed header: it is the last of a pattern",
                );
            }
            if let (true, Some(name)) = (layer.malformed, &layer.name) {
                self.error(Code::BadPattern, name.span, "a malformed header has no fields to name");
            }
            let items: Vec<ItemRef> = layer.headers.iter().filter_map(|h| self.header(h)).map(|h| h.item).collect();
            let mut next = Vec::new();
            for prefix in &all {
                for &item in &items {
                    let mut layers = prefix.clone();
                    layers.push(Layer { malformed: layer.malformed, item, name: layer.name.clone(), span: layer.span });
                    next.push(layers);
                }
            }
            all = next;
            if all.len() > 64 {
                self.error(Code::BadPattern, pattern.span, "more than 64 combinations of alternatives");
                return Vec::new();
            }
        }
        all
    }

    /// The pattern that a shape's name or a written pattern stands for.
    pub(super) fn shape_pattern(&mut self, body: &Body, shape: &ast::ShapeRef) -> Option<Arc<HeaderPattern>> {
        match shape {
            ast::ShapeRef::Pattern(p) => Some(p.clone()),
            ast::ShapeRef::Named(path) => self.named_shape(body, path),
        }
    }

    pub(super) fn named_shape(&mut self, body: &Body, path: &ast::Path) -> Option<Arc<HeaderPattern>> {
        if let Some(name) = path.single()
            && let Some(Binding::Shape(p)) = body.find(&name.name)
        {
            self.used_members.insert(body.env.declared.get(&name.name).copied().unwrap_or(name.span));
            return Some(p);
        }
        let item = self.resolve_kind(path, "a shape", |k| matches!(k, ast::ItemKind::Shape(_) | ast::ItemKind::Error))?;
        let (parsed, index) = self.item(item);
        match &parsed.file.items[index].kind {
            ast::ItemKind::Shape(s) => Some(s.pattern.clone()),
            _ => None,
        }
    }

    pub(super) fn packet_match(
        &mut self,
        body: &mut Body,
        packet: &Rc<PacketBinding>,
        arms: &[ast::Arm],
        want: Option<&Ty>,
        span: Span,
    ) -> Val {
        let mut expanded = Vec::new();
        for (source, arm) in arms.iter().enumerate() {
            let alternatives = match &arm.pattern.kind {
                PatternKind::Or(all) => all.as_slice(),
                _ => std::slice::from_ref(&arm.pattern),
            };
            for pattern in alternatives {
                let pattern = match &pattern.kind {
                    PatternKind::Wildcard => {
                        expanded.push(Arm { layers: Vec::new(), source, arm });
                        continue;
                    }
                    PatternKind::Headers(p) => Some(p.clone()),
                    PatternKind::Path(path, args) if args.is_empty() => self.named_shape(body, path),
                    _ => {
                        self.error(
                            Code::BadPattern,
                            pattern.span,
                            "a packet is matched by headers: `{ Ethernet, Ipv4 as ip }`, or `_`",
                        );
                        None
                    }
                };
                let Some(pattern) = pattern else { continue };
                expanded.extend(self.expand_pattern(&pattern).into_iter().map(|layers| Arm { layers, source, arm }));
            }
        }
        let chain = body.chains.get(&packet.id).cloned().unwrap_or_default();
        let known: Vec<ItemRef> = chain.layers.iter().map(|(i, _)| *i).collect();
        let written = expanded.len();
        let mut expanded: Vec<Arm<'_>> =
            expanded.into_iter().filter(|arm| self.selectable(std::slice::from_ref(arm), &known)).collect();
        if expanded.len() < written {
            // What the arms left out would have matched is nobody's fault.
            let source = arms.len();
            let Some(arm) = arms.last() else { return Val::error() };
            if !expanded.iter().any(|a| a.layers.is_empty() && a.arm.guard.is_none()) {
                expanded.push(Arm { layers: Vec::new(), source, arm });
            }
        }
        let all: Vec<(usize, usize)> = (0..expanded.len()).map(|i| (i, 0)).collect();
        let overlaps = self.overlaps(&expanded);
        let tree = build(&expanded, &overlaps, &known, all, &Malformed::new());
        let mut leaves = vec![0; expanded.len()];
        count(&tree, &mut leaves);
        for (source, arm) in arms.iter().enumerate() {
            let mut own = expanded.iter().zip(&leaves).filter(|(a, _)| a.source == source).peekable();
            if own.peek().is_some() {
                self.arm(arm.pattern.span, own.any(|(_, n)| *n > 0));
            }
        }
        if fails(&tree) {
            let d = Diagnostic::new(Code::NotExhaustive, span, "packets are left that no arm matches");
            self.report(d.note("add `_ => drop \"...\"`, or whatever is to become of them"));
        }
        let places = (0..=known.len()).skip(1).map(|n| (known[..n].to_vec(), chain.layers[n - 1].1)).collect();
        let shared = leaves.iter().enumerate().any(|(i, n)| *n > 1 && !trivial(&expanded[i].arm.body));
        let selected = shared.then(|| {
            let local = body.local("arm", Scalar::Bits(16));
            body.push(StmtKind::Assign { dst: local, value: Expr::Const(0, Scalar::Bits(16)) }, span);
            local
        });
        let mut emitter = Emitter { packet: packet.id, arms: &expanded, leaves, places, selected };
        let mut branches = Branches::new(body);
        let (block, ()) = body.nested(|body| self.emit_tree(body, &mut emitter, &tree, known.clone(), &mut branches, want));
        let shared: Vec<usize> =
            (0..expanded.len()).filter(|i| emitter.leaves[*i] > 1 && !trivial(&expanded[*i].arm.body)).collect();
        let mut cases = Vec::new();
        for i in shared {
            branches.run(self, body, want, |elab, body, want| elab.arm_body(body, &emitter, i, want), expanded[i].arm.body.span);
            cases.push((i as u128 + 1, expanded[i].arm.span, branches.take_last()));
        }
        branches.join(body, span, |_| {
            let mut stmts = block;
            if let Some(selected) = emitter.selected {
                // Arms that ended inside of the tree left no number; the last shared arm is the default only if all ends are shared.
                stmts.push(ir::Stmt { kind: StmtKind::Switch { on: Expr::Local(selected), cases, default: Vec::new() }, span });
            }
            StmtKind::If { cond: ops::TRUE, then: stmts, other: Vec::new() }
        })
    }

    /// Which of the arms' headers one enclosing header may select both: those whose conditions do not name different values of
    /// one field.
    fn overlaps(&mut self, arms: &[Arm<'_>]) -> Overlaps {
        let mut items: Vec<ItemRef> = arms.iter().flat_map(|a| &a.layers).map(|l| l.item).collect();
        items.sort_unstable_by_key(|i| (i.file, i.index));
        items.dedup();
        let mut overlaps = Overlaps::default();
        for &a in &items {
            for &b in &items {
                let (Some(x), Some(y)) = (self.header_info(a), self.header_info(b)) else { continue };
                let both = x
                    .parents
                    .iter()
                    .any(|(p, when)| y.parents.iter().any(|(q, other)| p == q && !exclude(when.as_ref(), other.as_ref())));
                if a != b && both {
                    overlaps.insert((a, b));
                }
            }
        }
        overlaps
    }

    /// Whether each layer of each arm can be selected by the one before. Reports those that cannot.
    fn selectable(&mut self, arms: &[Arm<'_>], known: &[ItemRef]) -> bool {
        let mut good = true;
        for arm in arms {
            for (i, layer) in arm.layers.iter().enumerate() {
                if known.get(i).is_some() {
                    continue;
                }
                let Some(info) = self.header_info(layer.item) else { continue };
                let fits = match i.checked_sub(1).map(|j| arm.layers[j].item) {
                    None => info.first,
                    Some(before) => info.parents.iter().any(|(p, _)| *p == before),
                };
                if !fits {
                    good = false;
                    let message = match i {
                        0 => format!("a packet does not begin with {}", info.name),
                        _ => {
                            let before = self.header_info(arm.layers[i - 1].item).map(|h| h.name.clone()).unwrap_or_default();
                            format!("{before} never selects {}", info.name)
                        }
                    };
                    let mut parents = Vec::new();
                    for (p, _) in &info.parents {
                        parents.extend(self.header_info(*p).map(|h| h.name.clone()));
                    }
                    let mut d = Diagnostic::new(Code::HeaderNotSelected, layer.span, message).also(info.span, "declared here");
                    if !parents.is_empty() {
                        d = d.note(format!("it is found in {}", parents.join(", ")));
                    }
                    self.report(d);
                }
            }
        }
        good
    }

    #[allow(clippy::too_many_arguments, reason = "the walk's state")]
    fn emit_tree(
        &mut self,
        body: &mut Body,
        em: &mut Emitter<'_>,
        tree: &Tree,
        chain: Vec<ItemRef>,
        branches: &mut Branches,
        want: Option<&Ty>,
    ) {
        match tree {
            Tree::Fail | Tree::Never => {}
            Tree::Leaf(i) => self.emit_leaf(body, em, *i, branches, want),
            Tree::Guard(i, rest) => {
                let arm = em.arms[*i].arm;
                let Some(guard) = &arm.guard else { return };
                body.scopes.push(self.arm_names(em, *i));
                let before = body.chains.clone();
                self.set_chain(body, em, *i);
                let cond = self.cond(body, guard);
                body.chains = before;
                body.scopes.pop();
                let (then, ()) = body.nested(|body| self.emit_leaf(body, em, *i, branches, want));
                let (other, ()) = body.nested(|body| self.emit_tree(body, em, rest, chain, branches, want));
                body.push(StmtKind::If { cond, then, other }, guard.span);
            }
            Tree::Test { item, span: at, ok, malformed, absent } => {
                let Some(info) = self.header_info(*item) else { return };
                let header = self.header_id(*item);
                let before = em.places.get(&chain).copied();
                let mut longer = chain.clone();
                longer.push(*item);
                let into = match em.places.get(&longer) {
                    Some(h) => *h,
                    None => {
                        let name = em
                            .arms
                            .iter()
                            .find_map(|a| a.layers.get(chain.len()).filter(|l| l.item == *item).and_then(|l| l.name.clone()));
                        let h = body.handle(name.as_ref().map_or(&info.name, |n| &n.name), header, em.packet);
                        em.places.insert(longer.clone(), h);
                        h
                    }
                };
                let cond = match (chain.last(), before) {
                    (Some(parent), Some(handle)) => self.selected(body, *parent, handle, &info).unwrap_or(ops::FALSE),
                    _ => ops::TRUE,
                };
                let (ok, ()) = body.nested(|body| self.emit_tree(body, em, ok, longer, branches, want));
                let (malformed, ()) = body.nested(|body| self.emit_tree(body, em, malformed, chain.clone(), branches, want));
                let parse = StmtKind::Parse { packet: em.packet, header, after: before, into, ok, malformed };
                if cond == ops::TRUE {
                    return body.push(parse, *at);
                }
                let (other, ()) = body.nested(|body| self.emit_tree(body, em, absent, chain, branches, want));
                body.push(StmtKind::If { cond, then: vec![ir::Stmt { kind: parse, span: *at }], other }, *at);
            }
        }
    }

    fn emit_leaf(&mut self, body: &mut Body, em: &mut Emitter<'_>, i: usize, branches: &mut Branches, want: Option<&Ty>) {
        let arm = em.arms[i].arm;
        if em.leaves[i] > 1 && !trivial(&arm.body) {
            if let Some(dst) = em.selected {
                body.push(StmtKind::Assign { dst, value: Expr::Const(i as u128 + 1, Scalar::Bits(16)) }, arm.pattern.span);
            }
            return;
        }
        branches.run(self, body, want, |elab, body, want| elab.arm_body(body, em, i, want), arm.body.span);
        let block = branches.take_last();
        if let Some(current) = body.blocks.last_mut() {
            current.extend(block);
        }
    }

    fn arm_body(&mut self, body: &mut Body, em: &Emitter<'_>, i: usize, want: Option<&Ty>) -> Val {
        body.scopes.push(self.arm_names(em, i));
        self.set_chain(body, em, i);
        self.branch(body, em.arms[i].arm.pattern.span, false);
        let val = self.expr(body, &em.arms[i].arm.body, want);
        body.scopes.pop();
        val
    }

    /// The names that an arm binds.
    fn arm_names(&self, em: &Emitter<'_>, i: usize) -> FxHashMap<Box<str>, Binding> {
        let mut names = FxHashMap::default();
        let mut chain = Vec::new();
        for layer in em.arms[i].layers.iter().filter(|l| !l.malformed) {
            chain.push(layer.item);
            if let (Some(name), Some(&handle)) = (&layer.name, em.places.get(&chain)) {
                names.insert(name.name.clone(), Binding::Header(HeaderBinding { item: layer.item, handle, packet: em.packet }));
            }
        }
        names
    }

    /// Inside of an arm, the headers of its pattern are known, and those that were known before.
    fn set_chain(&self, body: &mut Body, em: &Emitter<'_>, i: usize) {
        let mut items = Vec::new();
        let mut layers = Vec::new();
        for layer in em.arms[i].layers.iter().filter(|l| !l.malformed) {
            items.push(layer.item);
            if let Some(&handle) = em.places.get(&items) {
                layers.push((layer.item, handle));
            }
        }
        let before = body.chains.get(&em.packet).cloned().unwrap_or_default();
        if before.layers.len() < layers.len() {
            // What was unsettled before stays so.
            let solid = if before.solid < before.layers.len() { before.solid } else { layers.len() };
            body.chains.insert(em.packet, Chain { layers, solid });
        }
    }
}

/// Whether an arm's body is so small that it is written at each leaf.
fn trivial(body: &ast::Expr) -> bool {
    match &body.kind {
        ExprKind::Drop(_) => true,
        ExprKind::Emit(targets) => targets.iter().all(|t| t.args.is_empty()),
        ExprKind::Block(b) => b.stmts.is_empty() && b.value.as_ref().is_some_and(|v| trivial(v)),
        _ => false,
    }
}

/// Makes the tree for arms (with the number of their layers that are known to match), given the headers found.
fn build(
    arms: &[Arm<'_>],
    overlaps: &Overlaps,
    found: &[ItemRef],
    candidates: Vec<(usize, usize)>,
    malformed: &Malformed,
) -> Tree {
    let mut rest = candidates;
    loop {
        let Some(&(i, pos)) = rest.first() else { return Tree::Fail };
        let arm = &arms[i];
        let Some(layer) = arm.layers.get(pos) else {
            return match arm.arm.guard {
                None => Tree::Leaf(i),
                Some(_) => Tree::Guard(i, Box::new(build(arms, overlaps, found, rest[1..].to_vec(), malformed))),
            };
        };
        if let Some(known) = found.get(pos) {
            if *known == layer.item && !layer.malformed {
                rest[0].1 += 1;
            } else {
                rest.remove(0);
            }
            continue;
        }
        let item = layer.item;
        if malformed.contains(&item) {
            if layer.malformed {
                rest[0].1 += 1;
            } else {
                rest.remove(0);
            }
            continue;
        }
        // What is selected with one that was found malformed, and excludes this one.
        if !malformed.is_empty() && !malformed.iter().any(|m| overlaps.contains(&(*m, item))) {
            rest.remove(0);
            continue;
        }
        let mut longer = found.to_vec();
        longer.push(item);
        let absent: Vec<_> = rest
            .iter()
            .copied()
            .filter(|&(j, p)| arms[j].layers.get(p.max(found.len().min(arms[j].layers.len()))).is_none_or(|l| l.item != item))
            .collect();
        let mut bad = malformed.clone();
        bad.push(item);
        return Tree::Test {
            item,
            span: layer.span,
            ok: Box::new(build(arms, overlaps, &longer, rest.clone(), &Malformed::new())),
            malformed: Box::new(build(arms, overlaps, found, rest.clone(), &bad)),
            absent: Box::new(if found.is_empty() { Tree::Never } else { build(arms, overlaps, found, absent, malformed) }),
        };
    }
}

fn count(tree: &Tree, leaves: &mut [usize]) {
    match tree {
        Tree::Leaf(i) => leaves[*i] += 1,
        Tree::Guard(i, rest) => {
            leaves[*i] += 1;
            count(rest, leaves);
        }
        Tree::Test { ok, malformed, absent, .. } => {
            count(ok, leaves);
            count(malformed, leaves);
            count(absent, leaves);
        }
        Tree::Fail | Tree::Never => {}
    }
}

fn fails(tree: &Tree) -> bool {
    match tree {
        Tree::Leaf(_) | Tree::Never => false,
        Tree::Guard(_, rest) => fails(rest),
        Tree::Test { ok, malformed, absent, .. } => fails(ok) || fails(malformed) || fails(absent),
        Tree::Fail => true,
    }
}

/// Whether two conditions cannot both hold: they want different numbers in one field.
fn exclude(a: Option<&ast::Expr>, b: Option<&ast::Expr>) -> bool {
    let (Some(a), Some(b)) = (a, b) else { return false };
    let (mut x, mut y) = (Vec::new(), Vec::new());
    numbers(a, &mut x);
    numbers(b, &mut y);
    x.iter().any(|(name, n)| y.iter().any(|(other, m)| name == other && n != m))
}

/// The fields that a condition fixes, and the numbers.
fn numbers(e: &ast::Expr, out: &mut Vec<(Box<str>, u128)>) {
    match &e.kind {
        ExprKind::Paren(inner) => numbers(inner, out),
        ExprKind::Binary(ast::BinaryOp::And, a, b) => {
            numbers(a, out);
            numbers(b, out);
        }
        ExprKind::Binary(ast::BinaryOp::Eq, a, b) => {
            if let (ExprKind::Path(path), ExprKind::Int(n)) = (&a.kind, &b.kind)
                && let Some(name) = path.single()
            {
                out.push((name.name.clone(), *n));
            }
        }
        _ => {}
    }
}
