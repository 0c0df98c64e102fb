//! Open decisions. Wherever `semantics.md` leaves something open (which value a choice takes, whether a target is
//! `contended`, how far a coarse clock lags, when a timer fires, whether the dead have been swept) the interpreter asks an
//! [`Oracle`]. An oracle never decides more than the rules leave open: its answers are bounded or checked by the machine.

use crate::ir::TableId;
use std::collections::VecDeque;

/// A choice that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// The chosen variable's name.
    pub name: &'a str,
    /// Least value.
    pub low: u128,
    /// Greatest value; not below `low`.
    pub high: u128,
    /// `within`.
    pub within: Option<u32>,
}

/// How a choice is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// Tries the values of each tier in order from `start` on, and after the greatest from the least on.
    Search {
        /// The first value tried.
        start: u128,
        /// When a tier is left.
        patience: Patience,
    },
    /// This outcome (none: `else`), which is checked against the rules.
    Given(Option<u128>),
}

/// When a tier of a choice with `within N` is left although it has more values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Never.
    Endless,
    /// After N values in the order of trying were refused.
    Probes,
    /// Whenever there are N values that would be refused, even if others come first in the order.
    Least,
}

/// One decision that was made, to be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The outcome of a choice.
    Chosen(Option<u128>),
    /// An insertion failed for a target's transient reason, or not.
    Contended(bool),
    /// A push failed for want of room, or not.
    NoRoom(bool),
    /// The dead of a full table had been swept, or not.
    Swept(bool),
    /// Nanoseconds by which a clock for lifetimes lags.
    TickLag(u64),
    /// Nanoseconds by which a timer is late.
    TimerLag(u64),
}

/// Makes the decisions that the semantics leaves open.
pub trait Oracle {
    /// How a choice is to be made.
    fn choose(&mut self, choice: &Choice<'_>) -> Pick;

    /// What the choice that was asked for last came to.
    fn chosen(&mut self, _value: Option<u128>) {}

    /// Whether an insertion of a new key fails although there is room.
    fn contended(&mut self, table: TableId) -> bool;

    /// Whether a push fails although the frame would not be too long.
    fn no_room(&mut self) -> bool;

    /// Whether the dead entries of a full table have been swept.
    fn sweep(&mut self, table: TableId) -> bool;

    /// By how much the clock for the table's lifetimes lags, at most `greatest`.
    fn tick_lag(&mut self, table: TableId, greatest: u64) -> u64;

    /// By how much a timer's next event is late, at most `greatest`.
    fn timer_lag(&mut self, greatest: u64) -> u64;
}

/// Decides by a generator of pseudo-random numbers: the same seed, the same decisions.
#[derive(Clone, Debug)]
pub struct Seeded {
    state: u64,
    adversarial: bool,
    /// Whether clocks for lifetimes always lag as much as they may.
    late: bool,
    patience: Patience,
}

impl Seeded {
    /// An obliging target: clocks are exact, timers punctual, insertions fail only when a table is full of live entries, and
    /// a choice fails only if no value will do. Choices start anywhere.
    pub fn exact(seed: u64) -> Seeded {
        Seeded { state: seed, adversarial: false, late: false, patience: Patience::Endless }
    }

    /// The same, but choices fail after as many values as their `within` says.
    pub fn hasty(seed: u64) -> Seeded {
        Seeded { state: seed, adversarial: false, late: false, patience: Patience::Probes }
    }

    /// An obliging target whose clocks for lifetimes lag as much as they may.
    pub fn late(seed: u64) -> Seeded {
        Seeded { late: true, ..Seeded::exact(seed) }
    }

    /// A target that uses every freedom now and then.
    pub fn adversarial(seed: u64) -> Seeded {
        Seeded { state: seed, adversarial: true, late: false, patience: Patience::Endless }
    }

    /// The next pseudo-random number (SplitMix64).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// True once in `n` times, if adversarial.
    fn now_and_then(&mut self, n: u64) -> bool {
        self.adversarial && self.next().is_multiple_of(n)
    }

    /// A lag: most often none or the greatest.
    fn lag(&mut self, greatest: u64) -> u64 {
        if !self.adversarial {
            return 0;
        }
        match self.next() % 4 {
            0 => greatest,
            1 => self.next() % greatest.saturating_add(1).max(1),
            _ => 0,
        }
    }
}

impl Oracle for Seeded {
    fn choose(&mut self, choice: &Choice<'_>) -> Pick {
        let wide = (u128::from(self.next()) << 64) | u128::from(self.next());
        let within = |wide: u128| match (choice.high - choice.low).checked_add(1) {
            Some(count) => choice.low + wide % count,
            None => wide,
        };
        if !self.adversarial {
            return Pick::Search { start: within(wide), patience: self.patience };
        }
        let start = match self.next() % 4 {
            0 => choice.low,
            1 => choice.high,
            _ => within(wide),
        };
        let patience = match self.next() % 8 {
            0 => Patience::Least,
            1..4 => Patience::Endless,
            _ => Patience::Probes,
        };
        Pick::Search { start, patience }
    }

    fn contended(&mut self, _table: TableId) -> bool {
        self.now_and_then(32)
    }

    fn no_room(&mut self) -> bool {
        self.now_and_then(32)
    }

    fn sweep(&mut self, _table: TableId) -> bool {
        !self.now_and_then(4)
    }

    fn tick_lag(&mut self, _table: TableId, greatest: u64) -> u64 {
        if self.late { greatest } else { self.lag(greatest) }
    }

    fn timer_lag(&mut self, greatest: u64) -> u64 {
        self.lag(greatest)
    }
}

/// Lets another oracle decide, and writes down what was decided.
#[derive(Clone, Debug)]
pub struct Recording<O> {
    inner: O,
    log: Vec<Decision>,
}

impl<O> Recording<O> {
    /// Records the decisions of `inner`.
    pub fn new(inner: O) -> Recording<O> {
        Recording { inner, log: Vec::new() }
    }

    /// The decisions since the last call, in order.
    pub fn take(&mut self) -> Vec<Decision> {
        std::mem::take(&mut self.log)
    }
}

impl<O: Oracle> Oracle for Recording<O> {
    fn choose(&mut self, choice: &Choice<'_>) -> Pick {
        self.inner.choose(choice)
    }

    fn chosen(&mut self, value: Option<u128>) {
        self.inner.chosen(value);
        self.log.push(Decision::Chosen(value));
    }

    fn contended(&mut self, table: TableId) -> bool {
        let answer = self.inner.contended(table);
        self.log.push(Decision::Contended(answer));
        answer
    }

    fn no_room(&mut self) -> bool {
        let answer = self.inner.no_room();
        self.log.push(Decision::NoRoom(answer));
        answer
    }

    fn sweep(&mut self, table: TableId) -> bool {
        let answer = self.inner.sweep(table);
        self.log.push(Decision::Swept(answer));
        answer
    }

    fn tick_lag(&mut self, table: TableId, greatest: u64) -> u64 {
        let answer = self.inner.tick_lag(table, greatest);
        self.log.push(Decision::TickLag(answer));
        answer
    }

    fn timer_lag(&mut self, greatest: u64) -> u64 {
        let answer = self.inner.timer_lag(greatest);
        self.log.push(Decision::TimerLag(answer));
        answer
    }
}

/// Makes given decisions in their order; where the next one is of another kind, and after the last, another oracle decides.
#[derive(Clone, Debug)]
pub struct Replay<O> {
    script: VecDeque<Decision>,
    fallback: O,
}

impl<O> Replay<O> {
    /// Replays `script`, then lets `fallback` decide.
    pub fn new(script: impl IntoIterator<Item = Decision>, fallback: O) -> Replay<O> {
        Replay { script: script.into_iter().collect(), fallback }
    }

    /// Puts decisions behind those that are left.
    pub fn extend(&mut self, script: impl IntoIterator<Item = Decision>) {
        self.script.extend(script);
    }

    /// How many decisions were not asked for yet.
    pub fn left(&self) -> usize {
        self.script.len()
    }

    fn next<T>(&mut self, of_kind: impl Fn(Decision) -> Option<T>) -> Option<T> {
        let answer = self.script.front().copied().and_then(of_kind)?;
        self.script.pop_front();
        Some(answer)
    }
}

impl<O: Oracle> Oracle for Replay<O> {
    fn choose(&mut self, choice: &Choice<'_>) -> Pick {
        match self.next(|d| if let Decision::Chosen(value) = d { Some(value) } else { None }) {
            Some(value) => Pick::Given(value),
            None => self.fallback.choose(choice),
        }
    }

    fn contended(&mut self, table: TableId) -> bool {
        let next = self.next(|d| if let Decision::Contended(answer) = d { Some(answer) } else { None });
        next.unwrap_or_else(|| self.fallback.contended(table))
    }

    fn no_room(&mut self) -> bool {
        let next = self.next(|d| if let Decision::NoRoom(answer) = d { Some(answer) } else { None });
        next.unwrap_or_else(|| self.fallback.no_room())
    }

    fn sweep(&mut self, table: TableId) -> bool {
        let next = self.next(|d| if let Decision::Swept(answer) = d { Some(answer) } else { None });
        next.unwrap_or_else(|| self.fallback.sweep(table))
    }

    fn tick_lag(&mut self, table: TableId, greatest: u64) -> u64 {
        let next = self.next(|d| if let Decision::TickLag(answer) = d { Some(answer) } else { None });
        next.unwrap_or_else(|| self.fallback.tick_lag(table, greatest))
    }

    fn timer_lag(&mut self, greatest: u64) -> u64 {
        let next = self.next(|d| if let Decision::TimerLag(answer) = d { Some(answer) } else { None });
        next.unwrap_or_else(|| self.fallback.timer_lag(greatest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHOICE: Choice<'static> = Choice { name: "port", low: 0, high: u128::MAX, within: Some(4) };

    #[test]
    fn the_same_seed_decides_the_same() {
        let mut log = Vec::new();
        for _ in 0..2 {
            let mut oracle = Seeded::adversarial(7);
            let decided: Vec<_> = (0..100).map(|_| (oracle.choose(&CHOICE), oracle.timer_lag(9))).collect();
            log.push(decided);
        }
        assert_eq!(log[0], log[1]);
        assert!(log[0].iter().all(|(_, lag)| *lag <= 9));
    }

    #[test]
    fn an_exact_oracle_never_fails_or_lags() {
        let mut oracle = Seeded::exact(3);
        for _ in 0..1000 {
            assert!(!oracle.contended(TableId(0)) && !oracle.no_room() && oracle.sweep(TableId(0)));
            assert_eq!((oracle.tick_lag(TableId(0), 9), oracle.timer_lag(9)), (0, 0));
        }
    }

    #[test]
    fn what_was_recorded_is_replayed_and_then_the_fallback_decides() {
        let mut recording = Recording::new(Seeded::adversarial(5));
        let made: Vec<_> = (0..50).map(|_| (recording.contended(TableId(1)), recording.timer_lag(8))).collect();
        let mut replay = Replay::new(recording.take(), Seeded::exact(0));
        let again: Vec<_> = (0..50).map(|_| (replay.contended(TableId(1)), replay.timer_lag(8))).collect();
        assert_eq!(made, again);
        assert_eq!(replay.left(), 0);
        assert!(!replay.contended(TableId(1)));
    }

    #[test]
    fn a_decision_of_another_kind_waits() {
        let mut replay = Replay::new([Decision::Chosen(Some(5))], Seeded::exact(0));
        assert!(!replay.contended(TableId(0)));
        assert_eq!(replay.choose(&CHOICE), Pick::Given(Some(5)));
    }
}
