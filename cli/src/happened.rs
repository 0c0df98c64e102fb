//! What an event of a counterexample did: its way through the elements, rows of tables before and after, and how it ended.

use crate::{capture, trace};
use grv_lang::interp::{Event, Machine, Observer, Outcome, Seeded, Stimulus, TableOp};
use grv_lang::ir::{ElementId, Program, TableId, TableKind};
use grv_lang::source::SourceMap;
use grv_lang::text;
use serde::Serialize;

/// What an event did.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Happened {
    /// When it happened: nanoseconds since the start.
    pub(crate) now: u64,
    /// The elements on its way.
    pub(crate) path: Vec<Passed>,
    /// The rows that were looked up or changed.
    pub(crate) rows: Vec<Row>,
    /// Packets that left, and those that were dropped, in words.
    pub(crate) ends: Vec<String>,
}

/// An element on the way of a packet.
#[derive(Debug, Serialize)]
pub(crate) struct Passed {
    /// The element and its input.
    pub(crate) at: String,
    /// Where in the source the packet was sent on or dropped.
    pub(crate) left: Option<String>,
    #[serde(skip)]
    element: ElementId,
}

/// A row of a table; none: it is not there.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) row: String,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
}

/// Lets an event happen, and says what it did. What goes wrong ends it there.
pub(crate) fn happened(machine: &mut Machine, sources: &SourceMap, event: &Stimulus, oracle: &Seeded) -> (Happened, Outcome) {
    let before = machine.clone();
    let program = machine.program().clone();
    let mut watcher = Watcher { program: &program, sources, done: Happened::default(), keys: Vec::new() };
    // A defect is what a counterexample ends with: it is told of beside it.
    let outcome = machine.happen(event, &mut oracle.clone(), Some(&mut watcher)).unwrap_or_default();
    let Watcher { mut done, keys, .. } = watcher;
    done.now = before.now();
    done.rows = keys.into_iter().filter_map(|(table, key)| row(&program, (&before, machine), table, &key)).collect();
    (done, outcome)
}

/// A row before and after.
fn row(program: &Program, (before, after): (&Machine, &Machine), table: TableId, key: &[u128]) -> Option<Row> {
    let declared = program.tables.get(table.index())?;
    let value = |machine: &Machine| -> Option<String> {
        if is_indexed(&declared.kind) {
            let index = u64::try_from(key.first().copied().unwrap_or(0)).ok()?;
            return machine.element(table, index).map(|value| text::show(&declared.value_shape, &value));
        }
        let view = machine.live(table, key)?;
        let value = match declared.kind {
            // Tokens are counted in parts of a bit.
            TableKind::Bucket { .. } => format!("{} bytes", view.value.first().copied().unwrap_or(0) / 8_000_000_000),
            _ => text::show(&declared.value_shape, &view.value),
        };
        let left = view.deadline.map(|deadline| left(machine, table, deadline));
        Some(left.map_or(value.clone(), |left| format!("{value}, {left}")))
    };
    Some(Row { row: trace::row(declared, key), before: value(before), after: value(after) })
}

/// How long an entry still lives. By the clock of its table it does, but that may lag.
fn left(machine: &Machine, table: TableId, deadline: u64) -> String {
    let now = machine.now();
    let duration = |nanoseconds: u64| text::duration(nanoseconds.into());
    match now.checked_sub(deadline) {
        None => format!("for {}", duration(deadline - now)),
        Some(late) => {
            let (late, lag) = (duration(late), duration(now.saturating_sub(machine.tick(table))));
            format!("{late} past its deadline, by a clock that lags by {lag}")
        }
    }
}

fn is_indexed(kind: &TableKind) -> bool {
    matches!(kind, TableKind::Array | TableKind::Cell | TableKind::Counter)
}

/// Writes down what happens.
struct Watcher<'p> {
    program: &'p Program,
    sources: &'p SourceMap,
    done: Happened,
    keys: Vec<(TableId, Vec<u128>)>,
}

impl Watcher<'_> {
    /// The packet leaves an element. One that is sent several times leaves it each time.
    fn leaves(&mut self, element: ElementId, place: String) {
        let Some(at) = self.done.path.iter().rposition(|passed| passed.element == element) else { return };
        if self.done.path[at].left.is_none() {
            self.done.path[at].left = Some(place);
        } else {
            let at = self.done.path[at].at.clone();
            self.done.path.push(Passed { at, left: Some(place), element });
        }
    }
}

impl Observer for Watcher<'_> {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Enter { input, .. } => {
                let Some(element) = self.program.elements.get(input.element.index()) else { return };
                let name = element.inputs.get(input.input as usize).map_or("?", |i| i.name.as_str());
                self.done.path.push(Passed { at: format!("{}.{name}", element.name), left: None, element: input.element });
            }
            Event::Emit { element, span, .. } => self.leaves(element, self.sources.place(span).to_string()),
            Event::Drop { element, reason, span } => {
                self.leaves(element, self.sources.place(span).to_string());
                let reason = self.program.reasons.get(reason.index()).map_or("?", String::as_str);
                self.done.ends.push(format!("dropped: {reason}"));
            }
            Event::Leave { port, bytes } => {
                let port = self.program.ports.get(port.index()).map_or("?", |p| p.name.as_str());
                self.done.ends.push(format!("leaves on {port}: {}", capture::describe(bytes)));
            }
            Event::Table { op, table, key, ok, .. } => {
                // A longest match is found under another key than the one looked for, and of a search only what it found is a row.
                let is_row = !matches!(op, TableOp::Longest) && (ok || op != TableOp::First);
                if is_row && !self.keys.iter().any(|(known, row)| *known == table && row == key) {
                    self.keys.push((table, key.to_vec()));
                }
            }
            _ => {}
        }
    }
}

impl Happened {
    /// The same, as lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.path.is_empty() {
            let passed = |p: &Passed| p.left.as_ref().map_or(p.at.clone(), |left| format!("{} ({left})", p.at));
            let way: Vec<String> = self.path.iter().map(passed).collect();
            lines.push(format!("at {}: {}", text::duration(self.now.into()), way.join(", ")));
        }
        for Row { row, before, after } in &self.rows {
            let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "not there".to_string());
            let (before, after) = (shown(before), shown(after));
            lines.push(if before == after { format!("{row}: {before}") } else { format!("{row}: {before} -> {after}") });
        }
        lines.extend(self.ends.iter().cloned());
        lines
    }
}
