use proptest::prelude::*;

use super::*;
use crate::energy::{
    EnergySource, EnergyStage, FrameEnergy, HeldPower, Measured, Metered, Modeller, PowerModel, PowerProfile, Watts,
};

const PERIOD: Duration = Duration::from_millis(100);

fn model() -> PowerModel {
    let profile = PowerProfile {
        idle_watts: 2.8,
        full_cpu_watts: Some(6.4),
        full_cpu_f32_watts: Some(5.8),
        radio_microjoules_per_byte: Some(2.0),
        source: "test".into(),
        ..PowerProfile::default()
    };
    PowerModel::new(&profile, 4).unwrap()
}

/// An interval of a made-up run: what it is for (`None`: a frame), its microseconds on the clock and on processors, and
/// of a frame, the shares of its stages and the bytes that it sent.
#[derive(Debug, Clone, Copy)]
struct Interval {
    account: Option<Account>,
    wall_us: u64,
    cpu_us: u64,
    saver_percent: u64,
    base_percent: u64,
    sent_bytes: u64,
}

impl Interval {
    fn work(&self) -> FrameWork {
        let mut work = FrameWork::default();
        work.sent(self.sent_bytes);
        let part = |percent: u64| Duration::from_micros(self.wall_us * percent / 100);
        work.took(EnergyStage::Saver, part(self.saver_percent), false);
        work.took(EnergyStage::BaseLocal, part(self.base_percent), true);
        work.took(EnergyStage::Transmit, Duration::ZERO, false);
        work
    }
}

fn intervals(longest_us: u64) -> impl Strategy<Value = Vec<Interval>> {
    let account =
        prop_oneof![Just(None), Just(Some(Account::Waiting)), Just(Some(Account::Idle)), Just(Some(Account::Sinks))];
    // Up to four cores busy.
    let parts = (account, 1..longest_us, 0u64..400, 0u64..60, 0u64..40, 0u64..100_000);
    let interval = parts.prop_map(|(account, wall_us, load, saver_percent, base_percent, sent_bytes)| Interval {
        account,
        wall_us,
        cpu_us: wall_us * load / 100,
        saver_percent,
        base_percent,
        sent_bytes: if account.is_none() { sent_bytes } else { 0 },
    });
    prop::collection::vec(interval, 1..300)
}

/// Closes one interval after the other; `before` brings the source up to date. Sums what records and the rest say, in
/// microjoules and microseconds.
fn run<P: PowerSource>(
    mut ledger: Ledger<P>,
    intervals: &[Interval],
    mut before: impl FnMut(&mut P, Duration),
) -> (i64, u64, Ledger<P>)
where
    P::Origin: Copy,
{
    let mut now = Moment::default();
    let source = EnergySource::Modelled { profile: "test".into() };
    let mut sums = (0, 0);
    let mut add = |energy: &FrameEnergy| {
        let (uj, us) = energy.total();
        sums = (sums.0 + uj, sums.1 + us);
        // The stages of a frame add up to the frame, but for what rounding to whole microjoules takes.
        let of_frame = energy.energy_stages.iter().filter(|(stage, _)| stage.is_of_frame());
        let by_stage: i64 = of_frame.map(|(_, energy)| energy.uj).sum();
        assert!((by_stage - energy.energy_uj).abs() <= 5, "{by_stage} of {}", energy.energy_uj);
    };
    for interval in intervals {
        now.wall += Duration::from_micros(interval.wall_us);
        now.cpu += Duration::from_micros(interval.cpu_us);
        before(ledger.source(), now.wall);
        match interval.account {
            None => {
                if let Some(booking) = ledger.close_frame(now, &interval.work()) {
                    add(&FrameEnergy::new(source.clone(), &booking));
                }
            }
            Some(account) => ledger.close_between(now, account),
        }
    }
    add(&FrameEnergy::rest(source, ledger.take_between()));
    (sums.0, sums.1, ledger)
}

fn total_us(intervals: &[Interval], what: impl Fn(&Interval) -> u64) -> u64 {
    intervals.iter().map(what).sum()
}

/// A changing power: straight lines between a value at every whole second.
fn power_at(values: &[f64], at: f64) -> f64 {
    let index = (at as usize).min(values.len() - 2);
    values[index] + (values[index + 1] - values[index]) * (at - index as f64).min(1.0)
}

/// By the trapezoidal rule in steps of a millisecond.
fn integral(values: &[f64], seconds: f64) -> f64 {
    let steps = (seconds * 1000.0).round() as usize;
    let middle =
        |step: usize| (power_at(values, step as f64 / 1000.0) + power_at(values, (step + 1) as f64 / 1000.0)) / 2.0;
    (0..steps).map(|step| middle(step) / 1000.0).sum()
}

proptest! {
    #[test]
    fn modelled_energy_is_conserved(intervals in intervals(200_000)) {
        let (uj, us, ledger) = run(Ledger::new(Modeller(model()), Moment::default()), &intervals, |_, _| {});
        let (wall, cpu) = (total_us(&intervals, |i| i.wall_us), total_us(&intervals, |i| i.cpu_us));
        // 2.8 W on the clock, (6.4 - 2.8) / 4 W on each core that computes with integers, 0.75 W with f32, 2 uJ a byte.
        let of_f32 = |i: &Interval| (i.wall_us * i.base_percent / 100) as f64 / i.wall_us as f64 * i.cpu_us as f64;
        let f32_cpu: f64 = intervals.iter().filter(|i| i.account.is_none()).map(of_f32).sum();
        let sent = total_us(&intervals, |i| i.sent_bytes);
        let integral_uj = 2.8 * wall as f64 + 0.9 * (cpu as f64 - f32_cpu) + 0.75 * f32_cpu + 2.0 * sent as f64;
        let rounding = 2.0 * intervals.len() as f64 + 1.0;
        prop_assert!((uj as f64 - integral_uj).abs() <= rounding, "{uj} of {integral_uj}");
        prop_assert!((uj as f64 / integral_uj - 1.0).abs() < 0.01 || integral_uj < 100.0 * rounding);
        prop_assert_eq!((us, ledger.unknown()), (wall, Duration::ZERO));
    }

    #[test]
    fn measured_energy_is_conserved(values in prop::collection::vec(2.0f64..8.0, 32), intervals in intervals(200_000)) {
        let mut held = HeldPower::default();
        let mut next_sample = Duration::ZERO;
        let mut sampler = |metered: &mut Metered, now: Duration| {
            while next_sample <= now {
                held.sample(next_sample, Watts::new(power_at(&values, next_sample.as_secs_f64())));
                next_sample += PERIOD;
            }
            metered.update(held);
        };
        let mut metered = Metered::new(None);
        sampler(&mut metered, Duration::ZERO);
        let mut ledger = Ledger::new(metered, Moment::default());
        ledger.close_between(Moment::default(), Account::Idle);
        let (uj, us, ledger) = run(ledger, &intervals, sampler);
        let wall = total_us(&intervals, |i| i.wall_us);
        prop_assume!(wall > 2_000_000);
        let integral_uj = integral(&values, wall as f64 / 1e6) * 1e6;
        // A value holds until the next one, so that power which rises all along is seen half a period late.
        let late_uj = (power_at(&values, wall as f64 / 1e6) - values[0]).abs() * PERIOD.as_micros() as f64 / 2.0;
        prop_assert!((uj as f64 - integral_uj).abs() < 0.03 * integral_uj + late_uj, "{uj} of {integral_uj}");
        // The first closing only opens the books: nothing was known before.
        prop_assert_eq!((us, ledger.unknown()), (wall, Duration::ZERO));
    }

    #[test]
    fn a_sensor_that_dies_leaves_time_unknown_and_invents_nothing(dies_at_ms in 0u64..5000, intervals in intervals(50_000)) {
        let dies_at = Duration::from_millis(dies_at_ms);
        let (mut held, mut next_sample) = (HeldPower::default(), Duration::ZERO);
        let sampler = |metered: &mut Metered, now: Duration| {
            while next_sample <= now.min(dies_at) {
                held.sample(next_sample, Watts::new(5.0));
                next_sample += PERIOD;
            }
            metered.update(held);
        };
        let (uj, us, ledger) = run(Ledger::new(Metered::new(None), Moment::default()), &intervals, sampler);
        let wall = total_us(&intervals, |i| i.wall_us);
        prop_assert!((uj as f64 - 5.0 * us as f64).abs() <= 10.0 * intervals.len() as f64, "{uj} uJ in {us} us");
        prop_assert!(us <= dies_at_ms * 1000 + 1_100_000, "{us}");
        prop_assert_eq!(us + ledger.unknown().as_micros() as u64, wall);
    }
}

#[test]
fn above_idle_of_a_sensor_needs_its_own_idle_power() {
    let spent = |idle: Option<f64>| {
        let mut metered = Metered::new(idle.map(Watts::new));
        let mut held = HeldPower::default();
        held.sample(Duration::ZERO, Watts::new(5.0));
        metered.update(held);
        let mut ledger = Ledger::new(metered, Moment::default());
        ledger.close_between(Moment::default(), Account::Idle);
        let end = Moment { wall: PERIOD, cpu: PERIOD };
        ledger
            .close_frame(end, &FrameWork::default())
            .unwrap()
            .frame
            .above_idle
            .map(|joules: Joules<Measured>| joules.micros())
    };
    assert_eq!((spent(None), spent(Some(3.0))), (None, Some(200_000)));
}

#[test]
fn work_in_f32_is_charged_as_such() {
    let joules = |share| {
        let mut ledger = Ledger::new(Modeller(model()), Moment::default());
        let second = Duration::from_secs(1);
        let mut work = FrameWork::default();
        work.took(EnergyStage::Saver, second.mul_f64(1.0 - share), false);
        work.took(EnergyStage::BaseLocal, second.mul_f64(share), true);
        ledger.close_frame(Moment { wall: second, cpu: second }, &work).unwrap().frame.joules.micros()
    };
    assert_eq!((joules(0.0), joules(0.5), joules(1.0)), (3_700_000, 3_625_000, 3_550_000));
}

#[test]
fn samples_that_are_none_change_nothing() {
    let mut held = HeldPower::default();
    held.sample(Duration::from_secs(2), Watts::new(5.0));
    let before = held;
    held.sample(Duration::from_secs(3), Watts::new(f64::NAN));
    held.sample(Duration::from_secs(1), Watts::new(7.0));
    assert_eq!(held, before);
}
