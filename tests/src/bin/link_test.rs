//! `make link-test`: what faults of the link do to the frames, and a link that goes up and down under 10,000 of them. Writes
//! docs/figures/link.md and link.json.
//!
//! Every second frame escalates, more or less: the threshold is the median of the saver's confidences in the test pattern.

use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tinysaver_tests::fault_proxy::{Fault, FaultProxy};
use tinysaver_tests::figures::{circumstances, quantile, write_figure};
use tinysaver_tests::finish;
use tinysaver_tests::serving::Server;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const BASE: &str = "lite0-96-f32";
const SAVER: &str = "lite0-96-int8";
const FPS: &str = "30";
const DEADLINE_MS: &str = "500";
/// Of one run with or without a fault, and how often the two alternate.
const FRAMES: usize = 300;
const ROUNDS: usize = 2;
const LONG_FRAMES: usize = 10_000;
const SWITCH: Duration = Duration::from_secs(2);
/// An outage: it begins so long after the first answers, lasts so long, and is watched until so long after.
const OUTAGE_FRAMES: usize = 600;
const OUTAGE_AFTER: Duration = Duration::from_secs(3);
const OUTAGE: Duration = Duration::from_secs(5);
const WATCHED: Duration = Duration::from_secs(11);
/// An answer is at least so long: 1,000 logits.
const ANSWER_BYTES: usize = 4_000;
/// The breaker's pauses are 0.5, 1, 2 and 4 s in an outage of 5 s, each longer by up to a quarter.
const LONGEST_PAUSE_S: f64 = 5.0;

fn main() -> Result<()> {
    let long_frames = std::env::args().nth(1).map_or(Ok(LONG_FRAMES), |text| text.parse())?;
    let server = Server::start(BASE, &["--workers", "1"], None)?;
    let proxy = Arc::new(FaultProxy::start(server.address.parse()?, Fault::None)?);
    let threshold = median_confidence()?;
    let long = long_run(&proxy, &threshold, long_frames)?;
    writeln!(io::stdout(), "{long}")?;
    let mut rows = Vec::new();
    for (name, fault) in faults() {
        let mut row = compare(name, &fault, &proxy, &threshold)?;
        let recovered = recovery(&fault, &proxy, &threshold)?;
        if let Some(fields) = row.as_object_mut() {
            fields.insert("recovery_s".into(), recovered);
        }
        writeln!(io::stdout(), "{row}")?;
        rows.push(row);
        // What was measured stays if the rest is cut short.
        write(&long, &rows)?;
    }
    Ok(())
}

fn faults() -> Vec<(&'static str, Fault)> {
    let milliseconds = Duration::from_millis;
    vec![
        ("none", Fault::None),
        ("refused", Fault::Refuse),
        ("taken and silent", Fault::Hang),
        ("a byte every 40 ms", Fault::Drip(milliseconds(40))),
        ("bytes one at a time", Fault::Drip(Duration::ZERO)),
        ("300 to 400 ms late", Fault::Delay(milliseconds(300), milliseconds(100))),
        ("cut in the preface", Fault::CutAfter(5)),
        ("cut in the first frames", Fault::CutAfter(60)),
        ("cut in a reply", Fault::CutAfter(6000)),
        ("every 20th connection cut", Fault::ResetEvery(20)),
        ("garbage", Fault::Garbage(b"HTTP/1.1 299 whatever\r\n")),
        ("endless zeros", Fault::Garbage(&[0; 4096])),
    ]
}

/// The records of a paced run; an error unless every frame has one, in order.
fn run(url: &str, threshold: &str, frames: usize) -> Result<Vec<Value>> {
    let source = format!("test://?frames={frames}&size=320x240&seed=4");
    let pace = ["run", "--json", "--source", &source, "--realtime", "--fps", FPS];
    let models = ["--saver", SAVER, "--base", BASE, "--no-local-base", "--threshold", threshold];
    let done = finish(&[&pace[..], &models, &["--offload", url, "--deadline-ms", DEADLINE_MS]].concat())?;
    let lines: serde_json::Result<Vec<Value>> = done.out.lines().map(serde_json::from_str).collect();
    let mut lines = lines?;
    let summary = lines.pop().ok_or_else(|| format!("no output: {}", done.err))?;
    let sequences = lines.iter().map(|record| record["sequence"].as_u64());
    if done.code != 0 || lines.len() != frames || !sequences.eq((0..frames as u64).map(Some)) {
        return Err(format!("{} records of {frames} frames, exit code {}: {summary}", lines.len(), done.code).into());
    }
    Ok(lines)
}

fn exits(records: &[Value], name: &str) -> usize {
    records.iter().filter(|record| record["exit"] == name).count()
}

fn median_confidence() -> Result<String> {
    let source = format!("test://?frames={FRAMES}&size=320x240&seed=4");
    let done = finish(&["run", "--json", "--source", &source, "--saver", SAVER, "--base", BASE, "--threshold", "0"])?;
    let lines: Vec<Value> = done.out.lines().map(serde_json::from_str).collect::<serde_json::Result<_>>()?;
    let mut confidences: Vec<f64> = lines.iter().filter_map(|record| record["confidence"].as_f64()).collect();
    confidences.sort_by(f64::total_cmp);
    let median = confidences.get(confidences.len() / 2).ok_or_else(|| format!("no frames: {}", done.err))?;
    Ok(median.to_string())
}

/// The link goes up and down all the time; every frame has one answer.
fn long_run(proxy: &Arc<FaultProxy>, threshold: &str, frames: usize) -> Result<Value> {
    let of_thread = Arc::clone(proxy);
    let (done, stop) = mpsc::channel::<()>();
    let switch = thread::spawn(move || {
        let mut changes = 0;
        while stop.recv_timeout(SWITCH).is_err() {
            changes += 1;
            of_thread.set(if changes % 2 == 0 { Fault::None } else { Fault::Refuse });
        }
        of_thread.set(Fault::None);
        changes
    });
    let records = run(&format!("grpc://{}", proxy.address()), threshold, frames)?;
    done.send(())?;
    let changes = switch.join().map_err(|_| "the switch panicked")?;
    let (saver, remote, fallen) =
        (exits(&records, "saver"), exits(&records, "base_remote"), exits(&records, "fallback"));
    if saver + remote + fallen != frames || remote == 0 || fallen == 0 {
        return Err(format!("{frames} frames, but {saver} + {remote} + {fallen}").into());
    }
    Ok(json!({"frames": frames, "changes": changes, "saver": saver, "base_remote": remote, "fallback": fallen,
        "saver_p99_ms": quantile(&latencies(&records), 0.99)}))
}

/// How old the saver's frames are when they are answered, in milliseconds.
fn latencies(records: &[Value]) -> Vec<f64> {
    let saver = records.iter().filter(|record| record["exit"] == "saver");
    saver.filter_map(|record| record["latency_us"].as_f64()).map(|us| us / 1e3).collect()
}

/// Undisturbed and disturbed runs, one after the other.
fn compare(name: &str, fault: &Fault, proxy: &Arc<FaultProxy>, threshold: &str) -> Result<Value> {
    let url = format!("grpc://{}", proxy.address());
    let (mut well, mut ill) = (Vec::new(), Vec::new());
    let (mut remote, mut fallen) = (0, 0);
    for _ in 0..ROUNDS {
        proxy.set(Fault::None);
        well.extend(latencies(&run(&url, threshold, FRAMES)?));
        proxy.set(fault.clone());
        let records = run(&url, threshold, FRAMES)?;
        (remote, fallen) = (remote + exits(&records, "base_remote"), fallen + exits(&records, "fallback"));
        ill.extend(latencies(&records));
    }
    Ok(json!({"fault": name, "frames": FRAMES * ROUNDS, "saver": ill.len(), "base_remote": remote, "fallback": fallen,
        "p50_ms": quantile(&ill, 0.5), "p50_undisturbed_ms": quantile(&well, 0.5),
        "p99_ms": quantile(&ill, 0.99), "p99_undisturbed_ms": quantile(&well, 0.99)}))
}

/// Seconds from the end of an outage until the server's next answer is through, or null if none came before the run's end.
fn recovery(fault: &Fault, proxy: &Arc<FaultProxy>, threshold: &str) -> Result<Value> {
    proxy.set(Fault::None);
    let (of_thread, fault) = (Arc::clone(proxy), fault.clone());
    let outage = thread::spawn(move || {
        // The board has found the server; from here on it asks it.
        of_thread.wait_until_carried(of_thread.carried_bytes() + ANSWER_BYTES);
        thread::sleep(OUTAGE_AFTER);
        of_thread.set(fault);
        thread::sleep(OUTAGE);
        of_thread.set(Fault::None);
        let over = Instant::now();
        let is_back = of_thread.is_carried_within(of_thread.carried_bytes() + ANSWER_BYTES, WATCHED);
        is_back.then(|| over.elapsed().as_secs_f64())
    });
    run(&format!("grpc://{}", proxy.address()), threshold, OUTAGE_FRAMES)?;
    let seconds = outage.join().map_err(|_| "the outage panicked")?;
    Ok(seconds.map_or(Value::Null, Value::from))
}

fn write(long: &Value, rows: &[Value]) -> Result<()> {
    let (date, load) = circumstances()?;
    let mut text = format!(
        "# Faults of the link\n\n`make link-test`, {date}; test pattern at {FPS} frames a second, saver {SAVER}, base {BASE} behind a proxy, \
         no local base, deadline {DEADLINE_MS} ms; x86_64, 2 cores shared by board, proxy and server. Load average of the machine, other work \
         included: {load}.\n\n\
         **Up and down every {} s**: {} frames, {} changes: {} answered by the saver, {} by the server, {} fell back; none lost, none \
         twice.\n\n\
         Back: from the end of an outage of {} s to the server's next answer; the breaker's pause is {LONGEST_PAUSE_S} s at most then, two \
         of them are the limit.\n\n\
         Each fault against an undisturbed run, alternating, {ROUNDS} x {FRAMES} frames: time to the answer of the frames that the saver \
         is sure of.\n\n\
         | fault | server's answers | fallbacks | p50, undisturbed | p99, undisturbed | p99 ratio | back after |\n|---|---|---|---|---|---|---|\n",
        SWITCH.as_secs(),
        long["frames"],
        long["changes"],
        long["saver"],
        long["base_remote"],
        long["fallback"],
        OUTAGE.as_secs()
    );
    for row in rows {
        let ms = |key: &str| row[key].as_f64().unwrap_or_default();
        text += &format!(
            "| {} | {} | {} | {:.1} ms, {:.1} ms | {:.1} ms, {:.1} ms | {:.2} | {} |\n",
            row["fault"].as_str().unwrap_or_default(),
            row["base_remote"],
            row["fallback"],
            ms("p50_ms"),
            ms("p50_undisturbed_ms"),
            ms("p99_ms"),
            ms("p99_undisturbed_ms"),
            ms("p99_ms") / ms("p99_undisturbed_ms"),
            row["recovery_s"].as_f64().map_or("not within the run".into(), |seconds| format!("{seconds:.1} s"))
        );
    }
    let all =
        json!({"command": "make link-test", "date": date, "load_average": load, "up_and_down": long, "rows": rows});
    Ok(write_figure("link", &text, &all)?)
}
