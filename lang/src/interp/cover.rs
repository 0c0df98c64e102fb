//! Which branches and edges events have come by.

use super::trace::{Event, Observer};
use crate::ir::ElementId;
use crate::span::Span;
use std::collections::BTreeSet;

/// What some event must be able to come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Passage {
    /// A branch of the source, in whichever instance.
    Branch {
        /// Where it is.
        span: Span,
        /// See [`crate::ir::StmtKind::Branch`].
        implied: bool,
    },
    /// An edge of the wiring: an element's output.
    Edge(ElementId, u32),
}

/// Remembers what events come by.
#[derive(Clone, Debug, Default)]
pub struct Cover {
    /// All that they came by.
    pub seen: BTreeSet<Passage>,
}

impl Observer for Cover {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Branch { implied, span } => self.seen.insert(Passage::Branch { span, implied }),
            Event::Emit { element, output, .. } => self.seen.insert(Passage::Edge(element, output)),
            _ => return,
        };
    }
}
