//! Headers as packets are held against them: where fields are, and which bytes are well formed.

use super::code::{Code, Leaves, Own};
use super::lower::Lowering;
use super::packet::{Extent, Place};
use crate::ir::{Expr, Field, FieldId, Header, Program};

/// A header's layout.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Bytes of the fixed part.
    pub(crate) fixed: u32,
    fields: Vec<Entry>,
    variable: Option<Code>,
    valid: Code,
    body: Option<Code>,
}

/// A field of a layout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) extent: Extent,
    /// Whether the header's length, its body or whether it is valid depends on it.
    pub(crate) structural: bool,
}

impl Layout {
    /// A header's layout.
    pub fn new(program: &Program, header: &Header) -> Layout {
        let lowering = Lowering::of_header(program, header);
        let entry = |field: &Field| Entry { extent: Extent::of(field), structural: false };
        let mut fields: Vec<Entry> = header.fields.iter().map(entry).collect();
        let variable = header.variable.as_ref().map(|(_, bytes)| bytes);
        for expr in [Some(&header.valid), variable, header.body.as_ref()].into_iter().flatten() {
            mark(expr, &mut fields);
        }
        Layout {
            fixed: header.fixed,
            fields,
            variable: variable.map(|expr| lowering.code(expr)),
            valid: lowering.code(&header.valid),
            body: header.body.as_ref().map(|expr| lowering.code(expr)),
        }
    }

    /// A field.
    #[inline]
    pub(crate) fn field(&self, field: FieldId) -> Option<Entry> {
        self.fields.get(field.index()).copied()
    }

    /// Looks for a well-formed header at `start`, inside a body that ends at `limit`. Malformed (`None`): its fixed or variable
    /// part or its body does not fit, or `valid` does not hold. A length that is negative, or no number at all, does not fit.
    pub fn parse(&self, bytes: &[u8], start: u32, limit: u32) -> Option<Place> {
        let limit = limit.min(u32::try_from(bytes.len()).ok()?);
        let left = limit.checked_sub(start)?;
        if self.fixed > left {
            return None;
        }
        let own = Own(&bytes[start as usize..]);
        let mut length = self.fixed;
        if let Some(bytes) = &self.variable {
            let variable = u32::try_from(own.eval(bytes).ok()? as i128).ok()?;
            length = length.checked_add(variable).filter(|length| *length <= left)?;
        }
        if own.eval(&self.valid).ok()? == 0 {
            return None;
        }
        let end = match &self.body {
            None => limit,
            Some(body) => {
                let body = u32::try_from(own.eval(body).ok()? as i128).ok()?;
                (start + length).checked_add(body).filter(|end| *end <= limit)?
            }
        };
        Some(Place { start, length, end, limit })
    }

    /// The place of a header that is at `start` with `length` bytes, whether its fields say so or not: its body ends where they
    /// say, or at `limit` if that does not fit.
    pub fn place_of(&self, bytes: &[u8], start: u32, length: u32, limit: u32) -> Place {
        let end = self.body.as_ref().and_then(|body| {
            let bytes = bytes.get(start as usize..).filter(|bytes| bytes.len() >= self.fixed as usize)?;
            let body = u32::try_from(Own(bytes).eval(body).ok()? as i128).ok()?;
            (start + length).checked_add(body).filter(|end| *end <= limit)
        });
        Place { start, length, end: end.unwrap_or(limit), limit }
    }
}

/// Marks the fields that an expression of the declaration reads: they are structural.
fn mark(expr: &Expr, fields: &mut [Entry]) {
    match expr {
        Expr::Own(field) => {
            if let Some(field) = fields.get_mut(field.index()) {
                field.structural = true;
            }
        }
        Expr::Unary(_, a) | Expr::Convert(a, _) => mark(a, fields),
        Expr::Binary(_, a, b) => {
            mark(a, fields);
            mark(b, fields);
        }
        Expr::Select(a, b, c) => {
            mark(a, fields);
            mark(b, fields);
            mark(c, fields);
        }
        Expr::Hash(_, args) => args.iter().for_each(|arg| mark(arg, fields)),
        _ => {}
    }
}
