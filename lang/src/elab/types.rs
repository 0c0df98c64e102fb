//! Types and their layout as scalar columns.

use super::Elab;
use super::modules::ItemRef;
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::{Column, Scalar, Shape, Show};
use crate::span::Span;
use crate::syntax::ast::{self, ItemKind, TypeKind};
use std::rc::Rc;

/// A type of values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ty {
    Bool,
    /// An unsigned number of so many bits.
    Bits(u8),
    Newtype(ItemRef),
    Struct(ItemRef),
    Enum(ItemRef),
    Option(Rc<Ty>),
    /// A prefix of addresses of this newtype.
    Prefix(ItemRef),
    Time,
    Duration,
    /// What `take` on a bucket answers.
    Take,
    /// A mathematical integer, in specifications.
    Int,
    /// No value.
    Unit,
    /// Control does not come back.
    Never,
    /// A packet, in tests and specifications.
    Packet,
    /// Already reported.
    Error,
}

/// A struct's or an enum's declaration, checked.
#[derive(Debug)]
pub(crate) struct TypeInfo {
    /// Its name.
    pub(crate) name: String,
    /// A struct has one variant, without a name.
    pub(crate) variants: Vec<VariantInfo>,
}

/// A variant of an enum, or the fields of a struct.
#[derive(Debug)]
pub(crate) struct VariantInfo {
    pub(crate) name: String,
    pub(crate) fields: Vec<(String, Ty)>,
}

/// The variants of the answer of `take`, in order of their values.
pub(crate) const TAKE: &[&str] = &["conforms", "exceeds", "full"];

impl Elab {
    /// A type by its tree. Reports what is wrong.
    pub(super) fn ty(&mut self, ty: &ast::Type) -> Ty {
        let TypeKind::Named(path, args) = &ty.kind else {
            self.error(Code::BadWidth, ty.span, "`bytes` is the variable part of a header, no type of values");
            return Ty::Error;
        };
        let Some(name) = path.single() else {
            self.error(Code::UnknownName, ty.span, "types are imported by `use` and then named alone");
            return Ty::Error;
        };
        let arity = |elab: &mut Elab, n: usize| {
            if args.len() != n {
                elab.error(
                    Code::ArgumentCount,
                    ty.span,
                    format!("`{}` takes {n} type argument{}, not {}", name.name, if n == 1 { "" } else { "s" }, args.len()),
                );
            }
            args.len() == n
        };
        match &*name.name {
            "bool" => return if arity(self, 0) { Ty::Bool } else { Ty::Error },
            "time" => return Ty::Time,
            "duration" => return Ty::Duration,
            "int" => return Ty::Int,
            "packet" => return Ty::Packet,
            "Option" => {
                return match args.as_slice() {
                    [inner] => Ty::Option(Rc::new(self.ty(inner))),
                    _ => {
                        arity(self, 1);
                        Ty::Error
                    }
                };
            }
            "prefix" => {
                let [inner] = args.as_slice() else {
                    arity(self, 1);
                    return Ty::Error;
                };
                return match self.ty(inner) {
                    Ty::Newtype(item) => Ty::Prefix(item),
                    Ty::Error => Ty::Error,
                    _ => {
                        self.error(Code::BadWidth, inner.span, "a prefix is of addresses: a newtype shown as ipv4 or ipv6");
                        Ty::Error
                    }
                };
            }
            "map" | "set" | "array" | "lpm" | "bucket" | "counter" | "cell" => {
                self.error(Code::BadWidth, ty.span, format!("`{}` is a kind of state, no type of values", name.name));
                return Ty::Error;
            }
            text => {
                if let Some(width) = text.strip_prefix('u').filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit())) {
                    return match width.parse::<u8>() {
                        Ok(width @ 1..=128) if arity(self, 0) => Ty::Bits(width),
                        Ok(1..=128) => Ty::Error,
                        _ => {
                            self.error(Code::BadWidth, ty.span, format!("`{text}`: widths go from u1 to u128"));
                            Ty::Error
                        }
                    };
                }
            }
        }
        if !arity(self, 0) {
            return Ty::Error;
        }
        let Some(item) = self.resolve_kind(path, "a type", |k| {
            matches!(k, ItemKind::Newtype { .. } | ItemKind::Struct { .. } | ItemKind::Enum { .. } | ItemKind::Error)
        }) else {
            return Ty::Error;
        };
        self.item_type(item)
    }

    /// The type that an item declares.
    pub(super) fn item_type(&mut self, item: ItemRef) -> Ty {
        let (parsed, index) = self.item(item);
        match &parsed.file.items[index].kind {
            ItemKind::Newtype { .. } => Ty::Newtype(item),
            ItemKind::Struct { .. } => Ty::Struct(item),
            ItemKind::Enum { .. } => Ty::Enum(item),
            _ => Ty::Error,
        }
    }

    /// The number type of a newtype, and how it is shown.
    pub(super) fn newtype(&mut self, item: ItemRef) -> (u8, Show) {
        let (parsed, index) = self.item(item);
        let ItemKind::Newtype { repr, shown, .. } = &parsed.file.items[index].kind else { return (1, Show::Number) };
        let width = match &repr.kind {
            TypeKind::Named(path, args) if args.is_empty() => {
                path.single().and_then(|n| n.name.strip_prefix('u')).and_then(|d| d.parse::<u8>().ok())
            }
            _ => None,
        };
        let Some(width) = width.filter(|w| (1..=128).contains(w)) else {
            self.error(Code::BadWidth, repr.span, "a newtype is represented by a number: u1 to u128");
            return (1, Show::Number);
        };
        let (show, needs) = match shown.as_ref().map(|s| &*s.name) {
            None | Some("number") => (Show::Number, width),
            Some("hex") => (Show::Hex, width),
            Some("ipv4") => (Show::Ipv4, 32),
            Some("ipv6") => (Show::Ipv6, 128),
            Some("mac") => (Show::Mac, 48),
            Some(_) => {
                if let Some(s) = shown {
                    self.report(
                        Diagnostic::new(Code::UnknownName, s.span, "unknown way to show a number")
                            .note("there are number, hex, ipv4, ipv6 and mac"),
                    );
                }
                (Show::Number, width)
            }
        };
        if needs != width
            && let Some(s) = shown
        {
            self.error(Code::BadWidth, s.span, format!("`{}` shows {needs} bits, and this has {width}", s.name));
            return (width, Show::Number);
        }
        (width, show)
    }

    /// A struct's or an enum's declaration. A type that contains itself is reported and taken as empty.
    pub(super) fn type_info(&mut self, item: ItemRef) -> Rc<TypeInfo> {
        if let Some(info) = self.type_infos.get(&item) {
            return info.clone();
        }
        let (parsed, index) = self.item(item);
        let (name, variants): (&ast::Ident, Vec<(Option<&ast::Ident>, &[ast::Field])>) = match &parsed.file.items[index].kind {
            ItemKind::Struct { name, fields } => (name, vec![(None, fields)]),
            ItemKind::Enum { name, variants } => (name, variants.iter().map(|v| (Some(&v.name), v.fields.as_slice())).collect()),
            _ => return Rc::new(TypeInfo { name: String::new(), variants: Vec::new() }),
        };
        if self.open_types.contains(&item) {
            self.error(Code::Cycle, name.span, format!("`{}` contains itself", name.name));
            return Rc::new(TypeInfo { name: name.name.to_string(), variants: Vec::new() });
        }
        self.open_types.push(item);
        let mut info = TypeInfo { name: name.name.to_string(), variants: Vec::new() };
        if variants.is_empty() || variants.len() > 256 {
            self.error(Code::BadWidth, name.span, "an enum has 1 to 256 variants");
        }
        for (variant, fields) in variants {
            if let Some(v) = variant
                && info.variants.iter().any(|other| *other.name == *v.name)
            {
                self.error(Code::DuplicateName, v.span, format!("`{}` is declared twice", v.name));
            }
            let mut checked: Vec<(String, Ty)> = Vec::new();
            for field in fields {
                if checked.iter().any(|(n, _)| **n == *field.name.name) {
                    self.error(Code::DuplicateName, field.name.span, format!("`{}` is declared twice", field.name.name));
                    continue;
                }
                let ty = self.ty(&field.ty);
                if matches!(ty, Ty::Packet | Ty::Int) {
                    self.error(
                        Code::BadWidth,
                        field.ty.span,
                        "this has no layout: fields are numbers, addresses, structs, enums and options",
                    );
                    continue;
                }
                // Lays it out, so that a type that contains itself is found here.
                self.width(&ty);
                checked.push((field.name.name.to_string(), ty));
            }
            info.variants.push(VariantInfo { name: variant.map(|v| v.name.to_string()).unwrap_or_default(), fields: checked });
        }
        self.open_types.pop();
        let info = Rc::new(info);
        self.type_infos.insert(item, info.clone());
        info
    }

    /// The number of a type's columns.
    pub(super) fn width(&mut self, ty: &Ty) -> usize {
        match ty {
            Ty::Unit | Ty::Never | Ty::Packet => 0,
            Ty::Bool | Ty::Bits(_) | Ty::Newtype(_) | Ty::Time | Ty::Duration | Ty::Int | Ty::Take | Ty::Error => 1,
            Ty::Prefix(_) => 2,
            Ty::Option(inner) => 1 + self.width(inner),
            Ty::Struct(item) => {
                let info = self.type_info(*item);
                info.variants.iter().flat_map(|v| &v.fields).map(|(_, t)| self.width(t)).sum()
            }
            Ty::Enum(item) => {
                let info = self.type_info(*item);
                1 + info.variants.iter().flat_map(|v| &v.fields).map(|(_, t)| self.width(t)).sum::<usize>()
            }
        }
    }

    /// The scalars of a type: its columns without their names.
    pub(super) fn scalars(&mut self, ty: &Ty) -> Vec<Scalar> {
        let mut scalars = Vec::with_capacity(1);
        self.push_scalars(ty, &mut scalars);
        scalars
    }

    fn push_scalars(&mut self, ty: &Ty, scalars: &mut Vec<Scalar>) {
        match ty {
            Ty::Unit | Ty::Never | Ty::Packet => {}
            Ty::Prefix(item) => scalars.extend([Scalar::Bits(self.newtype(*item).0), Scalar::Bits(8)]),
            Ty::Option(inner) => {
                scalars.push(Scalar::Bool);
                self.push_scalars(inner, scalars);
            }
            Ty::Struct(item) | Ty::Enum(item) => {
                let info = self.type_info(*item);
                if matches!(ty, Ty::Enum(_)) {
                    scalars.push(Scalar::Bits(8));
                }
                info.variants.iter().flat_map(|v| &v.fields).for_each(|(_, t)| self.push_scalars(t, scalars));
            }
            one => scalars.push(self.scalar(one)),
        }
    }

    /// The scalar of a type that has one column; of another the first, or an integer.
    pub(super) fn scalar(&mut self, ty: &Ty) -> Scalar {
        match ty {
            Ty::Bool | Ty::Option(_) => Scalar::Bool,
            Ty::Bits(w) => Scalar::Bits(*w),
            Ty::Newtype(item) | Ty::Prefix(item) => Scalar::Bits(self.newtype(*item).0),
            Ty::Time | Ty::Duration => Scalar::Bits(64),
            Ty::Take | Ty::Enum(_) => Scalar::Bits(8),
            Ty::Struct(_) => self.scalars(ty).first().copied().unwrap_or(Scalar::Int),
            Ty::Int | Ty::Error | Ty::Unit | Ty::Never | Ty::Packet => Scalar::Int,
        }
    }

    /// The columns of a type.
    pub(super) fn columns(&mut self, ty: &Ty) -> Vec<Column> {
        let shape = self.shape(ty);
        let mut columns = Vec::new();
        push_columns(&shape, String::new(), &mut columns);
        debug_assert!(columns.iter().map(|c| c.ty).eq(self.scalars(ty)));
        columns
    }

    /// What a type's columns stand for.
    pub(super) fn shape(&mut self, ty: &Ty) -> Shape {
        match ty {
            Ty::Unit | Ty::Never | Ty::Packet => Shape::Unit,
            Ty::Bool => Shape::Scalar(Scalar::Bool, Show::Bool),
            Ty::Bits(w) => Shape::Scalar(Scalar::Bits(*w), Show::Number),
            Ty::Newtype(item) => {
                let (width, show) = self.newtype(*item);
                Shape::Scalar(Scalar::Bits(width), show)
            }
            Ty::Time => Shape::Scalar(Scalar::Bits(64), Show::Time),
            Ty::Duration => Shape::Scalar(Scalar::Bits(64), Show::Duration),
            Ty::Take => Shape::Scalar(Scalar::Bits(8), Show::Variant(TAKE.iter().map(|t| t.to_string()).collect())),
            Ty::Int | Ty::Error => Shape::Scalar(Scalar::Int, Show::Number),
            Ty::Prefix(item) => {
                let (width, show) = self.newtype(*item);
                Shape::Prefix(Scalar::Bits(width), show)
            }
            Ty::Option(inner) => Shape::Option(Box::new(self.shape(inner))),
            Ty::Struct(item) => {
                let info = self.type_info(*item);
                let fields = info.variants.iter().flat_map(|v| &v.fields).map(|(n, t)| (n.clone(), self.shape(t))).collect();
                Shape::Struct(info.name.clone(), fields)
            }
            Ty::Enum(item) => {
                let info = self.type_info(*item);
                let variants = info
                    .variants
                    .iter()
                    .map(|v| (v.name.clone(), v.fields.iter().map(|(n, t)| (n.clone(), self.shape(t))).collect()))
                    .collect();
                Shape::Enum(info.name.clone(), variants)
            }
        }
    }

    /// A type as it is written.
    pub(super) fn show(&mut self, ty: &Ty) -> String {
        match ty {
            Ty::Bool => "bool".to_string(),
            Ty::Bits(w) => format!("u{w}"),
            Ty::Newtype(item) | Ty::Struct(item) | Ty::Enum(item) => {
                let (parsed, index) = self.item(*item);
                super::modules::declared(&parsed.file.items[index].kind).map(|n| n.name.to_string()).unwrap_or_default()
            }
            Ty::Option(inner) => format!("Option<{}>", self.show(inner)),
            Ty::Prefix(item) => format!("prefix<{}>", self.show(&Ty::Newtype(*item))),
            Ty::Time => "time".to_string(),
            Ty::Duration => "duration".to_string(),
            Ty::Take => "the answer of `take`".to_string(),
            Ty::Int => "int".to_string(),
            Ty::Unit => "nothing".to_string(),
            Ty::Never => "no return".to_string(),
            Ty::Packet => "packet".to_string(),
            Ty::Error => "?".to_string(),
        }
    }

    /// The standard library's address types, which literals have.
    pub(super) fn address_type(&mut self, span: Span, name: &str) -> Ty {
        if let Some(item) = self.lookup(span.file, name) {
            return self.item_type(item);
        }
        // Literals have their type whether it is imported or not.
        let standard = self.by_path.get("std/net.grv").copied();
        match standard.and_then(|file| self.modules[file.0 as usize].names.get(name).copied()) {
            Some(item) => self.item_type(item),
            None => {
                self.report(
                    Diagnostic::new(Code::Untyped, span, format!("this literal is of type `{name}`, which is not declared here"))
                        .note(format!("import it: `use std::net::{name};`")),
                );
                Ty::Error
            }
        }
    }
}

/// The bits of a scalar; mathematical integers have none.
pub(crate) fn bits(scalar: Scalar) -> Option<u8> {
    match scalar {
        Scalar::Bool => Some(1),
        Scalar::Bits(w) => Some(w),
        Scalar::Int => None,
    }
}

/// The greatest value of so many bits.
pub(crate) fn max_value(width: u8) -> u128 {
    if width >= 128 { u128::MAX } else { (1 << width) - 1 }
}

fn push_columns(shape: &Shape, name: String, columns: &mut Vec<Column>) {
    let sub = |field: &str| if name.is_empty() { field.to_string() } else { format!("{name}.{field}") };
    match shape {
        Shape::Scalar(ty, show) => columns.push(Column { name, ty: *ty, show: show.clone() }),
        Shape::Unit => {}
        Shape::Struct(_, fields) => fields.iter().for_each(|(f, s)| push_columns(s, sub(f), columns)),
        Shape::Enum(_, variants) => {
            let names = variants.iter().map(|(n, _)| n.clone()).collect();
            columns.push(Column { name: sub("tag"), ty: Scalar::Bits(8), show: Show::Variant(names) });
            for (variant, fields) in variants {
                fields.iter().for_each(|(f, s)| push_columns(s, format!("{}.{f}", sub(variant)), columns));
            }
        }
        Shape::Option(inner) => {
            columns.push(Column { name: sub("some"), ty: Scalar::Bool, show: Show::Bool });
            push_columns(inner, sub("value"), columns);
        }
        Shape::Prefix(ty, show) => {
            columns.push(Column { name: sub("address"), ty: *ty, show: show.clone() });
            columns.push(Column { name: sub("length"), ty: Scalar::Bits(8), show: Show::Number });
        }
    }
}
