//! `grv verify`: proves what programs promise.

use crate::{Status, files, render, test};
use grv_lang::compile::Compilation;
use grv_verifier::prove::{Options, Verdict, verify};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Programs, or folders of programs
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only properties whose name holds this text
    #[arg(long, value_name = "GLOB")]
    property: Option<String>,
}

pub(crate) fn main(args: &Args) -> Result<Status, String> {
    let mut bad = false;
    for path in files::sources(&args.paths)? {
        let of: Compilation = files::load(&path)?;
        for program in &of.boxes {
            let tests: Vec<_> =
                of.tests.iter().filter(|(_, on)| std::sync::Arc::ptr_eq(on, program)).map(|(test, _)| test).collect();
            let wanted = |p: &grv_lang::ir::Property| args.property.as_ref().is_none_or(|g| p.name.contains(g.as_str()));
            let report =
                verify(program, &tests, Options::default(), &grv_verifier::solve::program(), &wanted, args.property.is_none())
                    .map_err(|e| e.to_string())?;
            for o in &report.obligations {
                render::line(&format!(
                    "{}: {} {} {} {} ms, {} units {}",
                    of.sources.place(o.span),
                    o.verdict.name(),
                    o.kind.name(),
                    o.name,
                    o.time_ms,
                    o.resource,
                    o.verdict.reason().unwrap_or("")
                ));
                if let Verdict::Refuted(c) = &o.verdict {
                    render::line(&test::counterexample(&of, program, c));
                }
                bad |= !matches!(o.verdict, Verdict::Proved);
            }
            render::line(&format!("{}: {:?}", program.name, report.summary()));
        }
    }
    Ok(if bad { Status::Bad } else { Status::Good })
}
