//! Hash functions, as the language defines them. One that registers can be given all words of is a function of its own: the kernel's verifier goes through it once,
//! and takes what it gives for any word; of an index that is computed where it is used, it would keep apart all that it was made of.

use super::super::lir::{Arg, Bin, Builder};
use super::super::maps::identifier;
use super::search::REGISTERS;
use super::{Lower, Lowering};
use grv_lang::interp::hash::seed;
use grv_lang::ir::HashId;
use grv_lang::span::Span;

/// Factors by which hash functions mix in a word, and at the end.
const WORD: u64 = 0x9e37_79b9_7f4a_7c15;
const LAST: u64 = 0xd6e8_feb8_6659_fd93;

/// A hash function that others call.
pub(super) struct Hasher {
    id: HashId,
    /// Bits of the words that it is given.
    widths: Vec<u8>,
    /// The function's number.
    number: u32,
}

impl Lower<'_> {
    /// A hash of words of these widths.
    pub(super) fn hash(&mut self, id: HashId, words: &[Arg], widths: &[u8], span: Span) -> Lowering<Arg> {
        let Some(function) = self.program.hashes.get(id.index()) else {
            return Err(self.broken(span, "a hash function that is not there"));
        };
        let (begin, width) = (Arg::Number(seed(&function.name)), function.width);
        if words.len() > REGISTERS || words.iter().all(|word| word.number().is_some()) {
            let hash = self.mixed(begin, words);
            return Ok(self.b.low(hash, width));
        }
        let known = self.hashers.iter().find(|of| of.id == id && of.widths == widths).map(|of| of.number);
        let number = known.unwrap_or_else(|| {
            let mut b = Builder::of_words(span, widths);
            let words: Vec<Arg> = (0..widths.len()).map(|at| b.input(at)).collect();
            std::mem::swap(&mut self.b, &mut b);
            let hash = self.mixed(begin, &words);
            let hash = self.b.low(hash, width);
            self.b.ret(hash);
            std::mem::swap(&mut self.b, &mut b);
            let number = self.functions.len() as u32;
            self.functions.push(b.finish(&format!("hash_{}", identifier(&function.name))));
            self.hashers.push(Hasher { id, widths: widths.to_vec(), number });
            number
        });
        Ok(self.b.invoke(number, words.to_vec(), width))
    }

    /// A number of 64 bits that depends on all these, as functions of the language mix them.
    pub(super) fn mixed(&mut self, mut h: Arg, words: &[Arg]) -> Arg {
        for word in words {
            h = self.mix(h, *word);
        }
        self.mix_by(h, Arg::Number(0), LAST)
    }

    /// The same with one word more.
    pub(super) fn mix(&mut self, h: Arg, word: Arg) -> Arg {
        self.mix_by(h, word, WORD)
    }

    fn mix_by(&mut self, h: Arg, word: Arg, factor: u64) -> Arg {
        let mixed = self.b.bin(Bin::Xor, h, word);
        let product = self.b.bin(Bin::Mul, mixed, Arg::Number(factor));
        let high = self.b.bin(Bin::Shr, product, Arg::Number(32));
        self.b.bin(Bin::Xor, product, high)
    }
}
