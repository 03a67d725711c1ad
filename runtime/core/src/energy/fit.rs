//! Coefficients of a board's model from readings of a meter: least squares with none below 0.
//!
//! There are at most four unknowns, so that every set of them that may be above 0 is tried: exact, and always the same.

/// Unknowns at most: idle, a core's integers, a core's f32, a byte.
const MOST: usize = 4;

/// Below this, a column is a combination of the others for all that the readings can tell: the sine of the angle between it
/// and them.
const COLLINEAR: f64 = 0.01;

/// What a meter showed, and what the board did meanwhile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerReading {
    /// Mean power, in watts.
    pub watts: f64,
    /// Mean number of cores that were busy with integers.
    pub busy_cores: f64,
    /// Mean number of cores that were busy with f32.
    pub f32_cores: f64,
    /// Bytes sent by radio in a second.
    pub sent_bytes_per_second: f64,
}

/// Which unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coefficient {
    /// Watts of the board with nothing to do.
    Idle,
    /// Watts of a core that is busy with integers, above idling.
    Core,
    /// The same with f32.
    CoreF32,
    /// Joules of a byte that is sent.
    Byte,
}

impl Coefficient {
    /// The column of readings that it belongs to.
    #[must_use]
    pub fn column(self) -> &'static str {
        match self {
            Self::Idle => "idle power",
            Self::Core => "busy_cores",
            Self::CoreF32 => "f32_cores",
            Self::Byte => "sent_bytes_per_second",
        }
    }

    fn of(self, reading: &PowerReading) -> f64 {
        match self {
            Self::Idle => 1.0,
            Self::Core => reading.busy_cores,
            Self::CoreF32 => reading.f32_cores,
            Self::Byte => reading.sent_bytes_per_second,
        }
    }
}

/// Readings that determine nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FitError {
    /// Fewer than unknowns and one more, without which there would be no residual.
    #[error("{readings} readings for {unknowns} unknowns: at least {} are wanted, better twice as many", unknowns + 1)]
    TooFew {
        /// How many there are.
        readings: usize,
        /// How many there should be told from them.
        unknowns: usize,
    },
    /// A column that the others explain.
    #[error(
        "{column} cannot be told from {others}: in these readings one goes with the other; take some in which {column} differs \
         while the rest stays as it is"
    )]
    Collinear {
        /// Which.
        column: &'static str,
        /// Which others.
        others: String,
    },
    /// No number, or below 0.
    #[error("reading {0}: a value is no number from 0 up")]
    Unsound(usize),
}

/// One fitted coefficient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fitted {
    /// Which.
    pub coefficient: Coefficient,
    /// Its value, never below 0.
    pub value: f64,
    /// Its standard error; `None` for one that the bound holds at 0.
    pub standard_error: Option<f64>,
}

/// The outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct PowerFit {
    /// In the order in which they were asked for.
    pub coefficients: Vec<Fitted>,
    /// Root of the mean squared residual, in watts, over the readings less the unknowns.
    pub residual_watts: f64,
    /// The largest residual, in watts, and the reading (from 0) that has it.
    pub worst: (f64, usize),
    /// How many readings.
    pub readings: usize,
}

impl PowerFit {
    /// A coefficient; 0 where it was not asked for.
    #[must_use]
    pub fn value(&self, coefficient: Coefficient) -> f64 {
        self.coefficients.iter().find(|fitted| fitted.coefficient == coefficient).map_or(0.0, |fitted| fitted.value)
    }

    fn predict(&self, reading: &PowerReading) -> f64 {
        self.coefficients.iter().map(|fitted| fitted.value * fitted.coefficient.of(reading)).sum()
    }
}

/// Fits `unknowns` to the readings.
///
/// # Errors
/// Too few readings, or such in which two columns always go together.
pub fn fit_power(readings: &[PowerReading], unknowns: &[Coefficient]) -> Result<PowerFit, FitError> {
    let sound = |reading: &PowerReading| {
        let PowerReading { watts, busy_cores, f32_cores, sent_bytes_per_second } = *reading;
        [watts, busy_cores, f32_cores, sent_bytes_per_second].iter().all(|value| value.is_finite() && *value >= 0.0)
    };
    if let Some(at) = readings.iter().position(|reading| !sound(reading)) {
        return Err(FitError::Unsound(at + 1));
    }
    let unknowns: Vec<Coefficient> = unknowns.iter().copied().take(MOST).collect();
    if readings.len() <= unknowns.len() {
        return Err(FitError::TooFew { readings: readings.len(), unknowns: unknowns.len() });
    }
    let columns: Vec<Vec<f64>> =
        unknowns.iter().map(|unknown| readings.iter().map(|reading| unknown.of(reading)).collect()).collect();
    check_columns(&unknowns, &columns)?;
    let watts: Vec<f64> = readings.iter().map(|reading| reading.watts).collect();
    let sets = (1u32..1 << unknowns.len()).map(|set| Subset { set, columns: &columns });
    let solved = sets.filter_map(|subset| subset.solve(&watts));
    let best = solved.min_by(|one, other| one.squares.total_cmp(&other.squares));
    // Without any column the sum of squares would be that of the watts themselves.
    let solution = best.unwrap_or_else(|| Solution::nothing(&watts, unknowns.len()));
    let residual_watts = (solution.squares / (readings.len() - unknowns.len()) as f64).sqrt();
    let fitted = unknowns.iter().zip(solution.values.iter().zip(&solution.variances));
    let mut fit = PowerFit {
        coefficients: fitted
            .map(|(&coefficient, (&value, variance))| Fitted {
                coefficient,
                value,
                standard_error: variance.map(|variance| residual_watts * variance.max(0.0).sqrt()),
            })
            .collect(),
        residual_watts,
        worst: (0.0, 0),
        readings: readings.len(),
    };
    let residual = |reading: &PowerReading| reading.watts - fit.predict(reading);
    let worst =
        readings.iter().map(residual).enumerate().max_by(|(_, one), (_, other)| one.abs().total_cmp(&other.abs()));
    fit.worst = worst.map_or((0.0, 0), |(at, residual)| (residual, at));
    Ok(fit)
}

/// Every column has to have a part that the others do not explain.
fn check_columns(unknowns: &[Coefficient], columns: &[Vec<f64>]) -> Result<(), FitError> {
    for (index, column) in columns.iter().enumerate() {
        let others: Vec<&Vec<f64>> = columns.iter().enumerate().filter(|(i, _)| *i != index).map(|(_, c)| c).collect();
        let whole = norm(column);
        if whole == 0.0 || norm(&rest_beside(column, &others)) < COLLINEAR * whole {
            let others = unknowns.iter().enumerate().filter(|(i, _)| *i != index).map(|(_, unknown)| unknown.column());
            let others = others.collect::<Vec<_>>().join(" and ");
            // The idle power is there in every reading: it is the others that can be changed.
            if let (Some(Coefficient::Idle), true) = (unknowns.get(index), whole > 0.0) {
                continue;
            }
            let column = unknowns.get(index).map_or("", |unknown| unknown.column());
            return Err(FitError::Collinear { column, others });
        }
    }
    Ok(())
}

/// What of a column is left beside the others, by Gram and Schmidt, twice for the digits.
fn rest_beside(column: &[f64], others: &[&Vec<f64>]) -> Vec<f64> {
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for other in others {
        let rest = project_out(other, &basis);
        let length = norm(&rest);
        if length > 1e-9 * norm(other) {
            basis.push(rest.iter().map(|value| value / length).collect());
        }
    }
    project_out(column, &basis)
}

fn project_out(column: &[f64], basis: &[Vec<f64>]) -> Vec<f64> {
    let mut rest = column.to_vec();
    for direction in basis.iter().chain(basis) {
        let along = dot(&rest, direction);
        rest.iter_mut().zip(direction).for_each(|(value, unit)| *value -= along * unit);
    }
    rest
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

fn norm(column: &[f64]) -> f64 {
    dot(column, column).sqrt()
}

/// The columns that may have a coefficient above 0.
struct Subset<'a> {
    set: u32,
    columns: &'a [Vec<f64>],
}

struct Solution {
    values: Vec<f64>,
    /// Of the coefficients, in units of the residual's variance; `None` for those at the bound.
    variances: Vec<Option<f64>>,
    squares: f64,
}

impl Solution {
    fn nothing(watts: &[f64], unknowns: usize) -> Self {
        Self { values: vec![0.0; unknowns], variances: vec![None; unknowns], squares: dot(watts, watts) }
    }
}

impl Subset<'_> {
    fn has(&self, index: usize) -> bool {
        self.set & (1 << index) != 0
    }

    /// Ordinary least squares with these columns; `None` where a coefficient comes out below 0.
    fn solve(&self, watts: &[f64]) -> Option<Solution> {
        let chosen: Vec<(usize, &Vec<f64>)> = self.columns.iter().enumerate().filter(|(i, _)| self.has(*i)).collect();
        let mut solution = Solution::nothing(watts, self.columns.len());
        for &(index, column) in &chosen {
            let others: Vec<&Vec<f64>> =
                chosen.iter().filter(|(i, _)| *i != index).map(|(_, column)| *column).collect();
            // Frisch, Waugh and Lovell: the coefficient is that of what the column has beside all others.
            let rest = rest_beside(column, &others);
            let square = dot(&rest, &rest);
            let value = if square > 0.0 { dot(&rest, watts) / square } else { return None };
            if value < 0.0 {
                return None;
            }
            *solution.values.get_mut(index)? = value;
            *solution.variances.get_mut(index)? = Some(1.0 / square);
        }
        let predicted = |at: usize| {
            let parts = self.columns.iter().zip(&solution.values);
            parts.map(|(column, value)| value * column.get(at).copied().unwrap_or(0.0)).sum::<f64>()
        };
        solution.squares = watts.iter().enumerate().map(|(at, watts)| (watts - predicted(at)).powi(2)).sum();
        Some(solution)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Coefficient; 4] = [Coefficient::Idle, Coefficient::Core, Coefficient::CoreF32, Coefficient::Byte];

    fn reading(watts: f64, busy_cores: f64, f32_cores: f64, sent_bytes_per_second: f64) -> PowerReading {
        PowerReading { watts, busy_cores, f32_cores, sent_bytes_per_second }
    }

    /// What a board of these coefficients would show under five kinds of load.
    fn board([idle, core, core_f32, byte]: [f64; 4]) -> Vec<PowerReading> {
        let loads =
            [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (4.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.1, 0.0, 2e5), (2.0, 1.0, 1e5)];
        let watts = |(busy, real, bytes)| idle + core * busy + core_f32 * real + byte * bytes;
        loads.iter().map(|&load| reading(watts(load), load.0, load.1, load.2)).collect()
    }

    #[test]
    fn too_few_or_alike_are_refused_with_what_to_do() {
        let all = board([2.8, 0.9, 0.75, 2e-6]);
        let error = fit_power(&all[..4], &ALL).unwrap_err().to_string();
        assert!(error.contains("4 readings for 4 unknowns: at least 5"), "{error}");
        let alike: Vec<PowerReading> = (1..8).map(|n| reading(3.0, f64::from(n), 2.0 * f64::from(n), 0.0)).collect();
        let error = fit_power(&alike, &ALL[..3]).unwrap_err().to_string();
        assert!(error.starts_with("busy_cores cannot be told from idle power and f32_cores"), "{error}");
        let constant: Vec<PowerReading> = (1..8).map(|_| reading(3.0, 4.0, 0.0, 0.0)).collect();
        let error = fit_power(&constant, &ALL[..2]).unwrap_err().to_string();
        assert!(error.starts_with("busy_cores cannot be told from idle power"), "{error}");
        let none: Vec<PowerReading> = (1..8).map(|n| reading(3.0, f64::from(n), 0.0, 0.0)).collect();
        assert!(fit_power(&none, &ALL[..3]).unwrap_err().to_string().starts_with("f32_cores"));
        assert_eq!(fit_power(&[reading(f64::NAN, 0.0, 0.0, 0.0)], &ALL[..1]), Err(FitError::Unsound(1)));
    }

    #[test]
    fn residuals_are_told() {
        let mut readings = board([2.8, 0.9, 0.75, 2e-6]);
        let exact = fit_power(&readings, &ALL).unwrap();
        assert!(exact.residual_watts < 1e-9 && exact.worst.0.abs() < 1e-9, "{exact:?}");
        readings[2].watts += 0.3;
        let fit = fit_power(&readings, &ALL).unwrap();
        assert!(fit.residual_watts > 0.05 && fit.coefficients[0].standard_error.unwrap() > 0.01, "{fit:?}");
    }

    #[test]
    fn what_would_be_negative_is_zero() {
        // Sending lowers the watts here, which is noise: the rest is fitted without it.
        let mut readings = board([2.0, 1.0, 1.0, 0.0]);
        readings
            .iter_mut()
            .filter(|reading| reading.sent_bytes_per_second > 0.0)
            .for_each(|reading| reading.watts -= 0.1);
        let fit = fit_power(&readings, &ALL).unwrap();
        assert_eq!((fit.value(Coefficient::Byte), fit.coefficients[3].standard_error), (0.0, None));
        assert!((fit.value(Coefficient::Core) - 1.0).abs() < 0.1, "{fit:?}");
    }

    proptest! {
        #[test]
        fn a_boards_own_coefficients_come_back(idle in 0.0f64..10.0, core in 0.0f64..5.0, real in 0.0f64..5.0, byte in 0.0f64..1e-5) {
            let fit = fit_power(&board([idle, core, real, byte]), &ALL).unwrap();
            for (fitted, value) in fit.coefficients.iter().zip([idle, core, real, byte]) {
                prop_assert!((fitted.value - value).abs() < 1e-6, "{fit:?}");
            }
        }

        #[test]
        fn no_non_negative_coefficients_fit_better(
            noise in prop::collection::vec(-1.0f64..1.0, 6), other in prop::collection::vec(0.0f64..4.0, 3)
        ) {
            let mut readings = board([1.0, 0.5, 0.5, 0.0]);
            readings.iter_mut().zip(noise).for_each(|(reading, noise)| reading.watts = (reading.watts + noise).max(0.0));
            let fit = fit_power(&readings, &ALL[..3]).unwrap();
            let squares = |values: &[f64]| -> f64 {
                let predict = |r: &PowerReading| values[0] + values[1] * r.busy_cores + values[2] * r.f32_cores;
                readings.iter().map(|reading| (reading.watts - predict(reading)).powi(2)).sum()
            };
            let values: Vec<f64> = fit.coefficients.iter().map(|fitted| fitted.value).collect();
            prop_assert!(values.iter().all(|value| *value >= 0.0));
            prop_assert!(squares(&values) <= squares(&other) + 1e-9);
        }
    }
}
