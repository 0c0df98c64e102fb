//! Work that waits for threads. The most urgent is taken first; work may bring up more of it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How urgent something is: a class, and milliseconds that it took the last time.
pub(super) type Rank = (u8, u64);

pub(super) struct Queue<J> {
    inner: Mutex<Inner<J>>,
    changed: Condvar,
}

struct Inner<J> {
    waiting: BinaryHeap<Entry<J>>,
    /// Put in and not finished.
    open: usize,
    number: u64,
    ended: bool,
}

struct Entry<J> {
    /// Of two that are as urgent, the older.
    rank: (Rank, Reverse<u64>),
    job: J,
}

impl<J> PartialEq for Entry<J> {
    fn eq(&self, other: &Entry<J>) -> bool {
        self.rank == other.rank
    }
}

impl<J> Eq for Entry<J> {}

impl<J> PartialOrd for Entry<J> {
    fn partial_cmp(&self, other: &Entry<J>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<J> Ord for Entry<J> {
    fn cmp(&self, other: &Entry<J>) -> std::cmp::Ordering {
        self.rank.cmp(&other.rank)
    }
}

impl<J> Queue<J> {
    pub(super) fn new() -> Queue<J> {
        let inner = Inner { waiting: BinaryHeap::new(), open: 0, number: 0, ended: false };
        Queue { inner: Mutex::new(inner), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<J>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, rank: Rank, job: J) {
        let mut inner = self.lock();
        inner.open += 1;
        inner.number += 1;
        let rank = (rank, Reverse(inner.number));
        inner.waiting.push(Entry { rank, job });
        self.changed.notify_one();
    }

    /// The next job, as soon as there is one; none if there will be none.
    pub(super) fn take(&self) -> Option<Taken<'_, J>> {
        let mut inner = self.lock();
        loop {
            if inner.ended || inner.open == 0 {
                return None;
            }
            if let Some(entry) = inner.waiting.pop() {
                return Some(Taken { queue: self, job: Some(entry.job) });
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nothing is handed out any more.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }
}

/// A job under way; it is finished when this is dropped.
pub(super) struct Taken<'q, J> {
    queue: &'q Queue<J>,
    job: Option<J>,
}

impl<J> Taken<'_, J> {
    pub(super) fn job(&mut self) -> Option<J> {
        self.job.take()
    }
}

impl<J> Drop for Taken<'_, J> {
    fn drop(&mut self) {
        let mut inner = self.queue.lock();
        inner.open -= 1;
        // Whoever waits for a worker that panicked would wait for ever.
        inner.ended |= std::thread::panicking();
        if inner.open == 0 || inner.ended {
            self.queue.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_urgent_comes_first_and_then_the_oldest() {
        let queue = Queue::new();
        for (rank, job) in [((0, 0), 'd'), ((1, 0), 'b'), ((1, 5), 'a'), ((1, 0), 'c')] {
            queue.push(rank, job);
        }
        let mut order = String::new();
        while let Some(mut taken) = queue.take() {
            order.extend(taken.job());
        }
        assert_eq!(order, "abcd");
    }

    #[test]
    fn a_panic_ends_it_for_all() {
        let queue = Queue::new();
        queue.push((0, 0), ());
        queue.push((0, 0), ());
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let _taken = queue.take();
                panic!("as it is wanted");
            });
            assert!(worker.join().is_err());
        });
        assert!(queue.take().is_none());
    }
}
