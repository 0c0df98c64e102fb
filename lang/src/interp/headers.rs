//! Statements on the headers of a packet: finding them, writing fields and checksums, putting headers in and taking them out.

use super::checksum;
use super::code::Code;
use super::error::DefectKind;
use super::layout::Entry;
use super::packet::{self, MAX_FRAME, Place};
use super::step::{Frame, Run, Step};
use super::trace::Event;
use super::value::Fault;
use crate::ir::{Change, FieldId, HandleId, HeaderId, PacketId, Stmt, StmtKind};
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
    pub(crate) fn header_stmt(&mut self, frame: &Frame<'_>, stmt: &Stmt<Code>) -> Step<()> {
        let span = stmt.span;
        match &stmt.kind {
            StmtKind::SetField { handle, field, value } => {
                let value = self.eval(frame, span, value)?;
                self.set_field(frame, span, *handle, *field, value)?;
            }
            StmtKind::UpdateChecksum { handle, field, optional, changes } => {
                self.update_checksum(frame, span, (*handle, *field), *optional, changes)?;
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
                let place = self.scope(frame).place(handle.index());
                let place = self.sound(frame, span, place)?;
                let handles = frame.handles;
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

    /// Finds the headers that a packet starts with here: the frame's first.
    pub(crate) fn contract(&mut self, frame: &Frame<'_>, contract: &[HeaderId]) -> Step<()> {
        if let Some(known) = self.scratch.chains.get(frame.packets).and_then(|chain| chain.begins(contract)) {
            self.scratch.vars.places.extend_from_slice(known);
            return Ok(());
        }
        let bytes = &self.scratch.vars.packets[frame.packets];
        let (mut start, mut limit) = (0, bytes.len() as u32);
        let mut chain = self.scratch.chains.get_mut(frame.packets).map(std::mem::take).unwrap_or_default();
        chain.truncate(0);
        for id in contract {
            let place = self.config.layout(*id).and_then(|layout| layout.parse(bytes, start, limit));
            let Some(place) = place else {
                let header = self.config.program.headers.get(id.index());
                let name = header.map_or_else(String::new, |header| header.name.clone());
                return Err(self.defect(frame, Span::default(), DefectKind::Contract(name)));
            };
            chain.push(*id, place);
            (start, limit) = (place.after(), place.end);
        }
        self.scratch.vars.places.extend_from_slice(&chain.places);
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
        let bytes = self.sound(frame, span, scope.packet(packet.index()))?;
        let (start, limit) = match after {
            None => (0, bytes.len() as u32),
            Some(handle) => {
                let place = self.sound(frame, span, scope.place(handle.index()))?;
                (place.after(), place.end)
            }
        };
        let Some(layout) = self.config.layout(header) else {
            return Err(self.defect(frame, span, Fault::Malformed("a header that is not declared").into()));
        };
        let place = layout.parse(bytes, start, limit);
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

    /// A header that was found: its layout, its packet's place on the stack, and its own place.
    #[inline]
    pub(crate) fn found_header(&self, frame: &Frame<'_>, span: Span, handle: HandleId) -> Step<(HeaderId, usize, Place)> {
        let place = self.sound(frame, span, self.scope(frame).place(handle.index()))?;
        let declared = frame.handles.get(handle.index()).ok_or(Fault::Malformed("a header that is not declared"));
        let declared = self.sound(frame, span, declared)?;
        let packet = frame.packets + declared.packet.index();
        if packet >= self.scratch.vars.packets.len() {
            return Err(self.defect(frame, span, Fault::NoPacket.into()));
        }
        Ok((declared.header, packet, place))
    }

    /// A field of it.
    pub(crate) fn entry(&self, frame: &Frame<'_>, span: Span, header: HeaderId, field: FieldId) -> Step<Entry> {
        let entry = self.config.field(header, field).ok_or(Fault::Malformed("a field that is not declared"));
        self.sound(frame, span, entry)
    }

    fn set_field(&mut self, frame: &Frame<'_>, span: Span, handle: HandleId, field: FieldId, value: u128) -> Step<()> {
        let (header, packet, place) = self.found_header(frame, span, handle)?;
        let entry = self.entry(frame, span, header, field)?;
        let bytes = &mut self.scratch.vars.packets[packet];
        let old = if self.observer.is_some() { entry.extent.get(bytes, place.start) } else { None };
        if !entry.extent.set(bytes, place.start, value) {
            return Err(self.defect(frame, span, OUTSIDE.into()));
        }
        if entry.structural {
            self.changed(packet);
        }
        self.tell(|| Event::SetField { header, field, old: old.unwrap_or(0), new: value, span });
        Ok(())
    }

    fn update_checksum(
        &mut self,
        frame: &Frame<'_>,
        span: Span,
        (handle, field): (HandleId, FieldId),
        optional: bool,
        changes: &[Change<Code>],
    ) -> Step<()> {
        let (header, packet, place) = self.found_header(frame, span, handle)?;
        let entry = self.entry(frame, span, header, field)?;
        if entry.extent.width != 16 {
            return Err(self.defect(frame, span, Fault::Malformed("a checksum field of other than 16 bits").into()));
        }
        let old = entry.extent.get(&self.scratch.vars.packets[packet], place.start);
        let old = self.sound(frame, span, old.ok_or(OUTSIDE))? as u16;
        let mut new = old;
        if let Some(mut update) = checksum::Update::of(old, optional) {
            for Change { old, new, width, shift } in changes {
                let (old, new) = (self.eval(frame, span, old)?, self.eval(frame, span, new)?);
                update.change(checksum::Changed { old, new, width: *width, shift: *shift });
            }
            new = update.checksum();
        }
        if !entry.extent.set(&mut self.scratch.vars.packets[packet], place.start, new.into()) {
            return Err(self.defect(frame, span, OUTSIDE.into()));
        }
        if entry.structural {
            self.changed(packet);
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
        fields: &[Code],
    ) -> Step<bool> {
        let config = self.config;
        let Some(layout) = config.layout(header) else {
            return Err(self.defect(frame, span, Fault::Malformed("a header that is not declared").into()));
        };
        let (_, packet, at) = self.found_header(frame, span, before)?;
        let mut made = vec![0; layout.fixed as usize];
        for (field, value) in (0..).map(FieldId).zip(fields) {
            let value = self.eval(frame, span, value)?;
            if !self.entry(frame, span, header, field)?.extent.set(&mut made, 0, value) {
                return Err(self.defect(frame, span, Fault::Malformed("a field outside its header").into()));
            }
        }
        let bytes = &mut self.scratch.vars.packets[packet];
        if bytes.len() + made.len() > MAX_FRAME || self.oracle.no_room() {
            return Ok(false);
        }
        bytes.splice(at.start as usize..at.start as usize, made);
        self.changed(packet);
        let handles = frame.handles.iter().enumerate();
        for (index, _) in handles.filter(|(_, handle)| frame.packets + handle.packet.index() == packet) {
            packet::inserted(&mut self.scratch.vars.places[frame.places + index], at.start, layout.fixed);
        }
        let limit = at.limit + layout.fixed;
        let place = layout.place_of(&self.scratch.vars.packets[packet], at.start, layout.fixed, limit);
        self.scratch.vars.places[frame.places + into.index()] = place;
        Ok(true)
    }
}

/// A place that is not inside of its packet: the places of a validated program always are.
const OUTSIDE: Fault = Fault::Malformed("a field outside its packet");
