//! The program that stands at all ports while one version of a box takes another one's place. It drops what comes, until it is decided which version
//! goes on, and hands packets on to that one. Who decides is whoever is first: the process that changes the versions, for the new one, or the
//! first packet after a time, for the old one. So ports do not stay closed, whatever becomes of that process.

use super::lir::{Arg, Builder, Cmp, Helper, Type};
use super::maps::{Kind, Layout, Map, Maps};
use super::{Hook, machine, object};
use grv_lang::source::SourceMap;
use grv_lang::span::Span;

/// The program, and the two maps beside it.
pub const PROGRAM: &str = "gate";
/// Holds one entry as soon as it is decided: the number of the version.
pub const DECISION: &str = "decision";
/// The programs of the versions, by number.
pub const VERSIONS: &str = "versions";
/// The variable that says when the first packet decides, by the kernel's monotonic clock.
pub const UNTIL: &str = "until";

/// The numbers of the versions.
pub const OLD: u32 = 0;
/// See [`OLD`].
pub const NEW: u32 = 1;

/// Flag of `bpf_map_update_elem`: only if there is none.
const NO_EXIST: u64 = 1;

/// Builds it.
pub fn gate(hook: Hook) -> Result<Vec<u8>, String> {
    let mut sources = SourceMap::default();
    let file = sources.add("gate".to_string(), String::new());
    let mut maps = Maps::default();
    let section = maps.push_globals(".rodata");
    if let Some(globals) = maps.globals_mut(section) {
        globals.push(UNTIL, 64, 0);
    }
    let number = || {
        let mut layout = Layout::new();
        layout.push("number", 32);
        layout
    };
    let mut push = |name: &str, kind, entries| {
        maps.push(Map { name: name.to_string(), kind, key: number(), value: number(), entries, flags: 0 })
    };
    let (decision, versions) = (push(DECISION, Kind::Hash, 1), push(VERSIONS, Kind::ProgArray, 2));
    let mut b = Builder::new(Span { file, start: 0, end: 0 }, &[Type::Context]);
    let (key, value) = (b.slot(8), b.slot(8));
    b.store(Arg::Stack(key, 0), 0, 4, Arg::Number(0));
    let (open, closed, over, dropped) = (b.block(), b.block(), b.block(), b.block());
    let which = b.param(open, Type::Word, 32);
    let entry = b.call(Helper::MapLookup, vec![Arg::Map(decision), Arg::Stack(key, 0)]);
    let decided = b.block();
    b.branch(Cmp::Ne, entry, Arg::Number(0), decided, closed);
    b.enter(decided);
    let number = b.load(entry, 0, 4);
    b.jump(open, vec![number]);

    b.enter(closed);
    let until = b.load(Arg::Global(section, 0), 0, 8);
    let now = b.call(Helper::KtimeGetNs, Vec::new());
    b.branch(Cmp::Ge, now, until, over, dropped);
    b.enter(over);
    b.store(Arg::Stack(value, 0), 0, 4, Arg::Number(OLD.into()));
    let update = vec![Arg::Map(decision), Arg::Stack(key, 0), Arg::Stack(value, 0), Arg::Number(NO_EXIST)];
    b.call(Helper::MapUpdate, update);
    // Whoever was first.
    let entry = b.call(Helper::MapLookup, vec![Arg::Map(decision), Arg::Stack(key, 0)]);
    b.unless(Cmp::Ne, entry, Arg::Number(0), dropped);
    let number = b.load(entry, 0, 4);
    b.jump(open, vec![number]);

    b.enter(open);
    let context = b.input(0);
    b.call(Helper::TailCall, vec![context, Arg::Map(versions), Arg::Value(which)]);
    b.jump(dropped, Vec::new());
    b.enter(dropped);
    b.ret(Arg::Number(match hook {
        Hook::Xdp => 1,
        Hook::Tc => 2,
    }));
    let code = machine::compile(&b.finish(PROGRAM)).map_err(|failure| failure.to_string())?;
    object::write(hook, &code, &[], &maps, b"", &sources)
}
