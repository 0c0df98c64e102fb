//! Values as people write and read them: addresses, durations, structs. What [`show`] gives, [`scalar`] reads.

use crate::ir::{Scalar, Shape, Show};
use crate::syntax::ast::ExprKind;
use crate::syntax::build;
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A value as text; `bits` are the scalars of its columns.
pub fn show(shape: &Shape, bits: &[u128]) -> String {
    let mut text = String::new();
    let mut at = 0;
    write_value(shape, bits, &mut at, &mut text, false);
    text
}

/// A value as it is written in a program.
pub fn source(shape: &Shape, bits: &[u128]) -> String {
    let mut text = String::new();
    let mut at = 0;
    write_value(shape, bits, &mut at, &mut text, true);
    text
}

/// The number of scalars of a value.
pub fn width(shape: &Shape) -> usize {
    match shape {
        Shape::Scalar(..) => 1,
        Shape::Unit => 0,
        Shape::Prefix(..) => 2,
        Shape::Option(inner) => 1 + width(inner),
        Shape::Struct(_, fields) => fields.iter().map(|(_, f)| width(f)).sum(),
        Shape::Enum(_, variants) => 1 + variants.iter().flat_map(|(_, f)| f).map(|(_, f)| width(f)).sum::<usize>(),
    }
}

fn write_value(shape: &Shape, bits: &[u128], at: &mut usize, text: &mut String, qualified: bool) {
    let mut next = || {
        *at += 1;
        bits.get(*at - 1).copied().unwrap_or(0)
    };
    match shape {
        Shape::Unit => text.push_str("()"),
        Shape::Scalar(_, how) => text.push_str(&show_scalar(how, next())),
        Shape::Prefix(_, how) => {
            let (address, length) = (next(), next());
            text.push_str(&format!("{}/{length}", show_scalar(how, address)));
        }
        Shape::Option(inner) => {
            if next() == 0 {
                *at += width(inner);
                text.push_str("none");
            } else {
                text.push_str("some(");
                write_value(inner, bits, at, text, qualified);
                text.push(')');
            }
        }
        Shape::Struct(name, fields) => {
            text.push_str(name);
            text.push_str(" { ");
            for (index, (field, shape)) in fields.iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                text.push_str(&format!("{comma}{field}: "));
                write_value(shape, bits, at, text, qualified);
            }
            text.push_str(" }");
        }
        Shape::Enum(of, variants) => {
            let tag = next();
            for (index, (name, fields)) in variants.iter().enumerate() {
                if index as u128 != tag {
                    *at += fields.iter().map(|(_, f)| width(f)).sum::<usize>();
                    continue;
                }
                if qualified {
                    text.push_str(of);
                    text.push_str("::");
                }
                text.push_str(name);
                for (n, (field, shape)) in fields.iter().enumerate() {
                    text.push_str(if n == 0 { "(" } else { ", " });
                    text.push_str(&format!("{field}: "));
                    write_value(shape, bits, at, text, qualified);
                }
                if !fields.is_empty() {
                    text.push(')');
                }
            }
        }
    }
}

/// A scalar as text.
pub fn show_scalar(how: &Show, bits: u128) -> String {
    match how {
        Show::Number => bits.to_string(),
        Show::Bool => (bits != 0).to_string(),
        Show::Hex => format!("{bits:#x}"),
        Show::Ipv4 => Ipv4Addr::from(bits as u32).to_string(),
        Show::Ipv6 => Ipv6Addr::from(bits).to_string(),
        Show::Mac => {
            let bytes = (bits as u64).to_be_bytes();
            let mut text = String::new();
            for (index, byte) in bytes[2..].iter().enumerate() {
                let colon = if index == 0 { "" } else { ":" };
                // Writing to a string cannot fail.
                let _written = write!(text, "{colon}{byte:02x}");
            }
            text
        }
        Show::Time | Show::Duration => duration(bits),
        Show::Variant(names) => names.get(bits as usize).cloned().unwrap_or_else(|| bits.to_string()),
    }
}

/// Nanoseconds with the largest unit that divides them.
pub fn duration(nanoseconds: u128) -> String {
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
    match units.into_iter().find(|(factor, _)| nanoseconds.is_multiple_of(*factor)) {
        Some((factor, unit)) => format!("{}{unit}", nanoseconds / factor),
        None => format!("{nanoseconds}ns"),
    }
}

/// Reads a scalar. The error says what is expected instead.
pub fn scalar(ty: Scalar, how: &Show, text: &str) -> Result<u128, String> {
    let bits = match how {
        Show::Ipv4 => {
            text.parse::<Ipv4Addr>().map(|a| u32::from(a).into()).map_err(|_| format!("`{text}` is no IPv4 address"))?
        }
        Show::Ipv6 => text.parse::<Ipv6Addr>().map(u128::from).map_err(|_| format!("`{text}` is no IPv6 address"))?,
        Show::Mac => mac(text).ok_or_else(|| format!("`{text}` is no MAC address (02:00:00:00:00:01)"))?,
        Show::Bool => match text {
            "true" => 1,
            "false" => 0,
            _ => return Err(format!("`{text}` is neither true nor false")),
        },
        Show::Variant(names) => match names.iter().position(|name| name == text) {
            Some(index) => index as u128,
            None => return Err(format!("`{text}` is none of {}", names.join(", "))),
        },
        Show::Time | Show::Duration => match build::literal(text)? {
            ExprKind::Duration(nanoseconds) => nanoseconds.into(),
            _ => return Err(format!("`{text}` is no duration (300s, 5ms)")),
        },
        Show::Number | Show::Hex => match build::literal(text)? {
            ExprKind::Int(value) => value,
            _ => return Err(format!("`{text}` is a duration, and a number is expected")),
        },
    };
    if !crate::interp::value::fits(bits, ty) {
        let width = if let Scalar::Bits(width) = ty { width } else { 1 };
        return Err(format!("{text} does not fit {width} bits"));
    }
    Ok(bits)
}

fn mac(text: &str) -> Option<u128> {
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() != 6 {
        return None;
    }
    parts.iter().try_fold(0, |bits, part| {
        let hex = part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
        let byte = u128::from_str_radix(part, 16).ok().filter(|_| hex)?;
        Some(bits << 8 | byte)
    })
}

/// Reads a prefix, `10.0.0.0/8`: address and length.
pub fn prefix(ty: Scalar, how: &Show, text: &str) -> Result<[u128; 2], String> {
    let (address, length) = text.split_once('/').ok_or_else(|| format!("`{text}` is no prefix (10.0.0.0/8)"))?;
    let width = if let Scalar::Bits(width) = ty { width } else { 1 };
    let length: u8 =
        length.parse().ok().filter(|l| *l <= width).ok_or_else(|| format!("a prefix length is 0 to {width}, not {length}"))?;
    let address = scalar(ty, how, address)?;
    if address & crate::interp::value::mask(width - length) != 0 {
        return Err(format!("`{text}` has bits set beyond its length"));
    }
    Ok([address, length.into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_read_as_they_are_shown() {
        for (ty, how, bits, text) in [
            (Scalar::Bits(32), Show::Ipv4, 0xcb00_7101, "203.0.113.1"),
            (Scalar::Bits(48), Show::Mac, 0x0200_0000_0001, "02:00:00:00:00:01"),
            (Scalar::Bits(128), Show::Ipv6, 0x2001_0db8 << 96 | 1, "2001:db8::1"),
            (Scalar::Bits(64), Show::Duration, 300_000_000_000, "300s"),
            (Scalar::Bits(64), Show::Duration, 1_500_000, "1500us"),
            (Scalar::Bits(16), Show::Number, 65_535, "65535"),
            (Scalar::Bits(8), Show::Hex, 31, "0x1f"),
            (Scalar::Bool, Show::Bool, 1, "true"),
        ] {
            assert_eq!(show_scalar(&how, bits), text);
            assert_eq!(scalar(ty, &how, text), Ok(bits));
        }
        assert!(scalar(Scalar::Bits(8), &Show::Number, "256").is_err());
        assert!(scalar(Scalar::Bits(48), &Show::Mac, "+2:00:00:00:00:01").is_err());
        assert!(prefix(Scalar::Bits(32), &Show::Ipv4, "10.0.0.1/8").is_err());
        assert_eq!(prefix(Scalar::Bits(32), &Show::Ipv4, "0.0.0.0/0"), Ok([0, 0]));
    }
}
