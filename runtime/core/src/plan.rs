//! How many boards a server carries: an M/G/k queue, by the approximation of Lee and Longton (1959) and Allen (1990):
//! the wait of M/M/k (Erlang C), times (1 + cv^2) / 2.

/// A server and what is asked of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demand {
    /// Requests a second, all boards together, arriving independently of each other.
    pub per_second: f64,
    /// Mean time of one inference, in seconds.
    pub service_seconds: f64,
    /// Standard deviation of that time divided by its mean; 0 for a fixed time, 1 for an exponential one.
    pub variation: f64,
    /// Inferences at the same time.
    pub workers: u32,
}

/// What the queue will be like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueueEstimate {
    /// Share of the workers' time that is used, below 1.
    pub utilisation: f64,
    /// Share of the requests that have to wait.
    pub waiting_share: f64,
    /// Mean wait, in seconds.
    pub mean_wait_seconds: f64,
    /// 99 of 100 requests wait no longer, in seconds.
    pub wait_99_seconds: f64,
}

/// Estimates the queue; `None` where more comes in than goes out, or the demand is no demand.
#[must_use]
pub fn estimate_queue(demand: &Demand) -> Option<QueueEstimate> {
    let Demand { per_second, service_seconds, variation, workers } = *demand;
    let sound = |value: f64| value.is_finite() && value >= 0.0;
    let is_demand =
        sound(per_second) && sound(variation) && sound(service_seconds) && service_seconds > 0.0 && workers > 0;
    if !is_demand {
        return None;
    }
    let servers = f64::from(workers);
    let load = per_second * service_seconds;
    let utilisation = load / servers;
    if utilisation >= 1.0 {
        return None;
    }
    let waiting_share = erlang_c(load, workers);
    let stretch = f64::midpoint(1.0, variation * variation);
    let drain = (servers / service_seconds - per_second) / stretch;
    let tail = if waiting_share > 0.01 { libm::log(waiting_share / 0.01) / drain } else { 0.0 };
    Some(QueueEstimate { utilisation, waiting_share, mean_wait_seconds: waiting_share / drain, wait_99_seconds: tail })
}

/// The most requests a second at which 99 of 100 are answered within so many seconds, wait and inference together. Slow
/// inferences are those of the mean plus 2.33 deviations.
#[must_use]
pub fn largest_rate(demand: &Demand, within_seconds: f64) -> Option<f64> {
    let slow = demand.service_seconds * (1.0 + 2.33 * demand.variation);
    let fits = |per_second: f64| {
        let estimate = estimate_queue(&Demand { per_second, ..*demand });
        estimate.is_some_and(|estimate| estimate.wait_99_seconds + slow <= within_seconds)
    };
    if !fits(0.0) {
        return None;
    }
    let (mut low, mut high) = (0.0, f64::from(demand.workers) / demand.service_seconds);
    // Waits grow with the rate: 60 halvings are below what a double can tell.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if fits(middle) { low = middle } else { high = middle }
    }
    Some(low)
}

/// Share of requests that find all of `workers` busy, of a load in Erlang below `workers`.
fn erlang_c(load: f64, workers: u32) -> f64 {
    // Erlang B by its recurrence, which cannot overflow, then C from B.
    let blocked = (1..=workers).fold(1.0, |blocked, n| load * blocked / (f64::from(n) + load * blocked));
    let servers = f64::from(workers);
    let share = servers * blocked / (servers - load * (1.0 - blocked));
    if share.is_finite() { share } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn demand(per_second: f64, variation: f64, workers: u32) -> Demand {
        Demand { per_second, service_seconds: 0.1, variation, workers }
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() <= 1e-6 * b.abs().max(1e-9), "{a} is not {b}");
    }

    #[test]
    fn known_queues() {
        // M/M/1 at 0.5: P(wait) = 0.5, W = rho / (mu - lambda). M/D/1: half of it.
        let mm1 = estimate_queue(&demand(5.0, 1.0, 1)).unwrap();
        close(mm1.waiting_share, 0.5);
        close(mm1.mean_wait_seconds, 0.1);
        close(estimate_queue(&demand(5.0, 0.0, 1)).unwrap().mean_wait_seconds, 0.05);
        // Erlang's tables: 2 Erlang on 3 servers, C = 0.444444.
        close(estimate_queue(&demand(20.0, 1.0, 3)).unwrap().waiting_share, 4.0 / 9.0);
        assert!(estimate_queue(&demand(30.0, 1.0, 3)).is_none(), "as much as it can");
        assert!(estimate_queue(&demand(f64::NAN, 1.0, 3)).is_none());
        assert!(estimate_queue(&demand(1.0, 1.0, 0)).is_none());
    }

    #[test]
    fn nobody_waits_where_nobody_comes() {
        let idle = estimate_queue(&demand(0.0, 1.0, 4)).unwrap();
        assert_eq!((idle.waiting_share, idle.mean_wait_seconds, idle.wait_99_seconds), (0.0, 0.0, 0.0));
        assert!(largest_rate(&demand(0.0, 0.0, 1), 0.05).is_none(), "the inference alone takes longer");
    }

    proptest! {
        #[test]
        fn the_largest_rate_is_the_border(workers in 1u32..64, variation in 0.0f64..1.5, within in 0.5f64..5.0) {
            let rate = largest_rate(&demand(0.0, variation, workers), within).unwrap();
            let slow = 0.1 * (1.0 + 2.33 * variation);
            let at = |factor: f64| estimate_queue(&demand(rate * factor, variation, workers)).map(|e| e.wait_99_seconds + slow);
            prop_assert!(at(0.999).unwrap() <= within);
            prop_assert!(at(1.001).is_none_or(|seconds| seconds >= within));
        }

        #[test]
        fn more_workers_wait_less(per_second in 0.0f64..9.9, workers in 1u32..40) {
            let one = estimate_queue(&demand(per_second, 1.0, workers)).unwrap();
            let more = estimate_queue(&demand(per_second, 1.0, workers + 1)).unwrap();
            prop_assert!(more.mean_wait_seconds <= one.mean_wait_seconds + 1e-12);
        }
    }
}
