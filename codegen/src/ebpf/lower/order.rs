//! In which order handlers are lowered.

use grv_lang::ir::{ElementId, InputRef, Program, Stmt, StmtKind, Target};

/// Inputs so that each comes behind all that lead to it; the wiring is acyclic.
pub(super) fn of_inputs(program: &Program) -> Vec<InputRef> {
    let mut post = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    let mut stack: Vec<(InputRef, bool)> = Vec::new();
    for (element, of) in (0..).map(ElementId).zip(&program.elements) {
        for input in 0..of.inputs.len() as u32 {
            stack.push((InputRef { element, input }, false));
            while let Some((input, done)) = stack.pop() {
                let key = (input.element, input.input);
                if done {
                    post.push(input);
                    continue;
                }
                if !seen.insert(key) {
                    continue;
                }
                stack.push((input, true));
                let element = &program.elements[input.element.index()];
                let mut outputs = Vec::new();
                emits(&element.inputs[input.input as usize].body.block, &mut outputs);
                for output in outputs {
                    if let Target::Input(to) = element.outputs[output as usize].target {
                        stack.push((to, false));
                    }
                }
            }
        }
    }
    post.reverse();
    post
}

/// The outputs that statements emit on.
fn emits(block: &[Stmt], into: &mut Vec<u32>) {
    for stmt in block {
        match &stmt.kind {
            StmtKind::Emit { output, .. } => into.push(*output),
            StmtKind::If { then, other, .. } => [then, other].into_iter().for_each(|b| emits(b, into)),
            StmtKind::Switch { cases, default, .. } => {
                cases.iter().map(|(_, _, b)| b).chain([default]).for_each(|b| emits(b, into));
            }
            StmtKind::Parse { ok, malformed, .. } => [ok, malformed].into_iter().for_each(|b| emits(b, into)),
            _ => {}
        }
    }
}
