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
    /// The bytes of a packet on a way that was taken.
    pub(super) fn rebuild(&mut self, packet: &Packet) -> Result<Vec<u8>, Differs> {
        let (mut bytes, parts) = self.lay_out(packet)?;
        let length = self.scalar(packet.length)?;
        if length != bytes.len() as u128 {
            return Err(format!("a packet of {} bytes has {length} by the formulas", bytes.len()));
        }
        for ((position, header, field), value) in packet.fields.iter() {
            let start = match position {
                Position::Pushed(_) => parts.iter().find(|p| p.position == *position).map(|p| p.to),
                Position::Behind(chain) => {
                    let last = self.last_writer(packet, position)?;
                    let start = self.before.behind(chain).map(|(start, _)| start as usize).filter(|_| last == Some(*header));
                    start.and_then(|start| {
                        let part = parts.iter().find(|p| p.length > 0 && (p.from..p.from + p.length).contains(&start))?;
                        Some(part.to + start - part.from)
                    })
                }
            };
            let Some(start) = start else { continue };
            let declared = &self.formula.engine.program.headers[header.index()].fields[field.index()];
            let value = self.scalar(*value)?;
            if !set_bits(&mut bytes, start * 8 + declared.offset as usize, declared.width, value) {
                return Err(format!("`{}` is written outside of the packet", declared.name));
            }
        }
        Ok(bytes)
    }

    /// By way of which header a place was written last. Only its fields are those of the bytes; other headers' are unknown.
    fn last_writer(&mut self, packet: &Packet, position: &Position) -> Result<Option<HeaderId>, Differs> {
        for written in packet.written.get(position).into_iter().flatten().rev() {
            if self.holds(written.guard)? {
                return Ok(Some(written.by));
            }
        }
        Ok(None)
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
                Position::Pushed(number) => {
                    let header = packet.fields.keys().find(|(position, ..)| *position == at).map(|(_, header, _)| *header);
                    let header = header.ok_or("a header without fields was put in")?;
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
