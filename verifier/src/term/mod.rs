//! Terms: formulas as a graph in which equal terms are one node. Constructors simplify what is cheap to see, so that what
//! does not matter to a question vanishes before a solver meets it.

mod build;
pub mod eval;
pub mod lighten;
pub mod map;
pub mod narrow;
pub mod print;
pub mod sums;

use hashbrown::HashTable;
use rustc_hash::{FxBuildHasher, FxHashMap};
use std::hash::BuildHasher;

/// A term: an index into its [`Terms`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Term(u32);

/// The sort of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sort {
    /// True or false.
    Bool,
    /// Bit strings of that many bits, 1 to 128.
    Bits(u8),
    /// Mathematical integers.
    Int,
}

/// A constant or a function without meaning of its own: index into [`Terms::symbols`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(u32);

/// What a symbol stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Declared {
    /// Its name, unique in its terms.
    pub name: String,
    /// Sorts of its arguments; none: a constant.
    pub args: Vec<Sort>,
    /// Sort of its value.
    pub sort: Sort,
}

/// Operators on bit strings and integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// Sum modulo 2^width.
    Add,
    /// Difference modulo 2^width.
    Sub,
    /// Product modulo 2^width.
    Mul,
    /// Quotient of unsigned numbers; the divisor is not zero.
    Div,
    /// Remainder of unsigned numbers; the divisor is not zero.
    Rem,
    /// Bits in both.
    And,
    /// Bits in one.
    Or,
    /// Bits in exactly one.
    Xor,
    /// Shifted left; by the width or more: 0.
    Shl,
    /// Shifted right; by the width or more: 0.
    Shr,
    /// Unsigned less.
    Ult,
    /// Unsigned less or equal.
    Ule,
    /// Signed less.
    Slt,
    /// Signed less or equal.
    Sle,
    /// Sum of integers.
    IntAdd,
    /// Difference of integers.
    IntSub,
    /// Product of integers.
    IntMul,
    /// Quotient of integers, rounded down; the divisor is above zero.
    IntDiv,
    /// Remainder of integers, not negative; the divisor is above zero.
    IntMod,
    /// Less or equal, of integers.
    IntLe,
    /// Less, of integers.
    IntLt,
}

/// A node of the graph.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// A truth value.
    Bool(bool),
    /// A bit string: width and bits.
    Bits(u8, u128),
    /// An integer.
    Int(i128),
    /// A symbol applied to its arguments.
    Apply(Symbol, Box<[Term]>),
    /// Not.
    Not(Term),
    /// All of them; at least two, none of them an `And`, sorted.
    And(Box<[Term]>),
    /// One of them; at least two, none of them an `Or`, sorted.
    Or(Box<[Term]>),
    /// `if c then a else b`.
    Ite(Term, Term, Term),
    /// Equal.
    Eq(Term, Term),
    /// An operator.
    Op(Op, Term, Term),
    /// All bits flipped.
    Complement(Term),
    /// Zero-extended to a width.
    ZeroExtend(u8, Term),
    /// Sign-extended to a width.
    SignExtend(u8, Term),
    /// `width` bits from bit `low` on.
    Extract {
        /// The lowest bit.
        low: u8,
        /// How many.
        width: u8,
        /// Of what.
        of: Term,
    },
    /// The unsigned number that a bit string stands for.
    ToInt(Term),
    /// An integer modulo 2^width.
    ToBits(u8, Term),
    /// A quantified formula, by its number; gone before a solver sees it.
    Quantified(u32),
}

/// The graph.
#[derive(Debug, Default)]
pub struct Terms {
    nodes: Vec<Node>,
    sorts: Vec<Sort>,
    known: HashTable<Term>,
    symbols: Vec<Declared>,
    names: FxHashMap<String, Symbol>,
    fresh: FxHashMap<String, u32>,
}

impl Terms {
    /// An empty graph.
    pub fn new() -> Terms {
        Terms::default()
    }

    /// A term's node.
    pub fn node(&self, term: Term) -> &Node {
        &self.nodes[term.0 as usize]
    }

    /// A term's sort.
    pub fn sort(&self, term: Term) -> Sort {
        self.sorts[term.0 as usize]
    }

    /// A symbol's declaration.
    pub fn declared(&self, symbol: Symbol) -> &Declared {
        &self.symbols[symbol.0 as usize]
    }

    /// All symbols.
    pub fn symbols(&self) -> impl Iterator<Item = (Symbol, &Declared)> {
        (0..).map(Symbol).zip(&self.symbols)
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The symbol of a name. It is declared once; asking for it with other sorts is a mistake of ours.
    pub fn symbol(&mut self, name: &str, args: &[Sort], sort: Sort) -> Symbol {
        if let Some(symbol) = self.names.get(name) {
            let known = &self.symbols[symbol.0 as usize];
            assert!(known.args == args && known.sort == sort, "`{name}` is declared twice, with different sorts");
            return *symbol;
        }
        let symbol = Symbol(self.symbols.len() as u32);
        self.symbols.push(Declared { name: name.to_string(), args: args.to_vec(), sort });
        self.names.insert(name.to_string(), symbol);
        symbol
    }

    /// A constant by its name.
    pub fn var(&mut self, name: &str, sort: Sort) -> Term {
        let symbol = self.symbol(name, &[], sort);
        self.add(Node::Apply(symbol, Box::new([])), sort)
    }

    /// The name of a constant.
    pub fn name_of(&self, term: Term) -> Option<&str> {
        match self.node(term) {
            Node::Apply(symbol, args) if args.is_empty() => Some(&self.declared(*symbol).name),
            _ => None,
        }
    }

    /// A constant that is equal to nothing else; `name` and a number.
    pub fn fresh(&mut self, name: &str, sort: Sort) -> Term {
        let count = self.fresh.entry(name.to_string()).or_default();
        *count += 1;
        let name = format!("{name}!{count}");
        self.var(&name, sort)
    }

    /// Fresh symbols are called as they were from the start: those that have the names of others are these.
    pub(crate) fn begin_again(&mut self) {
        self.fresh.clear();
    }

    /// A function's value.
    pub fn apply(&mut self, symbol: Symbol, args: &[Term]) -> Term {
        let declared = self.declared(symbol);
        debug_assert!(declared.args.len() == args.len());
        let sort = declared.sort;
        self.add(Node::Apply(symbol, args.into()), sort)
    }

    /// A quantified formula.
    pub fn quantified(&mut self, number: u32) -> Term {
        self.add(Node::Quantified(number), Sort::Bool)
    }

    fn add(&mut self, node: Node, sort: Sort) -> Term {
        let hash = FxBuildHasher.hash_one(&node);
        if let Some(term) = self.known.find(hash, |term| self.nodes[term.0 as usize] == node) {
            return *term;
        }
        let term = Term(self.nodes.len() as u32);
        self.nodes.push(node);
        self.sorts.push(sort);
        let nodes = &self.nodes;
        self.known.insert_unique(hash, term, |term| FxBuildHasher.hash_one(&nodes[term.0 as usize]));
        term
    }

    /// The terms that a node is made of.
    pub fn children(&self, term: Term) -> impl Iterator<Item = Term> + '_ {
        let (few, many): ([Option<Term>; 3], &[Term]) = match self.node(term) {
            Node::Bool(_) | Node::Bits(..) | Node::Int(_) | Node::Quantified(_) => ([None; 3], &[]),
            Node::Apply(_, all) | Node::And(all) | Node::Or(all) => ([None; 3], all),
            Node::Ite(a, b, c) => ([Some(*a), Some(*b), Some(*c)], &[]),
            Node::Eq(a, b) | Node::Op(_, a, b) => ([Some(*a), Some(*b), None], &[]),
            Node::Not(a)
            | Node::Complement(a)
            | Node::ZeroExtend(_, a)
            | Node::SignExtend(_, a)
            | Node::Extract { of: a, .. }
            | Node::ToInt(a)
            | Node::ToBits(_, a) => ([Some(*a), None, None], &[]),
        };
        few.into_iter().flatten().chain(many.iter().copied())
    }

    /// The application of a symbol, in a term, that was made last.
    pub fn newest(&self, term: Term) -> Option<Term> {
        let (mut open, mut seen) = (vec![term], rustc_hash::FxHashSet::default());
        let mut newest = None;
        while let Some(term) = open.pop() {
            if newest.is_some_and(|found| term < found) || !seen.insert(term) {
                continue;
            }
            if let Node::Apply(..) = self.node(term) {
                newest = Some(term);
            }
            open.extend(self.children(term));
        }
        newest
    }

    /// What is added up in a sum of bit strings that may have been widened or cut, constants aside; none, if it is no sum.
    pub fn parts_of_sum(&self, term: Term) -> Vec<Term> {
        match *self.node(term) {
            Node::ZeroExtend(_, of) | Node::SignExtend(_, of) | Node::Extract { low: 0, of, .. } => self.parts_of_sum(of),
            Node::Op(Op::Add, a, b) => {
                let parts = |part: Term| {
                    let more = self.parts_of_sum(part);
                    if more.is_empty() && self.as_bits(part).is_none() { vec![part] } else { more }
                };
                [a, b].into_iter().flat_map(parts).collect()
            }
            _ => Vec::new(),
        }
    }

    /// All terms that some terms are made of, themselves included, parts before wholes.
    pub fn cone(&self, roots: &[Term]) -> Vec<Term> {
        self.cone_without(roots, |_| false)
    }

    /// The same without some terms, and what only they are made of.
    pub fn cone_without(&self, roots: &[Term], left_out: impl Fn(Term) -> bool) -> Vec<Term> {
        // Parts are made before wholes: what is newer than the roots is in none of them.
        let Some(newest) = roots.iter().max() else { return Vec::new() };
        let mut seen = vec![0u64; newest.0 as usize / 64 + 1];
        let (mut open, mut count) = (roots.to_vec(), 0);
        while let Some(term) = open.pop() {
            let (word, bit) = (term.0 as usize / 64, 1u64 << (term.0 % 64));
            if seen[word] & bit == 0 && !left_out(term) {
                seen[word] |= bit;
                count += 1;
                open.extend(self.children(term));
            }
        }
        let mut all = Vec::with_capacity(count);
        for (word, mut bits) in (0..).zip(seen) {
            while bits != 0 {
                all.push(Term(word * 64 + bits.trailing_zeros()));
                bits &= bits - 1;
            }
        }
        all
    }
}
