//! The graph of inputs: no packet comes back to an input that it has passed.

use super::{Check, Fault};
use crate::ir::{Block, InputRef, StmtKind, Target};
use std::collections::BTreeSet;

/// The outputs that a block emits on.
fn outputs(block: &Block, into: &mut BTreeSet<u32>) {
    for stmt in block {
        match &stmt.kind {
            StmtKind::Emit { output, .. } => {
                into.insert(*output);
            }
            StmtKind::If { then, other, .. } => {
                outputs(then, into);
                outputs(other, into);
            }
            StmtKind::Switch { cases, default, .. } => {
                cases.iter().for_each(|(_, _, block)| outputs(block, into));
                outputs(default, into);
            }
            StmtKind::Parse { ok, malformed, .. } => {
                outputs(ok, into);
                outputs(malformed, into);
            }
            _ => {}
        }
    }
}

impl Check<'_> {
    /// Checks that the wiring is acyclic.
    pub(super) fn acyclic(&mut self) {
        let program = self.program;
        // Inputs in one list; `first[e]` is the place of element e's first.
        let mut first = Vec::new();
        let mut leads: Vec<Vec<usize>> = Vec::new();
        let mut names = Vec::new();
        for element in &program.elements {
            first.push(names.len());
            names.extend(element.inputs.iter().map(|input| (element, input)));
        }
        for (element, input) in &names {
            let mut used = BTreeSet::new();
            outputs(&input.body.block, &mut used);
            let targets = used.into_iter().filter_map(|o| match element.outputs.get(o as usize)?.target {
                Target::Input(InputRef { element, input }) => Some(first.get(element.index())? + input as usize),
                Target::Port(_) => None,
            });
            leads.push(targets.collect());
        }
        // Inputs that lead to none that is left are taken away, until none is left or all that are left lie on or before a cycle.
        let mut left: BTreeSet<usize> = (0..leads.len()).collect();
        loop {
            let before = left.len();
            let done: Vec<usize> = left.iter().copied().filter(|i| !leads[*i].iter().any(|to| left.contains(to))).collect();
            done.iter().for_each(|i| {
                left.remove(i);
            });
            if left.len() == before {
                break;
            }
        }
        for i in &left {
            if reaches(&leads, *i) {
                let (element, input) = names[*i];
                self.enter(format!("input {}.{}", element.name, input.name), element.span);
                self.report(Fault::Cycle);
            }
        }
    }
}

/// Whether an input leads back to itself.
fn reaches(leads: &[Vec<usize>], start: usize) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = leads[start].clone();
    while let Some(i) = open.pop() {
        if i == start {
            return true;
        }
        if let Some(next) = leads.get(i)
            && seen.insert(i)
        {
            open.extend(next);
        }
    }
    false
}
