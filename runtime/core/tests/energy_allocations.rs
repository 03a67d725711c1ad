//! The ledger allocates nothing.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tinysaver_core::energy::{HeldPower, Ledger, Metered, Modeller, Moment, PowerModel, PowerProfile, Watts};

#[test]
fn closing_the_books_allocates_nothing() {
    let profile =
        PowerProfile { idle_watts: 2.0, full_cpu_watts: Some(6.0), full_cpu_f32_watts: None, source: String::new() };
    let mut modelled = Ledger::new(Modeller(PowerModel::new(&profile, 4).unwrap()), Moment::default());
    let mut measured = Ledger::new(Metered::new(None), Moment::default());
    let mut held = HeldPower::default();
    let mut joules = 0.0;
    let made = allocation_counter::measure(|| {
        for millis in 1..1000 {
            let now = Moment { wall: Duration::from_millis(millis), cpu: Duration::from_millis(millis / 2) };
            held.sample(now.wall, Watts::new(4.0));
            measured.source().update(held);
            modelled.close_between(now, false);
            joules += modelled.close_frame(now, 0.0).map_or(0.0, |booking| booking.idle.joules.value());
            joules += measured.close_frame(now, 0.0).map_or(0.0, |booking| booking.frame.joules.value());
        }
    });
    assert_eq!(made.count_total, 0);
    assert!(joules > 6.0, "{joules}");
}
