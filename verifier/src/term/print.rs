//! Terms as SMT-LIB 2 text. The text is the question: it is what is hashed, written out, and given to every solver.

use super::{Node, Op, Sort, Term, Terms};
use rustc_hash::FxHashMap;
use std::fmt::Write;

/// A sort in SMT-LIB.
pub fn sort(sort: Sort) -> String {
    match sort {
        Sort::Bool => "Bool".to_string(),
        Sort::Bits(width) => format!("(_ BitVec {width})"),
        Sort::Int => "Int".to_string(),
    }
}

/// Declarations of all symbols in some formulas, and an assertion of each. Terms that are used more than once get a name.
pub fn script(terms: &Terms, asserted: &[Term]) -> String {
    let cone = terms.cone(asserted);
    let mut uses: FxHashMap<Term, u32> = FxHashMap::default();
    let mut symbols = Vec::new();
    for term in &cone {
        for child in terms.children(*term) {
            *uses.entry(child).or_default() += 1;
        }
        if let Node::Apply(symbol, _) = terms.node(*term)
            && !symbols.contains(symbol)
        {
            symbols.push(*symbol);
        }
    }
    let mut out = String::new();
    for term in &cone {
        if let Node::Quantified(number) = terms.node(*term) {
            let _ = writeln!(out, "(declare-fun |quantified {number}| () Bool)");
        }
    }
    for symbol in symbols {
        let declared = terms.declared(symbol);
        let args: Vec<String> = declared.args.iter().map(|s| sort(*s)).collect();
        let _ = writeln!(out, "(declare-fun |{}| ({}) {})", declared.name, args.join(" "), sort(declared.sort));
    }
    let mut names: FxHashMap<Term, String> = FxHashMap::default();
    for term in &cone {
        let leaf = match terms.node(*term) {
            Node::Bool(_) | Node::Bits(..) | Node::Int(_) | Node::Quantified(_) => true,
            Node::Apply(_, args) => args.is_empty(),
            _ => false,
        };
        if !leaf && uses.get(term).copied().unwrap_or(0) > 1 {
            let name = format!("t{}", names.len());
            let text = text(terms, *term, &names);
            let _ = writeln!(out, "(define-fun {name} () {} {text})", sort(terms.sort(*term)));
            names.insert(*term, name);
        }
    }
    for term in asserted {
        let _ = writeln!(out, "(assert {})", text(terms, *term, &names));
    }
    out
}

fn text(terms: &Terms, term: Term, names: &FxHashMap<Term, String>) -> String {
    let mut out = String::new();
    write(terms, term, names, &mut out);
    out
}

fn write(terms: &Terms, term: Term, names: &FxHashMap<Term, String>, out: &mut String) {
    if let Some(name) = names.get(&term) {
        out.push_str(name);
        return;
    }
    let mut list = |head: &str, parts: &[Term]| {
        let _ = write!(out, "({head}");
        for part in parts {
            out.push(' ');
            write(terms, *part, names, out);
        }
        out.push(')');
    };
    match terms.node(term) {
        Node::Not(a) => list("not", &[*a]),
        Node::And(all) => list("and", all),
        Node::Or(all) => list("or", all),
        Node::Ite(a, b, c) => list("ite", &[*a, *b, *c]),
        Node::Eq(a, b) => list("=", &[*a, *b]),
        Node::Op(op, a, b) => list(name(*op), &[*a, *b]),
        Node::Complement(a) => list("bvnot", &[*a]),
        Node::ZeroExtend(width, a) => list(&format!("(_ zero_extend {})", width - bits(terms, *a)), &[*a]),
        Node::SignExtend(width, a) => list(&format!("(_ sign_extend {})", width - bits(terms, *a)), &[*a]),
        Node::Extract { low, width, of } => list(&format!("(_ extract {} {low})", low + width - 1), &[*of]),
        Node::ToInt(a) => list("bv2nat", &[*a]),
        Node::ToBits(width, a) => list(&format!("(_ int2bv {width})"), &[*a]),
        Node::Apply(symbol, args) if !args.is_empty() => list(&format!("|{}|", terms.declared(*symbol).name), args),
        Node::Apply(symbol, _) => {
            let _ = write!(out, "|{}|", terms.declared(*symbol).name);
        }
        Node::Bool(value) => {
            let _ = write!(out, "{value}");
        }
        Node::Bits(width, value) => {
            let _ = write!(out, "(_ bv{value} {width})");
        }
        Node::Int(value) if *value < 0 => {
            let _ = write!(out, "(- {})", value.unsigned_abs());
        }
        Node::Int(value) => {
            let _ = write!(out, "{value}");
        }
        // Stands for its instances, which are asserted beside it.
        Node::Quantified(number) => {
            let _ = write!(out, "|quantified {number}|");
        }
    }
}

fn bits(terms: &Terms, term: Term) -> u8 {
    match terms.sort(term) {
        Sort::Bits(width) => width,
        sort => unreachable!("a bit string was expected, not {sort:?}"),
    }
}

fn name(op: Op) -> &'static str {
    match op {
        Op::Add => "bvadd",
        Op::Sub => "bvsub",
        Op::Mul => "bvmul",
        Op::Div => "bvudiv",
        Op::Rem => "bvurem",
        Op::And => "bvand",
        Op::Or => "bvor",
        Op::Xor => "bvxor",
        Op::Shl => "bvshl",
        Op::Shr => "bvlshr",
        Op::Ult => "bvult",
        Op::Ule => "bvule",
        Op::Slt => "bvslt",
        Op::Sle => "bvsle",
        Op::IntAdd => "+",
        Op::IntSub => "-",
        Op::IntMul => "*",
        Op::IntDiv => "div",
        Op::IntMod => "mod",
        Op::IntLe => "<=",
        Op::IntLt => "<",
    }
}
