//! Packets made to order: some fields are given, the rest is made so that headers are well-formed.

use super::packets::{Grammar, wishes};
use crate::interp::checksum;
use crate::interp::packet::{Place, get_bits, set_bits};
use crate::ir::{FieldId, Header, HeaderId};

/// What is wanted of a packet.
pub struct Wanted<'w> {
    /// Bytes.
    pub length: Option<usize>,
    /// A field of the header behind others, the header itself last.
    pub field: &'w dyn Fn(&[HeaderId], FieldId) -> Option<u128>,
    /// Whether checksums are to be right whatever is wanted of them.
    pub right: bool,
    /// What payloads are made of.
    pub filler: u8,
}

/// A packet has at most so many headers.
pub(super) const MOST_HEADERS: usize = 9;

/// A field that packets can be varied by: where it is in a packet, in bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Varied {
    at: usize,
    pub(super) width: u8,
}

impl Grammar<'_> {
    /// A packet that begins with one of the headers that packets may begin with.
    pub fn frame(&self, wanted: &Wanted<'_>) -> Vec<u8> {
        let Some(first) = self.first.iter().max_by_key(|header| self.asked(&[**header], wanted)) else { return Vec::new() };
        let longest = wanted.length.unwrap_or(2_048);
        let mut bytes = vec![wanted.filler; longest];
        let mut places: Vec<(HeaderId, Place)> = Vec::new();
        let (mut chain, mut at, mut limit) = (vec![*first], 0, longest as u32);
        loop {
            let id = chain[chain.len() - 1];
            let header = &self.program.headers[id.index()];
            if at + header.fixed > longest as u32 {
                break;
            }
            self.write(header, &chain, at, &mut bytes, wanted);
            let layout = &self.layouts[id.index()];
            let place = layout.parse(&bytes, at, limit);
            let place = place.unwrap_or_else(|| layout.place_of(&bytes, at, header.fixed, limit));
            places.push((id, place));
            at = place.after();
            limit = limit.min(place.end).max(at);
            let Some(next) = self.next(id, place, &bytes, &chain, wanted) else { break };
            chain.push(next);
        }
        if wanted.length.is_none() {
            bytes.truncate(at as usize + 8);
            // The bodies of headers that say where they end, end where the packet does.
            places.iter().for_each(|(id, place)| self.body(&self.program.headers[id.index()], &mut bytes, place.start));
        }
        if wanted.right {
            self.sum(&places, &mut bytes, &mut || true);
        }
        bytes
    }

    /// Fills a header: with what is wanted, with what makes it well-formed, or with zeros.
    fn write(&self, header: &Header, chain: &[HeaderId], at: u32, bytes: &mut [u8], wanted: &Wanted<'_>) {
        let mut needs = Vec::new();
        wishes(&header.valid, &mut needs);
        for (id, field) in (0..).map(FieldId).zip(&header.fields) {
            let need = needs.iter().find(|(f, _)| *f == id).map(|(_, value)| *value);
            let value = (wanted.field)(chain, id).or(need).unwrap_or(0);
            // Headers are laid out one behind the other inside of the packet.
            let _inside = set_bits(bytes, at as usize * 8 + field.offset as usize, field.width, value);
        }
    }

    /// The header that the fields of one before it select; of several, the one of which something is wanted.
    fn next(&self, id: HeaderId, place: Place, bytes: &[u8], chain: &[HeaderId], wanted: &Wanted<'_>) -> Option<HeaderId> {
        let header = &self.program.headers[id.index()];
        let has = |(field, value): &(FieldId, u128)| {
            let Some(f) = header.fields.get(field.index()) else { return false };
            get_bits(bytes, place.start as usize * 8 + f.offset as usize, f.width) == Some(*value)
        };
        // One of the values that are named for each field.
        let selects = |selects: &[(FieldId, u128)]| {
            selects.iter().all(|(field, _)| selects.iter().any(|select| select.0 == *field && has(select)))
        };
        let fits = self.edges.iter().filter(|edge| edge.before == id && selects(&edge.selects));
        let asked = |next: HeaderId| self.asked(&[chain, &[next]].concat(), wanted);
        let best = fits.max_by_key(|edge| (asked(edge.after), edge.selects.len()))?;
        (chain.len() < MOST_HEADERS).then_some(best.after)
    }

    /// How many fields are wanted of the last of some headers.
    fn asked(&self, chain: &[HeaderId], wanted: &Wanted<'_>) -> usize {
        let header = chain.last().and_then(|id| self.program.headers.get(id.index()));
        let fields = header.map_or(0, |h| h.fields.len() as u32);
        (0..fields).filter(|f| (wanted.field)(chain, FieldId(*f)).is_some()).count()
    }

    /// Makes checksums right, the inner ones first: those that `wanted` says.
    pub(super) fn sum(&self, places: &[(HeaderId, Place)], bytes: &mut [u8], wanted: &mut dyn FnMut() -> bool) {
        for (index, (id, place)) in places.iter().enumerate().rev() {
            let header = &self.program.headers[id.index()];
            for sum in &header.checksums {
                let at = place.start as usize * 8 + header.fields[sum.field.index()].offset as usize;
                let right = checksum::compute(self.program, bytes, header, *place, sum, &places[..index]);
                if let Some(right) = right.filter(|_| wanted()) {
                    // The field is inside of the packet: its checksum was computed.
                    let _inside = set_bits(bytes, at, 16, right.into());
                }
            }
        }
    }

    /// The headers of a packet that are well-formed, as far as the program looks for them.
    pub(super) fn places(&self, bytes: &[u8]) -> Vec<(HeaderId, Place)> {
        let (mut at, mut limit) = (0, bytes.len() as u32);
        let fits = |id: &HeaderId, at, limit| self.layouts[id.index()].parse(bytes, at, limit);
        let mut next = self.first.iter().find_map(|id| Some((*id, fits(id, at, limit)?)));
        let mut places = Vec::new();
        while let Some((id, place)) = next {
            places.push((id, place));
            (at, limit) = (place.after(), place.end);
            let nothing = Wanted { length: None, field: &|_, _| None, right: true, filler: 0 };
            let chain: Vec<HeaderId> = places.iter().map(|(id, _)| *id).collect();
            next = self.next(id, place, bytes, &chain, &nothing).and_then(|id| Some((id, fits(&id, at, limit)?)));
        }
        places
    }

    /// The headers of a packet, as far as the program looks for them.
    pub(super) fn headers(&self, bytes: &[u8]) -> Vec<HeaderId> {
        self.places(bytes).into_iter().map(|(id, _)| id).collect()
    }

    /// The fields of a packet that may have many values.
    pub(super) fn variations(&self, bytes: &[u8]) -> Vec<Varied> {
        let mut all = Vec::new();
        for (id, place) in self.places(bytes) {
            let fields = self.program.headers[id.index()].fields.iter().filter(|f| f.width >= 8);
            all.extend(fields.map(|f| Varied { at: place.start as usize * 8 + f.offset as usize, width: f.width }));
        }
        all
    }

    /// The packet with another length, though not too short for its headers. Its bodies end where it does; or else bytes are added
    /// or left out behind them.
    pub(super) fn resized(&self, packet: &[u8], length: usize, stretch: bool) -> Vec<u8> {
        let places = self.places(packet);
        let end = |place: &Place| if stretch { place.after() } else { place.end };
        let least = places.iter().map(|(_, place)| end(place) as usize).max().unwrap_or(packet.len()).min(packet.len());
        let mut bytes = packet.to_vec();
        bytes.resize(length.max(least), 0);
        if stretch {
            places.iter().for_each(|(id, place)| self.body(&self.program.headers[id.index()], &mut bytes, place.start));
            let places = self.places(&bytes);
            self.sum(&places, &mut bytes, &mut || true);
        }
        bytes
    }

    /// The packet with numbers added to some of its fields, its checksums right.
    pub(super) fn varied(&self, packet: &[u8], by: &[(Varied, u128)]) -> Vec<u8> {
        let mut bytes = packet.to_vec();
        for (field, number) in by {
            if let Some(value) = get_bits(&bytes, field.at, field.width) {
                let mask = if field.width >= 128 { u128::MAX } else { (1 << field.width) - 1 };
                // It was read there.
                let _inside = set_bits(&mut bytes, field.at, field.width, value.wrapping_add(*number) & mask);
            }
        }
        let places = self.places(&bytes);
        self.sum(&places, &mut bytes, &mut || true);
        bytes
    }
}
