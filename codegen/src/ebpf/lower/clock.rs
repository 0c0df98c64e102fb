//! Clocks. The fine one counts nanoseconds, and a helper of the kernel reads it. The coarse one, the kernel's `jiffies`, costs a load: tables whose
//! granularity is two of its ticks or more, and whose entries live for whole ticks, count their deadlines in it. A step reads each once.
//!
//! # Ticks
//! Of the fine clock a tick is 2^k nanoseconds, at most half the granularity; ticks are counted from 1, so that no deadline makes a word of 0.
//! A deadline is rounded up, the time is rounded down. Of the coarse clock the time is known up to one tick, so a deadline is the tick that comes
//! next, and the lifetime: two deadlines are never in another order than the times that they stand for. What either does, the clock
//! of lifetimes of the semantics does, if it lags by no more than a tick. The rest of the granularity is for what the clocks of processors
//! differ by, and for ticks that the kernel counts late.

use super::super::lir::{Arg, Bin, BlockId, Cmp, Helper, Type, mask};
use super::entries::LATEST;
use super::env::Env;
use super::{Lower, Lowering, uses};
use grv_lang::ir::{Expr, Lifetime, LocalId, SKEW, Table, TableId, TableKind};
use grv_lang::span::Span;

/// What deadlines are told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// The fine clock: the logarithm of nanoseconds a tick.
    Fine(u8),
    /// The coarse clock: nanoseconds a tick.
    Coarse(u64),
}

impl Clock {
    /// Nanoseconds a tick.
    pub(super) fn tick(self) -> u64 {
        match self {
            Clock::Fine(log) => 1 << log,
            Clock::Coarse(tick) => tick,
        }
    }

    /// Bits that a deadline has: times are below 2^62, and so is what a lifetime adds.
    pub(super) fn bits(self) -> u8 {
        63 - self.tick().ilog2() as u8
    }
}

/// Nanoseconds a second.
const SECOND: u64 = 1_000_000_000;

impl<'p> Lower<'p> {
    /// The clock of a table's lifetimes.
    pub(super) fn clock_of(&self, id: TableId, table: &Table) -> Clock {
        let exact = self.options.hz.map(|hz| u64::from(hz.get())).filter(|hz| SECOND.is_multiple_of(*hz));
        let coarse = exact.map(|hz| SECOND / hz);
        let coarse = coarse.filter(|tick| table.granularity >= 2 * tick && uses::lasts_whole(self.program, id, *tick, LATEST));
        match coarse {
            Some(tick) => Clock::Coarse(tick),
            None => self.fine(table),
        }
    }

    /// The clock that tells whether an entry of a table lives.
    pub(super) fn lifetimes(&self, id: TableId, table: &Table) -> Clock {
        match (&table.kind, uses::owner(self.program, id)) {
            (TableKind::Bucket { .. }, _) => self.fine(table),
            (_, Some(owner)) => self.clock_of(owner, &self.program.tables[owner.index()]),
            (_, None) => self.clock_of(id, table),
        }
    }

    /// The fine clock, as a table may use it.
    pub(super) fn fine(&self, table: &Table) -> Clock {
        let granularity = table.granularity.max(SKEW) / 2;
        Clock::Fine(granularity.max(1).ilog2() as u8)
    }

    /// The step's time in ticks.
    pub(super) fn tick(&mut self, env: &mut Env<'p>, clock: Clock) -> Arg {
        match clock {
            Clock::Fine(log) => {
                let now = self.now(env);
                self.ticks_down(now, log)
            }
            Clock::Coarse(tick) => self.coarse(env, tick),
        }
    }

    /// The kernel's time in ticks, where no packet is under way.
    pub(super) fn kernel_tick(&mut self, clock: Clock) -> Arg {
        match clock {
            Clock::Fine(log) => {
                let now = self.b.call(Helper::KtimeGetNs, Vec::new());
                self.ticks_down(now, log)
            }
            Clock::Coarse(_) => self.b.call(Helper::Jiffies64, Vec::new()),
        }
    }

    /// A time of the fine clock in ticks, rounded down.
    fn ticks_down(&mut self, time: Arg, log: u8) -> Arg {
        let ticks = self.b.bin(Bin::Shr, time, Arg::Number(log.into()));
        self.b.bin(Bin::Add, ticks, Arg::Number(1))
    }

    /// A second in what [`Lower::pace`] counts in.
    pub(super) fn second(clock: Clock) -> u64 {
        if let Clock::Coarse(tick) = clock { SECOND / tick } else { SECOND }
    }

    /// The time in nanoseconds, or in ticks of the coarse clock: what seconds are waited by.
    pub(super) fn pace(&mut self, env: &mut Env<'p>, clock: Clock) -> Arg {
        if let Clock::Coarse(tick) = clock { self.coarse(env, tick) } else { self.now(env) }
    }

    /// A time of the fine clock in ticks, rounded up; it is far below 2^63.
    fn ticks_up(&mut self, time: Arg, log: u8) -> Arg {
        let up = self.b.bin(Bin::Add, time, Arg::Number((1 << log) - 1));
        let ticks = self.b.bin(Bin::Shr, up, Arg::Number(log.into()));
        self.b.bin(Bin::Add, ticks, Arg::Number(1))
    }

    /// The deadline, in ticks, of an entry that is refreshed or made now.
    pub(super) fn deadline(
        &mut self,
        env: &mut Env<'p>,
        table: TableId,
        clock: Clock,
        scalars: &[Arg],
        span: Span,
    ) -> Lowering<Arg> {
        let program = self.program;
        match (&program.tables[table.index()].lifetime, clock) {
            (Lifetime::Idle(function) | Lifetime::Fixed(function), Clock::Fine(log)) => {
                let now = self.now(env);
                let duration = self.duration(env, table, function, scalars, 1, span)?;
                let at = self.b.bin(Bin::Add, now, duration);
                Ok(self.ticks_up(at, log))
            }
            (Lifetime::Idle(function) | Lifetime::Fixed(function), Clock::Coarse(tick)) => {
                let now = self.coarse(env, tick);
                let ticks = self.duration(env, table, function, scalars, tick, span)?;
                Ok(self.after(now, ticks))
            }
            (Lifetime::Forever | Lifetime::IdleWith { .. }, _) => {
                self.shortest = u64::MAX;
                // No clock reaches it.
                Ok(Arg::Number(mask(clock.bits())))
            }
        }
    }

    /// The deadline so many ticks from now. The current tick has begun, and the next one is the first of which that is not so.
    fn after(&mut self, now: Arg, ticks: Arg) -> Arg {
        let next = self.b.bin(Bin::Add, now, Arg::Number(1));
        self.b.bin(Bin::Add, next, ticks)
    }

    /// The deadline, in ticks, that `expire_at` sets.
    pub(super) fn deadline_at(&mut self, env: &mut Env<'p>, clock: Clock, at: &Expr, span: Span) -> Lowering<Arg> {
        match clock {
            Clock::Fine(log) => {
                let at = self.eval(env, at, span)?;
                let most = Arg::Number(LATEST);
                let at = self.pick(Cmp::Gt, at, most, most, at, 63);
                Ok(self.ticks_up(at, log))
            }
            Clock::Coarse(tick) => {
                let Some((_, more)) = uses::sum(at) else { return Err(self.broken(span, "a deadline that is not to come")) };
                let more = self.eval(env, more, span)?;
                let ticks = self.b.bin(Bin::Div, more, Arg::Number(tick));
                let now = self.coarse(env, tick);
                Ok(self.after(now, ticks))
            }
        }
    }

    /// Whether a variable of a handler is the time, and only deadlines that the coarse clock tells depend on it.
    pub(super) fn is_for_deadlines(&self, env: &Env<'p>, local: LocalId) -> bool {
        let coarse = |id: TableId| match self.map_of(id).map(|of| of.keeping) {
            Some(super::tables::Keeping::Entries(kept)) => matches!(kept.clock, Clock::Coarse(_)),
            _ => false,
        };
        uses::is_for_deadlines(self.program, env.frame().body, local, &coarse)
    }

    /// The step's time, read once.
    pub(super) fn now(&mut self, env: &mut Env<'p>) -> Arg {
        let now = match env.now {
            Some(now) if !env.unread => return now,
            Some(now) => {
                let (known, unknown, done) = (self.b.block(), self.b.block(), self.b.block());
                self.b.branch(Cmp::Ne, now, Arg::Number(0), known, unknown);
                let read = self.b.param(done, Type::Word, 62);
                self.b.enter(known);
                self.b.jump(done, vec![now]);
                self.b.enter(unknown);
                let time = self.read(Helper::KtimeGetNs, 1, 0);
                self.b.jump(done, vec![time]);
                self.b.enter(done);
                Arg::Value(read)
            }
            None => self.read(Helper::KtimeGetNs, 1, 0),
        };
        env.unread = false;
        env.now = Some(now);
        now
    }

    /// The step's time by the coarse clock, read once.
    pub(super) fn coarse(&mut self, env: &mut Env<'p>, tick: u64) -> Arg {
        if let Some(now) = env.coarse {
            return now;
        }
        // A test's clock begins at 0, the kernel's does not.
        let now = self.read(Helper::Jiffies64, tick, 1);
        env.coarse = Some(now);
        now
    }

    /// The time by a clock of the kernel; in builds for tests by the test's, in units of so many nanoseconds, from `first` on.
    fn read(&mut self, clock: Helper, unit: u64, first: u64) -> Arg {
        let Some(probe) = self.probe else { return self.b.call(clock, Vec::new()) };
        let frozen = self.b.load(Arg::Global(probe.section, probe.frozen), 0, 8);
        let offset = self.b.load(Arg::Global(probe.section, probe.clock), 0, 8);
        let offset = self.b.bin(Bin::Div, offset, Arg::Number(unit));
        let (still, runs, done): (BlockId, BlockId, BlockId) = (self.b.block(), self.b.block(), self.b.block());
        self.b.branch(Cmp::Ne, frozen, Arg::Number(0), still, runs);
        // Times are below 2^62.
        let now = self.b.param(done, Type::Word, 62);
        self.b.enter(still);
        let time = self.b.bin(Bin::Add, offset, Arg::Number(first));
        self.b.jump(done, vec![time]);
        self.b.enter(runs);
        let time = self.b.call(clock, Vec::new());
        let time = self.b.bin(Bin::Add, time, offset);
        self.b.jump(done, vec![time]);
        self.b.enter(done);
        Arg::Value(now)
    }
}
