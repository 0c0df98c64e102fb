//! Statements of handlers in the text form of the IR.

use super::{Names, Printer};
use crate::ir::{Change, Expr, Obligation, Stmt, StmtKind, TableId, Tier};

impl Printer<'_> {
    pub(super) fn block(&mut self, names: &Names<'_>, block: &[Stmt]) {
        for stmt in block {
            self.stmt(names, &stmt.kind);
        }
    }

    /// A line that opens a block, the block, and its end.
    pub(super) fn braced(&mut self, head: &str, names: &Names<'_>, block: &[Stmt]) {
        if block.is_empty() {
            return self.line(format!("{head} {{}}"));
        }
        self.line(format!("{head} {{"));
        self.nest(|p| p.block(names, block));
        self.line("}");
    }

    fn reason(&self, id: crate::ir::ReasonId) -> String {
        match self.program.reasons.get(id.index()) {
            Some(reason) => format!("{reason:?}"),
            None => format!("reason?{}", id.0),
        }
    }

    fn output(&self, index: u32) -> String {
        self.element
            .and_then(|element| element.outputs.get(index as usize))
            .map_or_else(|| format!("output?{index}"), |o| o.name.clone())
    }

    pub(super) fn reasons(&self, ids: &[crate::ir::ReasonId]) -> String {
        let list: Vec<String> = ids.iter().map(|id| self.reason(*id)).collect();
        list.join(", ")
    }

    fn stmt(&mut self, n: &Names<'_>, stmt: &StmtKind) {
        match stmt {
            StmtKind::Assign { dst, value } => {
                self.line(format!("{} = {}", n.set(*dst), n.expr(value)));
            }
            StmtKind::If { cond, then, other } => {
                self.braced(&format!("if {}", n.expr(cond)), n, then);
                if !other.is_empty() {
                    self.braced("else", n, other);
                }
            }
            StmtKind::Branch { .. } => self.line("branch"),
            StmtKind::Switch { on, cases, default } => {
                self.line(format!("switch {} {{", n.expr(on)));
                self.nest(|p| {
                    for (value, _, block) in cases {
                        p.braced(&format!("case {value}"), n, block);
                    }
                    p.braced("default", n, default);
                });
                self.line("}");
            }
            StmtKind::Check { cond, what } => {
                self.line(format!("check {} else {}", n.expr(cond), obligation(*what)));
            }
            StmtKind::Parse { packet, header, after, into, ok, malformed } => {
                let place = match after {
                    Some(handle) => format!("after {}", n.handle(*handle)),
                    None => "at the start".to_string(),
                };
                let head = format!("parse {} of {} {place} as {}", n.header(*header), n.packet(*packet), n.handle(*into));
                self.braced(&head, n, ok);
                self.braced("malformed", n, malformed);
            }
            StmtKind::SetField { handle, field, value } => self.line(format!("{} = {}", n.field(*handle, *field), n.expr(value))),
            StmtKind::UpdateChecksum { handle, field, optional, changes } => {
                let list: Vec<String> = changes.iter().map(|c| change(n, c)).collect();
                self.line(format!(
                    "update checksum {}{} for {}",
                    n.field(*handle, *field),
                    if *optional { " optional" } else { "" },
                    list.join(", ")
                ));
            }
            StmtKind::Push { header, before, into, fields, ok } => {
                let list: Vec<String> = fields
                    .iter()
                    .enumerate()
                    .map(|(i, value)| {
                        let field = crate::ir::FieldId(i as u32);
                        format!("{}: {}", n.header_field(Some(*header), field), n.expr(value))
                    })
                    .collect();
                self.line(format!(
                    "{} = push {} {{ {} }} before {} as {}",
                    n.set(*ok),
                    n.header(*header),
                    list.join(", "),
                    n.handle(*before),
                    n.handle(*into)
                ));
            }
            StmtKind::VerifyChecksums { handle, result } => {
                self.line(format!("{} = checksums valid({})", n.set(*result), n.handle(*handle)));
            }
            StmtKind::Pop { handle } => self.line(format!("pop {}", n.handle(*handle))),
            StmtKind::Emit { output, args } => {
                self.line(match args.is_empty() {
                    true => format!("emit {}", self.output(*output)),
                    false => format!("emit {}({})", self.output(*output), n.exprs(args)),
                });
            }
            StmtKind::Drop { reason } => self.line(format!("drop {}", self.reason(*reason))),
            StmtKind::First { table, index, value, test, holds, found } => {
                let head = format!(
                    "{} = first {} in {} with {} computed by",
                    n.set(*found),
                    n.sets([index].into_iter().chain(value)),
                    n.table(*table),
                    n.local(*holds)
                );
                self.braced(&head, n, test);
            }
            StmtKind::Choose { var, low, high, within, test, holds, tiers, ok } => {
                let within = within.map_or_else(String::new, |probes| format!(" within {probes}"));
                let head = format!(
                    "{} = choose {} in {}..={}{within} with {} computed by",
                    n.set(*ok),
                    n.set(*var),
                    n.expr(low),
                    n.expr(high),
                    n.local(*holds)
                );
                self.braced(&head, n, test);
                for tier in tiers {
                    match tier {
                        Tier::Exactly(value) => {
                            self.line(format!("prefer {} == {}", n.local(*var), n.expr(value)));
                        }
                        Tier::Test(block, holds) => {
                            let head = format!("prefer with {} computed by", n.local(*holds));
                            self.braced(&head, n, block);
                        }
                    }
                }
            }
            StmtKind::Spec(stmt) => self.spec(n, stmt),
            StmtKind::Test(stmt) => self.test_stmt(n, stmt),
            // State: one line each.
            StmtKind::Lookup { table, key, touch, found, value } => self.line(format!(
                "{} = {} {}",
                n.sets([found].into_iter().chain(value)),
                if *touch { "touch" } else { "lookup" },
                at(n, table, key)
            )),
            StmtKind::Longest { table, key, found, length, value } => self.line(format!(
                "{} = longest {}",
                n.sets([found, length].into_iter().chain(value)),
                at(n, table, std::slice::from_ref(key))
            )),
            StmtKind::Insert { entries, ok } => {
                let list: Vec<String> = entries
                    .iter()
                    .map(|e| {
                        let update = if e.or_update { " or update" } else { "" };
                        format!("{} = ({}){update}", at(n, &e.table, &e.key), n.exprs(&e.value))
                    })
                    .collect();
                self.line(format!("{} = insert {}", n.set(*ok), list.join(" and ")));
            }
            StmtKind::SetValue { table, key, value } => {
                self.line(format!("set {} = ({})", at(n, table, key), n.exprs(value)));
            }
            StmtKind::Remove { table, key } => self.line(format!("remove {}", at(n, table, key))),
            StmtKind::ExpireAt { table, key, at: time } => {
                self.line(format!("expire {} at {}", at(n, table, key), n.expr(time)));
            }
            StmtKind::Take { table, key, amount, result } => {
                self.line(format!("{} = take {} from {}", n.set(*result), n.expr(amount), at(n, table, key)))
            }
            StmtKind::ReadArray { table, index, value } => {
                self.line(format!("{} = read {}", n.sets(value), at(n, table, std::slice::from_ref(index))))
            }
            StmtKind::WriteArray { table, index, value } => {
                self.line(format!("write {} = ({})", at(n, table, std::slice::from_ref(index)), n.exprs(value)))
            }
            StmtKind::ReadCell { table, value } => {
                self.line(format!("{} = read {}", n.sets(value), n.table(*table)));
            }
            StmtKind::WriteCell { table, value } => {
                self.line(format!("write {} = ({})", n.table(*table), n.exprs(value)));
            }
            StmtKind::Count { table, index, amount } => {
                self.line(format!("count {} by {}", at(n, table, std::slice::from_ref(index)), n.expr(amount)))
            }
            StmtKind::ReadCounter { table, index, value } => {
                self.line(format!("{} = read {}", n.set(*value), at(n, table, std::slice::from_ref(index))))
            }
        }
    }
}

/// A place in a table: `rewriter.forward[a, b]`.
fn at(n: &Names<'_>, table: &TableId, key: &[Expr]) -> String {
    format!("{}[{}]", n.table(*table), n.exprs(key))
}

fn change(n: &Names<'_>, change: &Change) -> String {
    let mut text = format!("{} -> {} u{}", n.expr(&change.old), n.expr(&change.new), change.width);
    if change.shift != 0 {
        text.push_str(&format!(" << {}", change.shift));
    }
    text
}

fn obligation(what: Obligation) -> &'static str {
    match what {
        Obligation::Overflow => "overflow",
        Obligation::DivisionByZero => "division by zero",
        Obligation::Narrowing => "narrowing",
        Obligation::Bounds => "bounds",
        Obligation::Shift => "shift",
        Obligation::Assertion => "assertion",
    }
}
