//! Drops are counted by the port that the packet arrived at and by reason: first are the counters of what arrives at none, then those of each port, counter
//! `(port + 1) * reasons + reason`. Where a handler is run for one port only, the counter is known; else the first counter of the port is remembered on the stack.
//!
//! Which counter it is must not matter to the kernel's verifier, or it goes through a program once for each port, though the code is the same. It takes note of
//! a number on the stack that is read again, or given to a helper as a key, but only if it is at the start of eight bytes, or 0. So first counters and keys are
//! in the middle of them, and no port has counter 0.

use super::super::Told;
use super::super::lir::{Arg, Bin, BlockId, Helper, Type};
use super::flow::{ABORTED, DROP};
use super::{Lower, target_reasons};
use grv_lang::ir::PortId;

/// Where the kernel's verifier takes no note of numbers, in eight bytes on the stack.
const MIDDLE: u16 = 4;

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
            Arrived::Nowhere => (reason, false),
            Arrived::At(port) => (self.first_counter_of(port) + reason, false),
            Arrived::Somewhere => (reason, true),
        }
    }

    /// The first counter of a port.
    pub(super) fn first_counter_of(&self, port: PortId) -> u64 {
        (u64::from(port.0) + 1) * self.reasons()
    }

    /// The first counter of the port that the packet arrived at, as it is remembered.
    pub(super) fn first_counter(&mut self) -> Arg {
        let slot = *self.arrival_slot.get_or_insert_with(|| self.b.slot(8));
        self.b.load(Arg::Stack(slot, MIDDLE), 0, 4)
    }

    /// The counter of a reason at the port whose first one is remembered.
    fn looked_up(&mut self, reason: Arg) -> Arg {
        let first = self.first_counter();
        self.b.bin(Bin::Add, first, reason)
    }

    /// Remembers where packets arrived, if that is looked up anywhere.
    pub(super) fn remember_arrivals(&mut self) {
        let Some(slot) = self.arrival_slot else { return };
        for (block, port) in std::mem::take(&mut self.arrivals) {
            let first = self.first_counter_of(port);
            self.b.begin_with_store(block, Arg::Stack(slot, MIDDLE), 4, Arg::Number(first));
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
                let place = self.trace.is_some().then(|| Arg::Value(self.b.param(exit, Type::Word, 32)));
                self.b.enter(exit);
                let counter = if lookup { self.looked_up(counter) } else { counter };
                let last = self.last_of_drops();
                let verdict = Arg::Number(self.verdict(verdict));
                self.b.jump(last, [Some(counter), Some(verdict), place].into_iter().flatten().collect());
                self.b.enter(here);
                exit
            }
        };
        let place = self.trace.is_some().then(|| self.place_of_drop(reason));
        self.b.jump(exit, [Some(Arg::Number(counter)), place].into_iter().flatten().collect());
    }

    /// Where all drops end.
    fn last_of_drops(&mut self) -> BlockId {
        if let Some(last) = self.last_of_drops {
            return last;
        }
        let (here, last) = (self.b.here(), self.b.rare());
        self.last_of_drops = Some(last);
        let (counter, verdict) = (self.b.param(last, Type::Word, 32), self.b.param(last, Type::Word, 8));
        let place = self.trace.is_some().then(|| self.b.param(last, Type::Word, 32));
        self.b.enter(last);
        self.count_drop(Arg::Value(counter));
        if let Some(place) = place {
            self.tell(Told::Dropped, Arg::Value(counter), Arg::Value(place));
        }
        self.b.ret(Arg::Value(verdict));
        self.b.enter(here);
        last
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
        let key = Arg::Stack(self.key_slot, MIDDLE);
        self.b.store(key, 0, 4, counter);
        let entry = self.b.call(Helper::MapLookup, vec![Arg::Map(self.drop_counts), key]);
        let (there, done) = (self.b.block(), self.b.block());
        self.b.branch(super::super::lir::Cmp::Ne, entry, Arg::Number(0), there, done);
        self.b.enter(there);
        self.b.count(entry, 0, Arg::Number(1));
        self.b.jump(done, Vec::new());
        self.b.enter(done);
    }
}
