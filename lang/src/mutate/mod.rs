//! Programs changed in small ways, as somebody who errs would change them. A change that no property and no test notices points at
//! something that nobody asked for.
//!
//! A change is made to the core IR, where it leaves a valid program. What the elaboration expanded is one place in the source and so one
//! change: all inputs of a port array, all alternatives of a contract, all instances of an element. Tests, properties and ghost code stay
//! as they are. In `walk` are statements, in `value` expressions, in `place` what makes two places one.

mod place;
mod value;
mod walk;

#[cfg(test)]
mod tests;

use crate::ir::Program;
use crate::ir::print::print;
use crate::ir::validate::validate;
use crate::span::Span;
use place::{Group, groups};
use std::collections::BTreeSet;
use walk::{Walk, found};

pub use place::Key;

/// The ways to change a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operator {
    /// A condition is turned round.
    NegateGuard,
    /// A packet leaves by another output of the element.
    SwapOutput,
    /// A variable, a field or a table is not written.
    DropUpdate,
    /// The lifetime of an entry is not refreshed.
    SkipRefresh,
    /// A constant, a comparison or a time is off by one.
    OffByOne,
    /// Another field of the same header and width is read: the source for the destination.
    SwapField,
    /// A checksum does not follow a change.
    DropChecksum,
    /// A handler drops at once; a timer or an update does nothing.
    DropAll,
    /// A packet leaves that is to be dropped.
    KeepNotDrop,
    /// Of two ways, one is always taken.
    RemoveBranch,
}

impl Operator {
    /// All of them.
    pub const ALL: [Operator; 10] = [
        Operator::NegateGuard,
        Operator::SwapOutput,
        Operator::DropUpdate,
        Operator::SkipRefresh,
        Operator::OffByOne,
        Operator::SwapField,
        Operator::DropChecksum,
        Operator::DropAll,
        Operator::KeepNotDrop,
        Operator::RemoveBranch,
    ];

    /// Its name, as in reports.
    pub fn name(self) -> &'static str {
        match self {
            Operator::NegateGuard => "negate-guard",
            Operator::SwapOutput => "swap-output",
            Operator::DropUpdate => "drop-update",
            Operator::SkipRefresh => "skip-refresh",
            Operator::OffByOne => "off-by-one",
            Operator::SwapField => "swap-field",
            Operator::DropChecksum => "drop-checksum",
            Operator::DropAll => "drop-all",
            Operator::KeepNotDrop => "keep-not-drop",
            Operator::RemoveBranch => "remove-branch",
        }
    }
}

/// A change of a program that leaves it valid.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// In which way.
    pub operator: Operator,
    /// Where.
    pub span: Span,
    /// The kind of the element that is changed.
    pub element: String,
    /// What is changed to what.
    pub change: String,
    /// Names the change in other versions of the program, with other compile-time parameters.
    pub key: Key,
}

/// The places of a program at which it can be changed.
pub struct Places<'p> {
    program: &'p Program,
    groups: Vec<Group>,
}

impl<'p> Places<'p> {
    /// Those of a program that is valid.
    pub fn new(program: &'p Program) -> Places<'p> {
        Places { program, groups: groups(found(program)) }
    }

    /// All changes in the order of the program that the filter accepts: each leaves a valid program, none leaves the program as it is, and no
    /// two make the same of it. Of several other ways at one place, the first that is valid.
    pub fn mutants(&self, wanted: &dyn Fn(Operator, Span) -> bool) -> Vec<Mutant> {
        let mut known = BTreeSet::from([print(self.program)]);
        let mut done = BTreeSet::new();
        let mut mutants = Vec::new();
        for group in &self.groups {
            if !wanted(group.key.operator, group.key.span) || done.contains(&group.key.site()) {
                continue;
            }
            let changed = self.change(group);
            if validate(&changed).is_err() || !known.insert(print(&changed)) {
                continue;
            }
            done.insert(group.key.site());
            mutants.push(Mutant {
                operator: group.key.operator,
                span: group.key.span,
                element: group.element.clone(),
                change: group.words.clone(),
                key: group.key.clone(),
            });
        }
        mutants.sort_by_key(|m| (m.span, m.operator));
        mutants
    }

    /// The program with a change. None: it has no such place, or the change would leave no valid program.
    pub fn changed(&self, key: &Key) -> Option<Program> {
        let group = self.groups.iter().find(|group| group.key == *key)?;
        let changed = self.change(group);
        validate(&changed).is_ok().then_some(changed)
    }

    fn change(&self, group: &Group) -> Program {
        let mut program = self.program.clone();
        Walk::apply(self.program, &group.numbers).program(&mut program);
        program
    }
}
