//! One file a subcommand.

mod bench;
mod bench_board;
#[cfg(feature = "lab")]
mod calibrate;
mod cameras;
mod check;
mod doctor;
#[cfg(feature = "lab")]
mod evaluate;
mod export;
#[cfg(feature = "lab")]
mod import;
mod model;
mod pki;
mod plan;
mod power;
mod power_cost;
mod power_fit;
#[cfg(feature = "lab")]
mod record;
mod replay;
mod report;
mod run;
#[cfg(feature = "lab")]
mod select;
mod serve;
mod version;

use std::io::Write;

use crate::failure::Failure;

/// What to do.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Classify frames of a camera, a stream or pictures: the saver answers what it is sure of, the base the rest
    Run(run::RunArgs),
    /// Say whether settings, pair and models can be used, without classifying anything
    Check(check::CheckArgs),
    /// Which cameras there are, what they offer, and what would be taken of that
    Cameras(cameras::CamerasArgs),
    /// What is wrong with this board, and what to type
    Doctor(doctor::DoctorArgs),
    /// Look into model files, or run one on raw tensors
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// What this board tells of its power, temperature and clock, and what a run's energy would be booked by
    Power(power::PowerArgs),
    /// Time inferences on this board: CPU and wall time, multiply-accumulates a second
    Bench(bench::BenchArgs),
    /// What exit logs amount to: exit ratios, latency, operations saved, confidence, accuracy
    Report(report::ReportArgs),
    /// What another policy would have done with recorded frames; to the bit for the one that was in force
    Replay(replay::ReplayArgs),
    /// Run a pool of models over a data set and keep what they say (Parquet)
    #[cfg(feature = "lab")]
    Record(record::RecordArgs),
    /// Make records of logits that other programs wrote: NPY, NPZ or CSV
    #[cfg(feature = "lab")]
    Import(import::ImportArgs),
    /// Which models of a pool are worth having as the saver of a base: the TinySaver paper's search, with intervals
    #[cfg(feature = "lab")]
    Select(select::SelectArgs),
    /// Choose the gate's threshold with a promise that holds on unseen frames, or refuse
    #[cfg(feature = "lab")]
    Calibrate(calibrate::CalibrateArgs),
    /// What a threshold does to records that it was not chosen on
    #[cfg(feature = "lab")]
    Evaluate(evaluate::EvaluateArgs),
    /// Be the base on another machine: serve models of a pair over the Open Inference Protocol v2, REST and gRPC
    Serve(serve::ServeArgs),
    /// The base for servers of others: a Triton model repository, a KServe manifest
    Export(export::ExportArgs),
    /// How many boards one server carries, from frame rate, exit ratio and the time of one inference
    Plan(plan::PlanArgs),
    /// Certificates for `serve` and its boards, for those who have no authority of their own
    #[command(subcommand)]
    Pki(pki::PkiCommand),
    /// This program's version and what it runs on
    Version(version::VersionArgs),
}

impl Command {
    /// Does it; prints to `out`.
    pub fn execute(&self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Run(args) => run::execute(args, out),
            Self::Check(args) => check::execute(args, out),
            Self::Cameras(args) => cameras::execute(args, out),
            Self::Doctor(args) => doctor::execute(args, out),
            Self::Model(command) => model::execute(command, out),
            Self::Power(args) => power::execute(args, out),
            Self::Bench(args) => bench::execute(args, out),
            Self::Report(args) => Ok(report::execute(args, out)?),
            Self::Replay(args) => replay::execute(args, out),
            #[cfg(feature = "lab")]
            Self::Record(args) => record::execute(args, out),
            #[cfg(feature = "lab")]
            Self::Import(args) => import::execute(args, out),
            #[cfg(feature = "lab")]
            Self::Select(args) => select::execute(args, out),
            #[cfg(feature = "lab")]
            Self::Calibrate(args) => calibrate::execute(args, out),
            #[cfg(feature = "lab")]
            Self::Evaluate(args) => evaluate::execute(args, out),
            Self::Serve(args) => serve::execute(args, out),
            Self::Export(args) => export::execute(args, out),
            Self::Plan(args) => plan::execute(args, out),
            Self::Pki(command) => pki::execute(command, out),
            Self::Version(args) => version::execute(args, out),
        }
    }
}
