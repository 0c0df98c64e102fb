//! Formulas without what solvers find hard: conversions between bit strings and integers, products, quotients and remainders become
//! functions of which only their range is known, and that they give equal values for equal arguments. That allows more values than
//! there are: what follows from the lighter formulas follows from the formulas themselves, and what does not may still.

use super::map::TermMap;
use super::{Node, Op, Sort, Symbol, Term, Terms};
use rustc_hash::FxHashMap;

/// Lighter formulas with what is known of the functions in them.
#[derive(Debug)]
pub struct Lighter {
    /// The formulas.
    pub formulas: Vec<Term>,
    /// Whether they have values that satisfy them only if the formulas themselves have.
    pub faithful: bool,
}

/// Lighter formulas; none, if nothing in them is hard.
pub fn lighten(terms: &mut Terms, formulas: &[Term]) -> Option<Lighter> {
    let cone = terms.cone(formulas);
    let mut light = Light {
        known: TermMap::new(),
        facts: Vec::new(),
        numbers: FxHashMap::default(),
        products: Vec::new(),
        divided: divided(terms, &cone),
        faithful: true,
    };
    for term in cone {
        let lighter = light.one(terms, term);
        light.known.insert(term, lighter);
    }
    let changed = formulas.iter().any(|f| light.known[*f] != *f);
    if !changed {
        return None;
    }
    light.monotonic(terms);
    light.constants(terms, formulas);
    let mut all: Vec<Term> = formulas.iter().map(|f| light.known[*f]).collect();
    all.append(&mut light.facts);
    let truth = terms.bool(true);
    all.retain(|f| *f != truth);
    all.sort_unstable();
    all.dedup();
    Some(Lighter { formulas: all, faithful: light.faithful })
}

/// Functions of which nothing is asked but what their values leave when they are divided by a constant: that may be anything below it.
fn divided(terms: &Terms, cone: &[Term]) -> FxHashMap<Symbol, Option<Term>> {
    let mut found: FxHashMap<Symbol, Option<Term>> = FxHashMap::default();
    for whole in cone {
        for part in terms.children(*whole) {
            let Node::Apply(symbol, _) = terms.node(part) else { continue };
            let by = match *terms.node(*whole) {
                Node::Op(Op::Rem, a, by) if a == part && terms.as_bits(by).is_some_and(|by| by > 0) => Some(by),
                _ => None,
            };
            let known = *found.entry(*symbol).or_insert(by);
            if known != by {
                found.insert(*symbol, None);
            }
        }
    }
    found
}

struct Light {
    known: TermMap,
    facts: Vec<Term>,
    /// Bit strings whose numbers are asked for.
    numbers: FxHashMap<Term, Term>,
    /// Products of two unknown integers.
    products: Vec<(Term, Term, Term)>,
    /// By function: the constant that all its values are divided by, if nothing else is done with them.
    divided: FxHashMap<Symbol, Option<Term>>,
    /// Whether nothing was given up so far.
    faithful: bool,
}

impl Light {
    fn one(&mut self, terms: &mut Terms, term: Term) -> Term {
        let at = |light: &Light, t: Term| light.known[t];
        match *terms.node(term) {
            Node::Op(op, a, b) => {
                let alone = match terms.node(a) {
                    Node::Apply(symbol, _) if op == Op::Rem => self.divided.get(symbol) == Some(&Some(b)),
                    _ => false,
                };
                let faithful = self.faithful;
                let (a, b) = (at(self, a), at(self, b));
                let result = self.operator(terms, op, a, b);
                self.faithful |= alone && faithful;
                result
            }
            Node::ToInt(a) => {
                let a = at(self, a);
                self.natural(terms, a)
            }
            Node::ToBits(width, a) => {
                let a = at(self, a);
                match terms.as_int(a) {
                    Some(_) => terms.to_bits(a, width),
                    None => {
                        self.faithful = false;
                        let symbol = terms.symbol(&format!("bits {width}"), &[Sort::Int], Sort::Bits(width));
                        let string = terms.apply(symbol, &[a]);
                        if width < 127 {
                            // What fits is the number that it was.
                            let number = self.natural(terms, string);
                            let (zero, end) = (terms.int(0), terms.int(1i128 << width));
                            let (from, below) = (terms.op(Op::IntLe, zero, a), terms.op(Op::IntLt, a, end));
                            let (fits, same) = (terms.and(&[from, below]), terms.eq(number, a));
                            let fact = terms.implies(fits, same);
                            self.facts.push(fact);
                        }
                        string
                    }
                }
            }
            _ => terms.remade(term, |t| self.known[t]),
        }
    }

    /// The number that a bit string stands for.
    fn natural(&mut self, terms: &mut Terms, a: Term) -> Term {
        let Sort::Bits(width) = terms.sort(a) else { return a };
        match terms.node(a).clone() {
            Node::Bits(..) => terms.to_int(a),
            Node::Ite(c, x, y) => {
                let (x, y) = (self.natural(terms, x), self.natural(terms, y));
                terms.ite(c, x, y)
            }
            Node::ZeroExtend(_, x) => self.natural(terms, x),
            _ => {
                self.faithful = false;
                let symbol = terms.symbol(&format!("number {width}"), &[Sort::Bits(width)], Sort::Int);
                let number = terms.apply(symbol, &[a]);
                if self.numbers.insert(a, number).is_some() {
                    return number;
                }
                if width < 127 {
                    let (zero, end) = (terms.int(0), terms.int(1i128 << width));
                    let (from, below) = (terms.op(Op::IntLe, zero, number), terms.op(Op::IntLt, number, end));
                    self.facts.push(from);
                    self.facts.push(below);
                } else {
                    let zero = terms.int(0);
                    let from = terms.op(Op::IntLe, zero, number);
                    self.facts.push(from);
                }
                number
            }
        }
    }

    fn operator(&mut self, terms: &mut Terms, op: Op, a: Term, b: Term) -> Term {
        let constant = |t: Term| terms.as_bits(t).is_some() || terms.as_int(t).is_some();
        let (fixed_a, fixed_b) = (constant(a), constant(b));
        match op {
            Op::Mul if !fixed_a && !fixed_b => self.opaque(terms, "product", op, a, b),
            Op::Div | Op::Rem if !(fixed_a && fixed_b) => {
                let power = terms.as_bits(b).is_some_and(u128::is_power_of_two);
                if power {
                    return terms.op(op, a, b);
                }
                let name = if op == Op::Div { "quotient" } else { "remainder" };
                let result = self.opaque(terms, name, op, a, b);
                if let (Op::Rem, Sort::Bits(width)) = (op, terms.sort(b)) {
                    let zero = terms.bits(0, width);
                    let none = terms.eq(b, zero);
                    let below = terms.op(Op::Ult, result, b);
                    let fact = terms.or(&[none, below]);
                    self.facts.push(fact);
                }
                if op == Op::Div {
                    let fact = terms.op(Op::Ule, result, a);
                    let Sort::Bits(width) = terms.sort(b) else { return result };
                    let zero = terms.bits(0, width);
                    let none = terms.eq(b, zero);
                    let fact = terms.or(&[none, fact]);
                    self.facts.push(fact);
                }
                result
            }
            Op::IntMul if !fixed_a && !fixed_b => self.product(terms, a, b),
            Op::IntDiv | Op::IntMod if !fixed_b => {
                self.opaque(terms, if op == Op::IntDiv { "whole quotient" } else { "whole remainder" }, op, a, b)
            }
            _ => terms.op(op, a, b),
        }
    }

    /// A function of two arguments.
    fn opaque(&mut self, terms: &mut Terms, name: &str, op: Op, a: Term, b: Term) -> Term {
        self.faithful = false;
        let (sort, mut args) = (terms.sort(a), [a, b]);
        if matches!(op, Op::Mul | Op::IntMul) {
            args.sort_unstable();
        }
        let name = match sort {
            Sort::Bits(width) => format!("{name} {width}"),
            _ => name.to_string(),
        };
        let symbol = terms.symbol(&name, &[sort, sort], sort);
        terms.apply(symbol, &args)
    }

    /// A product of integers: sums are multiplied out, what is left is opaque.
    fn product(&mut self, terms: &mut Terms, a: Term, b: Term) -> Term {
        for (sum, by) in [(a, b), (b, a)] {
            match terms.node(sum).clone() {
                Node::Op(op @ (Op::IntAdd | Op::IntSub), x, y) => {
                    let (x, y) = (self.operator(terms, Op::IntMul, x, by), self.operator(terms, Op::IntMul, y, by));
                    return terms.op(op, x, y);
                }
                Node::Op(Op::IntMul, x, y) if terms.as_int(x).is_some() || terms.as_int(y).is_some() => {
                    let (factor, rest) = if terms.as_int(x).is_some() { (x, y) } else { (y, x) };
                    let rest = self.operator(terms, Op::IntMul, rest, by);
                    return terms.op(Op::IntMul, factor, rest);
                }
                Node::Ite(c, x, y) => {
                    let (x, y) = (self.operator(terms, Op::IntMul, x, by), self.operator(terms, Op::IntMul, y, by));
                    return terms.ite(c, x, y);
                }
                _ => {}
            }
        }
        let result = self.opaque(terms, "product", Op::IntMul, a, b);
        let (a, b) = if a <= b { (a, b) } else { (b, a) };
        if !self.products.contains(&(a, b, result)) {
            self.products.push((a, b, result));
        }
        result
    }

    /// Where a bit string is compared with a constant, so is its number.
    fn constants(&mut self, terms: &mut Terms, formulas: &[Term]) {
        for term in terms.cone(formulas) {
            let lighter = self.known[term];
            let Node::Eq(a, b) = *terms.node(lighter) else { continue };
            for (string, constant) in [(a, b), (b, a)] {
                if let (Some(number), Node::Bits(_, bits)) = (self.numbers.get(&string), terms.node(constant))
                    && let Ok(value) = i128::try_from(*bits)
                {
                    let value = terms.int(value);
                    let same = terms.eq(*number, value);
                    let fact = terms.eq(lighter, same);
                    self.facts.push(fact);
                }
            }
        }
    }

    /// Of two products with a factor in common that is not negative, the one with the greater other factor is not less.
    fn monotonic(&mut self, terms: &mut Terms) {
        let products = self.products.clone();
        let zero = terms.int(0);
        for (index, (a, b, ab)) in products.iter().enumerate() {
            // Nothing negative comes from factors that are not negative.
            let (x, y) = (terms.op(Op::IntLe, zero, *a), terms.op(Op::IntLe, zero, *b));
            let given = terms.and(&[x, y]);
            let then = terms.op(Op::IntLe, zero, *ab);
            let fact = terms.implies(given, then);
            self.facts.push(fact);
            for (c, d, cd) in &products[index + 1..] {
                for (common, x, y) in [(a, b, d), (b, a, c), (a, b, c), (b, a, d)] {
                    let shared = (common == a && (x == b) && ((y == d && a == c) || (y == c && a == d)))
                        || (common == b && (x == a) && ((y == c && b == d) || (y == d && b == c)));
                    if !shared {
                        continue;
                    }
                    let positive = terms.op(Op::IntLe, zero, *common);
                    for (less, more, small, large) in [(x, y, ab, cd), (y, x, cd, ab)] {
                        let ordered = terms.op(Op::IntLe, *less, *more);
                        let given = terms.and(&[positive, ordered]);
                        let then = terms.op(Op::IntLe, *small, *large);
                        let fact = terms.implies(given, then);
                        self.facts.push(fact);
                    }
                }
            }
        }
    }
}
