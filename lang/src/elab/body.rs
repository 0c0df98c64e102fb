//! The state of elaborating one body: variables, scopes, blocks under construction, and what is known of packets.

use super::Elab;
use super::headers::HeaderInfo;
use super::modules::ItemRef;
use super::types::Ty;
use crate::ir::{self, Expr, HandleId, LocalId, PacketId, PortId, Scalar, Stmt, StmtKind, TableId};
use crate::span::Span;
use crate::syntax::ast;
use rustc_hash::FxHashMap;
use std::rc::Rc;
use std::sync::Arc;

/// A value: a type, and a pure expression for each of its columns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Val {
    pub(crate) ty: Ty,
    pub(crate) cols: Vec<Expr>,
}

impl Val {
    /// No value.
    pub(crate) fn unit() -> Val {
        Val { ty: Ty::Unit, cols: Vec::new() }
    }

    /// Control does not come back.
    pub(crate) fn never() -> Val {
        Val { ty: Ty::Never, cols: Vec::new() }
    }

    /// Something that was reported.
    pub(crate) fn error() -> Val {
        Val { ty: Ty::Error, cols: vec![Expr::Const(0, Scalar::Int)] }
    }

    /// A truth value.
    pub(crate) fn bool(e: Expr) -> Val {
        Val { ty: Ty::Bool, cols: vec![e] }
    }

    /// The only column.
    pub(crate) fn scalar(&self) -> Expr {
        self.cols.first().cloned().unwrap_or(Expr::Const(0, Scalar::Int))
    }
}

/// What a name means inside of a body.
#[derive(Clone)]
pub(crate) enum Binding {
    /// A value that does not change.
    Val(Val),
    /// A variable.
    Var { ty: Ty, locals: Vec<LocalId>, mutable: bool },
    /// A header of a packet.
    Header(HeaderBinding),
    /// A header that is one of several alternatives, in specifications and tests.
    View(Rc<View>),
    /// A packet.
    Packet(Rc<PacketBinding>),
    /// State.
    Table(TableId),
    /// A function of the element, middlebox or spec: it sees the names that it stands among.
    Fn(Arc<ast::Fn>),
    /// A shape.
    Shape(Arc<ast::HeaderPattern>),
    /// An element or a middlebox inside of another.
    Instance(Rc<Env>),
}

/// One of several alternatives of a header.
pub(crate) struct View {
    /// Fields that all alternatives have, copied.
    pub(crate) fields: Vec<(String, Val)>,
    /// The alternatives, each with the variable that tells whether it is this one.
    pub(crate) alternatives: Vec<(LocalId, HeaderBinding)>,
}

/// A header where it was found.
#[derive(Clone, Debug)]
pub(crate) struct HeaderBinding {
    pub(crate) item: ItemRef,
    pub(crate) handle: HandleId,
    pub(crate) packet: PacketId,
}

/// A packet variable.
#[derive(Clone)]
pub(crate) struct PacketBinding {
    pub(crate) id: PacketId,
    /// Where it arrives, in specifications.
    pub(crate) port: Option<PortId>,
    /// The names of its headers, in specifications and tests.
    pub(crate) layers: FxHashMap<Box<str>, Binding>,
}

/// Names that an element, a middlebox or a spec gives to its members.
#[derive(Default)]
pub(crate) struct Env {
    pub(crate) names: FxHashMap<Box<str>, Binding>,
    /// Places of the names that are declared, for the warning of unused ones.
    pub(crate) declared: FxHashMap<Box<str>, Span>,
    /// External ports: name, first id, count of a port array.
    pub(crate) ports: FxHashMap<Box<str>, (PortId, Option<u32>)>,
}

/// An output of the element whose handler is elaborated.
#[derive(Clone)]
pub(crate) struct OutputInfo {
    pub(crate) name: Box<str>,
    /// The first of its entries in the element's list.
    pub(crate) first: u32,
    /// Count of a port array.
    pub(crate) count: Option<u32>,
    /// Types of the values beside the packet.
    pub(crate) args: Vec<Ty>,
    /// The contract's alternatives; an output without a contract has one empty one. Each entry of a port array has them all.
    pub(crate) contracts: Vec<Vec<ItemRef>>,
}

/// What a body is, and so what may stand in it.
#[derive(Clone, PartialEq)]
pub(crate) enum Place {
    /// A header's declaration: its fields' names and types.
    Header(Vec<(String, Ty)>),
    /// A constant.
    Const,
    /// A pure function of a module, or a lifetime.
    Pure,
    /// A handler, and functions called by it.
    Code,
    /// A specification.
    Spec,
    /// A test.
    Test,
}

/// What is known of a packet's headers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Chain {
    /// The headers, outermost first.
    pub(crate) layers: Vec<(ItemRef, HandleId)>,
    /// How many of them a parser would certainly find again: a rewrite of what selects or sizes a header unsettles it.
    pub(crate) solid: usize,
}

/// One body under construction.
pub(crate) struct Body {
    pub(crate) place: Place,
    pub(crate) locals: Vec<ir::Local>,
    pub(crate) handles: Vec<ir::Handle>,
    pub(crate) packets: Vec<String>,
    pub(crate) blocks: Vec<ir::Block>,
    pub(crate) scopes: Vec<FxHashMap<Box<str>, Binding>>,
    pub(crate) chains: FxHashMap<PacketId, Chain>,
    pub(crate) env: Rc<Env>,
    /// Outputs that `emit` may name; none where there is no packet to emit.
    pub(crate) outputs: Option<Rc<Vec<OutputInfo>>>,
    /// Whether control has left.
    pub(crate) diverged: bool,
    /// Whether only reading is allowed, and where that was demanded.
    pub(crate) reading: Option<&'static str>,
    /// Clocks of `time since last`, in properties.
    pub(crate) since: Vec<ir::spec::Since>,
    /// Whether `time since last` may stand here.
    pub(crate) since_allowed: bool,
    /// Packets that were built or matched, by id.
    pub(crate) known: FxHashMap<PacketId, Rc<PacketBinding>>,
    /// Where it is looked whether a header selects the next: its fields are names.
    pub(crate) selecting: Option<(Rc<HeaderInfo>, HandleId)>,
}

impl Body {
    /// An empty body.
    pub(crate) fn new(place: Place) -> Body {
        Body {
            place,
            locals: Vec::new(),
            handles: Vec::new(),
            packets: Vec::new(),
            blocks: vec![Vec::new()],
            scopes: vec![FxHashMap::default()],
            chains: FxHashMap::default(),
            env: Rc::new(Env::default()),
            outputs: None,
            diverged: false,
            reading: None,
            since: Vec::new(),
            since_allowed: false,
            known: FxHashMap::default(),
            selecting: None,
        }
    }

    /// An empty body that sees the names of an element, a middlebox or a spec.
    pub(crate) fn with_env(place: Place, env: &Rc<Env>) -> Body {
        Body { env: env.clone(), ..Body::new(place) }
    }

    /// Whether numbers are mathematical integers here.
    pub(crate) fn mathematical(&self) -> bool {
        matches!(self.place, Place::Header(_) | Place::Spec)
    }

    /// How many variables there are, and statements in the current block.
    pub(crate) fn extent(&self) -> (usize, usize) {
        (self.locals.len(), self.blocks.last().map_or(0, Vec::len))
    }

    /// Whether no statement has been added to the current block.
    pub(crate) fn block_is_empty(&self) -> bool {
        self.blocks.last().is_none_or(|b| b.is_empty())
    }

    /// Adds a statement.
    pub(crate) fn push(&mut self, kind: StmtKind, span: Span) {
        let Some(block) = self.blocks.last_mut() else { return };
        match kind {
            // What a lowering runs in any case needs no branch.
            StmtKind::If { cond: ir::Expr::Const(1, _), then, other } if other.is_empty() => block.extend(then),
            kind => block.push(Stmt { kind, span }),
        }
    }

    /// Elaborates into a block of its own; what names and knowledge it adds stays inside.
    pub(crate) fn nested<T>(&mut self, f: impl FnOnce(&mut Body) -> T) -> (ir::Block, T) {
        self.blocks.push(Vec::new());
        self.scopes.push(FxHashMap::default());
        let result = f(self);
        self.scopes.pop();
        let block = self.blocks.pop().unwrap_or_default();
        (block, result)
    }

    /// A new variable.
    pub(crate) fn local(&mut self, name: &str, ty: Scalar) -> LocalId {
        let name = if name.is_empty() { format!("t{}", self.locals.len()) } else { name.to_string() };
        self.locals.push(ir::Local { name, ty });
        LocalId(self.locals.len() as u32 - 1)
    }

    /// A new packet.
    pub(crate) fn packet(&mut self, name: &str) -> PacketId {
        self.packets.push(name.to_string());
        PacketId(self.packets.len() as u32 - 1)
    }

    /// A new place of a header.
    pub(crate) fn handle(&mut self, name: &str, header: ir::HeaderId, packet: PacketId) -> HandleId {
        self.handles.push(ir::Handle { name: name.to_string(), header, packet });
        HandleId(self.handles.len() as u32 - 1)
    }

    /// Binds a name in the innermost scope.
    pub(crate) fn bind(&mut self, name: &str, binding: Binding) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.into(), binding);
        }
    }

    /// What a name means.
    pub(crate) fn find(&self, name: &str) -> Option<Binding> {
        let known = self.scopes.iter().rev().find_map(|s| s.get(name)).or_else(|| self.env.names.get(name));
        known.cloned().or_else(|| self.selecting_field(name))
    }

    fn selecting_field(&self, name: &str) -> Option<Binding> {
        let (info, handle) = self.selecting.as_ref()?;
        let (id, field) = info.field(name)?;
        Some(Binding::Val(Val { ty: field.ty.clone(), cols: vec![Expr::Field(*handle, id)] }))
    }

    /// All names in scope, for suggestions.
    pub(crate) fn names(&self) -> Vec<String> {
        let own = self.scopes.iter().flat_map(|s| s.keys());
        let mut names: Vec<String> = own.chain(self.env.names.keys()).map(|n| n.to_string()).collect();
        let fields = self.selecting.iter().flat_map(|(info, _)| &info.fields);
        names.extend(fields.map(|field| field.name.clone()));
        names.sort();
        names
    }

    /// Puts an expression into a variable unless it is as cheap as one.
    pub(crate) fn atom(&mut self, e: Expr, ty: Scalar, span: Span) -> Expr {
        match e {
            Expr::Const(..) | Expr::Local(_) | Expr::Param(..) | Expr::Own(_) => e,
            _ if matches!(self.place, Place::Header(_)) => e,
            _ => {
                let dst = self.local("", ty);
                self.push(StmtKind::Assign { dst, value: e }, span);
                Expr::Local(dst)
            }
        }
    }

    /// The finished body.
    pub(crate) fn finish(mut self) -> ir::Body {
        let block = self.blocks.pop().unwrap_or_default();
        ir::Body { locals: self.locals, handles: self.handles, packets: self.packets, block }
    }
}

impl Elab {
    /// Fresh variables for a type's columns.
    pub(super) fn fresh(&mut self, body: &mut Body, name: &str, ty: &Ty) -> Vec<LocalId> {
        let columns = self.columns(ty);
        columns
            .iter()
            .map(|c| {
                let full = match (name.is_empty(), c.name.is_empty()) {
                    (true, _) => String::new(),
                    (false, true) => name.to_string(),
                    (false, false) => format!("{name}.{}", c.name),
                };
                body.local(&full, c.ty)
            })
            .collect()
    }

    /// Copies a value into fresh variables.
    pub(super) fn store(&mut self, body: &mut Body, name: &str, val: &Val, span: Span) -> Vec<LocalId> {
        let locals = self.fresh(body, name, &val.ty);
        for (dst, value) in locals.iter().zip(&val.cols) {
            body.push(StmtKind::Assign { dst: *dst, value: value.clone() }, span);
        }
        locals
    }

    /// The value held by variables.
    pub(super) fn loaded(ty: &Ty, locals: &[LocalId]) -> Val {
        Val { ty: ty.clone(), cols: locals.iter().map(|l| Expr::Local(*l)).collect() }
    }

    /// Zero in every column of a type.
    pub(super) fn zeros(&mut self, ty: &Ty) -> Vec<Expr> {
        self.scalars(ty).into_iter().map(|s| Expr::Const(0, s)).collect()
    }
}
