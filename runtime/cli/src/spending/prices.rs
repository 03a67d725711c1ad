//! The one price: flags and variables, over the section `[price]` of the file.

use anyhow::{Result, bail};
use tinysaver_core::spend::Prices;

/// What environment and flags may set.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct PriceArgs {
    /// What a joule costs, in a unit of your own [default: 1, where no other price is named]
    #[arg(long, value_name = "PRICE", env = "TINYSAVER_PRICE_PER_JOULE")]
    price_per_joule: Option<f64>,
    /// What a millisecond costs [default: 0]
    #[arg(long, value_name = "PRICE", env = "TINYSAVER_PRICE_PER_MILLISECOND")]
    price_per_millisecond: Option<f64>,
    /// What a byte over the network costs [default: 0]
    #[arg(long, value_name = "PRICE", env = "TINYSAVER_PRICE_PER_BYTE")]
    price_per_byte: Option<f64>,
}

impl PriceArgs {
    /// Whether any is named.
    pub fn are_named(&self) -> bool {
        self.price_per_joule.is_some() || self.price_per_millisecond.is_some() || self.price_per_byte.is_some()
    }

    /// With defaults: energy alone where none is named, and nothing but what is named where one is.
    ///
    /// # Errors
    /// A price below 0, or none above it.
    pub fn prices(&self) -> Result<Prices> {
        if !self.are_named() {
            return Ok(Prices::default());
        }
        let prices = Prices {
            per_joule: self.price_per_joule.unwrap_or(0.0),
            per_millisecond: self.price_per_millisecond.unwrap_or(0.0),
            per_byte: self.price_per_byte.unwrap_or(0.0),
        };
        if prices.are_sound() { Ok(prices) } else { bail!("prices are numbers from 0 up, and one of them is above 0") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energy_alone_unless_something_is_named() {
        let of = |joule, byte| {
            PriceArgs { price_per_joule: joule, price_per_byte: byte, ..PriceArgs::default() }.prices().ok()
        };
        assert_eq!(of(None, None), Some(Prices::default()));
        assert_eq!(of(None, Some(1e-6)), Some(Prices { per_joule: 0.0, per_millisecond: 0.0, per_byte: 1e-6 }));
        assert_eq!(of(Some(-1.0), None), None);
        assert_eq!(of(Some(0.0), None), None);
    }
}
