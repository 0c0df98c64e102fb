//! Text to syntax tree, with recovery. The parser never fails: any bytes give a tree and diagnostics.
//!
//! A file is split into items at item keywords outside of braces (and at the beginning of a line, which closes what was left
//! open). Each item is parsed by the generated parser. Where that stops, the smallest statement around the place is replaced
//! by the token `Error` and the item is parsed again; if that does not help, what is around it is replaced, up to the whole
//! item. Every round removes tokens or ends, and an error is reported only at tokens that were written.

use super::ast::{Docs, File, Item, ItemKind, Str};
use super::build::Cx;
use super::grammar::ItemParser;
use super::token::{Lexed, Spanned, Token, lex};
use crate::diagnostics::{Code, Diagnostic};
use crate::span::{FileId, Span};
use lalrpop_util::ParseError;

/// What parsing makes of a text.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The tree.
    pub file: File,
    /// Comments that are no docs, in order: where they are.
    pub comments: Vec<Span>,
    /// What is wrong.
    pub diagnostics: Vec<Diagnostic>,
}

/// Greatest size of a source file in bytes.
pub const MAX_SOURCE: usize = 1 << 20;

/// Greatest nesting of an item's tokens: it bounds the recursion of all later passes.
const MAX_NESTING: usize = 1_000;

/// Errors per file after which the rest goes unreported.
const MAX_ERRORS: usize = 100;

/// Parses a file.
pub fn parse(file: FileId, text: &str) -> Parsed {
    let mut parsed = Parsed { file: File::default(), comments: Vec::new(), diagnostics: Vec::new() };
    if text.len() > MAX_SOURCE {
        let message = format!("the file has {} bytes; {MAX_SOURCE} is the most", text.len());
        parsed.diagnostics.push(Diagnostic::new(Code::TooLarge, Span::new(file, 0, 0), message));
        return parsed;
    }
    let Lexed { tokens, comments } = lex(text);
    parsed.comments = comments.iter().map(|c| Span { file, start: c.start, end: c.end }).collect();
    let tokens = drop_unknown(file, tokens, &mut parsed.diagnostics);
    let rest = file_docs(file, &tokens, &mut parsed.file.docs);
    let parser = ItemParser::new();
    let line_start = |t: &Spanned<'_>| t.start == 0 || text.as_bytes()[t.start as usize - 1] == b'\n';
    for range in split_items(rest, line_start) {
        let item = &rest[range];
        if parsed.diagnostics.len() >= MAX_ERRORS {
            break;
        }
        parsed.file.items.extend(parse_item(file, &parser, item, &mut parsed.diagnostics));
    }
    parsed
}

/// Reports bytes that begin no token, adjacent ones together, and leaves them out.
fn drop_unknown<'a>(file: FileId, tokens: Vec<Spanned<'a>>, diagnostics: &mut Vec<Diagnostic>) -> Vec<Spanned<'a>> {
    let mut unknown: Vec<Span> = Vec::new();
    let kept = tokens
        .into_iter()
        .filter(|t| {
            let Token::Unknown(_) = t.token else {
                return true;
            };
            match unknown.last_mut() {
                Some(last) if last.end == t.start => last.end = t.end,
                _ => unknown.push(Span { file, start: t.start, end: t.end }),
            }
            false
        })
        .collect();
    for span in unknown.into_iter().take(MAX_ERRORS) {
        diagnostics.push(
            Diagnostic::new(Code::UnknownText, span, "this begins no word of the language")
                .note("a comment begins with `//`, a string with `\"` and ends on its line"),
        );
    }
    kept
}

fn file_docs<'t, 'a>(file: FileId, tokens: &'t [Spanned<'a>], docs: &mut Docs) -> &'t [Spanned<'a>] {
    let mut rest = tokens;
    while let Some((Spanned { start, token: Token::FileDoc(text), end }, tail)) = rest.split_first() {
        docs.push(Str { text: text[3..].to_string(), span: Span { file, start: *start, end: *end } });
        rest = tail;
    }
    rest
}

fn begins_item(token: Token<'_>) -> bool {
    use Token::*;
    matches!(
        token,
        Use | Const
            | Newtype
            | Struct
            | Enum
            | Fn
            | Hash
            | Header
            | Shape
            | Element
            | Middlebox
            | Spec
            | Property
            | Invariant
            | Test
    )
}

/// The ranges of tokens of the items. Docs above an item belong to it.
fn split_items(tokens: &[Spanned<'_>], line_start: impl Fn(&Spanned<'_>) -> bool) -> Vec<std::ops::Range<usize>> {
    let mut starts = Vec::new();
    let mut depth = 0usize;
    let mut fresh = true;
    for (i, t) in tokens.iter().enumerate() {
        match t.token {
            Token::LBrace | Token::BodyBrace | Token::LParen | Token::LBracket => depth += 1,
            Token::RBrace | Token::RParen | Token::RBracket => {
                depth = depth.saturating_sub(1);
                // What follows a closing brace outside of everything begins an item, whatever it is.
                fresh = depth == 0 && t.token == Token::RBrace;
                continue;
            }
            Token::Semi if depth == 0 => {
                fresh = true;
                continue;
            }
            token => {
                let keyword = begins_item(token) && (depth == 0 || line_start(t));
                if keyword {
                    depth = 0;
                }
                if keyword || (fresh && depth == 0) {
                    let mut first = i;
                    while first > 0 && matches!(tokens[first - 1].token, Token::Doc(_)) {
                        first -= 1;
                    }
                    if starts.last().is_none_or(|&s| s < first) {
                        starts.push(first);
                    }
                    if matches!(token, Token::Doc(_)) {
                        continue;
                    }
                }
            }
        }
        fresh = false;
    }
    if starts.first().is_some_and(|&s| s > 0) || (starts.is_empty() && !tokens.is_empty()) {
        starts.insert(0, 0);
    }
    let ends = starts.iter().copied().skip(1).chain([tokens.len()]);
    starts.iter().copied().zip(ends).map(|(s, e)| s..e).filter(|r| !r.is_empty()).collect()
}

fn parse_item(file: FileId, parser: &ItemParser, tokens: &[Spanned<'_>], diagnostics: &mut Vec<Diagnostic>) -> Option<Item> {
    let whole = Span { file, start: tokens[0].start, end: tokens[tokens.len() - 1].end };
    let failed = || Some(Item { docs: Vec::new(), kind: ItemKind::Error, span: whole });
    if tokens.iter().all(|t| matches!(t.token, Token::Doc(_))) {
        diagnostics.push(Diagnostic::new(Code::DocsIgnored, whole, "these docs stand above nothing"));
        return None;
    }
    if let Some(at) = too_deep(tokens) {
        let span = Span { file, start: at.start, end: at.end };
        diagnostics.push(Diagnostic::new(
            Code::TooDeep,
            span,
            format!("more than {MAX_NESTING} levels of nesting or operators in one statement"),
        ));
        return failed();
    }
    let before = diagnostics.len();
    let cx = Cx::new(file);
    let mut tokens = tokens.to_vec();
    loop {
        cx.clear();
        let stream = tokens.iter().map(|t| Ok((t.start, t.token, t.end)));
        match parser.parse(&cx, stream) {
            Ok(item) => {
                diagnostics.extend(cx.into_errors());
                return Some(item);
            }
            Err(error) => {
                let (at, expected) = place(&tokens, error);
                if tokens.get(at).is_none_or(|t| t.token != Token::Error) {
                    diagnostics.push(syntax_error(file, &tokens, at, &expected));
                }
                if diagnostics.len() - before >= MAX_ERRORS || !replace(&mut tokens, at) {
                    return failed();
                }
            }
        }
    }
}

/// The index of the token at which parsing stopped (the number of tokens, at the end), and what could have stood there.
fn place(tokens: &[Spanned<'_>], error: ParseError<u32, Token<'_>, ()>) -> (usize, Vec<String>) {
    match error {
        ParseError::UnrecognizedToken { token: (start, ..), expected } => {
            (tokens.iter().position(|t| t.start == start).unwrap_or(tokens.len()), expected)
        }
        ParseError::UnrecognizedEof { expected, .. } => (tokens.len(), expected),
        ParseError::ExtraToken { token: (start, ..) } => {
            (tokens.iter().position(|t| t.start == start).unwrap_or(tokens.len()), Vec::new())
        }
        ParseError::InvalidToken { .. } | ParseError::User { .. } => (tokens.len(), Vec::new()),
    }
}

fn syntax_error(file: FileId, tokens: &[Spanned<'_>], at: usize, expected: &[String]) -> Diagnostic {
    let mut names: Vec<&str> = expected.iter().map(|e| e.trim_matches('"')).filter(|e| *e != "error").collect();
    names.iter_mut().for_each(|n| *n = if *n == "{ body" { "{" } else { n });
    names.sort_unstable();
    names.dedup();
    let wanted = match names.len() {
        0 => String::new(),
        1 => format!("expected {}", quoted(names[0])),
        2..=6 => {
            let (last, rest) = (names[names.len() - 1], &names[..names.len() - 1]);
            format!("expected {} or {}", rest.iter().map(|n| quoted(n)).collect::<Vec<_>>().join(", "), quoted(last))
        }
        _ if names.contains(&"number") && names.contains(&"name") => "expected an expression".to_string(),
        _ => String::new(),
    };
    let Some(t) = tokens.get(at) else {
        let last = tokens[tokens.len() - 1];
        if let Some(open) = unclosed(tokens) {
            let span = Span { file, start: open.start, end: open.end };
            let end = Span { file, start: last.end.saturating_sub(1), end: last.end };
            return Diagnostic::new(Code::Unclosed, span, "this bracket is never closed").also(end, "the item ends here");
        }
        let span = Span { file, start: last.start, end: last.end };
        return Diagnostic::new(Code::Syntax, span, "the item ends too early").here(wanted);
    };
    let span = Span { file, start: t.start, end: t.end };
    let message = match t.token {
        Token::Doc(_) => "docs stand above an item, a member or a field".to_string(),
        Token::FileDoc(_) => "docs of the file (`//!`) stand at its beginning".to_string(),
        word if super::token::is_word(word) && names.contains(&"name") => {
            "this is a word of the language, and no name".to_string()
        }
        _ => "this cannot stand here".to_string(),
    };
    Diagnostic::new(Code::Syntax, span, message).here(wanted)
}

fn quoted(name: &str) -> String {
    match name {
        "name" | "number" | "string" | "docs" | "prefix" | "IPv4 address" | "MAC address" | "IPv6 address" | "hex bytes" => {
            format!("a {name}").replace("a IP", "an IP")
        }
        "unit" => "a number with a unit".to_string(),
        _ => format!("`{name}`"),
    }
}

fn unclosed<'a>(tokens: &[Spanned<'a>]) -> Option<Spanned<'a>> {
    let mut open = Vec::new();
    for t in tokens {
        match t.token {
            Token::LBrace | Token::BodyBrace | Token::LParen | Token::LBracket => open.push(*t),
            Token::RBrace | Token::RParen | Token::RBracket => {
                open.pop();
            }
            _ => {}
        }
    }
    open.pop()
}

fn is_open(token: Token<'_>) -> bool {
    matches!(token, Token::LBrace | Token::BodyBrace)
}

/// Replaces the smallest statement, member or block content around a token, not yet an `Error` token alone, by `Error`.
/// False if nothing is left to replace: the whole item is wrong.
fn replace(tokens: &mut Vec<Spanned<'_>>, at: usize) -> bool {
    let at = at.min(tokens.len() - 1);
    // The bodies around the place, innermost first: indices of the braces (the end may be missing).
    let mut open = Vec::new();
    for (i, t) in tokens[..at].iter().enumerate() {
        if is_open(t.token) {
            open.push(i);
        } else if t.token == Token::RBrace {
            open.pop();
        }
    }
    for &brace in open.iter().rev() {
        let close = matching(tokens, brace);
        for (from, to) in [statement(tokens, brace, close, at), (brace + 1, close)] {
            let only_error = to - from == 1 && tokens[from].token == Token::Error;
            if from < to && !only_error {
                let error = Spanned { start: tokens[from].start, token: Token::Error, end: tokens[to - 1].end };
                tokens.splice(from..to, [error]);
                return true;
            }
        }
    }
    false
}

/// Index of the brace that closes the one at `brace`, or the number of tokens.
fn matching(tokens: &[Spanned<'_>], brace: usize) -> usize {
    let mut depth = 0usize;
    for (i, t) in tokens.iter().enumerate().skip(brace) {
        if is_open(t.token) {
            depth += 1;
        } else if t.token == Token::RBrace {
            depth -= 1;
            if depth == 0 {
                return i;
            }
        }
    }
    tokens.len()
}

/// The statement around `at` in the body between two braces: from after the last `;` or `}` to the next `;` (inclusive) or the end
/// of a block.
fn statement(tokens: &[Spanned<'_>], brace: usize, close: usize, at: usize) -> (usize, usize) {
    let mut from = brace + 1;
    let mut depth = 0usize;
    let mut i = brace + 1;
    while i < close {
        let token = tokens[i].token;
        if is_open(token) {
            depth += 1;
        } else if token == Token::RBrace {
            depth = depth.saturating_sub(1);
        }
        let ends = depth == 0
            && (token == Token::Semi || (token == Token::RBrace && tokens.get(i + 1).is_some_and(|t| starts_afresh(t.token))));
        if ends {
            if i >= at {
                return (from, i + 1);
            }
            from = i + 1;
        }
        i += 1;
    }
    (from, close)
}

/// Whether a token after a closing brace begins a new statement or member.
fn starts_afresh(token: Token<'_>) -> bool {
    use Token::*;
    !matches!(
        token,
        Else | Semi
            | Comma
            | Dot
            | RParen
            | RBracket
            | And
            | Or
            | Implies
            | EqEq
            | NotEq
            | Slash
            | As
            | Assign
            | FatArrow
            | Pipe
            | If
            | When
    )
}

/// The first token at which the nesting, or the length of a statement, which bounds the depth of its tree, is too great.
fn too_deep<'a>(tokens: &[Spanned<'a>]) -> Option<Spanned<'a>> {
    // Per open bracket: tokens of the current statement, its deepest bracket, the deepest statement so far.
    let mut stack = vec![(0usize, 0usize, 0usize)];
    for (i, t) in tokens.iter().enumerate() {
        let level = stack.len() - 1;
        match t.token {
            Token::LBrace | Token::BodyBrace | Token::LParen | Token::LBracket => stack.push((0, 0, 0)),
            Token::RBrace | Token::RParen | Token::RBracket if level > 0 => {
                if let Some((count, child, best)) = stack.pop() {
                    let depth = best.max(count + child) + 1;
                    if let Some(top) = stack.last_mut() {
                        top.1 = top.1.max(depth);
                        top.0 += 1;
                        if t.token == Token::RBrace && tokens.get(i + 1).is_none_or(|n| starts_afresh(n.token)) {
                            top.2 = top.2.max(top.0 + top.1);
                            (top.0, top.1) = (0, 0);
                        }
                    }
                }
            }
            Token::Semi | Token::Comma => {
                let top = &mut stack[level];
                top.2 = top.2.max(top.0 + top.1);
                (top.0, top.1) = (0, 0);
            }
            _ => stack[level].0 += 1,
        }
        let top = stack[stack.len() - 1];
        if stack.len() > MAX_NESTING || top.0 + top.1 > MAX_NESTING {
            return Some(*t);
        }
    }
    // What is never closed counts as closed at the end.
    let total = stack.iter().rev().fold(0, |inner, (count, child, best)| (*best).max(count + inner.max(*child)) + 1);
    (total > MAX_NESTING).then(|| tokens[tokens.len() - 1])
}
