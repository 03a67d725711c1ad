//! `make scenarios`: what a frame costs on four boards with three links, by the product's own ledger, power model and policy.
//! Deterministic: no clock, no chance. Writes docs/figures/scenarios.md; ends with 1 if the policy does not pick the cheapest.

use std::error::Error;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tinysaver_core::energy::{
    Account, Booking, EnergyStage, FrameWork, Ledger, Modelled, Modeller, Moment, PowerModel, PowerProfile,
};
use tinysaver_core::spend::{Cost, Prices, StepCosts, Way, break_even, cheapest};
use tinysaver_tests::figures::{circumstances, write_figure};
use tinysaver_tests::root;

const FRAMES: u32 = 1000;
const FRAMES_PER_SECOND: f64 = 1.0;
const EXIT_PERCENT: [u32; 4] = [10, 50, 70, 90];
/// A photo for the base.
const SENT_BYTES: u64 = 20_000;
/// Coding it takes this share of the saver's time.
const ENCODE_SHARE: f64 = 0.1;
/// An inference of the base on the server.
const SERVER_MS: f64 = 15.0;
/// The modem's power after each transfer, and for how long it goes on (Huang et al., MobiSys 2012, not verified).
const LTE_TAIL_WATTS: f64 = 1.06;
const LTE_TAIL_SECONDS: f64 = 11.576;

struct Board {
    name: &'static str,
    profile: Option<&'static str>,
    cores: u32,
    saver_ms: f64,
    base_ms: f64,
    source: &'static str,
}

/// MobileNetV2-1.0-224 and EfficientNet-Lite4, both int8, on all cores.
const BOARDS: [Board; 4] = [
    Board {
        name: "Pi Zero 2 W",
        profile: Some("pi-zero-2w"),
        cores: 4,
        saver_ms: 42.0,
        base_ms: 263.0,
        source: "XNNPACK's README: MobileNetV2 int8 on a Pi 3+, 30 ms, scaled from 1.4 to 1 GHz; the base as on the Pi 4",
    },
    Board {
        name: "Pi 4",
        profile: Some("pi4"),
        cores: 4,
        saver_ms: 24.01,
        base_ms: 150.6,
        source: "MLPerf v2.0, Krai, TFLite (docs/data/mlperf-rpi4.tsv)",
    },
    Board {
        name: "Pi 5",
        profile: Some("pi5"),
        cores: 4,
        saver_ms: 4.07,
        base_ms: 31.2,
        source: "the Pi 4's, scaled by ncnn's README: mobilenet_v2 61.9 to 10.5 ms, resnet50 int8 197 to 40.8 ms",
    },
    Board {
        name: "Orin Nano",
        profile: None,
        cores: 6,
        saver_ms: 2.52,
        base_ms: 22.9,
        source: "the Pi 4's, scaled by ncnn's README for its processor: 61.9 to 6.5 ms, 197 to 29.9 ms; power: 2.18 W + 2.6 W of \
                 the carrier idle (NVIDIA's forum), the 7 W mode's limit with the carrier at full load",
    },
];

struct Link {
    name: &'static str,
    round_trip_ms: f64,
    bits_per_ms: f64,
    microjoules_per_byte: f64,
    has_tail: bool,
}

const LINKS: [Option<Link>; 3] = [
    Some(Link {
        name: "Wi-Fi",
        round_trip_ms: 10.0,
        bits_per_ms: 20_000.0,
        microjoules_per_byte: 2.3,
        has_tail: false,
    }),
    Some(Link { name: "LTE", round_trip_ms: 50.0, bits_per_ms: 6_000.0, microjoules_per_byte: 3.5, has_tail: true }),
    None,
];

impl Link {
    fn wait_ms(&self) -> f64 {
        self.round_trip_ms + SENT_BYTES as f64 * 8.0 / self.bits_per_ms + SERVER_MS
    }

    /// The tail ends with the next transfer, so that rare ones cost more each.
    fn radio(&self, escalated: f64) -> f64 {
        let gap_seconds = 1.0 / (FRAMES_PER_SECOND * escalated.max(1e-3));
        let tail = if self.has_tail { LTE_TAIL_WATTS * LTE_TAIL_SECONDS.min(gap_seconds) } else { 0.0 };
        self.microjoules_per_byte + tail * 1e6 / SENT_BYTES as f64
    }
}

/// What a frame does.
#[derive(Clone, Copy)]
enum Does {
    Saver,
    Local,
    Remote,
    SaverThenLocal,
    SaverThenRemote,
}

fn power_profile(board: &Board) -> Result<PowerProfile, Box<dyn Error>> {
    let Some(name) = board.profile else {
        let (idle_watts, full) = (2.18 + 2.6, 7.0 + 2.6);
        return Ok(PowerProfile {
            idle_watts,
            full_cpu_watts: Some(full),
            source: board.source.into(),
            ..PowerProfile::default()
        });
    };
    let text = fs::read_to_string(root().join(format!("targets/{name}.toml")))?;
    let table: toml::Table = toml::from_str(&text)?;
    let modelled = table.get("power").and_then(|power| power.get("modelled")).ok_or("no power.modelled")?;
    Ok(modelled.clone().try_into()?)
}

/// The ledger's sum over frames, of which `exits` of `FRAMES` end at the saver: mean joules and milliseconds.
fn simulate(board: &Board, link: Option<&Link>, exits: u32, exit: Does, else_: Does) -> Result<Cost, Box<dyn Error>> {
    let escalated = 1.0 - f64::from(exits) / f64::from(FRAMES);
    let mut profile = power_profile(board)?;
    profile.radio_microjoules_per_byte = link.map(|link| link.radio(escalated));
    let mut ledger = Ledger::new(Modeller(PowerModel::new(&profile, board.cores)?), Moment::default());
    let (mut now, mut total, mut bytes) = (Moment::default(), Booking::<Modelled>::NONE, 0);
    for frame in 0..u64::from(FRAMES) {
        // Evenly spread, as Bresenham draws lines.
        let exits_before = |frame: u64| frame * u64::from(exits) / u64::from(FRAMES);
        let does = if exits_before(frame + 1) > exits_before(frame) { exit } else { else_ };
        let (work, waits) = work(board, link, does);
        let busy = work.iter().map(|(_, ms)| ms).sum::<f64>() / 1e3;
        let mut booked = FrameWork::default();
        work.iter().for_each(|(stage, ms)| booked.took(*stage, Duration::from_secs_f64(ms / 1e3), false));
        if waits > 0.0 {
            booked.sent(SENT_BYTES);
            bytes += SENT_BYTES;
        }
        now.wall += Duration::from_secs_f64(busy);
        now.cpu += Duration::from_secs_f64(busy * f64::from(board.cores));
        let frame = ledger.close_frame(now, &booked).ok_or("a model always knows")?;
        now.wall += Duration::from_secs_f64(waits / 1e3);
        ledger.close_between(now, Account::Waiting);
        total.wall += frame.frame.wall;
        total.joules += frame.frame.joules + frame.between.waiting.joules;
    }
    total.joules += ledger.take_between().waiting.joules;
    let of_each = |sum: f64| sum / f64::from(FRAMES);
    Ok(Cost {
        joules: of_each(total.joules.value()),
        milliseconds: of_each(now.wall.as_secs_f64() * 1e3),
        bytes: of_each(bytes as f64),
    })
}

/// Stages with their milliseconds, and for how long the board waits.
fn work(board: &Board, link: Option<&Link>, does: Does) -> (Vec<(EnergyStage, f64)>, f64) {
    let saver = (EnergyStage::Saver, board.saver_ms);
    let local = (EnergyStage::BaseLocal, board.base_ms);
    let encode = (EnergyStage::Encode, ENCODE_SHARE * board.saver_ms);
    let wait = link.map_or(0.0, Link::wait_ms);
    match does {
        Does::Saver => (vec![saver], 0.0),
        Does::Local => (vec![local], 0.0),
        Does::Remote => (vec![encode], wait),
        Does::SaverThenLocal => (vec![saver, local], 0.0),
        Does::SaverThenRemote => (vec![saver, encode], wait),
    }
}

/// One row: every way by the ledger, and what the policy picks from the costs of the steps.
fn cell(board: &Board, link: Option<&Link>, percent: u32) -> Result<Value, Box<dyn Error>> {
    let exits = percent * FRAMES / 100;
    let remote = |exits, exit, does| link.map(|link| simulate(board, Some(link), exits, exit, does)).transpose();
    let saver = simulate(board, None, FRAMES, Does::Saver, Does::Saver)?;
    let ways = [
        (Way::CascadeLocal, Some(simulate(board, None, exits, Does::Saver, Does::SaverThenLocal)?)),
        (Way::CascadeRemote, remote(exits, Does::Saver, Does::SaverThenRemote)?),
        (Way::AlwaysLocal, Some(simulate(board, None, 0, Does::Local, Does::Local)?)),
        (Way::AlwaysRemote, remote(0, Does::Remote, Does::Remote)?),
    ];
    // A step of its own: one escalation's share of the tail is that of the cascade's.
    let local = simulate(board, None, 0, Does::Local, Does::Local)?;
    let step = remote(exits, Does::Saver, Does::SaverThenRemote)?.map(|cascade| {
        let share = 1.0 - f64::from(percent) / 100.0;
        Cost {
            joules: (cascade.joules - saver.joules) / share,
            milliseconds: (cascade.milliseconds - saver.milliseconds) / share,
            bytes: cascade.bytes / share,
        }
    });
    let always_remote = ways[3].1;
    let steps = StepCosts { saver, local: Some(local), remote: step, exit_ratio: f64::from(percent) / 100.0 };
    let prices = Prices::default();
    let (picked, picked_cost) = pick(&steps, always_remote, &prices).ok_or("no way")?;
    let known = ways.iter().filter_map(|(way, cost)| Some((*way, (*cost)?)));
    let best = known.clone().min_by(|(_, one), (_, other)| one.joules.total_cmp(&other.joules)).ok_or("no way")?;
    let cascade = known.filter(|(way, _)| matches!(way, Way::CascadeLocal | Way::CascadeRemote));
    let cascade = cascade.min_by(|(_, one), (_, other)| one.joules.total_cmp(&other.joules)).ok_or("no way")?;
    if (best.1.joules / picked_cost.joules - 1.0).abs() > 1e-6 {
        return Err(format!("{}: the policy picks {}, {} is cheaper", board.name, picked.name(), best.0.name()).into());
    }
    Ok(json!({
        "board": board.name, "link": link.map_or("none", |link| link.name), "exit_percent": percent,
        "always_saver": saver, "always_local": ways[2].1, "always_remote": always_remote,
        "cascade": cascade.1, "cascade_route": cascade.0.name(), "picked": picked.name(),
        "cascade_loses": !matches!(best.0, Way::CascadeLocal | Way::CascadeRemote),
        "break_even_local": break_even(&saver, &local, &prices),
        "break_even_remote": step.and_then(|step| break_even(&saver, &step, &prices)),
    }))
}

/// The policy with the costs of the steps. Asking elsewhere for every frame shares the modem's tail among more frames, and so
/// has a cost of its own.
fn pick(steps: &StepCosts, always_remote: Option<Cost>, prices: &Prices) -> Option<(Way, Cost)> {
    let cascades = cheapest(steps, prices, None)?;
    let always = cheapest(&StepCosts { remote: always_remote, exit_ratio: 0.0, ..*steps }, prices, None)?;
    Some(if prices.of(&always.1) < prices.of(&cascades.1) { always } else { cascades })
}

fn row(cell: &Value) -> String {
    let figures = |key: &str| {
        let cost = &cell[key];
        match (cost["milliseconds"].as_f64(), cost["joules"].as_f64()) {
            (Some(ms), Some(joules)) => format!("{ms:.1} ms, {:.0} mJ", joules * 1e3),
            _ => "-".to_owned(),
        }
    };
    let text = |key: &str| cell[key].as_str().unwrap_or_default().to_owned();
    let verdict = if cell["cascade_loses"] == true { "**loses**" } else { "wins" };
    format!(
        "| {} | {} | {} % | {} | {} | {} | {} ({}) | {} | {} |",
        text("board"),
        text("link"),
        cell["exit_percent"],
        figures("always_saver"),
        figures("always_local"),
        figures("always_remote"),
        figures("cascade"),
        text("cascade_route").trim_start_matches("cascade, "),
        verdict,
        text("picked")
    )
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut cells = Vec::new();
    for board in &BOARDS {
        for link in &LINKS {
            for percent in EXIT_PERCENT {
                cells.push(cell(board, link.as_ref(), percent)?);
            }
        }
    }
    let (date, _) = circumstances()?;
    let losses = cells.iter().filter(|cell| cell["cascade_loses"] == true).count();
    let sources: Vec<String> = BOARDS.iter().map(|board| format!("- {}: {}.", board.name, board.source)).collect();
    let rows: Vec<String> = cells.iter().map(row).collect();
    let text = format!(
        "# Scenarios\n\n`make scenarios`, {date}: milliseconds and millijoules of a frame, **modelled, not measured**: {FRAMES} frames \
         through the ledger and the\npower model of `runtime/core`, with times that others published. Work and waiting; idling between \
         frames is left out.\nThe saver alone is no choice of the policy: it is not as right as the base. In {losses} of {} cells the \
         cascade loses, and\nthe policy (energy alone, no deadline) picks the cheapest way in all of them; the command fails otherwise.\n\n\
         | board | link | exit ratio | always saver | always local base | always remote base | cascade | cascade | policy picks |\n\
         |---|---|---|---|---|---|---|---|---|\n{}\n\n## What stands behind it\n\nSaver MobileNetV2-1.0-224, base \
         EfficientNet-Lite4, both int8, all cores busy; watts by `targets/*.toml`.\n\n{}\n- Links, assumed: Wi-Fi 10 ms round trip, \
         20 Mbit/s, 2.3 uJ a byte; LTE 50 ms, 6 Mbit/s, 3.5 uJ a byte and a tail of 1.06 W for up to\n  11.6 s after each transfer \
         (Huang et al. 2012, as quoted by others; +- 50 %); one frame a second, {SENT_BYTES} bytes each, {SERVER_MS} ms on the server.\n",
        cells.len(),
        rows.join("\n"),
        sources.join("\n")
    );
    let numbers = json!({ "command": "make scenarios", "date": date, "n": FRAMES, "spread": "none: deterministic", "cells": cells });
    write_figure("scenarios", &text, &numbers)?;
    use std::io::Write as _;
    write!(std::io::stdout(), "{text}")?;
    Ok(())
}
