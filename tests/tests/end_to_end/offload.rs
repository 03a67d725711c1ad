//! Bases on other machines, and everything that goes wrong on the way to them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tinysaver_offload::pki::make_authority;
use tinysaver_tests::fault_proxy::{BadServer, Fault, FaultProxy};
use tinysaver_tests::{Finished, finish};

use crate::main_job::run_json;
use crate::serve::Serving;

const BASE: &str = "lite0-96-f32";
const SIDE: usize = 96;

/// Every frame escalates to a server behind `url`; there is no base on the board.
fn offloaded(url: &str, more: &[&str]) -> (Vec<Value>, Value) {
    let all = ["--threshold", "1", "--base", BASE, "--saver", "lite0-96-int8", "--no-local-base", "--offload", url];
    run_json(&[&all, more].concat())
}

fn exits(records: &[Value], name: &str) -> usize {
    records.iter().filter(|record| record["exit"] == name).count()
}

/// Reasons of the frames that fell back.
fn reasons(records: &[Value]) -> Vec<&str> {
    let fallen = records.iter().filter(|record| record["exit"] == "fallback");
    fallen.map(|record| record["degraded"].as_str().unwrap()).collect()
}

fn in_order(records: &[Value]) {
    let sequences: Vec<u64> = records.iter().map(|record| record["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, (0..records.len() as u64).collect::<Vec<_>>());
}

const PHOTOS: [&str; 2] = ["--source", "models/imagenet-lite/build/photos"];
const PATTERN: [&str; 2] = ["--source", "test://?frames=60&size=320x240&seed=4"];

#[test]
fn a_base_elsewhere_answers_as_the_one_here() {
    let server = Serving::start(&[]);
    let (here, _) = run_json(&[&PHOTOS[..], &["--threshold", "1", "--base", BASE]].concat());
    for (url, more) in [
        (format!("grpc://{}", server.address), &["--offload-exact"][..]),
        (format!("http://{}", server.address), &["--offload-exact"]),
    ] {
        let (there, summary) = offloaded(&url, &[&PHOTOS[..], more, &["--deadline-ms", "60000"]].concat());
        in_order(&there);
        assert_eq!(exits(&there, "base_remote"), there.len(), "{summary}");
        for (a, b) in here.iter().zip(&there) {
            assert_eq!((&a["class"], &a["probability"]), (&b["class"], &b["probability"]), "{}", a["source"]);
            assert!(b["macs"].as_u64() < a["macs"].as_u64(), "what another machine spends is not ours");
        }
    }
}

#[test]
fn a_photo_of_the_frame_is_nearly_as_good_as_its_pixels() {
    let base = "lite0-224-int8";
    let server = Serving::start(&["--model", base, "--max-wait-ms", "60000"]);
    let url = format!("grpc://{}/{base}", server.address);
    let all = [&PHOTOS[..], &["--threshold", "1", "--base", base, "--deadline-ms", "60000"]].concat();
    let (here, _) = run_json(&all);
    let (there, _) = run_json(&[&all[..], &["--no-local-base", "--offload", &url]].concat());
    assert_eq!(exits(&there, "base_remote"), here.len());
    // What the base is sure of it sees on a photo, too.
    let sure = here.iter().zip(&there).filter(|(a, _)| a["probability"].as_f64() > Some(0.5));
    assert!(sure.clone().count() > 10);
    for (a, b) in sure {
        assert_eq!(a["class"], b["class"], "{}", a["source"]);
    }
}

#[test]
fn the_saver_answers_what_it_is_sure_of_and_the_base_the_rest() {
    let server = Serving::start(&[]);
    let url = format!("grpc://{}", server.address);
    let (records, summary) =
        run_json(&[&PHOTOS[..], &["--base", BASE, "--offload", &url, "--deadline-ms", "60000"]].concat());
    in_order(&records);
    assert!(exits(&records, "saver") > 0 && exits(&records, "base_remote") > 0, "{summary}");
    assert_eq!(exits(&records, "fallback"), 0, "{summary}");
}

#[test]
fn without_a_server_the_local_base_or_the_saver_answers() {
    let url = "grpc://127.0.0.1:9";
    let (records, _) = offloaded(url, &PATTERN);
    assert_eq!(reasons(&records), vec!["link"; records.len()]);
    for record in &records {
        assert_eq!(record["class"], record["saver_class"]);
    }
    let with_local = ["--threshold", "1", "--base", BASE, "--offload", url, "--deadline-ms", "60000"];
    let (records, _) = run_json(&[&PATTERN[..], &with_local].concat());
    assert_eq!(exits(&records, "base_local"), records.len(), "a recorded source waits for its base");
}

/// The program ends well and in time, every frame has one record in order, and fallbacks have one of these reasons.
fn survives(name: &str, url: &str, allowed: &[&str]) -> Vec<Value> {
    survives_within("200", name, url, allowed)
}

fn survives_within(deadline_ms: &str, name: &str, url: &str, allowed: &[&str]) -> Vec<Value> {
    let started = Instant::now();
    let (records, _) = offloaded(url, &[&PATTERN[..], &["--deadline-ms", deadline_ms]].concat());
    assert_eq!(records.len(), 60, "{name}");
    in_order(&records);
    let reasons = reasons(&records);
    assert_eq!(reasons.len() + exits(&records, "base_remote"), 60, "{name}");
    assert!(reasons.iter().all(|reason| allowed.contains(reason)), "{name}: {reasons:?}");
    let slowest = records.iter().map(|record| record["latency_us"].as_u64().unwrap()).max().unwrap();
    // Beyond the deadline only what the machine's other tests take away.
    assert!(slowest < 5_000_000, "{name}: {slowest} us");
    assert!(started.elapsed() < Duration::from_secs(60), "{name}");
    records
}

#[test]
fn networks_that_fail_cost_no_frame() {
    let server = Serving::start(&[]);
    let upstream: SocketAddr = server.address.parse().unwrap();
    for (name, fault, allowed) in [
        ("refused", Fault::Refuse, &["link"][..]),
        ("taken and silent", Fault::Hang, &["link", "deadline"]),
        ("a slow drip", Fault::Drip(Duration::from_millis(40)), &["link", "deadline"]),
        ("cut in the preface", Fault::CutAfter(5), &["link", "deadline"]),
        ("cut in the first frames", Fault::CutAfter(60), &["link", "deadline"]),
        ("cut in a reply", Fault::CutAfter(6000), &["link", "deadline"]),
        ("garbage", Fault::Garbage(b"HTTP/1.1 299 whatever\r\n"), &["link", "server"]),
        ("endless zeros", Fault::Garbage(&[0; 4096]), &["link", "server"]),
        ("late", Fault::Delay(Duration::from_millis(300), Duration::from_millis(100)), &["link", "deadline", "busy"]),
    ] {
        let proxy = FaultProxy::start(upstream, fault).unwrap();
        for scheme in ["grpc", "http"] {
            survives(&format!("{name}, {scheme}"), &format!("{scheme}://{}", proxy.address()), allowed);
        }
    }
    // One connection of twenty is cut, and one of three: the others answer.
    for n in [20, 3] {
        let proxy = FaultProxy::start(upstream, Fault::ResetEvery(n)).unwrap();
        survives("resets", &format!("grpc://{}", proxy.address()), &["link", "busy"]);
        assert!(proxy.connections() > 0);
    }
}

#[test]
fn bytes_one_at_a_time_are_slow_and_whole() {
    let server = Serving::start(&[]);
    let proxy = FaultProxy::start(server.address.parse().unwrap(), Fault::Drip(Duration::ZERO)).unwrap();
    for scheme in ["grpc", "http"] {
        let url = format!("{scheme}://{}", proxy.address());
        let (records, summary) = offloaded(&url, &[&PATTERN[..], &["--deadline-ms", "60000"]].concat());
        assert_eq!(exits(&records, "base_remote"), records.len(), "{summary}");
    }
}

#[test]
fn names_that_nobody_knows_and_addresses_that_swallow_everything() {
    survives("no such name", "grpc://no-such-host.invalid:8000", &["link"]);
    // A full queue of connections that nobody takes: further ones hear nothing, as from a black hole.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let hole = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket.listen(1).unwrap()
    });
    let address = hole.local_addr().unwrap();
    let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200));
    let taken: Vec<_> = std::iter::from_fn(|| connect().ok()).take(64).collect();
    assert!(taken.len() < 64, "it takes everybody");
    survives("a black hole", &format!("grpc://{address}"), &["link"]);
}

#[test]
fn certificates_that_nobody_should_trust() {
    let folder = tempfile::tempdir().unwrap();
    let made = |name: &str, host: &str, last_year: i32| {
        let path = folder.path().join(name);
        make_authority(&path, &[host.to_owned()], last_year).unwrap();
        move |file: &str| path.join(file).to_str().unwrap().to_owned()
    };
    let good = made("good", "127.0.0.1", 2040);
    for (name, files, ca) in [
        ("expired", made("expired", "127.0.0.1", 2020), None),
        ("of another authority", made("other", "127.0.0.1", 2040), Some(good("ca.pem"))),
        ("for another host", made("host", "base.example", 2040), None),
    ] {
        let server = Serving::start(&["--tls-cert", &files("server.pem"), "--tls-key", &files("server.key")]);
        let ca = ca.unwrap_or_else(|| files("ca.pem"));
        let url = format!("grpcs://{}", server.address);
        let (records, _) = offloaded(&url, &[&PATTERN[..], &["--deadline-ms", "500", "--offload-ca", &ca]].concat());
        assert_eq!(reasons(&records), vec!["link"; 60], "{name}");
    }
}

#[test]
fn a_server_that_dies_and_comes_back_is_used_again() {
    let (first, second) = (Serving::start(&[]), Serving::start(&[]));
    let proxy = Arc::new(FaultProxy::start(first.address.parse().unwrap(), Fault::None).unwrap());
    let (of_thread, next) = (Arc::clone(&proxy), second.address.parse().unwrap());
    let killer = std::thread::spawn(move || {
        // In the middle of it: about a hundred replies have come back.
        of_thread.wait_until_carried(100 * 4000);
        drop(first);
        of_thread.move_to(next);
    });
    let url = format!("grpc://{}", proxy.address());
    // Paced, so that frames come for longer than a server that failed is left alone.
    let paced = ["--source", "test://?frames=600&size=64x64", "--realtime", "--fps", "100", "--deadline-ms", "600000"];
    let (records, summary) = offloaded(&url, &paced);
    killer.join().unwrap();
    in_order(&records);
    assert_eq!(exits(&records, "base_remote") + exits(&records, "fallback"), 600);
    assert!(proxy.connections() > 1, "{summary}");
    let last = records.iter().rev().take(60).filter(|record| record["exit"] == "base_remote").count();
    assert!(last > 0, "{summary}");
}

fn description() -> Vec<u8> {
    json!({"name": BASE, "versions": null, "platform": "",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, SIDE, SIDE, 3]}],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 1000]}]})
    .to_string()
    .into_bytes()
}

fn answer(id: &str, shape: &[usize], data: &Value) -> Vec<u8> {
    json!({"model_name": BASE, "id": id,
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": shape, "data": data}]})
    .to_string()
    .into_bytes()
}

/// A REST server that is well for the first question, which is the client's own, and then replies as told.
fn bad_server(reply: impl Fn(&str) -> (u16, Vec<u8>) + Send + Sync + 'static) -> BadServer {
    let asked = AtomicUsize::new(0);
    let good = json!(vec![0.0; 1000]);
    BadServer::start(Arc::new(move |line: &str, body: &[u8]| {
        if line.starts_with("get") {
            return (200, if line.contains("ready") { vec![] } else { description() });
        }
        let Ok(request) = serde_json::from_slice::<Value>(body) else {
            return (422, br#"{"detail":[{"msg":"no binary here"}]}"#.to_vec());
        };
        let id = request["id"].as_str().unwrap_or_default();
        if asked.fetch_add(1, Ordering::Relaxed) == 0 { (200, answer(id, &[1, 1000], &good)) } else { reply(id) }
    }))
    .unwrap()
}

#[test]
fn servers_that_talk_nonsense_cost_no_frame() {
    fn logits() -> Value {
        json!(vec![0.5; 1000])
    }
    let with_nan = |_: &str| (200, answer("x", &[1, 1000], &logits()).replace_number("NaN"));
    type Reply = Box<dyn Fn(&str) -> (u16, Vec<u8>) + Send + Sync>;
    let cases: Vec<(&str, Reply)> = vec![
        ("503", Box::new(|_| (503, br#"{"error":"busy"}"#.to_vec()))),
        ("500 as text", Box::new(|_| (500, b"Internal Server Error".to_vec()))),
        ("429", Box::new(|_| (429, vec![]))),
        ("404", Box::new(|_| (404, b"{}".to_vec()))),
        ("no JSON", Box::new(|_| (200, b"hello".to_vec()))),
        ("empty", Box::new(|_| (200, vec![]))),
        ("another id", Box::new(move |_| (200, answer("f999999", &[1, 1000], &logits())))),
        ("too few", Box::new(|id| (200, answer(id, &[1, 3], &json!([1.0, 2.0, 3.0]))))),
        ("shape and data disagree", Box::new(|id| (200, answer(id, &[1, 1000], &json!([1.0]))))),
        ("NaN", Box::new(with_nan)),
        ("beyond f32", Box::new(|id| (200, answer(id, &[1, 1000], &json!(vec![1e300; 1000]))))),
        ("5 MB", Box::new(|_| (200, vec![b' '; 5 << 20]))),
    ];
    for (name, reply) in cases {
        let server = bad_server(reply);
        // Nonsense comes at once: the deadline is only for machines that are busy.
        let url = format!("http://{}", server.address());
        let records = survives_within("4000", name, &url, &["server", "link", "busy"]);
        assert!(reasons(&records).contains(&"server"), "{name}: {:?}", reasons(&records));
    }
    // The same server, when it behaves.
    let good = bad_server(move |id| (200, answer(id, &[1, 1000], &json!(vec![0.5; 1000]))));
    let records = survives("good", &format!("http://{}", good.address()), &["busy", "deadline"]);
    assert!(exits(&records, "base_remote") > 0);
}

trait ReplaceNumber {
    fn replace_number(self, by: &str) -> Vec<u8>;
}

impl ReplaceNumber for Vec<u8> {
    fn replace_number(self, by: &str) -> Vec<u8> {
        String::from_utf8(self).unwrap().replacen("0.5", by, 1).into_bytes()
    }
}

#[test]
fn a_link_that_comes_and_goes_loses_nothing() {
    let server = Serving::start(&[]);
    let proxy = Arc::new(FaultProxy::start(server.address.parse().unwrap(), Fault::None).unwrap());
    let of_thread = Arc::clone(&proxy);
    let (done, stop) = std::sync::mpsc::channel::<()>();
    let switch = std::thread::spawn(move || {
        let mut up = true;
        while stop.recv_timeout(Duration::from_millis(700)).is_err() {
            up = !up;
            of_thread.set(if up { Fault::None } else { Fault::Refuse });
        }
    });
    let url = format!("grpc://{}", proxy.address());
    let (records, summary) = offloaded(&url, &["--source", "test://?frames=3000&size=64x64", "--deadline-ms", "500"]);
    done.send(()).unwrap();
    switch.join().unwrap();
    assert_eq!(records.len(), 3000);
    in_order(&records);
    let (remote, fallen) = (exits(&records, "base_remote"), exits(&records, "fallback"));
    assert_eq!(remote + fallen, 3000, "{summary}");
    assert!(remote > 0, "{summary}");
}

#[test]
fn settings_that_are_wrong_say_so() {
    for (arguments, part) in [
        (&["--offload", "127.0.0.1:8000"][..], "grpc://"),
        (&["--offload", "grpc://h"], "port"),
        (&["--offload", "grpc://h:1", "--deadline-ms", "0"], "deadline_ms"),
        (&["--offload", "grpcs://h:1", "--offload-ca", "/no/ca.pem"], "/no/ca.pem"),
        (&["--offload", "grpc://h:1", "--offload-token-file", "/no/token"], "/no/token"),
        (&["--offload", "grpc://h:1", "--offload-cert", "x"], "--offload-key"),
    ] {
        let Finished { code, err, .. } = finish(&[&["run"], &PATTERN[..], arguments].concat()).unwrap();
        assert!(code == 2 && err.contains(part), "{arguments:?}: {code} {err}");
    }
}
