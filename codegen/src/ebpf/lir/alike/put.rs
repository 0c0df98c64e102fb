//! Puts a merged region into a function in the place of its copies.
//!
//! What numbers are in each copy comes from one word, the selector: it is one of these numbers, or the copy's own, and the others are computed from it
//! where they are needed. It is given to the region, unless a word that was compared on the way there is the same.

use super::super::simplify::Replaced;
use super::super::{Arg, Bin, Block, BlockId, Cmp, End, Function, Inst, Op, Type, Value};
use super::places::Places;
use super::repair::Region;
use super::walk::{Given, Last, Walk};
use grv_lang::span::Span;
use rustc_hash::FxHashMap;

/// Numbers that a region is given at most: they need room that the copies did not need.
const MORE: usize = 3;
/// Values that a region is given at most.
const MOST_GIVEN: usize = 12;

/// How a value that copies do not have in common is had in the region.
#[derive(Clone, Copy)]
enum Source {
    /// It is given, or was made before.
    Same(Arg),
    /// `a + b * selector`.
    Linear { a: u64, b: u64 },
    /// As far behind a place among global variables.
    Behind { place: Arg, a: u64, b: u64 },
}

/// The function with the copies merged, if that is right. What was there before is as it was, but not reached.
pub(super) fn put(
    function: &Function,
    places: &Places,
    entries: &[BlockId],
    walk: Walk<'_>,
    plan: Plan,
) -> Option<(Function, Places)> {
    let mut out = function.clone();
    for (ty, bits) in walk.new.iter().copied().chain(plan.own) {
        out.types.push(ty);
        out.bits.push(bits);
    }
    let base = function.blocks.len();
    let first = BlockId(base as u32);
    let mut put = Put { out, plan: &plan, first };
    let spans: Vec<Span> = walk.met.iter().map(|met| met.span).collect();
    let mut lasts = Vec::new();
    for (at, met) in walk.met.into_iter().enumerate() {
        let mut params = met.params;
        if at == 0 {
            params.extend(plan.params.iter().map(|(param, _)| *param));
        }
        let rare = !met.copies.is_empty() && met.copies.iter().all(|copy| function.blocks[copy.index()].rare);
        put.out.blocks.push(Block { params, insts: met.insts, end: End::Return(Arg::Number(0)), span: met.span, rare });
        lasts.push(met.last);
    }
    for (at, last) in lasts.into_iter().enumerate() {
        let (block, span) = (BlockId((base + at) as u32), spans[at]);
        let end = match last {
            Last::Same(end) => put.back(end, first, span),
            Last::Apart(rests) => {
                let rests = rests.into_iter().zip(entries).map(|((insts, end), entry)| {
                    let end = put.back(end, *entry, span);
                    put.block(insts, end, span)
                });
                let rests = rests.collect::<Vec<_>>();
                put.part(&rests, span)?
            }
        };
        put.out.blocks[block.index()].end = end;
        put.derive(block);
    }
    for id in places.dominators.order.iter().filter(|id| !walk.part.contains_key(id)) {
        if let Some(entry) = entries.iter().find(|entry| places.dominates(**entry, *id)) {
            let (end, span) = (put.out.blocks[id.index()].end.clone(), put.out.blocks[id.index()].span);
            put.out.blocks[id.index()].end = put.back(end, *entry, span);
        }
    }
    let mut out = put.out;
    // What remains of the copies leads to what is merged of them, and uses its values.
    let mut renamed = Replaced::new(out.types.len());
    for (tuple, value) in &walk.pairs {
        for old in tuple.iter().filter_map(|arg| arg.value()) {
            if renamed.of(Arg::Value(old)) == Arg::Value(old) && old != *value {
                renamed.set(old, Arg::Value(*value));
            }
        }
    }
    let parts: FxHashMap<BlockId, BlockId> = walk
        .part
        .iter()
        .filter(|(block, _)| !entries.contains(block))
        .map(|(block, at)| (*block, BlockId((base + at) as u32)))
        .collect();
    out.replace(&renamed);
    for block in &mut out.blocks {
        let lead = |to: &mut BlockId| *to = parts.get(to).copied().unwrap_or(*to);
        match &mut block.end {
            End::Jump(to, _) => lead(to),
            End::Branch { then, other, .. } => [then, other].into_iter().for_each(lead),
            End::Return(_) => {}
        }
    }
    for (copy, entry) in entries.iter().enumerate() {
        let block = &mut out.blocks[entry.index()];
        block.insts.clear();
        let own = block.params.iter().map(|param| Arg::Value(*param));
        block.end = End::Jump(first, own.chain(plan.params.iter().map(|(_, tuple)| tuple[copy])).collect());
    }
    let given = plan.params.iter().map(|(param, tuple)| (*param, tuple.iter().copied().map(Some).collect())).collect();
    let now = Region { begin: first, entries, given }.repair(&mut out, places)?;
    Some((out, now))
}

/// What the region is given, and what is made of it.
pub(super) struct Plan {
    /// Parameters, with what the copies give.
    params: Vec<(Value, Vec<Arg>)>,
    /// By value that the copies do not have in common.
    sources: FxHashMap<Value, Source>,
    /// The selector, and which copy it tells by which number.
    selector: Option<(Arg, Vec<u64>)>,
    /// What the selector is, if it is a value that was not there before.
    own: Option<(Type, u8)>,
}

impl Plan {
    /// About how many instructions the copies need to give what the region is given.
    pub(super) fn cost(&self) -> usize {
        self.params.iter().map(|(_, tuple)| tuple.len()).sum()
    }
}

/// Plans a region, if it is not given too much.
pub(super) fn plan(function: &Function, places: &Places, entries: &[BlockId], walk: &Walk<'_>) -> Option<Plan> {
    let apart = walk.met.iter().any(|met| matches!(met.last, Last::Apart(_)));
    let mut uses: FxHashMap<Value, u32> = FxHashMap::default();
    for met in &walk.met {
        let ends = if let Last::Same(end) = &met.last { end.args() } else { Vec::new() };
        let args = met.insts.iter().flat_map(|inst| inst.op.args()).chain(ends);
        args.filter_map(|arg| arg.value()).for_each(|value| *uses.entry(value).or_default() += 1);
    }
    let given: Vec<&Given> = walk.given.iter().filter(|given| uses.contains_key(&given.value)).collect();
    let numbers = |given: &Given| -> Option<Vec<u64>> {
        given.tuple.iter().map(|arg| if let Arg::Global(_, at) = arg { Some(u64::from(*at)) } else { arg.number() }).collect()
    };
    let sequences: Vec<(Vec<u64>, u32)> = given.iter().filter_map(|given| Some((numbers(given)?, uses[&given.value]))).collect();
    let mut plan = Plan { params: Vec::new(), sources: FxHashMap::default(), selector: None, own: None };
    let mut sequence = None;
    if apart || !sequences.is_empty() {
        let own: Vec<u64> = (0..entries.len() as u64).collect();
        let told = |sequence: &[u64]| (1..sequence.len()).all(|at| !sequence[..at].contains(&sequence[at]));
        let plain = given.iter().filter(|given| !matches!(given.tuple[0], Arg::Global(..))).filter_map(|given| numbers(given));
        let candidates = plain.filter(|sequence| told(sequence)).chain([own]);
        let cost = |of: &Vec<u64>| {
            let each = sequences.iter().map(|(sequence, uses)| match linear(of, sequence) {
                Some((0, 1)) => 0,
                Some((0, _) | (_, 1)) => *uses,
                Some(_) => 2 * *uses,
                None => 100,
            });
            each.sum::<u32>()
        };
        // Of those that cost the same, the first.
        let chosen = candidates.min_by_key(cost)?;
        // It may be that nothing is computed from any.
        if apart || sequences.iter().any(|(sequence, _)| linear(&chosen, sequence).is_some()) {
            let known = known(function, places, entries, &chosen);
            let selector = known.unwrap_or_else(|| {
                let most = chosen.iter().copied().max().unwrap_or(0);
                plan.own = Some((Type::Word, (64 - most.leading_zeros()) as u8));
                let param = Value((function.types.len() + walk.new.len()) as u32);
                plan.params.push((param, chosen.iter().map(|number| Arg::Number(*number)).collect()));
                Arg::Value(param)
            });
            plan.selector = Some((selector, chosen.clone()));
            sequence = Some((selector, chosen));
        }
    }
    for given in given {
        let by = numbers(given).and_then(|numbers| {
            let (selector, chosen) = sequence.as_ref()?;
            let first = match given.tuple[0] {
                Arg::Global(..) => numbers.iter().copied().min()?,
                _ => 0,
            };
            let behind: Vec<u64> = numbers.iter().map(|number| number - first).collect();
            let (a, b) = linear(chosen, &behind)?;
            Some(match given.tuple[0] {
                Arg::Global(map, _) => Source::Behind { place: Arg::Global(map, u32::try_from(first).ok()?), a, b },
                _ if (a, b) == (0, 1) => Source::Same(*selector),
                _ => Source::Linear { a, b },
            })
        });
        let source = match by {
            Some(source) => source,
            None if matches!(given.tuple[0], Arg::Global(..)) => return None,
            None => {
                plan.params.push((given.value, given.tuple.clone()));
                Source::Same(Arg::Value(given.value))
            }
        };
        plan.sources.insert(given.value, source);
    }
    let more = plan.params.iter().filter(|(_, tuple)| tuple.iter().all(|arg| arg.number().is_some())).count();
    (more <= MORE && plan.params.len() <= MOST_GIVEN).then_some(plan)
}

/// A word that is known to be one of these numbers where the copy begins, whichever it is.
fn known(function: &Function, places: &Places, entries: &[BlockId], numbers: &[u64]) -> Option<Arg> {
    let is = |entry: BlockId, value: Value, number: u64| places.facts(function, entry).any(|fact| fact == (value, number, true));
    let (first, number) = (*entries.first()?, *numbers.first()?);
    let mut values =
        places.facts(function, first).filter(|(_, other, equal)| *equal && *other == number).map(|(value, ..)| value);
    let all = |value: &Value| entries.iter().zip(numbers).all(|(entry, number)| is(*entry, *value, *number));
    values.find(all).map(Arg::Value)
}

/// How the second numbers are computed from the first: what is added to what each is multiplied by.
fn linear(from: &[u64], to: &[u64]) -> Option<(u64, u64)> {
    let signed = |a: u64, b: u64| i64::try_from(i128::from(a) - i128::from(b)).ok();
    let (x, y) = (signed(*from.get(1)?, from[0])?, signed(*to.get(1)?, to[0])?);
    let slope = y.checked_rem(x).filter(|rest| *rest == 0).map(|_| y / x)?;
    i32::try_from(slope).ok()?;
    let b = slope as u64;
    let a = to[0].wrapping_sub(from[0].wrapping_mul(b));
    i32::try_from(a as i64).ok()?;
    let holds = |(x, y): (&u64, &u64)| a.wrapping_add(x.wrapping_mul(b)) == *y;
    from.iter().zip(to).all(holds).then_some((a, b))
}

struct Put<'p> {
    out: Function,
    plan: &'p Plan,
    /// Where the merged region begins.
    first: BlockId,
}

impl Put<'_> {
    fn block(&mut self, insts: Vec<Inst>, end: End, span: Span) -> BlockId {
        self.out.blocks.push(Block { params: Vec::new(), insts, end, span, rare: false });
        BlockId(self.out.blocks.len() as u32 - 1)
    }

    /// Ways back to where the region, or the copy, begins give what it was given.
    fn back(&mut self, end: End, begin: BlockId, span: Span) -> End {
        let (first, given) = (self.first, self.plan.params.iter().map(|(param, _)| Arg::Value(*param)).collect::<Vec<_>>());
        match end {
            End::Jump(to, args) if to == begin => End::Jump(first, [args, given].concat()),
            End::Branch { cmp, a, b, then, other } => {
                let [then, other] = [then, other].map(|to| match to == begin {
                    true => self.block(Vec::new(), End::Jump(first, given.clone()), span),
                    false => to,
                });
                End::Branch { cmp, a, b, then, other }
            }
            end => end,
        }
    }

    /// Goes on in one block of each copy.
    fn part(&mut self, rests: &[BlockId], span: Span) -> Option<End> {
        let (selector, numbers) = self.plan.selector.clone()?;
        let mut end = End::Jump(*rests.last()?, Vec::new());
        for (to, number) in rests.iter().zip(&numbers).rev().skip(1) {
            let other = match end {
                End::Jump(to, _) => to,
                end => self.block(Vec::new(), end, span),
            };
            end = End::Branch { cmp: Cmp::Eq, a: selector, b: Arg::Number(*number), then: *to, other };
        }
        Some(end)
    }

    /// Puts in what is computed from the selector, before where it is needed.
    fn derive(&mut self, block: BlockId) {
        let (insts, end) = {
            let block = &mut self.out.blocks[block.index()];
            (std::mem::take(&mut block.insts), block.end.clone())
        };
        let span = self.out.blocks[block.index()].span;
        let (mut made, mut kept) = (FxHashMap::default(), Vec::new());
        for mut inst in insts {
            let span = inst.span;
            inst.op.each_arg(|arg| *arg = self.source(*arg, span, &mut made, &mut kept));
            kept.push(inst);
        }
        let mut end = end;
        end.each_arg(|arg| *arg = self.source(*arg, span, &mut made, &mut kept));
        let block = &mut self.out.blocks[block.index()];
        (block.insts, block.end) = (kept, end);
    }

    fn source(&mut self, arg: Arg, span: Span, made: &mut FxHashMap<Value, Arg>, into: &mut Vec<Inst>) -> Arg {
        let Some((value, source)) = arg.value().and_then(|value| Some((value, *self.plan.sources.get(&value)?))) else {
            return arg;
        };
        if let Source::Same(arg) = source {
            return arg;
        }
        if let Some(known) = made.get(&value) {
            return *known;
        }
        let bits = self.out.bits[value.index()];
        let selector = self.plan.selector.as_ref().map_or(Arg::Number(0), |(selector, _)| *selector);
        let mut compute = |op: Op, ty: Type, bits: u8| {
            self.out.types.push(ty);
            self.out.bits.push(bits);
            let result = Value(self.out.types.len() as u32 - 1);
            into.push(Inst { op, result: Some(result), span, commit: None });
            Arg::Value(result)
        };
        let (Source::Linear { a, b } | Source::Behind { a, b, .. }) = source else { return arg };
        let mut word = selector;
        if b != 1 {
            let (op, by) = if b.is_power_of_two() { (Bin::Shl, b.trailing_zeros().into()) } else { (Bin::Mul, b) };
            word = compute(Op::Bin { op, wide: true, a: word, b: Arg::Number(by) }, Type::Word, if a == 0 { bits } else { 64 });
        }
        if a != 0 {
            word = compute(Op::Bin { op: Bin::Add, wide: true, a: word, b: Arg::Number(a) }, Type::Word, bits);
        }
        let result = match source {
            Source::Behind { place, .. } => compute(Op::Place { base: place, by: word }, Type::Entry, 64),
            _ => word,
        };
        made.insert(value, result);
        result
    }
}
