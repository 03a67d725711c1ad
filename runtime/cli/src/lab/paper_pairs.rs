//! The 43 bases of the TinySaver paper's grid and their savers: which, from the authors' repository (`grid_search.yaml`); top-1
//! and GMACs at 224 pixels as timm publishes them for these models (its `results` tables), where it has them.

use anyhow::{Context, Result};
use serde::Serialize;

const TABLE: &str = include_str!("paper_pairs.csv");

/// A base, its saver and what was published of both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PaperPair {
    /// timm's name without its version.
    pub base: String,
    /// The saver that the authors' search chose.
    pub saver: String,
    /// Percent.
    pub base_top1: f64,
    /// At 224 pixels; none where timm measured at another size.
    pub base_gmacs: Option<f64>,
    /// Percent.
    pub saver_top1: f64,
    /// As the base's.
    pub saver_gmacs: Option<f64>,
    /// `C_s / C_b`, as listed.
    pub cost_ratio: Option<f64>,
    /// `1 - (accuracy of the base - of the saver)`, as listed: what the saver can carry at most.
    pub ratio_upper_bound: f64,
}

impl PaperPair {
    /// The lowest delta cost that parity allows: `C_s / C_b` less the upper bound of the exit ratio.
    pub fn lowest_delta_cost(&self) -> Option<f64> {
        Some(self.saver_gmacs? / self.base_gmacs? - (1.0 - (self.base_top1 - self.saver_top1) / 100.0))
    }
}

/// All of them, the largest base first.
///
/// # Errors
/// The table in the program is damaged.
pub fn paper_pairs() -> Result<Vec<PaperPair>> {
    TABLE.lines().skip(1).map(|line| pair(line).with_context(|| format!("`{line}`"))).collect()
}

fn pair(line: &str) -> Option<PaperPair> {
    let mut cells = line.split(',');
    let (base, saver) = (cells.next()?.to_owned(), cells.next()?.to_owned());
    let mut number = || cells.next().map(|cell| cell.parse::<f64>().ok());
    Some(PaperPair {
        base,
        saver,
        base_top1: number()??,
        base_gmacs: number()?,
        saver_top1: number()??,
        saver_gmacs: number()?,
        cost_ratio: number()?,
        ratio_upper_bound: number()??,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arithmetic_of_the_listed_pairs_holds() {
        let pairs = paper_pairs().unwrap();
        assert_eq!(pairs.len(), 43);
        assert_eq!(pairs.iter().filter(|pair| pair.cost_ratio.is_some()).count(), 38);
        for pair in &pairs {
            // Listed to three digits; GMACs to two, so that small models' ratios are coarse but from the same numbers.
            let bound = 1.0 - (pair.base_top1 - pair.saver_top1) / 100.0;
            assert!((bound - pair.ratio_upper_bound).abs() < 6e-4, "{pair:?}: {bound}");
            if let (Some(base), Some(saver), Some(listed)) = (pair.base_gmacs, pair.saver_gmacs, pair.cost_ratio) {
                assert!((saver / base - listed).abs() < 6e-4, "{pair:?}: {}", saver / base);
                assert!(pair.lowest_delta_cost().unwrap() < 0.0, "{pair:?}: a pair of the paper is worth having");
            }
        }
    }
}
