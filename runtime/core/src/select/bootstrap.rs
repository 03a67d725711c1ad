//! How much the figures of a search would change with other samples: Efron's bootstrap, the same resamples for every saver,
//! so that their ranking has an interval, too.

use super::{Cell, STEPS, SaverSamples, SelectError, SplitMix, check_lengths, walk};

/// The middle 95 % of what resampling gives.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Interval {
    /// 2.5 % lie below.
    pub low: f64,
    /// 2.5 % lie above.
    pub high: f64,
}

impl Interval {
    /// Of resampled values; `None` without any.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let (low, high) = (values.get(last * 25 / 1000)?, values.get(last - last * 25 / 1000)?);
        Some(Self { low: *low, high: *high })
    }
}

/// Delta costs of each saver (a row) on each of `resamples` draws with replacement (a column), of the same samples for all.
///
/// # Errors
/// A saver's samples are not as many as the base's marks.
pub fn bootstrap_delta_costs(
    savers: &[(&SaverSamples, f64)],
    base_right: &[bool],
    resamples: usize,
    seed: u64,
) -> Result<Vec<Vec<f64>>, SelectError> {
    for (saver, _) in savers {
        check_lengths(saver.steps.len(), base_right.len())?;
    }
    let mut random = SplitMix::new(seed);
    let mut rows = vec![Vec::with_capacity(resamples); savers.len()];
    let mut times = vec![0u16; base_right.len()];
    for _ in 0..resamples {
        times.fill(0);
        for _ in 0..base_right.len() {
            if let Some(count) = times.get_mut(random.below(base_right.len())) {
                *count += 1;
            }
        }
        for (row, (saver, cost_ratio)) in rows.iter_mut().zip(savers) {
            row.push(delta_cost(saver, base_right, &times, *cost_ratio));
        }
    }
    Ok(rows)
}

fn delta_cost(saver: &SaverSamples, base_right: &[bool], times: &[u16], cost_ratio: f64) -> f64 {
    let mut cells = [Cell::default(); STEPS];
    for (((step, right), base), times) in saver.steps.iter().zip(&saver.right).zip(base_right).zip(times) {
        if let Some(cell) = cells.get_mut(usize::from(*step)) {
            cell.exits += u64::from(*times);
            cell.lead += (i64::from(*right) - i64::from(*base)) * i64::from(*times);
        }
    }
    walk(&cells, base_right.len() as u64, cost_ratio).delta_cost
}
