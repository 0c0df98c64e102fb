//! The bytes that a symbolic packet stands for: the packet as it came, with headers put in and taken out, and fields written.

use super::case::{Case, Differs};
use crate::sym::{Packet, Position};
use grv_lang::interp::packet::set_bits;
use grv_lang::ir::HeaderId;

/// A part of the packet as it came, or a header that was put in: where it is now.
struct Part {
    position: Position,
    from: usize,
    length: usize,
    to: usize,
}

impl Case<'_, '_> {
    /// Whether these are the bytes of a packet on a way that was taken, as far as formulas know them.
    pub(super) fn same_bytes(&mut self, packet: &Packet, did: &[u8]) -> Result<(), Differs> {
        let (mut bytes, parts) = self.lay_out(packet)?;
        let length = self.scalar(packet.length)?;
        if length != bytes.len() as u128 {
            return Err(format!("a packet of {} bytes has {length} by the formulas", bytes.len()));
        }
        let mut known = vec![0xff; bytes.len()];
        let mut written: Vec<(Position, HeaderId)> = Vec::new();
        for write in packet.written.iter() {
            if self.holds(write.guard)? {
                written.push((write.position.clone(), write.by));
            }
        }
        for (number, (position, header)) in written.iter().enumerate() {
            let (at, Some(start)) = ((position, *header), self.start_of(&parts, position)) else { continue };
            if written[number + 1..].iter().any(|(p, h)| (p, *h) == at) {
                continue;
            }
            // What was written before another header was written by way of there is unknown to formulas.
            let first = written.iter().position(|(p, h)| (p, *h) == at).unwrap_or(number);
            let clear = !written[first..].iter().any(|(p, h)| packet.may_share((p, *h), at));
            for ((_, _, field), value) in packet.fields.iter().filter(|((p, h, _), _)| (p, *h) == at) {
                let declared = &self.formula.engine.program.headers[header.index()].fields[field.index()];
                let (bit, width) = (start * 8 + declared.offset as usize, declared.width);
                let value = if clear { self.scalar(*value)? } else { 0 };
                if !set_bits(&mut bytes, bit, width, value)
                    || !set_bits(&mut known, bit, width, if clear { u128::MAX } else { 0 })
                {
                    return Err(format!("`{}` is written outside of the packet", declared.name));
                }
            }
        }
        let differs = |((a, b), known): ((&u8, &u8), &u8)| (a ^ b) & known != 0;
        if bytes.len() != did.len() || bytes.iter().zip(did).zip(&known).any(differs) {
            return Err(format!(
                "by the formulas, this leaves\n  {bytes:02x?}\nand by the interpreter\n  {did:02x?}\nof which known is\n  {known:02x?}"
            ));
        }
        Ok(())
    }

    /// Where a position is now, if it is still there.
    fn start_of(&self, parts: &[Part], position: &Position) -> Option<usize> {
        match position {
            Position::Pushed(..) => parts.iter().find(|p| p.position == *position).map(|p| p.to),
            Position::Behind(chain) => {
                let start = self.before.behind(chain)?.0 as usize;
                let part = parts.iter().find(|p| p.length > 0 && (p.from..p.from + p.length).contains(&start))?;
                Some(part.to + start - part.from)
            }
        }
    }

    /// What stands where, from the first byte to the last.
    fn lay_out(&self, packet: &Packet) -> Result<(Vec<u8>, Vec<Part>), Differs> {
        let original = self.before.packet;
        let (mut bytes, mut parts) = (Vec::new(), Vec::new());
        let start = Position::Behind([].into());
        let mut at = packet.redirect.get(&start).cloned().unwrap_or(start);
        loop {
            let to = bytes.len();
            match &at {
                Position::Pushed(number, header) => {
                    let length = self.formula.engine.program.headers[header.index()].fixed as usize;
                    bytes.resize(to + length, 0);
                    parts.push(Part { position: at.clone(), from: 0, length: 0, to });
                    at = packet.behind.get(number).cloned().ok_or("nothing is behind a header that was put in")?;
                }
                Position::Behind(chain) => {
                    let (from, _) = self.before.behind(chain).ok_or("a header was taken out that is not there")?;
                    let later = |(other, _): &(&Position, &Position)| match other {
                        Position::Behind(longer) if longer.len() > chain.len() && longer.starts_with(chain) => {
                            self.before.behind(longer).map(|(start, _)| start)
                        }
                        _ => None,
                    };
                    let next = packet.redirect.iter().filter(|pair| later(pair).is_some()).min_by_key(|pair| later(pair));
                    let end = next.and_then(|pair| later(&pair)).map_or(original.len(), |end| end as usize);
                    bytes.extend_from_slice(&original[from as usize..end]);
                    parts.push(Part { position: at.clone(), from: from as usize, length: end - from as usize, to });
                    match next {
                        Some((_, then)) => at = then.clone(),
                        None => return Ok((bytes, parts)),
                    }
                }
            }
            if parts.len() > 64 {
                return Err("headers that are put in go round in a circle".to_string());
            }
        }
    }
}
