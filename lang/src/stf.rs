//! STF, the simple test format of packet processors: `packet PORT HEX` arrives, `expect PORT HEX` must leave (`*` is any digit, a
//! final `$` ends the packet, else more may follow). Ports are names, or numbers in order of declaration. `#` starts a comment.

use crate::ir::{PortId, Program};
use thiserror::Error;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// From 1.
    pub line: usize,
    /// What it says.
    pub kind: CommandKind,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandKind {
    /// A packet arrives.
    Packet(PortId, Vec<u8>),
    /// A packet must leave; without pattern, any.
    Expect(PortId, Option<Pattern>),
}

/// Digits that a packet must have; none: any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    digits: Vec<Option<u8>>,
    exact: bool,
}

impl Pattern {
    /// Whether a packet fits.
    pub fn fits(&self, packet: &[u8]) -> bool {
        let digits = packet.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let count = packet.len() * 2;
        let long_enough = if self.exact { count == self.digits.len() } else { count >= self.digits.len() };
        long_enough && self.digits.iter().zip(digits).all(|(wanted, digit)| wanted.is_none_or(|w| w == digit))
    }
}

/// A line that says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {message}")]
pub struct StfError {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// Reads a file.
pub fn parse(text: &str, program: &Program) -> Result<Vec<Command>, StfError> {
    let mut commands = Vec::new();
    for (index, content) in text.lines().enumerate() {
        let line = index + 1;
        let fail = |message: String| StfError { line, message };
        let mut words = content.split('#').next().unwrap_or_default().split_whitespace();
        let Some(command) = words.next() else { continue };
        let name = words.next().ok_or_else(|| fail("the port is missing".to_string()))?;
        let port = port(program, name).ok_or_else(|| {
            let known: Vec<&str> = program.ports.iter().map(|p| p.name.as_str()).collect();
            fail(format!("there is no port `{name}`; there are: {}", known.join(", ")))
        })?;
        let digits: String = words.collect();
        let kind = match command {
            "packet" => CommandKind::Packet(port, crate::syntax::build::hex_bytes(&digits).map_err(fail)?),
            "expect" if digits.is_empty() => CommandKind::Expect(port, None),
            "expect" => CommandKind::Expect(port, Some(pattern(&digits).map_err(fail)?)),
            _ => return Err(fail(format!("`{command}` is neither `packet` nor `expect`"))),
        };
        commands.push(Command { line, kind });
    }
    Ok(commands)
}

fn port(program: &Program, name: &str) -> Option<PortId> {
    let by_name = program.ports.iter().position(|p| p.name == name);
    let index = by_name.or_else(|| name.parse().ok().filter(|n| *n < program.ports.len()))?;
    Some(PortId(index as u32))
}

fn pattern(digits: &str) -> Result<Pattern, String> {
    let (digits, exact) = match digits.strip_suffix('$') {
        Some(digits) => (digits, true),
        None => (digits, false),
    };
    let digit = |c: char| match c {
        '*' => Ok(None),
        c => c.to_digit(16).map(|d| Some(d as u8)).ok_or_else(|| format!("`{c}` is no hexadecimal digit")),
    };
    Ok(Pattern { digits: digits.chars().map(digit).collect::<Result<_, String>>()?, exact })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_wildcards_and_may_end() {
        let fits = |p: &str, bytes: &[u8]| pattern(p).unwrap().fits(bytes);
        assert!(fits("0a*b", &[0x0a, 0x1b, 0x22]));
        assert!(!fits("0a*b$", &[0x0a, 0x1b, 0x22]));
        assert!(fits("0a*b$", &[0x0a, 0x1b]));
        assert!(!fits("0a1b", &[0x0a]));
        assert!(pattern("0g").is_err());
    }
}
