//! Keys and values as bytes, where the back end says that their columns are.

use grv_codegen::ebpf::{ColumnInfo, TableInfo};
use std::collections::BTreeMap;

/// Puts a number where a column is.
pub(crate) fn put(bytes: &mut [u8], column: &ColumnInfo, value: u128) {
    let at = column.offset as usize;
    let size = column.bytes as usize;
    if column.network {
        bytes[at..at + size].copy_from_slice(&(value as u64).to_be_bytes()[8 - size..]);
        return;
    }
    let mut word = [0; 8];
    word[..size].copy_from_slice(&bytes[at..at + size]);
    let word = u64::from_le_bytes(word) | ((value as u64) << column.shift);
    bytes[at..at + size].copy_from_slice(&word.to_le_bytes()[..size]);
}

/// The number where a column is.
pub(crate) fn get(bytes: &[u8], column: &ColumnInfo) -> u128 {
    let at = column.offset as usize;
    let mut word = [0; 8];
    word[..column.bytes as usize].copy_from_slice(&bytes[at..at + column.bytes as usize]);
    let word = u64::from_le_bytes(word) >> column.shift;
    let mask = if column.bits >= 64 { u64::MAX } else { (1 << column.bits) - 1 };
    (word & mask).into()
}

/// The key of an entry; of control tables that of a generation.
pub(crate) fn key(info: &TableInfo, key: &[u128], generation: u32, capacity: u64) -> Vec<u8> {
    let mut bytes = vec![0; info.key_bytes.into()];
    match info.keeping {
        "prefixes" => {
            bytes[..4].copy_from_slice(&(key[1] as u32 + 32).to_le_bytes());
            bytes[4..8].copy_from_slice(&generation.to_be_bytes());
            put(&mut bytes, &info.key[0], key[0]);
        }
        "control array" => {
            let index = key[0] as u64 + u64::from(generation) * capacity;
            bytes[..4].copy_from_slice(&(index as u32).to_le_bytes());
        }
        _ => {
            info.key.iter().zip(key).for_each(|(column, value)| put(&mut bytes, column, *value));
            if info.keeping == "control" {
                let last = bytes.len() - 4;
                // The generation is the last number; what is behind it is padding.
                let at = (info.key.iter().map(|c| c.offset + u16::from(c.bytes)).max().unwrap_or(0) as usize).next_multiple_of(4);
                bytes[at.min(last)..at.min(last) + 4].copy_from_slice(&generation.to_le_bytes());
            }
        }
    }
    bytes
}

/// The value of an entry that the control plane or the runtime sets.
pub(crate) fn value(info: &TableInfo, key: &[u128], value: &[u128]) -> Vec<u8> {
    let mut bytes = vec![0; info.value_bytes.into()];
    match info.keeping {
        "prefixes" => bytes[..4].copy_from_slice(&(key[1] as u32).to_le_bytes()),
        "feed" => info.key.iter().zip(key).for_each(|(column, value)| put(&mut bytes, column, *value)),
        _ => {}
    }
    info.value.iter().zip(value).for_each(|(column, value)| put(&mut bytes, column, *value));
    bytes
}

/// The blocks of a generation of an array, from the elements that are not as at the start.
pub(crate) fn blocks(info: &TableInfo, generation: u32, elements: &[(Vec<u128>, Vec<u128>)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let of = info.blocks.as_ref().unwrap();
    let mut blocks: BTreeMap<u32, Vec<Vec<u128>>> = BTreeMap::new();
    let initial: Vec<u128> = info.initial.iter().map(|number| u128::from(*number)).collect();
    for (index, value) in elements {
        let index = index[0] as u64;
        let block = blocks.entry((index / u64::from(of.elements)) as u32);
        let block = block.or_insert_with(|| vec![initial.clone(); of.elements as usize]);
        block[(index % u64::from(of.elements)) as usize].clone_from(value);
    }
    let entry = |(number, elements): (u32, Vec<Vec<u128>>)| {
        let key = [number.to_le_bytes(), generation.to_le_bytes()].concat();
        let mut bytes = vec![0; info.value_bytes.into()];
        for (value, into) in elements.iter().zip(bytes.chunks_exact_mut(of.bytes.into())) {
            info.value.iter().zip(value).for_each(|(column, value)| put(into, column, *value));
        }
        (key, bytes)
    };
    blocks.into_iter().map(entry).collect()
}
