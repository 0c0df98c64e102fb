//! Element instances: their ports, state and handlers, with the values of their parameters.

use super::Elab;
use super::body::{Binding, Body, Chain, Env, HeaderBinding, OutputInfo, PacketBinding, Place, Val};
use super::modules::ItemRef;
use super::ops;
use super::packet_match::Layer;
use super::types::Ty;
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::{self, ElementId, Expr, PacketId, Scalar, TableId};
use crate::span::Span;
use crate::syntax::Parsed;
use crate::syntax::ast::{self, HandlerEvent, ItemKind, MemberKind, ParamRole, PortKind};
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// An input or an output of an element.
#[derive(Clone)]
pub(crate) struct PortInfo {
    pub(crate) name: Box<str>,
    pub(crate) span: Span,
    /// Count of a port array.
    pub(crate) count: Option<u32>,
    /// The first of its entries in the element's list.
    pub(crate) first: u32,
    /// Names and types of the values beside the packet.
    pub(crate) args: Vec<(Box<str>, Ty)>,
    /// The contract's alternatives; one empty one without a contract.
    pub(crate) contracts: Vec<Vec<Layer>>,
}

impl PortInfo {
    /// The entry of an index and an alternative.
    pub(crate) fn entry(&self, index: u32, alternative: usize) -> u32 {
        self.first + index * self.contracts.len() as u32 + alternative as u32
    }

    /// The number of entries.
    fn entries(&self) -> u32 {
        self.count.unwrap_or(1) * self.contracts.len() as u32
    }

    /// The headers of an alternative.
    pub(crate) fn items(&self, alternative: usize) -> Vec<ItemRef> {
        self.contracts[alternative].iter().map(|l| l.item).collect()
    }
}

/// An instance of an element.
pub(crate) struct Instance {
    pub(crate) id: ElementId,
    pub(crate) name: String,
    pub(crate) inputs: Vec<PortInfo>,
    pub(crate) outputs: Vec<PortInfo>,
    pub(crate) env: Rc<Env>,
}

impl Elab {
    /// The declaration of an element, a middlebox or a spec.
    pub(super) fn block_decl(parsed: &Parsed, index: usize) -> Option<&ast::BlockDecl> {
        match &parsed.file.items[index].kind {
            ItemKind::Block(b) => Some(b),
            _ => None,
        }
    }

    /// The values of parameters, by name.
    pub(super) fn arguments(
        &mut self,
        env: &Rc<Env>,
        params: &[ast::Param],
        args: &[ast::Arg],
        span: Span,
    ) -> FxHashMap<Box<str>, Val> {
        let mut values = FxHashMap::default();
        let mut at = 0;
        for arg in args {
            let param = match &arg.name {
                Some(name) => params.iter().find(|p| p.name.name == name.name),
                None => {
                    at += 1;
                    params.get(at - 1)
                }
            };
            let Some(param) = param else {
                let where_ = arg.name.as_ref().map_or(arg.value.span, |n| n.span);
                self.error(Code::ArgumentCount, where_, "there is no parameter for this argument");
                continue;
            };
            if values.contains_key(&param.name.name) {
                self.error(Code::ArgumentCount, arg.value.span, format!("`{}` is given twice", param.name.name));
                continue;
            }
            let val = self.param_value(env, param, &arg.value);
            values.insert(param.name.name.clone(), val);
        }
        for param in params.iter().filter(|p| p.role != ParamRole::Port) {
            if values.contains_key(&param.name.name) {
                continue;
            }
            let val = match &param.default {
                Some(e) => self.param_value(&Rc::new(Env::default()), param, e),
                None => {
                    self.error(Code::ArgumentCount, span, format!("`{}` needs a value", param.name.name));
                    Val::error()
                }
            };
            values.insert(param.name.name.clone(), val);
        }
        values
    }

    pub(super) fn param_value(&mut self, env: &Rc<Env>, param: &ast::Param, value: &ast::Expr) -> Val {
        let Some(ty) = &param.ty else { return Val::error() };
        let ty = self.ty(ty);
        let mut body = Body::with_env(Place::Const, env);
        let val = self.expr_of(&mut body, value, &ty);
        if param.role == ParamRole::Const {
            return self.constant(&body, val, value.span);
        }
        if !body.block_is_empty() {
            self.error(Code::NotConstant, value.span, "arguments are constants and parameters");
        }
        val
    }

    /// Names of members that several kinds of blocks have: functions and shapes.
    pub(super) fn member_names(&mut self, decl: &ast::BlockDecl, env: &mut Env) {
        for member in &decl.members {
            let (name, binding) = match &member.kind {
                MemberKind::Fn(f) => (&f.name, Binding::Fn(f.clone())),
                MemberKind::Shape(s) => (&s.name, Binding::Shape(s.pattern.clone())),
                _ => continue,
            };
            self.member(env, name, binding);
        }
    }

    /// Adds a member's name.
    pub(super) fn member(&mut self, env: &mut Env, name: &ast::Ident, binding: Binding) {
        if let Some(first) = env.declared.get(&name.name) {
            let d = Diagnostic::new(Code::DuplicateName, name.span, format!("`{}` is declared twice", name.name));
            return self.report(d.also(*first, "declared here first"));
        }
        env.declared.insert(name.name.clone(), name.span);
        env.names.insert(name.name.clone(), binding);
    }

    /// Elaborates an instance of an element.
    pub(super) fn instance_of(&mut self, item: ItemRef, path: &str, values: FxHashMap<Box<str>, Val>) -> Option<Instance> {
        let (parsed, index) = self.item(item);
        let decl = Elab::block_decl(&parsed, index)?;
        let id = ElementId(self.prog.elements.len() as u32);
        self.prog.elements.push(ir::Element {
            name: path.to_string(),
            kind: decl.name.name.to_string(),
            span: decl.name.span,
            inputs: Vec::new(),
            outputs: Vec::new(),
            timers: Vec::new(),
            update: None,
        });
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
        let params = Rc::new(env);
        let mut env = Env { names: params.names.clone(), declared: params.declared.clone(), ports: FxHashMap::default() };
        let mut tables: Vec<(TableId, &ast::StateDecl)> = Vec::new();
        for member in &decl.members {
            match &member.kind {
                MemberKind::State(state) => {
                    if let Some(t) = self.declare_state(&params, id, path, state) {
                        self.member(&mut env, &state.name, Binding::Table(t));
                        tables.push((t, state));
                    } else {
                        self.member(&mut env, &state.name, Binding::Val(Val::error()));
                    }
                }
                MemberKind::Instance { name, .. } => self.error(Code::Misplaced, name.span, "instances stand in middleboxes"),
                MemberKind::Wire(_) => self.error(Code::Misplaced, member.span, "connections stand in middleboxes"),
                MemberKind::Ports(PortKind::External, _) => {
                    self.error(Code::Misplaced, member.span, "an element has inputs and outputs; ports are those of middleboxes");
                }
                _ => {}
            }
        }
        let env = Rc::new(env);
        for (t, state) in &tables {
            self.finish_state(&env, *t, state);
        }
        let inputs = self.element_ports(&env, decl, PortKind::Input);
        let outputs = self.element_ports(&env, decl, PortKind::Output);
        if let Some(o) = outputs.iter().find(|o| inputs.iter().any(|i| i.name == o.name)) {
            self.error(Code::DuplicateName, o.span, format!("`{}` is an input too", o.name));
        }
        self.handlers(&env, id, decl, &inputs, &outputs);
        for member in &decl.members {
            if let MemberKind::Require { message, cond } = &member.kind {
                let mut body = Body::with_env(Place::Spec, &env);
                let holds = self.cond(&mut body, cond);
                self.prog.requires.push(ir::Require {
                    message: message.text.clone(),
                    span: message.span,
                    body: body.finish(),
                    holds,
                });
            }
        }
        Some(Instance { id, name: path.to_string(), inputs, outputs, env })
    }

    fn element_ports(&mut self, env: &Rc<Env>, decl: &ast::BlockDecl, wanted: PortKind) -> Vec<PortInfo> {
        let mut all: Vec<PortInfo> = Vec::new();
        let mut first = 0;
        for member in &decl.members {
            let MemberKind::Ports(kind, ports) = &member.kind else { continue };
            if *kind != wanted {
                continue;
            }
            for port in ports {
                if all.iter().any(|p| p.name == port.name.name) {
                    self.error(Code::DuplicateName, port.name.span, format!("`{}` is declared twice", port.name.name));
                    continue;
                }
                let count = port.count.as_ref().map(|e| self.port_count(env, e));
                let mut args = Vec::new();
                for arg in &port.args {
                    if let Some(ty) = &arg.ty {
                        args.push((arg.name.name.clone(), self.ty(ty)));
                    }
                }
                let contracts = match &port.shape {
                    None => vec![Vec::new()],
                    Some(shape) => {
                        let body = Body::with_env(Place::Code, env);
                        let pattern = self.shape_pattern(&body, shape);
                        let alternatives = pattern.map(|p| self.expand_pattern(&p)).unwrap_or_default();
                        if alternatives.iter().flatten().any(|l| l.malformed) {
                            self.error(Code::BadPattern, port.name.span, "a contract promises well-formed headers");
                        }
                        if alternatives.is_empty() { vec![Vec::new()] } else { alternatives }
                    }
                };
                let info = PortInfo { name: port.name.name.clone(), span: port.name.span, count, first, args, contracts };
                first += info.entries();
                all.push(info);
            }
        }
        all
    }

    /// The length of a port array.
    pub(super) fn port_count(&mut self, env: &Rc<Env>, e: &ast::Expr) -> u32 {
        let mut body = Body::with_env(Place::Const, env);
        match self.constant_number(&mut body, e, 32) {
            Some(n @ 1..=64) => n as u32,
            Some(_) => {
                self.error(Code::BadRange, e.span, "a port array has 1 to 64 ports");
                1
            }
            None => 1,
        }
    }

    fn handlers(&mut self, env: &Rc<Env>, id: ElementId, decl: &ast::BlockDecl, inputs: &[PortInfo], outputs: &[PortInfo]) {
        let infos: Rc<Vec<OutputInfo>> = Rc::new(
            outputs
                .iter()
                .map(|o| OutputInfo {
                    name: o.name.clone(),
                    first: o.first,
                    count: o.count,
                    args: o.args.iter().map(|(_, t)| t.clone()).collect(),
                    contracts: (0..o.contracts.len()).map(|a| o.items(a)).collect(),
                })
                .collect(),
        );
        let mut handled: FxHashMap<Box<str>, Span> = FxHashMap::default();
        let before = self.errors();
        let mut bodies: Vec<Option<ir::Input>> = vec![None; inputs.iter().map(|i| i.entries() as usize).sum()];
        for member in &decl.members {
            let MemberKind::Handler(handler) = &member.kind else { continue };
            match &handler.event {
                HandlerEvent::Packet { port, .. } => {
                    let Some(input) = inputs.iter().find(|i| i.name == port.name) else {
                        self.unknown_name(port, inputs.iter().map(|i| i.name.to_string()));
                        continue;
                    };
                    if let Some(first) = handled.insert(port.name.clone(), port.span) {
                        let d = Diagnostic::new(Code::HandlerTwice, port.span, format!("`{}` has a handler already", port.name));
                        self.report(d.also(first, "here"));
                        continue;
                    }
                    for index in 0..input.count.unwrap_or(1) {
                        for alternative in 0..input.contracts.len() {
                            let entry = self.packet_handler(env, &infos, input, index, alternative, handler);
                            bodies[input.entry(index, alternative) as usize] = Some(entry);
                        }
                    }
                }
                HandlerEvent::Timer { every, lag } => {
                    let period = self.known_duration(env, every);
                    let late = lag.as_ref().map_or(0, |e| self.known_duration(env, e));
                    if period == 0 {
                        self.error(Code::BadRange, every.span, "a timer's period is above zero");
                    }
                    let body = self.plain_handler(env, handler);
                    self.prog.elements[id.index()].timers.push(ir::Timer { every: period.max(1), lag: late, body });
                }
                HandlerEvent::Update => {
                    if self.prog.elements[id.index()].update.is_some() {
                        self.error(Code::HandlerTwice, member.span, "`on update` is handled already");
                        continue;
                    }
                    let body = self.plain_handler(env, handler);
                    self.prog.elements[id.index()].update = Some(body);
                }
            }
        }
        for input in inputs {
            if !handled.contains_key(&input.name) {
                let d =
                    Diagnostic::new(Code::NoHandler, input.span, format!("nothing handles what comes in at `{}`", input.name));
                self.report(d.note(format!("add `on {}(p) {{ ... }}`", input.name)));
            }
        }
        let bodies: Vec<ir::Input> = bodies
            .into_iter()
            .map(|b| {
                b.unwrap_or_else(|| ir::Input {
                    name: String::new(),
                    args: Vec::new(),
                    contract: Vec::new(),
                    body: ir::Body::default(),
                })
            })
            .collect();
        for output in outputs {
            let range = output.first..output.first + output.entries();
            let sound = self.errors() == before && !decl.members.iter().any(|m| self.errors_in(m.span));
            if sound && !bodies.iter().any(|b| emits(&b.body.block, &range)) {
                self.report(Diagnostic::new(
                    Code::NeverEmits,
                    output.span,
                    format!("nothing is ever emitted on `{}`", output.name),
                ));
            }
        }
        self.prog.elements[id.index()].inputs = bodies;
    }

    fn known_duration(&mut self, env: &Rc<Env>, e: &ast::Expr) -> u64 {
        let mut body = Body::with_env(Place::Const, env);
        let val = self.expr_of(&mut body, e, &Ty::Duration);
        let val = self.constant(&body, val, e.span);
        ops::constant(&val.scalar()).unwrap_or(0) as u64
    }

    fn plain_handler(&mut self, env: &Rc<Env>, handler: &ast::Handler) -> ir::Body {
        let mut body = Body::with_env(Place::Code, env);
        let val = self.block(&mut body, &handler.body, Some(&Ty::Unit));
        self.coerce_block(&mut body, val, &Ty::Unit, &handler.body);
        body.finish()
    }

    fn packet_handler(
        &mut self,
        env: &Rc<Env>,
        outputs: &Rc<Vec<OutputInfo>>,
        input: &PortInfo,
        index: u32,
        alternative: usize,
        handler: &ast::Handler,
    ) -> ir::Input {
        let mut body = Body::with_env(Place::Code, env);
        body.outputs = Some(outputs.clone());
        let contract = &input.contracts[alternative];
        let mut columns = Vec::new();
        if let HandlerEvent::Packet { port, index: var, packet, shape, args } = &handler.event {
            let id = body.packet(&packet.name);
            if args.len() != input.args.len() {
                let message =
                    format!("`{}` carries {} values beside the packet, not {}", input.name, input.args.len(), args.len());
                self.error(Code::ArgumentCount, port.span, message);
            }
            for (i, (declared, ty)) in input.args.iter().enumerate() {
                let name = args.get(i).map_or(declared, |a| &a.name);
                let locals = self.fresh(&mut body, name, ty);
                for (column, local) in self.columns(ty).into_iter().zip(&locals) {
                    columns.push(ir::Column { name: body.locals[local.index()].name.clone(), ..column });
                }
                body.bind(name, Binding::Val(Elab::loaded(ty, &locals)));
            }
            let chain = self.contract_handles(&mut body, contract);
            body.bind(&packet.name, Binding::Packet(Rc::new(PacketBinding { id, port: None, layers: FxHashMap::default() })));
            match (var, input.count) {
                (Some(var), Some(_)) => {
                    let val = Val { ty: Ty::Bits(32), cols: vec![Expr::Const(u128::from(index), Scalar::Bits(32))] };
                    body.bind(&var.name, Binding::Val(val));
                }
                (None, None) => {}
                (Some(var), None) => self.error(Code::BadRange, var.span, format!("`{}` is one port, no array", input.name)),
                (None, Some(_)) => {
                    let d = Diagnostic::new(Code::BadRange, port.span, format!("`{}` is an array of ports", input.name));
                    self.report(d.note(format!("name the index: `on {}[i](...)`", input.name)));
                }
            }
            if let Some(shape) = shape {
                self.handler_names(&mut body, shape, contract, &chain, port.span);
            }
            body.chains.insert(PacketId(0), chain);
        }
        let end = Span { start: handler.body.span.end.saturating_sub(1), ..handler.body.span };
        let before = self.errors();
        let val = self.block(&mut body, &handler.body, Some(&Ty::Unit));
        self.coerce_block(&mut body, val, &Ty::Unit, &handler.body);
        let name = self.entry_name(input, index, alternative);
        let contract = contract.iter().map(|l| self.header_id(l.item)).collect();
        let body = body.finish();
        // After errors, paths may lack what could not be elaborated.
        if self.errors() == before && !self.errors_in(handler.body.span) {
            self.check_total(&body.block, end);
        }
        ir::Input { name, args: columns, contract, body }
    }

    /// The name of one entry of a port: with its index in an array, and the innermost header where the contract has alternatives.
    pub(super) fn entry_name(&mut self, port: &PortInfo, index: u32, alternative: usize) -> String {
        let mut name = port.name.to_string();
        if port.count.is_some() {
            name = format!("{name}[{index}]");
        }
        if port.contracts.len() > 1 {
            let headers: Vec<ItemRef> = port.items(alternative);
            let distinct = |n: usize| {
                let own = &headers[headers.len().saturating_sub(n)..];
                (0..port.contracts.len()).filter(|a| port.items(*a).ends_with(own)).count() == 1
            };
            let shown = (1..=headers.len()).find(|n| distinct(*n)).unwrap_or(headers.len());
            for item in &headers[headers.len() - shown..] {
                let header = self.header_info(*item).map(|h| h.name.clone()).unwrap_or_default();
                name = format!("{name}/{header}");
            }
        }
        name
    }

    /// Binds the names that a handler gives to the headers of its input's contract.
    fn handler_names(&mut self, body: &mut Body, shape: &ast::ShapeRef, contract: &[Layer], chain: &Chain, span: Span) {
        let Some(pattern) = self.shape_pattern(body, shape) else { return };
        let alternatives = self.expand_pattern(&pattern);
        let fits = alternatives
            .iter()
            .find(|a| a.len() <= contract.len() && a.iter().zip(contract).all(|(x, y)| x.item == y.item && !x.malformed));
        let Some(layers) = fits else {
            let items: Vec<ItemRef> = contract.iter().map(|l| l.item).collect();
            let promised = if items.is_empty() { "nothing".to_string() } else { self.header_names(&items) };
            let d = Diagnostic::new(
                Code::ContractBroken,
                span,
                format!("this input promises {promised}, and the handler wants other headers"),
            );
            return self.report(d.note("take the packet as `p` and tell its headers apart by `match p { ... }`"));
        };
        for (layer, (item, handle)) in layers.iter().zip(&chain.layers) {
            if let Some(name) = &layer.name {
                body.bind(&name.name, Binding::Header(HeaderBinding { item: *item, handle: *handle, packet: PacketId(0) }));
            }
        }
    }

    /// Invariants and properties that stand in an element.
    pub(super) fn element_properties(&mut self, item: ItemRef, instance: &Instance) {
        let (parsed, index) = self.item(item);
        let Some(decl) = Elab::block_decl(&parsed, index) else { return };
        for member in &decl.members {
            if let MemberKind::Property(p) = &member.kind {
                self.property(&instance.env, &instance.name, None, p);
            }
        }
    }

    /// Warns of members of the first file's elements and middleboxes that nothing uses.
    pub(super) fn unused_members(&mut self, root: &Parsed) {
        for item in &root.file.items {
            let ItemKind::Block(decl) = &item.kind else { continue };
            for member in &decl.members {
                let (what, name) = match &member.kind {
                    MemberKind::State(s) => ("state", &s.name),
                    MemberKind::Fn(f) => ("a function", &f.name),
                    MemberKind::Shape(s) => ("a shape", &s.name),
                    _ => continue,
                };
                if !self.used_members.contains(&name.span) && !self.errors_in(member.span) {
                    self.report(Diagnostic::new(Code::Unused, name.span, format!("{what} that nothing uses: `{}`", name.name)));
                }
            }
        }
    }
}

/// Whether a block emits on an output of a range.
pub(crate) fn emits(block: &ir::Block, range: &std::ops::Range<u32>) -> bool {
    block.iter().any(|s| match &s.kind {
        ir::StmtKind::Emit { output, .. } => range.contains(output),
        ir::StmtKind::If { then, other, .. } => emits(then, range) || emits(other, range),
        ir::StmtKind::Parse { ok, malformed, .. } => emits(ok, range) || emits(malformed, range),
        ir::StmtKind::Switch { cases, default, .. } => cases.iter().any(|c| emits(&c.2, range)) || emits(default, range),
        _ => false,
    })
}
