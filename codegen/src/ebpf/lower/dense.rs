//! Two tables that mirror each other (`idle with`), of which one has so few keys that each can have a place of its own: they are kept in one array,
//! see [`super::slots`]. Which tables are such, and what their columns have in common, is found out here, from declarations and from what handlers
//! insert.

use super::super::Domain;
use super::ops::bits_of;
use super::uses;
use grv_lang::ir::{
    self, Body, Expr, InputRef, InsertEntry, Lifetime, LocalId, Role, StmtKind, TableId, TableKind, Target, Tier,
};
use std::collections::BTreeSet;

/// An array for two tables.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// By column of the owner's key, its value, the mirror's key and its value, in this order: the first one that is always the same.
    pub(super) same: Vec<usize>,
    /// Of the mirror's key.
    pub(super) domain: Vec<Domain>,
    /// By column of the mirror's key: what it most often is.
    pub(super) likely: Option<Vec<Likely>>,
}

/// What a column of the mirror's key is if a choice came out as it is first tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likely {
    /// This column of the owner's key.
    Column(usize),
    /// One of so many numbers from the first on: the one that a hash of the owner's key says.
    Hashed { first: u64, count: u64 },
}

/// Different numbers that one column of a key may be, if they are no range.
const MOST_VALUES: usize = 8;

/// Bits of a column of which all numbers may be keys.
const MOST_BITS: u8 = 16;

/// Places that are always worth having, and how many there may be for each entry that there is room for.
const FEW: u64 = 4_096;
const TIMES: u64 = 8;

/// An insertion into both tables.
struct Pair<'p> {
    body: &'p Body,
    owner: &'p InsertEntry,
    mirror: &'p InsertEntry,
}

impl<'p> Pair<'p> {
    fn columns(&self) -> impl Iterator<Item = &'p Expr> {
        [&self.owner.key, &self.owner.value, &self.mirror.key, &self.mirror.value].into_iter().flatten()
    }

    /// The variables that the owner's key is made of.
    fn owner_key(&self, program: &ir::Program) -> Vec<Option<LocalId>> {
        self.owner.key.iter().map(|expr| root(program, self.body, expr)).collect()
    }
}

/// How a table is kept together with the one that shares its deadlines, if they can be.
pub(super) fn plan(program: &ir::Program, id: TableId) -> Option<Plan> {
    let owner = &program.tables[id.index()];
    let all = (0..).map(TableId).zip(&program.tables);
    let mut mirrors = all.filter(|(other, _)| uses::owner(program, *other) == Some(id));
    let (mirror, of) = mirrors.next()?;
    let mortal = matches!(owner.lifetime, Lifetime::Idle(_) | Lifetime::Fixed(_));
    let alike = |table: &ir::Table| table.role == Role::State && matches!(table.kind, TableKind::Map | TableKind::Set);
    if mirrors.next().is_some() || !mortal || !alike(owner) || !alike(of) || of.capacity < owner.capacity {
        return None;
    }
    let pairs = pairs(program, id, mirror)?;
    if uses::writes_cells(program) {
        return None;
    }
    let domain = of.key.iter().enumerate().map(|(column, of)| domain(program, &pairs, column, bits_of(of.ty)));
    let domain: Vec<Domain> = domain.collect::<Option<_>>()?;
    let places = domain.iter().try_fold(1_u64, |all, domain| all.checked_mul(domain.size()))?;
    if places > owner.capacity.saturating_mul(TIMES).max(FEW) {
        return None;
    }
    // Half of the places are worth a subtraction: caches hold twice as many.
    let narrow = |(column, domain): (usize, Domain)| match domain {
        Domain::All(_) => {
            chosen_among(program, &pairs, column).filter(|range| 2 * range.size() <= domain.size()).unwrap_or(domain)
        }
        domain => domain,
    };
    let domain = domain.into_iter().enumerate().map(narrow).collect();
    Some(Plan { same: same(program, &pairs, owner, id)?, likely: likely(program, pairs.first()?, owner), domain })
}

/// All insertions into the tables, if all are into both, and nothing is removed.
fn pairs(program: &ir::Program, id: TableId, mirror: TableId) -> Option<Vec<Pair<'_>>> {
    let (mut pairs, mut other) = (Vec::new(), false);
    let ours = |table: TableId| table == id || table == mirror;
    uses::statements(program, &mut |body, stmt| match &stmt.kind {
        StmtKind::Insert { entries, .. } if entries.iter().any(|entry| ours(entry.table)) => {
            let of = |table: TableId| entries.iter().find(|entry| entry.table == table && !entry.or_update);
            match (entries.len(), of(id), of(mirror)) {
                (2, Some(owner), Some(mirror)) => pairs.push(Pair { body, owner, mirror }),
                _ => other = true,
            }
        }
        StmtKind::Remove { table, .. } => other |= ours(*table),
        _ => {}
    });
    (!other).then_some(pairs)
}

/// The variable that an expression is a copy of.
fn root(program: &ir::Program, body: &Body, expr: &Expr) -> Option<LocalId> {
    let &Expr::Local(mut local) = expr else { return None };
    // A chain of copies is no longer than there are variables.
    for _ in 0..body.locals.len() {
        let mut values = Vec::new();
        let mut given = uses::is_given(program, body, local);
        uses::statements(program, &mut |of, stmt| {
            if std::ptr::eq(of, body) {
                match &stmt.kind {
                    StmtKind::Assign { dst, value } if *dst == local => values.push(value),
                    kind => given |= uses::defines(kind, local),
                }
            }
        });
        match values.as_slice() {
            [Expr::Local(from)] if !given => local = *from,
            _ => return Some(local),
        }
    }
    Some(local)
}

/// By column, the first one that is the same in all insertions. What handlers change later is the same as nothing else.
fn same(program: &ir::Program, pairs: &[Pair<'_>], owner: &ir::Table, id: TableId) -> Option<Vec<usize>> {
    let changed: BTreeSet<usize> = uses::changed(program, id).into_iter().map(|column| owner.key.len() + column).collect();
    let roots: Vec<Vec<Option<LocalId>>> =
        pairs.iter().map(|pair| pair.columns().map(|expr| root(program, pair.body, expr)).collect()).collect();
    let columns = roots.first()?.len();
    let alike = |a: usize, b: usize| {
        let apart = changed.contains(&a) || changed.contains(&b);
        a == b || (!apart && roots.iter().all(|roots| roots[a].is_some() && roots[a] == roots[b]))
    };
    Some((0..columns).map(|column| (0..column).find(|first| alike(*first, column)).unwrap_or(column)).collect())
}

/// The numbers that handlers insert in a column of the mirror's key.
fn domain(program: &ir::Program, pairs: &[Pair<'_>], column: usize, bits: u8) -> Option<Domain> {
    let mut values = Some(BTreeSet::new());
    for pair in pairs {
        let more = constants(program, pair.body, pair.mirror.key.get(column)?, &mut Vec::new());
        values = values.zip(more).map(|(values, more)| &values | &more);
    }
    match values {
        Some(values) if values.len() <= MOST_VALUES => Some(Domain::Of(values.into_iter().collect())),
        _ => (bits <= MOST_BITS).then_some(Domain::All(bits)),
    }
}

/// The range that all numbers in a column of the mirror's key are chosen from.
fn chosen_among(program: &ir::Program, pairs: &[Pair<'_>], column: usize) -> Option<Domain> {
    let mut ranges = pairs.iter().map(|pair| {
        let of = root(program, pair.body, pair.mirror.key.get(column)?)?;
        let (mut range, mut other) = (None, uses::is_given(program, pair.body, of));
        uses::statements(program, &mut |body, stmt| match &stmt.kind {
            StmtKind::Choose { var, low: Expr::Const(low, _), high: Expr::Const(high, _), .. }
                if std::ptr::eq(body, pair.body) && *var == of && range.is_none() =>
            {
                range = hashed(*low, *high);
            }
            StmtKind::Assign { dst, .. } => other |= std::ptr::eq(body, pair.body) && *dst == of,
            kind => other |= std::ptr::eq(body, pair.body) && uses::defines(kind, of),
        });
        match range {
            Some(Likely::Hashed { first, count }) if !other => Some(Domain::Range { first, count }),
            _ => None,
        }
    });
    let range = ranges.next()??;
    ranges.all(|other| other.as_ref() == Some(&range)).then_some(range)
}

/// All numbers that an expression can be, if it is none but constants of the program.
fn constants(program: &ir::Program, body: &Body, expr: &Expr, seen: &mut Vec<(*const Body, LocalId)>) -> Option<BTreeSet<u64>> {
    let local = match expr {
        Expr::Const(value, _) => return Some([u64::try_from(*value).ok()?].into()),
        Expr::Local(local) => *local,
        _ => return None,
    };
    if seen.contains(&(std::ptr::from_ref(body), local)) {
        return Some(BTreeSet::new());
    }
    seen.push((std::ptr::from_ref(body), local));
    let mut from: Vec<(&Body, &Expr)> = Vec::new();
    let mut unknown = false;
    let beside = uses::is_given(program, body, local);
    if beside {
        from.extend(given(program, body, local));
    }
    uses::statements(program, &mut |of, stmt| {
        if std::ptr::eq(of, body) {
            match &stmt.kind {
                StmtKind::Assign { dst, value } if *dst == local => from.push((of, value)),
                kind => unknown |= uses::defines(kind, local),
            }
        }
    });
    // Where nothing is ever sent, nothing is inserted.
    if unknown || (from.is_empty() && !beside) {
        return None;
    }
    let mut values = BTreeSet::new();
    for (body, expr) in from {
        values.extend(constants(program, body, expr, seen)?);
    }
    Some(values)
}

/// What is sent along for a variable that comes beside the packet.
fn given<'p>(program: &'p ir::Program, body: &Body, local: LocalId) -> Vec<(&'p Body, &'p Expr)> {
    let inputs = (0..).map(ir::ElementId).zip(&program.elements).flat_map(|(element, of)| {
        let number = move |(input, of)| (InputRef { element, input }, of);
        (0..).zip(&of.inputs).map(number)
    });
    let Some((to, _)) = inputs.into_iter().find(|(_, input)| std::ptr::eq(&input.body, body)) else { return Vec::new() };
    let mut sent = Vec::new();
    for element in &program.elements {
        let ours = |body: &Body| element.inputs.iter().any(|input| std::ptr::eq(&input.body, body));
        uses::statements(program, &mut |body, stmt| {
            if let StmtKind::Emit { output, args } = &stmt.kind
                && ours(body)
                && element.outputs[*output as usize].target == Target::Input(to)
                && let Some(arg) = args.get(local.index())
            {
                sent.push((body, arg));
            }
        });
    }
    sent
}

/// Which columns of the owner's key the mirror's is, or is if a choice comes out as it is first tried.
fn likely(program: &ir::Program, pair: &Pair<'_>, owner: &ir::Table) -> Option<Vec<Likely>> {
    let keys = pair.owner_key(program);
    debug_assert_eq!(keys.len(), owner.key.len());
    let position = |of: Option<LocalId>| keys.iter().position(|key| key.is_some() && *key == of).map(Likely::Column);
    let column = |expr: &Expr| {
        let of = root(program, pair.body, expr)?;
        position(Some(of)).or_else(|| {
            let mut tried = None;
            uses::statements(program, &mut |body, stmt| {
                if let StmtKind::Choose { var, low, high, tiers, .. } = &stmt.kind
                    && std::ptr::eq(body, pair.body)
                    && *var == of
                {
                    tried = match (tiers.first(), low, high) {
                        (Some(Tier::Exactly(value)), ..) => position(root(program, body, value)),
                        (None, Expr::Const(low, _), Expr::Const(high, _)) => hashed(*low, *high),
                        _ => None,
                    };
                }
            });
            tried
        })
    };
    pair.mirror.key.iter().map(column).collect()
}

/// A choice among all of a few numbers.
fn hashed(low: u128, high: u128) -> Option<Likely> {
    let (first, high) = (u64::try_from(low).ok()?, u64::try_from(high).ok()?);
    let count = high.checked_sub(first)?.checked_add(1)?;
    (count <= 1 << MOST_BITS).then_some(Likely::Hashed { first, count })
}

/// Of a choice: the variables with the owner's key, if the mirror's is what is chosen.
pub(super) fn chosen_for(program: &ir::Program, id: TableId, body: &Body, var: LocalId) -> Option<Vec<LocalId>> {
    let mut mirrors = (0..program.tables.len() as u32).map(TableId).filter(|other| uses::owner(program, *other) == Some(id));
    let ours = |pair: &Pair<'_>| {
        let mut key = pair.mirror.key.iter();
        std::ptr::eq(pair.body, body) && key.any(|expr| root(program, body, expr) == Some(var))
    };
    let pair = pairs(program, id, mirrors.next()?)?.into_iter().find(ours)?;
    pair.owner_key(program).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::{Domain, plan};
    use grv_lang::compile::compile;
    use grv_lang::ir::TableId;
    use grv_lang::source::NoModules;

    /// The numbers that there are places for if they are chosen in a range.
    fn places(range: &str) -> Vec<Domain> {
        let text = format!(
            "//! Numbers of stations.\n
            use std::net::{{Ethernet, Mac}};\n
            element Numbers {{
                input frame;
                output out;\n
                state numbers: map<Mac, u16>[10_000] idle 3s;
                state stations: map<u16, Mac>[10_000] idle with numbers[value];\n
                on frame(p) {{
                    match p {{
                        {{ Ethernet as eth }} => {{
                            if numbers.contains(eth.src) {{ drop \"known\" }}
                            choose number in {range} within 4 where not stations.contains(number) else {{ drop \"no number\" }}
                            numbers.insert(eth.src, number) and stations.insert(number, eth.src) else {{ drop \"full\" }}
                            emit out;
                        }}
                        _ => drop \"malformed\",
                    }}
                }}
            }}\n
            middlebox Box {{
                port left;
                numbers: Numbers;
                left -> numbers.frame;
                numbers.out -> left;
            }}\n"
        );
        let compilation = compile("box.grv", text.as_bytes(), &NoModules);
        assert!(!compilation.failed(), "{:?}", compilation.diagnostics);
        plan(&compilation.boxes[0], TableId(0)).expect("places for all numbers").domain
    }

    #[test]
    fn there_are_places_for_what_is_chosen() {
        assert_eq!(places("32_768..=65_535"), [Domain::Range { first: 32_768, count: 32_768 }]);
        assert_eq!(places("1..=1_000"), [Domain::Range { first: 1, count: 1_000 }]);
        // Hardly fewer than all.
        assert_eq!(places("1_024..=65_535"), [Domain::All(16)]);
    }
}
