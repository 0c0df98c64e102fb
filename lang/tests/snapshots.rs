//! The stages of the tutorial's second box, and the diagnostics of a program with many mistakes, as they are today.

#![allow(clippy::unwrap_used, reason = "a test")]

use grv_lang::compile::compile;
use grv_lang::ir::print;
use grv_lang::source::NoModules;
use grv_lang::span::FileId;
use grv_lang::syntax::{parse, token};

const PROGRAM: &str = include_str!("../../book/listings/02-match.grv");

/// Each stage has errors of its own.
const MISTAKES: &str = r#"
use std::net::{Ethernet, Ipv4, Udp};

element Box {
    input frame, other;
    output out;

    state seen: set<u16>;

    on frame(p) {
        match p {
            { Ethernet, Ipv4 as ip, Udp as udp } => {
                ip.ttl = 300;
                seen.insert(udp.src);
                emit outt;
            }
            { Ethernet, Udp } => drop "never",
        }
    }
}
"#;

#[test]
fn tokens() {
    let lexed = token::lex(PROGRAM);
    let shown: Vec<String> = lexed.tokens.iter().map(|t| format!("{}..{} {:?}", t.start, t.end, t.token)).collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn tree() {
    let shown = format!("{:#?}", parse(FileId(0), PROGRAM).file);
    // Spans are in the snapshot of the tokens.
    let mut pieces = shown.split("Span {");
    let first = pieces.next().unwrap().to_string();
    let rest: String =
        pieces.map(|rest| format!("_{}", rest.split_once("},\n").unwrap().1.split_once("},").unwrap().1)).collect();
    insta::assert_snapshot!(first + &rest);
}

#[test]
fn ir() {
    let compiled = compile("match.grv", PROGRAM.as_bytes(), &NoModules);
    let boxes = compiled.boxes.iter().map(|b| print::print(b));
    let tests = compiled.tests.iter().map(|(test, program)| print::print_test(program, test));
    insta::assert_snapshot!(boxes.chain(tests).collect::<Vec<_>>().join("\n"));
}

#[test]
fn diagnostics() {
    let compiled = compile("mistakes.grv", MISTAKES.as_bytes(), &NoModules);
    let shown: Vec<String> = compiled
        .diagnostics
        .iter()
        .map(|d| {
            let labels: Vec<String> =
                d.secondary.iter().map(|l| format!("\n    {}: {}", compiled.sources.place(l.span), l.text)).collect();
            let fix = d.fix.as_ref().map_or_else(String::new, |f| format!("\n    fix: {} -> `{}`", f.message, f.replacement));
            let notes: String = d.notes.iter().map(|n| format!("\n    note: {n}")).collect();
            format!("{} {} {}{}{notes}{fix}", compiled.sources.place(d.primary.span), d.code, d.message, labels.concat())
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
}
