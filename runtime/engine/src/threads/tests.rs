use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::{Barrier, Condvar};
use std::thread;

use proptest::prelude::*;

use super::*;

fn pool_of(most: usize, together: usize) -> Threads {
    Threads::new(NonZeroUsize::new(most).unwrap(), NonZeroUsize::new(together).unwrap()).unwrap()
}

proptest! {
    #[test]
    fn each_part_is_done_once(count in 1usize..5, parts in proptest::collection::vec(1usize..9, 0..40), rounds in 1usize..5) {
        let threads = pool_of(count, count);
        for _ in 0..rounds {
            let mut numbers = vec![0u64; parts.iter().sum()];
            let mut left = numbers.as_mut_slice();
            let slices: Vec<&mut [u64]> =
                parts.iter().map(|&length| left.split_off_mut(..length).unwrap()).collect();
            let mut sums = vec![0; count];
            threads.share(&mut sums, slices.into_iter().enumerate(), |sum, (index, slice)| {
                slice.iter_mut().for_each(|number| *number += 1 + index as u64);
                *sum += slice.len();
            });
            let expected = parts.iter().zip(1..).flat_map(|(&length, number)| vec![number; length]);
            prop_assert_eq!(&numbers, &expected.collect::<Vec<u64>>());
            prop_assert_eq!(sums.iter().sum::<usize>(), numbers.len());
        }
    }
}

#[test]
fn helpers_work_at_the_same_time() {
    let threads = pool_of(3, 3);
    let seen = Mutex::new(HashSet::new());
    // Nobody passes before all three are there.
    let barrier = Barrier::new(3);
    threads.share(&mut [(); 3], 0..3, |(), _| {
        barrier.wait();
        lock(&seen).insert(thread::current().id());
    });
    assert_eq!(lock(&seen).len(), 3);
}

#[test]
fn sharing_allocates_nothing() {
    let threads = pool_of(2, 2);
    let mut numbers = [1u64; 64];
    // The counter counts this thread: each part waits for one that the helper has begun.
    let made = allocation_counter::measure(|| {
        let barrier = Barrier::new(2);
        threads.share(&mut [0u64; 2], numbers.chunks_mut(32), |sum, part| {
            barrier.wait();
            *sum += part.iter().sum::<u64>();
        });
    });
    assert_eq!(made.count_total, 0);
}

#[test]
fn a_helper_that_another_inference_has_is_not_waited_for() {
    let threads = pool_of(2, 2);
    let (is_busy, changed) = (Mutex::new(false), Condvar::new());
    let done = AtomicU64::new(0);
    let caller = thread::current().id();
    let barrier = Barrier::new(3);
    thread::scope(|scope| {
        // Both threads of the first round stay until the second one is over.
        scope.spawn(|| {
            threads.together(2, &|| {
                barrier.wait();
                let waiting = changed.wait_while(lock(&is_busy), |is_over| !*is_over);
                drop(waiting);
            })
        });
        barrier.wait();
        threads.share(&mut [(); 2], 0..10, |(), _| {
            assert_eq!(thread::current().id(), caller);
            done.fetch_add(1, Ordering::Relaxed);
        });
        *lock(&is_busy) = true;
        changed.notify_all();
    });
    assert_eq!(done.into_inner(), 10);
}

#[test]
fn a_panic_comes_back_to_the_caller_and_the_helpers_stay() {
    let threads = pool_of(2, 2);
    let caller = thread::current().id();
    for on_the_caller in [true, false] {
        let barrier = Barrier::new(2);
        let stopped = catch_unwind(AssertUnwindSafe(|| {
            threads.together(2, &|| {
                barrier.wait();
                assert_ne!(thread::current().id() == caller, on_the_caller, "as work might");
            });
        }));
        assert!(stopped.is_err());
    }
    let barrier = Barrier::new(2);
    threads.together(2, &|| {
        barrier.wait();
    });
}

#[test]
fn inferences_share_the_cores() {
    let threads = pool_of(3, 4);
    assert_eq!((threads.most(), threads.free()), (3, 3));
    let first = threads.begin();
    assert_eq!(threads.free(), 3);
    let others = [threads.begin(), threads.begin()];
    assert_eq!(threads.free(), 1);
    drop(others);
    assert_eq!(threads.free(), 3);
    drop(first);
    assert_eq!((Threads::one().free(), Threads::one().most()), (1, 1));
    assert_eq!(pool_of(9, 2).most(), 2);
}

#[test]
fn operators_find_the_threads_of_their_inference() {
    let two = pool_of(2, 2);
    let inside = two.during(|| (Threads::current().most(), Threads::one().during(|| Threads::current().most())));
    assert_eq!(inside, (2, 1));
    assert_eq!(Threads::current().most(), 1);
    let stopped = catch_unwind(AssertUnwindSafe(|| two.during(|| panic!("as an operator might"))));
    assert!(stopped.is_err() && Threads::current().most() == 1);
}
