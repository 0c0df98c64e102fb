//! Shows a function, for people and tests.

use super::{Arg, Cmp, End, Function, Inst, Op};
use std::fmt::Write as _;

/// A function as text, one instruction a line.
pub(crate) fn print(function: &Function) -> String {
    let mut out = format!("function {}\n", function.name);
    for (number, slot) in function.slots.iter().enumerate() {
        let _ = writeln!(out, "    slot{number}: {slot} bytes");
    }
    for (number, block) in function.blocks.iter().enumerate() {
        let params: Vec<String> = block.params.iter().map(|v| format!("v{}", v.0)).collect();
        let _ = writeln!(out, "b{number}({}):", params.join(", "));
        for inst in &block.insts {
            let _ = writeln!(out, "    {}", shown(inst));
        }
        let end = match &block.end {
            End::Jump(to, args) => format!("jump b{}({})", to.0, list(args)),
            End::Branch { cmp, a, b, then, other } => {
                format!("if {} {} {} b{} else b{}", arg(*a), sign(*cmp), arg(*b), then.0, other.0)
            }
            End::Return(verdict) => format!("return {}", arg(*verdict)),
        };
        let _ = writeln!(out, "    {end}");
    }
    out
}

fn shown(inst: &Inst) -> String {
    let op = match &inst.op {
        Op::Context(_, field) => format!("context {field:?}"),
        Op::Bin { op, wide, a, b } => format!("{op:?}{} {}, {}", if *wide { "" } else { "32" }, arg(*a), arg(*b)).to_lowercase(),
        Op::Swap { bits, a } => format!("swap{bits} {}", arg(*a)),
        Op::Advance { pointer, by } => format!("advance v{} by {}", pointer.0, arg(*by)),
        Op::Place { base, by } => format!("place {} by {}", arg(*base), arg(*by)),
        Op::Distance { from, to } => format!("distance v{}, v{}", from.0, to.0),
        Op::Load { base, offset, bytes } => format!("load{} {}", bytes * 8, at(*base, *offset)),
        Op::Store { base, offset, bytes, value } => format!("store{} {}, {}", bytes * 8, at(*base, *offset), arg(*value)),
        Op::CompareSwap { base, offset, expected, new } => {
            format!("compare-swap {}, {} -> {}", at(*base, *offset), arg(*expected), arg(*new))
        }
        Op::FetchAdd { base, offset, amount } => format!("fetch-add {}, {}", at(*base, *offset), arg(*amount)),
        Op::Call { helper, args } => format!("{}({})", helper.name(), list(args)),
        Op::Invoke { function, args } => format!("function{function}({})", list(args)),
    };
    let result = inst.result.map_or_else(String::new, |value| format!("v{} = ", value.0));
    let commit =
        inst.commit.map_or_else(String::new, |c| format!("  ; commit {:?} of table {}", c.what, c.table.0).to_lowercase());
    format!("{result}{op}{commit}")
}

fn arg(arg: Arg) -> String {
    match arg {
        Arg::Value(value) => format!("v{}", value.0),
        Arg::Number(number) if number < 10_000 => number.to_string(),
        Arg::Number(number) => format!("{number:#x}"),
        Arg::Stack(slot, offset) => format!("slot{}+{offset}", slot.0),
        Arg::Map(map) => format!("map{}", map.0),
        Arg::Callback(number) => format!("function{number}"),
        Arg::Global(map, offset) => format!("global{}+{offset}", map.0),
    }
}

fn at(base: Arg, offset: i16) -> String {
    format!("[{}{offset:+}]", arg(base))
}

fn list(args: &[Arg]) -> String {
    args.iter().map(|a| arg(*a)).collect::<Vec<_>>().join(", ")
}

fn sign(cmp: Cmp) -> &'static str {
    match cmp {
        Cmp::Eq => "==",
        Cmp::Ne => "!=",
        Cmp::Lt => "<",
        Cmp::Le => "<=",
        Cmp::Gt => ">",
        Cmp::Ge => ">=",
        Cmp::Set => "has some of",
        Cmp::Clear => "has none of",
    }
}
