//! What a property says of a run: evaluated behind its last event, over all that happened before.

use super::code::Code;
use super::{Bindings, Defect, Machine, Outcome, Replay, Seeded, Session, Stimulus};
use crate::ir::spec::{EventPattern, Form, Outcome as Wanted, Since};
use crate::ir::{Block, LocalId, PortId, PropertyId, ReasonId};

/// A property as it is evaluated.
type Property = crate::ir::Property<Code>;

/// An event that happened.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    pub(crate) event: Stimulus,
    /// The box before it.
    pub(crate) before: Machine,
    /// What it did, if it is a packet.
    pub(crate) outcome: Outcome,
    /// Who decided what was open.
    pub(crate) oracle: Replay<Seeded>,
}

/// What a property says of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing: no premise holds.
    Fits,
    /// It holds.
    Holds,
    /// What is to be reachable was reached.
    Shown,
    /// It does not hold.
    Fails,
}

impl Verdict {
    fn of(holds: bool) -> Verdict {
        if holds { Verdict::Holds } else { Verdict::Fails }
    }

    /// Both of two instances.
    fn and(self, other: Verdict) -> Verdict {
        match (self, other) {
            (Verdict::Fails, _) | (_, Verdict::Fails) => Verdict::Fails,
            (Verdict::Fits, other) | (other, Verdict::Fits) => other,
            (one, _) => one,
        }
    }
}

/// The ports of the packets that a property speaks of beyond the events of the run: those that may arrive behind them.
pub(crate) fn arrivals<E>(form: &Form<E>) -> Vec<PortId> {
    match form {
        Form::Step { packets, .. } => packets.iter().map(|(_, port)| *port).collect(),
        Form::Independent { observed, from, .. } => vec![from.port, observed.port],
        _ => Vec::new(),
    }
}

/// Whether a property says that something must have happened before, however long ago.
pub(crate) fn asks_for_all_of_the_past<E>(form: &Form<E>) -> bool {
    matches!(form, Form::OnlyAfter { .. })
}

/// What a property says behind the last event, of these packets.
pub(crate) fn judge(
    id: PropertyId,
    machine: &Machine,
    past: &[Moment],
    arrivals: &[(PortId, Vec<u8>)],
) -> Result<Verdict, Defect> {
    let Some(property) = machine.config.property(id) else { return Ok(Verdict::Fits) };
    let mut bindings = Bindings::new(&property.body);
    match &property.form {
        Form::Always { block, holds } => {
            Session::new(machine).run_lowered(&property.body, &mut bindings, block, &mut exact())?;
            Ok(Verdict::of(bindings.holds(*holds)))
        }
        Form::Step { packets, block, premise, holds } => {
            for ((packet, _), (_, bytes)) in packets.iter().zip(arrivals) {
                bindings.set_packet(*packet, bytes);
            }
            let mut oracle = oracle(arrivals);
            Session::new(machine).run_lowered(&property.body, &mut bindings, block, &mut oracle)?;
            Ok(if bindings.holds(*premise) { Verdict::of(bindings.holds(*holds)) } else { Verdict::Fits })
        }
        Form::Independent { observed, from, except } => {
            let [disturbs, watched] = arrivals else { return Ok(Verdict::Fits) };
            independent(property, machine, (observed, watched), (from, disturbs), except)
        }
        form => {
            let Some((last, earlier)) = past.split_last() else { return Ok(Verdict::Fits) };
            match form {
                Form::OnlyAfter { then, after, within, unless } => {
                    let mut verdict = Verdict::Fits;
                    for bound in matching(property, then, &bindings, last)? {
                        let allowed = match within {
                            Some(expr) => Some(Session::new(&last.before).value(&property.body, &bound, expr, property.span)?),
                            None => None,
                        };
                        let seen = was_before(property, (after, unless.as_ref()), &bound, (earlier, last), allowed)?;
                        verdict = verdict.and(Verdict::of(seen));
                    }
                    Ok(verdict)
                }
                Form::Persists { once, then, outcome, since, condition, holds } => {
                    let promise = Promise { then, outcome, since, condition, holds: *holds };
                    let mut verdict = Verdict::Fits;
                    for (at, first) in earlier.iter().enumerate() {
                        for bound in matching(property, once, &bindings, first)? {
                            verdict = verdict.and(promise.kept(property, &past[at..], &bound)?);
                        }
                    }
                    Ok(verdict)
                }
                Form::Bound { .. } => bound(property, past),
                Form::Reachable { event } => {
                    let shown = !matching(property, event, &bindings, last)?.is_empty();
                    Ok(if shown { Verdict::Shown } else { Verdict::Fits })
                }
                Form::Always { .. } | Form::Step { .. } | Form::Independent { .. } => Ok(Verdict::Fits),
            }
        }
    }
}

/// Decides what formulas without steps leave open: nothing.
fn exact() -> Replay<Seeded> {
    Replay::new([], Seeded::exact(1))
}

/// What decides on the choices that the steps of a formula make.
pub(crate) fn oracle(arrivals: &[(PortId, Vec<u8>)]) -> Seeded {
    Seeded::adversarial(seed_of(arrivals))
}

/// The seed of the choices that the steps of a formula make: the same for the same packets.
fn seed_of(arrivals: &[(PortId, Vec<u8>)]) -> u64 {
    let bytes = arrivals.iter().flat_map(|(_, bytes)| bytes);
    bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The ways in which what happened is an instance of a pattern.
fn matching(
    property: &Property,
    pattern: &EventPattern<Code>,
    known: &Bindings,
    moment: &Moment,
) -> Result<Vec<Bindings>, Defect> {
    match &moment.event {
        Stimulus::Packet(port, bytes) => {
            fits(property, pattern, known, &moment.before, (*port, bytes, &moment.outcome, &moment.oracle))
        }
        _ => Ok(Vec::new()),
    }
}

fn fits(
    property: &Property,
    pattern: &EventPattern<Code>,
    known: &Bindings,
    before: &Machine,
    (port, bytes, outcome, oracle): (PortId, &[u8], &Outcome, &Replay<Seeded>),
) -> Result<Vec<Bindings>, Defect> {
    if port != pattern.port {
        return Ok(Vec::new());
    }
    if let Some(reasons) = &pattern.drops {
        let fits = outcome.drops.iter().any(|d| reasons.is_empty() || reasons.contains(&d.reason));
        if !fits {
            return Ok(Vec::new());
        }
    }
    let emitted: Vec<Option<&[u8]>> = match pattern.emits {
        None => vec![None],
        Some((on, _)) => outcome.out.iter().filter(|(p, _)| *p == on).map(|(_, b)| Some(b.as_slice())).collect(),
    };
    let mut found = Vec::new();
    for sent in emitted {
        let mut bindings = known.clone();
        bindings.set_packet(pattern.packet, bytes);
        if let (Some((_, packet)), Some(sent)) = (pattern.emits, sent) {
            bindings.set_packet(packet, sent);
        }
        bindings.set(pattern.matches, 0);
        // What the pattern says of the packet's step it says of the one that was taken.
        Session::new(before).run_lowered(&property.body, &mut bindings, &pattern.block, &mut oracle.clone())?;
        if bindings.holds(pattern.matches) {
            found.push(bindings);
        }
    }
    Ok(found)
}

/// Whether A has happened, at most so many nanoseconds ago, and nothing undid it since.
fn was_before(
    property: &Property,
    (after, unless): (&EventPattern<Code>, Option<&EventPattern<Code>>),
    known: &Bindings,
    (earlier, last): (&[Moment], &Moment),
    within: Option<u128>,
) -> Result<bool, Defect> {
    for (at, moment) in earlier.iter().enumerate().rev() {
        let ago = u128::from(last.before.now() - moment.before.now());
        if within.is_some_and(|most| ago > most) {
            return Ok(false);
        }
        for bound in matching(property, after, known, moment)? {
            let mut undone = false;
            if let Some(unless) = unless {
                for since in &earlier[at + 1..] {
                    undone |= !matching(property, unless, &bound, since)?.is_empty();
                }
            }
            if !undone {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// `then ... must ... for as long as ...`.
struct Promise<'p> {
    then: &'p EventPattern<Code>,
    outcome: &'p Wanted<Code>,
    since: &'p [Since<Code>],
    condition: &'p Block<Code>,
    holds: LocalId,
}

impl Promise<'_> {
    /// Whether the last of these events keeps the promise that the first began.
    fn kept(&self, property: &Property, span: &[Moment], known: &Bindings) -> Result<Verdict, Defect> {
        let Some(last) = span.last() else { return Ok(Verdict::Fits) };
        let mut verdict = Verdict::Fits;
        'ways: for bound in matching(property, self.then, known, last)? {
            // The condition has held all the way: what has lapsed once stays lapsed.
            for upto in 1..span.len() {
                if !self.condition(property, &span[..=upto], &bound)? {
                    continue 'ways;
                }
            }
            verdict = verdict.and(Verdict::of(self.done(property, last, &bound)?));
        }
        Ok(verdict)
    }

    /// The condition, just before the last of these events.
    fn condition(&self, property: &Property, span: &[Moment], bound: &Bindings) -> Result<bool, Defect> {
        let [first, between @ .., last] = span else { return Ok(true) };
        let mut bound = bound.clone();
        for since in self.since {
            let mut from = first.before.now();
            for moment in between.iter().rev() {
                if !matching(property, &since.event, &bound, moment)?.is_empty() {
                    from = moment.before.now();
                    break;
                }
            }
            bound.set(since.elapsed, u128::from(last.before.now() - from));
        }
        Session::new(&last.before).run_lowered(&property.body, &mut bound, self.condition, &mut exact())?;
        Ok(bound.holds(self.holds))
    }

    /// Whether what must happen to the packet happened.
    fn done(&self, property: &Property, last: &Moment, bound: &Bindings) -> Result<bool, Defect> {
        let dropped = |reason: &ReasonId| last.outcome.drops.iter().any(|d| d.reason == *reason);
        if self.outcome.drops.iter().any(dropped) {
            return Ok(true);
        }
        let Some(emission) = &self.outcome.emits else { return Ok(false) };
        for (_, bytes) in last.outcome.out.iter().filter(|(port, _)| *port == emission.port) {
            let mut bound = bound.clone();
            bound.set_packet(emission.packet, bytes);
            bound.set(emission.matches, 0);
            Session::new(&last.before).run_lowered(&property.body, &mut bound, &emission.block, &mut exact())?;
            if bound.holds(emission.matches) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether the observed packet fares the same, whether the other has come before it or not. Where a choice was made, two runs
/// may differ by it alone: then nothing is said.
fn independent(
    property: &Property,
    machine: &Machine,
    (observed, (port, bytes)): (&EventPattern<Code>, &(PortId, Vec<u8>)),
    (from, (other_port, other)): (&EventPattern<Code>, &(PortId, Vec<u8>)),
    except: &[ReasonId],
) -> Result<Verdict, Defect> {
    let mut alone = machine.clone();
    let mut disturbed = machine.clone();
    let first = disturbed.packet(*other_port, other, &mut exact(), None)?;
    let without = alone.packet(*port, bytes, &mut exact(), None)?;
    let with = disturbed.packet(*port, bytes, &mut exact(), None)?;
    if !without.choices.is_empty() || !with.choices.is_empty() {
        return Ok(Verdict::Fits);
    }
    let known = Bindings::new(&property.body);
    let mut related = false;
    for bound in fits(property, observed, &known, machine, (*port, bytes, &without, &exact()))? {
        related |= !fits(property, from, &bound, machine, (*other_port, other, &first, &exact()))?.is_empty();
    }
    let excused = |outcome: &Outcome| outcome.drops.iter().any(|d| except.contains(&d.reason));
    if !related || excused(&with) || excused(&without) {
        return Ok(Verdict::Fits);
    }
    let reasons = |outcome: &Outcome| outcome.drops.iter().map(|d| d.reason).collect::<Vec<_>>();
    Ok(Verdict::of(with.out == without.out && reasons(&with) == reasons(&without)))
}

/// What an event counts for a promise about sums over intervals: for whom, and how much.
pub(crate) fn counted(id: PropertyId, moment: &Moment) -> Result<Vec<(Vec<u128>, i128)>, Defect> {
    let Some(property) = moment.before.config.property(id) else { return Ok(Vec::new()) };
    counts(property, moment)
}

fn counts(property: &Property, moment: &Moment) -> Result<Vec<(Vec<u128>, i128)>, Defect> {
    Ok(instances(property, moment)?.into_iter().map(|(_, key, amount)| (key, amount)).collect())
}

/// The ways in which an event counts.
fn instances(property: &Property, moment: &Moment) -> Result<Vec<(Bindings, Vec<u128>, i128)>, Defect> {
    let Form::Bound { event, amount, key, .. } = &property.form else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for bound in matching(property, event, &Bindings::new(&property.body), moment)? {
        let value = |expr| Session::new(&moment.before).value(&property.body, &bound, expr, property.span);
        let of = key.iter().map(value).collect::<Result<_, _>>()?;
        let amount = value(amount)? as i128;
        all.push((bound, of, amount));
    }
    Ok(all)
}

/// Whether the sum over every interval that ends now stays below its limit.
fn bound(property: &Property, past: &[Moment]) -> Result<Verdict, Defect> {
    let Form::Bound { interval, block, limit, .. } = &property.form else { return Ok(Verdict::Fits) };
    let Some(last) = past.last() else { return Ok(Verdict::Fits) };
    let mut verdict = Verdict::Fits;
    for (mut now, of, _) in instances(property, last)? {
        let mut sum = 0i128;
        for moment in past.iter().rev() {
            let own: Vec<i128> =
                counts(property, moment)?.into_iter().filter(|(key, _)| *key == of).map(|(_, amount)| amount).collect();
            if own.is_empty() {
                continue;
            }
            sum += own.iter().sum::<i128>();
            now.set(*interval, u128::from(last.before.now() - moment.before.now()));
            let mut session = Session::new(&last.before);
            session.run_lowered(&property.body, &mut now, block, &mut exact())?;
            let most = session.value(&property.body, &now, limit, property.span)? as i128;
            verdict = verdict.and(Verdict::of(sum <= most));
        }
    }
    Ok(verdict)
}
