//! In which order blocks lie. Those that packets often go through one after the other are neighbours: a jump costs more than the instructions that it leads past.
//! Of the rest, what leads to each other lies near to each other, since machines have shorter instructions for short jumps.

use super::select::Run;
use super::{Emit, Insn};

/// Instructions over which a jump is short on most machines.
const SHORT: usize = 20;

/// Of longer ones, instructions over which a jump is half as good as over none.
const NEAR: f64 = 8.0;

impl Emit {
    /// Lays blocks out, which lie in the order of their numbers. By instruction, as they lie then: how often it is gone through.
    pub(super) fn arrange(&mut self, runs: &[Run], starts: &mut [usize]) -> Vec<f64> {
        let count = self.code.insns.len();
        let ends = starts.iter().skip(1).copied().chain([count]);
        let pieces: Vec<std::ops::Range<usize>> = starts.iter().zip(ends).map(|(start, end)| *start..end).collect();
        let only_leads = |run: usize| self.code.insns[pieces[run].clone()] == [Insn::jump()];
        let sizes = (0..runs.len()).map(|run| if only_leads(run) { 0 } else { pieces[run].len() }).collect();
        let runs_in_order = Layout::of(runs, sizes).order();
        let often = runs_in_order.iter().flat_map(|run| pieces[*run].clone().map(|_| runs[*run].often)).collect();
        let order: Vec<usize> = runs_in_order.into_iter().flat_map(|run| pieces[run].clone()).collect();
        let mut places = vec![0; count];
        order.iter().enumerate().for_each(|(place, at)| places[*at] = place);
        fn moved<T>(of: &mut [(usize, T)], places: &[usize]) {
            of.iter_mut().for_each(|(at, _)| *at = places[*at]);
            of.sort_by_key(|(at, _)| *at);
        }
        self.code.insns = order.iter().map(|at| self.code.insns[*at]).collect();
        self.code.spans = order.iter().map(|at| self.code.spans[*at]).collect();
        moved(&mut self.jumps, &places);
        moved(&mut self.around, &places);
        moved(&mut self.code.relocations, &places);
        moved(&mut self.code.functions, &places);
        starts.iter_mut().for_each(|start| *start = places[*start]);
        often
    }
}

struct Layout<'r> {
    runs: &'r [Run],
    /// By block: its instructions. None, if it only leads on.
    sizes: Vec<usize>,
    /// By block: where it leads to, and what leads to it.
    tied: Vec<Vec<Tie>>,
}

#[derive(Clone, Copy)]
enum Tie {
    To(usize),
    From(usize),
}

impl Layout<'_> {
    fn of(runs: &[Run], sizes: Vec<usize>) -> Layout<'_> {
        let mut layout = Layout { runs, sizes, tied: vec![Vec::new(); runs.len()] };
        for (from, run) in runs.iter().enumerate().filter(|(from, _)| layout.sizes[*from] > 0) {
            for to in run.succs.iter().map(|to| layout.led(to.index())).collect::<Vec<_>>() {
                layout.tied[from].push(Tie::To(to));
                layout.tied[to].push(Tie::From(from));
            }
        }
        layout
    }

    /// Where a way to a block ends, past those that only lead on.
    fn led(&self, mut to: usize) -> usize {
        for _ in 0..self.runs.len() {
            match self.runs[to].succs.first().filter(|_| self.sizes[to] == 0) {
                Some(further) => to = further.index(),
                None => break,
            }
        }
        to
    }

    /// The order of blocks, of which the first one is where the function begins: chains one behind the other, always that which is drawn most by what lies
    /// already.
    fn order(&self) -> Vec<usize> {
        let chains = self.chains();
        let mut chain_of = vec![0; self.runs.len()];
        chains.iter().enumerate().for_each(|(number, chain)| chain.iter().for_each(|run| chain_of[*run] = number));
        let mut order: Vec<usize> = Vec::new();
        let mut starts: Vec<Option<usize>> = vec![None; self.runs.len()];
        // By chain: how much it is drawn at most. As what lies already gets farther away, that is what it was before, if nothing else draws it since.
        let mut most: Vec<f64> = vec![0.0; chains.len()];
        let mut left: Vec<usize> = (0..chains.len()).collect();
        let (mut next, mut end) = (0, 0);
        while !left.is_empty() {
            for run in &chains[left.remove(next)] {
                starts[*run] = Some(end);
                end += self.sizes[*run];
                order.push(*run);
                for Tie::To(other) | Tie::From(other) in &self.tied[*run] {
                    most[chain_of[*other]] = f64::INFINITY;
                }
            }
            let mut known = None;
            loop {
                next = (0..left.len()).rev().max_by(|a, b| most[left[*a]].total_cmp(&most[left[*b]])).unwrap_or(0);
                let Some(chain) = left.get(next).filter(|_| known != Some(next)) else { break };
                most[*chain] = self.drawn(&chains[*chain], &starts, end);
                known = Some(next);
            }
        }
        order
    }

    /// Chains of neighbours, in the order of their first blocks.
    fn chains(&self) -> Vec<Vec<usize>> {
        let mut ways: Vec<(f64, usize, usize, usize)> = Vec::new();
        for (from, run) in self.runs.iter().enumerate().filter(|(from, _)| self.sizes[*from] > 0) {
            ways.extend(run.on.iter().map(|(to, often)| (*often, run.succs.len(), from, self.led(*to))));
        }
        // What is gone most often comes first; of what is gone as often, jumps, which are not there then.
        ways.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut chains: Vec<Vec<usize>> = (0..self.runs.len()).map(|run| vec![run]).collect();
        let mut chain_of: Vec<usize> = (0..self.runs.len()).collect();
        for (.., from, to) in ways {
            let (first, second) = (chain_of[from], chain_of[to]);
            if first != second && to != 0 && chains[first].last() == Some(&from) && chains[second].first() == Some(&to) {
                let rest = std::mem::take(&mut chains[second]);
                rest.iter().for_each(|run| chain_of[*run] = first);
                chains[first].extend(rest);
            }
        }
        chains.retain(|chain| !chain.is_empty());
        chains
    }

    /// How much a chain is drawn by what lies already, up to `end`. A long one leaves more behind it far away.
    fn drawn(&self, chain: &[usize], starts: &[Option<usize>], end: usize) -> f64 {
        let (mut sum, mut start) = (0.0, end);
        for run in chain {
            for tie in &self.tied[*run] {
                let distance = match *tie {
                    Tie::To(to) => starts[to].map(|to| start + self.sizes[*run] - to),
                    Tie::From(from) => starts[from].map(|there| start - there - self.sizes[from]),
                };
                sum += match distance {
                    Some(distance) if distance > SHORT => NEAR / (NEAR + distance as f64),
                    Some(_) => 1.0,
                    None => 0.0,
                };
            }
            start += self.sizes[*run];
        }
        sum / ((start - end).max(1) as f64).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::lir::{Arg, Builder, Cmp, Field, Function, Helper, MapId, Type};
    use super::super::{Insn, compile};
    use grv_lang::span::Span;

    /// Looks something up; `rare` says which of the ways is rare, if it is found and if not.
    fn looks(rare: [bool; 2]) -> Function {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let context = b.input(0).value().unwrap();
        let number = b.field(context, Field::IngressIfindex);
        let slot = b.slot(8);
        b.store(Arg::Stack(slot, 0), 0, 8, number);
        let entry = b.call(Helper::MapLookup, vec![Arg::Map(MapId(0)), Arg::Stack(slot, 0)]);
        let [found, not] = rare.map(|rare| if rare { b.rare() } else { b.block() });
        b.branch(Cmp::Eq, entry, Arg::Number(0), not, found);
        for (block, verdict) in [(found, 2), (not, 1)] {
            b.enter(block);
            b.store(Arg::Stack(slot, 0), 0, 8, Arg::Number(verdict));
            b.ret(Arg::Number(verdict));
        }
        b.finish("f")
    }

    #[test]
    fn the_way_that_most_packets_take_comes_next() {
        // Where a lookup is followed by a branch, the verdict of the way that goes on.
        let goes_on = |rare: [bool; 2]| {
            let code = compile(&looks(rare)).unwrap();
            let behind = code.insns.iter().skip_while(|insn| **insn != Insn::call(1));
            behind.take_while(|insn| **insn != Insn::exit()).find(|insn| insn.dst == 0 && insn.makes()).map(|insn| insn.imm)
        };
        assert_eq!(goes_on([false, false]), Some(2));
        assert_eq!(goes_on([false, true]), Some(2));
        assert_eq!(goes_on([true, false]), Some(1));
    }

    #[test]
    fn what_is_asked_of_a_word_is_as_likely_as_the_way_that_set_it() {
        let code = |rare: u64| {
            let mut b = Builder::new(Span::default(), &[Type::Context]);
            let context = b.input(0).value().unwrap();
            let number = b.field(context, Field::IngressIfindex);
            let (met, slot) = (b.block(), b.slot(8));
            let word = Arg::Value(b.param(met, Type::Word, 8));
            for value in 0..2 {
                let this = if value == rare { b.rare() } else { b.block() };
                let next = b.block();
                b.branch(Cmp::Eq, number, Arg::Number(value + 7), this, next);
                b.enter(this);
                b.jump(met, vec![Arg::Number(value)]);
                b.enter(next);
            }
            b.ret(Arg::Number(9));
            b.enter(met);
            // What happens here keeps ways from going where they are led at once.
            b.store(Arg::Stack(slot, 0), 0, 8, word);
            b.call(Helper::MapLookup, vec![Arg::Map(MapId(0)), Arg::Stack(slot, 0)]);
            let [zero, one] = [b.block(), b.block()];
            b.branch(Cmp::Eq, word, Arg::Number(0), zero, one);
            for (block, verdict) in [(zero, 20), (one, 21)] {
                b.enter(block);
                b.store(Arg::Stack(slot, 0), 0, 8, Arg::Number(verdict));
                b.ret(Arg::Number(verdict));
            }
            compile(&b.finish("f")).unwrap().insns
        };
        let first_verdict = |insns: Vec<Insn>| insns.iter().find(|insn| matches!(insn.imm, 20 | 21)).map(|insn| insn.imm);
        assert_eq!(first_verdict(code(1)), Some(20));
        assert_eq!(first_verdict(code(0)), Some(21));
    }
}
