//! `tinysaver model`: what a file holds, and running it on raw tensors.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use npyz::WriterBuilder;
use serde_json::json;
use tinysaver_board::Tensor;
use tinysaver_engine::{Engine, Fallback, Input, Int8Report, LoadError, ModelReport, inspect, load_best};

use crate::config::KernelArgs;
use crate::failure::Failure;
use crate::serving::arranged;
use crate::threads::ThreadArgs;

/// What to do with a model file.
#[derive(clap::Subcommand)]
pub enum ModelCommand {
    /// Inputs, outputs, operators, parameters, operations, and which engine would run it
    Inspect(InspectArgs),
    /// Run a file on the tensors of a NumPy file and write the logits to another
    Run(RunArgs),
}

/// Arguments of `model inspect`.
#[derive(clap::Args)]
pub struct InspectArgs {
    /// An ONNX file
    #[arg(value_name = "FILE.onnx")]
    file: PathBuf,
    /// Height and width to count operations for, where the file leaves them open
    #[arg(long, value_name = "N")]
    pixels: Option<usize>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// Arguments of `model run`.
#[derive(clap::Args)]
pub struct RunArgs {
    /// An ONNX file
    #[arg(value_name = "FILE.onnx")]
    file: PathBuf,
    /// Normalised pictures: float32 [n, 3, height, width]
    #[arg(long, value_name = "IN.npy")]
    input: PathBuf,
    /// Where the logits go: float32 [n, classes]
    #[arg(long, value_name = "OUT.npy")]
    output: PathBuf,
    #[command(flatten)]
    kernel: KernelArgs,
    #[command(flatten)]
    threads: ThreadArgs,
}

/// Does it.
pub fn execute(command: &ModelCommand, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        ModelCommand::Inspect(args) => execute_inspect(args, out),
        ModelCommand::Run(args) => execute_run(args, out),
    }
}

fn execute_inspect(args: &InspectArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let report = inspect(&args.file, args.pixels.map(|side| (side, side))).map_err(Failure::config)?;
    if args.json {
        writeln!(out, "{}", json!(report))?;
        return Ok(());
    }
    Ok(write_report(&args.file, &report, out)?)
}

fn write_report(file: &Path, report: &ModelReport, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "{}: {} bytes, opset {}, made by {}", file.display(), report.bytes, report.opset, report.producer)?;
    for (role, tensors) in [("input", &report.inputs), ("output", &report.outputs)] {
        for tensor in tensors {
            writeln!(out, "{role:11} {} {} {}", tensor.name, tensor.element, tensor.shape)?;
        }
    }
    writeln!(out, "parameters  {}", report.parameters)?;
    match (report.macs, &report.macs_unknown_because) {
        (Some(macs), _) => writeln!(out, "operations  {:.1} MMAC ({macs})", mega(macs))?,
        (None, reason) => writeln!(out, "operations  unknown: {}", reason.as_deref().unwrap_or("not counted"))?,
    }
    if let Some(reason) = &report.not_int8_because {
        writeln!(out, "int8        no: {reason}")?;
    }
    if let Some(node) = &report.left_out {
        writeln!(out, "left out    {node} at the end: the gate takes logits and applies its own softmax")?;
    }
    if let Some(plan) = &report.int8 {
        write_plan(plan, out)?;
    }
    writeln!(out, "\n{:32} {:>5}  {:10} note", "operator", "count", "engine")?;
    for row in &report.operators {
        let (engine, note) = (row.engine.unwrap_or("none"), row.note.as_deref().unwrap_or_default());
        writeln!(out, "{}", format!("{:32} {:>5}  {engine:10} {note}", row.operator, row.count).trim_end())?;
    }
    Ok(())
}

fn write_plan(plan: &Int8Report, out: &mut dyn Write) -> std::io::Result<()> {
    let kib = plan.arena_bytes.div_ceil(1024);
    writeln!(out, "int8        {} fused steps, {kib} KiB of activations", plan.steps)?;
    if !plan.fallbacks.is_empty() {
        let (count, macs, numbers) = (plan.fallbacks.len(), mega(plan.f32_macs), plan.border_numbers);
        writeln!(out, "in f32      {count} nodes: {macs:.1} MMAC, {numbers} numbers converted at their borders")?;
    }
    for Fallback { op, node, why } in &plan.fallbacks {
        writeln!(out, "  {op} '{node}': {why}")?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mega(count: u64) -> f64 {
    count as f64 / 1e6
}

fn execute_run(args: &RunArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let (shape, pixels) = read_tensors(&args.input).map_err(Failure::config)?;
    let [count, _, height, width] = shape;
    let path = &args.file;
    let bytes =
        std::fs::read(path).map_err(|source| Failure::config(LoadError::Read { path: path.clone(), source }))?;
    let mut engine =
        load_best(path, bytes, Some((height, width)), args.kernel.choice()).map_err(Failure::config)?.engine;
    let threads = args.threads.threads.unwrap_or_default();
    engine.set_threads(&threads.start(1).map_err(Failure::Config)?);
    let mut logits = Vec::with_capacity(count * engine.classes());
    for picture in pixels.chunks_exact(3 * height * width) {
        logits.extend(infer(engine.as_mut(), picture)?);
    }
    write_logits(&args.output, &logits, engine.classes())?;
    writeln!(
        out,
        "{count} inferences of {} in {}, {threads}: logits in {}",
        path.display(),
        engine.name(),
        args.output.display()
    )?;
    Ok(())
}

/// Runs one normalised picture in NCHW, rearranged to what the engine wants.
fn infer(engine: &mut dyn Engine, picture: &[f32]) -> Result<Vec<f32>> {
    let mut logits = vec![0.0; engine.classes()];
    match &arranged(picture, &engine.input()) {
        Tensor::F32(values) => engine.infer(Input::F32(values), &mut logits)?,
        Tensor::U8(steps) => engine.infer(Input::U8(steps), &mut logits)?,
    }
    Ok(logits)
}

fn read_tensors(path: &Path) -> Result<([usize; 4], Vec<f32>)> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let tensor =
        npyz::NpyFile::new(BufReader::new(file)).with_context(|| format!("{}: no NumPy file", path.display()))?;
    let shape: Vec<usize> = tensor.shape().iter().map(|&axis| usize::try_from(axis).unwrap_or(usize::MAX)).collect();
    let &[count, 3, height, width] = shape.as_slice() else {
        bail!("{}: the shape is {shape:?}, wanted [n, 3, height, width]", path.display());
    };
    if height == 0 || width == 0 || tensor.order() != npyz::Order::C {
        bail!("{}: an empty picture, or not in C order", path.display());
    }
    let values = tensor.into_vec().with_context(|| format!("{}: not float32, or cut short", path.display()))?;
    Ok(([count, 3, height, width], values))
}

fn write_logits(path: &Path, logits: &[f32], classes: usize) -> Result<()> {
    let named = || path.display().to_string();
    let shape = [(logits.len() / classes.max(1)) as u64, classes as u64];
    let file = BufWriter::new(File::create(path).with_context(named)?);
    let mut writer =
        npyz::WriteOptions::new().default_dtype().shape(&shape).writer(file).begin_nd().with_context(named)?;
    writer.extend(logits.iter().copied()).with_context(named)?;
    writer.finish().with_context(named)
}
