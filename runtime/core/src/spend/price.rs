//! One price for joules, milliseconds and bytes, and the cheapest way to an answer as good as the base's.

use serde::{Deserialize, Serialize};

/// What something costs, or is expected to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Energy, in joules.
    pub joules: f64,
    /// Time, in milliseconds.
    pub milliseconds: f64,
    /// Bytes that go over the network.
    pub bytes: f64,
}

impl Cost {
    /// This and so large a share of another.
    #[must_use]
    pub fn plus(self, share: f64, other: Self) -> Self {
        Self {
            joules: self.joules + share * other.joules,
            milliseconds: self.milliseconds + share * other.milliseconds,
            bytes: self.bytes + share * other.bytes,
        }
    }
}

/// Weights: `joules x per_joule + milliseconds x per_millisecond + bytes x per_byte`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prices {
    /// Of a joule.
    pub per_joule: f64,
    /// Of a millisecond.
    pub per_millisecond: f64,
    /// Of a byte.
    pub per_byte: f64,
}

impl Default for Prices {
    /// Energy alone.
    fn default() -> Self {
        Self { per_joule: 1.0, per_millisecond: 0.0, per_byte: 0.0 }
    }
}

impl Prices {
    /// The one price.
    #[must_use]
    pub fn of(&self, cost: &Cost) -> f64 {
        cost.joules * self.per_joule + cost.milliseconds * self.per_millisecond + cost.bytes * self.per_byte
    }

    /// Whether each is a number from 0 up, and at least one above it.
    #[must_use]
    pub fn are_sound(&self) -> bool {
        let all = [self.per_joule, self.per_millisecond, self.per_byte];
        all.iter().all(|price| price.is_finite() && *price >= 0.0) && all.iter().any(|price| *price > 0.0)
    }
}

/// How a frame can be answered, with what each step costs by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepCosts {
    /// The saver.
    pub saver: Cost,
    /// The base on this board; `None` without one.
    pub local: Option<Cost>,
    /// A base elsewhere, waiting included; `None` without a link.
    pub remote: Option<Cost>,
    /// Share of frames of which the saver is sure.
    pub exit_ratio: f64,
}

/// One way to answer frames. The saver alone is none: its answers are not as good as the base's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The saver first, the base on this board for the rest.
    CascadeLocal,
    /// The saver first, a base elsewhere for the rest.
    CascadeRemote,
    /// The base on this board for every frame.
    AlwaysLocal,
    /// A base elsewhere for every frame.
    AlwaysRemote,
}

impl Way {
    /// Every way; of equally cheap ones the first is taken.
    pub const ALL: [Self; 4] = [Self::CascadeLocal, Self::CascadeRemote, Self::AlwaysLocal, Self::AlwaysRemote];

    /// The name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CascadeLocal => "cascade, local",
            Self::CascadeRemote => "cascade, remote",
            Self::AlwaysLocal => "always local",
            Self::AlwaysRemote => "always remote",
        }
    }

    /// Mean cost of a frame; `None` where there is no such base.
    #[must_use]
    pub fn cost(self, ways: &StepCosts) -> Option<Cost> {
        let escalated = 1.0 - ways.exit_ratio.clamp(0.0, 1.0);
        match self {
            Self::CascadeLocal => Some(ways.saver.plus(escalated, ways.local?)),
            Self::CascadeRemote => Some(ways.saver.plus(escalated, ways.remote?)),
            Self::AlwaysLocal => ways.local,
            Self::AlwaysRemote => ways.remote,
        }
    }
}

/// The cheapest way whose slowest frame is in time; `None` where none is. `deadline_ms` bounds the saver's and the
/// base's milliseconds together.
#[must_use]
pub fn cheapest(ways: &StepCosts, prices: &Prices, deadline_ms: Option<f64>) -> Option<(Way, Cost)> {
    let all_the_way = StepCosts { exit_ratio: 0.0, ..*ways };
    let in_time = |strategy: Way| {
        let slowest = strategy.cost(&all_the_way).map_or(f64::INFINITY, |cost| cost.milliseconds);
        deadline_ms.is_none_or(|deadline| slowest <= deadline)
    };
    let possible = Way::ALL.into_iter().filter(|strategy| in_time(*strategy));
    let priced = possible.filter_map(|strategy| Some((strategy, strategy.cost(ways)?)));
    priced.min_by(|(_, one), (_, other)| prices.of(one).total_cmp(&prices.of(other)))
}

/// From which exit ratio the saver in front of a base pays: `saver / base`. Above 1 it never does; `None` where the base
/// costs nothing.
#[must_use]
pub fn break_even(saver: &Cost, base: &Cost, prices: &Prices) -> Option<f64> {
    let whole = prices.of(base);
    (whole > 0.0).then(|| prices.of(saver) / whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn joules(joules: f64) -> Cost {
        Cost { joules, ..Cost::default() }
    }

    fn ways(exit_ratio: f64) -> StepCosts {
        let remote = Cost { joules: 0.14, milliseconds: 50.0, bytes: 20_000.0 };
        StepCosts {
            saver: joules(0.155),
            local: Some(Cost { milliseconds: 150.0, ..joules(1.009) }),
            remote: Some(remote),
            exit_ratio,
        }
    }

    #[test]
    fn one_price() {
        let cost = Cost { joules: 0.5, milliseconds: 20.0, bytes: 1000.0 };
        let prices = Prices { per_joule: 2.0, per_millisecond: 0.1, per_byte: 0.001 };
        assert_eq!(prices.of(&cost), 4.0);
        assert_eq!(Prices::default().of(&cost), 0.5);
        assert!(prices.are_sound() && !Prices { per_joule: 0.0, ..Prices::default() }.are_sound());
        assert!(!Prices { per_byte: f64::NAN, ..prices }.are_sound());
    }

    #[test]
    fn a_cheap_remote_base_beats_the_cascade_on_a_pi_4() {
        // 155 mJ of MobileNetV2 against 140 mJ of waiting 50 ms: the published figures of the reference board.
        let (strategy, cost) = cheapest(&ways(0.9), &Prices::default(), None).unwrap();
        assert_eq!((strategy, cost.joules), (Way::AlwaysRemote, 0.14));
        let without_link = StepCosts { remote: None, ..ways(0.7) };
        let (strategy, cost) = cheapest(&without_link, &Prices::default(), None).unwrap();
        assert_eq!(strategy, Way::CascadeLocal);
        assert!((cost.joules - (0.155 + 0.3 * 1.009)).abs() < 1e-12);
        let (strategy, _) = cheapest(&StepCosts { exit_ratio: 0.1, ..without_link }, &Prices::default(), None).unwrap();
        assert_eq!(strategy, Way::AlwaysLocal, "below the break-even of 15 %");
    }

    #[test]
    fn the_deadline_and_the_price_of_bytes_change_the_winner() {
        let dear_bytes = Prices { per_byte: 1e-4, ..Prices::default() };
        assert_eq!(cheapest(&ways(0.5), &dear_bytes, None).unwrap().0, Way::CascadeLocal);
        assert_eq!(cheapest(&ways(0.5), &dear_bytes, Some(100.0)).unwrap().0, Way::CascadeRemote);
        assert_eq!(cheapest(&ways(0.5), &dear_bytes, Some(10.0)), None);
    }

    #[test]
    fn the_break_even_is_the_ratio_of_the_costs() {
        let even = break_even(&joules(0.155), &joules(1.009), &Prices::default()).unwrap();
        assert!((even - 0.1536).abs() < 1e-4, "{even}");
        assert_eq!(break_even(&joules(1.0), &joules(0.0), &Prices::default()), None);
    }

    proptest! {
        #[test]
        fn nothing_is_cheaper_than_what_is_chosen(
            saver in 0.0f64..1.0, local in 0.0f64..5.0, remote in 0.0f64..5.0, exit_ratio in 0.0f64..1.0
        ) {
            let ways = StepCosts { saver: joules(saver), local: Some(joules(local)), remote: Some(joules(remote)), exit_ratio };
            let (_, cost) = cheapest(&ways, &Prices::default(), None).unwrap();
            for strategy in Way::ALL {
                prop_assert!(cost.joules <= strategy.cost(&ways).unwrap().joules);
            }
        }

        #[test]
        fn the_cascade_wins_from_the_break_even_on(saver in 0.01f64..1.0, base in 0.01f64..5.0, exit_ratio in 0.0f64..1.0) {
            let ways = StepCosts { saver: joules(saver), local: Some(joules(base)), remote: None, exit_ratio };
            let even = break_even(&ways.saver, &joules(base), &Prices::default()).unwrap();
            prop_assume!((even - exit_ratio).abs() > 1e-9);
            let wins = cheapest(&ways, &Prices::default(), None).unwrap().0 == Way::CascadeLocal;
            prop_assert_eq!(wins, exit_ratio > even);
        }
    }
}
