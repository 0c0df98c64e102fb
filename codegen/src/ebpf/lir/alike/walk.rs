//! Copies of a region gone through in lockstep: what is merged of them, and where their ways part.

use super::super::{Arg, Bin, BlockId, End, Function, Inst, Op, Type, Value};
use super::places::Places;
use grv_lang::span::Span;
use rustc_hash::FxHashMap;

/// Blocks of a region at most.
const MOST: usize = 2_000;

/// Copies of a block, merged. Those without copies are where ways part.
pub(super) struct Met {
    pub(super) copies: Vec<BlockId>,
    pub(super) params: Vec<Value>,
    pub(super) insts: Vec<Inst>,
    pub(super) last: Last,
    pub(super) span: Span,
}

/// How it ends.
pub(super) enum Last {
    /// As all copies do. Merged blocks have the numbers behind those of the function.
    Same(End),
    /// Each copy goes on with what is its own.
    Apart(Vec<(Vec<Inst>, End)>),
}

/// What the copies do not have in common: by copy a number, or something made before the region.
pub(super) struct Given {
    pub(super) tuple: Vec<Arg>,
    /// What it is in the merged region.
    pub(super) value: Value,
}

/// Copies of a region, from the blocks where they begin.
pub(super) struct Walk<'f> {
    function: &'f Function,
    places: &'f Places,
    entries: &'f [BlockId],
    /// By operands of the copies: the merged operand.
    known: FxHashMap<Vec<Arg>, Arg>,
    /// The same of values, in the order in which they were met.
    pub(super) pairs: Vec<(Vec<Arg>, Value)>,
    pub(super) given: Vec<Given>,
    pub(super) met: Vec<Met>,
    /// By block of a copy: which merged block it is part of.
    pub(super) part: FxHashMap<BlockId, usize>,
    /// Types and bits of new values.
    pub(super) new: Vec<(Type, u8)>,
    work: Vec<usize>,
}

impl<'f> Walk<'f> {
    /// Goes through copies that begin with these blocks. None dominates another. None: they are not alike.
    pub(super) fn of(function: &'f Function, places: &'f Places, entries: &'f [BlockId]) -> Option<Walk<'f>> {
        let mut walk = Walk {
            function,
            places,
            entries,
            known: FxHashMap::default(),
            pairs: Vec::new(),
            given: Vec::new(),
            met: Vec::new(),
            part: FxHashMap::default(),
            new: Vec::new(),
            work: Vec::new(),
        };
        walk.enter(entries)?;
        while let Some(at) = walk.work.pop() {
            walk.block(at)?;
        }
        Some(walk)
    }

    /// Instructions that are there once instead of several times.
    pub(super) fn saved(&self) -> usize {
        let merged: usize = self.met.iter().filter(|met| !met.copies.is_empty()).map(|met| met.insts.len() + 1).sum();
        let apart = self.met.iter().filter(|met| matches!(met.last, Last::Apart(_))).count();
        (merged * (self.entries.len() - 1)).saturating_sub(apart * self.entries.len())
    }

    fn fresh(&mut self, ty: Type, bits: u8) -> Value {
        self.new.push((ty, bits));
        Value((self.function.types.len() + self.new.len() - 1) as u32)
    }

    fn ty(&self, arg: Arg) -> Type {
        match arg {
            Arg::Value(value) => self.function.types[value.index()],
            _ => Type::Word,
        }
    }

    fn bits(&self, arg: Arg) -> u8 {
        match arg {
            Arg::Number(number) => (64 - number.leading_zeros()) as u8,
            Arg::Value(value) => self.function.bits[value.index()],
            _ => 64,
        }
    }

    /// A new value that stands for one of each copy.
    fn merged(&mut self, tuple: Vec<Arg>) -> Value {
        let bits = tuple.iter().map(|arg| self.bits(*arg)).max().unwrap_or(64);
        let value = self.fresh(self.ty(tuple[0]), bits);
        self.known.insert(tuple.clone(), Arg::Value(value));
        self.pairs.push((tuple, value));
        value
    }

    /// The merged operand for those of the copies.
    fn pair(&mut self, tuple: Vec<Arg>) -> Option<Arg> {
        if let Some(known) = self.known.get(&tuple) {
            return Some(*known);
        }
        if tuple.iter().all(|arg| *arg == tuple[0]) {
            return Some(tuple[0]);
        }
        let outside = |(arg, entry): (&Arg, &BlockId)| match arg {
            Arg::Number(_) => true,
            Arg::Value(value) => !self.places.dominates(*entry, self.places.made(*value)),
            _ => false,
        };
        let ty = match tuple[0] {
            // They lie behind each other.
            Arg::Global(map, _) => {
                let same = |arg: &Arg| matches!(arg, Arg::Global(other, _) if *other == map);
                tuple.iter().all(same).then_some(Type::Entry)?
            }
            first => {
                let same = tuple.iter().all(|arg| self.ty(*arg) == self.ty(first));
                (same && tuple.iter().zip(self.entries).all(outside)).then_some(self.ty(first))?
            }
        };
        let bits = tuple.iter().map(|arg| self.bits(*arg)).max().unwrap_or(64);
        let value = self.fresh(ty, bits);
        self.known.insert(tuple.clone(), Arg::Value(value));
        self.given.push(Given { tuple, value });
        Some(Arg::Value(value))
    }

    /// Begins a merged block, if blocks can be merged: none is part of another merged block, or reached but through the region's beginning.
    fn enter(&mut self, blocks: &[BlockId]) -> Option<usize> {
        let free = blocks
            .iter()
            .zip(self.entries)
            .all(|(block, entry)| !self.part.contains_key(block) && block.index() != 0 && self.places.dominates(*entry, *block));
        let params: Vec<&Vec<Value>> = blocks.iter().map(|block| &self.function.blocks[block.index()].params).collect();
        let types = |params: &[Value]| params.iter().map(|param| self.function.types[param.index()]).collect::<Vec<_>>();
        let first = types(params[0]);
        if !free || !params.iter().all(|other| types(other) == first) || self.met.len() > MOST {
            return None;
        }
        let at = self.met.len();
        let tuple = |index: usize| params.iter().map(|params| Arg::Value(params[index])).collect::<Vec<_>>();
        let tuples: Vec<Vec<Arg>> = (0..first.len()).map(tuple).collect();
        let params = tuples.into_iter().map(|tuple| self.merged(tuple)).collect();
        let span = self.function.blocks[blocks[0].index()].span;
        self.met.push(Met { copies: blocks.to_vec(), params, insts: Vec::new(), last: Last::Apart(Vec::new()), span });
        self.part.extend(blocks.iter().map(|block| (*block, at)));
        self.work.push(at);
        Some(at)
    }

    fn block(&mut self, at: usize) -> Option<()> {
        let function = self.function;
        let blocks: Vec<_> = self.met[at].copies.iter().map(|block| &function.blocks[block.index()]).collect();
        // By copy: how many of its instructions are merged.
        let mut places = vec![0; blocks.len()];
        let mut insts = Vec::new();
        let last = loop {
            let next: Vec<Option<&Inst>> = blocks.iter().zip(&places).map(|(block, at)| block.insts.get(*at)).collect();
            if next.iter().all(Option::is_none) {
                let ends: Vec<&End> = blocks.iter().map(|block| &block.end).collect();
                match self.end(&ends) {
                    Some(end) => break Last::Same(end),
                    None => break self.apart(&blocks, &places),
                }
            }
            let all: Option<Vec<&Inst>> = next.iter().copied().collect();
            if let Some(inst) = all.and_then(|all| self.inst(&all)) {
                insts.push(inst);
                places.iter_mut().for_each(|at| *at += 1);
            } else if let Some((inst, with)) = self.nothing_for_some(&next) {
                insts.push(inst);
                places.iter_mut().zip(with).for_each(|(at, with)| *at += usize::from(with));
            } else {
                break self.apart(&blocks, &places);
            }
        };
        if at == 0 && insts.is_empty() && matches!(last, Last::Apart(_)) {
            return None;
        }
        (self.met[at].insts, self.met[at].last) = (insts, last);
        Some(())
    }

    fn apart(&self, blocks: &[&super::super::Block], places: &[usize]) -> Last {
        let rest = |(block, at): (&&super::super::Block, &usize)| (block.insts[*at..].to_vec(), block.end.clone());
        Last::Apart(blocks.iter().zip(places).map(rest).collect())
    }

    /// Instructions that do the same with operands that correspond.
    fn inst(&mut self, insts: &[&Inst]) -> Option<Inst> {
        let first = insts[0];
        let what = shape(&first.op);
        let ty = |inst: &Inst| inst.result.map(|value| self.function.types[value.index()]);
        let same = |inst: &&Inst| inst.commit == first.commit && ty(inst) == ty(first) && shape(&inst.op) == what;
        if !insts[1..].iter().all(same) {
            return None;
        }
        let args: Vec<Vec<Arg>> = insts.iter().map(|inst| inst.op.args()).collect();
        let (mut op, mut merged) = (first.op.clone(), self.operands(&args)?.into_iter());
        op.each_arg(|arg| *arg = merged.next().unwrap_or(*arg));
        let result = insts.iter().map(|inst| inst.result.map(Arg::Value)).collect::<Option<Vec<_>>>();
        let result = result.map(|tuple| self.merged(tuple));
        Some(Inst { op, result, span: first.span, commit: first.commit })
    }

    fn operands(&mut self, args: &[Vec<Arg>]) -> Option<Vec<Arg>> {
        (0..args[0].len()).map(|index| self.pair(args.iter().map(|args| args[index]).collect())).collect()
    }

    /// An operation on a number that some copies do not have, since theirs would be 0: and which ones have it.
    fn nothing_for_some(&mut self, next: &[Option<&Inst>]) -> Option<(Inst, Vec<bool>)> {
        let parts = |inst: &Inst| match inst.op {
            Op::Bin { op: op @ (Bin::Add | Bin::Or | Bin::Xor), wide: true, a: a @ Arg::Value(_), b: Arg::Number(number) } => {
                Some((op, a, number))
            }
            _ => None,
        };
        let next: Vec<Option<(&Inst, (Bin, Arg, u64))>> =
            next.iter().map(|inst| inst.and_then(|inst| Some((inst, parts(inst)?)))).collect();
        let (first, (op, ..)) = *next.iter().flatten().next()?;
        let with: Vec<bool> = next.iter().map(|inst| inst.is_some_and(|(_, (other, ..))| other == op)).collect();
        if with.iter().all(|with| *with) {
            return None;
        }
        // What the others would operate on is what corresponds.
        let corresponds = |(tuple, _): &&(Vec<Arg>, Value)| {
            let mut both = tuple.iter().zip(&next).zip(&with);
            both.all(|((arg, inst), with)| !with || inst.is_some_and(|(_, (_, a, _))| a == *arg))
        };
        let (tuple, value) = self.pairs.iter().rev().find(corresponds)?.clone();
        let of = |index: usize| next[index].filter(|_| with[index]);
        let numbers = (0..next.len()).map(|index| Arg::Number(of(index).map_or(0, |(_, (.., number))| number)));
        let number = self.pair(numbers.collect())?;
        let results = (0..next.len()).map(|index| match of(index) {
            Some((inst, _)) => inst.result.map(Arg::Value),
            None => Some(tuple[index]),
        });
        let results = results.collect::<Option<Vec<_>>>()?;
        let result = self.merged(results);
        let op = Op::Bin { op, wide: true, a: Arg::Value(value), b: number };
        Some((Inst { op, result: Some(result), span: first.span, commit: None }, with))
    }

    fn end(&mut self, ends: &[&End]) -> Option<End> {
        match ends[0] {
            End::Return(_) => {
                let verdicts = ends.iter().map(|end| if let End::Return(verdict) = end { Some(*verdict) } else { None });
                Some(End::Return(self.pair(verdicts.collect::<Option<_>>()?)?))
            }
            End::Jump(..) => {
                let jumps = ends.iter().map(|end| if let End::Jump(to, args) = end { Some((*to, args.clone())) } else { None });
                let (to, args) = self.go(jumps.collect::<Option<_>>()?);
                Some(End::Jump(to, args))
            }
            End::Branch { cmp: first, .. } => {
                let branches = ends.iter().map(|end| match end {
                    End::Branch { cmp, a, b, then, other } if cmp == first => Some((*a, *b, *then, *other)),
                    End::Branch { cmp, a, b, then, other } if cmp.negated() == *first => Some((*a, *b, *other, *then)),
                    _ => None,
                });
                let branches = branches.collect::<Option<Vec<_>>>()?;
                let a = self.pair(branches.iter().map(|(a, ..)| *a).collect())?;
                let b = self.pair(branches.iter().map(|(_, b, ..)| *b).collect())?;
                let (then, _) = self.go(branches.iter().map(|(_, _, then, _)| (*then, Vec::new())).collect());
                let (other, _) = self.go(branches.iter().map(|(.., other)| (*other, Vec::new())).collect());
                Some(End::Branch { cmp: *first, a, b, then, other })
            }
        }
    }

    /// Where the copies go: to one place with what is merged, or apart.
    fn go(&mut self, jumps: Vec<(BlockId, Vec<Arg>)>) -> (BlockId, Vec<Arg>) {
        let blocks: Vec<BlockId> = jumps.iter().map(|(to, _)| *to).collect();
        let number = |at: usize| BlockId((self.function.blocks.len() + at) as u32);
        let known = self.part.get(&blocks[0]).copied().filter(|at| self.met[*at].copies == blocks).map(number);
        let to = if blocks.iter().all(|to| *to == blocks[0]) { Some(blocks[0]) } else { known };
        let to = to.or_else(|| {
            let at = self.enter(&blocks)?;
            Some(BlockId((self.function.blocks.len() + at) as u32))
        });
        let args: Vec<Vec<Arg>> = jumps.iter().map(|(_, args)| args.clone()).collect();
        if let Some((to, args)) = to.and_then(|to| Some((to, self.operands(&args)?))) {
            return (to, args);
        }
        let rest = jumps.into_iter().map(|(to, args)| (Vec::new(), End::Jump(to, args))).collect();
        let span = self.function.blocks[blocks[0].index()].span;
        self.met.push(Met { copies: Vec::new(), params: Vec::new(), insts: Vec::new(), last: Last::Apart(rest), span });
        (BlockId((self.function.blocks.len() + self.met.len() - 1) as u32), Vec::new())
    }
}

/// An operation without what it is carried out on.
pub(super) fn shape(op: &Op) -> Op {
    let mut op = op.clone();
    op.each_arg(|arg| *arg = Arg::Value(Value(0)));
    op
}
