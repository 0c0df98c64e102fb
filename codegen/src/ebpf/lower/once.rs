//! Entries of which nothing more is asked in a step: it need not look again where others change them meanwhile.
//!
//! What a look-up finds was there a moment before. If it is dead by the clock, if somebody has given it up, or if its memory is another key's by now, there
//! was a moment since when the entry was not there, and that may be the step's time: what it read and did before is a step of its own, or nothing, and
//! nothing that follows asks for the time or for a table.

use super::super::lir::{Arg, Cmp};
use super::env::{Env, Open};
use super::ops::Outcome;
use super::tables::{Entries, Kept};
use super::{Lower, Lowering};
use grv_lang::ir::validate::is_ghost_stmt;
use grv_lang::ir::{Expr, Stmt, StmtKind, TableId, Target};
use grv_lang::span::Span;

impl<'p> Lower<'p> {
    /// Whether all that is left of a step, if it looks at an entry now, is to say where the packet goes; and whether entries of the table whose word is 0 are
    /// dead, whoever holds them.
    pub(super) fn asks_no_more(&self, env: &Env<'p>, table: TableId, kept: &Entries, key: &[Arg]) -> bool {
        let dead = !kept.later && kept.ticket.is_none() && kept.columns.iter().all(|column| matches!(column, Kept::Word(..)));
        let seen = env.seen.as_ref().is_some_and(|seen| (seen.table, seen.key.as_slice()) == (table, key));
        let [frame] = env.frames.as_slice() else { return false };
        let element = &self.program.elements[frame.element.index()];
        let sends = |output: u32| matches!(element.outputs[output as usize].target, Target::Port(_));
        let ghost = |stmt: &Stmt| is_ghost_stmt(self.program, &frame.ghost, &stmt.kind);
        let mut rest = self.rest.iter().flat_map(|(_, stmts)| *stmts);
        dead && !seen && self.holder(table).is_none() && rest.all(|stmt| ghost(stmt) || only_leads_on(stmt, &sends))
    }

    /// Looks an entry up, of which nothing more is asked: whether it is live, and its columns.
    pub(super) fn look_once(
        &mut self,
        mut env: Env<'p>,
        table: TableId,
        kept: &Entries,
        key: &[Arg],
        span: Span,
    ) -> Lowering<Vec<Outcome<'p>>> {
        let Some(of) = self.map_of(table) else { return Err(self.broken(span, "a table that is not kept")) };
        let layout = self.layout(&of);
        let tick = self.is_mortal(table, kept).then(|| self.tick(&mut env, kept.clock));
        self.write_key(&of, key, None);
        let found = self.find(&of);
        let (live, absent) = (self.b.block(), self.b.block());
        self.b.unless(Cmp::Ne, found, Arg::Number(0), absent);
        let word = self.b.load(found, kept.word as i16, 8);
        self.branch_live(kept, word, tick, live, absent);
        self.b.enter(live);
        self.same_key(&layout, found, key, absent);
        let mut values = vec![Arg::Number(1)];
        for column in &kept.columns {
            if let Kept::Word(shift, bits) = column {
                values.push(self.in_word(word, *shift, *bits));
            }
        }
        let there = Open { env: env.clone(), block: self.b.here() };
        let nothing = vec![Arg::Number(0); values.len()];
        Ok(vec![(there, values), (Open { env, block: absent }, nothing)])
    }
}

/// Whether a statement only decides where the packet goes, by what is known, and sends it out of the box.
fn only_leads_on(stmt: &Stmt, sends: &impl Fn(u32) -> bool) -> bool {
    let all = |block: &[Stmt]| block.iter().all(|stmt| only_leads_on(stmt, sends));
    match &stmt.kind {
        StmtKind::Branch { .. } | StmtKind::Drop { .. } => true,
        StmtKind::Assign { value, .. } => !asks_the_time(value),
        StmtKind::Check { cond, .. } => !asks_the_time(cond),
        StmtKind::Emit { output, args } => sends(*output) && args.is_empty(),
        StmtKind::If { cond, then, other } => !asks_the_time(cond) && all(then) && all(other),
        StmtKind::Switch { on, cases, default } => {
            !asks_the_time(on) && cases.iter().all(|(_, _, block)| all(block)) && all(default)
        }
        _ => false,
    }
}

/// Whether an expression may read the clock.
fn asks_the_time(expr: &Expr) -> bool {
    match expr {
        Expr::Const(..) | Expr::Local(_) | Expr::Param(..) | Expr::Field(..) => false,
        Expr::Unary(_, a) | Expr::Convert(a, _) => asks_the_time(a),
        Expr::Binary(_, a, b) => asks_the_time(a) || asks_the_time(b),
        Expr::Select(a, b, c) => [a, b, c].into_iter().any(|expr| asks_the_time(expr)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Options, print_lowered};
    use grv_lang::compile::compile;
    use grv_lang::source::NoModules;

    /// Whether a handler that learns where a frame comes from begins again where it looked then, if it does this with what it knows of a frame's destination, and
    /// then `more`.
    fn begins_again(with: &str, more: &str) -> bool {
        let text = format!(
            "//! Frames by what is known of addresses.\n
            use std::net::{{Ethernet, Mac}};
            use std::time::COARSE;\n
            element Known {{
                input frame;
                output known, other;\n
                state places: map<Mac, u8>[4] idle 3s granularity COARSE;
                state others: set<Mac>[4] idle 3s granularity COARSE;\n
                on frame(p) {{
                    match p {{
                        {{ Ethernet as eth }} => {{
                            places.insert_or_update(eth.src, 1) else {{ }}
                            {with}
                            {more}
                        }}
                        _ => drop \"malformed\",
                    }}
                }}
            }}\n
            middlebox Box {{
                port left, right;
                ahead: Known;
                left -> ahead.frame;
                right -> ahead.frame;
                ahead.known -> right;
                ahead.other -> left;
            }}\n"
        );
        let compilation = compile("box.grv", text.as_bytes(), &NoModules);
        assert!(!compilation.failed(), "{:?}", compilation.diagnostics);
        let lowered = print_lowered(&compilation.boxes[0], &Options::default()).unwrap_or_else(|e| panic!("{e:?}"));
        // To learn takes several turns at most, too.
        let turns = lowered.matches(" < 4 ").count();
        assert!((1..=4).contains(&turns), "{lowered}");
        turns > 1
    }

    #[test]
    fn what_is_asked_last_is_looked_at_once() {
        let found = "match places.get(eth.dst) { some(place) => if place == 7 { drop \"stays\" }, none => { } }";
        let sent = "if eth.ethertype == 7 { emit other; } else { emit known; }";
        assert!(!begins_again(found, sent));
        // Where more is asked in the same step, all is what it was at one time.
        assert!(begins_again(found, "if others.contains(eth.dst) { emit other; } else { emit known; }"));
        assert!(begins_again(found, "if now + 1s > now { emit other; } else { emit known; }"));
    }
}
