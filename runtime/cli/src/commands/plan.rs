//! `tinysaver plan`: how many boards one server carries.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::Serialize;
use tinysaver_core::plan::{Demand, QueueEstimate, estimate_queue, largest_rate};
use tinysaver_core::{Exit, Record};

use crate::exit_log::read_logs;
use crate::failure::Failure;

const MICROS: f64 = 1e6;

/// What is known of the boards and of the server.
#[derive(clap::Args)]
pub struct PlanArgs {
    /// Frames a second of one board
    #[arg(long, value_name = "FPS", required_unless_present = "logs")]
    fps: Option<f64>,
    /// Share of the frames that the saver answers itself, 0 to 1
    #[arg(long, value_name = "RATIO", required_unless_present = "logs")]
    exit_ratio: Option<f64>,
    /// Take both from exit logs of real boards instead; --fps and --exit-ratio override them
    #[arg(long = "log", value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// One inference of the base on the server: `compute` of its /metrics, or of `tinysaver bench` there
    #[arg(long, value_name = "MS")]
    service_ms: f64,
    /// Standard deviation of that time divided by its mean
    #[arg(long, value_name = "RATIO", default_value_t = 0.2)]
    service_variation: f64,
    /// Inferences at the same time: `serve --workers`, or Triton's instances
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    workers: u32,
    /// How old a frame may be when its answer comes
    #[arg(long, value_name = "MS", default_value_t = 1000.0)]
    deadline_ms: f64,
    /// What the network and the board take of that
    #[arg(long, value_name = "MS", default_value_t = 100.0)]
    network_ms: f64,
    /// What the queue would be like with so many boards, besides how many there may be
    #[arg(long, value_name = "N")]
    boards: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Plan {
    /// Frames a second and share of them that the saver answers.
    fps: f64,
    exit_ratio: f64,
    requests_per_second_per_board: f64,
    /// 99 of 100 answers are in time up to this many; `None`: they never escalate.
    largest_boards: Option<u64>,
    largest_requests_per_second: f64,
    queue: Option<Queue>,
}

#[derive(Debug, Serialize)]
struct Queue {
    boards: u64,
    requests_per_second: f64,
    /// `None`: more comes in than goes out.
    utilisation: Option<f64>,
    waiting_share: Option<f64>,
    mean_wait_ms: Option<f64>,
    wait_p99_ms: Option<f64>,
}

/// Estimates and says what.
pub fn execute(args: &PlanArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let plan = plan(args).map_err(Failure::Config)?;
    if args.json {
        serde_json::to_writer(&mut *out, &plan).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        write_text(args, &plan, out)?;
    }
    Ok(())
}

fn plan(args: &PlanArgs) -> Result<Plan> {
    let seen = if args.logs.is_empty() { None } else { Some(Seen::read(&args.logs)?) };
    let (Some(fps), Some(exit_ratio)) =
        (args.fps.or_else(|| seen.as_ref()?.fps()), args.exit_ratio.or_else(|| seen.as_ref()?.exit_ratio()))
    else {
        bail!("the logs hold too few answered frames to tell a rate from: give --fps and --exit-ratio");
    };
    check("--fps", fps, 0.0, 1e4)?;
    check("--exit-ratio", exit_ratio, 0.0, 1.0)?;
    check("--service-ms", args.service_ms, 1e-3, 1e6)?;
    check("--service-variation", args.service_variation, 0.0, 10.0)?;
    check("--deadline-ms", args.deadline_ms, 0.0, 1e7)?;
    check("--network-ms", args.network_ms, 0.0, 1e7)?;
    let demand = Demand {
        per_second: 0.0,
        service_seconds: args.service_ms / 1e3,
        variation: args.service_variation,
        workers: args.workers,
    };
    let per_board = fps * (1.0 - exit_ratio);
    let Some(largest) = largest_rate(&demand, (args.deadline_ms - args.network_ms) / 1e3) else {
        bail!("one inference takes longer than --deadline-ms less --network-ms: no board can be served in time");
    };
    let largest_boards = (per_board > 0.0).then(|| (largest / per_board).floor() as u64);
    let boards = args.boards.map(u64::from).or(largest_boards);
    Ok(Plan {
        fps,
        exit_ratio,
        requests_per_second_per_board: per_board,
        largest_boards,
        largest_requests_per_second: largest,
        queue: boards.map(|boards| queue(boards, per_board, demand)),
    })
}

fn check(flag: &str, value: f64, least: f64, most: f64) -> Result<()> {
    if !(least..=most).contains(&value) {
        bail!("{flag} {value}: {least} to {most} is wanted");
    }
    Ok(())
}

fn queue(boards: u64, per_board: f64, demand: Demand) -> Queue {
    let per_second = boards as f64 * per_board;
    let estimate = estimate_queue(&Demand { per_second, ..demand });
    let of = |value: fn(&QueueEstimate) -> f64| estimate.as_ref().map(value);
    Queue {
        boards,
        requests_per_second: per_second,
        utilisation: of(|queue| queue.utilisation),
        waiting_share: of(|queue| queue.waiting_share),
        mean_wait_ms: of(|queue| queue.mean_wait_seconds * 1e3),
        wait_p99_ms: of(|queue| queue.wait_99_seconds * 1e3),
    }
}

fn write_text(args: &PlanArgs, plan: &Plan, out: &mut dyn Write) -> std::io::Result<()> {
    let (fps, percent) = (plan.fps, 100.0 * plan.exit_ratio);
    writeln!(
        out,
        "a board      {fps:.2} frames a second, the saver answers {percent:.1} %: asks {:.3} times a second",
        plan.requests_per_second_per_board
    )?;
    writeln!(
        out,
        "the server   {} x {} ms, 99 of 100 answers within {} ms: {:.1} requests a second",
        args.workers, args.service_ms, args.deadline_ms, plan.largest_requests_per_second
    )?;
    match plan.largest_boards {
        Some(boards) => writeln!(out, "boards       {boards}")?,
        None => writeln!(out, "boards       any number: they never ask")?,
    }
    let Some(queue) = &plan.queue else { return Ok(()) };
    let Queue { boards, requests_per_second, .. } = queue;
    match (queue.utilisation, queue.waiting_share, queue.mean_wait_ms, queue.wait_p99_ms) {
        (Some(used), Some(share), Some(mean), Some(p99)) => writeln!(
            out,
            "with {boards:<7} {requests_per_second:.1} requests a second, {:.0} % busy; {:.0} % wait, {mean:.1} ms on average, 99 of \
             100 below {p99:.1} ms",
            100.0 * used,
            100.0 * share
        ),
        _ => writeln!(
            out,
            "with {boards:<7} {requests_per_second:.1} requests a second: more than it can do; the rest gets 503"
        ),
    }
}

/// What exit logs tell of boards: one run after the other, each with its own clock.
#[derive(Debug, Default)]
struct Seen {
    runs: BTreeMap<String, Run>,
}

#[derive(Debug, Default)]
struct Run {
    answered: u64,
    escalated: u64,
    first_us: Option<u64>,
    last_us: u64,
}

impl Seen {
    fn read(logs: &[PathBuf]) -> Result<Self> {
        let mut seen = Self::default();
        read_logs(logs, |record| seen.add(&record))?;
        Ok(seen)
    }

    fn add(&mut self, record: &Record) {
        let Some(answer) = record.answer() else { return };
        let run = self.runs.entry(record.run.clone()).or_default();
        run.answered += 1;
        run.escalated += u64::from(!matches!(answer.exit, Exit::Saver | Exit::Reused));
        run.first_us = Some(run.first_us.map_or(record.monotonic_us, |first| first.min(record.monotonic_us)));
        run.last_us = run.last_us.max(record.monotonic_us);
    }

    /// Answered frames a second, of all runs together.
    fn fps(&self) -> Option<f64> {
        let frames: u64 = self.runs.values().map(|run| run.answered.saturating_sub(1)).sum();
        let micros: u64 = self.runs.values().map(|run| run.last_us - run.first_us.unwrap_or(run.last_us)).sum();
        (frames > 0 && micros > 0).then(|| frames as f64 * MICROS / micros as f64)
    }

    fn exit_ratio(&self) -> Option<f64> {
        let answered: u64 = self.runs.values().map(|run| run.answered).sum();
        let escalated: u64 = self.runs.values().map(|run| run.escalated).sum();
        (answered > 0).then(|| 1.0 - escalated as f64 / answered as f64)
    }
}
