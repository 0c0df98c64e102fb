//! Instruction selection: which instructions of the machine carry out a function, still over virtual registers. Numbers that an
//! instruction can hold are put into it; others, and addresses of slots and maps, are made anew at each use, so that they
//! occupy no register for long, but for numbers that are longer than most instructions: those are made once between calls.

use super::super::lir::{Arg, Bin, BlockId, Cmp, End, Field, Function, Helper, MapId, Op, Slot, Value};
use super::super::lir::{Inst, Type};
use super::odds::Odds;
use grv_lang::span::Span;
use regalloc2::{Operand, PReg, PRegSet, RegClass, VReg};
use rustc_hash::FxHashMap;

/// What an instruction of the machine does with the registers that its operands were given.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Nothing: values are where the machine leaves them.
    Nothing,
    /// `2 = 0 op 1`, where 2 is 0.
    Alu(Bin, bool),
    /// `1 = 0 op number`, where 1 is 0.
    AluImm(Bin, bool, i32),
    /// `1 = 0`
    Copy,
    /// `1 = the low 32 bits of 0`
    Low32,
    /// `0 = number`
    Number(u64),
    /// `0 = a map`
    Map(MapId),
    /// `0 = a place among global variables`
    Global(MapId, u32),
    /// `0 = a function`
    Callback(u32),
    /// `0 = a place in a slot`
    Stack(Slot, u16),
    /// `1 = 0 with its bytes turned`, where 1 is 0.
    Swap(u8),
    /// `1 = *(0 + offset)`
    Load(u8, i16),
    /// `0 = *(slot + offset)`
    LoadStack(u8, Slot, i16),
    /// `*(0 + offset) = 1`
    Store(u8, i16),
    /// `*(0 + offset) = number`
    StoreImm(u8, i16, i32),
    /// `*(slot + offset) = 0`
    StoreStack(u8, Slot, i16),
    /// `*(slot + offset) = number`
    StoreStackImm(u8, Slot, i16, i32),
    /// `r0 = compare and swap *(0 + offset), r0, 1`
    CompareSwap(i16),
    /// `1 = *(0 + offset), to which 1 is added`
    FetchAdd(i16),
    /// `0 = *(slot + offset), to which 0 is added`
    FetchAddStack(Slot, i16),
    /// Calls a helper.
    Call(Helper),
    /// Calls a function.
    Invoke(u32),
    /// Goes on in a block.
    Jump(BlockId),
    /// `if 0 cmp 1`
    Branch(Cmp, bool, BlockId, BlockId),
    /// `if 0 cmp number`
    BranchImm(Cmp, bool, i32, BlockId, BlockId),
    /// Ends the program.
    Exit,
}

/// An instruction over virtual registers.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) action: Action,
    pub(crate) operands: Vec<Operand>,
    /// Whether the registers that a call destroys are destroyed.
    pub(crate) clobbers: bool,
    pub(crate) span: Span,
}

/// A block of the machine: its steps, and where values go with its jump.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// Index of its first step, and of the one behind its last.
    pub(crate) steps: std::ops::Range<usize>,
    pub(crate) params: Vec<VReg>,
    pub(crate) succs: Vec<regalloc2::Block>,
    pub(crate) preds: Vec<regalloc2::Block>,
    /// Arguments of a jump.
    pub(crate) args: Vec<VReg>,
    /// What may lie behind it, since it leads there without a jump then, and how often that saves one.
    pub(crate) on: Vec<(usize, f64)>,
    /// How often it is gone through.
    pub(crate) often: f64,
    /// Whether its branch goes on to a jump rather than jump itself.
    pub(crate) again: bool,
}

/// A function over virtual registers, in the order in which it will be laid out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selected {
    pub(crate) steps: Vec<Step>,
    pub(crate) runs: Vec<Run>,
    pub(crate) registers: usize,
}

/// A register of the machine.
pub(crate) const fn register(number: usize) -> PReg {
    PReg::new(number, RegClass::Int)
}

/// The registers that a call destroys besides the one with its result.
pub(crate) fn clobbered() -> PRegSet {
    (1..=5).fold(PRegSet::empty(), |set, number| set.with(register(number)))
}

/// Selects instructions.
pub(crate) fn select(function: &Function) -> Selected {
    let (order, uses) = (order(function), function.uses());
    let (made, heads) = (made(function, &order), heads(function, &order));
    let mut select = Select {
        function,
        uses,
        made,
        heads,
        at: 0,
        out: Selected::default(),
        order,
        span: Span::default(),
        numbers: FxHashMap::default(),
    };
    select.out.registers = function.types.len();
    select.run();
    select.out
}

/// Blocks so that each comes behind all that lead to it, but for loops; of two ways, the one taken if a comparison holds is next.
fn order(function: &Function) -> Vec<BlockId> {
    let mut state = vec![false; function.blocks.len()];
    let mut post = Vec::new();
    // Iterative, since ways can be long: a block with the number of its successors already gone to.
    let mut stack = vec![(BlockId(0), 0)];
    state[0] = true;
    while let Some((block, next)) = stack.pop() {
        let near;
        let succs: &[BlockId] = match &function.blocks[block.index()].end {
            End::Jump(to, _) => &[*to],
            End::Branch { cmp, then, other, .. } => {
                let [first, second] = nearest(*cmp, *then, *other);
                near = [second, first];
                &near
            }
            End::Return(_) => &[],
        };
        match succs.get(next) {
            Some(succ) => {
                stack.push((block, next + 1));
                if !std::mem::replace(&mut state[succ.index()], true) {
                    stack.push((*succ, 0));
                }
            }
            None => post.push(block),
        }
    }
    post.reverse();
    post
}

/// By value: the place in the order of the block that defines it.
fn made(function: &Function, order: &[BlockId]) -> Vec<usize> {
    let mut made = vec![0; function.types.len()];
    for (place, id) in order.iter().enumerate() {
        let block = &function.blocks[id.index()];
        let results = block.insts.iter().filter_map(|inst| inst.result);
        block.params.iter().copied().chain(results).for_each(|value| made[value.index()] = place);
    }
    made
}

/// By place in the order: where the innermost loop begins that it is in; 0, if it is in none.
fn heads(function: &Function, order: &[BlockId]) -> Vec<usize> {
    let mut place = vec![0; function.blocks.len()];
    order.iter().enumerate().for_each(|(at, id)| place[id.index()] = at);
    let mut heads = vec![0; order.len()];
    for (at, id) in order.iter().enumerate() {
        for to in function.blocks[id.index()].end.targets().map(|to| place[to.index()]).filter(|to| *to <= at) {
            heads[to..=at].iter_mut().for_each(|head| *head = to.max(*head));
        }
    }
    heads
}

/// The ways of a branch, first the one that it does not jump to. Whether bits are set can only be asked by a jump to where they are.
fn nearest(cmp: Cmp, then: BlockId, other: BlockId) -> [BlockId; 2] {
    if cmp == Cmp::Set { [other, then] } else { [then, other] }
}

struct Select<'f> {
    function: &'f Function,
    /// By value: how many operands it is.
    uses: Vec<u32>,
    /// See [`made`] and [`heads`].
    made: Vec<usize>,
    heads: Vec<usize>,
    /// The place of the block that is being selected.
    at: usize,
    out: Selected,
    order: Vec<BlockId>,
    span: Span,
    /// Long numbers that are in a register, in this block and since the last call.
    numbers: FxHashMap<u64, VReg>,
}

/// A place in the layout: a block, or the edge between two that meets others at its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Block(BlockId),
    Edge(BlockId),
    /// The same, on the way that is jumped to.
    FarEdge(BlockId),
}

impl Select<'_> {
    fn run(&mut self) {
        // Edges from a branch to a block that others lead to as well become blocks of their own, so that values can be moved
        // there. That of the way that goes on at once is laid out behind the branch, that of the other one behind all else (but registers are assigned as if it
        // were behind the branch, too); where nothing is moved, nothing of them is left.
        let mut preds = vec![0_u32; self.function.blocks.len()];
        for block in &self.function.blocks {
            match &block.end {
                End::Jump(to, _) => preds[to.index()] += 1,
                End::Branch { then, other, .. } => {
                    preds[then.index()] += 1;
                    preds[other.index()] += 1;
                }
                End::Return(_) => {}
            }
        }
        let mut places = Vec::new();
        let mut at = vec![0; self.function.blocks.len()];
        // By branch, and whether it is the way that it jumps to: the edge.
        let mut edges: FxHashMap<(BlockId, bool), usize> = FxHashMap::default();
        let odds = Odds::of(self.function, &self.order);
        // By edge: how often it is gone.
        let mut gone: FxHashMap<usize, f64> = FxHashMap::default();
        for block in &self.order {
            at[block.index()] = places.len();
            places.push(Place::Block(*block));
            if let End::Branch { cmp, then, other, .. } = self.function.blocks[block.index()].end {
                let [near, far] = nearest(cmp, then, other);
                let [first, second] = odds.ways(*block);
                let [often, seldom] = if near == then { [first, second] } else { [second, first] };
                if preds[near.index()] > 1 {
                    edges.insert((*block, false), places.len());
                    gone.insert(places.len(), often);
                    places.push(Place::Edge(near));
                }
                if preds[far.index()] > 1 {
                    edges.insert((*block, true), places.len());
                    gone.insert(places.len(), seldom);
                    places.push(Place::FarEdge(far));
                }
            }
        }
        let number = |block: BlockId| regalloc2::Block::new(at[block.index()]);
        let mut next = 0;
        for (here, place) in places.iter().enumerate() {
            let first = self.out.steps.len();
            let mut run = Run::default();
            self.numbers.clear();
            match *place {
                Place::Edge(to) | Place::FarEdge(to) => {
                    run.often = gone.get(&here).copied().unwrap_or(0.0);
                    run.succs = vec![number(to)];
                    run.on = vec![(at[to.index()], run.often)];
                    self.step(Action::Jump(BlockId(at[to.index()] as u32)), Vec::new());
                }
                Place::Block(id) => {
                    let block = &self.function.blocks[id.index()];
                    run.often = odds.block(id);
                    run.again = self.function.again.contains(&id);
                    (self.at, next) = (next, next + 1);
                    run.params = block.params.iter().map(|v| vreg(*v)).collect();
                    if id.index() == 0 {
                        self.inputs();
                    }
                    for inst in &block.insts {
                        self.inst(inst);
                    }
                    self.span = block.span;
                    match &block.end {
                        End::Jump(to, args) => {
                            run.args = args.iter().map(|arg| self.reg(*arg)).collect();
                            run.succs = vec![number(*to)];
                            run.on = vec![(at[to.index()], run.often)];
                            self.step(Action::Jump(BlockId(at[to.index()] as u32)), Vec::new());
                        }
                        End::Branch { cmp, a, b, then, other } => {
                            let near = nearest(*cmp, *then, *other);
                            let target = |far: bool| {
                                let direct = at[near[usize::from(far)].index()];
                                edges.get(&(id, far)).copied().unwrap_or(direct)
                            };
                            let (then, other) =
                                if *cmp == Cmp::Set { (target(true), target(false)) } else { (target(false), target(true)) };
                            run.succs = vec![regalloc2::Block::new(then), regalloc2::Block::new(other)];
                            // Whether bits are set can only be asked by a jump to where they are.
                            let [first, second] = odds.ways(id);
                            let jumps_first = *cmp == Cmp::Set || run.again;
                            run.on = if jumps_first { vec![(other, second)] } else { vec![(then, first), (other, second)] };
                            run.on.truncate(if *cmp == Cmp::Clear { 1 } else { 2 });
                            self.branch(*cmp, *a, *b, BlockId(then as u32), BlockId(other as u32));
                        }
                        End::Return(verdict) => {
                            let verdict = self.reg(*verdict);
                            self.step(Action::Exit, vec![Operand::reg_fixed_use(verdict, register(0))]);
                        }
                    }
                }
            }
            run.steps = first..self.out.steps.len();
            self.out.runs.push(run);
        }
        for index in 0..self.out.runs.len() {
            for succ in self.out.runs[index].succs.clone() {
                self.out.runs[succ.index()].preds.push(regalloc2::Block::new(index));
            }
        }
    }

    /// What the function is started with. Words stay for long: they are moved out of the registers that calls destroy.
    fn inputs(&mut self) {
        let inputs: Vec<VReg> = self.function.inputs.iter().map(|input| vreg(*input)).collect();
        let words = self.function.words().is_some();
        let given: Vec<VReg> = inputs.iter().map(|input| if words { self.fresh() } else { *input }).collect();
        let fixed = |(given, number): (&VReg, usize)| Operand::reg_fixed_def(*given, register(number));
        self.step(Action::Nothing, given.iter().zip(1..).map(fixed).collect());
        for (given, input) in given.into_iter().zip(inputs).filter(|_| words) {
            self.step(Action::Copy, vec![Operand::reg_use(given), Operand::reg_def(input)]);
        }
    }

    fn step(&mut self, action: Action, operands: Vec<Operand>) {
        let clobbers = matches!(action, Action::Call(_) | Action::Invoke(_));
        if clobbers {
            self.numbers.clear();
        }
        self.out.steps.push(Step { action, operands, clobbers, span: self.span });
    }

    fn fresh(&mut self) -> VReg {
        self.out.registers += 1;
        VReg::new(self.out.registers - 1, RegClass::Int)
    }

    /// A register that holds an operand.
    fn reg(&mut self, arg: Arg) -> VReg {
        let long = arg.number().filter(|number| immediate(*number, true).is_none() && immediate(*number, false).is_none());
        if let Some(there) = long.and_then(|number| self.numbers.get(&number)) {
            return *there;
        }
        let action = match arg {
            Arg::Value(value) => return vreg(value),
            Arg::Number(number) => Action::Number(number),
            Arg::Stack(slot, offset) => Action::Stack(slot, offset),
            Arg::Map(map) => Action::Map(map),
            Arg::Global(map, offset) => Action::Global(map, offset),
            Arg::Callback(number) => Action::Callback(number),
        };
        let made = self.fresh();
        self.step(action, vec![Operand::reg_def(made)]);
        if let Some(number) = long {
            self.numbers.insert(number, made);
        }
        made
    }

    fn inst(&mut self, inst: &Inst) {
        self.span = inst.span;
        let result = inst.result.map(vreg);
        // What has a result defines it; without one it has none.
        let into = result.unwrap_or(VReg::invalid());
        match &inst.op {
            Op::Context(context, field) => {
                let offset = match field {
                    Field::Data => 0,
                    Field::DataEnd => 4,
                    Field::IngressIfindex => 12,
                    Field::SkbLength => 0,
                    Field::SkbTagged => 20,
                    Field::SkbIngressIfindex => 36,
                    Field::SkbData => 76,
                    Field::SkbDataEnd => 80,
                };
                let operands = vec![Operand::reg_use(vreg(*context)), Operand::reg_def(into)];
                self.step(Action::Load(4, offset), operands);
            }
            Op::Bin { op, wide, a, b } => self.alu(*op, *wide, *a, *b, into),
            Op::Advance { pointer, by } => self.alu(Bin::Add, true, Arg::Value(*pointer), *by, into),
            Op::Place { base: Arg::Global(map, offset), by: Arg::Number(0) } => {
                self.step(Action::Global(*map, *offset), vec![Operand::reg_def(into)]);
            }
            Op::Place { base, by } => self.alu(Bin::Add, true, *base, *by, into),
            Op::Distance { from, to } => self.alu(Bin::Sub, true, Arg::Value(*to), Arg::Value(*from), into),
            Op::Swap { bits, a } => {
                let a = self.changed(*a);
                self.step(Action::Swap(*bits), vec![Operand::reg_use(a), Operand::reg_reuse_def(into, 0)]);
            }
            Op::Load { base: Arg::Stack(slot, start), offset, bytes } => {
                let action = Action::LoadStack(*bytes, *slot, *start as i16 + offset);
                self.step(action, vec![Operand::reg_def(into)]);
            }
            Op::Load { base, offset, bytes } => {
                let base = self.reg(*base);
                self.step(Action::Load(*bytes, *offset), vec![Operand::reg_use(base), Operand::reg_def(into)]);
            }
            Op::Store { base, offset, bytes, value } => self.store(*base, *offset, *bytes, *value),
            Op::CompareSwap { base, offset, expected, new } => {
                let (base, expected, new) = (self.reg(*base), self.reg(*expected), self.reg(*new));
                let operands = vec![
                    Operand::reg_use(base),
                    Operand::reg_use(new),
                    Operand::reg_fixed_use(expected, register(0)),
                    Operand::reg_fixed_def(into, register(0)),
                ];
                self.step(Action::CompareSwap(*offset), operands);
            }
            Op::FetchAdd { base: Arg::Stack(slot, start), offset, amount } => {
                let amount = self.changed(*amount);
                let operands = vec![Operand::reg_use(amount), Operand::reg_reuse_def(into, 0)];
                self.step(Action::FetchAddStack(*slot, *start as i16 + offset), operands);
            }
            Op::FetchAdd { base, offset, amount } => {
                let (base, amount) = (self.reg(*base), self.changed(*amount));
                let operands = vec![Operand::reg_use(base), Operand::reg_use(amount), Operand::reg_reuse_def(into, 1)];
                self.step(Action::FetchAdd(*offset), operands);
            }
            Op::Call { helper, args } => self.call(Action::Call(*helper), args, into),
            Op::Invoke { function, args } => self.call(Action::Invoke(*function), args, into),
        }
    }

    fn call(&mut self, action: Action, args: &[Arg], into: VReg) {
        // What ways differ in comes first: what is the same for all is there once then, if they end with it.
        let mut order: Vec<usize> = (0..args.len()).collect();
        order.sort_by_key(|at| matches!(args[*at], Arg::Map(_)));
        let mut operands: Vec<Operand> =
            order.into_iter().map(|at| Operand::reg_fixed_use(self.reg(args[at]), register(at + 1))).collect();
        operands.push(Operand::reg_fixed_def(into, register(0)));
        self.step(action, operands);
    }

    /// A register that holds an operand, and is changed. A value that is needed elsewhere, too, is copied: its register, or its place on
    /// the stack, shall not be that of all that is made of it.
    fn changed(&mut self, arg: Arg) -> VReg {
        let from = self.reg(arg);
        if arg.value().is_none_or(|value| self.uses[value.index()] < 2) {
            return from;
        }
        let copy = self.fresh();
        self.step(Action::Copy, vec![Operand::reg_use(from), Operand::reg_def(copy)]);
        copy
    }

    fn alu(&mut self, op: Bin, wide: bool, a: Arg, b: Arg, into: VReg) {
        let low = op == Bin::And && wide && b == Arg::Number(0xffff_ffff);
        // The result takes the place of the first operand: rather not of one that the next turn of a loop needs.
        let again = |arg: Arg| arg.value().is_some_and(|value| self.made[value.index()] < self.heads[self.at]);
        let commutes = matches!(op, Bin::Add | Bin::Mul | Bin::And | Bin::Or | Bin::Xor);
        let (a, b) = if commutes && again(a) && b.value().is_some() && !again(b) { (b, a) } else { (a, b) };
        let a = if low { self.reg(a) } else { self.changed(a) };
        let imm = b.number().and_then(|number| immediate(number, wide));
        let narrow = b.number().filter(|number| op == Bin::And && wide && *number <= u64::from(u32::MAX));
        match (imm, narrow) {
            (_, Some(0xffff_ffff)) => self.step(Action::Low32, vec![Operand::reg_use(a), Operand::reg_def(into)]),
            // The upper bits are masked away, which the operation on 32 bits does too.
            (None, Some(number)) => {
                let action = Action::AluImm(Bin::And, false, number as u32 as i32);
                self.step(action, vec![Operand::reg_use(a), Operand::reg_reuse_def(into, 0)]);
            }
            (Some(imm), _) => {
                let (op, imm) = match (op, imm.checked_neg()) {
                    (Bin::Sub, Some(negative)) => (Bin::Add, negative),
                    _ => (op, imm),
                };
                self.step(Action::AluImm(op, wide, imm), vec![Operand::reg_use(a), Operand::reg_reuse_def(into, 0)]);
            }
            (None, None) => {
                let b = self.reg(b);
                let operands = vec![Operand::reg_use(a), Operand::reg_use(b), Operand::reg_reuse_def(into, 0)];
                self.step(Action::Alu(op, wide), operands);
            }
        }
    }

    fn store(&mut self, base: Arg, offset: i16, bytes: u8, value: Arg) {
        // Only the low bytes count; of 8 bytes the sign is extended.
        let imm = value.number().and_then(|n| if bytes == 8 { immediate(n, true) } else { Some(n as u32 as i32) });
        match (base, imm) {
            (Arg::Stack(slot, start), Some(imm)) => {
                self.step(Action::StoreStackImm(bytes, slot, start as i16 + offset, imm), Vec::new());
            }
            (Arg::Stack(slot, start), None) => {
                let value = self.reg(value);
                self.step(Action::StoreStack(bytes, slot, start as i16 + offset), vec![Operand::reg_use(value)]);
            }
            (_, Some(imm)) => {
                let base = self.reg(base);
                self.step(Action::StoreImm(bytes, offset, imm), vec![Operand::reg_use(base)]);
            }
            (_, None) => {
                let (base, value) = (self.reg(base), self.reg(value));
                self.step(Action::Store(bytes, offset), vec![Operand::reg_use(base), Operand::reg_use(value)]);
            }
        }
    }

    fn branch(&mut self, cmp: Cmp, a: Arg, b: Arg, then: BlockId, other: BlockId) {
        let narrow = match a {
            Arg::Value(value) => self.function.types[value.index()] == Type::Word && self.function.bits[value.index()] <= 32,
            _ => false,
        };
        let a = self.reg(a);
        let wide_imm = b.number().and_then(|number| immediate(number, true));
        let narrow_imm = b.number().filter(|number| narrow && *number <= u64::from(u32::MAX));
        match (wide_imm, narrow_imm) {
            (Some(imm), _) => self.step(Action::BranchImm(cmp, true, imm, then, other), vec![Operand::reg_use(a)]),
            (None, Some(number)) => {
                let action = Action::BranchImm(cmp, false, number as u32 as i32, then, other);
                self.step(action, vec![Operand::reg_use(a)]);
            }
            (None, None) => {
                let b = self.reg(b);
                self.step(Action::Branch(cmp, true, then, other), vec![Operand::reg_use(a), Operand::reg_use(b)]);
            }
        }
    }
}

fn vreg(value: Value) -> VReg {
    VReg::new(value.index(), RegClass::Int)
}

/// A number as an instruction holds it: the sign is extended to 64 bits, or all there is are 32.
fn immediate(number: u64, wide: bool) -> Option<i32> {
    if wide { i32::try_from(number as i64).ok() } else { u32::try_from(number).ok().map(|number| number as i32) }
}
