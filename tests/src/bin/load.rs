//! `make load`: a thousand boards and one `serve`, and what `tinysaver plan` says of them. Writes docs/figures/load.md.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};
use tinysaver_tests::boards::{Fleet, Heard, photo_request, simulate};
use tinysaver_tests::figures::{circumstances, mean, quantile, variation, write_figure};
use tinysaver_tests::serving::Server;
use tinysaver_tests::{finish, root};

const MODEL: &str = "lite0-224-int8";
const BOARDS: u32 = 1000;
const WORKERS: &str = "2";
/// Shares of what the server can do that all boards together ask for.
const LOADS: [f64; 3] = [0.4, 0.8, 3.0];
const PHOTO: &str = "models/imagenet-lite/build/photos/known/lion.jpg";

/// Where the time of the answered requests went on the server.
#[derive(Debug, Default)]
struct Served {
    wait_ms: Vec<f64>,
    compute_ms: Vec<f64>,
}

impl Served {
    fn read(log: &str) -> Self {
        let mut served = Self::default();
        for line in log.lines().filter(|line| line.contains("outcome=ok")) {
            let of = |key: &str| {
                line.split_whitespace().find_map(|word| word.strip_prefix(key)?.parse::<f64>().ok()).map(|us| us / 1e3)
            };
            if let (Some(wait), Some(compute)) = (of("wait_us="), of("compute_us=")) {
                served.wait_ms.push(wait);
                served.compute_ms.push(compute);
            }
        }
        served
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(30), |text| text.parse())?;
    let request = photo_request(MODEL, &fs::read(root().join(PHOTO))?);
    // What it can do on this machine, now: four boards that ask all the time.
    let (busy, served, _) = run(&request, Fleet { boards: 4, per_second: 1e6, duration: Duration::from_secs(5) })?;
    let capacity = busy.answered as f64 / 5.0;
    writeln!(io::stdout(), "{capacity:.1} requests a second, {:.1} ms each", mean(&served.compute_ms))?;
    let mut rows = Vec::new();
    for load in LOADS {
        let per_second = load * capacity / f64::from(BOARDS);
        let fleet = Fleet { boards: BOARDS, per_second, duration: Duration::from_secs(seconds) };
        let (heard, served, peak_bytes) = run(&request, fleet)?;
        if let Some(wrong) = heard.wrong.first() {
            return Err(format!("{} wrong answers, the first: {wrong}", heard.wrong.len()).into());
        }
        let row = row(load, fleet, &heard, &served, peak_bytes)?;
        writeln!(io::stdout(), "{row}")?;
        rows.push(row);
    }
    write(capacity, seconds, &rows)
}

fn run(request: &[u8], fleet: Fleet) -> Result<(Heard, Served, u64), Box<dyn Error>> {
    let log = tempfile::NamedTempFile::new()?;
    let arguments = ["--workers", WORKERS, "--max-connections", "1100", "--max-wait-ms", "10000"];
    let server = Server::start(MODEL, &arguments, Some(File::create(log.path())?))?;
    let heard = simulate(server.address.parse()?, request, fleet);
    let peak_bytes = server.memory_bytes("VmHWM")?;
    server.signal("TERM")?;
    if server.wait()? != 0 {
        return Err("the server did not end well".into());
    }
    let served = Served::read(&fs::read_to_string(log.path())?);
    Ok((heard, served, peak_bytes))
}

fn row(load: f64, fleet: Fleet, heard: &Heard, served: &Served, peak_bytes: u64) -> Result<Value, Box<dyn Error>> {
    let ms = |share: f64| quantile(&heard.latencies_ms, share);
    let service_ms = mean(&served.compute_ms);
    let planned = planned(fleet.per_second, service_ms, variation(&served.compute_ms))?;
    Ok(json!({
        "load": load, "boards": fleet.boards, "per_second": fleet.per_second * f64::from(fleet.boards),
        "answered": heard.answered, "refused_503": heard.refused, "other": heard.wrong.len(),
        "p50_ms": ms(0.5), "p99_ms": ms(0.99), "peak_rss_mib": peak_bytes as f64 / f64::from(1 << 20),
        "service_ms": service_ms, "service_variation": variation(&served.compute_ms),
        "wait_mean_ms": mean(&served.wait_ms), "wait_p99_ms": quantile(&served.wait_ms, 0.99), "plan": planned,
    }))
}

/// What `tinysaver plan` says of it.
fn planned(per_second: f64, service_ms: f64, variation: f64) -> Result<Value, Box<dyn Error>> {
    let numbers = [per_second, service_ms, variation].map(|number| number.to_string());
    let [fps, service, variation] = &numbers;
    let boards = BOARDS.to_string();
    let arguments =
        ["plan", "--json", "--exit-ratio", "0", "--fps", fps, "--service-ms", service, "--workers", WORKERS];
    let more = ["--service-variation", variation, "--boards", &boards, "--deadline-ms", "2000"];
    let plan = finish(&[&arguments[..], &more].concat())?;
    let plan: Value = serde_json::from_str(&plan.out).map_err(|error| format!("{error}: {plan:?}"))?;
    Ok(plan.get("queue").cloned().unwrap_or_default())
}

fn write(capacity: f64, seconds: u64, rows: &[Value]) -> Result<(), Box<dyn Error>> {
    let (date, load) = circumstances()?;
    let mut text = format!(
        "# A thousand boards\n\n`make load`, {date}: {BOARDS} connections, each asking {MODEL} for a photo at random moments, for \
         {seconds} s on one machine of 2 cores with the server ({WORKERS} workers, queue of 64). Alone it does {capacity:.0} requests a \
         second here. Load average of the machine, other work included: {load}.\n\n\
         | asked a second | answered | 503 | other | p50 | p99 | peak memory | one inference | mean wait: measured, `plan` | 99 of 100 \
         wait at most: measured, `plan` |\n|---|---|---|---|---|---|---|---|---|---|\n"
    );
    for row in rows {
        let number = |key: &str| row[key].as_f64().unwrap_or_default();
        let plan = |key: &str| {
            let planned = row.pointer(&format!("/plan/{key}")).and_then(Value::as_f64);
            planned.map_or("more than it can do".into(), |ms| format!("{ms:.1} ms"))
        };
        text += &format!(
            "| {:.1} | {} | {} | {} | {:.0} ms | {:.0} ms | {:.0} MiB | {:.1} ms, cv {:.2} | {:.1} ms, {} | {:.1} ms, {} |\n",
            number("per_second"),
            row["answered"],
            row["refused_503"],
            row["other"],
            number("p50_ms"),
            number("p99_ms"),
            number("peak_rss_mib"),
            number("service_ms"),
            number("service_variation"),
            number("wait_mean_ms"),
            plan("mean_wait_ms"),
            number("wait_p99_ms"),
            plan("wait_p99_ms"),
        );
    }
    let all = json!({"command": "make load", "date": date, "load_average": load, "capacity_per_second": capacity,
        "seconds": seconds, "rows": rows});
    Ok(write_figure("load", &text, &all)?)
}
