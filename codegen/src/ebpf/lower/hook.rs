//! What differs between the hooks: XDP is given a frame as the driver has it, tc a buffer. What is here of tc:
//!
//! - Of a buffer, only a part may be within reach of programs: the rest is brought there first.
//! - The kernel takes the outermost VLAN tag off before a program sees the frame. A program that was proved of frames as they are on the wire
//!   must not take what is left for one: such frames are dropped, for a reason of their own.
//! - A packet is sent by the number of an interface, and to one port.

use super::super::Hook;
use super::super::lir::{Arg, Cmp, Field, Helper, Value};
use super::flow::{ABORTED, DROP, PASS};
use super::{Lower, Lowering, TARGET_REASONS};
use grv_lang::diagnostics::{Code, Diagnostic};
use grv_lang::ir::Port;
use grv_lang::span::Span;

/// Reasons for drops that only one of the hooks has.
pub(super) fn reasons(hook: Hook) -> &'static [&'static str] {
    match hook {
        Hook::Xdp => &[],
        Hook::Tc => &["VLAN tag", "out of memory"],
    }
}

/// Verdicts of tc.
const TC_PASS: u64 = 0;
const TC_DROP: u64 = 2;

impl<'p> Lower<'p> {
    /// A verdict, as the hook has it.
    pub(super) fn verdict(&self, xdp: u64) -> u64 {
        match (self.options.hook, xdp) {
            (Hook::Tc, PASS) => TC_PASS,
            (Hook::Tc, ABORTED | DROP) => TC_DROP,
            _ => xdp,
        }
    }

    /// The packet's first byte and its end.
    pub(super) fn packet_fields(&mut self, context: Value) -> (Arg, Arg) {
        let (data, end) = match self.options.hook {
            Hook::Xdp => (Field::Data, Field::DataEnd),
            Hook::Tc => (Field::SkbData, Field::SkbDataEnd),
        };
        (self.b.field(context, data), self.b.field(context, end))
    }

    /// The interface that a packet arrived at.
    pub(super) fn interface_of(&mut self, context: Value) -> Arg {
        let field = match self.options.hook {
            Hook::Xdp => Field::IngressIfindex,
            Hook::Tc => Field::SkbIngressIfindex,
        };
        self.b.field(context, field)
    }

    /// Whether the program has the number of a port's interface because it sends there.
    pub(super) fn names_interface(&self, port: &Port) -> bool {
        self.options.hook == Hook::Tc && port.name != "host"
    }

    fn target_reason(&self, which: usize) -> u64 {
        (self.program.reasons.len() + TARGET_REASONS.len() + which) as u64
    }

    /// Brings all of a buffer within reach.
    pub(super) fn in_reach(&mut self, context: Value) {
        if self.options.hook == Hook::Xdp {
            return;
        }
        let (Arg::Value(data), Arg::Value(end)) = self.packet_fields(context) else { return };
        let whole = self.b.field(context, Field::SkbLength);
        let within = self.b.distance(data, end);
        let (pull, failed, done) = (self.b.block(), self.b.block(), self.b.block());
        self.b.branch(Cmp::Lt, within, whole, pull, done);
        self.b.enter(pull);
        let result = self.b.call(Helper::SkbPullData, vec![Arg::Value(context), whole]);
        self.b.branch(Cmp::Eq, result, Arg::Number(0), done, failed);
        self.b.enter(failed);
        self.drop_with(self.target_reason(1), ABORTED);
        self.b.enter(done);
    }

    /// Drops a frame whose VLAN tag was taken off.
    pub(super) fn untagged(&mut self) {
        let (Hook::Tc, Arg::Value(context)) = (self.options.hook, self.b.input(0)) else { return };
        let tagged = self.b.field(context, Field::SkbTagged);
        let (dropped, whole) = (self.b.block(), self.b.block());
        self.b.branch(Cmp::Ne, tagged, Arg::Number(0), dropped, whole);
        self.b.enter(dropped);
        self.drop_with(self.target_reason(0), DROP);
        self.b.enter(whole);
    }

    /// Ends the program: the packet goes to a port.
    pub(super) fn leave_tc(&mut self, sent: u64, span: Span) -> Lowering<()> {
        if sent.count_ones() != 1 {
            return Err(self.refuse(Code::TargetPacket, span, "sending copies of a packet from tc".to_string()));
        }
        let port = sent.trailing_zeros() as usize;
        let Some(Some((offset, _))) = self.interfaces.get(port) else {
            return Err(self.broken(span, "a port without an interface"));
        };
        let interface = self.b.load(Arg::Global(self.constants, (*offset).into()), 0, 4);
        let verdict = self.b.call(Helper::Redirect, vec![interface, Arg::Number(0)]);
        self.b.ret(verdict);
        Ok(())
    }

    /// Headers are neither put in nor taken out.
    pub(super) fn resized_at_tc(&self, span: Span) -> Box<Diagnostic> {
        self.refuse(Code::TargetOperation, span, "putting headers into a packet, or taking them out, at tc".to_string())
    }
}
