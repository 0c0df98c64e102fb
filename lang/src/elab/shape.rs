//! Packets of a shape, in specifications and tests: the headers are looked for, and what the alternatives have in common is copied,
//! so that it can be spoken of behind the place where they were told apart.

use super::Elab;
use super::body::{Binding, Body, Chain, HeaderBinding, PacketBinding, Val, View};
use super::modules::ItemRef;
use super::ops;
use super::packet_match::Layer;
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::{self, Expr, FieldId, HandleId, LocalId, PacketId, PortId, Scalar, StmtKind};
use crate::span::Span;
use crate::syntax::ast;
use rustc_hash::FxHashMap;
use std::rc::Rc;

impl Elab {
    /// Looks whether a packet is of a shape: the packet with the names of its headers, and the variable that tells.
    pub(super) fn match_shape(
        &mut self,
        body: &mut Body,
        id: PacketId,
        port: Option<PortId>,
        shape: &ast::ShapeRef,
        span: Span,
    ) -> (Rc<PacketBinding>, LocalId) {
        let matched = body.local("fits", Scalar::Bool);
        body.push(StmtKind::Assign { dst: matched, value: ops::FALSE }, span);
        let alternatives = match self.shape_pattern(body, shape) {
            Some(pattern) => self.expand_pattern(&pattern),
            None => Vec::new(),
        };
        let mut handles: FxHashMap<Vec<ItemRef>, HandleId> = FxHashMap::default();
        let mut flags = Vec::new();
        for layers in &alternatives {
            if !self.shape_selectable(layers) {
                continue;
            }
            let flag = if alternatives.len() == 1 { matched } else { body.local("is", Scalar::Bool) };
            if flag != matched {
                body.push(StmtKind::Assign { dst: flag, value: ops::FALSE }, span);
            }
            let mut done = vec![ir::Stmt { kind: StmtKind::Assign { dst: flag, value: ops::TRUE }, span }];
            if flag != matched {
                done.push(ir::Stmt { kind: StmtKind::Assign { dst: matched, value: ops::TRUE }, span });
            }
            let block = self.look_for(body, id, layers, &mut handles, done, span);
            for stmt in block {
                body.push(stmt.kind, stmt.span);
            }
            flags.push((flag, layers));
        }
        let layers = self.shape_names(body, id, &flags, &handles, span);
        let binding = Rc::new(PacketBinding { id, port, layers });
        body.known.insert(id, binding.clone());
        (binding, matched)
    }

    fn shape_selectable(&mut self, layers: &[Layer]) -> bool {
        for (i, layer) in layers.iter().enumerate() {
            let Some(info) = self.header_info(layer.item) else { return false };
            let fits = match i.checked_sub(1).map(|j| layers[j].item) {
                None => info.first,
                Some(before) => info.parents.iter().any(|(p, _)| *p == before),
            };
            if !fits {
                let d = Diagnostic::new(Code::HeaderNotSelected, layer.span, format!("nothing before selects {}", info.name));
                self.report(d.also(info.span, "declared here"));
                return false;
            }
        }
        true
    }

    /// The block that runs `done` if the layers are there.
    fn look_for(
        &mut self,
        body: &mut Body,
        packet: PacketId,
        layers: &[Layer],
        handles: &mut FxHashMap<Vec<ItemRef>, HandleId>,
        done: ir::Block,
        span: Span,
    ) -> ir::Block {
        let mut found: Vec<(ItemRef, Option<HandleId>, Expr, bool)> = Vec::new();
        let mut path = Vec::new();
        let mut before = None;
        for layer in layers {
            let Some(info) = self.header_info(layer.item) else { return Vec::new() };
            let selected = match (before, path.last().copied()) {
                (Some(handle), Some(parent)) => self.selected(body, parent, handle, &info).unwrap_or(ops::FALSE),
                _ => ops::TRUE,
            };
            path.push(layer.item);
            let header = self.header_id(layer.item);
            let handle = match handles.get(&path) {
                Some(h) => *h,
                None => {
                    let h = body.handle(layer.name.as_ref().map_or(&info.name, |n| &n.name), header, packet);
                    handles.insert(path.clone(), h);
                    h
                }
            };
            found.push((layer.item, before, selected, layer.malformed));
            before = Some(handle);
        }
        let mut block = done;
        for (n, (item, after, selected, malformed)) in found.into_iter().enumerate().rev() {
            let header = self.header_id(item);
            let into = handles[&path[..=n].to_vec()];
            let (ok, bad) = if malformed { (Vec::new(), block) } else { (block, Vec::new()) };
            let parse = ir::Stmt { kind: StmtKind::Parse { packet, header, after, into, ok, malformed: bad }, span };
            block = if selected == ops::TRUE {
                vec![parse]
            } else {
                vec![ir::Stmt { kind: StmtKind::If { cond: selected, then: vec![parse], other: Vec::new() }, span }]
            };
        }
        block
    }

    /// What the names of a shape's layers mean.
    fn shape_names(
        &mut self,
        body: &mut Body,
        packet: PacketId,
        flags: &[(LocalId, &Vec<Layer>)],
        handles: &FxHashMap<Vec<ItemRef>, HandleId>,
        span: Span,
    ) -> FxHashMap<Box<str>, Binding> {
        let mut names: FxHashMap<Box<str>, Vec<(LocalId, HeaderBinding)>> = FxHashMap::default();
        let mut order: Vec<Box<str>> = Vec::new();
        for (flag, layers) in flags {
            let mut path = Vec::new();
            for layer in layers.iter() {
                path.push(layer.item);
                let (Some(name), Some(&handle), false) = (&layer.name, handles.get(&path), layer.malformed) else { continue };
                if !names.contains_key(&name.name) {
                    order.push(name.name.clone());
                }
                names.entry(name.name.clone()).or_default().push((*flag, HeaderBinding { item: layer.item, handle, packet }));
            }
        }
        let mut bound = FxHashMap::default();
        for name in order {
            let Some(alternatives) = names.remove(&name) else { continue };
            let one = alternatives.iter().all(|(_, h)| h.handle == alternatives[0].1.handle);
            let binding =
                if one { Binding::Header(alternatives[0].1.clone()) } else { self.view(body, &name, alternatives, span) };
            bound.insert(name, binding);
        }
        bound
    }

    fn view(&mut self, body: &mut Body, name: &str, alternatives: Vec<(LocalId, HeaderBinding)>, span: Span) -> Binding {
        let infos: Vec<_> = alternatives.iter().filter_map(|(_, h)| self.header_info(h.item)).collect();
        let mut fields = Vec::new();
        let Some(first) = infos.first().cloned() else { return Binding::Val(Val::error()) };
        for f in &first.fields {
            let places: Vec<FieldId> =
                infos.iter().filter_map(|i| i.field(&f.name).filter(|(_, g)| g.ty == f.ty).map(|(id, _)| id)).collect();
            if places.len() != infos.len() {
                continue;
            }
            let local = body.local(&format!("{name}.{}", f.name), Scalar::Bits(f.width));
            for ((flag, h), field) in alternatives.iter().zip(&places) {
                let copy = ir::Stmt { kind: StmtKind::Assign { dst: local, value: Expr::Field(h.handle, *field) }, span };
                body.push(StmtKind::If { cond: Expr::Local(*flag), then: vec![copy], other: Vec::new() }, span);
            }
            fields.push((f.name.clone(), Val { ty: f.ty.clone(), cols: vec![Expr::Local(local)] }));
        }
        Binding::View(Rc::new(View { fields, alternatives }))
    }

    /// The headers of a contract, as a handler's packet begins with them.
    pub(super) fn contract_handles(&mut self, body: &mut Body, layers: &[Layer]) -> Chain {
        let mut chain = Vec::new();
        for layer in layers {
            let header = self.header_id(layer.item);
            let name = self.header_info(layer.item).map(|h| h.name.clone()).unwrap_or_default();
            let handle = body.handle(layer.name.as_ref().map_or(&name, |n| &n.name), header, PacketId(0));
            chain.push((layer.item, handle));
        }
        Chain { solid: chain.len(), layers: chain }
    }
}
