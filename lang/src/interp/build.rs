//! Packets of tests: headers with their lengths, selectors and checksums filled in.

use super::checksum;
use super::layout::Layout;
use super::packet::{self, MAX_FRAME, Place};
use super::spec::{Bindings, Session};
use super::value::Fault;
use crate::ir::spec::{Fill, Part, Payload};
use crate::ir::{Body, Expr, HeaderId, PacketId, Program};
use crate::span::Span;

/// Why a packet cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// An expression has no value.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The frame is too long.
    #[error("the packet is longer than {MAX_FRAME} bytes")]
    TooLong,
    /// A checksum of a header that is not inside of what its pseudo-header speaks of.
    #[error("the checksum of `{0}` cannot be computed: nothing around it makes a pseudo-header")]
    Checksum(String),
    /// A value that does not fit its field.
    #[error("{value} does not fit field `{field}` of {width} bits")]
    DoesNotFit {
        /// The field.
        field: String,
        /// Its bits.
        width: u8,
        /// The value.
        value: i128,
    },
}

/// A packet under construction.
pub(crate) struct Builder<'a> {
    pub(crate) program: &'a Program,
    pub(crate) session: &'a Session,
    pub(crate) body: &'a Body,
    pub(crate) bindings: &'a mut Bindings,
    pub(crate) span: Span,
}

impl Builder<'_> {
    fn eval(&self, expr: &Expr) -> Result<u128, BuildError> {
        match self.session.eval(self.body, self.bindings, expr, self.span) {
            Ok(bits) => Ok(bits),
            Err(defect) => Err(match defect.kind {
                super::DefectKind::Fault(fault) => fault.into(),
                _ => Fault::Malformed("an expression of a packet").into(),
            }),
        }
    }

    fn length(&self, expr: &Expr) -> Result<usize, BuildError> {
        usize::try_from(self.eval(expr)?).ok().filter(|n| *n <= MAX_FRAME).ok_or(BuildError::TooLong)
    }

    fn payload(&self, pieces: &[Payload]) -> Result<Vec<u8>, BuildError> {
        let mut payload = Vec::new();
        for piece in pieces {
            match piece {
                Payload::Bytes(bytes) => payload.extend_from_slice(bytes),
                Payload::Zeros(count) => payload.resize(payload.len() + self.length(count)?, 0),
                Payload::Quote { packet, from, limit } => {
                    let bytes = self.bindings.packet(*packet);
                    let start = match from {
                        Some(handle) => {
                            let place = self.bindings.places.get(handle.index()).copied().unwrap_or(Place::NONE);
                            if !place.is_some() {
                                return Err(Fault::NoHeader.into());
                            }
                            place.start as usize
                        }
                        None => 0,
                    };
                    let quoted = bytes.get(start..).unwrap_or(&[]);
                    let most = match limit {
                        Some(limit) => self.length(limit)?,
                        None => quoted.len(),
                    };
                    payload.extend_from_slice(&quoted[..most.min(quoted.len())]);
                }
            }
        }
        Ok(payload)
    }

    /// Builds a packet and binds it, with the places of its headers.
    pub(crate) fn build(&mut self, packet: PacketId, parts: &[Part], payload: &[Payload]) -> Result<(), BuildError> {
        let payload = self.payload(payload)?;
        let lengths: Vec<usize> =
            parts.iter().map(|part| self.program.headers[part.header.index()].fixed as usize + part.variable.len()).collect();
        let whole = lengths.iter().sum::<usize>() + payload.len();
        if whole > MAX_FRAME {
            return Err(BuildError::TooLong);
        }
        let mut bytes = vec![0; whole - payload.len()];
        bytes.extend_from_slice(&payload);
        let mut start = 0;
        for (part, length) in parts.iter().zip(&lengths) {
            self.fields(part, &mut bytes, start, *length, whole - start)?;
            start += length;
        }
        self.bindings.set_packet(packet, &bytes);
        self.checksums(packet, parts, &lengths)
    }

    /// Writes a header's fields, but for checksums.
    fn fields(&mut self, part: &Part, bytes: &mut [u8], start: usize, length: usize, total: usize) -> Result<(), BuildError> {
        let header = &self.program.headers[part.header.index()];
        for (field, fill) in header.fields.iter().zip(&part.fields) {
            let value = match fill {
                Fill::Value(value) => self.eval(value)?,
                Fill::Lengths { header, total: whole, value } => {
                    self.bindings.set(*header, length as u128);
                    self.bindings.set(*whole, total as u128);
                    let value = self.eval(value)? as i128;
                    let fits = value >= 0 && value as u128 <= super::value::mask(field.width);
                    if !fits {
                        return Err(BuildError::DoesNotFit { field: field.name.clone(), width: field.width, value });
                    }
                    value as u128
                }
                Fill::Checksum => 0,
            };
            if !packet::set_bits(bytes, start * 8 + field.offset as usize, field.width, value) {
                return Err(Fault::Malformed("a field outside its header").into());
            }
        }
        let variable = start + header.fixed as usize;
        bytes[variable..variable + part.variable.len()].copy_from_slice(&part.variable);
        Ok(())
    }

    /// Fills checksums in, from the innermost header out, and sets the headers' places.
    fn checksums(&mut self, packet: PacketId, parts: &[Part], lengths: &[usize]) -> Result<(), BuildError> {
        let mut bytes = self.bindings.packet(packet).to_vec();
        let mut places: Vec<(HeaderId, Place)> = Vec::new();
        let (mut start, mut limit) = (0, bytes.len() as u32);
        for (part, length) in parts.iter().zip(lengths) {
            let header = &self.program.headers[part.header.index()];
            let layout = Layout::new(self.program, header);
            let place = layout.place_of(&bytes, start, *length as u32, limit);
            places.push((part.header, place));
            (start, limit) = (place.after(), place.end);
        }
        for (index, part) in parts.iter().enumerate().rev() {
            let header = &self.program.headers[part.header.index()];
            for sum in &header.checksums {
                if !matches!(part.fields.get(sum.field.index()), Some(Fill::Checksum)) {
                    continue;
                }
                let place = places[index].1;
                let value = checksum::compute(self.program, &bytes, header, place, sum, &places[..index])
                    .ok_or_else(|| BuildError::Checksum(header.name.clone()))?;
                let at = place.start as usize * 8 + header.fields[sum.field.index()].offset as usize;
                if !packet::set_bits(&mut bytes, at, 16, value.into()) {
                    return Err(Fault::Malformed("a field outside its header").into());
                }
            }
        }
        self.bindings.set_packet(packet, &bytes);
        for (part, (_, place)) in parts.iter().zip(&places) {
            if let Some(slot) = self.bindings.places.get_mut(part.handle.index()) {
                *slot = *place;
            }
        }
        Ok(())
    }
}
