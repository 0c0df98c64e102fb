//! What a solver says that values could be.

use grv_lang::ir::{FieldId, HeaderId, Program};
use std::collections::BTreeMap;

/// Values of constants by name.
pub(super) struct Model<'p> {
    program: &'p Program,
    values: BTreeMap<String, String>,
}

impl<'p> Model<'p> {
    pub(super) fn new(program: &'p Program, values: BTreeMap<String, String>) -> Model<'p> {
        Model { program, values }
    }

    /// A number, if it has a value.
    pub(super) fn number(&self, name: &str) -> Option<u128> {
        parse(self.values.get(name)?)
    }

    /// A field of a packet.
    pub(super) fn field(&self, packet: &str, chain: &[HeaderId], field: FieldId) -> Option<u128> {
        let headers: Option<Vec<_>> = chain.iter().map(|id| self.program.headers.get(id.index())).collect();
        let headers = headers?;
        let names: Vec<&str> = headers.iter().map(|header| header.name.as_str()).collect();
        let field = headers.last()?.fields.get(field.index())?;
        self.number(&format!("{packet}/{}.{}", names.join("/"), field.name))
    }

    /// All fields of packets, by packet: the headers up to its own, the field, its value. In order.
    pub(super) fn fields(&self) -> BTreeMap<&str, Vec<(&str, FieldId, HeaderId, u128)>> {
        let mut all: BTreeMap<&str, Vec<(&str, FieldId, HeaderId, u128)>> = BTreeMap::new();
        for name in self.values.keys() {
            let Some((packet, (path, field))) = name.split_once('/').and_then(|(p, rest)| Some((p, rest.rsplit_once('.')?)))
            else {
                continue;
            };
            let last = path.rsplit('/').next().unwrap_or(path);
            let header = (0..).map(HeaderId).zip(&self.program.headers).find(|(_, h)| h.name == last);
            let Some((id, header)) = header else { continue };
            let field = (0..).map(FieldId).zip(&header.fields).find(|(_, f)| f.name == field);
            if let (Some((field, _)), Some(value)) = (field, self.number(name)) {
                all.entry(packet).or_default().push((path, field, id, value));
            }
        }
        all.values_mut().for_each(|fields| fields.sort_by_key(|(path, field, ..)| (*path, *field)));
        all
    }

    /// A packet's bytes.
    pub(super) fn length(&self, packet: &str) -> Option<usize> {
        self.number(&format!("{packet}.length")).map(|n| n as usize)
    }
}

/// A value in SMT-LIB; what is below zero is none of ours.
fn parse(value: &str) -> Option<u128> {
    match value.split_at_checked(2) {
        _ if value == "true" => Some(1),
        _ if value == "false" => Some(0),
        Some(("#x", digits)) => u128::from_str_radix(digits, 16).ok(),
        Some(("#b", digits)) => u128::from_str_radix(digits, 2).ok(),
        _ => value.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        assert_eq!(parse("#x0f"), Some(15));
        assert_eq!(parse("#b101"), Some(5));
        assert_eq!(parse("300"), Some(300));
        assert_eq!(parse("(- 3)"), None);
        assert_eq!(parse("true"), Some(1));
        assert_eq!(parse("truth"), None);
    }
}
