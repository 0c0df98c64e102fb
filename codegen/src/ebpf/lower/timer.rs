//! Dead entries are swept inside the kernel, by a timer for each table. It lives in a map of its own, beside the maps of the program: it goes on as
//! long as that map is pinned, whoever loaded it. Another program starts it, once; the program that packets run through has nothing of it.

use super::super::lir::{Arg, Builder, Cmp, Helper, Type};
use super::super::maps::{Kind, Layout, Map};
use super::tables::{Keeping, Table};
use super::{Lower, Lowering};
use grv_lang::ir::TableId;

/// The timers' clock, which is also that of `bpf_ktime_get_ns`.
const MONOTONIC: u64 = 1;

/// What the starter says: the timers run, or not.
const STARTED: u64 = super::super::sweeper::STARTED as u64;
const FAILED: u64 = 1;

impl<'p> Lower<'p> {
    /// The program that starts the timers. `period`: nanoseconds between two sweeps of a table with no more than `MANY` entries.
    pub(super) fn sweep_by_timers(&mut self, period: u64) -> Lowering<()> {
        // Of slots the index is swept: that of the owner's entries.
        let image = |id: &TableId| matches!(self.map_of(*id).map(|of| of.keeping), Some(Keeping::Image(_)));
        let swept: Vec<TableId> = self.sweepers.keys().copied().filter(|id| !image(id)).collect();
        let mut key = Layout::new();
        key.push("index", 32);
        let timers = self.maps.push(Map {
            name: "sweep_timers".to_string(),
            kind: Kind::Array,
            key,
            value: Layout::timer(),
            entries: swept.len() as u32,
            flags: 0,
        });
        let failed = self.b.block();
        for (index, id) in swept.into_iter().enumerate() {
            let Some(table) = self.tables[id.index()].clone() else { continue };
            let due = self.sweepers.get(&id).map_or(Arg::Number(0), |(_, due)| *due);
            let entries = self.maps.map(self.swept_map(id, &table)).map_or(0, |map| map.entries);
            let period = period.saturating_mul(u64::from(entries.div_ceil(super::super::sweeper::MANY)));
            let sweeper = self.sweeper(id, &table, due);
            let tick = self.timer_of(id, &table, sweeper, period)?;
            let slot = self.key_slot;
            self.b.store(Arg::Stack(slot, 0), 0, 4, Arg::Number(index as u64));
            let timer = self.b.call(Helper::MapLookup, vec![Arg::Map(timers), Arg::Stack(slot, 0)]);
            self.b.unless(Cmp::Ne, timer, Arg::Number(0), failed);
            let made = self.b.call(Helper::TimerInit, vec![timer, Arg::Map(timers), Arg::Number(MONOTONIC)]);
            self.b.unless(Cmp::Eq, made, Arg::Number(0), failed);
            let set = self.b.call(Helper::TimerSetCallback, vec![timer, Arg::Callback(tick)]);
            self.b.unless(Cmp::Eq, set, Arg::Number(0), failed);
            let started = self.b.call(Helper::TimerStart, vec![timer, Arg::Number(period), Arg::Number(0)]);
            self.b.unless(Cmp::Eq, started, Arg::Number(0), failed);
        }
        self.b.ret(Arg::Number(STARTED));
        self.b.enter(failed);
        self.b.ret(Arg::Number(FAILED));
        Ok(())
    }

    /// The function that a table's timer runs: it sweeps the table, and winds the timer up again.
    fn timer_of(&mut self, id: TableId, table: &Table, sweeper: u32, period: u64) -> Lowering<u32> {
        let declared = &self.program.tables[id.index()];
        let mut b = Builder::new(declared.span, &[Type::Map, Type::Key, Type::Entry]);
        std::mem::swap(&mut self.b, &mut b);
        let timer = self.b.input(2);
        let clock = self.lifetimes(id, declared);
        let tick = self.kernel_tick(clock);
        let slot = self.b.slot(8);
        self.b.store(Arg::Stack(slot, 0), 0, 8, tick);
        let args = vec![Arg::Map(self.swept_map(id, table)), Arg::Callback(sweeper), Arg::Stack(slot, 0), Arg::Number(0)];
        self.b.call(Helper::ForEach, args);
        self.b.call(Helper::TimerStart, vec![timer, Arg::Number(period), Arg::Number(0)]);
        self.b.ret(Arg::Number(0));
        std::mem::swap(&mut self.b, &mut b);
        let number = self.functions.len() as u32;
        self.functions.push(b.finish(&format!("tick_{}", super::super::maps::identifier(&declared.name))));
        Ok(number)
    }
}
