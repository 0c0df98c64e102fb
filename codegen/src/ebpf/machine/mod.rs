//! The machine: from a function of the low-level IR to its instructions. Nothing here knows of tables or packets.

mod alloc;
mod dead;
mod held;
mod insn;
mod layout;
mod moves;
mod odds;
mod select;
mod stack;
mod tails;
mod ways;

use super::lir::{BlockId, Cmp, Function, Helper, MapId, Slot};
use grv_lang::span::Span;
use insn::{FRAME, PSEUDO_FUNCTION, PSEUDO_MAP, PSEUDO_MAP_VALUE};
pub(crate) use insn::{Insn, LD_IMM64};
use regalloc2::{Allocation, Edit, InstOrEdit};
use select::Action;

/// What the kernel allows a program to have on its stack.
const STACK: usize = 512;

/// Bytes in multiples of which it counts what functions need that are called, and those that call them.
const BLOCK: usize = 32;

/// A function as the machine runs it.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    pub(crate) name: String,
    pub(crate) insns: Vec<Insn>,
    /// By instruction: where in the source it comes from.
    pub(crate) spans: Vec<Span>,
    /// Instructions that name a map.
    pub(crate) relocations: Vec<(usize, MapId)>,
    /// Instructions that name a function, by its number: for a helper, or to call it.
    pub(crate) functions: Vec<(usize, u32)>,
    /// How many words it is given, if other functions call it.
    pub(crate) words: Option<usize>,
    /// Bytes of stack.
    pub(crate) stack: usize,
    /// Helpers called, with the number of places.
    pub(crate) calls: std::collections::BTreeMap<Helper, usize>,
}

/// Why there is no code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// More stack than there is.
    #[error("more than the {STACK} bytes of stack of the target `ebpf` are needed")]
    Stack,
    /// Jumps are too far.
    #[error("the program is too long for the jumps of the target `ebpf`")]
    Length,
    /// A bug of ours.
    #[error("a bug of the compiler: registers cannot be assigned: {0}")]
    Registers(String),
}

/// Makes the code of a function.
pub(crate) fn compile(function: &Function) -> Result<Code, Failure> {
    let selected = select::select(function);
    let output = alloc::allocate(&selected).map_err(Failure::Registers)?;
    // Slots lie below the frame pointer in their order, each aligned to 8 bytes; below them is what registers have no room for.
    let mut below = 0;
    let slots: Vec<usize> = function
        .slots
        .iter()
        .map(|bytes| {
            below += usize::from(*bytes).next_multiple_of(8);
            below
        })
        .collect();
    let stack = below + output.num_spillslots * 8;
    if stack > STACK {
        return Err(Failure::Stack);
    }
    let mut emit = Emit {
        code: Code {
            name: function.name.clone(),
            insns: Vec::new(),
            spans: Vec::new(),
            relocations: Vec::new(),
            functions: Vec::new(),
            words: function.words(),
            stack,
            calls: std::collections::BTreeMap::new(),
        },
        slots,
        below,
        span: Span::default(),
        jumps: Vec::new(),
        around: Vec::new(),
    };
    let mut starts = vec![0; selected.runs.len()];
    for (number, run) in selected.runs.iter().enumerate() {
        starts[number] = emit.code.insns.len();
        for what in output.block_insts_and_edits(&selected, regalloc2::Block::new(number)) {
            match what {
                InstOrEdit::Edit(Edit::Move { from, to }) => emit.shift(*from, *to),
                InstOrEdit::Inst(index) => {
                    let step = &selected.steps[index.index()];
                    emit.span = step.span;
                    emit.action(&step.action, output.inst_allocs(index), run.again);
                }
            }
        }
        if run.again {
            emit.around.push((emit.code.insns.len() - 2, ()));
        }
        debug_assert!(run.steps.end > run.steps.start, "every block ends with a step");
    }
    emit.spare(&mut starts);
    let often = emit.arrange(&selected.runs, &mut starts);
    emit.merge_tails(&mut starts, &often);
    // Fewer ways lead to some places now.
    emit.spare(&mut starts);
    emit.lay_out();
    emit.finish(&starts)
}

/// Bytes of stack of a program with its functions, of which each may name those before it: of what is called last with all that leads there. Where functions are
/// called, the kernel counts in blocks.
pub(crate) fn stack(code: &Code, functions: &[Code]) -> Result<usize, Failure> {
    let mut depths: Vec<usize> = Vec::new();
    for code in functions.iter().chain([code]) {
        let below = code.functions.iter().filter_map(|(_, number)| depths.get(*number as usize)).max();
        depths.push(code.stack.max(1).next_multiple_of(BLOCK) + below.copied().unwrap_or(0));
    }
    let depth = if code.functions.is_empty() { code.stack } else { depths.pop().unwrap_or(0) };
    if depth > STACK { Err(Failure::Stack) } else { Ok(depth) }
}

struct Emit {
    code: Code,
    /// By slot: how far below the frame pointer it begins.
    slots: Vec<usize>,
    /// How far below the frame pointer spill slots begin.
    below: usize,
    span: Span,
    /// Jumps, and the blocks that they lead to.
    jumps: Vec<(usize, BlockId)>,
    /// Branches around a jump that stay that.
    around: Vec<(usize, ())>,
}

impl Emit {
    /// Leaves out what only moves values, where it need not.
    fn spare(&mut self, starts: &mut [usize]) {
        self.reread(starts);
        self.read_originals(starts);
        self.take_out_dead(starts);
        self.make_in_place(starts);
    }

    fn push(&mut self, insn: Insn) {
        self.code.insns.push(insn);
        self.code.spans.push(self.span);
    }

    fn spill(&self, slot: usize) -> i16 {
        -((self.below + (slot + 1) * 8) as i16)
    }

    fn slot(&self, slot: Slot) -> i16 {
        -(self.slots[slot.index()] as i16)
    }

    /// Moves a value between places.
    fn shift(&mut self, from: Allocation, to: Allocation) {
        match (from.as_reg(), from.as_stack(), to.as_reg(), to.as_stack()) {
            (Some(from), _, Some(to), _) if from != to => self.push(Insn::mov(true, number(to), number(from))),
            (Some(from), _, _, Some(to)) => self.push(Insn::store(8, FRAME, self.spill(to.index()), number(from))),
            (_, Some(from), Some(to), _) => self.push(Insn::load(8, number(to), FRAME, self.spill(from.index()))),
            _ => {}
        }
    }

    fn wide_number(&mut self, dst: u8, value: u64) {
        match (i32::try_from(value as i64), u32::try_from(value)) {
            (Ok(imm), _) => self.push(Insn::mov_imm(true, dst, imm)),
            (_, Ok(imm)) => self.push(Insn::mov_imm(false, dst, imm as i32)),
            _ => Insn::load_imm64(dst, 0, value).into_iter().for_each(|insn| self.push(insn)),
        }
    }

    fn map(&mut self, dst: u8, map: MapId, pseudo: u8, offset: u32) {
        self.code.relocations.push((self.code.insns.len(), map));
        Insn::load_imm64(dst, pseudo, offset.into()).into_iter().for_each(|insn| self.push(insn));
    }

    fn jump(&mut self, insn: Insn, to: BlockId) {
        self.jumps.push((self.code.insns.len(), to));
        self.push(insn);
    }

    fn action(&mut self, action: &Action, allocs: &[Allocation], again: bool) {
        let reg = |index: usize| allocs.get(index).and_then(|a| a.as_reg()).map_or(0, number);
        match action {
            Action::Nothing => {}
            Action::Alu(op, wide) => self.push(Insn::alu(*op, *wide, reg(2), reg(1))),
            Action::AluImm(op, wide, imm) => self.push(Insn::alu_imm(*op, *wide, reg(1), *imm)),
            Action::Copy => self.shift(allocs[0], allocs[1]),
            Action::Low32 => self.push(Insn::mov(false, reg(1), reg(0))),
            Action::Number(value) => self.wide_number(reg(0), *value),
            Action::Map(map) => self.map(reg(0), *map, PSEUDO_MAP, 0),
            Action::Global(map, offset) => self.map(reg(0), *map, PSEUDO_MAP_VALUE, *offset),
            Action::Callback(number) => {
                self.code.functions.push((self.code.insns.len(), *number));
                Insn::load_imm64(reg(0), PSEUDO_FUNCTION, 0).into_iter().for_each(|insn| self.push(insn));
            }
            Action::Stack(slot, offset) => {
                self.push(Insn::mov(true, reg(0), FRAME));
                let offset = i32::from(self.slot(*slot)) + i32::from(*offset);
                self.push(Insn::alu_imm(super::lir::Bin::Add, true, reg(0), offset));
            }
            Action::Swap(bits) => self.push(Insn::swap(*bits, reg(1))),
            Action::Load(bytes, offset) => self.push(Insn::load(*bytes, reg(1), reg(0), *offset)),
            Action::LoadStack(bytes, slot, offset) => {
                self.push(Insn::load(*bytes, reg(0), FRAME, self.slot(*slot) + offset));
            }
            Action::Store(bytes, offset) => self.push(Insn::store(*bytes, reg(0), *offset, reg(1))),
            Action::StoreImm(bytes, offset, imm) => self.push(Insn::store_imm(*bytes, reg(0), *offset, *imm)),
            Action::StoreStack(bytes, slot, offset) => {
                self.push(Insn::store(*bytes, FRAME, self.slot(*slot) + offset, reg(0)));
            }
            Action::StoreStackImm(bytes, slot, offset, imm) => {
                self.push(Insn::store_imm(*bytes, FRAME, self.slot(*slot) + offset, *imm));
            }
            Action::FetchAddStack(slot, offset) => self.push(Insn::fetch_add(FRAME, self.slot(*slot) + offset, reg(0))),
            Action::FetchAdd(offset) => self.push(Insn::fetch_add(reg(0), *offset, reg(1))),
            Action::CompareSwap(offset) => self.push(Insn::compare_swap(reg(0), *offset, reg(1))),
            Action::Call(helper) => {
                *self.code.calls.entry(*helper).or_default() += 1;
                self.push(Insn::call(helper.number()));
            }
            Action::Invoke(number) => {
                self.code.functions.push((self.code.insns.len(), *number));
                self.push(Insn::call_function());
            }
            Action::Jump(to) => self.jump(Insn::jump(), *to),
            Action::Branch(cmp, wide, then, other) => {
                let insn = |cmp| Insn::jump_if(cmp, *wide, reg(0), reg(1));
                self.branch(*cmp, insn, *then, *other, again);
            }
            Action::BranchImm(cmp, wide, imm, then, other) => {
                let insn = |cmp| Insn::jump_if_imm(cmp, *wide, reg(0), *imm);
                self.branch(*cmp, insn, *then, *other, again);
            }
            Action::Exit => self.push(Insn::exit()),
        }
    }

    fn branch(&mut self, cmp: Cmp, insn: impl Fn(Cmp) -> Insn, then: BlockId, other: BlockId, again: bool) {
        // That no bit is set cannot be asked.
        if again && cmp != Cmp::Set || cmp == Cmp::Clear {
            self.jump(insn(cmp.negated()), other);
            self.jump(Insn::jump(), then);
        } else {
            self.jump(insn(cmp), then);
            self.jump(Insn::jump(), other);
        }
    }

    /// Resolves jumps; those to a place that only leads on lead there at once, and those to what comes next are left out.
    fn finish(mut self, starts: &[usize]) -> Result<Code, Failure> {
        let target = |of: &[usize], block: BlockId| of.get(block.index()).copied().unwrap_or(usize::MAX);
        // Where does a jump to an instruction end, if that is itself a plain jump?
        let direct: std::collections::BTreeMap<usize, BlockId> =
            self.jumps.iter().filter(|(at, _)| self.code.insns[*at] == Insn::jump()).copied().collect();
        for (_, to) in &mut self.jumps {
            let mut hops = 0;
            while let Some(further) = direct.get(&target(starts, *to)).filter(|_| hops < starts.len()) {
                *to = *further;
                hops += 1;
            }
        }
        // What can be reached: edges without moves cannot any more.
        let count = self.code.insns.len();
        let mut reached = vec![false; count];
        let by_place: std::collections::BTreeMap<usize, BlockId> = self.jumps.iter().copied().collect();
        let mut work = vec![0];
        while let Some(mut at) = work.pop() {
            while at < count && !std::mem::replace(&mut reached[at], true) {
                let insn = self.code.insns[at];
                if let Some(to) = by_place.get(&at) {
                    work.push(target(starts, *to));
                    if insn == Insn::jump() {
                        break;
                    }
                }
                if insn == Insn::exit() {
                    break;
                }
                at += 1;
            }
        }
        let aimed: std::collections::BTreeSet<usize> = self.jumps.iter().map(|(_, to)| target(starts, *to)).collect();
        // From the last to the first: a jump to what comes next anyway is left out, and a jump around a jump is one jump.
        let mut after = vec![count; count + 1];
        for at in (0..count).rev() {
            after[at] = if reached[at] { at } else { after[at + 1] };
        }
        for index in (0..self.jumps.len()).rev() {
            let (at, to) = self.jumps[index];
            if !reached[at] {
                continue;
            }
            let next = after[at + 1];
            let goal = after[target(starts, to).min(count)];
            if self.code.insns[at] == Insn::jump() && goal == next {
                reached[at] = false;
                // What came here goes on behind.
                let mut before = at;
                while after[before] == at {
                    after[before] = next;
                    if before == 0 {
                        break;
                    }
                    before -= 1;
                }
            } else if let (Some(negated), true) =
                (self.code.insns[at].negated(), self.code.insns.get(next) == Some(&Insn::jump()))
                && goal == after[next + 1]
                && !aimed.contains(&next)
                && !self.around.contains(&(at, ()))
                && let Some(around) = self.jumps[index + 1..].iter().find(|(place, _)| *place == next)
            {
                self.jumps[index].1 = around.1;
                self.code.insns[at] = negated;
                reached[next] = false;
                let further = after[next + 1];
                after[at + 1..=next].fill(further);
            }
        }
        let mut place = Vec::with_capacity(count + 1);
        let mut kept = 0;
        for left in &reached {
            place.push(kept);
            kept += usize::from(*left);
        }
        place.push(kept);
        for (at, to) in &self.jumps {
            if reached[*at] {
                let to = place.get(target(starts, *to)).copied().unwrap_or(kept);
                let distance = to as i64 - place[*at] as i64 - 1;
                self.code.insns[*at].offset = i16::try_from(distance).map_err(|_| Failure::Length)?;
            }
        }
        self.code.functions = self.code.functions.iter().filter(|(at, _)| reached[*at]).map(|(at, f)| (place[*at], *f)).collect();
        self.code.relocations =
            self.code.relocations.iter().filter(|(at, _)| reached[*at]).map(|(at, map)| (place[*at], *map)).collect();
        let mut left = reached.iter();
        self.code.insns.retain(|_| left.next().copied().unwrap_or(false));
        let mut left = reached.iter();
        self.code.spans.retain(|_| left.next().copied().unwrap_or(false));
        Ok(self.code)
    }
}

fn number(reg: regalloc2::PReg) -> u8 {
    reg.hw_enc() as u8
}

#[cfg(test)]
mod tests;
