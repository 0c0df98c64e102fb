//! How often packets come where: guesses, by which blocks are laid out. Most packets are not dropped, find what they look for, whose time has not come yet, and are not those that
//! something rare has to be done for; a word that was set to numbers on ways that met is the one of the more frequent way. Of all else one is as likely as the other.

use super::super::lir::{Arg, BlockId, Cmp, End, Function, Helper, Op, Value};

/// Of two ways, how likely is one that is rare, and one that few packets go.
const RARE: f64 = 1.0 / 32.0;
const FEW: f64 = 1.0 / 8.0;

/// How likely bits are set that are asked for: most flags say what is special.
const SET: f64 = 1.0 / 4.0;

/// Guesses about a function's blocks.
pub(super) struct Odds {
    /// By block: how often it is come to, and of these, how often the branch's first way is gone.
    blocks: Vec<(f64, f64)>,
}

impl Odds {
    /// Those of a function, of which `order` has each block behind all that lead to it, but for loops.
    pub(super) fn of(function: &Function, order: &[BlockId]) -> Odds {
        let mut guess = Guess {
            function,
            place: vec![0; function.blocks.len()],
            rare: vec![false; function.blocks.len()],
            found: vec![None; function.types.len()],
            times: vec![false; function.types.len()],
            met: vec![Vec::new(); function.types.len()],
        };
        order.iter().enumerate().for_each(|(place, id)| guess.place[id.index()] = place);
        order.iter().rev().for_each(|id| guess.rare[id.index()] = guess.is_rare(*id));
        for inst in function.blocks.iter().flat_map(|block| &block.insts) {
            if let Some(result) = inst.result {
                guess.times[result.index()] = matches!(inst.op, Op::Call { helper: Helper::Jiffies64 | Helper::KtimeGetNs, .. });
                guess.found[result.index()] = match inst.op {
                    Op::Call { helper: Helper::MapLookup, .. } => Some(Arg::Number(0)),
                    Op::CompareSwap { expected, .. } => Some(expected),
                    _ => None,
                };
            }
        }
        let mut blocks = vec![(0.0, 0.0); function.blocks.len()];
        if let Some(first) = blocks.first_mut() {
            first.0 = 1.0;
        }
        for id in order {
            let often = blocks[id.index()].0;
            match &function.blocks[id.index()].end {
                End::Jump(to, args) if guess.is_on(*id, *to) => {
                    blocks[to.index()].0 += often;
                    for (param, arg) in function.blocks[to.index()].params.iter().zip(args) {
                        guess.met[param.index()].push((*arg, often));
                    }
                }
                End::Branch { cmp, a, b, then, other } => {
                    let first = often * guess.first(*cmp, *a, *b, *then, *other);
                    blocks[id.index()].1 = first;
                    for (to, often) in [(then, first), (other, often - first)] {
                        if guess.is_on(*id, *to) {
                            blocks[to.index()].0 += often;
                        }
                    }
                }
                _ => {}
            }
        }
        Odds { blocks }
    }

    /// How often a block is come to.
    pub(super) fn block(&self, id: BlockId) -> f64 {
        self.blocks[id.index()].0
    }

    /// How often the way of a block's branch is gone that it takes if what it asks holds, and the other.
    pub(super) fn ways(&self, id: BlockId) -> [f64; 2] {
        let (all, first) = self.blocks[id.index()];
        [first, all - first]
    }
}

struct Guess<'f> {
    function: &'f Function,
    /// By block: its place in the order.
    place: Vec<usize>,
    /// By block: whether few packets come to it.
    rare: Vec<bool>,
    /// By value that was looked for: what it is most likely not, if it is an entry, and most likely is, if it is what a word was when it was to change.
    found: Vec<Option<Arg>>,
    /// By value: whether it is the time.
    times: Vec<bool>,
    /// By parameter: what it is on the ways that meet there, and how often.
    met: Vec<Vec<(Arg, f64)>>,
}

impl Guess<'_> {
    /// Whether a way is no way back.
    fn is_on(&self, from: BlockId, to: BlockId) -> bool {
        self.place[to.index()] > self.place[from.index()]
    }

    /// Whether few packets come to a block, since all that it leads on to is rare.
    fn is_rare(&self, id: BlockId) -> bool {
        let block = &self.function.blocks[id.index()];
        let mut on = block.end.targets().filter(|to| self.is_on(id, *to)).peekable();
        block.rare || on.peek().is_some() && on.all(|to| self.rare[to.index()])
    }

    /// How likely the first way of a branch is.
    fn first(&self, cmp: Cmp, a: Arg, b: Arg, then: BlockId, other: BlockId) -> f64 {
        match [then, other].map(|to| self.rare[to.index()]) {
            [true, false] => return RARE,
            [false, true] => return 1.0 - RARE,
            _ => {}
        }
        let found = a.value().and_then(|value| self.found[value.index()]);
        let looked_up = matches!(found, Some(Arg::Number(0))) && b == Arg::Number(0);
        let swapped = found.is_some_and(|expected| expected == b) && !looked_up;
        let equal = match (a, b) {
            _ if looked_up => FEW,
            _ if swapped => 1.0 - FEW,
            (Arg::Value(value), Arg::Number(number)) => self.equal(value, number),
            _ => 0.5,
        };
        let time = |arg: Arg| arg.value().is_some_and(|value| self.times[value.index()]);
        match cmp {
            Cmp::Lt | Cmp::Le if time(a) => 1.0 - FEW,
            Cmp::Gt | Cmp::Ge if time(a) => FEW,
            Cmp::Gt | Cmp::Ge if time(b) => 1.0 - FEW,
            Cmp::Lt | Cmp::Le if time(b) => FEW,
            Cmp::Eq => equal,
            Cmp::Ne => 1.0 - equal,
            Cmp::Set => SET,
            Cmp::Clear => 1.0 - SET,
            _ => 0.5,
        }
    }

    /// How likely a word is a number.
    fn equal(&self, value: Value, number: u64) -> f64 {
        let met = &self.met[value.index()];
        let all: f64 = met.iter().map(|(_, often)| often).sum();
        if all <= 0.0 {
            return 0.5;
        }
        let part = |(arg, often): &(Arg, f64)| match arg {
            Arg::Number(other) if *other == number => *often,
            Arg::Number(_) => 0.0,
            _ => often / 2.0,
        };
        met.iter().map(part).sum::<f64>() / all
    }
}
