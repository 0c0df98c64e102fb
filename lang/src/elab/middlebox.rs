//! Middleboxes: parameters, instances, nested boxes; and the programs of a file.

use super::Elab;
use super::body::{Binding, Body, Env, Place, Val};
use super::connect::{Part, Ports};
use super::modules::ItemRef;
use super::ops;
use super::program::Builder;
use super::types::Ty;
use super::wiring::{Node, Wiring};
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::{self, Expr, ParamId, PortId};
use crate::span::FileId;
use crate::syntax::Parsed;
use crate::syntax::ast::{self, BlockKind, ItemKind, MemberKind, ParamRole, PortKind};
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// A program with the names that tests see.
pub(crate) struct Built {
    pub(crate) item: ItemRef,
    /// Values of the compile-time parameters, in order of declaration.
    pub(crate) consts: Vec<Val>,
    pub(crate) builder: Builder,
    pub(crate) env: Rc<Env>,
}

impl Elab {
    /// Checks the items of a file, as far as they stand alone.
    pub(super) fn check_items(&mut self, file: FileId) {
        let parsed = self.parsed[file.0 as usize].clone();
        for (index, item) in parsed.file.items.iter().enumerate() {
            let this = ItemRef { file, index: index as u32 };
            match &item.kind {
                ItemKind::Const { name, .. } => {
                    self.item_value(this, name);
                }
                ItemKind::Newtype { .. } => {
                    self.newtype(this);
                }
                ItemKind::Struct { .. } | ItemKind::Enum { .. } => {
                    self.type_info(this);
                }
                ItemKind::Header { .. } => {
                    self.header_info(this);
                }
                ItemKind::Hash { params, result, .. } => self.check_hash(params, result),
                ItemKind::Shape(s) => {
                    self.expand_pattern(&s.pattern);
                }
                ItemKind::Fn(f) => self.check_fn(f),
                _ => {}
            }
        }
    }

    /// Checks a function of a module with arguments that are not known.
    fn check_fn(&mut self, f: &ast::Fn) {
        let mut body = Body::new(Place::Code);
        body.reading = Some("a function");
        for param in &f.params {
            let Some(ty) = &param.ty else { return };
            if self.is_shape(&body, ty) {
                return;
            }
            let ty = self.ty(ty);
            if ty == Ty::Packet || ty == Ty::Int {
                return;
            }
            let locals = self.fresh(&mut body, &param.name.name, &ty);
            body.bind(&param.name.name, Binding::Val(Elab::loaded(&ty, &locals)));
        }
        let result = f.result.as_ref().map_or(Ty::Unit, |t| self.ty(t));
        if matches!(result, Ty::Packet | Ty::Int) {
            return;
        }
        self.open_fns.push(f.name.span);
        let val = self.block(&mut body, &f.body, Some(&result));
        self.coerce_block(&mut body, val, &result, &f.body);
        self.open_fns.pop();
    }

    /// The programs of the middleboxes that the first file declares.
    pub(super) fn check_blocks(&mut self, root: &Rc<Parsed>) -> Vec<Built> {
        let mut built = Vec::new();
        let mut instantiated = Vec::new();
        for (index, item) in root.file.items.iter().enumerate() {
            let ItemKind::Block(decl) = &item.kind else { continue };
            let this = ItemRef { file: FileId(0), index: index as u32 };
            if decl.kind != BlockKind::Middlebox {
                continue;
            }
            let consts = self.default_consts(decl);
            built.push(self.build(this, consts));
        }
        instantiated.extend(self.instantiated.iter().copied());
        // What no box uses is checked all the same.
        for (index, item) in root.file.items.iter().enumerate() {
            let ItemKind::Block(decl) = &item.kind else { continue };
            let this = ItemRef { file: FileId(0), index: index as u32 };
            if instantiated.contains(&this) {
                continue;
            }
            match decl.kind {
                BlockKind::Middlebox => {}
                BlockKind::Element => self.check_alone(this, decl),
                BlockKind::Spec => self.check_spec(decl),
            }
        }
        built
    }

    fn default_consts(&mut self, decl: &ast::BlockDecl) -> Vec<Val> {
        let mut consts = Vec::new();
        for param in decl.params.iter().filter(|p| p.role == ParamRole::Const) {
            consts.push(match &param.default {
                Some(e) => self.param_value(&Rc::new(Env::default()), param, e),
                None => {
                    let d = Diagnostic::new(Code::NotConstant, param.name.span, format!("`{}` needs a default", param.name.name));
                    self.report(
                        d.note("a box that is built has values for its compile-time parameters: `const SIZE: u32 = 65_536`"),
                    );
                    Val::error()
                }
            });
        }
        consts
    }

    /// Dummy values for the parameters of what nobody instantiates.
    fn unknown_params(&mut self, decl: &ast::BlockDecl) -> FxHashMap<Box<str>, Val> {
        let mut values = FxHashMap::default();
        for param in decl.params.iter().filter(|p| p.role != ParamRole::Port) {
            let val = match (&param.default, param.role, &param.ty) {
                (Some(e), ..) => self.param_value(&Rc::new(Env::default()), param, e),
                (None, ParamRole::Const, Some(ty)) => {
                    let ty = self.ty(ty);
                    let cols = self.scalars(&ty).into_iter().map(|s| Expr::Const(1, s)).collect();
                    Val { ty, cols }
                }
                (None, _, Some(ty)) => self.external_param(&param.name, &ty.clone(), None),
                _ => Val::error(),
            };
            values.insert(param.name.name.clone(), val);
        }
        values
    }

    fn check_alone(&mut self, item: ItemRef, decl: &ast::BlockDecl) {
        let before = std::mem::take(&mut self.prog);
        let values = self.unknown_params(decl);
        if let Some(instance) = self.instance_of(item, &decl.name.name, values) {
            self.element_properties(item, &instance);
        }
        self.prog = before;
    }

    fn check_spec(&mut self, decl: &ast::BlockDecl) {
        let before = std::mem::take(&mut self.prog);
        let values = self.unknown_params(decl);
        let mut ports = FxHashMap::default();
        for (n, param) in decl.params.iter().filter(|p| p.role == ParamRole::Port).enumerate() {
            ports.insert(param.name.name.clone(), (PortId(n as u32), None));
        }
        // Which reasons a box drops for is not known here.
        self.any_reason = true;
        self.spec(decl, values, ports);
        self.any_reason = false;
        self.prog = before;
    }

    /// A parameter of the box, whose value is known when the box is started.
    fn external_param(&mut self, name: &ast::Ident, ty: &ast::Type, default: Option<Vec<u128>>) -> Val {
        let ty = self.ty(ty);
        if matches!(ty, Ty::Error | Ty::Packet | Ty::Int | Ty::Unit) {
            return Val::error();
        }
        let id = ParamId(self.prog.params.len() as u32);
        let columns = self.columns(&ty);
        let cols = (0..columns.len()).map(|c| Expr::Param(id, c as u32)).collect();
        let shape = self.shape(&ty);
        self.prog.params.push(ir::Param { name: name.name.to_string(), span: name.span, shape, columns, default });
        Val { ty, cols }
    }

    /// Elaborates a middlebox with values for its compile-time parameters.
    pub(super) fn build(&mut self, item: ItemRef, consts: Vec<Val>) -> Built {
        let before = std::mem::take(&mut self.prog);
        let spans = std::mem::take(&mut self.prog_spans);
        let (parsed, index) = self.item(item);
        let mut env = Rc::new(Env::default());
        if let Some(decl) = Elab::block_decl(&parsed, index) {
            self.prog.name = decl.name.name.to_string();
            self.prog.span = decl.name.span;
            let mut values = FxHashMap::default();
            let mut given = consts.iter();
            for param in &decl.params {
                let val = match (param.role, &param.ty) {
                    (ParamRole::Const, _) => given.next().cloned().unwrap_or_else(Val::error),
                    (ParamRole::Value, Some(ty)) => {
                        let default = param.default.as_ref().map(|e| self.param_value(&Rc::new(Env::default()), param, e));
                        let default = default.map(|v| v.cols.iter().map(|c| ops::constant(c).unwrap_or(0)).collect());
                        self.external_param(&param.name, &ty.clone(), default)
                    }
                    _ => Val::error(),
                };
                values.insert(param.name.name.clone(), val);
            }
            let mut wiring = Wiring::default();
            let mut pending = Vec::new();
            env = self.middlebox(decl, "", values, Ports::External, &mut wiring, &mut pending);
            self.wire(&wiring);
            for (item, at) in pending {
                let Some(instance) = wiring.instances.get(at) else { continue };
                self.element_properties(item, instance);
            }
            self.box_properties(&parsed, item, decl, &env);
        }
        self.prog_spans = spans;
        let builder = std::mem::replace(&mut self.prog, before);
        Built { item, consts, builder, env }
    }

    fn middlebox(
        &mut self,
        decl: &ast::BlockDecl,
        path: &str,
        values: FxHashMap<Box<str>, Val>,
        ports: Ports,
        wiring: &mut Wiring,
        pending: &mut Vec<(ItemRef, usize)>,
    ) -> Rc<Env> {
        let mut env = Env::default();
        for param in &decl.params {
            if param.role == ParamRole::Port {
                self.error(Code::Misplaced, param.name.span, "ports are parameters of specs only");
                continue;
            }
            let val = values.get(&param.name.name).cloned().unwrap_or_else(Val::error);
            self.member(&mut env, &param.name, Binding::Val(val));
        }
        self.member_names(decl, &mut env);
        let params = Rc::new(Env { names: env.names.clone(), declared: env.declared.clone(), ports: FxHashMap::default() });
        if let Ports::External = ports {
            self.external_ports(decl, &params, &mut env);
        }
        let mut parts: FxHashMap<Box<str>, Part> = FxHashMap::default();
        for member in &decl.members {
            match &member.kind {
                MemberKind::Instance { name, kind, args } => {
                    let full = if path.is_empty() { name.name.to_string() } else { format!("{path}.{}", name.name) };
                    let Some((part, inner)) = self.instantiate(&params, &full, name, kind, args, wiring, pending) else {
                        continue;
                    };
                    self.member(&mut env, name, Binding::Instance(inner));
                    parts.insert(name.name.clone(), part);
                }
                MemberKind::State(s) => self.error(Code::Misplaced, s.name.span, "state stands in elements"),
                MemberKind::Handler(_) => self.error(Code::Misplaced, member.span, "handlers stand in elements"),
                MemberKind::Require { message, .. } => {
                    self.error(Code::Misplaced, message.span, "`require` stands in elements, beside the tables")
                }
                MemberKind::Ports(PortKind::Input | PortKind::Output, _) => {
                    self.error(Code::Misplaced, member.span, "a middlebox has ports: `port inside, outside;`");
                }
                _ => {}
            }
        }
        for member in &decl.members {
            if let MemberKind::Wire(ends) = &member.kind {
                for pair in ends.windows(2) {
                    self.connect_ends(&params, &env, &parts, &ports, wiring, &pair[0], &pair[1]);
                }
            }
        }
        if let Ports::External = ports {
            self.unconnected_ports(&env, wiring);
        }
        Rc::new(env)
    }

    fn external_ports(&mut self, decl: &ast::BlockDecl, params: &Rc<Env>, env: &mut Env) {
        for member in &decl.members {
            let MemberKind::Ports(PortKind::External, ports) = &member.kind else { continue };
            for port in ports {
                let count = port.count.as_ref().map(|e| self.port_count(params, e));
                let first = PortId(self.prog.ports.len() as u32);
                if &*port.name.name == "host" {
                    self.error(Code::DuplicateName, port.name.span, "`host` is the machine's own stack: it is there already");
                    continue;
                }
                if env.ports.contains_key(&port.name.name) {
                    self.error(Code::DuplicateName, port.name.span, format!("`{}` is declared twice", port.name.name));
                    continue;
                }
                if !port.args.is_empty() || port.shape.is_some() {
                    self.error(
                        Code::Misplaced,
                        port.name.span,
                        "anything may arrive at a port: it has no contract and no values beside the packet",
                    );
                }
                env.ports.insert(port.name.name.clone(), (first, count));
                for i in 0..count.unwrap_or(1) {
                    let name = if count.is_some() { format!("{}[{i}]", port.name.name) } else { port.name.name.to_string() };
                    self.prog.ports.push(ir::Port { name, entry: None });
                    self.port_spans.insert(PortId(first.0 + i), port.name.span);
                }
            }
        }
        let used = decl
            .members
            .iter()
            .any(|m| matches!(&m.kind, MemberKind::Wire(ends) if ends.iter().any(|e| &*e.first.name == "host")));
        if used {
            env.ports.insert("host".into(), (PortId(self.prog.ports.len() as u32), None));
            self.prog.ports.push(ir::Port { name: "host".to_string(), entry: None });
        }
    }

    fn unconnected_ports(&mut self, env: &Env, wiring: &Wiring) {
        let mut ports: Vec<(PortId, Option<u32>, Box<str>)> = env.ports.iter().map(|(n, (p, c))| (*p, *c, n.clone())).collect();
        ports.sort();
        for (first, count, name) in ports {
            if &*name == "host" {
                continue;
            }
            for i in 0..count.unwrap_or(1) {
                let id = PortId(first.0 + i);
                if !wiring.starts(Node::Arrival(id)) {
                    let span = self.port_spans.get(&id).copied().unwrap_or_default();
                    let d = Diagnostic::new(
                        Code::Unconnected,
                        span,
                        format!("what arrives at `{}` goes nowhere", self.prog.ports[id.index()].name),
                    );
                    self.report(d.note("connect it to an element: `inside -> classify.from_inside;`"));
                }
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "what an instance is made from")]
    fn instantiate(
        &mut self,
        params: &Rc<Env>,
        full: &str,
        name: &ast::Ident,
        kind: &ast::Path,
        args: &[ast::Arg],
        wiring: &mut Wiring,
        pending: &mut Vec<(ItemRef, usize)>,
    ) -> Option<(Part, Rc<Env>)> {
        let item = self.resolve_kind(kind, "an element or a middlebox", |k| match k {
            ItemKind::Block(b) => b.kind != BlockKind::Spec,
            ItemKind::Error => true,
            _ => false,
        })?;
        let (parsed, index) = self.item(item);
        let decl = Elab::block_decl(&parsed, index)?;
        let values = self.arguments(params, &decl.params, args, name.span);
        if decl.kind == BlockKind::Element {
            self.instantiated.insert(item);
            self.prog_spans.push(name.span);
            let instance = self.instance_of(item, full, values)?;
            let env = instance.env.clone();
            wiring.instances.push(instance);
            pending.push((item, wiring.instances.len() - 1));
            return Some((Part::Element(wiring.instances.len() - 1), env));
        }
        if self.open_types.contains(&item) {
            self.error(Code::Cycle, name.span, format!("`{}` contains itself", decl.name.name));
            return None;
        }
        let mut ports = Vec::new();
        let mut inner_env = Env::default();
        for param in &decl.params {
            inner_env
                .names
                .insert(param.name.name.clone(), Binding::Val(values.get(&param.name.name).cloned().unwrap_or_else(Val::error)));
        }
        let inner_env = Rc::new(inner_env);
        for member in &decl.members {
            let MemberKind::Ports(PortKind::External, declared) = &member.kind else { continue };
            for port in declared {
                let count = port.count.as_ref().map(|e| self.port_count(&inner_env, e));
                let first = wiring.inner.len() as u32;
                for _ in 0..count.unwrap_or(1) {
                    wiring.inner.push((format!("{full}.{}", port.name.name), name.span));
                }
                ports.push((port.name.name.clone(), first, count));
            }
        }
        self.open_types.push(item);
        let env = self.middlebox(decl, full, values, Ports::Nested(ports.clone()), wiring, pending);
        self.open_types.pop();
        for member in &decl.members {
            if let MemberKind::Property(p) = &member.kind
                && p.invariant
            {
                self.property(&env, full, None, p);
            }
        }
        Some((Part::Box(ports), env))
    }
}
