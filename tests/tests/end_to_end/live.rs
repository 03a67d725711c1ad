//! Streams, cameras and what they do: real bytes through real sockets and pipes; only the far end is made up.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tinysaver_tests::{Finished, finish, root, tinysaver};

use crate::main_job::run_json;

pub(super) const LABELLED: &str = "models/imagenet-lite/build/photos/labelled";

pub(super) fn photos(count: usize) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = fs::read_dir(root().join(LABELLED)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "jpg"));
    paths.sort();
    paths.iter().take(count).map(|path| fs::read(path).unwrap()).collect()
}

fn classes(records: &[Value]) -> Vec<u64> {
    records.iter().filter_map(|record| record["class"].as_u64()).collect()
}

/// Records, summary and the capture's counters of a live run, after checking that every frame is accounted for.
fn live(command: &mut Command) -> (Vec<Value>, Value, Value) {
    let Finished { code, out, err } = command.output().unwrap().into();
    assert_eq!(code, 0, "{err}");
    let mut lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut last = lines.pop().unwrap();
    let (summary, capture) = (last["summary"].take(), last["capture"].take());
    let mut expected = 0;
    for record in &lines {
        assert_eq!(record["sequence"], expected, "no gap: {record}");
        expected += record["frames"].as_u64().unwrap_or(1);
    }
    let exits: u64 = summary["exits"].as_array().unwrap().iter().map(|exit| exit["frames"].as_u64().unwrap()).sum();
    let dropped: u64 = summary["dropped_by_reason"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!((summary["frames_in"].as_u64(), summary["answered"].as_u64()), (Some(expected), Some(exits)));
    assert_eq!(expected, exits + dropped, "frames in = sum of exits + dropped");
    (lines, summary, capture)
}

fn dropped(summary: &Value, reason: &str) -> u64 {
    summary["dropped_by_reason"][reason].as_u64().unwrap_or(0)
}

/// Answers every connection with `answer`, which is told the connection's number, until the program goes away.
fn serve(answer: impl Fn(usize, &mut TcpStream) -> std::io::Result<()> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            // The program closes the connection when it has had enough.
            let _ = answer(number, &mut stream);
        }
    });
    format!("http://{address}/stream")
}

fn head(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=cut\r\n\r\n")
}

fn part(stream: &mut TcpStream, jpeg: &[u8]) -> std::io::Result<()> {
    write!(stream, "--cut\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len())?;
    stream.write_all(jpeg)?;
    stream.write_all(b"\r\n")
}

#[test]
fn a_file_of_jpegs_is_answered_as_its_photos_are_and_a_cut_one_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    // The photos are progressive, which no camera's pictures are.
    let photos: Vec<Vec<u8>> = photos(4)
        .into_iter()
        .enumerate()
        .map(|(index, photo)| if index < 2 { photo } else { baseline(&photo) })
        .collect();
    let stream = folder.path().join("walk.mjpeg");
    fs::write(&stream, [photos.concat(), photos[0][..photos[0].len() / 2].to_vec()].concat()).unwrap();
    for (index, photo) in photos.iter().enumerate() {
        fs::write(folder.path().join(format!("{index}.jpg")), photo).unwrap();
    }
    // The saver alone: scaled in another way, a photo can be on the other side of the threshold.
    let (records, summary) = run_json(&["--threshold", "0", "--source", stream.to_str().unwrap()]);
    let (expected, _) = run_json(&["--threshold", "0", "--source", folder.path().to_str().unwrap()]);
    assert_eq!(classes(&records), classes(&expected));
    let ways: Vec<&str> = records.iter().filter_map(|record| record["input"].as_str()).collect();
    assert_eq!(
        (&ways[..], &expected[0]["input"]),
        (&["whole_jpeg", "whole_jpeg", "jpeg", "jpeg"][..], &"still".into())
    );
    assert!(records[3]["stages_us"]["decode"].is_u64(), "decoding has a time of its own: {}", records[3]);
    assert_eq!((records.len(), dropped(&summary, "damaged")), (5, 1));
    assert!(records[3]["source"].as_str().unwrap().ends_with("walk.mjpeg#3"));
}

/// The same photo as cameras code theirs.
fn baseline(photo: &[u8]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::load_from_memory(photo).unwrap().write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

/// One frame of a .y4m file from a photo: BT.601, full range, colours at half size.
pub(super) fn y4m_frame(photo: &[u8], side: u32) -> Vec<u8> {
    let picture =
        image::load_from_memory(photo).unwrap().resize_to_fill(side, side, image::imageops::FilterType::Triangle);
    let picture = picture.to_rgb32f();
    let mix = |x: u32, y: u32, weights: [f32; 3]| -> f32 {
        picture.get_pixel(x, y).0.iter().zip(weights).map(|(level, weight)| level * weight * 255.0).sum()
    };
    let byte = |level: f32| level.round().clamp(0.0, 255.0) as u8;
    let mut bytes = b"FRAME\n".to_vec();
    bytes.extend((0..side * side).map(|at| byte(mix(at % side, at / side, [0.299, 0.587, 0.114]))));
    for weights in [[-0.168_736, -0.331_264, 0.5], [0.5, -0.418_688, -0.081_312]] {
        let half = side / 2;
        let mean = |x: u32, y: u32| -> f32 { (0..4).map(|at| mix(2 * x + at % 2, 2 * y + at / 2, weights)).sum() };
        bytes.extend((0..half * half).map(|at| byte(mean(at % half, at / half) / 4.0 + 128.0)));
    }
    bytes
}

#[test]
fn raw_video_is_answered_and_its_damage_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.y4m");
    let write = |content: &[u8]| {
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let frames: Vec<Vec<u8>> = photos(6).iter().map(|photo| y4m_frame(photo, 320)).collect();
    let header = b"YUV4MPEG2 W320 H320 F25:1 Ip A1:1 C420jpeg XCOLORRANGE=FULL\n".to_vec();
    let whole = [header.clone(), frames.concat()].concat();
    let (records, _) = run_json(&["--source", &write(&whole)]);
    let (expected, _) = run_json(&["--source", LABELLED]);
    let same = classes(&records).iter().zip(classes(&expected)).filter(|(a, b)| **a == *b).count();
    assert!(records.len() == 6 && same >= 5, "{same} of 6 classes are those of the photos");
    let (records, summary) = run_json(&["--source", &write(&whole[..whole.len() - 9])]);
    assert_eq!((records.len(), dropped(&summary, "damaged")), (6, 1));
    let Finished { code, out, err } =
        finish(&["run", "--source", &write(&[whole, b"rubbish".to_vec()].concat())]).unwrap();
    assert!(code == 1 && err.contains("clip.y4m, frame 6: ") && out.contains("6 in = 6 answered"), "{code} {err}");
    for (content, words) in [(&b"RIFF"[..], "no .y4m file"), (b"YUV4MPEG2 W4 H4 C444\n", "yuv420p")] {
        let Finished { code, err, .. } = finish(&["run", "--source", &write(content)]).unwrap();
        assert!(code == 2 && err.contains(words), "{code} {err}");
    }
}

#[test]
fn a_stream_faster_than_the_model_is_taken_at_its_newest_and_opened_again_when_it_ends() {
    let photos = photos(3);
    let url = serve(move |number, stream| {
        head(stream)?;
        part(stream, &photos[0][..200])?;
        for photo in photos.iter().cycle().take(if number == 0 { 40 } else { usize::MAX }) {
            part(stream, photo)?;
        }
        Ok(())
    });
    let log = tempfile::tempdir().unwrap();
    let folder = log.path().join("log");
    let arguments = ["run", "--json", "--source", &url, "--frames", "60", "--log", folder.to_str().unwrap()];
    let (records, summary, capture) = live(&mut tinysaver(&arguments));
    assert!(summary["answered"].as_u64().unwrap() + dropped(&summary, "damaged") >= 60, "{summary}");
    assert!(
        capture["reopens"].as_u64().unwrap() >= 1 && capture["faults"]["ended"].as_u64().unwrap() >= 1,
        "{capture}"
    );
    for record in records.iter().filter(|record| record["outcome"] == "answered") {
        assert!(record["frame_age_us"].as_u64().unwrap() >= record["stages_us"]["wait"].as_u64().unwrap(), "{record}");
        assert_eq!(record["latency_us"], record["frame_age_us"]);
    }
    let report: Value =
        serde_json::from_str(&finish(&["report", "--json", folder.to_str().unwrap()]).unwrap().out).unwrap();
    assert_eq!(report["summary"]["frames_in"], summary["frames_in"], "the log tells the same");
    assert_eq!(report["summary"]["dropped_by_reason"], summary["dropped_by_reason"]);
}

#[test]
fn a_program_that_stands_for_a_csi_camera_is_run_and_ended() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("stream"), photos(2).concat()).unwrap();
    let program = folder.path().join("rpicam-vid");
    let script = format!("#!/bin/sh\necho $$ > {0}/pid\nwhile cat {0}/stream; do :; done\n", folder.path().display());
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let arguments = ["run", "--json", "--source", "rpicam://0?size=320x240", "--frames", "5"];
    let (_, summary, capture) = live(tinysaver(&arguments).env("PATH", path));
    assert_eq!((summary["answered"].as_u64(), capture["reopens"].as_u64()), (Some(5), Some(0)));
    let pid = fs::read_to_string(folder.path().join("pid")).unwrap();
    assert!(!Path::new(&format!("/proc/{}", pid.trim())).exists(), "the program was left behind");
}

#[test]
fn a_stalled_stream_can_be_interrupted() {
    let photos = photos(1);
    let url = serve(move |_, stream| {
        head(stream)?;
        part(stream, &photos[0])?;
        // Holds the connection until the other side closes it.
        stream.read(&mut [0]).map(|_| ())
    });
    let mut child =
        tinysaver(&["run", "--source", &url]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().contains("multipart JPEG stream"));
    assert!(lines.by_ref().any(|line| line.starts_with("stream ")), "the first frame is answered");
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    let rest: Vec<String> = lines.collect();
    assert!(rest.iter().any(|line| line == "interrupted after 1 frames"), "{rest:?}");
    assert!(rest.iter().any(|line| line == "source: no faults"), "{rest:?}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn recorded_frames_keep_their_pace_and_none_is_lost() {
    let source = "test://?frames=6&size=160x120";
    let (records, summary) = run_json(&["--source", source, "--realtime", "--fps", "20"]);
    assert_eq!((records.len(), summary["dropped"].as_u64()), (6, Some(0)));
    let last = records[5]["monotonic_us"].as_u64().unwrap() - records[0]["monotonic_us"].as_u64().unwrap();
    let first_work = records[0]["frame_age_us"].as_u64().unwrap();
    assert!(last + first_work >= 5 * 50_000, "five intervals of 50 ms: {last} us");
    let Finished { code, err, .. } = finish(&["run", "--source", LABELLED, "--realtime"]).unwrap();
    assert!(code == 2 && err.contains("--fps"), "{code} {err}");
}

#[test]
fn sources_that_cannot_be_opened_say_what_to_try() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let check = |source: &str, words: &[&str]| {
        let Finished { code, err, .. } =
            tinysaver(&["run", "--source", source]).env("PATH", "/none").output().unwrap().into();
        assert!(code == 2 && words.iter().all(|word| err.contains(word)), "{source}: {code} {err}");
        assert!(!err.contains("panicked"), "{err}");
    };
    check(&closed, &["127.0.0.1", "refused"]);
    check("rtsp://camera/1", &["rtsp:// is not served", "MJPEG"]);
    check("rpicam://0", &["rpicam-vid is not installed", "apt install"]);
    check("rpicam://0?size=1", &["size=1 is impossible"]);
    check("/dev/video99", &["/dev/video99", "no such device", "tinysaver cameras"]);
    check("v4l2:///dev/null", &["no video device"]);
    check("v4l2:///dev/video0?format=H264", &["format=H264 is impossible"]);
    check("/no/clip.y4m", &["/no/clip.y4m"]);
    check("/no/clip.mjpeg", &["/no/clip.mjpeg"]);
}

#[test]
fn cameras_are_listed_or_their_absence_is_told() {
    let listed: Value = serde_json::from_str(&finish(&["cameras", "--json"]).unwrap().out).unwrap();
    let Finished { code, out, .. } = finish(&["cameras"]).unwrap();
    assert_eq!(code, 0);
    match listed["cameras"].as_array().unwrap().first() {
        Some(camera) => assert!(out.contains(camera["path"].as_str().unwrap()), "{out}"),
        None => assert!(out.contains("no camera") && out.contains("rpicam://0"), "{out}"),
    }
}
