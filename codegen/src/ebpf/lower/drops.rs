//! Drops are counted by the port that the packet arrived at and by reason: counter `port * reasons + reason`, and behind those of all ports the
//! counters of what arrives at none. Where a handler is run for one port only, the counter is known; else the port is remembered on the stack.

use super::super::Told;
use super::super::lir::{Arg, Bin, Helper, Type};
use super::flow::{ABORTED, DROP};
use super::{Lower, target_reasons};
use grv_lang::ir::PortId;

/// The port that packets arrived at on the way that is being lowered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    Nowhere,
    At(PortId),
    /// At one of several.
    Somewhere,
}

impl<'p> Lower<'p> {
    /// What is lowered from here on is for packets of that port, or of several.
    pub(super) fn arrived_at(&mut self, port: Option<PortId>) {
        self.arrived = port.map_or(Arrived::Somewhere, Arrived::At);
    }

    pub(super) fn reasons(&self) -> u64 {
        (self.program.reasons.len() + target_reasons(self.options.hook).count()) as u64
    }

    /// The counter of a reason, or the reason and whether the port has to be looked up.
    fn counter(&self, reason: u64) -> (u64, bool) {
        match self.arrived {
            Arrived::Nowhere => (self.program.ports.len() as u64 * self.reasons() + reason, false),
            Arrived::At(port) => (u64::from(port.0) * self.reasons() + reason, false),
            Arrived::Somewhere => (reason, true),
        }
    }

    /// The counter of a reason at the port that is remembered.
    fn looked_up(&mut self, reason: Arg) -> Arg {
        let slot = *self.arrival_slot.get_or_insert_with(|| self.b.slot(8));
        let port = self.b.load(Arg::Stack(slot, 0), 0, 8);
        let reasons = self.reasons();
        let first = self.b.bin(Bin::Mul, port, Arg::Number(reasons));
        self.b.bin(Bin::Add, first, reason)
    }

    /// Remembers where packets arrived, if that is looked up anywhere.
    pub(super) fn remember_arrivals(&mut self) {
        let Some(slot) = self.arrival_slot else { return };
        for (block, port) in std::mem::take(&mut self.arrivals) {
            self.b.begin_with_store(block, Arg::Stack(slot, 0), 8, Arg::Number(port.0.into()));
        }
    }

    /// Ends the program with a drop for a reason.
    pub(super) fn drop_with(&mut self, reason: u64, verdict: u64) {
        let (counter, lookup) = self.counter(reason);
        let exit = match self.drops.get(&(verdict, lookup)) {
            Some(exit) => *exit,
            None => {
                let (here, exit) = (self.b.here(), self.b.block());
                self.drops.insert((verdict, lookup), exit);
                let counter = Arg::Value(self.b.param(exit, Type::Word, 32));
                let place = self.trace.is_some().then(|| self.b.param(exit, Type::Word, 32));
                self.b.enter(exit);
                let counter = if lookup { self.looked_up(counter) } else { counter };
                self.count_drop(counter);
                if let Some(place) = place {
                    self.tell(Told::Dropped, counter, Arg::Value(place));
                }
                self.b.ret(Arg::Number(self.verdict(verdict)));
                self.b.enter(here);
                exit
            }
        };
        let place = self.trace.is_some().then(|| self.place_of_drop(reason));
        self.b.jump(exit, [Some(Arg::Number(counter)), place].into_iter().flatten().collect());
    }

    /// Ends the program because others changed the same all the time.
    pub(super) fn contended(&mut self) {
        self.drop_with(self.contended_reason(), DROP);
    }

    /// Ends the program at a defect: what must not happen.
    pub(super) fn defect(&mut self) {
        self.drop_with(self.defect_reason(), ABORTED);
    }

    /// A copy is dropped for a reason; the packet goes on.
    pub(super) fn copy_dropped(&mut self, reason: u64) {
        let (counter, lookup) = self.counter(reason);
        let counter = if lookup { self.looked_up(Arg::Number(counter)) } else { Arg::Number(counter) };
        self.count_drop(counter);
        let place = self.place_of_drop(reason);
        self.tell(Told::CopyDropped, counter, place);
    }

    /// Counts a drop.
    fn count_drop(&mut self, counter: Arg) {
        if let Some(probe) = self.probe {
            self.b.store(Arg::Global(probe.section, probe.reason), 0, 8, counter);
        }
        let slot = self.key_slot;
        self.b.store(Arg::Stack(slot, 0), 0, 4, counter);
        let entry = self.b.call(Helper::MapLookup, vec![Arg::Map(self.drop_counts), Arg::Stack(slot, 0)]);
        let (there, done) = (self.b.block(), self.b.block());
        self.b.branch(super::super::lir::Cmp::Ne, entry, Arg::Number(0), there, done);
        self.b.enter(there);
        self.b.count(entry, 0, Arg::Number(1));
        self.b.jump(done, Vec::new());
        self.b.enter(done);
    }
}
