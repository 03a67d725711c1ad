//! `tinysaver replay`: the decisions of another policy on frames that were recorded, by the gate's own code, and what they
//! would have cost.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::Serialize;
use tinysaver_core::spend::{Priced, WhatIf, WhatIfReport};
use tinysaver_core::{Answer, Exit, Gate, Outcome, Record, Score, Temperature, Threshold};

use crate::config::parse_threshold;
use crate::exit_log::read_logs;
use crate::failure::Failure;
use crate::policy::PolicyFile;
use crate::spending::PriceArgs;

/// What to replay.
#[derive(Debug, Clone, clap::Args)]
pub struct ReplayArgs {
    /// Exit logs: files, or folders in which all exits-*.jsonl files are read
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// The policy to try
    #[arg(long, value_name = "FILE", required_unless_present = "threshold", conflicts_with = "threshold")]
    policy: Option<PathBuf>,
    /// Or a threshold by itself, for whatever models and temperature a frame was recorded with
    #[arg(long, value_name = "P", value_parser = parse_threshold)]
    threshold: Option<Threshold>,
    #[command(flatten)]
    prices: PriceArgs,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Replayed {
    /// Frames on which the gate had decided.
    frames: u64,
    /// Without a decision: dropped, or an answer that was used again.
    passed_over: u64,
    /// Recorded under this very threshold, and decided alike.
    in_force_alike: u64,
    /// Recorded under this very threshold, and decided otherwise: never, unless the log is not this program's.
    in_force_otherwise: u64,
    /// Decided alike by the threshold on the record itself, wherever a budget had moved that.
    own_alike: u64,
    /// And otherwise: never, as above.
    own_otherwise: u64,
    exits_then: u64,
    exits_now: u64,
    /// The saver answered then and would not now: what the base would have said is not known.
    escalate_now: u64,
    /// The other way round.
    exit_now: u64,
    /// The saver's and, of frames that it did not answer, the base's, wherever that runs.
    macs_then: u64,
    macs_now: u64,
    /// Frames with a right class for which both policies' answers are known.
    comparable: u64,
    right_then: u64,
    right_now: u64,
    /// Not this policy's models or temperature: nothing can be said.
    other_models: u64,
    other_temperature: u64,
    /// The logged confidence is not the largest probability.
    other_score: u64,
    /// By source of energy.
    costs: Vec<WhatIfReport>,
    #[serde(skip)]
    what_if: WhatIf,
}

/// What to try.
struct Tried {
    name: String,
    threshold: Threshold,
    /// Without one, a frame's own models, temperature and score.
    policy: Option<PolicyFile>,
}

impl Tried {
    fn of(args: &ReplayArgs) -> Result<Self> {
        match (&args.policy, args.threshold) {
            (Some(path), _) => {
                let policy = PolicyFile::read(path)?;
                Ok(Self { name: path.display().to_string(), threshold: policy.threshold, policy: Some(policy) })
            }
            (None, Some(threshold)) => {
                Ok(Self { name: format!("threshold {}", threshold.value()), threshold, policy: None })
            }
            (None, None) => bail!("name a policy with --policy, or a threshold"),
        }
    }

    /// The gate for frames of a temperature.
    fn gate(&self, temperature: Temperature) -> Gate {
        let gate = Gate { threshold: self.threshold, temperature, score: Score::MaxSoftmax };
        self.policy.as_ref().map_or(gate, PolicyFile::gate)
    }
}

impl Replayed {
    fn add(&mut self, record: &Record, tried: &Tried) {
        let Outcome::Answered(answer) = &record.outcome else {
            self.passed_over += record.frames();
            return;
        };
        let gate = tried.gate(answer.temperature);
        if answer.exit == Exit::Reused {
            self.passed_over += 1;
        } else if tried.policy.as_ref().is_some_and(|policy| !is_for(policy, record)) {
            self.other_models += 1;
        } else if answer.temperature != gate.temperature {
            self.other_temperature += 1;
        } else if tried.policy.is_some()
            && answer.exit == Exit::Saver
            && answer.probability.to_bits() != answer.confidence.to_bits()
        {
            self.other_score += 1;
        } else {
            self.decide(answer, record.truth, &gate);
            self.what_if.add(record, gate.exits(answer.confidence));
        }
    }

    fn decide(&mut self, answer: &Answer, truth: Option<usize>, gate: &Gate) {
        let (then, now) = (answer.exit == Exit::Saver, gate.exits(answer.confidence));
        self.frames += 1;
        self.exits_then += u64::from(then);
        self.exits_now += u64::from(now);
        self.escalate_now += u64::from(then && !now);
        self.exit_now += u64::from(now && !then);
        let by_own = Gate { threshold: answer.threshold, ..*gate }.exits(answer.confidence);
        self.own_alike += u64::from(then == by_own);
        self.own_otherwise += u64::from(then != by_own);
        if answer.threshold == gate.threshold {
            self.in_force_alike += u64::from(then == now);
            self.in_force_otherwise += u64::from(then != now);
        }
        let base = answer.macs_always_base;
        // Of the bases, only a local one's operations are in a record.
        let saver = if answer.exit == Exit::BaseLocal { answer.macs.saturating_sub(base) } else { answer.macs };
        let of = |exits: bool| if exits { saver } else { saver.saturating_add(base) };
        self.macs_then += of(then);
        self.macs_now += of(now);
        if let Some(truth) = truth.filter(|_| now || !then) {
            self.comparable += 1;
            self.right_then += u64::from(answer.class == truth);
            self.right_now += u64::from(if now { answer.saver_class == truth } else { answer.class == truth });
        }
    }
}

fn is_for(policy: &PolicyFile, record: &Record) -> bool {
    is_of(&policy.saver.sha256, &record.saver_model) && is_of(&policy.base.sha256, &record.base_model)
}

/// Logs hold the first digits of a hash.
fn is_of(sha256: &str, short: &str) -> bool {
    !short.is_empty() && sha256.to_lowercase().starts_with(&short.to_lowercase())
}

/// Replays.
pub fn execute(args: &ReplayArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let tried = Tried::of(args).map_err(Failure::config)?;
    let prices = args.prices.prices().map_err(Failure::config)?;
    let mut replayed = replay(args, &tried)?;
    replayed.costs = replayed.what_if.reports(&prices);
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&replayed)?)?;
        return Ok(());
    }
    let Replayed { frames, exits_then, exits_now, .. } = replayed;
    writeln!(out, "frames     {frames} replayed, {} without a decision", replayed.passed_over)?;
    writeln!(out, "exits      {exits_then} then, {exits_now} under {}", tried.name)?;
    writeln!(out, "changed    {} more by the saver, {} more to the base", replayed.exit_now, replayed.escalate_now)?;
    writeln!(
        out,
        "in force   {} frames were recorded under this threshold, {} decided otherwise",
        replayed.in_force_alike + replayed.in_force_otherwise,
        replayed.in_force_otherwise
    )?;
    writeln!(
        out,
        "as logged  {} frames decided by their own threshold, {} otherwise",
        replayed.own_alike + replayed.own_otherwise,
        replayed.own_otherwise
    )?;
    writeln!(out, "MACs       {} then, {} now", replayed.macs_then, replayed.macs_now)?;
    if replayed.comparable > 0 {
        writeln!(
            out,
            "right      {} then, {} now, of {} frames whose answers are known",
            replayed.right_then, replayed.right_now, replayed.comparable
        )?;
    }
    for (count, what) in [
        (replayed.other_models, "of other models"),
        (replayed.other_temperature, "at another temperature"),
        (replayed.other_score, "judged by another score"),
    ] {
        if count > 0 {
            writeln!(out, "left out   {count} frames {what}")?;
        }
    }
    replayed.costs.iter().try_for_each(|report| write_costs(out, report))
}

/// A block for each source: they are never added to each other.
fn write_costs(out: &mut dyn Write, report: &WhatIfReport) -> Result<(), Failure> {
    let WhatIfReport { source, frames, estimated, then, now, .. } = report;
    let title = source.as_ref().map_or_else(|| "no energy".to_owned(), ToString::to_string);
    writeln!(out, "\ncosts, {title}, {frames} frames")?;
    writeln!(out, "{:<10} {:>14} {:>14} {:>14} {:>14}", "", "joules", "ms", "bytes", "price")?;
    for (name, priced) in [("then", Some(then)), ("now", now.as_ref())] {
        let figures = priced.map_or_else(|| ["-"; 4].map(str::to_owned), |priced| figures(priced, source.is_some()));
        let [joules, milliseconds, bytes, price] = figures;
        writeln!(out, "{name:<10} {joules:>14} {milliseconds:>14} {bytes:>14} {price:>14}")?;
    }
    if now.is_none() {
        writeln!(out, "what a base costs is not known: no frame of this source was escalated")?;
    } else if *estimated > 0 {
        writeln!(out, "{estimated} frames get the mean of what the others spent on the base")?;
    }
    Ok(())
}

fn figures(Priced { cost, price }: &Priced, has_energy: bool) -> [String; 4] {
    let joules = if has_energy { format!("{:.3}", cost.joules) } else { "-".to_owned() };
    [joules, format!("{:.1}", cost.milliseconds), format!("{:.0}", cost.bytes), format!("{price:.3}")]
}

fn replay(args: &ReplayArgs, tried: &Tried) -> Result<Replayed> {
    if let Some(policy) = tried.policy.as_ref().filter(|policy| policy.score != Score::MaxSoftmax) {
        bail!("{}: its gate judges by {}, and exit logs keep the largest probability", tried.name, policy.score.name());
    }
    let mut replayed = Replayed::default();
    let counts = read_logs(&args.logs, |record| replayed.add(&record, tried))?;
    let left_out = replayed.other_models + replayed.other_temperature + replayed.other_score;
    if replayed.frames == 0 {
        bail!(
            "nothing can be replayed: {} records, {left_out} of other models, temperatures or scores than {}",
            counts.records,
            tried.name
        );
    }
    Ok(replayed)
}
