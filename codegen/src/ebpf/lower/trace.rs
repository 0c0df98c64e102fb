//! Trace points: a build of a program that tells what becomes of packets. It is put in the place of the one that runs, over the same maps, for as
//! long as somebody looks; the one that runs has nothing of it.
//!
//! What arrives is noted in memory of the processor's own, and told with what became of it, through a ring buffer, at the end of its way.
//! Who looks says how many packets may be told of so far; of what is beyond that only the number is known.

use super::super::lir::{Arg, Cmp, Helper, Value};
use super::super::maps::{Kind, Layout, Map};
use super::super::{Told, Trace, TraceInfo, trace};
use super::Lower;
use grv_lang::span::Span;

/// What trace points need of the kernel.
pub(super) struct Points {
    wanted: Trace,
    /// The ring buffer, and the memory in which what is told is put together.
    events: super::MapId,
    record: super::MapId,
    /// How many packets there were to tell of, and how many may be told of.
    spent: Arg,
    limit: Arg,
    /// Places in the source, as they are told of by number.
    pub(super) places: Vec<Span>,
}

/// No packet is told of there.
const NOWHERE: u64 = 0xffff_ffff;

/// Flag of `bpf_ringbuf_output`: nobody is woken; who looks does so again and again.
const NO_WAKEUP: u64 = 1;

impl<'p> Lower<'p> {
    /// The maps that trace points need, behind all others.
    pub(super) fn lay_out_trace(&mut self) {
        let Some(wanted) = self.options.trace.clone() else { return };
        let ring = Map {
            name: "trace_events".to_string(),
            kind: Kind::RingBuf,
            key: Layout::new(),
            value: Layout::new(),
            entries: trace::RING,
            flags: 0,
        };
        let mut key = Layout::new();
        key.push("index", 32);
        let record = Map {
            name: "trace_record".to_string(),
            kind: Kind::PerCpuArray,
            key,
            value: Layout::bytes(trace::RECORD),
            entries: 1,
            flags: 0,
        };
        let (events, record) = (self.maps.push(ring), self.maps.push(record));
        let mut variable = |section, name| {
            let section = self.maps.push_globals(section);
            Arg::Global(section, self.variable(section, name, 64, 0).offset.into())
        };
        let (spent, limit) = (variable(trace::SPENT, "trace_spent"), variable(trace::LIMIT, "trace_limit"));
        self.trace = Some(Points { wanted, events, record, spent, limit, places: Vec::new() });
    }

    /// What who looks has to know.
    pub(super) fn trace_info(&self) -> Option<TraceInfo> {
        let points = self.trace.as_ref()?;
        let events = self.maps.map(points.events).map_or_else(String::new, |map| map.name.clone());
        Some(TraceInfo { events, reasons: self.reasons(), places: points.places.clone() })
    }

    /// Notes a packet that arrives.
    pub(super) fn note_arrival(&mut self, context: Value) {
        let Some(points) = &self.trace else { return };
        let (record, ports) = (points.record, points.wanted.ports.clone());
        let (there, done) = (self.b.block(), self.b.block());
        let entry = self.trace_record(record);
        self.b.branch(Cmp::Ne, entry, Arg::Number(0), there, done);
        self.b.enter(there);
        let from = self.interface_of(context);
        self.b.store(entry, trace::WANTED, 4, Arg::Number(ports.is_empty().into()));
        self.b.store(entry, trace::INTERFACE, 4, from);
        let noted = self.b.block();
        for port in ports {
            let Some(Some((offset, _))) = self.interfaces.get(port) else { continue };
            let interface = self.b.load(Arg::Global(self.constants, (*offset).into()), 0, 4);
            let (hit, next) = (self.b.block(), self.b.block());
            self.b.branch(Cmp::Eq, from, interface, hit, next);
            self.b.enter(hit);
            self.b.store(entry, trace::WANTED, 4, Arg::Number(1));
            self.b.jump(noted, Vec::new());
            self.b.enter(next);
        }
        self.b.jump(noted, Vec::new());
        self.b.enter(noted);
        let now = self.b.call(Helper::KtimeGetNs, Vec::new());
        self.b.store(entry, trace::TIME, 8, now);
        self.copy_packet(context, entry, trace::ARRIVED_LENGTH, trace::ARRIVED);
        self.b.jump(done, Vec::new());
        self.b.enter(done);
    }

    fn trace_record(&mut self, record: super::MapId) -> Arg {
        let slot = self.key_slot;
        self.b.store(Arg::Stack(slot, 0), 0, 4, Arg::Number(0));
        self.b.call(Helper::MapLookup, vec![Arg::Map(record), Arg::Stack(slot, 0)])
    }

    /// Copies the beginning of the packet, and how long it is.
    fn copy_packet(&mut self, context: Value, entry: Arg, length: i16, to: i16) {
        let (data, end) = self.packet_fields(context);
        let (Arg::Value(data), Arg::Value(end)) = (data, end) else { return };
        let whole = self.b.distance(data, end);
        self.b.store(entry, length, 4, whole);
        let done = self.b.block();
        for at in (0..trace::BYTES as i16).step_by(2) {
            let behind = self.b.advance(data, Arg::Number(at as u64 + 2));
            self.b.unless(Cmp::Le, Arg::Value(behind), Arg::Value(end), done);
            let bytes = self.b.load(Arg::Value(data), at, 2);
            self.b.store(entry, to + at, 2, bytes);
        }
        self.b.jump(done, Vec::new());
        self.b.enter(done);
    }

    /// The number of the place that is being lowered, if drops for a reason are told of.
    pub(super) fn place_of_drop(&mut self, reason: u64) -> Arg {
        let wanted =
            |points: &Points| points.wanted.drops && points.wanted.reasons.as_ref().is_none_or(|of| of.contains(&reason));
        self.told_place(wanted)
    }

    /// The number of the place that is being lowered, if packets that are sent there are told of.
    pub(super) fn place_of_sending(&mut self, sent: u64) -> Arg {
        let host = self.host.map_or(0, |port| 1 << port.index());
        self.told_place(|points| if sent == host { points.wanted.host } else { points.wanted.forwards })
    }

    fn told_place(&mut self, wanted: impl Fn(&Points) -> bool) -> Arg {
        let span = self.b.span;
        let Some(points) = self.trace.as_mut().filter(|points| wanted(points)) else { return Arg::Number(NOWHERE) };
        let number = points.places.iter().position(|place| *place == span).unwrap_or_else(|| {
            points.places.push(span);
            points.places.len() - 1
        });
        Arg::Number(number as u64)
    }

    /// Tells what became of the packet. `which`: the counter of the drop, or the ports that it was sent to.
    pub(super) fn tell(&mut self, told: Told, which: Arg, place: Arg) {
        let Some(points) = &self.trace else { return };
        let (record, events, spent, limit) = (points.record, points.events, points.spent, points.limit);
        let Arg::Value(context) = self.b.input(0) else { return };
        let done = self.b.block();
        self.b.unless(Cmp::Ne, place, Arg::Number(NOWHERE), done);
        let entry = self.trace_record(record);
        self.b.unless(Cmp::Ne, entry, Arg::Number(0), done);
        let wanted = self.b.load(entry, trace::WANTED, 4);
        self.b.unless(Cmp::Ne, wanted, Arg::Number(0), done);
        let before = self.b.fetch_add(spent, 0, Arg::Number(1));
        let most = self.b.load(limit, 0, 8);
        self.b.unless(Cmp::Lt, before, most, done);
        self.b.store(entry, trace::WHICH, 8, which);
        self.b.store(entry, trace::TOLD, 4, Arg::Number(told as u64));
        self.b.store(entry, trace::PLACE, 4, place);
        self.b.store(entry, trace::LEFT_LENGTH, 4, Arg::Number(0));
        if told == Told::Sent {
            self.copy_packet(context, entry, trace::LEFT_LENGTH, trace::LEFT);
        }
        let args = vec![Arg::Map(events), entry, Arg::Number(trace::RECORD.into()), Arg::Number(NO_WAKEUP)];
        self.b.call(Helper::RingbufOutput, args);
        self.b.jump(done, Vec::new());
        self.b.enter(done);
    }
}
