//! Totality of handlers, over the IR: each path emits or ends in a drop, and no path does both.

use super::Elab;
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::{Block, Expr, LocalId, StmtKind};
use crate::span::Span;

/// What is known where a path goes on.
#[derive(Clone, PartialEq)]
struct State {
    emitted: bool,
    /// Numbers of arms that were chosen: a match whose arms are shared runs them after it has looked at the packet.
    chosen: Vec<(LocalId, Option<u128>)>,
    /// Where the path was last.
    at: Span,
}

impl Elab {
    /// Checks a packet handler.
    pub(super) fn check_total(&mut self, block: &Block, end: Span) {
        let mut numbers = Vec::new();
        switched(block, &mut numbers);
        let start = vec![State { emitted: false, chosen: numbers.into_iter().map(|l| (l, None)).collect(), at: end }];
        for state in self.paths(block, start) {
            if !state.emitted {
                let d = Diagnostic::new(Code::NotTotal, state.at, "a packet that comes here is neither emitted nor dropped");
                self.report(d.note("each path ends with `emit PORT;` or `drop \"reason\"`"));
            }
        }
    }

    fn paths(&mut self, block: &Block, mut states: Vec<State>) -> Vec<State> {
        for stmt in block.iter().filter(|s| !matches!(s.kind, StmtKind::Branch { .. })) {
            for s in &mut states {
                s.at = stmt.span;
            }
            states = match &stmt.kind {
                StmtKind::Assign { dst, value } => {
                    let known = super::ops::constant(value);
                    states.iter_mut().flat_map(|s| &mut s.chosen).filter(|(l, _)| l == dst).for_each(|c| c.1 = known);
                    states
                }
                StmtKind::If { cond: Expr::Const(1, _), then, .. } => self.paths(then, states),
                StmtKind::If { then, other, .. } => {
                    let mut ends = self.paths(then, states.clone());
                    ends.extend(self.paths(other, states));
                    ends
                }
                StmtKind::Parse { ok, malformed, .. } => {
                    let mut ends = self.paths(ok, states.clone());
                    ends.extend(self.paths(malformed, states));
                    ends
                }
                StmtKind::Switch { on, cases, default } => {
                    let mut ends = Vec::new();
                    for state in states {
                        let known = match on {
                            Expr::Local(l) => state.chosen.iter().find(|(k, _)| k == l).and_then(|(_, n)| *n),
                            _ => None,
                        };
                        match known {
                            Some(n) => {
                                ends.extend(self.paths(cases.iter().find(|c| c.0 == n).map_or(default, |c| &c.2), vec![state]))
                            }
                            None => {
                                for (_, _, case) in cases {
                                    ends.extend(self.paths(case, vec![state.clone()]));
                                }
                                ends.extend(self.paths(default, vec![state]));
                            }
                        }
                    }
                    ends
                }
                StmtKind::Emit { .. } => {
                    states.iter_mut().for_each(|s| s.emitted = true);
                    states
                }
                StmtKind::Drop { .. } => {
                    if states.iter().any(|s| s.emitted) {
                        let d = Diagnostic::new(Code::EmitThenDrop, stmt.span, "a packet that comes here was emitted before");
                        self.report(d.note("a path that has emitted does not drop: the packet would be counted twice"));
                    }
                    return Vec::new();
                }
                _ => states,
            };
            merge(&mut states);
            if states.is_empty() {
                break;
            }
        }
        states
    }
}

/// One state for those that do not differ in what matters.
fn merge(states: &mut Vec<State>) {
    let mut kept: Vec<State> = Vec::new();
    for s in states.drain(..) {
        if !kept.iter().any(|k| k.emitted == s.emitted && k.chosen == s.chosen) {
            kept.push(s);
        }
    }
    *states = kept;
}

/// The variables that cases are told apart by.
fn switched(block: &Block, out: &mut Vec<LocalId>) {
    for stmt in block {
        match &stmt.kind {
            StmtKind::If { then, other, .. } => {
                switched(then, out);
                switched(other, out);
            }
            StmtKind::Parse { ok, malformed, .. } => {
                switched(ok, out);
                switched(malformed, out);
            }
            StmtKind::Switch { on, cases, default } => {
                if let Expr::Local(l) = on
                    && !out.contains(l)
                {
                    out.push(*l);
                }
                cases.iter().for_each(|c| switched(&c.2, out));
                switched(default, out);
            }
            _ => {}
        }
    }
}
