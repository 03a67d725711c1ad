//! Made-up pictures for trying things out without a camera or a file: `test://?frames=20&seed=7&size=640x480`.

use std::str::FromStr;

use crate::decode::Picture;

/// A finite row of pictures, each a colour gradient with a few discs; the same seed gives the same pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestPattern {
    /// How many pictures.
    pub frames: u64,
    /// How often each picture is shown before the next one: a scene that stands still.
    pub repeat: u64,
    /// What they are drawn from.
    pub seed: u64,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// An address that is no test pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TestPatternError {
    /// It does not begin with `test://`.
    #[error("{0}: a test pattern begins with test://")]
    Scheme(String),
    /// An option that does not exist.
    #[error(
        "test://: unknown option '{0}'; there are frames, repeat, seed and size, as in test://?frames=20&repeat=5&seed=7&size=640x480"
    )]
    Option(String),
    /// An option whose value is impossible.
    #[error("test://: {option}={value} is impossible: {expected}")]
    Value {
        /// The option.
        option: &'static str,
        /// What was given.
        value: String,
        /// What it must be.
        expected: &'static str,
    },
}

impl FromStr for TestPattern {
    type Err = TestPatternError;

    fn from_str(address: &str) -> Result<Self, Self::Err> {
        let rest = address.strip_prefix("test://").ok_or_else(|| TestPatternError::Scheme(address.into()))?;
        let mut pattern = Self { frames: 100, repeat: 1, seed: 0, width: 640, height: 480 };
        for part in rest.trim_start_matches(['/', '?']).split('&').filter(|part| !part.is_empty()) {
            let (option, value) = part.split_once('=').unwrap_or((part, ""));
            match option {
                "frames" => pattern.frames = number("frames", value)?,
                "repeat" => pattern.repeat = number("repeat", value)?.max(1),
                "seed" => pattern.seed = number("seed", value)?,
                "size" => (pattern.width, pattern.height) = size(value)?,
                _ => return Err(TestPatternError::Option(option.into())),
            }
        }
        Ok(pattern)
    }
}

fn number(option: &'static str, value: &str) -> Result<u64, TestPatternError> {
    value.parse().map_err(|_| TestPatternError::Value { option, value: value.into(), expected: "a whole number" })
}

fn size(value: &str) -> Result<(u32, u32), TestPatternError> {
    let sides = value.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    sides.filter(|&(w, h)| (1..=8192).contains(&w) && (1..=8192).contains(&h)).ok_or_else(|| TestPatternError::Value {
        option: "size",
        value: value.into(),
        expected: "width x height, such as 640x480, each from 1 to 8192",
    })
}

impl TestPattern {
    /// Draws picture `index` (from 0).
    #[must_use]
    pub fn picture(&self, index: u64) -> Picture {
        let scene = index / self.repeat.max(1);
        let mut random = SplitMix(self.seed.wrapping_add(scene.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let (from, to) = (random.colour(), random.colour());
        let discs: [Disc; 4] = std::array::from_fn(|_| Disc::random(&mut random, self.width, self.height));
        let mut rgb = Vec::with_capacity(self.width as usize * self.height as usize * 3);
        for y in 0..self.height {
            let shade: [u8; 3] = std::array::from_fn(|c| mix(from.get(c), to.get(c), y, self.height));
            for x in 0..self.width {
                let disc = discs.iter().rev().find(|disc| disc.covers(x, y));
                rgb.extend(disc.map_or(shade, |disc| disc.colour));
            }
        }
        Picture { width: self.width, height: self.height, rgb }
    }
}

fn mix(from: Option<&u8>, to: Option<&u8>, part: u32, whole: u32) -> u8 {
    let (from, to) = (from.copied().map_or(0, u32::from), to.copied().map_or(0, u32::from));
    let mixed = (from * (whole - part) + to * part) / whole.max(1);
    u8::try_from(mixed).unwrap_or(u8::MAX)
}

struct Disc {
    x: i64,
    y: i64,
    radius: i64,
    colour: [u8; 3],
}

impl Disc {
    fn random(random: &mut SplitMix, width: u32, height: u32) -> Self {
        let (x, y) = (random.below(width), random.below(height));
        Self { x, y, radius: 1 + random.below(width.min(height) / 3 + 1), colour: random.colour() }
    }

    fn covers(&self, x: u32, y: u32) -> bool {
        let (dx, dy) = (i64::from(x) - self.x, i64::from(y) - self.y);
        dx * dx + dy * dy <= self.radius * self.radius
    }
}

/// Steele, Lea and Flood's SplitMix64: the same numbers everywhere, which is all that is asked of it.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u32) -> i64 {
        i64::try_from(self.next() % u64::from(limit.max(1))).unwrap_or(0)
    }

    fn colour(&mut self) -> [u8; 3] {
        let [r, g, b, ..] = self.next().to_le_bytes();
        [r, g, b]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        let check = |address: &str, frames, seed, width, height| {
            assert_eq!(address.parse(), Ok(TestPattern { frames, repeat: 1, seed, width, height }), "{address}");
        };
        check("test://", 100, 0, 640, 480);
        check("test://?frames=20&seed=7&size=320x240", 20, 7, 320, 240);
        check("test:///?seed=1", 100, 1, 640, 480);
    }

    #[test]
    fn refuses_addresses() {
        let check = |address: &str, words: &str| {
            let error = address.parse::<TestPattern>().unwrap_err().to_string();
            assert!(error.contains(words), "{address}: {error}");
        };
        check("photos/", "begins with test://");
        check("test://?frame=3", "unknown option 'frame'");
        check("test://?frames=many", "frames=many is impossible");
        for size in ["640", "0x5", "5x0", "9000x5", "-1x5", "axb"] {
            check(&format!("test://?size={size}"), "is impossible: width x height");
        }
    }

    #[test]
    fn the_seed_decides() {
        let pattern: TestPattern = "test://?size=40x30&seed=5".parse().unwrap();
        assert_eq!(pattern.picture(3), pattern.picture(3));
        assert_ne!(pattern.picture(3), pattern.picture(4));
        assert_ne!(pattern.picture(3), TestPattern { seed: 6, ..pattern }.picture(3));
        assert_eq!(pattern.picture(0).rgb.len(), 40 * 30 * 3);
        let still: TestPattern = "test://?size=40x30&seed=5&repeat=3".parse().unwrap();
        assert_eq!([0, 2, 3, 8].map(|frame| still.picture(frame)), [0, 0, 1, 2].map(|scene| pattern.picture(scene)));
    }

    #[test]
    fn the_smallest_picture_is_one_pixel() {
        assert_eq!("test://?size=1x1".parse::<TestPattern>().unwrap().picture(0).rgb.len(), 3);
    }
}
