//! Keeps a board within its budget by the threshold first, then by the frame rate.
//!
//! Above idling, power is `frames a second x (saver + share x base)`, which is linear in the share of frames that escalate.
//! So the controller chooses the share, and the last confidences tell which threshold gives it. What each part costs is
//! learned from the ledger; what the model gets wrong ends up in a credit of joules, which is paid back within about a
//! second. Order of what is given up: accuracy beyond the certificate's (the threshold falls to the certified point), frames
//! a second (down to the least that is wanted), and only if the operator has said so, the certificate.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::budget::Budget;
use super::recent::RecentConfidences;
use crate::gate::Threshold;

/// A surplus is spent, and a debt paid by a lower threshold, within about so long.
const PAY_BACK_SECONDS: f64 = 1.0;
/// Of a credit, at most this part goes into the next frame.
const MOST_PAID_BACK: f64 = 0.5;
/// A base that has not run yet is asked for so large a share of the frames, to learn what it costs.
const TRIED_SHARE: f64 = 1.0 / 16.0;
/// The credit is at most this share of the budget over the time of paying back, or so many of the dearest frames: a run of
/// escalations is paid back, an hour of dearth is not.
const MOST_CREDIT: f64 = 0.25;
const MOST_CREDIT_FRAMES: f64 = 4.0;
/// Costs of frames are means over about so many.
const FRAMES: f64 = 16.0;
/// The part of frames that is judged is a mean over more: scenes change for seconds.
const JUDGED_FRAMES: f64 = 128.0;
/// Idle power is a mean over about so long.
const IDLE_SECONDS: f64 = 5.0;
/// While the board is throttled, its budget falls by half within so long, and at most to half.
const COOLING_SECONDS: f64 = 60.0;
/// And comes back within so long: much slower, for heat has to go before it pays to make more.
const RECOVERY_SECONDS: f64 = 300.0;
const LEAST_COOLED: f64 = 0.5;

/// What it may do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ControllerSettings {
    /// What may be spent.
    pub budget: Budget,
    /// The certified threshold, or the operator's where there is no certificate: the lowest without permission.
    pub floor: Threshold,
    /// Permission to go below it.
    pub may_undercut: bool,
    /// Frames are at most so far apart.
    pub longest_interval: Duration,
}

/// What a frame did, as the ledger booked it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// When it was done.
    pub now: Duration,
    /// All joules since the observation before, idling included.
    pub joules: f64,
    /// Of these, of its own work.
    pub frame_joules: f64,
    /// How long that took.
    pub frame_time: Duration,
    /// Joules between the frames while nothing was done.
    pub idle_joules: f64,
    /// How long that was.
    pub idle_time: Duration,
    /// The saver's confidence; `None` of frames that it did not see.
    pub confidence: Option<f32>,
    /// Whether a base was asked.
    pub escalated: bool,
}

/// What the board says of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Conditions {
    /// Heat or a weak supply holds it back now.
    pub throttled: bool,
    /// The battery is low: nothing is spent beyond what the certificate asks for.
    pub battery_low: bool,
    /// What the battery holds, in joules, if it tells.
    pub battery_joules: Option<f64>,
}

/// What had to be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Degradation {
    /// Nothing: the threshold is above its floor.
    None,
    /// The threshold is at its floor.
    Floor,
    /// Frames are further apart than they come.
    Slower,
    /// The threshold is below its floor, as the operator has allowed: answers are uncertified.
    Uncertified,
    /// All of that, and still the budget cannot be kept.
    Starved,
}

impl Degradation {
    /// Every one, in the order in which things are given up.
    pub const ALL: [Self; 5] = [Self::None, Self::Floor, Self::Slower, Self::Uncertified, Self::Starved];

    /// The name in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Floor => "floor",
            Self::Slower => "slower",
            Self::Uncertified => "uncertified",
            Self::Starved => "starved",
        }
    }
}

/// For the next frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Command {
    /// The gate's threshold.
    pub threshold: Threshold,
    /// It should not begin sooner after the one before it.
    pub interval: Duration,
    /// What that means.
    pub degradation: Degradation,
}

/// A moving mean: of all values at first, and then of about the last so many.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    mean: f64,
    weight: f64,
}

impl Mean {
    /// A value that counts `weight`, over a memory of `most`.
    fn add(&mut self, value: f64, weight: f64, most: f64) {
        self.weight = (self.weight + weight).min(most);
        if self.weight > 0.0 {
            self.mean += (weight / self.weight).min(1.0) * (value - self.mean);
        }
    }

    fn get(self) -> Option<f64> {
        (self.weight > 0.0).then_some(self.mean)
    }

    fn or(self, other: f64) -> f64 {
        self.get().unwrap_or(other)
    }
}

/// The controller's memory. Allocates nothing.
#[derive(Debug, Clone)]
pub struct Controller {
    settings: ControllerSettings,
    last: Option<Duration>,
    spent: f64,
    credit: f64,
    cooling: f64,
    idle_watts: Mean,
    saver_joules: Mean,
    base_joules: Mean,
    /// Between frames as they come, in seconds.
    arrival: Mean,
    /// The part of the frames that the gate sees: those whose last answer is given again cost no base.
    judged: Mean,
    confidences: RecentConfidences,
    budget_watts: f64,
    command: Command,
}

impl Controller {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(settings: ControllerSettings) -> Self {
        let command = Command { threshold: settings.floor, interval: Duration::ZERO, degradation: Degradation::Floor };
        let budget_watts = settings.budget.watts(Duration::ZERO, 0.0, None);
        Self {
            settings,
            budget_watts,
            last: None,
            spent: 0.0,
            credit: 0.0,
            cooling: 1.0,
            idle_watts: Mean::default(),
            saver_joules: Mean::default(),
            base_joules: Mean::default(),
            arrival: Mean::default(),
            judged: Mean::default(),
            confidences: RecentConfidences::new(),
            command,
        }
    }

    /// What holds for the next frame.
    #[must_use]
    pub fn command(&self) -> Command {
        self.command
    }

    /// What it may draw now, in watts: less than the budget while heat holds the board back.
    #[must_use]
    pub fn budget_watts(&self) -> f64 {
        self.budget_watts
    }

    /// Nobody knows what was drawn until `now`: that time earns nothing, and nothing is learned from it.
    pub fn pass_over(&mut self, now: Duration) {
        self.last = Some(now);
    }

    /// All joules that it was told of.
    #[must_use]
    pub fn spent(&self) -> f64 {
        self.spent
    }

    /// Takes a frame in and says what to do with the next one.
    pub fn observe(&mut self, seen: &Observation, conditions: &Conditions) -> Command {
        let passed = self.last.map_or(0.0, |last| seen.now.saturating_sub(last).as_secs_f64());
        let is_first = self.last.replace(seen.now).is_none();
        self.spent += seen.joules;
        self.learn(seen, passed, is_first);
        let change = if conditions.throttled { -passed / COOLING_SECONDS } else { passed / RECOVERY_SECONDS };
        self.cooling = (self.cooling + 0.5 * change).clamp(LEAST_COOLED, 1.0);
        let budget = self.settings.budget.watts(seen.now, self.spent, conditions.battery_joules) * self.cooling;
        self.budget_watts = budget;
        let frame = self.saver_joules.or(0.0) + self.base_joules.or(0.0);
        let most = (MOST_CREDIT * budget * PAY_BACK_SECONDS).max(MOST_CREDIT_FRAMES * frame);
        // The first frame's joules belong to a time before it, which nobody knows.
        let earned = if is_first { 0.0 } else { budget * passed - seen.joules };
        self.credit = (self.credit + earned).clamp(-most, most);
        self.command = self.decide(budget, conditions);
        self.command
    }

    fn learn(&mut self, seen: &Observation, passed: f64, is_first: bool) {
        // The first frame finds cold caches, and before it models were loaded, which is no idling.
        if !is_first {
            self.learn_costs(seen, passed);
        }
        let is_judged = if seen.confidence.is_some() { 1.0 } else { 0.0 };
        self.judged.add(is_judged, 1.0, JUDGED_FRAMES);
        if let Some(confidence) = seen.confidence {
            self.confidences.add(confidence);
        }
    }

    fn learn_costs(&mut self, seen: &Observation, passed: f64) {
        let idle_seconds = seen.idle_time.as_secs_f64();
        if idle_seconds > 0.0 {
            self.idle_watts.add(seen.idle_joules / idle_seconds, idle_seconds, IDLE_SECONDS);
        }
        let work = seen.frame_joules - self.idle_watts.or(0.0) * seen.frame_time.as_secs_f64();
        // Until the saver has answered alone, all of an escalated frame is taken for the base's.
        let (mean, joules) = if seen.escalated {
            (&mut self.base_joules, work - self.saver_joules.or(0.0))
        } else {
            (&mut self.saver_joules, work)
        };
        mean.add(joules.max(0.0), 1.0, FRAMES);
        // A frame that came when it was asked for says nothing of how often they come.
        if passed > 1.2 * self.command.interval.as_secs_f64() {
            self.arrival.add(passed, 1.0, FRAMES);
        }
    }

    /// Spends so many watts, and what the credit adds to them.
    fn decide(&self, watts: f64, conditions: &Conditions) -> Command {
        let floor = self.settings.floor;
        let at_full_rate = |threshold, degradation| Command { threshold, interval: Duration::ZERO, degradation };
        let Some(at_floor) = self.confidences.escalated(floor) else {
            // What is not known yet cannot be spent by.
            return at_full_rate(floor, Degradation::Floor);
        };
        let (above_idle, arrival) = ((watts - self.idle_watts.or(0.0)).max(0.0), self.arrival.or(0.0));
        let base = self.base_joules.or(0.0) * self.judged.or(1.0);
        let affordable = self.affordable(above_idle, arrival, base);
        if affordable <= at_floor && affordable < 1.0 || arrival <= 0.0 {
            return self.slow_down(above_idle, base, at_floor);
        }
        // At the floor the saver may be sure of everything, so that the base's cost would never be known.
        let share = if self.base_joules.get().is_none() { affordable.min(TRIED_SHARE) } else { affordable };
        let higher =
            self.confidences.threshold(share).filter(|threshold| *threshold > floor && !conditions.battery_low);
        higher.map_or(at_full_rate(floor, Degradation::Floor), |threshold| at_full_rate(threshold, Degradation::None))
    }

    /// The share of frames so many seconds apart that may escalate.
    fn affordable(&self, above_idle: f64, interval: f64, base: f64) -> f64 {
        let paid_back = self.credit * (interval / PAY_BACK_SECONDS).min(MOST_PAID_BACK);
        let left = above_idle * interval + paid_back - self.saver_joules.or(0.0);
        if left <= 0.0 {
            0.0
        } else if base > 0.0 {
            left / base
        } else {
            1.0
        }
    }

    /// The floor is more than can be paid for at the rate at which frames come.
    fn slow_down(&self, above_idle: f64, base: f64, at_floor: f64) -> Command {
        let ControllerSettings { floor, may_undercut, longest_interval, .. } = self.settings;
        let of_floor = self.saver_joules.or(0.0) + at_floor * base;
        let longest = longest_interval.as_secs_f64();
        if of_floor <= above_idle * longest && above_idle > 0.0 {
            // So long that the frame and a part of the debt are earned meanwhile.
            let wanted = (of_floor - MOST_PAID_BACK * self.credit) / above_idle;
            let interval = Duration::from_secs_f64(wanted.clamp(0.0, longest));
            let is_slower = wanted > self.arrival.or(0.0);
            let degradation = if is_slower { Degradation::Slower } else { Degradation::Floor };
            return Command { threshold: floor, interval, degradation };
        }
        let share = self.affordable(above_idle, longest, base);
        let threshold =
            self.confidences.threshold(share.max(0.0)).filter(|threshold| may_undercut && *threshold < floor);
        let pays_the_saver = above_idle * longest >= self.saver_joules.or(0.0);
        let degradation = if may_undercut && pays_the_saver { Degradation::Uncertified } else { Degradation::Starved };
        Command { threshold: threshold.unwrap_or(floor), interval: longest_interval, degradation }
    }
}

#[cfg(test)]
#[path = "controller_tests.rs"]
mod tests;
