//! What a device does with XDP, as the kernel tells by its family `netdev` of generic netlink (since 6.3).

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

/// Messages of the family `nlctrl`: who has which number.
const CONTROL: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// Messages of the family `netdev`.
const GET_DEVICE: u8 = 1;
const IFINDEX: u16 = 1;
const XDP_FEATURES: u16 = 3;

/// Of the features: packets can be redirected to it.
const REDIRECT_TARGET: u64 = 1 << 2;

/// The kernel's kind of error messages, and requests.
const ERROR: u16 = 2;
const REQUEST: u16 = 1;

/// Whether packets can be redirected to a device; none, if the kernel does not tell.
pub(crate) fn takes_redirects(ifindex: u32) -> Option<bool> {
    let ask = || -> io::Result<Option<u64>> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let family = asked(&socket, CONTROL, GET_FAMILY, &attribute(FAMILY_NAME, b"netdev\0"))?;
        let Some(family) = number(&family, FAMILY_ID) else { return Ok(None) };
        let device = asked(&socket, family as u16, GET_DEVICE, &attribute(IFINDEX, &ifindex.to_le_bytes()))?;
        Ok(number(&device, XDP_FEATURES))
    };
    ask().ok().flatten().map(|features| features & REDIRECT_TARGET != 0)
}

/// An attribute: its length, its kind, its bytes, and what fills up to four.
fn attribute(kind: u16, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend((bytes.len() as u16 + 4).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// Sends a request; the attributes of the answer.
fn asked(socket: &Socket, family: u16, command: u8, attributes: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    out.extend((20 + attributes.len() as u32).to_ne_bytes());
    out.extend(family.to_ne_bytes());
    out.extend(REQUEST.to_ne_bytes());
    out.extend(1_u32.to_ne_bytes());
    out.extend(0_u32.to_ne_bytes());
    out.extend([command, 1, 0, 0]);
    out.extend(attributes);
    socket.send(&out, 0)?;
    let (bytes, _) = socket.recv_from_full()?;
    let kind = bytes.get(4..6).map(|kind| u16::from_ne_bytes([kind[0], kind[1]]));
    match kind {
        Some(ERROR) | None => Err(io::Error::other("the kernel does not answer")),
        Some(_) => Ok(bytes.get(20..).unwrap_or_default().to_vec()),
    }
}

/// The number that an attribute holds, of 2, 4 or 8 bytes.
fn number(mut attributes: &[u8], wanted: u16) -> Option<u64> {
    while let Some((header, _)) = attributes.split_at_checked(4) {
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]);
        let bytes = attributes.get(4..length)?;
        if kind == wanted {
            return match bytes {
                [a, b] => Some(u16::from_ne_bytes([*a, *b]).into()),
                _ if bytes.len() == 4 => bytes.try_into().ok().map(|bytes| u32::from_ne_bytes(bytes).into()),
                _ => bytes.try_into().ok().map(u64::from_ne_bytes),
            };
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_among_attributes() {
        let mut bytes = attribute(7, b"abc");
        bytes.extend(attribute(1, &5_u16.to_ne_bytes()));
        bytes.extend(attribute(3, &6_u64.to_ne_bytes()));
        assert_eq!((number(&bytes, 1), number(&bytes, 3), number(&bytes, 9)), (Some(5), Some(6), None));
        // Lengths that are wrong end it.
        for cut in 0..bytes.len() {
            let _answered = number(&bytes[..cut], 3);
        }
        assert_eq!(number(&[0, 0, 0, 0, 1, 1, 1, 1], 3), None);
    }
}
