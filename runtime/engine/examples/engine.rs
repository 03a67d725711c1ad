//! Drives one engine from a script, for comparisons with other runtimes.
//!
//! `engine ENGINE MODEL serve [THREADS]`: prints a line when the model is loaded, then reads numbers from standard input and
//! answers each with a line after that many inferences; 0 ends it. The script measures this process's CPU time.
//! `engine ENGINE MODEL logits PICTURES OUT`: PICTURES is raw input tensors one after another (u8 or little-endian f32,
//! as the engine wants them), OUT gets the logits as raw little-endian f32.
//! ENGINE is `int8`, `int8-scalar`, `int8-avx2` or `tract`.
#![allow(clippy::print_stdout)]

use std::io::{BufRead, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

use tinysaver_engine::{Engine, Input, Int8Engine, KernelChoice, Threads, TractEngine};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [engine, model, "serve"] => serve(engine, Path::new(model), NonZeroUsize::MIN),
        [engine, model, "serve", threads] => serve(engine, Path::new(model), threads.parse()?),
        [engine, model, "logits", pictures, out] => logits(engine, Path::new(model), pictures, out),
        _ => Err("usage: engine ENGINE MODEL serve [THREADS] | engine ENGINE MODEL logits PICTURES OUT".into()),
    }
}

fn load(engine: &str, model: &Path) -> Result<Box<dyn Engine>, Failure> {
    Ok(match engine.strip_prefix("int8") {
        Some(kernel) => {
            let choice: KernelChoice = kernel.trim_start_matches('-').parse()?;
            Box::new(Int8Engine::load(model, None, choice)?)
        }
        None => Box::new(TractEngine::load(model, None)?),
    })
}

fn serve(engine: &str, model: &Path, threads: NonZeroUsize) -> Result<(), Failure> {
    let started = Instant::now();
    let mut engine = load(engine, model)?;
    engine.set_threads(&Threads::new(threads, threads)?);
    let load_ms = started.elapsed().as_secs_f64() * 1e3;
    let length = engine.input().len();
    let bytes: Vec<u8> = (0..length).map(|index| (index * 37 % 251) as u8).collect();
    let reals: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 128.0 - 1.0).collect();
    let mut logits = vec![0.0; engine.classes()];
    let mut run = |engine: &mut dyn Engine| match engine.name() {
        name if name.starts_with("int8") => engine.infer(Input::U8(&bytes), &mut logits),
        _ => engine.infer(Input::F32(&reals), &mut logits),
    };
    run(engine.as_mut())?;
    println!("READY {} load_ms={load_ms:.2} macs={}", engine.name(), engine.macs());
    for line in std::io::stdin().lock().lines() {
        let count: usize = line?.trim().parse()?;
        if count == 0 {
            break;
        }
        let started = Instant::now();
        for _ in 0..count {
            run(engine.as_mut())?;
        }
        println!("{}", started.elapsed().as_nanos());
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn logits(engine: &str, model: &Path, pictures: &str, out: &str) -> Result<(), Failure> {
    let mut engine = load(engine, model)?;
    let pictures = std::fs::read(pictures)?;
    let length = engine.input().len();
    let mut logits = vec![0.0f32; engine.classes()];
    let mut written = Vec::new();
    let takes_bytes = engine.name().starts_with("int8");
    for picture in pictures.chunks_exact(if takes_bytes { length } else { 4 * length }) {
        let reals: Vec<f32> =
            picture.chunks_exact(4).filter_map(|word| word.try_into().ok()).map(f32::from_le_bytes).collect();
        engine.infer(if takes_bytes { Input::U8(picture) } else { Input::F32(&reals) }, &mut logits)?;
        written.extend(logits.iter().flat_map(|logit| logit.to_le_bytes()));
    }
    Ok(std::fs::write(out, written)?)
}
