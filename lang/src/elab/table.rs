//! State: declarations, and the operations on tables, cells and counters.

use super::Elab;
use super::body::{Binding, Body, Env, Place, Val};
use super::expr::Thing;
use super::ops;
use super::program::{Kind, TableInfo};
use super::stmt::Branches;
use super::types::{Ty, max_value};
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::{
    self, BinaryOp as Op, Expr, Lifetime, LifetimeFn, Obligation, Role, Scalar, SpecStmt, StmtKind, TableId, TableKind,
};
use crate::span::Span;
use crate::syntax::ast::{self, BinaryOp, ExprKind, StateClause, TypeKind};
use std::rc::Rc;

/// The most entries that a table may have.
const MAX_CAPACITY: u128 = 1 << 26;

const INDEX: Scalar = Scalar::Bits(32);

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
                    self.prog.tables[id.index()].granularity = ops::constant(&val.scalar()).unwrap_or(0) as u64;
                }
                StateClause::Rate(e) => rate = Some(self.parameter_number(env, e)),
                StateClause::Burst(e) => burst = Some(self.parameter_number(env, e)),
                StateClause::From(function, source, slots) => self.computed(env, id, &info, function, source, slots),
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
    }

    /// `from maglev(backends, SLOTS)`
    fn computed(
        &mut self,
        env: &Rc<Env>,
        id: TableId,
        info: &TableInfo,
        function: &ast::Ident,
        source: &ast::Ident,
        slots: &ast::Expr,
    ) {
        if &*function.name != "maglev" {
            return self.unknown_name(function, ["maglev".to_string()]);
        }
        let Some(Binding::Table(entries)) = env.names.get(&source.name).cloned() else {
            return self.error(Code::BadState, source.span, "this names a control table of the same element");
        };
        self.used_members.insert(env.declared.get(&source.name).copied().unwrap_or_default());
        let mut body = Body::with_env(Place::Const, env);
        let Some(slots_each) = self.constant_number(&mut body, slots, 32) else { return };
        let table = &self.prog.tables[entries.index()];
        let key: Vec<Scalar> = table.key.iter().map(|c| c.ty).collect();
        let value: Vec<Scalar> = self.prog.tables[id.index()].value.iter().map(|c| c.ty).collect();
        let fits = matches!(table.kind, TableKind::Set) && table.role == Role::Control && key.len() > 1 && key[1..] == value;
        if info.kind != Kind::Array || info.role != Role::Control || !fits {
            let d = Diagnostic::new(Code::BadState, function.span, "`maglev` computes a control array from a control set");
            return self.report(d.note("the set's keys are a group's number and a backend; the array's elements are backends"));
        }
        if !is_prime(slots_each) || !info.capacity.is_multiple_of(slots_each as u64) {
            let d = Diagnostic::new(Code::BadState, slots.span, format!("{slots_each} slots per group do not do"));
            return self.report(d.note("the number is prime, and the array's length a multiple of it"));
        }
        self.prog.tables[id.index()].computed = Some(ir::Maglev { entries, slots: slots_each as u32 });
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

    /// Whether a table may be read here. Reports if not.
    fn readable(&mut self, body: &Body, info: &TableInfo, span: Span) -> bool {
        match body.place {
            Place::Header(_) | Place::Const | Place::Pure => {
                self.error(Code::NotPure, span, format!("`{}` is state, and this is computed without", info.name));
                false
            }
            Place::Code if info.role == Role::Ghost => {
                self.error(
                    Code::GhostUsed,
                    span,
                    format!("`{}` is ghost state: handlers write it, specifications read it", info.name),
                );
                false
            }
            _ => true,
        }
    }

    /// Whether a table may be written here. Reports if not.
    fn writable(&mut self, body: &Body, info: &TableInfo, span: Span) -> bool {
        if let Some(place) = body.reading {
            self.error(Code::NotPure, span, format!("{place} only reads"));
        } else if body.place != Place::Code {
            self.error(Code::NotPure, span, "state is changed by handlers only");
        } else if info.role == Role::Control {
            let d = Diagnostic::new(
                Code::ControlWritten,
                span,
                format!("`{}` is a control table: only the control plane writes it", info.name),
            );
            self.report(d.note("declare it as `state` if handlers are to write it"));
        } else if info.role == Role::Feed {
            self.error(Code::ControlWritten, span, format!("`{}` is fed by the runtime, and read only here", info.name));
        } else {
            return true;
        }
        false
    }

    /// `base.name(args)`
    pub(super) fn method(&mut self, body: &mut Body, base: &ast::Expr, name: &ast::Ident, args: &[ast::Expr], span: Span) -> Val {
        if let ExprKind::Index(array, index) = &base.kind
            && &*name.name == "add"
            && let Thing::Table(t) = self.thing(body, array, None)
        {
            return self.count(body, t, Some(index), args, span);
        }
        match self.thing(body, base, None) {
            Thing::Table(t) => self.table_method(body, t, name, args, span),
            Thing::Instance(env) => match env.names.get(&name.name) {
                Some(Binding::Fn(f)) => {
                    self.used_members.insert(f.name.span);
                    let args: Vec<ast::Arg> = args.iter().map(|a| ast::Arg { name: None, value: a.clone() }).collect();
                    self.expand(body, &f.clone(), &env, &args, span)
                }
                _ => {
                    let known: Vec<String> = env.names.keys().map(|n| n.to_string()).collect();
                    self.unknown_name(name, known);
                    Val::error()
                }
            },
            Thing::Val(Val { ty: Ty::Error, .. }) => Val::error(),
            _ => {
                self.error(
                    Code::UnknownMethod,
                    name.span,
                    format!("there is no operation `{}` here: operations are those of tables", name.name),
                );
                Val::error()
            }
        }
    }

    fn table_method(&mut self, body: &mut Body, t: TableId, name: &ast::Ident, args: &[ast::Expr], span: Span) -> Val {
        let info = self.table(t);
        let known: &[&str] = match info.kind {
            Kind::Map => &["get", "touch", "contains", "insert", "insert_or_update", "set", "expire_at", "remove"],
            Kind::Set => &["touch", "contains", "insert", "insert_or_update", "expire_at", "remove"],
            Kind::Lpm => &["lookup"],
            Kind::Bucket => &["take", "contains"],
            Kind::Counter => &["add"],
            Kind::Array | Kind::Cell => &[],
        };
        if !known.contains(&&*name.name) {
            let d = Diagnostic::new(Code::UnknownMethod, name.span, format!("`{}` has no operation `{}`", info.name, name.name));
            let d = match (info.kind, super::modules::nearest(&name.name, known.iter().map(|k| k.to_string()))) {
                (_, Some(near)) => d.fix(name.span, near.clone(), format!("did you mean `{near}`?")),
                (Kind::Array, _) => d.note("arrays are read and written by index: `a[i]`, `a[i] = e;`"),
                (Kind::Cell, _) => d.note("cells are read and written by name: `c`, `c = e;`"),
                _ => d.note(format!("it has {}", known.join(", "))),
            };
            self.report(d);
            return Val::error();
        }
        let arity = match &*name.name {
            "insert" | "insert_or_update" if info.kind == Kind::Set => 1,
            "insert" | "insert_or_update" | "set" | "expire_at" | "take" => 2,
            _ => 1,
        };
        if args.len() != arity {
            let s = if arity == 1 { "" } else { "s" };
            self.error(Code::ArgumentCount, span, format!("`{}` takes {arity} argument{s}, not {}", name.name, args.len()));
            return Val::error();
        }
        match &*name.name {
            "get" | "touch" | "contains" => self.look_up(body, t, &info, &name.name, &args[0], span),
            "insert" | "insert_or_update" => {
                let d = Diagnostic::new(Code::InsertUnchecked, span, format!("`{}` may be full: what then?", info.name));
                self.report(d.note("an insertion is a statement with `else { ... }`"));
                Val::error()
            }
            "lookup" => {
                if !self.readable(body, &info, span) {
                    return Val::error();
                }
                let Ty::Prefix(address) = info.key else { return Val::error() };
                let key = self.expr_of(body, &args[0], &Ty::Newtype(address)).scalar();
                let found = body.local("", Scalar::Bool);
                let length = body.local("", Scalar::Bits(8));
                let value = self.fresh(body, "", &info.value);
                body.push(StmtKind::Longest { table: t, key, found, length, value: value.clone() }, span);
                optional(&info.value, found, &value)
            }
            "take" => {
                if !self.writable(body, &info, span) {
                    return Val::error();
                }
                let key = self.expr_of(body, &args[0], &info.key).cols;
                let amount = self.expr(body, &args[1], Some(&Ty::Bits(32)));
                let Ty::Bits(width) = amount.ty else { return self.mismatch(&amount.ty, "a number of bytes", args[1].span) };
                let amount = ops::convert(amount.scalar(), Scalar::Bits(width), Scalar::Bits(64));
                let result = body.local("", Scalar::Bits(8));
                body.push(StmtKind::Take { table: t, key, amount, result }, span);
                Val { ty: Ty::Take, cols: vec![Expr::Local(result)] }
            }
            "add" => self.count(body, t, None, args, span),
            changing => {
                if !self.writable(body, &info, span) {
                    return Val::error();
                }
                let key = self.expr_of(body, &args[0], &info.key).cols;
                let kind = match changing {
                    "set" => {
                        let value = self.expr_of(body, &args[1], &info.value).cols;
                        StmtKind::SetValue { table: t, key, value }
                    }
                    "expire_at" => {
                        let at = self.expr_of(body, &args[1], &Ty::Time).scalar();
                        StmtKind::ExpireAt { table: t, key, at }
                    }
                    _ => StmtKind::Remove { table: t, key },
                };
                body.push(kind, span);
                Val::unit()
            }
        }
    }

    fn look_up(&mut self, body: &mut Body, t: TableId, info: &TableInfo, how: &str, key: &ast::Expr, span: Span) -> Val {
        let touch = how == "touch";
        if !(if touch { self.writable(body, info, span) } else { true }) || !self.readable(body, info, span) {
            return Val::error();
        }
        let key = self.expr_of(body, key, &info.key).cols;
        let found = body.local("", Scalar::Bool);
        let value = self.fresh(body, "", &info.value);
        body.push(StmtKind::Lookup { table: t, key, touch, found, value: value.clone() }, span);
        if how == "contains" || info.kind == Kind::Set {
            Val::bool(Expr::Local(found))
        } else {
            optional(&info.value, found, &value)
        }
    }

    fn count(&mut self, body: &mut Body, t: TableId, index: Option<&ast::Expr>, args: &[ast::Expr], span: Span) -> Val {
        let info = self.table(t);
        if info.kind != Kind::Counter || index.is_some() != info.indexed {
            let what = if info.kind == Kind::Counter {
                "a counter array is counted by index, a single counter without"
            } else {
                "only counters are added to"
            };
            self.error(Code::UnknownMethod, span, what);
            return Val::error();
        }
        let [amount] = args else {
            self.error(Code::ArgumentCount, span, "`add` takes one number");
            return Val::error();
        };
        if !self.writable(body, &info, span) {
            return Val::error();
        }
        let index = match index {
            Some(e) => self.checked_index(body, &info, e),
            None => Expr::Const(0, INDEX),
        };
        let amount_val = self.expr(body, amount, Some(&Ty::Bits(64)));
        let Ty::Bits(width) = amount_val.ty else { return self.mismatch(&amount_val.ty, "a number", amount.span) };
        let amount = ops::convert(amount_val.scalar(), Scalar::Bits(width), Scalar::Bits(64));
        body.push(StmtKind::Count { table: t, index, amount }, span);
        Val::unit()
    }

    /// An index into an array, 32 bits, known to be in bounds.
    fn checked_index(&mut self, body: &mut Body, info: &TableInfo, e: &ast::Expr) -> Expr {
        let val = self.expr(body, e, Some(if body.mathematical() { &Ty::Int } else { &Ty::Bits(32) }));
        let scalar = match val.ty {
            Ty::Bits(w) => Scalar::Bits(w),
            Ty::Int => Scalar::Int,
            _ => {
                self.mismatch(&val.ty, "an index", e.span);
                return Expr::Const(0, INDEX);
            }
        };
        let index = body.atom(val.scalar(), scalar, e.span);
        let fits = match scalar {
            Scalar::Bits(w) => u128::from(info.capacity) > max_value(w),
            _ => false,
        };
        if !fits {
            let limit = Expr::Const(u128::from(info.capacity), scalar);
            self.check(body, ops::binary(Op::Lt, index.clone(), limit, scalar), Obligation::Bounds, e.span);
        }
        ops::convert(index, scalar, INDEX)
    }

    /// `base[index]`
    pub(super) fn index(&mut self, body: &mut Body, base: &ast::Expr, index: &ast::Expr, span: Span) -> Val {
        match self.thing(body, base, None) {
            Thing::Table(t) => {
                let info = self.table(t);
                if !info.indexed {
                    let d = Diagnostic::new(Code::UnknownMethod, span, format!("`{}` is not indexed", info.name));
                    self.report(d.note("maps are read by `get`, which may find nothing"));
                    return Val::error();
                }
                if !self.readable(body, &info, span) {
                    return Val::error();
                }
                let index = self.checked_index(body, &info, index);
                if info.kind == Kind::Counter {
                    let value = body.local("", Scalar::Bits(64));
                    body.push(StmtKind::ReadCounter { table: t, index, value }, span);
                    return Val { ty: Ty::Bits(64), cols: vec![Expr::Local(value)] };
                }
                let value = self.fresh(body, "", &info.value);
                body.push(StmtKind::ReadArray { table: t, index, value: value.clone() }, span);
                Elab::loaded(&info.value, &value)
            }
            Thing::Val(Val { ty: Ty::Error, .. }) => Val::error(),
            _ => {
                self.error(Code::UnknownMethod, span, "only arrays and counters are indexed");
                Val::error()
            }
        }
    }

    /// `table.size`, `table.full`
    pub(super) fn table_member(&mut self, body: &mut Body, t: TableId, name: &ast::Ident) -> Val {
        let info = self.table(t);
        if !matches!(body.place, Place::Spec | Place::Test) {
            self.error(Code::SpecOnly, name.span, "how full a table is can be told in specifications and tests only");
            return Val::error();
        }
        let counted = !matches!(info.kind, Kind::Array | Kind::Cell | Kind::Counter);
        match &*name.name {
            "size" if counted => {
                let result = body.local("", Scalar::Int);
                body.push(StmtKind::Spec(Box::new(SpecStmt::Size { table: t, result })), name.span);
                Val { ty: Ty::Int, cols: vec![Expr::Local(result)] }
            }
            "full" if counted => {
                let result = body.local("", Scalar::Bool);
                body.push(StmtKind::Spec(Box::new(SpecStmt::Full { table: t, result })), name.span);
                Val::bool(Expr::Local(result))
            }
            _ => self.unknown_field(&info.name, name, if counted { vec!["size".into(), "full".into()] } else { Vec::new() }),
        }
    }

    /// The value of a cell or a counter by its name.
    pub(super) fn read_whole(&mut self, body: &mut Body, t: TableId, span: Span) -> Val {
        let info = self.table(t);
        match info.kind {
            Kind::Cell if self.readable(body, &info, span) => {
                let value = self.fresh(body, "", &info.value);
                body.push(StmtKind::ReadCell { table: t, value: value.clone() }, span);
                Elab::loaded(&info.value, &value)
            }
            Kind::Counter if !info.indexed && self.readable(body, &info, span) => {
                let value = body.local("", Scalar::Bits(64));
                body.push(StmtKind::ReadCounter { table: t, index: Expr::Const(0, INDEX), value }, span);
                Val { ty: Ty::Bits(64), cols: vec![Expr::Local(value)] }
            }
            Kind::Cell | Kind::Counter if !info.indexed => Val::error(),
            _ => self.no_value("a table", span),
        }
    }

    /// `cell = e;`
    pub(super) fn write_cell(&mut self, body: &mut Body, t: TableId, value: &ast::Expr, place: Span, span: Span) {
        let info = self.table(t);
        if info.kind != Kind::Cell {
            return self.error(Code::Immutable, place, "only cells are assigned as a whole");
        }
        if self.writable(body, &info, span) {
            let value = self.expr_of(body, value, &info.value).cols;
            body.push(StmtKind::WriteCell { table: t, value }, span);
        }
    }

    /// `array[i] = e;`
    pub(super) fn write_array(&mut self, body: &mut Body, t: TableId, index: &ast::Expr, value: &ast::Expr, span: Span) {
        let info = self.table(t);
        if info.kind != Kind::Array {
            return self.error(Code::Immutable, span, "only arrays are assigned by index");
        }
        if self.writable(body, &info, span) {
            let index = self.checked_index(body, &info, index);
            let value = self.expr_of(body, value, &info.value).cols;
            body.push(StmtKind::WriteArray { table: t, index, value }, span);
        }
    }

    /// `m.insert(k, v) and m2.insert(k, v) else { ... }`
    pub(super) fn insert_else(&mut self, body: &mut Body, e: &ast::Expr, other: &ast::Block, span: Span) {
        let mut parts = Vec::new();
        conjuncts(e, &mut parts);
        let (mut entries, mut ghost) = (Vec::new(), false);
        for part in parts {
            let ExprKind::Method(base, name, args) = &part.kind else {
                self.error(Code::Misplaced, part.span, "`else` stands behind insertions: `m.insert(k, v) else { ... }`");
                continue;
            };
            let Thing::Table(t) = self.thing(body, base, None) else { continue };
            let info = self.table(t);
            let arity = if info.kind == Kind::Set { 1 } else { 2 };
            if !matches!(&*name.name, "insert" | "insert_or_update") || !matches!(info.kind, Kind::Map | Kind::Set) {
                self.error(Code::Misplaced, part.span, "`else` stands behind insertions into maps and sets");
                continue;
            }
            if args.len() != arity {
                self.error(
                    Code::ArgumentCount,
                    part.span,
                    format!("`{}` takes {arity} arguments here, not {}", name.name, args.len()),
                );
                continue;
            }
            if !self.writable(body, &info, part.span) {
                continue;
            }
            ghost |= info.role == Role::Ghost;
            if info.role == Role::Ghost && (!other.stmts.is_empty() || other.value.is_some()) {
                self.error(Code::GhostUsed, other.span, "whether ghost state is full must not matter: leave this empty");
            }
            let key = self.expr_of(body, &args[0], &info.key).cols;
            let value = match args.get(1) {
                Some(v) => self.expr_of(body, v, &info.value).cols,
                None => Vec::new(),
            };
            entries.push(ir::InsertEntry { table: t, key, value, or_update: &*name.name == "insert_or_update" });
        }
        let ok = body.local("", Scalar::Bool);
        if !entries.is_empty() {
            body.push(StmtKind::Insert { entries, ok }, e.span);
        }
        let mut branches = Branches::new(body);
        branches.run(self, body, None, |_, _, _| Val::unit(), span);
        let full = |elab: &mut Elab, body: &mut Body, want: Option<&Ty>| {
            // Ghost tables have room.
            if !ghost {
                elab.branch(body, other.span, false);
            }
            elab.block(body, other, want)
        };
        branches.run(self, body, Some(&Ty::Unit), full, other.span);
        branches.join(body, span, |mut blocks| {
            let other = blocks.pop().unwrap_or_default();
            StmtKind::If { cond: Expr::Local(ok), then: Vec::new(), other }
        });
    }

    /// `first x in T where P`
    pub(super) fn first(&mut self, body: &mut Body, var: &ast::Ident, table: &ast::Expr, cond: &ast::Expr, span: Span) -> Val {
        let t = match self.thing(body, table, None) {
            Thing::Table(t) => t,
            Thing::Val(Val { ty: Ty::Error, .. }) => return Val::error(),
            _ => {
                self.error(Code::WrongKind, table.span, "`first` searches an array");
                return Val::error();
            }
        };
        let info = self.table(t);
        if info.kind != Kind::Array {
            self.error(Code::WrongKind, table.span, "`first` searches an array: the elements of other tables have no order");
            return Val::error();
        }
        if !self.readable(body, &info, span) {
            return Val::error();
        }
        let index = body.local("", INDEX);
        let value = self.fresh(body, &var.name, &info.value);
        let (test, holds) = self.search_test(body, "a search", |elab, body| {
            body.bind(&var.name, Binding::Val(Elab::loaded(&info.value, &value)));
            elab.cond(body, cond)
        });
        let found = body.local("", Scalar::Bool);
        body.push(StmtKind::First { table: t, index, value: value.clone(), test, holds, found }, span);
        optional(&info.value, found, &value)
    }

    /// A block that computes a condition and changes nothing.
    fn search_test(
        &mut self,
        body: &mut Body,
        what: &'static str,
        f: impl FnOnce(&mut Elab, &mut Body) -> Expr,
    ) -> (ir::Block, ir::LocalId) {
        let reading = body.reading.replace(what);
        let holds = body.local("", Scalar::Bool);
        let (block, ()) = body.nested(|body| {
            let value = f(self, body);
            body.push(StmtKind::Assign { dst: holds, value }, Span::default());
        });
        body.reading = reading;
        (block, holds)
    }

    /// `choose`
    pub(super) fn choose(&mut self, body: &mut Body, choose: &ast::Choose, span: Span) -> Option<(Expr, Val)> {
        if body.place != Place::Code || body.reading.is_some() {
            self.error(Code::NotPure, span, "a choice is made in handlers");
            return None;
        }
        let ExprKind::Range { low, high, inclusive } = &choose.range.kind else {
            self.error(Code::BadRange, choose.range.span, "a choice is from a range: `choose x in 1024..=65_535`");
            return None;
        };
        let ty = self.choice_type(body, low, high);
        let Ty::Bits(width) = ty else { return None };
        let scalar = Scalar::Bits(width);
        let low_val = self.expr_of(body, low, &ty).scalar();
        let mut high_val = self.expr_of(body, high, &ty).scalar();
        if !inclusive {
            high_val = body.atom(high_val, scalar, high.span);
            let positive = ops::binary(Op::Lt, low_val.clone(), high_val.clone(), scalar);
            self.check(body, positive, Obligation::Bounds, choose.range.span);
            high_val = ops::binary(Op::Sub, high_val, Expr::Const(1, scalar), scalar);
        }
        if let (Expr::Const(a, _), Expr::Const(b, _)) = (&low_val, &high_val)
            && a > b
        {
            self.error(Code::BadRange, choose.range.span, "this range is empty");
        }
        let within = choose.within.as_ref().and_then(|e| self.constant_number(body, e, 32)).map(|n| n as u32);
        if within == Some(0) {
            self.error(Code::BadRange, span, "at least one value is tried");
        }
        let var = body.local(&choose.var.name, scalar);
        let bound = Binding::Val(Val { ty: ty.clone(), cols: vec![Expr::Local(var)] });
        let name = &choose.var.name;
        let (test, holds) = self.search_test(body, "a choice's condition", |elab, body| {
            body.bind(name, bound.clone());
            choose.cond.as_ref().map_or(ops::TRUE, |c| elab.cond(body, c))
        });
        let mut tiers = Vec::new();
        for prefer in &choose.prefer {
            if let Some(exact) = exactly(prefer, name) {
                let value = self.expr_of(body, exact, &ty).scalar();
                let value = body.atom(value, scalar, exact.span);
                tiers.push(ir::Tier::Exactly(value));
                continue;
            }
            let (test, holds) = self.search_test(body, "a preference", |elab, body| {
                body.bind(name, bound.clone());
                elab.cond(body, prefer)
            });
            tiers.push(ir::Tier::Test(test, holds));
        }
        let ok = body.local("", Scalar::Bool);
        body.push(StmtKind::Choose { var, low: low_val, high: high_val, within, test, holds, tiers, ok }, span);
        Some((Expr::Local(ok), Val { ty, cols: vec![Expr::Local(var)] }))
    }

    /// The type of a choice: that of a bound, or of numbers just wide enough: 8, 16, 32 or 64 bits.
    fn choice_type(&mut self, body: &mut Body, low: &ast::Expr, high: &ast::Expr) -> Ty {
        for bound in [low, high] {
            if !matches!(bound.kind, ExprKind::Int(_)) {
                let (_, val) = body.nested(|body| self.expr(body, bound, None));
                if let Ty::Bits(_) = val.ty {
                    return val.ty;
                }
            }
        }
        match high.kind {
            ExprKind::Int(n) => Ty::Bits(*[8, 16, 32, 64].iter().find(|w| n <= max_value(**w)).unwrap_or(&128)),
            _ => {
                self.error(Code::BadRange, high.span, "a choice is from a range of numbers");
                Ty::Error
            }
        }
    }
}

/// A value that may not be there.
fn optional(ty: &Ty, found: ir::LocalId, value: &[ir::LocalId]) -> Val {
    let mut cols = vec![Expr::Local(found)];
    cols.extend(value.iter().map(|l| Expr::Local(*l)));
    Val { ty: Ty::Option(Rc::new(ty.clone())), cols }
}

/// The parts of `a and b and c`.
fn conjuncts<'a>(e: &'a ast::Expr, out: &mut Vec<&'a ast::Expr>) {
    match &e.kind {
        ExprKind::Binary(BinaryOp::And, a, b) => {
            conjuncts(a, out);
            conjuncts(b, out);
        }
        ExprKind::Paren(inner) => conjuncts(inner, out),
        _ => out.push(e),
    }
}

/// `e` of `name == e`, where `e` does not name it.
fn exactly<'a>(prefer: &'a ast::Expr, name: &str) -> Option<&'a ast::Expr> {
    let ExprKind::Binary(BinaryOp::Eq, l, r) = &prefer.kind else { return None };
    let is_var = |e: &ast::Expr| matches!(&e.kind, ExprKind::Path(p) if p.single().is_some_and(|n| &*n.name == name));
    (is_var(l) && !super::packet::mentions(r, name)).then_some(r)
}

/// Whether a number of 32 bits is prime.
fn is_prime(n: u128) -> bool {
    n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}
