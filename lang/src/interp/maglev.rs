//! Maglev look-up tables, as documented at [`crate::ir::Maglev`].

use super::hash;
use crate::ir::{Hash, Scalar};

/// The backend (by its place in the list) of each slot; none if there are no backends. `slots` is prime.
pub fn table(backends: &[&[u128]], columns: &[Scalar], slots: u32) -> Option<Vec<u32>> {
    if backends.is_empty() {
        return None;
    }
    let size = u64::from(slots);
    let function = |name: &str| Hash { name: name.to_string(), args: columns.to_vec(), width: 64 };
    let (offset, skip) = (function("maglev_offset"), function("maglev_skip"));
    // Each backend's next preference, and the step to the one after.
    let mut next: Vec<(u64, u64)> =
        backends.iter().map(|b| (hash::hash(&offset, b) as u64 % size, hash::hash(&skip, b) as u64 % (size - 1) + 1)).collect();
    let mut table = vec![u32::MAX; slots as usize];
    let mut left = slots;
    loop {
        for (index, (at, step)) in next.iter_mut().enumerate() {
            while table[*at as usize] != u32::MAX {
                *at = (*at + *step) % size;
            }
            table[*at as usize] = index as u32;
            left -= 1;
            if left == 0 {
                return Some(table);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(count: u128, slots: u32) -> Vec<u32> {
        let backends: Vec<Vec<u128>> = (0..count).map(|n| vec![0x0a00_0001 + n]).collect();
        let backends: Vec<&[u128]> = backends.iter().map(Vec::as_slice).collect();
        table(&backends, &[Scalar::Bits(32)], slots).unwrap()
    }

    #[test]
    fn shares_differ_by_one_slot_at_most() {
        for count in [1, 3, 100, 650] {
            let table = make(count, 65_537);
            let shares: Vec<usize> = (0..count as u32).map(|b| table.iter().filter(|s| **s == b).count()).collect();
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }

    #[test]
    fn few_slots_change_hands_when_a_backend_leaves() {
        let (all, fewer) = (make(100, 65_537), make(99, 65_537));
        let moved = all.iter().zip(&fewer).filter(|(a, b)| **a != 99 && a != b).count();
        assert!(moved < 65_537 / 20, "{moved} slots moved");
    }

    #[test]
    fn no_backends_no_table() {
        assert_eq!(table(&[], &[Scalar::Bits(32)], 7), None);
    }
}
