//! Header fields and what a rewrite entails: checksums, push and pop, emit and drop.

use super::Elab;
use super::body::{Binding, Body, HeaderBinding, OutputInfo, PacketBinding, Place, Val};
use super::expr::Thing;
use super::headers::HeaderInfo;
use super::modules::ItemRef;
use super::ops;
use super::types::Ty;
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::{BinaryOp as Op, Change, Expr, FieldId, HandleId, Obligation, PacketId, Scalar, StmtKind};
use crate::span::Span;
use crate::syntax::ast::{self, ExprKind};
use std::rc::Rc;

impl Elab {
    /// `h.field`, `h.header_length`
    pub(super) fn header_field(&mut self, body: &mut Body, h: &HeaderBinding, name: &ast::Ident) -> Val {
        let Some(info) = self.header_info(h.item) else { return Val::error() };
        if !self.established(body, h, name.span) {
            return Val::error();
        }
        if let Some((id, field)) = info.field(&name.name) {
            return Val { ty: field.ty.clone(), cols: vec![Expr::Field(h.handle, id)] };
        }
        if &*name.name == "header_length" {
            let e = Expr::HeaderLength(h.handle);
            return if body.mathematical() {
                Val { ty: Ty::Int, cols: vec![ops::convert(e, Scalar::Bits(16), Scalar::Int)] }
            } else {
                Val { ty: Ty::Bits(16), cols: vec![e] }
            };
        }
        let known = info.fields.iter().map(|f| f.name.clone()).chain(["header_length".to_string()]).collect();
        self.unknown_field(&info.name, name, known)
    }

    /// Whether a header is (still) known to be there. Reports if not.
    pub(super) fn established(&mut self, body: &Body, h: &HeaderBinding, span: Span) -> bool {
        if body.place != Place::Code {
            return true;
        }
        let there = body.chains.get(&h.packet).is_some_and(|c| c.layers.iter().any(|(_, handle)| *handle == h.handle));
        if !there {
            self.error(
                Code::HeaderGone,
                span,
                "this header is not known to be there any more: it was popped on some way to here",
            );
        }
        there
    }

    /// `p.length`, `p.ip`
    pub(super) fn packet_member(&mut self, body: &mut Body, p: &Rc<PacketBinding>, name: &ast::Ident) -> Thing {
        if let Some(binding) = p.layers.get(&name.name) {
            return match binding {
                Binding::Header(h) => Thing::Header(h.clone()),
                Binding::View(v) => Thing::View(v.clone()),
                _ => Thing::Val(Val::error()),
            };
        }
        if &*name.name == "length" {
            let e = Expr::PacketLength(p.id);
            return Thing::Val(if body.mathematical() {
                Val { ty: Ty::Int, cols: vec![ops::convert(e, Scalar::Bits(16), Scalar::Int)] }
            } else {
                Val { ty: Ty::Bits(16), cols: vec![e] }
            });
        }
        let mut known: Vec<String> = p.layers.keys().map(|n| n.to_string()).collect();
        known.push("length".to_string());
        known.sort();
        Thing::Val(self.unknown_field("packet", name, known))
    }

    /// `h.field = e;` and the checksums that follow.
    pub(super) fn write_field(&mut self, body: &mut Body, h: &HeaderBinding, name: &ast::Ident, value: &ast::Expr, span: Span) {
        if body.place != Place::Code || body.reading.is_some() || body.outputs.is_none() {
            return self.error(Code::Immutable, span, "packets are rewritten in handlers only");
        }
        let Some(info) = self.header_info(h.item) else { return };
        let Some((field, f)) = info.field(&name.name) else {
            self.header_field(body, h, name);
            return;
        };
        let ty = f.ty.clone();
        let val = self.expr_of(body, value, &ty);
        if !self.established(body, h, name.span) {
            return;
        }
        let Some(at) = body.chains.get(&h.packet).and_then(|c| c.layers.iter().position(|(_, handle)| *handle == h.handle))
        else {
            return;
        };
        self.checksum_lost(body, h, &info, field, at, span);
        let scalar = Scalar::Bits(f.width);
        let new = body.atom(val.scalar(), scalar, span);
        let old = body.local(&format!("old_{}", name.name), scalar);
        let targets = self.covering(body, h.packet, at, field);
        if targets.is_empty() {
            body.push(StmtKind::SetField { handle: h.handle, field, value: new }, span);
        } else {
            body.push(StmtKind::Assign { dst: old, value: Expr::Field(h.handle, field) }, span);
            body.push(StmtKind::SetField { handle: h.handle, field, value: new.clone() }, span);
            let first = (at, field, Change { old: Expr::Local(old), new, width: f.width, shift: shift(f.offset, f.width) });
            self.update_checksums(body, h.packet, targets, first, span);
        }
        self.unsettle(body, h.packet, at, &info, field);
    }

    /// Reports a rewrite of what the checksum of a header that may follow, but is not established, covers.
    fn checksum_lost(&mut self, body: &Body, h: &HeaderBinding, info: &HeaderInfo, field: FieldId, at: usize, span: Span) {
        let Some(chain) = body.chains.get(&h.packet) else { return };
        let Some(&(last, _)) = chain.layers.last() else { return };
        for header in self.all_headers() {
            let Some(other) = self.header_info(header) else { continue };
            let covers = other
                .checksums
                .iter()
                .any(|c| c.pseudo.iter().any(|(outer, fields, _)| *outer == h.item && fields.contains(&field)));
            let follows = other.parents.iter().any(|(parent, _)| *parent == last);
            if covers && follows && chain.layers.len() > at {
                let name = &info.fields[field.index()].name;
                let message = format!("the checksum of {} covers `{name}`, and a {} may follow here", other.name, other.name);
                self.report(
                    Diagnostic::new(Code::ChecksumLost, span, message)
                        .note("match on the transport headers too, so that their checksums can follow the rewrite"),
                );
                return;
            }
        }
    }

    /// The checksums that a change of a field concerns: layer and index into its checksums, innermost first.
    fn covering(&mut self, body: &Body, packet: PacketId, at: usize, field: FieldId) -> Vec<(usize, usize)> {
        let layers = body.chains.get(&packet).map(|c| c.layers.clone()).unwrap_or_default();
        let mut changed = vec![(at, field)];
        let mut targets = Vec::new();
        for layer in (0..layers.len()).rev() {
            let Some(info) = self.header_info(layers[layer].0) else { continue };
            for (i, checksum) in info.checksums.iter().enumerate() {
                let concerned = changed.iter().any(|&(l, f)| self.covers(&layers, layer, &info, i, l, f));
                if concerned && !targets.contains(&(layer, i)) {
                    targets.push((layer, i));
                    changed.push((layer, checksum.field));
                }
            }
        }
        targets
    }

    /// Whether a checksum of a layer covers a field of a layer.
    fn covers(
        &mut self,
        layers: &[(ItemRef, HandleId)],
        layer: usize,
        info: &HeaderInfo,
        index: usize,
        of: usize,
        field: FieldId,
    ) -> bool {
        let checksum = &info.checksums[index];
        if of == layer {
            return checksum.field != field;
        }
        if of > layer {
            return checksum.body;
        }
        // The pseudo-header is of the nearest enclosing header that has an entry.
        let nearest = (0..layer).rev().find(|&l| checksum.pseudo.iter().any(|(outer, ..)| *outer == layers[l].0));
        nearest == Some(of) && checksum.pseudo.iter().any(|(outer, fields, _)| *outer == layers[of].0 && fields.contains(&field))
    }

    fn update_checksums(
        &mut self,
        body: &mut Body,
        packet: PacketId,
        targets: Vec<(usize, usize)>,
        first: (usize, FieldId, Change),
        span: Span,
    ) {
        let layers = body.chains.get(&packet).map(|c| c.layers.clone()).unwrap_or_default();
        let mut changes = vec![first];
        for (n, &(layer, i)) in targets.iter().enumerate() {
            let (item, handle) = layers[layer];
            let Some(info) = self.header_info(item) else { continue };
            let checksum = &info.checksums[i];
            let field = checksum.field;
            let concerned: Vec<Change> = changes
                .iter()
                .filter(|(l, f, _)| self.covers(&layers, layer, &info, i, *l, *f))
                .map(|(_, _, c)| c.clone())
                .collect();
            // The change of this checksum may concern another, further out.
            let outer = targets[n + 1..].iter().any(|&(l, j)| match self.header_info(layers[l].0) {
                Some(other) => self.covers(&layers, l, &other, j, layer, field),
                None => false,
            });
            let old = outer.then(|| {
                let old = body.local(&format!("old_{}", info.fields[field.index()].name), Scalar::Bits(16));
                body.push(StmtKind::Assign { dst: old, value: Expr::Field(handle, field) }, span);
                old
            });
            body.push(StmtKind::UpdateChecksum { handle, field, optional: checksum.optional, changes: concerned }, span);
            if let Some(old) = old {
                changes.push((
                    layer,
                    field,
                    Change { old: Expr::Local(old), new: Expr::Field(handle, field), width: 16, shift: 0 },
                ));
            }
        }
    }

    /// Forgets what a rewrite of a field unsettles.
    fn unsettle(&mut self, body: &mut Body, packet: PacketId, at: usize, info: &HeaderInfo, field: FieldId) {
        let layers = body.chains.get(&packet).map(|c| c.layers.clone()).unwrap_or_default();
        let mut solid = layers.len();
        if info.fields[field.index()].structural {
            solid = at;
        }
        if let Some(&(next, _)) = layers.get(at + 1)
            && let Some(next) = self.header_info(next)
            && next.parents.iter().any(|(parent, when)| {
                *parent == info.item && when.as_ref().is_some_and(|w| mentions(w, &info.fields[field.index()].name))
            })
        {
            solid = solid.min(at + 1);
        }
        if let Some(chain) = body.chains.get_mut(&packet) {
            chain.solid = chain.solid.min(solid);
        }
    }

    /// The packet of the handler, with its chain; reports where there is none.
    fn current_packet(&mut self, body: &Body, what: &str, span: Span) -> bool {
        if body.outputs.is_some() && body.reading.is_none() && !body.packets.is_empty() {
            return true;
        }
        let why = match body.reading {
            Some(where_) => format!("`{what}` cannot stand in {where_}"),
            None => format!("there is no packet to {what} here"),
        };
        self.error(Code::NoPacket, span, why);
        false
    }

    pub(super) fn push_header(
        &mut self,
        body: &mut Body,
        header: &ast::Expr,
        before: &ast::Ident,
        name: Option<&ast::Ident>,
        other: &ast::Block,
        span: Span,
    ) {
        if !self.current_packet(body, "push", span) {
            return;
        }
        let ExprKind::Struct(path, fields) = &header.kind else {
            return self.error(
                Code::BadPush,
                header.span,
                "`push` takes a header with its fields: `push Ipv4 { ... } before ip`",
            );
        };
        let Some(info) = self.header(path) else { return };
        let Some(Binding::Header(target)) = body.find(&before.name) else {
            return self.error(Code::UnknownName, before.span, format!("`{}` names no header here", before.name));
        };
        if !self.established(body, &target, before.span) {
            return;
        }
        let values = self.pushed_fields(body, &info, fields, header.span);
        let id = self.header_id(info.item);
        let into = body.handle(name.map_or(&info.name, |n| &n.name), id, target.packet);
        let ok = body.local("", Scalar::Bool);
        let first_changes: Vec<Change> = info
            .fields
            .iter()
            .zip(&values)
            .map(|(f, v)| Change {
                old: Expr::Const(0, Scalar::Bits(f.width)),
                new: v.clone(),
                width: f.width,
                shift: shift(f.offset, f.width),
            })
            .collect();
        body.push(StmtKind::Push { header: id, before: target.handle, into, fields: values, ok }, span);
        let chains = body.chains.clone();
        let (block, ()) = body.nested(|body| {
            self.branch(body, other.span, false);
            self.leaving_block(body, other)
        });
        body.chains = chains;
        body.diverged = false;
        body.push(StmtKind::If { cond: Expr::Local(ok), then: Vec::new(), other: block }, span);
        for checksum in &info.checksums {
            let given = fields.iter().any(|(n, _)| *n.name == *info.fields[checksum.field.index()].name);
            if given {
                continue;
            }
            // From the checksum of nothing (all ones) by the changes from zero to the fields.
            let changes = first_changes
                .iter()
                .enumerate()
                .filter(|(i, c)| *i != checksum.field.index() && c.new != c.old)
                .map(|(_, c)| c.clone())
                .collect();
            body.push(
                StmtKind::SetField { handle: into, field: checksum.field, value: Expr::Const(0xffff, Scalar::Bits(16)) },
                span,
            );
            body.push(
                StmtKind::UpdateChecksum { handle: into, field: checksum.field, optional: checksum.optional, changes },
                span,
            );
        }
        if let Some(chain) = body.chains.get_mut(&target.packet)
            && let Some(at) = chain.layers.iter().position(|(_, h)| *h == target.handle)
        {
            chain.layers.insert(at, (info.item, into));
            chain.solid = chain.solid.min(at);
        }
        if let Some(name) = name {
            body.bind(&name.name, Binding::Header(HeaderBinding { item: info.item, handle: into, packet: target.packet }));
        }
    }

    fn pushed_fields(
        &mut self,
        body: &mut Body,
        info: &Rc<HeaderInfo>,
        fields: &[(ast::Ident, Option<ast::Expr>)],
        span: Span,
    ) -> Vec<Expr> {
        let mut missing = Vec::new();
        for (name, _) in fields {
            if info.field(&name.name).is_none() {
                self.unknown_field(&info.name, name, info.fields.iter().map(|f| f.name.clone()).collect());
            }
        }
        let mut values = Vec::new();
        for (i, field) in info.fields.iter().enumerate() {
            let scalar = Scalar::Bits(field.width);
            let mut given = fields.iter().filter(|(n, _)| *n.name == *field.name);
            let value = match (given.next(), &field.default) {
                (Some((name, value)), _) => {
                    if let Some((again, _)) = given.next() {
                        self.error(Code::FieldSet, again.span, format!("`{}` is given twice", again.name));
                    }
                    let shorthand =
                        ast::Expr { kind: ExprKind::Path(ast::Path { segments: vec![name.clone()] }), span: name.span };
                    let val = self.expr_of(body, value.as_ref().unwrap_or(&shorthand), &field.ty);
                    body.atom(val.scalar(), scalar, span)
                }
                (None, _) if info.checksums.iter().any(|c| c.field.index() == i && !c.body && c.pseudo.is_empty()) => {
                    Expr::Const(0, scalar)
                }
                (None, Some(default)) if !mentions(default, "packet_length") => {
                    let fixed = Val { ty: Ty::Int, cols: vec![Expr::Const(u128::from(info.fixed), Scalar::Int)] };
                    let mut inner = Body::new(Place::Spec);
                    inner.bind("header_length", Binding::Val(fixed));
                    let val = self.expr(&mut inner, default, Some(&field.ty));
                    match ops::constant(&val.scalar()) {
                        Some(v) => Expr::Const(v, scalar),
                        None => {
                            missing.push(format!("`{}`", field.name));
                            Expr::Const(0, scalar)
                        }
                    }
                }
                _ => {
                    missing.push(format!("`{}`", field.name));
                    Expr::Const(0, scalar)
                }
            };
            values.push(value);
        }
        if !missing.is_empty() {
            let d = Diagnostic::new(Code::FieldSet, span, format!("`{}` needs {} too", info.name, missing.join(", ")));
            self.report(d.note("a pushed header has no fields without a value; a checksum over the header alone is computed"));
        }
        values
    }

    pub(super) fn pop_headers(&mut self, body: &mut Body, names: &[ast::Ident], span: Span) {
        if !self.current_packet(body, "pop", span) {
            return;
        }
        for name in names {
            let Some(Binding::Header(h)) = body.find(&name.name) else {
                self.error(Code::UnknownName, name.span, format!("`{}` names no header here", name.name));
                continue;
            };
            if !self.established(body, &h, name.span) {
                continue;
            }
            body.push(StmtKind::Pop { handle: h.handle }, span);
            if let Some(chain) = body.chains.get_mut(&h.packet)
                && let Some(at) = chain.layers.iter().position(|(_, handle)| *handle == h.handle)
            {
                chain.layers.remove(at);
                chain.solid = chain.solid.min(at);
            }
        }
    }

    pub(super) fn drop_packet(&mut self, body: &mut Body, reason: Option<&ast::Str>, span: Span) -> Val {
        if !self.current_packet(body, "drop", span) {
            return Val::error();
        }
        let Some(reason) = reason else {
            let d = Diagnostic::new(Code::NotTotal, span, "a drop has a reason, under which it is counted");
            self.report(d.note("write `drop \"policy\"`"));
            return Val::never();
        };
        let reason = self.reason_id(&reason.text);
        body.push(StmtKind::Drop { reason }, span);
        body.diverged = true;
        Val::never()
    }

    pub(super) fn emit(&mut self, body: &mut Body, targets: &[ast::EmitTarget], span: Span) -> Val {
        if !self.current_packet(body, "emit", span) {
            return Val::error();
        }
        let Some(outputs) = body.outputs.clone() else { return Val::error() };
        for target in targets {
            let name = &target.port.name;
            let Some(output) = outputs.iter().find(|o| o.name == name.name) else {
                self.unknown_name(name, outputs.iter().map(|o| o.name.to_string()));
                continue;
            };
            self.used_members.insert(name.span);
            self.emit_one(body, output, target, span);
        }
        Val::unit()
    }

    fn emit_one(&mut self, body: &mut Body, output: &OutputInfo, target: &ast::EmitTarget, span: Span) {
        let at = target.port.span;
        if target.args.len() != output.args.len() {
            let message =
                format!("`{}` carries {} values beside the packet, not {}", output.name, output.args.len(), target.args.len());
            return self.error(Code::ArgumentCount, at, message);
        }
        let mut args = Vec::new();
        for (arg, ty) in target.args.iter().zip(&output.args) {
            args.extend(self.expr_of(body, arg, ty).cols);
        }
        let chain = body.chains.get(&PacketId(0)).cloned().unwrap_or_default();
        let certain: Vec<ItemRef> = chain.layers[..chain.solid.min(chain.layers.len())].iter().map(|(item, _)| *item).collect();
        let Some(variant) = output.contracts.iter().position(|c| certain.starts_with(c)) else {
            let wanted = output.contracts.iter().map(|c| self.header_names(c)).collect::<Vec<_>>().join(" or ");
            let known = self.header_names(&certain);
            let d = Diagnostic::new(Code::ContractBroken, at, format!("`{}` promises packets of {wanted}", output.name));
            return self.report(d.here(if certain.is_empty() {
                "nothing is certain of this one".to_string()
            } else {
                format!("only {known} is certain of this one")
            }));
        };
        let variants = output.contracts.len() as u32;
        let entry = |index: u32| output.first + index * variants + variant as u32;
        match (output.count, &target.port.index) {
            (None, None) => body.push(StmtKind::Emit { output: entry(0), args }, span),
            (None, Some(index)) => self.error(Code::BadWire, index.span, format!("`{}` is one port, no array", output.name)),
            (Some(_), None) => self.error(Code::BadWire, at, format!("`{}` is an array of ports: say which", output.name)),
            (Some(count), Some(index)) => {
                let val = self.expr(body, index, Some(&Ty::Bits(32)));
                let Ty::Bits(width) = val.ty else {
                    self.mismatch(&val.ty, "a number", index.span);
                    return;
                };
                let scalar = Scalar::Bits(width);
                if let Some(n) = ops::constant(&val.scalar()) {
                    if n >= u128::from(count) {
                        return self.error(Code::BadRange, index.span, format!("`{}` has {count} ports", output.name));
                    }
                    return body.push(StmtKind::Emit { output: entry(n as u32), args }, span);
                }
                let on = body.atom(val.scalar(), scalar, index.span);
                if u128::from(count) <= super::types::max_value(width) {
                    let limit = Expr::Const(u128::from(count), scalar);
                    self.check(body, ops::binary(Op::Lt, on.clone(), limit, scalar), Obligation::Bounds, index.span);
                }
                let emit = |n: u32| vec![crate::ir::Stmt { kind: StmtKind::Emit { output: entry(n), args: args.clone() }, span }];
                let cases = (0..count.saturating_sub(1)).map(|n| (u128::from(n), span, emit(n))).collect();
                body.push(StmtKind::Switch { on, cases, default: emit(count.saturating_sub(1)) }, span);
            }
        }
    }

    /// Header names for messages.
    pub(super) fn header_names(&mut self, items: &[ItemRef]) -> String {
        let names: Vec<String> = items.iter().filter_map(|i| self.header_info(*i)).map(|h| h.name.clone()).collect();
        format!("{{ {} }}", names.join(", "))
    }

    /// All header declarations that were loaded.
    pub(super) fn all_headers(&self) -> Vec<ItemRef> {
        let mut all = Vec::new();
        for (file, parsed) in self.parsed.iter().enumerate() {
            for (index, item) in parsed.file.items.iter().enumerate() {
                if let ast::ItemKind::Header { .. } = item.kind {
                    all.push(ItemRef { file: crate::span::FileId(file as u32), index: index as u32 });
                }
            }
        }
        all
    }

    /// Whether an enclosing header selects another: over the fields of the header at `handle`. None: it never does.
    pub(super) fn selected(&mut self, body: &mut Body, parent: ItemRef, handle: HandleId, child: &HeaderInfo) -> Option<Expr> {
        let key = (parent, child.item, body.mathematical());
        if let Some(known) = self.selectors.get(&key) {
            return Some(ops::at(known, handle));
        }
        let before = body.extent();
        let selector = self.selector(body, parent, handle, child)?;
        // What took no statements is the same wherever the header is.
        if body.extent() == before {
            self.selectors.insert(key, selector.clone());
        }
        Some(selector)
    }

    fn selector(&mut self, body: &mut Body, parent: ItemRef, handle: HandleId, child: &HeaderInfo) -> Option<Expr> {
        let mut any = None;
        for (p, when) in &child.parents {
            if *p != parent {
                continue;
            }
            let cond = match when {
                None => ops::TRUE,
                Some(when) => {
                    let info = self.header_info(parent)?;
                    // The enclosing header's fields are the only names.
                    let scopes = std::mem::take(&mut body.scopes);
                    let env = std::mem::take(&mut body.env);
                    let outer = body.selecting.replace((info, handle));
                    let cond = self.cond(body, when);
                    body.selecting = outer;
                    body.env = env;
                    body.scopes = scopes;
                    cond
                }
            };
            any = Some(match any {
                None => cond,
                Some(before) => ops::or(before, cond),
            });
        }
        any
    }
}

/// Zero bits that follow a field up to the next 16-bit boundary.
pub(crate) fn shift(offset: u32, width: u8) -> u8 {
    ((16 - (offset + u32::from(width)) % 16) % 16) as u8
}

/// Whether an expression names something.
pub(crate) fn mentions(e: &ast::Expr, name: &str) -> bool {
    match &e.kind {
        ExprKind::Path(p) => p.single().is_some_and(|n| &*n.name == name),
        ExprKind::Paren(a) | ExprKind::Unary(_, a) | ExprKind::Cast { value: a, .. } | ExprKind::Field(a, _) => mentions(a, name),
        ExprKind::Binary(_, a, b) | ExprKind::Range { low: a, high: b, .. } | ExprKind::Index(a, b) => {
            mentions(a, name) || mentions(b, name)
        }
        ExprKind::Method(a, _, args) => mentions(a, name) || args.iter().any(|x| mentions(x, name)),
        ExprKind::Call(_, args) => args.iter().any(|x| mentions(&x.value, name)),
        _ => false,
    }
}
