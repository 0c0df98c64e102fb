//! Which values a list of patterns leaves open, and which patterns never match (Maranget, "Warnings for pattern matching", 2007).

use super::Elab;
use super::body::Body;
use super::types::{TAKE, Ty};
use crate::syntax::ast::{self, PatternKind};

/// A pattern without names.
#[derive(Clone, Debug)]
pub(crate) enum Pat {
    /// Matches all.
    Any,
    /// A constructor by its number, with its fields.
    Con(usize, Vec<Pat>),
    /// Matches some numbers; their exact set does not count as covering anything.
    Some,
}

/// A pattern for values of a type.
pub(crate) fn lower(elab: &mut Elab, body: &Body, pattern: &ast::Pattern, ty: &Ty) -> Pat {
    match &pattern.kind {
        PatternKind::Wildcard => Pat::Any,
        PatternKind::Literal(e) => match (&e.kind, ty) {
            (ast::ExprKind::Bool(b), Ty::Bool) => Pat::Con(usize::from(*b), Vec::new()),
            _ => Pat::Some,
        },
        PatternKind::Headers(_) | PatternKind::Or(_) => Pat::Some,
        PatternKind::Path(path, args) => {
            let Some((constructor, fields)) = elab.constructor(body, path, ty) else {
                let binds = path.single().is_some() && args.is_empty() && !elab.is_constant(body, path);
                return if binds { Pat::Any } else { Pat::Some };
            };
            let args =
                fields.iter().enumerate().map(|(i, t)| args.get(i).map_or(Pat::Any, |a| lower(elab, body, a, t))).collect();
            Pat::Con(constructor, args)
        }
    }
}

/// The constructors of a type: names and types of fields. None: not a type of cases.
fn constructors(elab: &mut Elab, ty: &Ty) -> Option<Vec<(String, Vec<Ty>)>> {
    match ty {
        Ty::Bool => Some(vec![("false".to_string(), Vec::new()), ("true".to_string(), Vec::new())]),
        Ty::Option(inner) => Some(vec![("none".to_string(), Vec::new()), ("some".to_string(), vec![(**inner).clone()])]),
        Ty::Take => Some(TAKE.iter().map(|t| (t.to_string(), Vec::new())).collect()),
        Ty::Enum(item) => {
            let info = elab.type_info(*item);
            let name = info.name.clone();
            Some(
                info.variants
                    .iter()
                    .map(|v| (format!("{name}::{}", v.name), v.fields.iter().map(|(_, t)| t.clone()).collect()))
                    .collect(),
            )
        }
        _ => None,
    }
}

/// A value that no pattern matches, as it would be written.
pub(crate) fn missing(elab: &mut Elab, ty: &Ty, patterns: &[Pat]) -> Option<String> {
    let rows: Vec<Vec<Pat>> = patterns.iter().map(|p| vec![p.clone()]).collect();
    witness(elab, &rows, std::slice::from_ref(ty)).map(|w| w.join(", "))
}

/// Whether a pattern matches something that those before it do not.
pub(crate) fn useful(elab: &mut Elab, ty: &Ty, before: &[Pat], pattern: &Pat) -> bool {
    let rows: Vec<Vec<Pat>> = before.iter().map(|p| vec![p.clone()]).collect();
    is_useful(elab, &rows, std::slice::from_ref(pattern), std::slice::from_ref(ty))
}

fn specialise(rows: &[Vec<Pat>], constructor: usize, arity: usize) -> Vec<Vec<Pat>> {
    rows.iter()
        .filter_map(|row| match &row[0] {
            Pat::Any => Some([vec![Pat::Any; arity], row[1..].to_vec()].concat()),
            Pat::Con(c, args) if *c == constructor => Some([args.clone(), row[1..].to_vec()].concat()),
            Pat::Con(..) | Pat::Some => None,
        })
        .collect()
}

fn defaults(rows: &[Vec<Pat>]) -> Vec<Vec<Pat>> {
    rows.iter().filter(|row| matches!(row[0], Pat::Any)).map(|row| row[1..].to_vec()).collect()
}

fn witness(elab: &mut Elab, rows: &[Vec<Pat>], types: &[Ty]) -> Option<Vec<String>> {
    let Some((ty, rest)) = types.split_first() else { return rows.is_empty().then(Vec::new) };
    let Some(constructors) = constructors(elab, ty) else {
        let mut found = witness(elab, &defaults(rows), rest)?;
        found.insert(0, "_".to_string());
        return Some(found);
    };
    for (i, (name, fields)) in constructors.into_iter().enumerate() {
        let inner: Vec<Ty> = fields.iter().chain(rest).cloned().collect();
        if let Some(found) = witness(elab, &specialise(rows, i, fields.len()), &inner) {
            let (args, rest) = found.split_at(fields.len());
            let shown = if args.is_empty() { name } else { format!("{name}({})", args.join(", ")) };
            return Some(std::iter::once(shown).chain(rest.iter().cloned()).collect());
        }
    }
    None
}

fn is_useful(elab: &mut Elab, rows: &[Vec<Pat>], pattern: &[Pat], types: &[Ty]) -> bool {
    let (Some((first, rest)), Some((ty, types))) = (pattern.split_first(), types.split_first()) else { return rows.is_empty() };
    match first {
        Pat::Con(c, args) => {
            let fields = constructors(elab, ty).and_then(|all| all.into_iter().nth(*c)).map(|(_, f)| f).unwrap_or_default();
            let inner: Vec<Ty> = fields.iter().chain(types).cloned().collect();
            let pattern = [args.clone(), rest.to_vec()].concat();
            is_useful(elab, &specialise(rows, *c, fields.len()), &pattern, &inner)
        }
        Pat::Some => is_useful(elab, &defaults(rows), rest, types),
        Pat::Any => match constructors(elab, ty) {
            Some(all) => all.into_iter().enumerate().any(|(i, (_, fields))| {
                let inner: Vec<Ty> = fields.iter().chain(types).cloned().collect();
                let pattern = [vec![Pat::Any; fields.len()], rest.to_vec()].concat();
                is_useful(elab, &specialise(rows, i, fields.len()), &pattern, &inner)
            }),
            None => is_useful(elab, &defaults(rows), rest, types),
        },
    }
}
