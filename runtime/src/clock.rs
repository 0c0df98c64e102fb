//! The kernel's clocks, as deadlines are told by them.
//!
//! Of the coarse one, `jiffies`, nothing tells how many of its ticks make a second, but `times(2)` does in effect: it gives that clock in hundredths
//! of a second, and a machine starts 300 s before the clock's lower 32 bits are full, so that what it gave then depends on that number alone.

use crate::sys;

/// What the coarse clock's lower 32 bits begin below.
const WRAP: u64 = 1 << 32;
/// Seconds from the start of the machine until they are full.
const BEFORE: u64 = 300;
/// What `times(2)` counts in.
const HUNDREDTH: u64 = 10_000_000;

/// The fine clock, in nanoseconds.
pub(crate) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}

/// The coarse clock, of whose ticks one has so many nanoseconds: at most a few ticks less than the kernel's, so that nothing is told dead that lives.
pub(crate) fn jiffies(tick: u64) -> u64 {
    sys::times().saturating_mul(HUNDREDTH).checked_div(tick).unwrap_or(0)
}

/// How many ticks of the coarse clock a second has: one of the numbers that kernels are built with.
pub(crate) fn hz() -> Option<u32> {
    hz_of(sys::times(), now() / HUNDREDTH)
}

/// The same, of what `times(2)` gives and of hundredths of seconds since the start.
fn hz_of(times: u64, since: u64) -> Option<u32> {
    let first = times.checked_add(BEFORE * 100)?.checked_sub(since)?;
    let hz = (WRAP * 100).checked_div(first)?;
    // Clocks may be a few seconds apart, or days in a container that has its own; these numbers are far from each other.
    [100_u32, 250, 300, 1_000].into_iter().find(|known| hz.abs_diff(u64::from(*known)) * 10 < u64::from(*known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_how_many_ticks_a_second_has() {
        let hz = hz().map(u64::from);
        let known = hz.is_some_and(|hz| {
            // By that many it goes on.
            let (before, start) = (jiffies(1_000_000_000 / hz), now());
            std::thread::sleep(std::time::Duration::from_millis(300));
            let (ticks, passed) = (jiffies(1_000_000_000 / hz) - before, now() - start);
            ticks.abs_diff(passed * hz / 1_000_000_000) <= hz / 20
        });
        assert!(known, "{hz:?}");
    }

    #[test]
    fn numbers_that_kernels_are_built_with_are_told_apart() {
        for hz in [100_u64, 250, 300, 1_000] {
            for seconds in [10, 299, 301, 40_000_000] {
                let times = (WRAP - BEFORE * hz + seconds * hz) * 100 / hz;
                assert_eq!(hz_of(times, seconds * 100 + 40).map(u64::from), Some(hz), "{hz}, after {seconds} s");
            }
        }
        assert_eq!((hz_of(0, 0), hz_of(u64::MAX, 1), hz_of(5, 1 << 60)), (None, None, None));
    }
}
