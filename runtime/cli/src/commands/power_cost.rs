//! `tinysaver power cost`: what booking energy costs the board itself.

use std::io::Write;
use std::time::Duration;

use crate::energy::{BookingCost, EnergyArgs, EnergyFile, EnergySettings};
use crate::failure::Failure;

/// Arguments of `power cost`.
#[derive(clap::Args)]
pub struct CostArgs {
    #[command(flatten)]
    energy: EnergyArgs,
    /// Read the sensor for so many seconds, ten times a second
    #[arg(long, value_name = "N", default_value_t = 10.0, value_parser = super::power::parse_seconds)]
    seconds: f64,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// Measures and says so.
pub fn execute(args: &CostArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let settings = EnergySettings::gather(&args.energy, None, EnergyFile::default()).map_err(Failure::Config)?;
    let cost = BookingCost::measure(&settings, Duration::from_secs_f64(args.seconds)).map_err(Failure::Config)?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&cost)?)?;
        return Ok(());
    }
    writeln!(out, "source: {}", cost.source)?;
    match &cost.sampling {
        None => writeln!(out, "sampling: none, nothing is read")?,
        Some(sampling) => writeln!(
            out,
            "sampling: {:.3} % of one core over {:.1} s; {:.1} us a reading (median of {}, {:.1} to {:.1}), {} failed",
            sampling.share_of_core * 100.0,
            sampling.seconds,
            sampling.reading_us.median,
            sampling.readings,
            sampling.reading_us.min,
            sampling.reading_us.max,
            sampling.failed
        )?,
    }
    let frame = &cost.ledger.frame_us;
    writeln!(
        out,
        "books: {:.2} us a frame (median of {} rounds of {} frames, {:.2} to {:.2})",
        frame.median, frame.n, cost.ledger.frames_per_round, frame.min, frame.max
    )?;
    Ok(())
}
