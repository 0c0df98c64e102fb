//! Statements on the headers of a packet: finding them, writing fields and checksums, putting headers in and taking them out.

use super::checksum;
use super::error::DefectKind;
use super::expr::Leaves;
use super::packet::{self, MAX_FRAME, Place};
use super::step::{Frame, Run, Step};
use super::trace::Event;
use super::value::Fault;
use crate::ir::{Change, Expr, FieldId, HandleId, HeaderId, PacketId, Stmt, StmtKind};
use crate::span::Span;

/// Headers one behind the other, with their places.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    headers: Vec<HeaderId>,
    places: Vec<Place>,
}

impl Chain {
    /// Forgets all headers but the first ones.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.headers.truncate(length);
        self.places.truncate(length);
    }

    /// Adds a header.
    fn push(&mut self, header: HeaderId, place: Place) {
        self.headers.push(header);
        self.places.push(place);
    }

    /// Adds another chain's headers.
    pub(crate) fn extend(&mut self, other: &Chain) {
        self.headers.extend_from_slice(&other.headers);
        self.places.extend_from_slice(&other.places);
    }

    /// The places of these headers, if the chain begins with them.
    fn begins(&self, contract: &[HeaderId]) -> Option<&[Place]> {
        if self.headers.starts_with(contract) { self.places.get(..contract.len()) } else { None }
    }
}

impl Run<'_> {
    pub(crate) fn header_stmt(&mut self, frame: &Frame<'_>, stmt: &Stmt) -> Step<()> {
        let span = stmt.span;
        match &stmt.kind {
            StmtKind::SetField { handle, field, value } => {
                let value = self.eval(frame, span, value)?;
                self.set_field(frame, span, *handle, *field, value)?;
            }
            StmtKind::UpdateChecksum { handle, field, optional, changes } => {
                self.update_checksum(frame, span, *handle, field.index(), *optional, changes)?;
            }
            StmtKind::VerifyChecksums { handle, result } => {
                let valid = self.checksums_valid(frame, span, *handle)?;
                self.set(frame, *result, valid.into());
            }
            StmtKind::Push { header, before, into, fields, ok } => {
                let done = self.push(frame, span, *header, *before, *into, fields)?;
                self.set(frame, *ok, done.into());
                self.tell(|| Event::Push { header: *header, ok: done, span });
            }
            StmtKind::Pop { handle } => {
                let place = self.scope(frame).place(*handle);
                let place = self.sound(frame, span, place)?;
                let handles = &frame.body.handles;
                let header = handles[handle.index()].header;
                let packet = handles[handle.index()].packet;
                let bytes = &mut self.scratch.vars.packets[frame.packets + packet.index()];
                bytes.drain(place.start as usize..place.after() as usize);
                self.changed(frame.packets + packet.index());
                self.scratch.vars.places[frame.places + handle.index()] = Place::NONE;
                for (index, _) in handles.iter().enumerate().filter(|(_, other)| other.packet == packet) {
                    packet::removed(&mut self.scratch.vars.places[frame.places + index], place.start, place.length);
                }
                self.tell(|| Event::Pop { header, span });
            }
            _ => return Err(self.defect(frame, span, Fault::Malformed("a statement out of its place").into())),
        }
        Ok(())
    }

    /// Finds the headers that a packet starts with here.
    pub(crate) fn contract(&mut self, frame: &Frame<'_>, contract: &[HeaderId]) -> Step<()> {
        let bytes = &self.scratch.vars.packets[frame.packets];
        let places = self.scratch.vars.places.get_mut(frame.places..frame.places + contract.len());
        let known = self.scratch.chains.get(frame.packets).and_then(|chain| chain.begins(contract));
        if let (Some(places), Some(known)) = (places, known) {
            places.copy_from_slice(known);
            return Ok(());
        }
        let (mut start, mut limit) = (0, bytes.len() as u32);
        let mut chain = self.scratch.chains.get_mut(frame.packets).map(std::mem::take).unwrap_or_default();
        chain.truncate(0);
        for (index, id) in contract.iter().enumerate() {
            let program = &*self.config.program;
            let header = program.headers.get(id.index());
            let place = header.and_then(|header| packet::parse(program, header, bytes, start, limit));
            let (Some(place), Some(slot)) = (place, self.scratch.vars.places.get_mut(frame.places + index)) else {
                let name = header.map_or_else(String::new, |header| header.name.clone());
                return Err(self.defect(frame, Span::default(), DefectKind::Contract(name)));
            };
            *slot = place;
            chain.push(*id, place);
            (start, limit) = (place.after(), place.end);
        }
        if let Some(known) = self.scratch.chains.get_mut(frame.packets) {
            *known = chain;
        }
        Ok(())
    }

    /// Takes note of a header that was found behind another, or at the start.
    fn found(&mut self, packet: usize, header: HeaderId, place: Place) {
        let Some(chain) = self.scratch.chains.get_mut(packet) else { return };
        let before = chain.places.iter().position(|before| before.after() == place.start);
        if let Some(at) = if place.start == 0 { Some(0) } else { before.map(|index| index + 1) } {
            chain.truncate(at);
            chain.push(header, place);
        }
    }

    /// Forgets what was found, if places may depend on what changed.
    fn changed(&mut self, packet: usize) {
        if let Some(chain) = self.scratch.chains.get_mut(packet) {
            chain.truncate(0);
        }
    }

    /// Looks for a header; whether it is there.
    #[inline(never)]
    pub(crate) fn parse(
        &mut self,
        frame: &Frame<'_>,
        span: Span,
        packet: PacketId,
        header: HeaderId,
        after: Option<HandleId>,
        into: HandleId,
    ) -> Step<bool> {
        let scope = self.scope(frame);
        let bytes = self.sound(frame, span, scope.packet(packet))?;
        let (start, limit) = match after {
            None => (0, bytes.len() as u32),
            Some(handle) => {
                let place = self.sound(frame, span, scope.place(handle))?;
                (place.after(), place.end)
            }
        };
        let program = &*self.config.program;
        let Some(layout) = program.headers.get(header.index()) else {
            return Err(self.defect(frame, span, Fault::Malformed("a header that is not declared").into()));
        };
        let place = packet::parse(program, layout, bytes, start, limit);
        if let Some(observer) = &mut self.observer {
            let bytes = &self.scratch.vars.packets[frame.packets + packet.index()];
            observer.event(Event::Header { header, place, bytes, span });
        }
        self.scratch.vars.places[frame.places + into.index()] = place.unwrap_or(Place::NONE);
        if let Some(place) = place {
            self.found(frame.packets + packet.index(), header, place);
        }
        Ok(place.is_some())
    }

    fn set_field(&mut self, frame: &Frame<'_>, span: Span, handle: HandleId, field: FieldId, value: u128) -> Step<()> {
        let scope = self.scope(frame);
        let place = self.sound(frame, span, scope.place(handle))?;
        let (declared, packet) = self.sound(frame, span, scope.field(handle, field))?;
        let (width, first) = (declared.width, place.start as usize * 8 + declared.offset as usize);
        let header = frame.body.handles[handle.index()].header;
        let bytes = &mut self.scratch.vars.packets[frame.packets + packet.index()];
        let old = packet::get_bits(bytes, first, width);
        if !packet::set_bits(bytes, first, width, value) {
            return Err(self.defect(frame, span, Fault::Malformed("a field outside its packet").into()));
        }
        if self.config.is_structural(header, field) {
            self.changed(frame.packets + packet.index());
        }
        self.tell(|| Event::SetField { header, field, old: old.unwrap_or(0), new: value, span });
        Ok(())
    }

    fn update_checksum(
        &mut self,
        frame: &Frame<'_>,
        span: Span,
        handle: HandleId,
        field: usize,
        optional: bool,
        changes: &[Change],
    ) -> Step<()> {
        let scope = self.scope(frame);
        let place = self.sound(frame, span, scope.place(handle))?;
        let (header, packet) = self.sound(frame, span, scope.layout(handle))?;
        let declared = header.fields.get(field).filter(|field| field.width == 16);
        let declared = self.sound(frame, span, declared.ok_or(Fault::Malformed("a checksum field of other than 16 bits")))?;
        let first = place.start as usize * 8 + declared.offset as usize;
        let bytes = self.sound(frame, span, scope.packet(packet))?;
        let outside = Fault::Malformed("a field outside its packet");
        let old = self.sound(frame, span, packet::get_bits(bytes, first, 16).ok_or(outside))? as u16;
        let mut fault = None;
        let mut value = |expr: &Expr| match scope.eval(expr) {
            Ok(value) => value,
            Err(found) => {
                fault = Some(found);
                0
            }
        };
        let changed = changes.iter().map(|change| checksum::Changed {
            old: value(&change.old),
            new: value(&change.new),
            width: change.width,
            shift: change.shift,
        });
        let new = checksum::update(old, optional, changed);
        if let Some(fault) = fault {
            return Err(self.defect(frame, span, fault.into()));
        }
        let bytes = &mut self.scratch.vars.packets[frame.packets + packet.index()];
        if !packet::set_bits(bytes, first, 16, new.into()) {
            return Err(self.defect(frame, span, outside.into()));
        }
        let header = frame.body.handles[handle.index()].header;
        let field = crate::ir::FieldId(field as u32);
        if self.config.is_structural(header, field) {
            self.changed(frame.packets + packet.index());
        }
        self.tell(|| Event::SetField { header, field, old: old.into(), new: new.into(), span });
        Ok(())
    }

    /// Puts a header in before another; false if there is no room for it.
    fn push(
        &mut self,
        frame: &Frame<'_>,
        span: Span,
        header: HeaderId,
        before: HandleId,
        into: HandleId,
        fields: &[Expr],
    ) -> Step<bool> {
        let config = self.config;
        let Some(layout) = config.program.headers.get(header.index()) else {
            return Err(self.defect(frame, span, Fault::Malformed("a header that is not declared").into()));
        };
        let scope = self.scope(frame);
        let at = self.sound(frame, span, scope.place(before))?;
        let (_, packet) = self.sound(frame, span, scope.layout(before))?;
        let mut made = vec![0; layout.fixed as usize];
        for (field, value) in layout.fields.iter().zip(fields) {
            let value = self.eval(frame, span, value)?;
            if !packet::set_bits(&mut made, field.offset as usize, field.width, value) {
                return Err(self.defect(frame, span, Fault::Malformed("a field outside its header").into()));
            }
        }
        let bytes = &mut self.scratch.vars.packets[frame.packets + packet.index()];
        if bytes.len() + made.len() > MAX_FRAME || self.oracle.no_room() {
            return Ok(false);
        }
        bytes.splice(at.start as usize..at.start as usize, made);
        self.changed(frame.packets + packet.index());
        let handles = frame.body.handles.iter().enumerate();
        for (index, _) in handles.filter(|(_, handle)| handle.packet == packet) {
            packet::inserted(&mut self.scratch.vars.places[frame.places + index], at.start, layout.fixed);
        }
        let limit = at.limit + layout.fixed;
        let bytes = &self.scratch.vars.packets[frame.packets + packet.index()];
        let place = packet::place_of(&config.program, layout, bytes, at.start, layout.fixed, limit);
        self.scratch.vars.places[frame.places + into.index()] = place;
        Ok(true)
    }
}
