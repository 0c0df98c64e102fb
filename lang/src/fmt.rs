//! The formatter: one style for all programs. It works on tokens, so that no comment is lost and the tree cannot change: it decides
//! about blanks and indentation, and keeps the author's line breaks (a blank line is kept, several become one).

use crate::diagnostics::{Diagnostic, Severity};
use crate::span::FileId;
use crate::syntax::token::{Spanned, Token, lex, takes_types};

/// Spaces per level.
const INDENT: usize = 4;

/// Formats a program. The errors of one that does not parse.
pub fn format(text: &str) -> Result<String, Vec<Diagnostic>> {
    let parsed = crate::syntax::parse(FileId(0), text);
    let errors: Vec<Diagnostic> = parsed.diagnostics.into_iter().filter(|d| d.severity() == Severity::Error).collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    let lexed = lex(text);
    let mut words: Vec<Spanned<'_>> = lexed.tokens;
    words.extend(lexed.comments);
    words.sort_by_key(|word| word.start);
    Ok(lay_out(text, &words))
}

/// What stands open at a place.
struct Open {
    /// Indentation of what is inside.
    inside: usize,
    /// Indentation of the closing bracket's line.
    outside: usize,
    /// Whether it is a list of names behind `::`, which has no blanks at its ends.
    tight: bool,
    /// Whether lines inside are elements of a list, which go on without more indentation.
    list: bool,
}

fn lay_out(text: &str, words: &[Spanned<'_>]) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut open: Vec<Open> = Vec::new();
    let types = type_brackets(words);
    // Indentation of the line that is being written.
    let mut indent = 0;
    for (at, word) in words.iter().enumerate() {
        let before = at.checked_sub(1).map(|i| words[i]);
        let gap = before.map_or("", |b| &text[b.end as usize..word.start as usize]);
        let breaks = gap.matches('\n').count();
        let own = if is_closing(word.token) { open.pop() } else { None };
        let (level, list) = open.last().map_or((0, false), |o| (o.inside, o.list));
        if let Some(before) = before {
            if breaks > 0 {
                let blank = breaks > 1 && own.is_none() && !is_opening(before.token);
                out.push_str(if blank { "\n\n" } else { "\n" });
                indent = match &own {
                    Some(own) => own.outside,
                    None if list || begins(before.token) => level,
                    None => level + INDENT,
                };
                out.extend(std::iter::repeat_n(' ', indent));
            } else {
                let tight = match &own {
                    Some(own) => own.tight,
                    None => open.last().is_some_and(|o| o.tight) && is_opening(before.token),
                };
                // `map<K, V>`: close on both sides of `<`, and before `>`.
                let tight = tight || types[at] || types[at - 1] && (before.token == Token::Lt || word.token == Token::LBracket);
                if !tight && spaced(before.token, word.token, gap) {
                    out.push(' ');
                }
            }
        }
        out.push_str(text[word.start as usize..word.end as usize].trim_end());
        if is_opening(word.token) {
            open.push(Open {
                inside: indent + INDENT,
                outside: indent,
                tight: before.is_some_and(|b| b.token == Token::PathSep),
                list: matches!(word.token, Token::LParen | Token::LBracket),
            });
        }
    }
    out.push('\n');
    out
}

fn is_opening(token: Token<'_>) -> bool {
    matches!(token, Token::LParen | Token::LBracket | Token::LBrace | Token::BodyBrace)
}

fn is_closing(token: Token<'_>) -> bool {
    matches!(token, Token::RParen | Token::RBracket | Token::RBrace)
}

fn is_comment(token: Token<'_>) -> bool {
    matches!(token, Token::Comment(_) | Token::Doc(_) | Token::FileDoc(_))
}

/// Whether a line behind this token begins a statement, a member, an arm or an item.
fn begins(before: Token<'_>) -> bool {
    is_comment(before) || is_opening(before) || matches!(before, Token::Semi | Token::Comma | Token::RBrace)
}

/// Which words are the brackets of a type's arguments: `<` directly behind a type that has some, and the `>` that closes it.
fn type_brackets(words: &[Spanned<'_>]) -> Vec<bool> {
    let mut found = vec![false; words.len()];
    let mut open = 0;
    for (at, word) in words.iter().enumerate() {
        let takes = at > 0 && takes_types(words[at - 1].token);
        match word.token {
            Token::Lt if takes => open += 1,
            Token::Gt if open > 0 => open -= 1,
            Token::Semi | Token::LBrace | Token::RBrace => {
                open = 0;
                continue;
            }
            _ => continue,
        }
        found[at] = true;
    }
    found
}

/// Whether a blank stands between two words of a line.
fn spaced(before: Token<'_>, token: Token<'_>, gap: &str) -> bool {
    use Token::*;
    match (before, token) {
        (_, Comment(_) | Doc(_) | FileDoc(_)) => true,
        (_, Semi | Comma | Dot | RParen | RBracket | Colon | PathSep | DotDot | DotDotEq) => false,
        (LParen | LBracket | Dot | PathSep | Tilde | DotDot | DotDotEq, _) => false,
        // What the author's blank tells apart: calls and lists, empty blocks.
        (LBrace | BodyBrace, RBrace) | (_, LParen | LBracket) => !gap.is_empty(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::{Path, PathBuf};

    /// All programs of the repository that parse.
    fn programs() -> Vec<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut open: Vec<PathBuf> =
            ["lang/std", "examples", "specs", "tests/pass", "tests/semantics"].map(|f| root.join(f)).into();
        let mut found = Vec::new();
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else if path.extension().is_some_and(|e| e == "grv") {
                    found.push(std::fs::read_to_string(path).unwrap());
                }
            }
        }
        assert!(found.len() > 10);
        found
    }

    /// A tree without its spans.
    fn tree(text: &str) -> String {
        let shown = format!("{:?}", crate::syntax::parse(FileId(0), text).file);
        let mut pieces = shown.split("Span { ");
        let first = pieces.next().unwrap().to_string();
        first + &pieces.map(|rest| rest.split_once('}').unwrap().1).collect::<String>()
    }

    fn comments(text: &str) -> Vec<String> {
        lex(text).comments.iter().map(|c| text[c.start as usize..c.end as usize].trim_end().to_string()).collect()
    }

    /// Whether formatting is idempotent and keeps tree and comments.
    fn holds(text: &str) {
        let once = format(text).unwrap();
        assert_eq!(tree(&once), tree(text));
        assert_eq!(comments(&once), comments(text));
        assert_eq!(format(&once).unwrap(), once);
    }

    #[test]
    fn programs_keep_tree_and_comments() {
        programs().iter().for_each(|text| holds(text));
    }

    #[test]
    fn the_standard_library_and_the_examples_are_formatted() {
        for text in programs() {
            assert_eq!(format(&text).unwrap(), text);
        }
    }

    #[test]
    fn blanks_and_indentation() {
        let text = "element  Box{\n input frame ;\n\n\n output out;\non frame( p ) {\nif p.length>5 { emit out ;   } // long\nelse{ drop \"short\" }\n}\n}";
        let wanted = "element Box {\n    input frame;\n\n    output out;\n    on frame(p) {\n        if p.length > 5 { emit out; } // long\n        else { drop \"short\" }\n    }\n}\n";
        assert_eq!(format(text).unwrap(), wanted);
    }

    #[test]
    fn what_does_not_parse_is_an_error() {
        assert!(!format("element {").unwrap_err().is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Blanks, line breaks and comments anywhere between the words of a program change nothing but themselves.
        #[test]
        fn parse_of_print_is_the_tree(which: prop::sample::Index, cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..4), 1..30)) {
            let all = programs();
            let text = which.get(&all);
            // Behind docs a remark would be part of them.
            let words: Vec<_> = lex(text).tokens.into_iter().filter(|w| !is_comment(w.token)).collect();
            let mut places: Vec<(usize, usize)> = cuts.iter().map(|(at, what)| (at.get(&words).end as usize, *what)).collect();
            places.sort_unstable_by(|a, b| b.cmp(a));
            places.dedup_by_key(|p| p.0);
            let mut changed = text.clone();
            for (at, what) in places {
                changed.insert_str(at, [" ", "\n", " // a remark\n", "\n\n\n\t"][what]);
            }
            if crate::syntax::parse(FileId(0), &changed).diagnostics.is_empty() {
                holds(&changed);
                prop_assert_eq!(tree(&changed), tree(text));
            }
        }

        #[test]
        fn no_text_panics(text in "[a-z{}()\\[\\];:,.<>=0-9\\\" \n/]{0,200}") {
            if let Ok(formatted) = format(&text) {
                prop_assert_eq!(format(&formatted).ok(), Some(formatted));
            }
        }
    }
}
