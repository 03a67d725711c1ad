//! `tinysaver cameras`: which cameras there are, what they offer, and what would be taken of that.

use std::io::Write;

use anyhow::Context;
use serde_json::json;
use tinysaver_board::{CameraInfo, FormatOffer, RateRange, SizeOffer, SizeRange, list_cameras};

use crate::failure::Failure;

/// Arguments of `cameras`.
#[derive(clap::Args)]
pub struct CamerasArgs {
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// Lists them.
pub fn execute(args: &CamerasArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let (cameras, other_nodes) = list_cameras().context("/dev")?;
    if args.json {
        writeln!(out, "{}", json!({ "cameras": cameras, "other_nodes": other_nodes }))?;
        return Ok(());
    }
    if cameras.is_empty() {
        writeln!(out, "no camera with a device node (/dev/video*){}", other(other_nodes))?;
        writeln!(out, "a CSI camera of a Raspberry Pi has none that can be used: --source rpicam://0")?;
        return Ok(());
    }
    for camera in &cameras {
        write_camera(out, camera)?;
    }
    Ok(())
}

fn other(nodes: usize) -> String {
    if nodes == 0 { String::new() } else { format!("; {nodes} nodes give metadata or take video") }
}

fn write_camera(out: &mut dyn Write, camera: &CameraInfo) -> std::io::Result<()> {
    writeln!(out, "{}  {} ({}, {})", camera.path.display(), camera.card, camera.driver, camera.bus)?;
    for link in &camera.links {
        writeln!(out, "  also {}", link.display())?;
    }
    for format in &camera.formats {
        write_format(out, format)?;
    }
    match (&camera.choice, &camera.problem) {
        (Some(choice), _) => writeln!(out, "  would take {}", choice.reason),
        (None, Some(problem)) => writeln!(out, "  cannot be used: {problem}"),
        (None, None) => Ok(()),
    }
}

fn write_format(out: &mut dyn Write, format: &FormatOffer) -> std::io::Result<()> {
    let code = String::from_utf8_lossy(&format.fourcc);
    let note = if format.served { "" } else { "  (not served)" };
    writeln!(out, "  {code}  {}{note}", format.description)?;
    if format.served {
        for size in &format.sizes {
            writeln!(out, "    {}", show_size(size))?;
        }
    }
    Ok(())
}

fn show_size(offer: &SizeOffer) -> String {
    let size = match offer.size {
        SizeRange::Discrete { width, height } => format!("{width}x{height}"),
        SizeRange::Stepwise { min, max, step } => {
            format!("{}x{} to {}x{} in steps of {}x{}", min.0, min.1, max.0, max.1, step.0, step.1)
        }
    };
    let rates: Vec<String> = offer.rates.iter().map(|rate| show_rate(*rate)).collect();
    if rates.is_empty() { size } else { format!("{size}  {} fps", rates.join(", ")) }
}

fn show_rate(RateRange { min, max }: RateRange) -> String {
    let one = |rate: f64| format!("{rate:.2}").trim_end_matches('0').trim_end_matches('.').to_owned();
    if (max - min).abs() < 0.005 { one(max) } else { format!("{} to {}", one(min), one(max)) }
}
