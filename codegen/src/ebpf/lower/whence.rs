//! Which ports packets may have come from, as far as words tell: what ways of different ports set to different numbers, and what is asked of it later. A handler that
//! all of them come to knows then that what leaves by one port came by another.

use super::super::lir::{Arg, Value};
use super::env::{Env, Open};
use super::flow::{copied, known};
use grv_lang::ir::{BinaryOp, Expr, UnaryOp};
use std::collections::BTreeMap;

impl Env<'_> {
    /// What is known of packets' ports, where a word is one of some numbers.
    pub(super) fn tell(&mut self, word: Arg, is: impl Fn(u64) -> bool) {
        let told = self.told.iter().filter(|(value, number, _)| Arg::Value(*value) == word && is(*number));
        let ports = told.fold(0, |all, (.., ports)| all | ports) & self.from;
        if ports != 0 {
            self.from = ports;
        }
    }

    /// The numbers that a word may be, with the ports of packets for which it may be that. None: it may be any.
    fn numbers(&self, word: Arg) -> Vec<(u64, u64)> {
        let told = self.told.iter().filter(|(value, ..)| Arg::Value(*value) == word);
        match word {
            Arg::Number(number) => vec![(number, self.from)],
            _ => told.map(|(_, number, ports)| (*number, ports & self.from)).collect(),
        }
    }
}

/// For packets of which ports a word is which number, where that is known on all ways.
pub(super) fn met(params: &[(Value, Vec<Arg>)], opens: &[Open<'_>]) -> Vec<(Value, u64, u64)> {
    let kept = opens[0].env.told.iter().map(|(value, ..)| (*value, vec![Arg::Value(*value); opens.len()]));
    let words: BTreeMap<Value, Vec<Arg>> = kept.chain(params.iter().cloned()).collect();
    let mut met: BTreeMap<(Value, u64), u64> = BTreeMap::new();
    for (word, args) in words {
        let numbers: Vec<Vec<(u64, u64)>> = opens.iter().zip(args).map(|(open, arg)| open.env.numbers(arg)).collect();
        if numbers.iter().all(|numbers| !numbers.is_empty()) {
            numbers.into_iter().flatten().for_each(|(number, ports)| *met.entry((word, number)).or_default() |= ports);
        }
    }
    met.into_iter().map(|((word, number), ports)| (word, number, ports)).collect()
}

/// The variable, the number with which it is compared, and whether it is to be that, if that is all that a condition asks.
pub(super) fn asked(env: &Env<'_>, cond: &Expr) -> Option<(Arg, u64, bool)> {
    match cond {
        Expr::Local(_) => Some((copied(env, cond)?, 1, true)),
        Expr::Unary(UnaryOp::Not, a) => asked(env, a).map(|(word, number, same)| (word, number, !same)),
        Expr::Binary(op @ (BinaryOp::Eq | BinaryOp::Ne), a, b) => Some((copied(env, a)?, known(env, b)?, *op == BinaryOp::Eq)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Options, print_lowered};
    use grv_lang::compile::compile;
    use grv_lang::source::NoModules;

    /// Whether a handler for the frames of two ports asks where a frame came from when it leaves; `out` decides about that.
    fn asks_where_from(out: &str) -> bool {
        let text = format!(
            "//! Frames pass by one element.\n
            use std::net::Ethernet;\n
            element Sides {{
                input left, right;
                output side(from_left: bool, small: bool);
                on left(p) {{
                    match p {{ {{ Ethernet as eth }} => emit side(true, eth.ethertype < 1_536), _ => drop \"malformed\" }}
                }}
                on right(p) {{
                    match p {{ {{ Ethernet as eth }} => emit side(false, eth.ethertype < 1_536), _ => drop \"malformed\" }}
                }}
            }}\n
            element Pass {{
                input side(from_left: bool, small: bool);
                output left, right;
                state seen: set<bool>[2] idle 3s;
                on side(p, from_left, small) {{
                    seen.insert_or_update(small) else {{ }}
                    {out}
                }}
            }}\n
            middlebox Box {{
                port left, right;
                sides: Sides;
                pass: Pass;
                left -> sides.left;
                right -> sides.right;
                sides.side -> pass.side;
                pass.left -> left;
                pass.right -> right;
            }}\n"
        );
        let compilation = compile("box.grv", text.as_bytes(), &NoModules);
        assert!(!compilation.failed(), "{:?}", compilation.diagnostics);
        let lowered = print_lowered(&compilation.boxes[0], &Options::default()).unwrap_or_else(|e| panic!("{e:?}"));
        // Frames that may be turned back are if the loader says so.
        lowered.contains("return 3")
    }

    #[test]
    fn what_cannot_go_back_is_not_asked_where_it_came_from() {
        assert!(!asks_where_from("if from_left { emit right; } else { emit left; }"));
        assert!(!asks_where_from("if not from_left { emit left; } else { emit right; }"));
        assert!(asks_where_from("if from_left { emit left; } else { emit left; }"));
        assert!(asks_where_from("if small { emit right; } else { emit left; }"));
    }
}
