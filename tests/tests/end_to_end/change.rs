//! The change gate: a scene that stands still is answered again, one that moves is not, and misses are looked for.

use std::fs;

use serde_json::Value;
use tinysaver_tests::{Finished, finish};

use super::live::{photos, y4m_frame};

const SIDE: u32 = 320;

/// In no run does an answer get so old.
const EVER: &str = "600000";

/// Records and summary of a run.
fn run(source: &str, max_age_ms: &str, more: &[&str]) -> (Vec<Value>, Value) {
    let reuse = ["run", "--json", "--reuse", "--reuse-max-age-ms", max_age_ms, "--source", source];
    let Finished { code, out, err } = finish(&[&reuse[..], more].concat()).unwrap();
    assert_eq!(code, 0, "{err}");
    let mut lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().unwrap()["summary"].take();
    (lines, summary)
}

fn reused(records: &[Value]) -> usize {
    records.iter().filter(|record| record["exit"] == "reused").count()
}

#[test]
fn a_still_scene_is_answered_again_and_every_so_many_th_is_checked() {
    let (records, summary) = run("test://?frames=60&repeat=20&size=320x240", EVER, &["--reuse-check-every", "10"]);
    let checked = records.iter().filter(|record| record["reuse_check"].is_object());
    // Each of three scenes is classified once; of the other 57 frames, every tenth is.
    assert_eq!((reused(&records), checked.clone().count()), (52, 5), "{summary}");
    for pair in records.windows(2) {
        if pair[1]["exit"] == "reused" {
            assert_eq!((&pair[1]["class"], &pair[1]["macs"]), (&pair[0]["class"], &0.into()));
            assert!(pair[1]["stages_us"]["saver"].is_null(), "no model ran: {}", pair[1]);
        }
    }
    assert!(checked.into_iter().all(|record| record["reuse_check"]["differs"] == false), "the pictures are the same");
    let reuse = &summary["reuse"];
    assert_eq!((&reuse["reused"], &reuse["checked"], &reuse["differed"]), (&52.into(), &5.into(), &0.into()));
    assert!(reuse["macs_saved"].as_f64() > Some(52.0 * 1e8), "{reuse}");
}

#[test]
fn what_moves_is_classified_and_without_the_flag_all_is() {
    let (records, summary) = run("test://?frames=20&size=320x240", EVER, &[]);
    assert_eq!((reused(&records), records.len()), (0, 20), "{summary}");
    let (records, _) = run("test://?frames=20&repeat=20&size=320x240", "0", &[]);
    assert_eq!(reused(&records), 0, "at once too old");
    let Finished { out, .. } = finish(&["run", "--source", "test://?frames=20&repeat=20&size=320x240"]).unwrap();
    assert!(!out.contains("reused"), "off by default: {out}");
}

/// A photo under a camera's noise; from frame `from` on, a bright square walks over it.
fn walk(photo: &[u8], frames: usize, from: usize) -> Vec<u8> {
    let still = y4m_frame(photo, SIDE);
    let mut state = 5u32;
    let mut video = b"YUV4MPEG2 W320 H320 F25:1 Ip A1:1 C420jpeg XCOLORRANGE=FULL\n".to_vec();
    for frame in 0..frames {
        let begin = video.len() + b"FRAME\n".len();
        video.extend(&still);
        let luma = &mut video[begin..][..(SIDE * SIDE) as usize];
        for level in luma.iter_mut() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *level = level.saturating_add_signed((state >> 24) as i8 % 4);
        }
        if frame >= from {
            let left = 40 + (frame - from) * 10;
            luma.chunks_mut(SIDE as usize).skip(140).take(60).for_each(|row| row[left..left + 50].fill(235));
        }
    }
    video
}

#[test]
fn a_video_with_noise_is_reused_while_nothing_moves_and_the_report_says_what_that_saved() {
    let folder = tempfile::tempdir().unwrap();
    let (video, log) = (folder.path().join("walk.y4m"), folder.path().join("log"));
    fs::write(&video, walk(&photos(1)[0], 50, 30)).unwrap();
    let arguments = ["--log", log.to_str().unwrap(), "--reuse-check-every", "5"];
    let (records, _) = run(video.to_str().unwrap(), EVER, &arguments);
    let (still, moving) = records.split_at(30);
    let checked = records.iter().filter(|record| record["reuse_check"].is_object()).count();
    // The first two frames tell how noisy the camera is.
    assert!(reused(still) + checked >= 28, "{} reused, {checked} checked", reused(still));
    assert_eq!(reused(moving), 0, "the square walks");
    let Finished { code, out, err } = finish(&["report", log.to_str().unwrap()]).unwrap();
    assert_eq!(code, 0, "{err}");
    let words = [format!("reused: {} of 50 answers", reused(still)), format!("reused, checked: 0 of {checked} frames")];
    assert!(words.iter().all(|words| out.contains(words)), "{words:?}: {out}");
}
