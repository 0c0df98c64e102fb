//! Declarations of state: capacities, lifetimes, initial values.

use super::Elab;
use super::body::{Binding, Body, Env, Place};
use super::ops;
use super::program::{Kind, TableInfo};
use super::types::Ty;
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::{self, BinaryOp as Op, Expr, Lifetime, LifetimeFn, Role, SKEW, Scalar, TableId, TableKind};
use crate::span::Span;
use crate::syntax::ast::{self, ExprKind, StateClause, TypeKind};
use std::rc::Rc;

impl Elab {
    /// Declares a state: its types and its size. What it computes with follows in [`Elab::finish_state`], when all names are known.
    pub(super) fn declare_state(
        &mut self,
        env: &Rc<Env>,
        element: ir::ElementId,
        path: &str,
        decl: &ast::StateDecl,
    ) -> Option<TableId> {
        let TypeKind::Named(kind, args) = &decl.ty.kind else { return None };
        let name = kind.single().map(|n| n.name.to_string()).unwrap_or_default();
        let (kind, arity) = match &*name {
            "map" => (Kind::Map, 2),
            "set" => (Kind::Set, 1),
            "array" => (Kind::Array, 1),
            "lpm" => (Kind::Lpm, 2),
            "bucket" => (Kind::Bucket, 1),
            "cell" => (Kind::Cell, 1),
            "counter" => (Kind::Counter, 0),
            _ => {
                let d = Diagnostic::new(Code::BadState, decl.ty.span, "this is no kind of state");
                self.report(d.note("there are map<K, V>, set<K>, array<V>, lpm<A, V>, bucket<K>, cell<V> and counter"));
                return None;
            }
        };
        if args.len() != arity {
            self.error(Code::ArgumentCount, decl.ty.span, format!("`{name}` takes {arity} type arguments, not {}", args.len()));
            return None;
        }
        let types: Vec<Ty> = args.iter().map(|a| self.ty(a)).collect();
        if let Some((_, a)) = types.iter().zip(args).find(|(t, _)| matches!(t, Ty::Packet | Ty::Int | Ty::Unit)) {
            self.error(Code::BadState, a.span, "this has no layout: tables hold numbers, addresses, structs, enums and options");
            return None;
        }
        if types.contains(&Ty::Error) {
            return None;
        }
        let (key, value) = match kind {
            Kind::Map => (types[0].clone(), types[1].clone()),
            Kind::Set | Kind::Bucket => (types[0].clone(), Ty::Unit),
            Kind::Array => (Ty::Bits(32), types[0].clone()),
            Kind::Lpm => {
                let Ty::Newtype(address) = types[0] else {
                    self.error(Code::BadState, args[0].span, "longest-prefix match is over addresses: a newtype of a number");
                    return None;
                };
                (Ty::Prefix(address), types[1].clone())
            }
            Kind::Cell => (Ty::Unit, types[0].clone()),
            Kind::Counter => (if decl.capacity.is_some() { Ty::Bits(32) } else { Ty::Unit }, Ty::Unit),
        };
        let role = match decl.role {
            ast::StateRole::State => Role::State,
            ast::StateRole::Control => Role::Control,
            ast::StateRole::Feed => Role::Feed,
            ast::StateRole::Ghost => Role::Ghost,
        };
        let fits = match role {
            Role::State => kind != Kind::Lpm,
            Role::Control => !matches!(kind, Kind::Bucket | Kind::Counter),
            Role::Feed => matches!(kind, Kind::Map | Kind::Set | Kind::Lpm),
            Role::Ghost => !matches!(kind, Kind::Bucket | Kind::Lpm),
        };
        if !fits {
            let why = match role {
                Role::State => "prefixes are written by the control plane: declare it as `control` or `feed`",
                Role::Control => "handlers change these: declare it as `state`",
                Role::Feed => "the runtime feeds maps, sets and lpm tables",
                Role::Ghost => "ghost state is kept in maps, sets, arrays, cells and counters",
            };
            self.error(Code::BadState, decl.ty.span, why);
            return None;
        }
        let capacity = self.capacity(env, kind, decl, &name)?;
        let indexed = matches!(kind, Kind::Array) || (kind == Kind::Counter && decl.capacity.is_some());
        let full = if path.is_empty() { decl.name.name.to_string() } else { format!("{path}.{}", decl.name.name) };
        let id = TableId(self.prog.tables.len() as u32);
        let value_columns = if kind == Kind::Counter { Vec::new() } else { self.columns(&value) };
        let table = ir::Table {
            name: full.clone(),
            span: decl.name.span,
            element,
            kind: match kind {
                Kind::Map => TableKind::Map,
                Kind::Set => TableKind::Set,
                Kind::Array => TableKind::Array,
                Kind::Lpm => TableKind::Lpm,
                Kind::Cell => TableKind::Cell,
                Kind::Counter => TableKind::Counter,
                Kind::Bucket => {
                    TableKind::Bucket { rate: Expr::Const(0, Scalar::Bits(64)), burst: Expr::Const(0, Scalar::Bits(64)) }
                }
            },
            role,
            key_shape: self.shape(&key),
            key: self.columns(&key),
            value_shape: self.shape(&value),
            value: value_columns,
            capacity,
            initial: Vec::new(),
            lifetime: Lifetime::Forever,
            granularity: 0,
            computed: None,
        };
        self.prog.tables.push(table);
        self.prog.infos.push(TableInfo { name: full, kind, role, key, value, capacity, indexed });
        Some(id)
    }

    fn capacity(&mut self, env: &Rc<Env>, kind: Kind, decl: &ast::StateDecl, name: &str) -> Option<u64> {
        let Some(e) = &decl.capacity else {
            if matches!(kind, Kind::Cell | Kind::Counter) {
                return Some(1);
            }
            let d = Diagnostic::new(Code::NoCapacity, decl.name.span, format!("a `{name}` has a capacity"));
            self.report(d.note("write it behind the type: `map<K, V>[65_536]`"));
            return None;
        };
        if kind == Kind::Cell {
            self.error(Code::BadState, e.span, "a cell holds one value and has no capacity");
            return None;
        }
        let mut body = Body::with_env(Place::Const, env);
        let n = self.constant_number(&mut body, e, 32)?;
        if n == 0 || n > MAX_CAPACITY {
            self.error(Code::BadState, e.span, format!("a capacity is from 1 to {MAX_CAPACITY}"));
            return None;
        }
        Some(n as u64)
    }

    /// Elaborates what a state's declaration computes with.
    pub(super) fn finish_state(&mut self, env: &Rc<Env>, id: TableId, decl: &ast::StateDecl) {
        let info = self.table(id);
        self.initial_value(env, id, &info, decl);
        let keyed = matches!(info.kind, Kind::Map | Kind::Set);
        let (mut rate, mut burst, mut lived) = (None, None, false);
        let mut granularity = None;
        for clause in &decl.clauses {
            match clause {
                StateClause::Idle(e) | StateClause::Lifetime(e) => {
                    if !self.may_expire(keyed, &info, &mut lived, e.span) {
                        continue;
                    }
                    let f = self.lifetime_fn(env, &info, e, &Ty::Duration);
                    let is_idle = matches!(clause, StateClause::Idle(_));
                    self.prog.tables[id.index()].lifetime = if is_idle { Lifetime::Idle(f) } else { Lifetime::Fixed(f) };
                }
                StateClause::IdleWith(path, e) => {
                    if !self.may_expire(keyed, &info, &mut lived, e.span) {
                        continue;
                    }
                    let Some(Binding::Table(other)) = path.single().and_then(|n| env.names.get(&n.name).cloned()) else {
                        self.error(Code::BadLifetime, path.span(), "`idle with` names a table of the same element");
                        continue;
                    };
                    if let Some(name) = path.single() {
                        self.used_members.insert(env.declared.get(&name.name).copied().unwrap_or_default());
                    }
                    let target = self.table(other);
                    if other == id || !matches!(self.prog.tables[other.index()].lifetime, Lifetime::Idle(_) | Lifetime::Fixed(_))
                    {
                        let d = Diagnostic::new(
                            Code::BadLifetime,
                            path.span(),
                            format!("`{}` has no lifetime of its own to share", target.name),
                        );
                        self.report(d.note("declare it before, with `idle` or `lifetime`"));
                        continue;
                    }
                    let key = self.lifetime_fn(env, &info, e, &target.key);
                    self.prog.tables[id.index()].lifetime = Lifetime::IdleWith { table: other, key };
                }
                StateClause::Granularity(e) => {
                    let mut body = Body::with_env(Place::Const, env);
                    let val = self.expr_of(&mut body, e, &Ty::Duration);
                    let val = self.constant(&body, val, e.span);
                    granularity = ops::constant(&val.scalar()).map(|bits| (bits as u64, e.span));
                }
                StateClause::Rate(e) => rate = Some(self.parameter_number(env, e)),
                StateClause::Burst(e) => burst = Some(self.parameter_number(env, e)),
                StateClause::From(function, source, slots, groups) => {
                    self.computed(env, id, &info, function, (source, slots, groups.as_ref()));
                }
            }
        }
        match (info.kind, rate, burst) {
            (Kind::Bucket, Some(rate), Some(burst)) => self.bucket(id, &info, rate, burst, decl.name.span),
            (Kind::Bucket, ..) => {
                let d = Diagnostic::new(Code::BadState, decl.name.span, "a bucket has a rate and a burst");
                self.report(d.note("write `rate 10Mbit burst 64KiB` behind its capacity"));
            }
            (_, None, None) => {}
            _ => self.error(Code::BadState, decl.name.span, "only buckets have a rate and a burst"),
        }
        self.granularity(id, granularity);
    }

    /// `granularity G`, or what a table with lifetimes has without it.
    fn granularity(&mut self, id: TableId, declared: Option<(u64, Span)>) {
        let own = matches!(self.prog.tables[id.index()].lifetime, Lifetime::Idle(_) | Lifetime::Fixed(_));
        match declared {
            Some((_, span)) if !own => {
                self.error(Code::BadLifetime, span, "`granularity` is for tables with a lifetime of their own")
            }
            Some((lag, span)) if lag < SKEW => {
                let d = Diagnostic::new(Code::BadLifetime, span, "a `granularity` is at least 1 ms");
                self.report(d.note("by so much the clocks of a target's processors may differ; a table without one has that"));
            }
            Some((lag, _)) => self.prog.tables[id.index()].granularity = lag,
            None if own => self.prog.tables[id.index()].granularity = SKEW,
            None => {}
        }
    }

    /// `from maglev(backends, SLOTS)`, or `from maglev(backends, SLOTS, services)`
    fn computed(
        &mut self,
        env: &Rc<Env>,
        id: TableId,
        info: &TableInfo,
        function: &ast::Ident,
        (source, slots, groups): (&ast::Ident, &ast::Expr, Option<&ast::Ident>),
    ) {
        if &*function.name != "maglev" {
            return self.unknown_name(function, ["maglev".to_string()]);
        }
        let Some(entries) = self.table_of(env, source) else { return };
        let groups = match groups.map(|groups| self.table_of(env, groups)) {
            Some(None) => return,
            groups => groups.flatten(),
        };
        let mut body = Body::with_env(Place::Const, env);
        let Some(slots_each) = self.constant_number(&mut body, slots, 32) else { return };
        let maglev = |slots| ir::Maglev { entries, groups, slots };
        let fits = maglev(1).fits(&self.prog.tables, &self.prog.tables[id.index()]);
        if info.kind != Kind::Array || info.role != Role::Control || !fits {
            let d = Diagnostic::new(Code::BadState, function.span, "`maglev` computes a control array from a control set");
            let d = d.note("the set's keys are a group's number and a backend; the array's elements are backends");
            return self.report(d.note("where groups have names, a control map from names to numbers is given, too"));
        }
        if !is_prime(slots_each) || !info.capacity.is_multiple_of(slots_each as u64) {
            let d = Diagnostic::new(Code::BadState, slots.span, format!("{slots_each} slots per group do not do"));
            return self.report(d.note("the number is prime, and the array's length a multiple of it"));
        }
        self.prog.tables[id.index()].computed = Some(maglev(slots_each as u32));
    }

    /// The table of that name in the same element.
    fn table_of(&mut self, env: &Env, name: &ast::Ident) -> Option<TableId> {
        let Some(Binding::Table(table)) = env.names.get(&name.name).cloned() else {
            self.error(Code::BadState, name.span, "this names a control table of the same element");
            return None;
        };
        self.used_members.insert(env.declared.get(&name.name).copied().unwrap_or_default());
        Some(table)
    }

    /// A bucket that has been idle for burst / rate is full, and therefore dead.
    fn bucket(&mut self, id: TableId, info: &TableInfo, rate: Expr, burst: Expr, span: Span) {
        if ops::constant(&rate) == Some(0) {
            return self.error(Code::BadState, span, "a bucket with a rate of zero is never full again");
        }
        let wide = |e: &Expr| ops::convert(e.clone(), Scalar::Bits(64), Scalar::Bits(128));
        let number = |n: u128| Expr::Const(n, Scalar::Bits(128));
        let binary = |op, a, b| ops::binary(op, a, b, Scalar::Bits(128));
        let tokens = binary(Op::Mul, wide(&burst), number(8_000_000_000));
        let rounded = binary(Op::Add, tokens, binary(Op::Sub, wide(&rate), number(1)));
        let idle = binary(Op::Div, rounded, wide(&rate));
        if ops::constant(&idle).is_some_and(|ns| ns >= 1 << 62) {
            return self.error(Code::BadState, span, "a bucket that takes more than 2^62 ns (146 years) to fill");
        }
        let mut body = Body::new(Place::Pure);
        self.fresh(&mut body, "key", &info.key);
        let result = vec![ops::convert(idle, Scalar::Bits(128), Scalar::Bits(64))];
        let table = &mut self.prog.tables[id.index()];
        table.kind = TableKind::Bucket { rate, burst };
        table.lifetime = Lifetime::Idle(LifetimeFn { body: body.finish(), result });
    }

    fn initial_value(&mut self, env: &Rc<Env>, id: TableId, info: &TableInfo, decl: &ast::StateDecl) {
        match (&decl.initial, info.kind) {
            (Some(e), Kind::Array | Kind::Cell) => {
                let mut body = Body::with_env(Place::Const, env);
                let val = self.expr_of(&mut body, e, &info.value);
                let known = val.cols.iter().all(|c| matches!(c, Expr::Const(..) | Expr::Param(..)));
                if val.ty != Ty::Error && (!known || !body.block_is_empty()) {
                    self.error(
                        Code::NotConstant,
                        e.span,
                        "what state begins with is known when the box is started: constants and parameters",
                    );
                    return;
                }
                self.prog.tables[id.index()].initial = val.cols;
            }
            (Some(e), _) => self.error(Code::BadState, e.span, "maps and sets begin empty, counters at zero"),
            (None, Kind::Array | Kind::Cell) => {
                let d = Diagnostic::new(Code::BadState, decl.name.span, "what does it hold at the start?");
                self.report(d.note("write it behind the declaration: `= 0`"));
            }
            (None, _) => {}
        }
    }

    fn may_expire(&mut self, keyed: bool, info: &TableInfo, lived: &mut bool, span: Span) -> bool {
        let good = keyed && info.role != Role::Control && info.role != Role::Feed;
        if !good {
            self.error(Code::BadLifetime, span, "lifetimes are for maps and sets that handlers write");
        } else if *lived {
            self.error(Code::BadLifetime, span, "a table has one lifetime");
        }
        good && !std::mem::replace(lived, true)
    }

    fn lifetime_fn(&mut self, env: &Rc<Env>, info: &TableInfo, e: &ast::Expr, want: &Ty) -> LifetimeFn {
        let mut body = Body::with_env(Place::Pure, env);
        let key = self.fresh(&mut body, "key", &info.key);
        let value = self.fresh(&mut body, "value", &info.value);
        body.bind("key", Binding::Val(Elab::loaded(&info.key, &key)));
        body.bind("value", Binding::Val(Elab::loaded(&info.value, &value)));
        body.reading = Some("a lifetime");
        let val = self.expr_of(&mut body, e, want);
        LifetimeFn { result: val.cols, body: body.finish() }
    }

    /// A rate or a burst: a constant or a parameter.
    fn parameter_number(&mut self, env: &Rc<Env>, e: &ast::Expr) -> Expr {
        let mut body = Body::with_env(Place::Const, env);
        let val = match e.kind {
            ExprKind::Int(_) => self.expr(&mut body, e, Some(&Ty::Bits(64))),
            _ => self.expr(&mut body, e, None),
        };
        match (&val.ty, val.scalar()) {
            (Ty::Bits(w), e @ (Expr::Const(..) | Expr::Param(..))) => ops::convert(e, Scalar::Bits(*w), Scalar::Bits(64)),
            (Ty::Error, _) => Expr::Const(0, Scalar::Bits(64)),
            _ => {
                self.error(Code::NotConstant, e.span, "this is a constant or a parameter, a number");
                Expr::Const(0, Scalar::Bits(64))
            }
        }
    }
}

/// The most entries that a table may have.
const MAX_CAPACITY: u128 = 1 << 26;

/// Whether a number of 32 bits is prime.
fn is_prime(n: u128) -> bool {
    n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}
