//! The ledger allocates nothing.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tinysaver_core::energy::{
    Account, EnergySource, EnergyStage, FrameEnergy, FrameWork, HeldPower, Ledger, Metered, Modeller, Moment,
    PowerModel, PowerProfile, Watts,
};

#[test]
fn closing_the_books_allocates_nothing() {
    let profile = PowerProfile { idle_watts: 2.0, full_cpu_watts: Some(6.0), ..PowerProfile::default() };
    let mut modelled = Ledger::new(Modeller(PowerModel::new(&profile, 4).unwrap()), Moment::default());
    let mut measured = Ledger::new(Metered::new(None), Moment::default());
    let mut held = HeldPower::default();
    let mut microjoules = 0;
    let (of_model, of_meter): (EnergySource, EnergySource) =
        ("modelled:pi4".parse().unwrap(), "measured:ina3221 VDD_IN [module]".parse().unwrap());
    let made = allocation_counter::measure(|| {
        for millis in 1..1000 {
            let now = Moment { wall: Duration::from_millis(millis), cpu: Duration::from_millis(millis / 2) };
            held.sample(now.wall, Watts::new(4.0));
            measured.source().update(held);
            let mut work = FrameWork::default();
            work.took(EnergyStage::Saver, Duration::from_micros(300), false);
            work.took(EnergyStage::BaseLocal, Duration::from_micros(300), true);
            modelled.close_between(now, Account::Idle);
            let booking = modelled.close_frame(now, &work);
            microjoules += booking.map_or(0, |booking| FrameEnergy::new(of_model.clone(), &booking).total().0);
            measured.close_between(now, Account::Sinks);
            let booking = measured.close_frame(now, &work);
            microjoules += booking.map_or(0, |booking| FrameEnergy::new(of_meter.clone(), &booking).total().0);
        }
    });
    assert_eq!(made.count_total, 0);
    assert!(microjoules > 6_000_000, "{microjoules}");
}
