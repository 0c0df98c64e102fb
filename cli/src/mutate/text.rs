//! What came of changes, for people.

use super::{Change, Format, Ran, Summary, Tried, base};
use crate::render;
use crate::verify::Source;
use grv_verifier::mutate::By;

/// Each change and what noticed it, what each property notices, and how many there are.
pub(super) fn show(sources: &[Source], ran: &[Ran], format: Format) -> Result<(), String> {
    let of_findings = if format == Format::Full { crate::Format::Full } else { crate::Format::Concise };
    for source in sources {
        render::findings(&source.of.sources, &source.of.diagnostics, of_findings)?;
    }
    for of in ran {
        if format == Format::Full {
            of.tried.iter().chain(&of.equivalent).for_each(|tried| render::line(&line(tried)));
            properties(of);
        } else {
            let survivors = of.tried.iter().filter(|t| t.outcome.by().is_none());
            survivors.for_each(|tried| render::line(&line(tried)));
        }
        render::line(&format!("{}: {}", of.name, summary(&Summary::of(std::iter::once(of)))));
    }
    if ran.len() > 1 {
        render::line(&format!("all: {}", summary(&Summary::of(ran.iter()))));
    }
    Ok(())
}

fn line(tried: &Tried) -> String {
    let Tried { change: Change { file, start, mutant, .. }, outcome } = tried;
    let what = match outcome.kills.first() {
        None if outcome.changes_nothing => "changes nothing".to_string(),
        None => "SURVIVES".to_string(),
        Some(_) => {
            // Of each kind the first; JSON has them all.
            let first = |by| outcome.kills.iter().find(|k| k.by == by);
            let kills = [By::Property, By::Automatic, By::Test].into_iter().filter_map(first).map(|k| {
                let more = match outcome.kills.iter().filter(|other| other.by == k.by).count() - 1 {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                match k.by {
                    By::Test => format!("test \"{}\"{more}", k.name),
                    By::Property => format!("`{}` ({}){more}", k.name, k.verdict),
                    By::Automatic => format!("what every program is obliged to: {} ({}){more}", k.name, k.verdict),
                }
            });
            format!("killed by {}", kills.collect::<Vec<_>>().join(", "))
        }
    };
    let (operator, element) = (mutant.operator.name(), &mutant.element);
    format!("{file}:{}:{}: {operator} in {element}: {}: {what}", start.line, start.column, mutant.change)
}

/// What each property notices.
fn properties(of: &Ran) {
    for property in &of.properties {
        let noticed = |t: &&Tried| t.outcome.kills.iter().any(|k| k.by == By::Property && base(&k.name) == property);
        render::line(&format!("    `{property}` kills {}", of.tried.iter().filter(noticed).count()));
    }
}

fn summary(s: &Summary) -> String {
    let equivalent = match s.equivalent {
        0 => String::new(),
        count => format!("; {count} more change nothing"),
    };
    format!(
        "{} mutants: {} killed by properties, {} by what every program is obliged to, {} by tests alone, {} survive; \
         verification kills {} %, tests kill {} %, together {} %{equivalent}",
        s.mutants,
        s.by_properties,
        s.by_automatic,
        s.by_tests_only,
        s.surviving,
        s.percent(s.by_properties + s.by_automatic),
        s.percent(s.by_tests),
        s.percent(s.mutants - s.surviving)
    )
}
