//! `tinysaver replay`: the decisions of another policy on frames that were recorded, by the gate's own code.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::Serialize;
use tinysaver_core::{Answer, Exit, Gate, Outcome, Record, Score};

use crate::exit_log::read_logs;
use crate::failure::Failure;
use crate::policy::PolicyFile;

/// What to replay.
#[derive(Debug, Clone, clap::Args)]
pub struct ReplayArgs {
    /// Exit logs: files, or folders in which all exits-*.jsonl files are read
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// The policy to try
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
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
}

impl Replayed {
    fn add(&mut self, record: &Record, policy: &PolicyFile, gate: &Gate) {
        let Outcome::Answered(answer) = &record.outcome else {
            self.passed_over += record.frames();
            return;
        };
        if answer.exit == Exit::Reused {
            self.passed_over += 1;
        } else if !is_of(&policy.saver.sha256, &record.saver_model) || !is_of(&policy.base.sha256, &record.base_model) {
            self.other_models += 1;
        } else if answer.temperature != gate.temperature {
            self.other_temperature += 1;
        } else if answer.exit == Exit::Saver && answer.probability.to_bits() != answer.confidence.to_bits() {
            self.other_score += 1;
        } else {
            self.decide(answer, record.truth, gate);
        }
    }

    fn decide(&mut self, answer: &Answer, truth: Option<usize>, gate: &Gate) {
        let (then, now) = (answer.exit == Exit::Saver, gate.exits(answer.confidence));
        self.frames += 1;
        self.exits_then += u64::from(then);
        self.exits_now += u64::from(now);
        self.escalate_now += u64::from(then && !now);
        self.exit_now += u64::from(now && !then);
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

/// Logs hold the first digits of a hash.
fn is_of(sha256: &str, short: &str) -> bool {
    !short.is_empty() && sha256.to_lowercase().starts_with(&short.to_lowercase())
}

/// Replays.
pub fn execute(args: &ReplayArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let policy = PolicyFile::read(&args.policy).map_err(Failure::config)?;
    let replayed = replay(args, &policy)?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&replayed)?)?;
        return Ok(());
    }
    let Replayed { frames, exits_then, exits_now, .. } = replayed;
    writeln!(out, "frames     {frames} replayed, {} without a decision", replayed.passed_over)?;
    writeln!(out, "exits      {exits_then} then, {exits_now} under {}", args.policy.display())?;
    writeln!(out, "changed    {} more by the saver, {} more to the base", replayed.exit_now, replayed.escalate_now)?;
    writeln!(
        out,
        "in force   {} frames were recorded under this threshold, {} decided otherwise",
        replayed.in_force_alike + replayed.in_force_otherwise,
        replayed.in_force_otherwise
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
    Ok(())
}

fn replay(args: &ReplayArgs, policy: &PolicyFile) -> Result<Replayed> {
    if policy.score != Score::MaxSoftmax {
        bail!(
            "{}: its gate judges by {}, and exit logs keep the largest probability",
            args.policy.display(),
            policy.score.name()
        );
    }
    let (gate, mut replayed) = (policy.gate(), Replayed::default());
    let counts = read_logs(&args.logs, |record| replayed.add(&record, policy, &gate))?;
    let left_out = replayed.other_models + replayed.other_temperature + replayed.other_score;
    if replayed.frames == 0 {
        bail!(
            "nothing can be replayed: {} records, {left_out} of other models, temperatures or scores than {}",
            counts.records,
            args.policy.display()
        );
    }
    Ok(replayed)
}
