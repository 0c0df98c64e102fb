//! Expressions as they are evaluated. Evaluating one reads variables, headers and the time; it changes nothing. What can be known
//! before is: [`super::lower`] has looked up where variables and fields are and which types operators work on, and has computed
//! what is constant.

use super::hash;
use super::packet::{Extent, Place};
use super::spec::Bindings;
use super::step::Frame;
use super::value::{Fault, exact, integer, of_bits};
use crate::ir::{BinaryOp, Scalar};
use std::cell::Cell;

/// An expression: a leaf, and what is done to its value, one after the other. So left operands need no recursion, and most
/// others are constants. Values are bare bits; those above their type's width are zero.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    pub(crate) first: Leaf,
    pub(crate) then: Box<[Act]>,
}

/// What an expression begins with. Tags are bytes of their own, since each evaluation begins with looking at one.
#[derive(Clone, Debug)]
#[repr(u8)]
pub(crate) enum Leaf {
    /// A constant.
    Const(u64),
    /// One that needs more bits. Few do, and small expressions are fast.
    Wide(Box<u128>),
    /// A variable, by its place among the body's.
    Local(usize),
    /// A field of a header.
    Field(Spot),
    /// Bytes of a header.
    HeaderLength(usize),
    /// Bytes of a packet.
    PacketLength(usize),
    /// The step's time.
    Now,
    /// A hash function.
    Hash(Box<Hashed>),
    /// It has no value.
    Fault(Fault),
}

/// A hash function's arguments with their types, its starting value, and its result's bits.
#[derive(Clone, Debug)]
pub(crate) struct Hashed {
    pub(crate) args: Vec<(Code, Scalar)>,
    pub(crate) seed: u64,
    pub(crate) width: u8,
}

/// What is done to a value.
#[derive(Clone, Debug)]
#[repr(u8)]
pub(crate) enum Act {
    /// Whether it is zero.
    Not,
    /// Whether it is that.
    Is(u128),
    /// These bits of it.
    Mask(u128),
    /// These bits of it flipped.
    Flip(u128),
    /// It and another value, both of so many bits (but for the distance of a shift).
    Bits(BinaryOp, u8, Box<Code>),
    /// It and another value, both integers.
    Integers(BinaryOp, Box<Code>),
    /// 128 bits as an integer.
    Exact,
    /// If it is not zero the first of these, else the second.
    Select(Box<[Code; 2]>),
}

impl From<Leaf> for Code {
    fn from(leaf: Leaf) -> Code {
        Code { first: leaf, then: Box::default() }
    }
}

impl Code {
    /// A constant.
    pub(crate) fn of(bits: u128) -> Code {
        match u64::try_from(bits) {
            Ok(bits) => Leaf::Const(bits).into(),
            Err(_) => Leaf::Wide(Box::new(bits)).into(),
        }
    }

    /// Its value, if it is constant.
    pub(crate) fn constant(&self) -> Option<u128> {
        match &self.first {
            Leaf::Const(bits) if self.then.is_empty() => Some((*bits).into()),
            Leaf::Wide(bits) if self.then.is_empty() => Some(**bits),
            _ => None,
        }
    }

    /// The same with something done to its value.
    pub(crate) fn with(self, act: Act) -> Code {
        let mut acts = self.then.into_vec();
        acts.push(act);
        Code { first: self.first, then: acts.into() }
    }
}

/// Where a field is: in which header of which packet of the body, and where in the header. A header's own declaration knows no
/// other headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(crate) place: u32,
    pub(crate) packet: u32,
    pub(crate) extent: Extent,
}

/// Where the leaves of expressions have their values from: none if there is a fault.
pub(crate) trait Leaves: Copy {
    /// The value of a variable.
    fn local(self, index: usize) -> Option<u128>;

    /// The value of a field that can be read as a machine word.
    fn word(self, spot: &Spot) -> Option<u64>;

    /// The value of a leaf that is no constant.
    fn leaf(self, leaf: &Leaf) -> Option<u128>;

    /// Why a leaf has no value.
    fn fault(self, leaf: &Leaf) -> Fault;

    /// The value of an expression.
    #[inline(always)]
    fn eval(self, code: &Code) -> Result<u128, Fault> {
        let fault = Cell::new(None);
        let bits = self.operand(code, &fault);
        match fault.into_inner() {
            None => Ok(bits),
            Some(fault) => Err(fault),
        }
    }

    /// The same, where a fault is put aside and the value then means nothing: a value alone stays in registers. Variables and
    /// constants alone need no call.
    #[inline(always)]
    fn operand(self, code: &Code, fault: &Cell<Option<Fault>>) -> u128 {
        match &code.first {
            Leaf::Const(bits) if code.then.is_empty() => (*bits).into(),
            Leaf::Local(index) if code.then.is_empty() => {
                self.local(*index).unwrap_or_else(|| aside(self.fault(&code.first), fault))
            }
            _ => self.bits(code, fault),
        }
    }

    /// The same of other expressions. Most are a variable or a field that is held against constants. Whatever needs a call is left
    /// to others, and last, so that little has to be saved here.
    #[inline(never)]
    fn bits(self, code: &Code, fault: &Cell<Option<Fault>>) -> u128 {
        let first = match &code.first {
            Leaf::Const(bits) => Some((*bits).into()),
            Leaf::Local(index) => self.local(*index),
            Leaf::Field(spot) => self.word(spot).map(u128::from),
            _ => None,
        };
        let Some(first) = first else { return self.rare(code, fault) };
        let mut bits = first;
        for act in &code.then {
            bits = match act {
                Act::Not => u128::from(bits == 0),
                Act::Is(other) => u128::from(bits == *other),
                Act::Mask(mask) => bits & mask,
                _ => return self.acts(code, first, fault),
            };
        }
        bits
    }

    /// The same of an expression that begins with something else.
    #[inline(never)]
    fn rare(self, code: &Code, fault: &Cell<Option<Fault>>) -> u128 {
        self.acts(code, self.first(&code.first, fault), fault)
    }

    /// What becomes of the value that an expression begins with.
    #[inline(never)]
    fn acts(self, code: &Code, mut bits: u128, fault: &Cell<Option<Fault>>) -> u128 {
        for act in &code.then {
            bits = match act {
                Act::Not => u128::from(bits == 0),
                Act::Is(other) => u128::from(bits == *other),
                Act::Mask(mask) => bits & mask,
                Act::Flip(mask) => bits ^ mask,
                Act::Bits(op, width, right) => of_bits(*op, bits, self.operand(right, fault), *width),
                Act::Integers(op, right) => {
                    integer(*op, bits, self.operand(right, fault)).unwrap_or_else(|found| aside(found, fault))
                }
                Act::Exact => exact(bits).unwrap_or_else(|found| aside(found, fault)),
                Act::Select(ways) => self.operand(&ways[usize::from(bits == 0)], fault),
            };
        }
        bits
    }

    /// The value that an expression begins with.
    fn first(self, leaf: &Leaf, fault: &Cell<Option<Fault>>) -> u128 {
        match leaf {
            Leaf::Const(bits) => (*bits).into(),
            Leaf::Wide(bits) => **bits,
            Leaf::Hash(of) => {
                let mut h = of.seed;
                for (arg, ty) in &of.args {
                    hash::feed(&mut h, self.operand(arg, fault), *ty);
                }
                hash::finish(h, of.width)
            }
            Leaf::Fault(found) => aside(*found, fault),
            leaf => self.leaf(leaf).unwrap_or_else(|| aside(self.fault(leaf), fault)),
        }
    }
}

/// Puts a fault aside, if it is the first.
#[cold]
fn aside(found: Fault, fault: &Cell<Option<Fault>>) -> u128 {
    fault.set(fault.get().or(Some(found)));
    0
}

/// What the expressions of a body can see.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) frame: &'a Frame<'a>,
    pub(crate) vars: &'a Bindings,
}

impl Leaves for Scope<'_> {
    #[inline(always)]
    fn local(self, index: usize) -> Option<u128> {
        self.vars.locals.get(self.frame.locals + index).copied()
    }

    #[inline(always)]
    fn word(self, spot: &Spot) -> Option<u64> {
        let (packet, start) = self.at(spot)?;
        spot.extent.word(packet, start)
    }

    fn leaf(self, leaf: &Leaf) -> Option<u128> {
        match leaf {
            Leaf::Local(index) => self.local(*index),
            Leaf::Field(spot) => {
                let (packet, start) = self.at(spot)?;
                spot.extent.get(packet, start)
            }
            Leaf::HeaderLength(place) => Some(self.place(*place).ok()?.length.into()),
            Leaf::PacketLength(packet) => Some(self.packet(*packet).ok()?.len() as u128),
            Leaf::Now => Some(self.frame.now.into()),
            _ => None,
        }
    }

    #[cold]
    fn fault(self, leaf: &Leaf) -> Fault {
        let missing = match leaf {
            Leaf::Local(_) => return Fault::Malformed("a variable that is not declared"),
            Leaf::Field(spot) => self.place(spot.place as usize).and_then(|_| self.packet(spot.packet as usize)).err(),
            Leaf::HeaderLength(place) => self.place(*place).err(),
            Leaf::PacketLength(packet) => self.packet(*packet).err(),
            _ => None,
        };
        missing.unwrap_or(Fault::Malformed("a field outside its packet"))
    }
}

impl<'a> Scope<'a> {
    /// The packet that a field is in, and where its header starts. What starts nowhere (`Place::NONE`) is outside of every packet.
    #[inline(always)]
    fn at(self, spot: &Spot) -> Option<(&'a [u8], u32)> {
        let place = self.vars.places.get(self.frame.places + spot.place as usize)?;
        let packet = self.vars.packets.get(self.frame.packets + spot.packet as usize)?;
        Some((packet, place.start))
    }

    /// The place of a header that was found or made.
    #[inline(always)]
    pub(crate) fn place(self, handle: usize) -> Result<Place, Fault> {
        self.vars.places.get(self.frame.places + handle).copied().filter(|place| place.is_some()).ok_or(Fault::NoHeader)
    }

    /// The places of all headers of the body.
    pub(crate) fn places(self) -> &'a [Place] {
        self.vars.places.get(self.frame.places..).unwrap_or(&[])
    }

    /// A packet's bytes.
    pub(crate) fn packet(self, packet: usize) -> Result<&'a [u8], Fault> {
        self.vars.packets.get(self.frame.packets + packet).map(Vec::as_slice).ok_or(Fault::NoPacket)
    }
}

/// What the expressions of a header's declaration can see: its own fixed part, at the start of these bytes.
#[derive(Clone, Copy)]
pub(crate) struct Own<'a>(pub(crate) &'a [u8]);

impl Leaves for Own<'_> {
    fn local(self, _index: usize) -> Option<u128> {
        None
    }

    #[inline(always)]
    fn word(self, spot: &Spot) -> Option<u64> {
        spot.extent.word(self.0, 0)
    }

    fn leaf(self, leaf: &Leaf) -> Option<u128> {
        if let Leaf::Field(spot) = leaf { spot.extent.get(self.0, 0) } else { None }
    }

    #[cold]
    fn fault(self, leaf: &Leaf) -> Fault {
        Fault::Malformed(match leaf {
            Leaf::Field(_) => "a field outside the fixed part",
            _ => "a header's declaration that looks outside the header",
        })
    }
}
