//! Header declarations: layouts, and how one header selects the next.

use super::Elab;
use super::body::{Body, Place};
use super::modules::ItemRef;
use super::types::Ty;
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::{self, Expr, FieldId, Scalar};
use crate::span::Span;
use crate::syntax::ast::{self, Cover, HeaderMemberKind, ItemKind, TypeKind};
use std::rc::Rc;

/// A header's declaration, checked.
pub(crate) struct HeaderInfo {
    pub(crate) item: ItemRef,
    pub(crate) name: String,
    pub(crate) span: Span,
    pub(crate) fields: Vec<FieldInfo>,
    /// Bytes of the fixed part.
    pub(crate) fixed: u32,
    pub(crate) variable: Option<(String, Expr)>,
    pub(crate) valid: Expr,
    pub(crate) body: Option<Expr>,
    pub(crate) checksums: Vec<ChecksumInfo>,
    /// Enclosing headers and the conditions (trees over their fields) under which they select this one.
    pub(crate) parents: Vec<(ItemRef, Option<ast::Expr>)>,
    /// Whether a packet may begin with it: `in packet;`, or no `in` at all.
    pub(crate) first: bool,
}

/// A fixed field.
pub(crate) struct FieldInfo {
    pub(crate) name: String,
    pub(crate) ty: Ty,
    pub(crate) width: u8,
    pub(crate) offset: u32,
    pub(crate) show: ir::Show,
    pub(crate) default: Option<ast::Expr>,
    /// Whether the header's own length, validity or body depends on it.
    pub(crate) structural: bool,
}

/// A checksum.
pub(crate) struct ChecksumInfo {
    pub(crate) field: FieldId,
    pub(crate) pseudo: Vec<(ItemRef, Vec<FieldId>, u8)>,
    pub(crate) body: bool,
    pub(crate) optional: bool,
}

impl HeaderInfo {
    /// A field by its name.
    pub(crate) fn field(&self, name: &str) -> Option<(FieldId, &FieldInfo)> {
        self.fields.iter().position(|f| f.name == name).map(|i| (FieldId(i as u32), &self.fields[i]))
    }
}

impl Elab {
    /// A header by its name.
    pub(super) fn header(&mut self, path: &ast::Path) -> Option<Rc<HeaderInfo>> {
        let item = self.resolve_kind(path, "a header", |k| matches!(k, ItemKind::Header { .. } | ItemKind::Error))?;
        self.header_info(item)
    }

    /// A header's declaration.
    pub(super) fn header_info(&mut self, item: ItemRef) -> Option<Rc<HeaderInfo>> {
        if let Some(info) = self.headers.get(&item) {
            return info.clone();
        }
        self.headers.insert(item, None);
        let (parsed, index) = self.item(item);
        let ItemKind::Header { name, members } = &parsed.file.items[index].kind else { return None };
        let mut info = HeaderInfo {
            item,
            name: name.name.to_string(),
            span: name.span,
            fields: Vec::new(),
            fixed: 0,
            variable: None,
            valid: Expr::Const(1, Scalar::Bool),
            body: None,
            checksums: Vec::new(),
            parents: Vec::new(),
            first: false,
        };
        let variable = self.header_fields(&mut info, members);
        self.header_clauses(&mut info, members, variable);
        for member in members {
            let HeaderMemberKind::In { parent, when } = &member.kind else { continue };
            if parent.single().is_some_and(|n| &*n.name == "packet") {
                info.first = true;
                if let Some(when) = when {
                    self.error(Code::BadHeader, when.span, "nothing stands before a packet's first header that could tell");
                }
            } else if let Some(parent) =
                self.resolve_kind(parent, "a header", |k| matches!(k, ItemKind::Header { .. } | ItemKind::Error))
            {
                // Resolved by name only: a header may stand in itself (IP in IP).
                info.parents.push((parent, when.clone()));
            }
        }
        info.first |= info.parents.is_empty();
        let info = Rc::new(info);
        self.headers.insert(item, Some(info.clone()));
        Some(info)
    }

    /// The fixed fields. Returns the variable part's name and length.
    fn header_fields<'m>(
        &mut self,
        info: &mut HeaderInfo,
        members: &'m [ast::HeaderMember],
    ) -> Option<(&'m ast::Ident, &'m ast::Expr)> {
        let mut offset = 0u32;
        let mut variable = None;
        for member in members {
            let HeaderMemberKind::Field { name, ty, default } = &member.kind else { continue };
            if info.fields.iter().any(|f| *f.name == *name.name) {
                self.error(Code::DuplicateName, name.span, format!("`{}` is declared twice", name.name));
                continue;
            }
            if variable.is_some() {
                self.error(Code::BadHeader, name.span, "the variable part is the last field of a header");
                continue;
            }
            if let TypeKind::Bytes(length) = &ty.kind {
                variable = Some((name, &**length));
                continue;
            }
            let field = self.ty(ty);
            let (width, show) = match &field {
                Ty::Bits(w) => (*w, ir::Show::Number),
                Ty::Newtype(item) => self.newtype(*item),
                Ty::Error => continue,
                _ => {
                    self.error(Code::BadHeader, ty.span, "a field of a header is a number or a newtype of one");
                    continue;
                }
            };
            info.fields.push(FieldInfo {
                name: name.name.to_string(),
                ty: field,
                width,
                offset,
                show,
                default: default.clone(),
                structural: false,
            });
            offset += u32::from(width);
        }
        if !offset.is_multiple_of(8) || offset == 0 {
            let d = Diagnostic::new(Code::BadHeader, info.span, format!("the fixed part of `{}` has {offset} bits", info.name));
            self.report(d.note("it must be a whole number of bytes, and at least one"));
        }
        info.fixed = offset / 8;
        variable
    }

    fn header_clauses(
        &mut self,
        info: &mut HeaderInfo,
        members: &[ast::HeaderMember],
        variable: Option<(&ast::Ident, &ast::Expr)>,
    ) {
        let mut structural = Vec::new();
        let mut int = |elab: &mut Elab, info: &HeaderInfo, e: &ast::Expr, want: Ty| {
            let mut body = Body::new(Place::Header(info.fields.iter().map(|f| (f.name.clone(), f.ty.clone())).collect()));
            let val = elab.expr(&mut body, e, Some(&want));
            let val = elab.coerce(&mut body, val, &want, e.span);
            if !body.block_is_empty() {
                elab.error(Code::NotPure, e.span, "a header's declaration computes with its own fields only");
            }
            let expr = val.cols.into_iter().next().unwrap_or(Expr::Const(0, Scalar::Int));
            own_fields(&expr, &mut structural);
            expr
        };
        if let Some((name, length)) = variable {
            info.variable = Some((name.name.to_string(), int(self, info, length, Ty::Int)));
        }
        for member in members {
            match &member.kind {
                HeaderMemberKind::Valid(conditions) => {
                    for c in conditions {
                        let cond = int(self, info, c, Ty::Bool);
                        info.valid = super::ops::and(std::mem::replace(&mut info.valid, Expr::Const(1, Scalar::Bool)), cond);
                    }
                }
                HeaderMemberKind::Body(e) => {
                    if info.body.is_some() {
                        self.error(Code::BadHeader, member.span, "a header has one `body`");
                    }
                    info.body = Some(int(self, info, e, Ty::Int));
                }
                _ => {}
            }
        }
        for field in structural {
            if let Some(f) = info.fields.get_mut(field.index()) {
                f.structural = true;
            }
        }
        for member in members {
            if let HeaderMemberKind::Checksum { field, covers, optional } = &member.kind {
                self.header_checksum(info, field, covers, *optional);
            }
        }
    }

    fn header_checksum(&mut self, info: &mut HeaderInfo, field: &ast::Ident, covers: &[Cover], optional: bool) {
        let Some((id, f)) = info.field(&field.name) else {
            return self.error(Code::UnknownField, field.span, format!("`{}` has no field `{}`", info.name, field.name));
        };
        if f.width != 16 || f.offset % 16 != 0 || !info.fixed.is_multiple_of(2) {
            return self.error(
                Code::BadHeader,
                field.span,
                "an Internet checksum is a 16-bit field at an even offset, in a header of an even number of bytes",
            );
        }
        let mut checksum = ChecksumInfo { field: id, pseudo: Vec::new(), body: false, optional };
        let mut own = false;
        for cover in covers {
            match cover {
                Cover::Part(part) => match &*part.name {
                    "header" => own = true,
                    "body" => checksum.body = true,
                    _ => self.error(Code::UnknownName, part.span, "a checksum is over `header`, `body` and `pseudo H(...)`"),
                },
                Cover::Pseudo(path, args) => {
                    let Some(outer) = self.header(path) else { continue };
                    let mut fields = Vec::new();
                    let mut protocol = None;
                    for arg in args {
                        match &arg.kind {
                            ast::ExprKind::Path(p) => match p.single().and_then(|n| outer.field(&n.name)) {
                                Some((f, _)) => fields.push(f),
                                None => self.error(Code::UnknownField, arg.span, format!("`{}` has no such field", outer.name)),
                            },
                            ast::ExprKind::Int(n) if *n < 256 => protocol = Some(*n as u8),
                            _ => self.error(
                                Code::BadHeader,
                                arg.span,
                                "a pseudo-header holds fields and the number of the protocol",
                            ),
                        }
                    }
                    match protocol {
                        Some(protocol) => checksum.pseudo.push((outer.item, fields, protocol)),
                        None => self.error(
                            Code::BadHeader,
                            path.span(),
                            "the number of the protocol is missing: `pseudo Ipv4(src, dst, 17)`",
                        ),
                    }
                }
            }
        }
        if !own {
            self.error(Code::BadHeader, field.span, "a checksum covers its own header: `over header, ...`");
        }
        info.checksums.push(checksum);
    }
}

/// The fields of the header itself that an expression reads.
fn own_fields(e: &Expr, out: &mut Vec<FieldId>) {
    match e {
        Expr::Own(f) => out.push(*f),
        Expr::Unary(_, a) | Expr::Convert(a, _) => own_fields(a, out),
        Expr::Binary(_, a, b) => {
            own_fields(a, out);
            own_fields(b, out);
        }
        Expr::Select(a, b, c) => {
            own_fields(a, out);
            own_fields(b, out);
            own_fields(c, out);
        }
        Expr::Hash(_, args) => args.iter().for_each(|a| own_fields(a, out)),
        Expr::Const(..)
        | Expr::Local(_)
        | Expr::Param(..)
        | Expr::Field(..)
        | Expr::HeaderLength(_)
        | Expr::PacketLength(_)
        | Expr::Now => {}
    }
}
