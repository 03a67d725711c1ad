//! The one price: flags and variables, over the section `[price]` of the file; and what it makes of the ways to a base.

use anyhow::{Result, bail};
use serde::Deserialize;
use tinysaver_core::route::RoutePrices;
use tinysaver_core::spend::Prices;

use crate::energy::{Board, EnergySettings};

/// Section `[price]` of the configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceFile {
    per_joule: Option<f64>,
    per_millisecond: Option<f64>,
    per_byte: Option<f64>,
}

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
    /// Flags over the file; `None` where no price is named in either. What is not named costs nothing.
    ///
    /// # Errors
    /// A price below 0, or none above it.
    pub fn gather(&self, file: &PriceFile) -> Result<Option<Prices>> {
        let named = [
            self.price_per_joule.or(file.per_joule),
            self.price_per_millisecond.or(file.per_millisecond),
            self.price_per_byte.or(file.per_byte),
        ];
        if named.iter().all(Option::is_none) {
            return Ok(None);
        }
        let [per_joule, per_millisecond, per_byte] = named.map(Option::unwrap_or_default);
        let prices = Prices { per_joule, per_millisecond, per_byte };
        if !prices.are_sound() {
            bail!("prices are numbers from 0 up, and one of them is above 0");
        }
        Ok(Some(prices))
    }

    /// The flags alone: energy where none is named.
    ///
    /// # Errors
    /// As above.
    pub fn prices(&self) -> Result<Prices> {
        Ok(self.gather(&PriceFile::default())?.unwrap_or_default())
    }
}

/// What the base on this board keeps busy.
#[derive(Debug, Clone, Copy)]
pub struct LocalBase {
    /// Whether it computes with f32.
    pub is_f32: bool,
    /// Of an inference.
    pub threads: usize,
}

/// What the ways to a base cost on this board. Its own base is taken to keep as many cores busy as it has threads, or
/// all that the board has.
///
/// # Errors
/// Joules have a price, and no profile says what the board draws.
pub fn route_prices(prices: Prices, energy: &EnergySettings, base: LocalBase) -> Result<RoutePrices> {
    let board = Board::find(energy.board.as_deref(), &energy.root)?;
    let model = board.as_ref().map(Board::power_model).transpose()?.flatten();
    let Some(model) = model.map(|model| model.with(energy.attached)) else {
        if prices.per_joule > 0.0 {
            bail!(
                "a price of joules needs a model of the board's power to tell what a base will cost before it is asked: \
                 name the board with --board, or give milliseconds and bytes a price alone"
            );
        }
        return Ok(RoutePrices { prices, local_watts: 0.0, waiting_watts: 0.0, joules_per_byte: 0.0 });
    };
    // All of its threads are busy while it runs, or wait for each other.
    let threads = u32::try_from(base.threads).unwrap_or(u32::MAX);
    let busy_cores = f64::from(board.as_ref().and_then(Board::cores).map_or(threads, |cores| threads.min(cores)));
    Ok(RoutePrices {
        prices,
        local_watts: model.watts(busy_cores, if base.is_f32 { 1.0 } else { 0.0 }).value(),
        waiting_watts: model.idle().value(),
        joules_per_byte: model.radio(1).value(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: LocalBase = LocalBase { is_f32: false, threads: 1 };

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

    #[test]
    fn flags_go_before_the_file() {
        let file: PriceFile = toml::from_str("per_joule = 2.0\nper_byte = 0.5").unwrap();
        let flags = PriceArgs { price_per_joule: Some(3.0), ..PriceArgs::default() };
        let expected = Prices { per_joule: 3.0, per_millisecond: 0.0, per_byte: 0.5 };
        assert_eq!(flags.gather(&file).unwrap(), Some(expected));
        assert_eq!(PriceArgs::default().gather(&PriceFile::default()).unwrap(), None);
    }

    #[test]
    fn a_board_says_what_a_joule_of_waiting_is() {
        let energy = |board: &str| EnergySettings {
            board: Some(board.into()),
            sensor: tinysaver_board::power::SensorChoice::None,
            idle_watts: None,
            root: "/no/such/root".into(),
            attached: tinysaver_core::energy::Attached::default(),
        };
        let route = route_prices(Prices::default(), &energy("pi4"), ONE).unwrap();
        assert!((route.waiting_watts - 2.81).abs() < 1e-9 && (route.local_watts - 3.705).abs() < 1e-9, "{route:?}");
        let two = route_prices(Prices::default(), &energy("pi4"), LocalBase { threads: 2, ..ONE }).unwrap();
        assert!((two.local_watts - 2.0f64.mul_add(3.705 - 2.81, 2.81)).abs() < 1e-9, "{two:?}");
        let [four, many] = [4, 64].map(|threads| LocalBase { threads, ..ONE });
        let [four, many] = [four, many].map(|base| route_prices(Prices::default(), &energy("pi4"), base).unwrap());
        assert!((four.local_watts - many.local_watts).abs() < 1e-9, "a Pi 4 has four cores: {many:?}");
        let error = route_prices(Prices::default(), &energy("none"), ONE).unwrap_err().to_string();
        assert!(error.contains("--board"), "{error}");
        let of_bytes = Prices { per_joule: 0.0, per_millisecond: 0.0, per_byte: 1.0 };
        assert!(route_prices(of_bytes, &energy("none"), ONE).is_ok());
    }
}
