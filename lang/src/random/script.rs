//! Tests as scripts of events: what leads a box to where it does its work. Those of another version of the box (smaller tables, say)
//! lead this one there, too.

use crate::interp::test::{Recorded, record};
use crate::interp::{Cover, Machine, Observer, Seeded};
use crate::ir::{Column, Program, Table, Test};
use std::mem::discriminant;
use std::sync::Arc;

/// A test that a box is led by.
#[derive(Clone, Copy, Debug)]
pub struct Script<'t> {
    /// The test.
    pub test: &'t Test,
    /// Another version of the box that it is written for; none: the box itself.
    pub of: Option<&'t Arc<Program>>,
}

/// Those of some tests that lead a box: its own, and those of versions that have the same ports and tables.
pub fn scripts<'t>(program: &Arc<Program>, tests: &'t [(Test, Arc<Program>)]) -> Vec<Script<'t>> {
    let own = tests.iter().filter(|(_, on)| Arc::ptr_eq(on, program)).map(|(test, _)| Script { test, of: None });
    let others = tests.iter().filter(|(_, on)| !Arc::ptr_eq(on, program) && is_version(program, on));
    own.chain(others.map(|(test, on)| Script { test, of: Some(on) })).collect()
}

/// Whether events of one box are events of the other, but for sizes.
fn is_version(a: &Program, b: &Program) -> bool {
    let columns = |a: &[Column], b: &[Column]| a.iter().map(|c| c.ty).eq(b.iter().map(|c| c.ty));
    let tables = |a: &Table, b: &Table| {
        a.name == b.name
            && a.role == b.role
            && discriminant(&a.kind) == discriminant(&b.kind)
            && a.computed.is_some() == b.computed.is_some()
            && columns(&a.key, &b.key)
            && columns(&a.value, &b.value)
    };
    a.span == b.span
        && a.ports.iter().map(|p| &p.name).eq(b.ports.iter().map(|p| &p.name))
        && a.params.len() == b.params.len()
        && a.params.iter().zip(&b.params).all(|(a, b)| a.name == b.name && columns(&a.columns, &b.columns))
        && a.tables.len() == b.tables.len()
        && a.tables.iter().zip(&b.tables).all(|(a, b)| tables(a, b))
}

impl Script<'_> {
    /// Its events, not more than `most`; all of them, if what they come by in this box is asked for. A test that fails is told of where
    /// tests are run; what led there are events like others.
    pub(super) fn events(&self, program: &Arc<Program>, cover: Option<&mut Cover>, most: usize) -> Recorded {
        let mut events = Recorded::default();
        let most = if cover.is_some() { usize::MAX } else { most };
        let Some(of) = self.of else {
            let _told_elsewhere = record(self.test, program, 0, cover.map(|cover| cover as &mut dyn Observer), most, &mut events);
            return events;
        };
        let _told_elsewhere = record(self.test, of, 0, None, most, &mut events);
        if let (Some(cover), Ok(mut machine)) = (cover, Machine::new(program.clone(), events.params.clone())) {
            for event in &events.events {
                if machine.happen(event, &mut Seeded::exact(0), Some(&mut *cover)).is_err() {
                    break;
                }
            }
        }
        events
    }
}
