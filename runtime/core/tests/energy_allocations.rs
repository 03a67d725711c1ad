//! The ledger allocates nothing. A program of its own, because it counts what the whole process allocates.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tinysaver_core::energy::{HeldPower, Ledger, Metered, Modeller, Moment, PowerModel, PowerProfile, Watts};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: hands everything to the system's allocator, and counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's own promise.
        unsafe { System.alloc(memory) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, memory: Layout) {
        // SAFETY: the caller's own promise.
        unsafe { System.dealloc(pointer, memory) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn closing_the_books_allocates_nothing() {
    let profile =
        PowerProfile { idle_watts: 2.0, full_cpu_watts: Some(6.0), full_cpu_f32_watts: None, source: String::new() };
    let mut modelled = Ledger::new(Modeller(PowerModel::new(&profile, 4).unwrap()), Moment::default());
    let mut measured = Ledger::new(Metered::new(None), Moment::default());
    let mut held = HeldPower::default();
    let mut joules = 0.0;
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for millis in 1..1000 {
        let now = Moment { wall: Duration::from_millis(millis), cpu: Duration::from_millis(millis / 2) };
        held.sample(now.wall, Watts::new(4.0));
        measured.source().update(held);
        modelled.close_between(now, false);
        joules += modelled.close_frame(now, 0.0).map_or(0.0, |booking| booking.idle.joules.value());
        joules += measured.close_frame(now, 0.0).map_or(0.0, |booking| booking.frame.joules.value());
    }
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), before);
    assert!(joules > 6.0, "{joules}");
}
