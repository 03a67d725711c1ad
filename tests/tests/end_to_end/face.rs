//! What people see: the live page with its viewers, good and bad, displays, and the doctor.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tinysaver_tests::{Finished, finish, tinysaver};

use crate::live::LABELLED;
use crate::main_job::run_json;

/// However loaded the machine is.
const LONGEST: Duration = Duration::from_secs(60);

/// A run with a live page.
pub struct Page {
    child: Child,
    address: String,
    rest: BufReader<std::process::ChildStdout>,
}

impl Page {
    pub fn start(arguments: &[&str]) -> Self {
        let mut all = vec!["run", "--quiet", "--http", "127.0.0.1:0"];
        all.extend_from_slice(arguments);
        let mut child = tinysaver(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut rest = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("live page: http://") {
            line.clear();
            assert!(rest.read_line(&mut line).unwrap() > 0, "no live page");
        }
        let address = line.trim().trim_start_matches("live page: http://").trim_end_matches('/').to_owned();
        Self { child, address, rest }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LONGEST)).unwrap();
        stream
    }

    /// Status and whole reply.
    fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = self.connect();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        (reply.split(' ').nth(1).unwrap().parse().unwrap(), reply)
    }

    fn get(&self, path: &str) -> (u16, String) {
        let (status, reply) = self.ask("GET", path);
        (status, reply.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.get("/status.json").1).unwrap()
    }

    /// Asks until it is so; every try is a request of its own.
    pub fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + LONGEST;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "never {what}: {}", self.status());
        }
    }

    pub fn metric(&self, name: &str) -> f64 {
        let (status, text) = self.get("/metrics");
        assert_eq!(status, 200);
        let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.map_or(f64::NAN, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    fn watch(&self) -> Viewer {
        let mut stream = self.connect();
        stream.write_all(b"GET /stream.mjpg HTTP/1.0\r\n\r\n").unwrap();
        Viewer(BufReader::new(stream))
    }

    /// Ctrl-C; gives what it said.
    pub fn end(mut self) -> Finished {
        let status = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
        let mut out = String::new();
        self.rest.read_to_string(&mut out).unwrap();
        let mut err = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        Finished { code: self.child.wait().unwrap().code().unwrap(), out, err }
    }
}

struct Viewer(BufReader<TcpStream>);

impl Viewer {
    /// The next picture, decoded.
    fn picture(&mut self) -> image::RgbImage {
        let mut length = None;
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream ended");
            match (line.trim(), length) {
                ("", Some(length)) => {
                    let mut jpeg = vec![0; length];
                    self.0.read_exact(&mut jpeg).unwrap();
                    return image::load_from_memory(&jpeg).unwrap().to_rgb8();
                }
                (line, _) => {
                    let found = line.to_ascii_lowercase().strip_prefix("content-length: ").and_then(|n| n.parse().ok());
                    length = found.or(length);
                }
            }
        }
    }
}

const PACED: [&str; 5] = ["--source", "test://?frames=100000&size=320x240&seed=3", "--realtime", "--fps", "40"];

#[test]
fn the_live_page_tells_what_the_run_does() {
    let page = Page::start(&[&PACED[..], &["--threshold", "0.3"]].concat());
    page.until("ready", |page| page.get("/v2/health/ready").0 == 200);
    assert_eq!(page.get("/v2/health/live"), (200, r#"{"live":true}"#.into()));
    let (status, html) = page.ask("GET", "/");
    assert!(status == 200 && html.contains("content-security-policy") && html.contains("/stream.mjpg"));
    assert!(!html.contains("https://") && !html.contains("//cdn"), "nothing from elsewhere");
    page.until("100 answers", |page| page.status()["answered"].as_u64().unwrap() >= 100);
    let told = page.status();
    let frames = |exit: &Value| exit["frames"].as_u64().unwrap();
    let exits = told["exits"].as_array().unwrap();
    assert_eq!(exits.iter().map(frames).sum::<u64>(), told["answered"].as_u64().unwrap());
    assert!(frames(&exits[1]) > 0 && frames(&exits[2]) > 0, "saver and base both answer: {told}");
    assert!(told["latency"]["p50_ms"].as_f64().unwrap() > 0.0 && told["readiness"]["ready"] == true);
    assert!(page.metric("tinysaver_frames_total{exit=\"saver\"}") >= frames(&exits[1]) as f64);
    assert_eq!(page.metric("tinysaver_stream_encoding_seconds_count"), 0.0, "nothing is encoded for nobody");
    let (status, words) = page.get("/nothing");
    assert!(status == 404 && words.contains("/status.json"));
    assert_eq!((page.ask("POST", "/").0, page.ask("HEAD", "/status.json").0), (405, 200));
    let Finished { code, out, err } = page.end();
    assert!(code == 0 && out.contains("interrupted after"), "{code} {out} {err}");
}

#[test]
fn viewers_share_one_encoding_and_see_it_move() {
    let page = Page::start(&PACED);
    let (mut one, mut two) = (page.watch(), page.watch());
    let first = one.picture();
    assert_eq!(first.dimensions(), (480, 360), "small pictures are enlarged, so that words can be read");
    let moved = (0..50).any(|_| one.picture() != first);
    assert!(moved, "the picture stands still");
    two.picture();
    assert_eq!(page.status()["viewers"], 2);
    drop((one, two));
    page.until("alone", |page| page.status()["viewers"] == 0);
    let encoded = page.metric("tinysaver_stream_encoding_seconds_count");
    let answered = page.status()["answered"].as_u64().unwrap();
    page.until("further", |page| page.status()["answered"].as_u64().unwrap() > answered + 40);
    // One may have been under way when the last viewer left.
    assert!(page.metric("tinysaver_stream_encoding_seconds_count") <= encoded + 1.0, "encoded for nobody");
    assert_eq!(page.end().code, 0);
}

#[test]
fn hostile_viewers_hold_up_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.toml");
    fs::write(&config, "[http]\nmax_viewers = 2\n").unwrap();
    let page = Page::start(&[&PACED[..], &["--config", config.to_str().unwrap()]].concat());
    // Two who take nothing, a third who finds no place, and sixty half requests, more than there are connections.
    let stalled = [page.watch(), page.watch()];
    page.until("watched by two", |page| page.status()["viewers"] == 2);
    assert_eq!(page.get("/stream.mjpg").0, 503);
    let mut halves = Vec::new();
    for _ in 0..60 {
        let mut stream = page.connect();
        // A connection that was refused may be closed already.
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHos");
        halves.push(stream);
    }
    let (answered, since) = (page.status()["answered"].as_u64().unwrap(), Instant::now());
    page.until("two seconds on", |page| page.status()["answered"].as_u64().unwrap() >= answered + 80);
    let rate = 80.0 / since.elapsed().as_secs_f64();
    assert!(rate < 60.0, "the pace is kept: {rate}");
    let dropped = page.status()["dropped"].as_u64().unwrap();
    drop((halves, stalled));
    page.until("left alone", |page| page.status()["viewers"] == 0);
    let Finished { code, err, .. } = page.end();
    assert!(code == 0 && dropped == 0, "{code} {dropped} {err}");
}

#[test]
fn readiness_follows_frames() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/stream", listener.local_addr().unwrap());
    let jpeg = fs::read(tinysaver_tests::root().join(LABELLED).join(first_photo())).unwrap();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=cut\r\n\r\n";
        write!(stream, "{head}--cut\r\nContent-Length: {}\r\n\r\n", jpeg.len()).unwrap();
        stream.write_all(&jpeg).unwrap();
        stream.write_all(b"\r\n--cut\r\n").unwrap();
        let _ = stopped.recv();
    });
    let page = Page::start(&["--source", &url]);
    page.until("ready", |page| page.get("/v2/health/ready").0 == 200);
    stop.send(()).unwrap();
    server.join().unwrap();
    page.until("not ready", |page| page.get("/v2/health/ready").0 == 503);
    let readiness: Value = serde_json::from_str(&page.get("/v2/health/ready").1).unwrap();
    assert!(readiness["reason"].as_str().unwrap().contains("opened again"), "{readiness}");
    assert_eq!(page.get("/v2/health/live").0, 200, "the process itself is well");
    assert!(page.metric("tinysaver_camera_faults_total") >= 1.0);
    assert_eq!(page.end().code, 0);
}

/// Most cameras leave out their JPEGs' Huffman tables, and browsers do not show such pictures.
#[test]
fn a_picture_without_tables_is_answered_and_shown() {
    let photo = image::open(tinysaver_tests::root().join(LABELLED).join(first_photo())).unwrap().into_rgb8();
    let mut coded = std::io::Cursor::new(Vec::new());
    photo.write_to(&mut coded, image::ImageFormat::Jpeg).unwrap();
    let bare = without_huffman_tables(coded.get_ref());
    assert!(bare.len() < coded.get_ref().len() - 400, "there were tables");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("walk.mjpeg");
    fs::write(&file, bare.repeat(2000)).unwrap();
    let page = Page::start(&["--source", file.to_str().unwrap(), "--realtime"]);
    let shown = page.watch().picture();
    let wanted = image::imageops::thumbnail(&photo, shown.width(), shown.height());
    // Above the overlay.
    let rows = shown.height() / 2;
    let off: u64 = (0..rows)
        .flat_map(|y| (0..shown.width()).map(move |x| (x, y)))
        .flat_map(|(x, y)| shown.get_pixel(x, y).0.into_iter().zip(wanted.get_pixel(x, y).0))
        .map(|(a, b)| u64::from(a.abs_diff(b)))
        .sum();
    let mean = off / u64::from(3 * rows * shown.width());
    assert!(mean < 12, "{mean} levels away from the photo");
    page.until("answered", |page| page.status()["answered"].as_u64().unwrap() > 3);
    assert_eq!(page.end().code, 0);
}

fn without_huffman_tables(jpeg: &[u8]) -> Vec<u8> {
    let (mut bare, mut rest) = (Vec::new(), jpeg);
    while let Some(place) = rest.windows(2).position(|pair| pair == [0xff, 0xc4]) {
        bare.extend(&rest[..place]);
        let length = usize::from(u16::from_be_bytes([rest[place + 2], rest[place + 3]]));
        rest = &rest[place + 2 + length..];
    }
    [&bare, rest].concat()
}

fn first_photo() -> String {
    let (records, _) = run_json(&["--source", LABELLED, "--frames", "1"]);
    records[0]["source"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let board = tempfile::tempdir().unwrap();
    let firmware = board.path().join("sys/devices/platform/soc/soc:firmware");
    fs::create_dir_all(&firmware).unwrap();
    fs::write(firmware.join("get_throttled"), "50005\n").unwrap();
    let modelled = ["--board", "pi4", "--power-sensor", "none", "--system-root", board.path().to_str().unwrap()];
    let page = Page::start(&[&PACED[..], &["--threshold", "0.3"], &modelled].concat());
    page.until("answering", |page| page.status()["answered"].as_u64().unwrap() >= 20);
    let joules = |exit: &str| format!("tinysaver_energy_joules_total{{source=\"modelled:pi4\",exit=\"{exit}\"}}");
    assert!(page.metric(&joules("saver")) > 0.0 && page.metric(&joules("idle")) > 0.0);
    assert!(page.metric("tinysaver_stage_seconds_count{stage=\"saver\"}") >= 20.0);
    assert_eq!((page.metric("tinysaver_throttle_flags"), page.metric("tinysaver_throttled")), (327_685.0, 1.0));
    page.watch().picture();
    let (_, text) = page.get("/metrics");
    assert_eq!(page.end().code, 0);
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match promtool.spawn() {
        Ok(child) => child,
        Err(error) => {
            println!("NOT CHECKED: promtool (Debian package prometheus) is not here: {error}");
            return;
        }
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let Finished { code, out, err } = child.wait_with_output().unwrap().into();
    assert!(code == 0 && out.is_empty() && err.is_empty(), "{code} {out} {err}\n{text}");
}

#[test]
fn a_display_shows_answers_and_one_that_fails_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let png = folder.path().join("view.png");
    let display = format!("png:{}?size=320x240", png.display());
    let (records, _) = run_json(&["--source", "test://?frames=3", "--display", &display]);
    assert_eq!((records.len(), image::open(&png).unwrap().to_rgb8().dimensions()), (3, (320, 240)));
    let second = folder.path().join("second.png");
    let small = format!("png:{}?size=160x120", second.display());
    fs::remove_file(&png).unwrap();
    let all: [&[&str]; 2] =
        [&["--display", &display, "--display", &small], &["--display", &format!("{display},{small}")]];
    for both in all {
        run_json(&[&["--source", "test://?frames=3"], both].concat());
        let sizes = [&png, &second].map(|file| image::open(file).unwrap().to_rgb8().dimensions());
        assert_eq!(sizes, [(320, 240), (160, 120)]);
        for file in [&png, &second] {
            fs::remove_file(file).unwrap();
        }
    }
    let Finished { code, out, err } =
        finish(&["run", "--json", "--source", "test://?frames=5", "--display", "fb:///no/fb0"]).unwrap();
    assert_eq!((code, out.lines().count()), (0, 6), "{err}");
    let warnings: Vec<&str> = err.lines().filter(|line| line.contains("WARN")).collect();
    assert!(
        warnings.len() == 1 && warnings[0].contains("/no/fb0") && warnings[0].contains("go on without it"),
        "{err}"
    );
}

#[test]
fn displays_and_addresses_that_are_none_are_refused() {
    let check = |arguments: &[&str], words: &[&str]| {
        let Finished { code, err, .. } =
            finish(&[&["run", "--source", "test://?frames=1"], arguments].concat()).unwrap();
        assert!(code == 2 && words.iter().all(|word| err.contains(word)), "{arguments:?}: {code} {err}");
    };
    check(&["--display", "hdmi"], &["display hdmi", "fb:///dev/fb0"]);
    check(&["--display", "st7789:///dev/spidev0.0"], &["dc=25"]);
    check(&["--http", "8080"], &["8080", "ADDRESS:PORT"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    check(&["--http", &address], &["cannot listen on", &address, "in use"]);
}

#[test]
fn the_doctor_judges_a_recorded_board() {
    let board = tempfile::tempdir().unwrap();
    let file = |path: &str, text: &str| {
        let path = board.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    file("proc/device-tree/model", "Raspberry Pi 4 Model B\0");
    file("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n");
    let root = board.path().to_str().unwrap();
    let Finished { code, out, err } = finish(&["doctor", "--root", root]).unwrap();
    assert!(code == 1 && err.contains("2 findings"), "{code} {out} {err}");
    for words in [
        "WRONG  camera   no video node",
        "type: rpicam-hello",
        "WRONG  power    under-voltage, throttled now",
        "ok     pair",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
    file("dev/video0", "");
    file("sys/class/video4linux/video0/name", "HD Webcam\n");
    file("sys/devices/platform/soc/soc:firmware/get_throttled", "0\n");
    let Finished { code, out, .. } = finish(&["doctor", "--json", "--root", root]).unwrap();
    let told: Value = serde_json::from_str(&out).unwrap();
    assert!(code == 0 && told["findings"] == 0, "{told}");
    let Finished { code, out, .. } = finish(&["doctor", "--root", root, "--pair", "/no/pair"]).unwrap();
    assert!(code == 1 && out.contains("type: make models"), "{out}");
}
