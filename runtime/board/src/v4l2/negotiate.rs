//! Which of a camera's formats, sizes and rates to take, and why. A function of its arguments only.

use serde::Serialize;

use super::offers::{FormatOffer, RateRange, SizeOffer, SizeRange, show};
use crate::frame::PixelFormat;

/// What is wished of a camera.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wish {
    /// Columns and rows, at least.
    pub size: (u32, u32),
    /// Frames per second, at least.
    pub rate: f64,
    /// A format to insist on.
    pub format: Option<PixelFormat>,
}

/// What to ask the driver for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// The code to ask for.
    #[serde(skip)]
    pub fourcc: [u8; 4],
    /// What it is to us.
    #[serde(skip)]
    pub format: PixelFormat,
    /// Columns and rows.
    pub size: (u32, u32),
    /// Frames per second; `None` where the driver does not tell its rates.
    pub rate: Option<f64>,
    /// Everything in a line for people.
    pub reason: String,
}

/// What a pixel of a format costs on its way into a tensor, relative to the others: bytes to move, and decoding.
fn cost_per_pixel(format: PixelFormat) -> u32 {
    match format {
        PixelFormat::Nv12 | PixelFormat::Nv21 | PixelFormat::Yu12 | PixelFormat::Yv12 => 3,
        PixelFormat::Rgb3 | PixelFormat::Bgr3 => 6,
        PixelFormat::Mjpeg => 20,
        // The cheapest of all, but a model that was trained with colours misses them.
        PixelFormat::Grey => 100,
        _ => 4,
    }
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    fourcc: [u8; 4],
    format: PixelFormat,
    size: (u32, u32),
    rate: Option<f64>,
    covers: bool,
    fast: bool,
}

impl Candidate {
    /// Less is better: size first, then rate, then cost; among equals the order of [`PixelFormat::ALL`].
    fn key(&self, wish: &Wish) -> (bool, bool, u64, u64, usize) {
        let pixels = u64::from(self.size.0) * u64::from(self.size.1);
        // Where no size is large enough, the largest one is wanted, whatever it costs.
        let missing = if self.covers { 0 } else { u64::MAX - pixels };
        let slow = match self.rate {
            Some(rate) if !self.fast => millionths(wish.rate - rate),
            _ => 0,
        };
        let order = PixelFormat::ALL.iter().position(|format| *format == self.format).unwrap_or(usize::MAX);
        (!self.covers, !self.fast, missing.max(slow), pixels * u64::from(cost_per_pixel(self.format)), order)
    }

    fn show(&self) -> String {
        let (width, height) = self.size;
        let rate = self.rate.map_or_else(|| "a rate that the driver does not tell".into(), show_rate);
        format!("{} {width}x{height} at {rate}", show(self.fourcc))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float-to-integer cast saturates")]
fn millionths(number: f64) -> u64 {
    (number * 1e6) as u64
}

/// A rate for people.
pub(super) fn show_rate(rate: f64) -> String {
    let text = format!("{rate:.2}");
    format!("{} fps", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Chooses the cheapest that gives at least the wished size and rate; where nothing does, what comes nearest.
///
/// # Errors
/// Nothing that we can use; the message lists what there is.
pub fn choose(offers: &[FormatOffer], wish: &Wish) -> Result<Choice, String> {
    let served = offers.iter().filter_map(|offer| Some((offer, offer.format?)));
    let wanted = served.filter(|(_, format)| wish.format.is_none_or(|wished| *format == wished));
    let candidates: Vec<Candidate> = wanted.flat_map(|(offer, format)| of_format(offer, format, wish)).collect();
    let best = candidates.iter().min_by_key(|candidate| candidate.key(wish)).ok_or_else(|| nothing(offers, wish))?;
    Ok(Choice {
        fourcc: best.fourcc,
        format: best.format,
        size: best.size,
        rate: best.rate,
        reason: reason(best, &candidates, wish),
    })
}

fn of_format(offer: &FormatOffer, format: PixelFormat, wish: &Wish) -> Vec<Candidate> {
    let candidate = |size: (u32, u32), rate: Option<f64>| Candidate {
        fourcc: offer.fourcc,
        format,
        size,
        rate,
        covers: size.0 >= wish.size.0 && size.1 >= wish.size.1,
        // Cameras round: 29.97 is as good as 30.
        fast: rate.is_none_or(|rate| rate >= wish.rate * 0.995),
    };
    if offer.sizes.is_empty() {
        return vec![candidate(wish.size, None)];
    }
    let of_size = |offer: &SizeOffer| candidate(offer.size.nearest(wish.size), rate(&offer.rates, wish.rate));
    offer.sizes.iter().map(of_size).collect()
}

/// The slowest rate that is fast enough, or the fastest.
fn rate(rates: &[RateRange], wish: f64) -> Option<f64> {
    let nearest = |range: &RateRange| wish.clamp(range.min.min(range.max), range.max.max(range.min));
    let reachable = || rates.iter().map(nearest);
    let enough = reachable().filter(|rate| *rate >= wish * 0.995).min_by(f64::total_cmp);
    enough.or_else(|| reachable().max_by(f64::total_cmp))
}

fn reason(best: &Candidate, candidates: &[Candidate], wish: &Wish) -> String {
    let (width, height) = wish.size;
    let wished = format!("{width}x{height} at {}", show_rate(wish.rate));
    let chosen = best.show();
    let others = candidates.iter().filter(|other| other.covers && other.fast).count();
    match (best.covers, best.fast) {
        (true, true) if wish.format.is_some() => format!("{chosen}: the format that was asked for"),
        (true, true) if others > 1 => format!("{chosen}: the cheapest of {others} offers of at least {wished}"),
        (true, true) => format!("{chosen}: the only offer of at least {wished}"),
        (true, false) => format!("{chosen}: no offer of {wished} is fast enough, this one comes nearest"),
        (false, _) => format!("{chosen}: nothing as large as {wished} is offered, this comes nearest"),
    }
}

fn nothing(offers: &[FormatOffer], wish: &Wish) -> String {
    let all: Vec<String> = offers.iter().map(|offer| show(offer.fourcc)).collect();
    let served: Vec<String> = offers.iter().filter(|offer| offer.served).map(|offer| show(offer.fourcc)).collect();
    match wish.format {
        Some(format) if !served.is_empty() => {
            format!("it does not offer {format}; it offers {} (format=auto takes the best)", served.join(", "))
        }
        _ if all.is_empty() => "it offers no formats at all".into(),
        _ => {
            let raw = all.iter().any(|code| is_raw_bayer(code));
            let hint = if raw { "; a CSI camera with raw Bayer output needs rpicam://0" } else { "" };
            format!("none of its formats is served: {}{hint}", all.join(", "))
        }
    }
}

/// Codes such as `pRAA`, `RG10`, `BA81`: what a sensor gives before anybody made a picture of it.
fn is_raw_bayer(code: &str) -> bool {
    code.starts_with('p') || ["BA81", "GBRG", "GRBG", "RGGB"].contains(&code) || {
        let (letters, digits) = code.split_at_checked(2).unwrap_or((code, ""));
        ["RG", "BG", "GB", "BA"].contains(&letters)
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.is_empty()
    }
}

impl From<(u32, u32)> for SizeRange {
    fn from((width, height): (u32, u32)) -> Self {
        Self::Discrete { width, height }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Sizes<'a> = &'a [((u32, u32), &'a [f64])];

    fn offer(code: &[u8; 4], sizes: Sizes) -> FormatOffer {
        let sizes = sizes.iter().map(|(size, rates)| SizeOffer {
            size: (*size).into(),
            rates: rates.iter().map(|&rate| RateRange { min: rate, max: rate }).collect(),
        });
        let format = PixelFormat::from_fourcc(*code);
        let served = format.is_some();
        FormatOffer { fourcc: *code, description: String::new(), format, served, sizes: sizes.collect() }
    }

    const VGA: Wish = Wish { size: (640, 480), rate: 30.0, format: None };

    fn check(offers: &[FormatOffer], wish: Wish, expected: &str) {
        let choice = choose(offers, &wish).unwrap();
        assert!(choice.reason.starts_with(expected), "{} instead of {expected}", choice.reason);
    }

    #[test]
    fn the_cheapest_that_is_large_and_fast_enough() {
        // A common webcam: raw is slow when large.
        let webcam = [
            offer(b"YUYV", &[((640, 480), &[30.0, 15.0]), ((1280, 720), &[10.0]), ((320, 240), &[30.0])]),
            offer(b"MJPG", &[((640, 480), &[30.0]), ((1280, 720), &[30.0, 60.0])]),
        ];
        check(&webcam, VGA, "YUYV 640x480 at 30 fps: the cheapest of 3 offers of at least 640x480 at 30 fps");
        let hd = Wish { size: (1280, 720), ..VGA };
        check(&webcam, hd, "MJPG 1280x720 at 30 fps: the only offer");
        check(&webcam, Wish { rate: 5.0, ..hd }, "YUYV 1280x720 at 10 fps: the cheapest of 2");
        check(&webcam, Wish { format: Some(PixelFormat::Mjpeg), ..VGA }, "MJPG 640x480 at 30 fps: the format that");
        let hd = Wish { size: (1920, 1080), ..VGA };
        check(&webcam, hd, "MJPG 1280x720 at 30 fps: nothing as large as 1920x1080");
        check(&webcam[..1], Wish { size: (1280, 720), ..VGA }, "YUYV 1280x720 at 10 fps: no offer of 1280x720");
    }

    #[test]
    fn planes_before_pairs_before_rgb_before_jpeg_and_grey_last() {
        let all: Vec<FormatOffer> =
            [b"GREY", b"MJPG", b"RGB3", b"YUYV", b"NV12"].map(|code| offer(code, &[((640, 480), &[30.0])])).into();
        for (count, best) in [(5, "NV12"), (4, "YUYV"), (3, "RGB3"), (2, "MJPG"), (1, "GREY")] {
            check(&all[..count], VGA, best);
        }
        check(&[offer(b"NM12", &[])], VGA, "NM12 640x480 at a rate that the driver does not tell");
    }

    #[test]
    fn rates_are_taken_from_ranges_and_rounded_kindly() {
        let size = SizeRange::Stepwise { min: (16, 16), max: (4096, 2160), step: (2, 2) };
        let range = |min, max| {
            [FormatOffer {
                sizes: vec![SizeOffer { size, rates: vec![RateRange { min, max }] }],
                ..offer(b"YUYV", &[])
            }]
        };
        check(&range(1.0, 60.0), VGA, "YUYV 640x480 at 30 fps: the only");
        check(&range(50.0, 60.0), VGA, "YUYV 640x480 at 50 fps: the only");
        check(&range(1.0, 29.97), VGA, "YUYV 640x480 at 29.97 fps: the only");
        check(&range(1.0, 24.0), VGA, "YUYV 640x480 at 24 fps: no offer");
    }

    #[test]
    fn nothing_usable_says_what_there_is() {
        let error = |offers: &[FormatOffer], wish| choose(offers, &wish).unwrap_err();
        assert!(error(&[], VGA).contains("no formats at all"));
        assert!(error(&[offer(b"pRAA", &[]), offer(b"RG10", &[])], VGA).contains("pRAA, RG10; a CSI camera"));
        assert!(error(&[offer(b"H264", &[])], VGA).ends_with("is served: H264"));
        let insists = Wish { format: Some(PixelFormat::Nv12), ..VGA };
        assert!(
            error(&[offer(b"YUYV", &[]), offer(b"H264", &[])], insists).contains("not offer NV12; it offers YUYV (")
        );
    }
}
