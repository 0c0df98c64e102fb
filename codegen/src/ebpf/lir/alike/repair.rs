//! Where ways of several copies lead through one region, a value that only one copy needs is not made on all of them. It is given to the region, by the other copies
//! as anything, and goes on as a parameter to where ways with it and without it meet.

use super::super::{Arg, Block, BlockId, End, Function, Type, Value};
use super::places::Places;
use std::collections::BTreeMap;

/// Values that are given that way at most.
const MOST: usize = 24;

/// A merged region in a function.
pub(super) struct Region<'r> {
    /// Where it begins, and where the copies did: blocks that only lead there.
    pub(super) begin: BlockId,
    pub(super) entries: &'r [BlockId],
    /// Its parameters that are given at those, with what is given.
    pub(super) given: Vec<(Value, Vec<Option<Arg>>)>,
}

impl Region<'_> {
    /// Gives what is missing; where that leaves everything made where it is used, that is known of the function now.
    pub(super) fn repair(mut self, out: &mut Function, before: &Places) -> Option<Places> {
        let places = Places::of(out);
        let missing = places.missing(out);
        if missing.is_empty() {
            return Some(places);
        }
        if missing.len() > MOST {
            return None;
        }
        let old = self.given.len();
        let mut through = Vec::new();
        for value in missing {
            through.push((value, self.give(out, before, value)?));
        }
        self.put_given(out, before, old)?;
        let mut ways = Ways { order: places.dominators.order.clone(), preds: vec![Vec::new(); out.blocks.len()] };
        for id in &ways.order {
            out.blocks[id.index()].end.targets().for_each(|to| ways.preds[to.index()].push(*id));
        }
        for (value, here) in through {
            ways.follow(out, value, places.made(value), self.begin, here)?;
        }
        let places = Places::of(out);
        places.missing(out).is_empty().then_some(places)
    }

    /// What stands for a value where the region begins.
    fn give(&mut self, out: &mut Function, before: &Places, value: Value) -> Option<Arg> {
        let ty = out.types[value.index()];
        let made = before.made(value);
        let has = |entry: &BlockId| made != *entry && before.dominates(made, *entry);
        let needed: Vec<Option<Arg>> = self.entries.iter().map(|entry| has(entry).then_some(Arg::Value(value))).collect();
        if needed.iter().all(Option::is_none) {
            return any(out, before, ty, self.entries);
        }
        let fits = |(param, tuple): &&mut (Value, Vec<Option<Arg>>)| {
            out.types[param.index()] == ty
                && tuple.iter().zip(&needed).all(|(has, needs)| needs.is_none() || has.is_none() || has == needs)
        };
        if let Some((param, tuple)) = self.given.iter_mut().find(fits) {
            tuple.iter_mut().zip(needed).for_each(|(has, needs)| *has = has.or(needs));
            let bits = out.bits[value.index()].max(out.bits[param.index()]);
            out.bits[param.index()] = bits;
            return Some(Arg::Value(*param));
        }
        let param = fresh(out, value);
        self.given.push((param, needed));
        Some(Arg::Value(param))
    }

    /// Puts in new parameters. Ways back to the beginning give what it was given.
    fn put_given(&self, out: &mut Function, before: &Places, old: usize) -> Option<()> {
        let new = &self.given[old..];
        for (param, tuple) in new {
            out.blocks[self.begin.index()].params.push(*param);
            let ty = out.types[param.index()];
            for index in 0..out.blocks.len() {
                let given = match self.entries.iter().position(|entry| entry.index() == index) {
                    Some(copy) => match tuple[copy] {
                        Some(given) => given,
                        None => any(out, before, ty, &self.entries[copy..=copy])?,
                    },
                    None => Arg::Value(*param),
                };
                if let End::Jump(to, args) = &mut out.blocks[index].end
                    && *to == self.begin
                {
                    args.push(given);
                }
            }
        }
        Some(())
    }
}

/// A new value like another.
fn fresh(out: &mut Function, like: Value) -> Value {
    out.types.push(out.types[like.index()]);
    out.bits.push(out.bits[like.index()]);
    Value(out.types.len() as u32 - 1)
}

/// Anything of a type that is there where all of these begin.
fn any(out: &Function, before: &Places, ty: Type, entries: &[BlockId]) -> Option<Arg> {
    if ty == Type::Word {
        return Some(Arg::Number(0));
    }
    let there = |value: &Value| {
        let made = before.made(*value);
        out.types[value.index()] == ty && entries.iter().all(|entry| made != *entry && before.dominates(made, *entry))
    };
    let mut values = (0..before.values() as u32).map(Value);
    values.find(there).map(Arg::Value)
}

/// What a value is at a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Is {
    Itself,
    /// What stands for it in the region.
    Given,
    /// A parameter of this block.
    Met(BlockId),
}

/// Blocks that are reached, each behind those that dominate it (but for new ones), and what leads to each.
struct Ways {
    order: Vec<BlockId>,
    preds: Vec<Vec<BlockId>>,
}

impl Ways {
    /// Follows a value that is made in a block, and what stands for it from the beginning of a region on, to all uses.
    fn follow(&mut self, out: &mut Function, value: Value, made: BlockId, begin: BlockId, given: Arg) -> Option<()> {
        // Where it is needed at the beginning of a block.
        let uses = |id: &BlockId| {
            let (block, mut used) = (&mut out.blocks[id.index()], false);
            let mut note = |arg: &mut Arg| used |= *arg == Arg::Value(value);
            block.insts.iter_mut().for_each(|inst| inst.op.each_arg(&mut note));
            block.end.each_arg(&mut note);
            used
        };
        let mut live = vec![false; self.preds.len()];
        let mut work: Vec<BlockId> = self.order.iter().copied().filter(uses).collect();
        while let Some(id) = work.pop() {
            if id != made && !std::mem::replace(&mut live[id.index()], true) && id != begin {
                work.extend(&self.preds[id.index()]);
            }
        }
        if live[0] {
            return None;
        }
        let mut at: Vec<Option<Is>> = vec![None; self.preds.len()];
        let end = |at: &[Option<Is>], id: &BlockId| if *id == made { Some(Is::Itself) } else { at[id.index()] };
        let mut changed = true;
        while std::mem::take(&mut changed) {
            for id in self.order.iter().filter(|id| live[id.index()]) {
                let mut known = self.preds[id.index()].iter().filter_map(|pred| end(&at, pred));
                let is = match known.next() {
                    _ if *id == begin => Some(Is::Given),
                    // Once something else, it stays that.
                    _ if at[id.index()] == Some(Is::Met(*id)) => Some(Is::Met(*id)),
                    Some(first) if known.any(|other| other != first) => Some(Is::Met(*id)),
                    first => first,
                };
                changed |= is.is_some() && at[id.index()] != is;
                at[id.index()] = is.or(at[id.index()]);
            }
        }
        // Where ways meet on which it is something else.
        let met: Vec<BlockId> = self.order.iter().copied().filter(|id| at[id.index()] == Some(Is::Met(*id))).collect();
        let params: BTreeMap<BlockId, Value> = met.iter().map(|id| (*id, fresh(out, value))).collect();
        let arg = |is: Is| match is {
            Is::Itself => Arg::Value(value),
            Is::Given => given,
            Is::Met(id) => params.get(&id).map_or(given, |param| Arg::Value(*param)),
        };
        for id in self.order.iter().filter(|id| **id != made) {
            let Some(is) = at[id.index()] else { continue };
            let mut set = |old: &mut Arg| {
                if *old == Arg::Value(value) {
                    *old = arg(is);
                }
            };
            let block = &mut out.blocks[id.index()];
            block.insts.iter_mut().for_each(|inst| inst.op.each_arg(&mut set));
            block.end.each_arg(&mut set);
        }
        for (id, param) in &params {
            out.blocks[id.index()].params.push(*param);
            for index in 0..self.preds[id.index()].len() {
                let pred = self.preds[id.index()][index];
                let given = arg(end(&at, &pred)?);
                self.give(out, pred, *id, index, given);
            }
        }
        Some(())
    }

    /// Gives a block something more on its way from another. A branch cannot: there a block comes between them.
    fn give(&mut self, out: &mut Function, from: BlockId, to: BlockId, index: usize, given: Arg) {
        let span = out.blocks[from.index()].span;
        match &mut out.blocks[from.index()].end {
            End::Jump(_, args) => args.push(given),
            End::Branch { then, other, .. } => {
                let new = BlockId(self.preds.len() as u32);
                if let Some(way) = [then, other].into_iter().find(|way| **way == to) {
                    *way = new;
                }
                out.blocks.push(Block {
                    params: Vec::new(),
                    insts: Vec::new(),
                    end: End::Jump(to, vec![given]),
                    span,
                    rare: false,
                });
                self.preds[to.index()][index] = new;
                self.preds.push(vec![from]);
                self.order.push(new);
            }
            End::Return(_) => {}
        }
    }
}
