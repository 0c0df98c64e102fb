//! Kernels, and since when they have what programs use.

use super::lir::Helper;
use super::maps::{Kind, Maps};

/// A version of the kernel that builds can be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Kernel {
    V5_15,
    V6_1,
    V6_6,
    V6_12,
    V6_18,
}

impl Kernel {
    /// All of them, the oldest first.
    pub const ALL: [Kernel; 5] = [Kernel::V5_15, Kernel::V6_1, Kernel::V6_6, Kernel::V6_12, Kernel::V6_18];

    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Kernel::V5_15 => "5.15",
            Kernel::V6_1 => "6.1",
            Kernel::V6_6 => "6.6",
            Kernel::V6_12 => "6.12",
            Kernel::V6_18 => "6.18",
        }
    }

    fn number(self) -> (u32, u32) {
        match self {
            Kernel::V5_15 => (5, 15),
            Kernel::V6_1 => (6, 1),
            Kernel::V6_6 => (6, 6),
            Kernel::V6_12 => (6, 12),
            Kernel::V6_18 => (6, 18),
        }
    }
}

impl std::fmt::Display for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "kernel {}", self.name())
    }
}

impl std::str::FromStr for Kernel {
    type Err = String;

    fn from_str(text: &str) -> Result<Kernel, String> {
        let names = || Kernel::ALL.map(Kernel::name).join(", ");
        Kernel::ALL.into_iter().find(|kernel| kernel.name() == text).ok_or_else(|| format!("one of {} is needed", names()))
    }
}

/// Since when an XDP program may call a helper.
fn helper(helper: Helper) -> (u32, u32) {
    match helper {
        Helper::MapLookup | Helper::MapUpdate | Helper::MapDelete => (4, 8),
        Helper::KtimeGetNs => (4, 8),
        Helper::XdpAdjustHead => (4, 10),
        Helper::RedirectMap => (4, 14),
        Helper::Random => (4, 8),
        Helper::Jiffies64 => (5, 6),
        Helper::ForEach => (5, 13),
        Helper::RingbufOutput => (5, 8),
        Helper::TailCall => (4, 2),
        Helper::Redirect => (4, 2),
        Helper::SkbPullData => (4, 9),
        Helper::TimerInit | Helper::TimerSetCallback | Helper::TimerStart => (5, 15),
    }
}

/// Since when there are maps of a kind.
fn map(kind: Kind) -> (u32, u32) {
    match kind {
        Kind::Hash | Kind::Array => (3, 19),
        Kind::ProgArray => (4, 2),
        Kind::PerCpuArray => (4, 6),
        Kind::LpmTrie => (4, 11),
        Kind::DevMap => (4, 14),
        Kind::RingBuf => (5, 8),
    }
}

/// What a program uses that a kernel does not have, in words.
pub(crate) fn newer<'h>(helpers: impl Iterator<Item = &'h Helper>, maps: &Maps, kernel: Kernel) -> Vec<String> {
    let has = kernel.number();
    let mut found = Vec::new();
    for used in helpers.filter(|used| helper(**used) > has) {
        let (major, minor) = helper(*used);
        found.push(format!("the helper `{}` is there since {major}.{minor}", used.name()));
    }
    for used in maps.maps.iter().filter(|used| map(used.kind) > has) {
        let (major, minor) = map(used.kind);
        found.push(format!("maps of kind `{}` are there since {major}.{minor}", used.kind.name()));
    }
    // Compare-and-swap is there since 5.12, sending to all entries of a devmap since 5.14, functions that are verified by themselves since 5.6, global variables
    // since 5.2.
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for kernel in Kernel::ALL {
            assert_eq!(kernel.name().parse(), Ok(kernel));
        }
        assert!("4.19".parse::<Kernel>().is_err());
    }
}
