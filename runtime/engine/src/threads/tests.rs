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
            let sums: Vec<Mutex<usize>> = (0..count).map(|_| Mutex::default()).collect();
            threads.share(count, slices.into_iter().enumerate(), |place, parts| {
                let mut sum = sums[place].try_lock().unwrap();
                for (index, slice) in parts {
                    slice.iter_mut().for_each(|number| *number += 1 + index as u64);
                    *sum += slice.len();
                }
            });
            let expected = parts.iter().zip(1..).flat_map(|(&length, number)| vec![number; length]);
            prop_assert_eq!(&numbers, &expected.collect::<Vec<u64>>());
            prop_assert_eq!(sums.iter().map(|sum| *lock(sum)).sum::<usize>(), numbers.len());
        }
    }
}

#[test]
fn helpers_work_at_the_same_time() {
    let threads = pool_of(3, 3);
    let seen = Mutex::new(HashSet::new());
    // Nobody passes before all three are there.
    let barrier = Barrier::new(3);
    threads.share(3, 0..3, |place, parts| {
        barrier.wait();
        lock(&seen).insert((thread::current().id(), place));
        parts.for_each(drop);
    });
    assert_eq!(lock(&seen).len(), 3);
}

#[test]
fn the_helper_takes_what_lies_far_from_the_caller() {
    let threads = pool_of(2, 2);
    let barrier = Barrier::new(2);
    let first = Mutex::new([None; 2]);
    threads.share(2, 0..10, |place, parts| {
        barrier.wait();
        lock(&first)[place] = parts.next();
        barrier.wait();
        parts.for_each(drop);
    });
    assert_eq!(first.into_inner().unwrap(), [Some(0), Some(9)]);
}

#[test]
fn sharing_allocates_nothing() {
    let threads = pool_of(2, 2);
    let mut numbers = [1u64; 64];
    // The counter counts this thread; neither passes before both are there.
    let barrier = Barrier::new(2);
    let made = allocation_counter::measure(|| {
        threads.share(2, numbers.chunks_mut(32), |_, parts| {
            barrier.wait();
            parts.for_each(|part| part.fill(2));
        });
    });
    assert_eq!((made.count_total, numbers), (0, [2; 64]));
}

#[test]
fn a_helper_that_another_inference_has_is_not_waited_for() {
    let threads = pool_of(2, 2);
    let (is_over, changed) = (Mutex::new(false), Condvar::new());
    let done = AtomicU64::new(0);
    let caller = thread::current().id();
    let barrier = Barrier::new(3);
    thread::scope(|scope| {
        // Both threads of the first round stay until the second one is over.
        scope.spawn(|| {
            threads.share(2, 0..2, |_, _| {
                barrier.wait();
                let waiting = changed.wait_while(lock(&is_over), |is_over| !*is_over);
                drop(waiting);
            });
        });
        barrier.wait();
        threads.share(2, 0..10, |place, parts| {
            assert_eq!((place, thread::current().id()), (0, caller));
            parts.for_each(|_| _ = done.fetch_add(1, Ordering::Relaxed));
        });
        *lock(&is_over) = true;
        changed.notify_all();
    });
    assert_eq!(done.into_inner(), 10);
}

#[test]
fn a_panic_comes_back_to_the_caller_and_the_helpers_stay() {
    let threads = pool_of(2, 2);
    for stumbling in [0, 1] {
        let barrier = Barrier::new(2);
        let stopped = catch_unwind(AssertUnwindSafe(|| {
            threads.share(2, 0..2, |place, _| {
                barrier.wait();
                assert_ne!(place, stumbling, "as work might");
            });
        }));
        assert!(stopped.is_err());
    }
    let barrier = Barrier::new(2);
    threads.share(2, 0..2, |_, _| {
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
