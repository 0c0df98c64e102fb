//! Specifications of a middlebox: its own properties, and those that it claims.

use super::Elab;
use super::body::{Binding, Env, Val};
use super::modules::ItemRef;
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::PortId;
use crate::syntax::Parsed;
use crate::syntax::ast::{self, BlockKind, ItemKind, MemberKind, ParamRole};
use rustc_hash::FxHashMap;
use std::rc::Rc;

impl Elab {
    pub(super) fn box_properties(&mut self, parsed: &Rc<Parsed>, item: ItemRef, decl: &ast::BlockDecl, env: &Rc<Env>) {
        for member in &decl.members {
            if let MemberKind::Property(p) = &member.kind {
                self.property(env, "", None, p);
            }
        }
        for item_ in &parsed.file.items {
            let ItemKind::Property(p) = &item_.kind else { continue };
            let Some(target) = &p.target else { continue };
            let found =
                self.resolve_kind(target, "a middlebox", |k| matches!(k, ItemKind::Block(b) if b.kind == BlockKind::Middlebox));
            if found == Some(item) {
                self.property(env, "", None, p);
            }
        }
        for claim in &decl.claims {
            self.claim(env, claim);
        }
    }

    /// Reports properties that belong to no box.
    pub(super) fn stray_properties(&mut self, parsed: &Parsed) {
        for item in &parsed.file.items {
            if let ItemKind::Property(p) = &item.kind
                && p.target.is_none()
            {
                let d = Diagnostic::new(Code::BadProperty, p.name.span, "whose property is this?");
                self.report(d.note("write `for BOX` behind its name, or move it into the middlebox"));
            }
        }
    }

    fn claim(&mut self, env: &Rc<Env>, claim: &ast::Claim) {
        let found = self.resolve_kind(&claim.spec, "a spec", |k| match k {
            ItemKind::Block(b) => b.kind == BlockKind::Spec,
            ItemKind::Error => true,
            _ => false,
        });
        let Some(item) = found else { return };
        let (parsed, index) = self.item(item);
        let Some(spec) = Elab::block_decl(&parsed, index) else { return };
        let before = self.errors();
        let (mut ports, mut rest, mut at) = (FxHashMap::default(), Vec::new(), 0);
        for arg in &claim.args {
            let param = match &arg.name {
                Some(name) => spec.params.iter().find(|p| p.name.name == name.name),
                None => {
                    at += 1;
                    spec.params.get(at - 1)
                }
            };
            let Some(param) = param else {
                self.error(Code::BadClaim, arg.value.span, format!("`{}` has no parameter for this", spec.name.name));
                continue;
            };
            if param.role == ParamRole::Port {
                let port = match &arg.value.kind {
                    ast::ExprKind::Path(p) => p.single().and_then(|n| env.ports.get(&n.name)),
                    _ => None,
                };
                match port {
                    Some(port) => {
                        ports.insert(param.name.name.clone(), *port);
                    }
                    None => self.error(Code::BadClaim, arg.value.span, "expected a port of this box"),
                }
            } else {
                rest.push(ast::Arg { name: Some(param.name.clone()), value: arg.value.clone() });
            }
        }
        for param in spec.params.iter().filter(|p| p.role == ParamRole::Port) {
            if !ports.contains_key(&param.name.name) {
                self.error(Code::BadClaim, claim.span, format!("`{}` needs a port for `{}`", spec.name.name, param.name.name));
            }
        }
        self.instantiated.insert(item);
        if self.errors() > before {
            return;
        }
        let values = self.arguments(env, &spec.params, &rest, claim.span);
        self.spec(spec, values, ports);
    }

    /// Elaborates a spec's properties for a box.
    pub(super) fn spec(
        &mut self,
        spec: &ast::BlockDecl,
        values: FxHashMap<Box<str>, Val>,
        ports: FxHashMap<Box<str>, (PortId, Option<u32>)>,
    ) {
        let mut env = Env { ports, ..Env::default() };
        for param in spec.params.iter().filter(|p| p.role != ParamRole::Port) {
            let val = values.get(&param.name.name).cloned().unwrap_or_else(Val::error);
            self.member(&mut env, &param.name, Binding::Val(val));
        }
        self.member_names(spec, &mut env);
        let env = Rc::new(env);
        for member in &spec.members {
            match &member.kind {
                MemberKind::Property(p) => self.property(&env, &spec.name.name, Some(&spec.name.name), p),
                MemberKind::Fn(_) | MemberKind::Shape(_) | MemberKind::Error => {}
                MemberKind::State(s) => self.error(Code::StateInSpec, s.name.span, "a spec speaks of packets and time only"),
                _ => self.error(Code::Misplaced, member.span, "a spec has shapes, functions and properties"),
            }
        }
    }
}
