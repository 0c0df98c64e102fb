//! Measures the parser alone: prints megabytes per second of lexing and of parsing a file, medians of 21 rounds each.

#![allow(clippy::print_stdout)]

use grv_lang::span::FileId;
use grv_lang::syntax::{parser, token};
use std::hint::black_box;
use std::time::Instant;

/// Megabytes per second, by the median round.
fn rate(bytes: usize, mut work: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..21)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    bytes as f64 / times[times.len() / 2] / 1e6
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: parse FILE")?;
    let text = std::fs::read_to_string(path)?;
    let lexing = rate(text.len(), || drop(black_box(token::lex(&text))));
    let parsing = rate(text.len(), || drop(black_box(parser::parse(FileId(0), &text))));
    println!("{lexing:.1} {parsing:.1}");
    Ok(())
}
