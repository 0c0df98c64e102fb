//! The words of the language. Lexing never fails: bytes that begin no token become [`Token::Unknown`].

use logos::Logos;

/// A token. Texts are slices of the source.
#[allow(missing_docs, reason = "each is named after its spelling")]
#[derive(Logos, Clone, Copy, Debug, PartialEq)]
#[logos(skip r"[ \t\r\n\f]+")]
#[rustfmt::skip]
pub enum Token<'a> {
    // Words that can be told apart from names only by what follows them (see `soften`).
    #[token("port")] Port,
    #[token("state")] State,
    #[token("source")] Source,
    #[token("row")] Row,
    #[token("rfc")] Rfc,
    #[token("gravel")] Gravel,
    #[token("rate")] Rate,
    #[token("burst")] Burst,
    #[token("body")] Body,
    #[token("checksum")] Checksum,
    #[token("input")] Input,
    #[token("output")] Output,
    #[token("control")] Control,
    #[token("feed")] Feed,
    #[token("shape")] Shape,
    #[token("spec")] Spec,
    #[token("test")] Test,
    #[token("header")] Header,
    #[token("hash")] Hash,
    #[token("first")] First,
    #[token("element")] Element,
    #[token("property")] Property,
    #[token("lifetime")] Lifetime,
    #[token("idle")] Idle,
    #[token("lag")] Lag,
    #[token("any")] Any,
    #[token("before")] Before,

    // Reserved words.
    #[token("use")] Use,
    #[token("const")] Const,
    #[token("newtype")] Newtype,
    #[token("struct")] Struct,
    #[token("enum")] Enum,
    #[token("fn")] Fn,
    #[token("middlebox")] Middlebox,
    #[token("claims")] Claims,
    #[token("ghost")] Ghost,
    #[token("require")] Require,
    #[token("invariant")] Invariant,
    #[token("granularity")] Granularity,
    #[token("with")] With,
    #[token("on")] On,
    #[token("every")] Every,
    #[token("update")] Update,
    #[token("refused")] Refused,
    #[token("let")] Let,
    #[token("var")] Var,
    #[token("if")] If,
    #[token("else")] Else,
    #[token("match")] Match,
    #[token("for")] For,
    #[token("in")] In,
    #[token("emit")] Emit,
    #[token("drop")] Drop,
    #[token("choose")] Choose,
    #[token("within")] Within,
    #[token("where")] Where,
    #[token("prefer")] Prefer,
    #[token("push")] Push,
    #[token("pop")] Pop,
    #[token("as")] As,
    #[token("as%")] AsWrap,
    #[token("and")] And,
    #[token("or")] Or,
    #[token("not")] Not,
    #[token("implies")] Implies,
    #[token("true")] True,
    #[token("false")] False,
    #[token("malformed")] Malformed,
    #[token("shown")] Shown,
    #[token("valid")] Valid,
    #[token("over")] Over,
    #[token("optional")] Optional,
    #[token("pseudo")] Pseudo,
    #[token("when")] When,
    #[token("from")] From,
    #[token("at")] At,
    #[token("always")] Always,
    #[token("forall")] Forall,
    #[token("exists")] Exists,
    #[token("count")] Count,
    #[token("whenever")] Whenever,
    #[token("then")] Then,
    #[token("after")] After,
    #[token("emits")] Emits,
    #[token("drops")] Drops,
    #[token("except")] Except,
    #[token("once")] Once,
    #[token("must")] Must,
    #[token("independent")] Independent,
    #[token("bound")] Bound,
    #[token("of")] Of,
    #[token("per")] Per,
    #[token("reachable")] Reachable,
    #[token("assume")] Assume,
    #[token("send")] Send,
    #[token("expect")] Expect,
    #[token("advance")] Advance,
    #[token("ignore")] Ignore,
    #[token("assert")] Assert,
    #[token("choices")] Choices,
    #[regex(r"for[ \t\r\n]+as[ \t\r\n]+long[ \t\r\n]+as")] ForAsLongAs,
    #[regex(r"only[ \t\r\n]+after")] OnlyAfter,
    #[regex(r"unless[ \t\r\n]+since")] UnlessSince,
    #[regex(r"but[ \t\r\n]+for")] ButFor,
    #[regex(r"time[ \t\r\n]+since[ \t\r\n]+last")] TimeSinceLast,

    // Names and literals.
    #[regex(r"[A-Za-z_][A-Za-z0-9_]*", priority = 1)] Ident(&'a str),
    #[token("_")] Underscore,
    #[regex(r"[0-9][0-9_]*")]
    #[regex(r"0x[0-9A-Fa-f_]+|0b[01_]+", priority = 9)] Int(&'a str),
    #[regex(r"[0-9][0-9_]*[A-Za-z][A-Za-z0-9]*", priority = 3)] Unit(&'a str),
    #[regex(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+")] Ipv4(&'a str),
    #[regex(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+/[0-9]+")] Prefix(&'a str),
    #[regex(r"[0-9A-Fa-f][0-9A-Fa-f](:[0-9A-Fa-f][0-9A-Fa-f]){5}", priority = 9)] Mac(&'a str),
    #[regex(r#"ip"[^"\n]*""#)] Ipv6(&'a str),
    #[regex(r#"hex"[^"\n]*""#)] Hex(&'a str),
    #[regex(r#""([^"\\\n]|\\[^\n])*""#)] Str(&'a str),
    #[regex(r"///[^\n]*", allow_greedy = true)] Doc(&'a str),
    #[regex(r"//![^\n]*", allow_greedy = true)] FileDoc(&'a str),
    #[regex(r"//([^/!\n][^\n]*)?", allow_greedy = true)]
    #[regex(r"/\*([^*]|\*+[^*/])*\*+/")] Comment(&'a str),

    // Punctuation.
    #[token("(")] LParen,
    #[token(")")] RParen,
    #[token("[")] LBracket,
    #[token("]")] RBracket,
    #[token("{")] LBrace,
    /// The brace that opens the body of an `if`, `match`, `for` or `on` (see `soften`).
    BodyBrace,
    #[token("}")] RBrace,
    #[token(",")] Comma,
    #[token(";")] Semi,
    #[token(":")] Colon,
    #[token("::")] PathSep,
    #[token(".")] Dot,
    #[token("..")] DotDot,
    #[token("..=")] DotDotEq,
    #[token("->")] Arrow,
    #[token("=>")] FatArrow,
    #[token("=")] Assign,
    #[token("==")] EqEq,
    #[token("!=")] NotEq,
    #[token("<")] Lt,
    #[token("<=")] Le,
    #[token(">")] Gt,
    #[token(">=")] Ge,
    #[token("+")] Plus,
    #[token("-")] Minus,
    #[token("*")] Star,
    #[token("/")] Slash,
    #[token("%")] Percent,
    #[token("+%")] PlusWrap,
    #[token("-%")] MinusWrap,
    #[token("*%")] StarWrap,
    #[token("+|")] PlusSat,
    #[token("-|")] MinusSat,
    #[token("&")] Amp,
    #[token("|")] Pipe,
    #[token("^")] Caret,
    #[token("~")] Tilde,
    #[token("<<")] Shl,
    #[token(">>")] Shr,

    /// Stands for a statement, member or item that could not be parsed; made by recovery, never by the lexer.
    Error,
    /// Bytes that begin no token.
    Unknown(&'a str),
}

/// A token with its range of bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spanned<'a> {
    /// Offset of the first byte.
    pub start: u32,
    /// The token.
    pub token: Token<'a>,
    /// Offset after the last byte.
    pub end: u32,
}

/// What lexing makes of a text.
pub struct Lexed<'a> {
    /// All tokens but comments.
    pub tokens: Vec<Spanned<'a>>,
    /// Comments that are no docs.
    pub comments: Vec<Spanned<'a>>,
}

/// Splits a text into tokens and comments.
pub fn lex(text: &str) -> Lexed<'_> {
    let mut tokens = Vec::with_capacity(text.len() / 4);
    let mut comments = Vec::new();
    let mut lexer = Token::lexer(text);
    while let Some(result) = lexer.next() {
        let range = lexer.span();
        let (start, end) = (range.start as u32, range.end as u32);
        let token = result.unwrap_or(Token::Unknown(lexer.slice()));
        match token {
            Token::Comment(_) => comments.push(Spanned { start, token, end }),
            // `////` rules are comments, not docs.
            Token::Doc(text) if text.starts_with("////") => comments.push(Spanned { start, token, end }),
            _ => tokens.push(Spanned { start, token, end }),
        }
    }
    close_types(&mut tokens);
    soften(text, &mut tokens);
    Lexed { tokens, comments }
}

/// Splits `>>` where it closes two types: `map<u32, Option<u16>>`.
fn close_types(tokens: &mut Vec<Spanned<'_>>) {
    let mut open = 0usize;
    let mut at = 0;
    while at < tokens.len() {
        let Spanned { start, token, end } = tokens[at];
        match token {
            Token::Lt if at > 0 && takes_types(tokens[at - 1].token) => open += 1,
            Token::Gt => open = open.saturating_sub(1),
            Token::Shr if open > 1 => {
                tokens[at] = Spanned { start, token: Token::Gt, end: start + 1 };
                tokens.insert(at + 1, Spanned { start: start + 1, token: Token::Gt, end });
                continue;
            }
            Token::Semi | Token::LBrace | Token::RBrace => open = 0,
            _ => {}
        }
        at += 1;
    }
}

/// Whether a name is one of a type with arguments, so that `<` behind it opens them.
pub fn takes_types(token: Token<'_>) -> bool {
    matches!(token, Token::Ident("map" | "set" | "array" | "lpm" | "bucket" | "cell" | "Option" | "prefix"))
}

/// Turns words into names where they are names, and marks the braces that open bodies, so that the grammar needs neither
/// lists of soft keywords nor expressions without struct literals:
/// a word after `.` or before `:` is a name; a soft keyword is one only if a word or a literal follows;
/// the first `{` after `if`, `match`, `for` or `on` at the same depth opens the body.
fn soften<'a>(text: &'a str, tokens: &mut [Spanned<'a>]) {
    let mut heads: Vec<usize> = Vec::new();
    let mut depth = 0usize;
    for i in 0..tokens.len() {
        let Spanned { start, token, end } = tokens[i];
        let next = tokens.get(i + 1).map(|t| t.token);
        let after_dot = i > 0 && tokens[i - 1].token == Token::Dot;
        if is_word(token) && (after_dot || next == Some(Token::Colon) || (is_soft(token) && !next.is_some_and(follows_keyword))) {
            tokens[i].token = Token::Ident(&text[start as usize..end as usize]);
            continue;
        }
        match token {
            Token::If | Token::Match | Token::For | Token::On => heads.push(depth),
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            Token::LBrace => {
                if heads.last() == Some(&depth) {
                    heads.pop();
                    tokens[i].token = Token::BodyBrace;
                }
                depth += 1;
            }
            Token::RBrace => {
                depth = depth.saturating_sub(1);
                while heads.last().is_some_and(|&d| d > depth) {
                    heads.pop();
                }
            }
            Token::FatArrow | Token::Semi => {
                while heads.last().is_some_and(|&d| d >= depth) {
                    heads.pop();
                }
            }
            _ => {}
        }
    }
}

fn is_soft(token: Token<'_>) -> bool {
    use Token::*;
    matches!(
        token,
        Port | State
            | Source
            | Row
            | Rfc
            | Gravel
            | Rate
            | Burst
            | Body
            | Checksum
            | Input
            | Output
            | Control
            | Feed
            | Shape
            | Spec
            | Test
            | Header
            | Hash
            | First
            | Element
            | Property
            | Lifetime
            | Idle
            | Lag
            | Any
            | Before
    )
}

/// Whether a token is spelt like a name, and is none.
pub fn is_word(token: Token<'_>) -> bool {
    use Token::*;
    !matches!(
        token,
        Ident(_)
            | Underscore
            | Int(_)
            | Unit(_)
            | Ipv4(_)
            | Prefix(_)
            | Mac(_)
            | Ipv6(_)
            | Hex(_)
            | Str(_)
            | Doc(_)
            | FileDoc(_)
            | Comment(_)
            | LParen
            | RParen
            | LBracket
            | RBracket
            | LBrace
            | BodyBrace
            | RBrace
            | Comma
            | Semi
            | Colon
            | PathSep
            | Dot
            | DotDot
            | DotDotEq
            | Arrow
            | FatArrow
            | Assign
            | EqEq
            | NotEq
            | Lt
            | Le
            | Gt
            | Ge
            | Plus
            | Minus
            | Star
            | Slash
            | Percent
            | PlusWrap
            | MinusWrap
            | StarWrap
            | PlusSat
            | MinusSat
            | Amp
            | Pipe
            | Caret
            | Tilde
            | Shl
            | Shr
            | Error
            | Unknown(_)
            | AsWrap
            | ForAsLongAs
            | OnlyAfter
            | UnlessSince
            | TimeSinceLast
            | ButFor
    )
}

/// Whether a soft keyword before this token is a keyword: a name or a literal, or a word that starts something.
fn follows_keyword(token: Token<'_>) -> bool {
    use Token::*;
    match token {
        Ident(_) | Int(_) | Unit(_) | Ipv4(_) | Prefix(_) | Mac(_) | Ipv6(_) | Hex(_) | Str(_) => true,
        In | As | And | Or | Implies | Else | Where | Prefer | Within | Then | Emits | Drops | Except | From | At | Per
        | Over | Of | If | Must | When | Before => false,
        other => is_word(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<Token<'_>> {
        lex(text).tokens.into_iter().map(|t| t.token).collect()
    }

    #[test]
    fn numbers_in_other_bases_are_no_units() {
        assert_eq!(
            tokens("0x0806 0b10 64KiB 1_000"),
            [Token::Int("0x0806"), Token::Int("0b10"), Token::Unit("64KiB"), Token::Int("1_000")]
        );
        assert_eq!(tokens("0x1fz"), [Token::Unit("0x1fz")]);
    }

    #[test]
    fn addresses_are_one_token() {
        assert_eq!(
            tokens("10.0.0.0/8 203.0.113.1 02:00:00:00:00:01"),
            [Token::Prefix("10.0.0.0/8"), Token::Ipv4("203.0.113.1"), Token::Mac("02:00:00:00:00:01")]
        );
    }

    #[test]
    fn soft_words_are_names_where_names_stand() {
        assert_eq!(tokens("follow(before)")[2], Token::Ident("before"));
        assert_eq!(tokens("let port = 5;")[1], Token::Ident("port"));
        assert_eq!(tokens("port a;")[0], Token::Port);
    }
}
