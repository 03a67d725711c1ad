//! The change gate: whether a frame shows the same as the last one that was classified, so that its answer can be
//! given again.
//!
//! It compares the mean luma of a few large blocks. What counts as a difference follows the camera's own noise, which
//! is measured on the way. Two things bound what it can miss: an answer is never given again beyond a largest age, and
//! every so often a frame that could be answered again is classified all the same, so that misses are counted.

/// Blocks of a luma grid along x.
pub const GRID_COLUMNS: usize = 16;

/// Blocks of a luma grid along y.
pub const GRID_ROWS: usize = 12;

/// Blocks of a luma grid.
const BLOCKS: usize = GRID_COLUMNS * GRID_ROWS;

/// Units of a luma grid to one level of 0 to 255.
pub const LUMA_UNITS: u16 = 128;

/// A block differs when it is this many standard deviations of noise off: with 192 blocks, noise alone does it about
/// once in two million frames.
const DEVIATIONS: f32 = 6.0;

/// No smaller difference counts, however quiet the camera is; in levels.
const LEAST_DIFFERENCE: f32 = 0.5;

/// With noise that would hide a larger difference, no answer is given again; in levels.
const LARGEST_DIFFERENCE: f32 = 6.0;

/// The standard deviation of a normal distribution whose absolute values have the median 1.
const DEVIATION_OF_MEDIAN: f32 = 1.4826;

/// What a new measurement of noise counts against the older ones.
const NOISE_SHARE: f32 = 1.0 / 16.0;

/// Mean luma of each block of what the model sees, row by row, in 1/128 of a level (0 to 255 levels).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LumaGrid(pub [u16; BLOCKS]);

impl Default for LumaGrid {
    fn default() -> Self {
        Self([0; BLOCKS])
    }
}

impl LumaGrid {
    fn differences(&self, other: &Self) -> [u16; BLOCKS] {
        let mut differences = self.0;
        differences.iter_mut().zip(other.0).for_each(|(a, b)| *a = a.abs_diff(b));
        differences
    }
}

/// How long and how far an answer may be given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReuseSettings {
    /// Microseconds after which a scene that looks the same is classified again.
    pub max_age_us: u64,
    /// Of the frames that could be answered again, every so many-th is classified all the same; 0 for none.
    pub recheck_every: u32,
}

/// What the gate says of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing was classified yet.
    First,
    /// At least one block differs.
    Changed,
    /// The camera is too noisy to tell.
    Noisy,
    /// It looks the same, but the answer is too old.
    TooOld,
    /// It looks the same and is classified to see whether the answer is.
    Recheck,
    /// It looks the same: the last answer stands.
    Same,
}

/// Compares frames with the last one that was classified.
#[derive(Debug, Clone)]
pub struct ChangeGate {
    settings: ReuseSettings,
    /// The last frame that was classified, and when.
    classified: Option<(LumaGrid, u64)>,
    last: Option<LumaGrid>,
    /// Standard deviation of a block's difference between two frames of one scene, in levels; once there were two.
    noise: Option<f32>,
    /// Frames that could be answered again since the last one that was classified to check.
    since_recheck: u32,
}

impl ChangeGate {
    /// A gate that has seen nothing.
    #[must_use]
    pub fn new(settings: ReuseSettings) -> Self {
        Self { settings, classified: None, last: None, noise: None, since_recheck: 0 }
    }

    /// Judges the next frame, taken at `now_us` on a clock that only rises. Unless it is [`Change::Same`], the caller
    /// classifies the frame and tells [`Self::classified`].
    pub fn judge(&mut self, grid: &LumaGrid, now_us: u64) -> Change {
        self.measure_noise(grid);
        let Some((reference, since)) = &self.classified else { return Change::First };
        // Until two frames have been seen nothing is known of noise.
        let threshold = self.noise.map_or(f32::INFINITY, |noise| (noise * DEVIATIONS).max(LEAST_DIFFERENCE));
        if threshold > LARGEST_DIFFERENCE {
            return Change::Noisy;
        }
        if grid.differences(reference).into_iter().any(|difference| levels(difference) > threshold) {
            return Change::Changed;
        }
        if now_us.saturating_sub(*since) >= self.settings.max_age_us {
            return Change::TooOld;
        }
        self.since_recheck += 1;
        if self.settings.recheck_every > 0 && self.since_recheck >= self.settings.recheck_every {
            self.since_recheck = 0;
            return Change::Recheck;
        }
        Change::Same
    }

    /// The frame just judged was classified: what comes is compared with it.
    pub fn classified(&mut self, grid: &LumaGrid, now_us: u64) {
        self.classified = Some((*grid, now_us));
    }

    /// The classification failed, or the source is another: there is no answer to give again.
    pub fn forget(&mut self) {
        self.classified = None;
    }

    /// The median of all blocks' differences from one frame to the next: something that moves changes few blocks.
    fn measure_noise(&mut self, grid: &LumaGrid) {
        if let Some(last) = self.last.replace(*grid) {
            let mut differences = grid.differences(&last);
            let (_, median, _) = differences.select_nth_unstable(BLOCKS / 2);
            let measured = levels(*median) * DEVIATION_OF_MEDIAN;
            if measured * DEVIATIONS > LARGEST_DIFFERENCE {
                // Most of the picture changed by more than noise is ever taken for: a cut, a lamp, or a camera that is
                // too noisy. It says nothing of what comes after a cut.
                return;
            }
            self.noise = Some(self.noise.map_or(measured, |noise| noise + (measured - noise) * NOISE_SHARE));
        }
    }
}

fn levels(difference: u16) -> f32 {
    f32::from(difference) / f32::from(LUMA_UNITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SETTINGS: ReuseSettings = ReuseSettings { max_age_us: 1_000_000, recheck_every: 0 };

    /// A camera whose blocks have normal noise of `deviation` levels.
    struct Camera {
        state: u64,
        deviation: f32,
        scene: [f32; BLOCKS],
    }

    impl Camera {
        fn new(deviation: f32) -> Self {
            Self { state: 7, deviation, scene: std::array::from_fn(|block| 60.0 + (block % 40) as f32) }
        }

        /// The sum of twelve uniform numbers is nearly normal with deviation 1.
        fn frame(&mut self) -> LumaGrid {
            LumaGrid(self.scene.map(|level| {
                let sum: f32 = (0..12).map(|_| self.uniform()).sum();
                ((level + (sum - 6.0) * self.deviation) * f32::from(LUMA_UNITS)) as u16
            }))
        }

        fn uniform(&mut self) -> f32 {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.state >> 40) as f32 / (1u64 << 24) as f32
        }
    }

    /// Judges, and classifies what has to be.
    fn step(gate: &mut ChangeGate, grid: &LumaGrid, now_us: u64) -> Change {
        let change = gate.judge(grid, now_us);
        if change != Change::Same {
            gate.classified(grid, now_us);
        }
        change
    }

    #[test]
    fn a_still_scene_is_answered_again_until_it_is_too_old() {
        let mut gate = ChangeGate::new(SETTINGS);
        let grid = Camera::new(0.0).frame();
        let changes: Vec<Change> = (0..8).map(|frame| step(&mut gate, &grid, frame * 250_000)).collect();
        use Change::{First, Same, TooOld};
        assert_eq!(changes, [First, Same, Same, Same, TooOld, Same, Same, Same]);
    }

    #[test]
    fn noise_alone_is_no_change() {
        for deviation in [0.0, 0.05, 0.2, 0.6] {
            let (mut gate, mut camera) =
                (ChangeGate::new(ReuseSettings { max_age_us: u64::MAX, ..SETTINGS }), Camera::new(deviation));
            let others = (0..3000).filter(|&frame| step(&mut gate, &camera.frame(), frame) != Change::Same).count();
            assert!(others <= 3, "{deviation}: {others} of 3000");
        }
    }

    #[test]
    fn one_block_above_the_noise_is_a_change() {
        for deviation in [0.0, 0.05, 0.2, 0.6] {
            let (mut gate, mut camera) = (ChangeGate::new(SETTINGS), Camera::new(deviation));
            for frame in 0..200 {
                step(&mut gate, &camera.frame(), frame);
            }
            camera.scene[77] += 0.8 + deviation * 15.0;
            assert_eq!(step(&mut gate, &camera.frame(), 200), Change::Changed, "{deviation}");
            assert_eq!(step(&mut gate, &camera.frame(), 201), Change::Same, "{deviation}: compared with the new scene");
        }
    }

    #[test]
    fn a_cut_is_no_noise() {
        let (mut gate, mut camera) = (ChangeGate::new(SETTINGS), Camera::new(0.1));
        for frame in 0..100 {
            step(&mut gate, &camera.frame(), frame);
        }
        camera.scene = camera.scene.map(|level| 220.0 - level);
        let changes: Vec<Change> = (100..104).map(|frame| step(&mut gate, &camera.frame(), frame)).collect();
        assert_eq!(changes, [Change::Changed, Change::Same, Change::Same, Change::Same]);
    }

    #[test]
    fn a_slow_change_is_found() {
        let (mut gate, mut camera) =
            (ChangeGate::new(ReuseSettings { max_age_us: u64::MAX, ..SETTINGS }), Camera::new(0.05));
        let mut changes = 0;
        for frame in 0..1000 {
            camera.scene[5] += 0.01;
            changes += u32::from(step(&mut gate, &camera.frame(), frame) == Change::Changed);
        }
        assert!((5..40).contains(&changes), "ten levels in a thousand frames: {changes}");
    }

    #[test]
    fn a_camera_too_noisy_to_tell_is_never_answered_again() {
        let (mut gate, mut camera) = (ChangeGate::new(SETTINGS), Camera::new(3.0));
        step(&mut gate, &camera.frame(), 0);
        assert!((1..50).all(|frame| step(&mut gate, &camera.frame(), frame) == Change::Noisy));
    }

    #[test]
    fn every_so_many_th_is_checked() {
        let mut gate = ChangeGate::new(ReuseSettings { max_age_us: u64::MAX, recheck_every: 4 });
        let grid = Camera::new(0.0).frame();
        let changes: Vec<Change> = (0..9).map(|frame| step(&mut gate, &grid, frame)).collect();
        use Change::{First, Recheck, Same};
        assert_eq!(changes, [First, Same, Same, Same, Recheck, Same, Same, Same, Recheck]);
    }

    #[test]
    fn nothing_is_answered_again_without_an_answer() {
        let mut gate = ChangeGate::new(SETTINGS);
        let grid = Camera::new(0.0).frame();
        assert_eq!(gate.judge(&grid, 0), Change::First);
        assert_eq!(gate.judge(&grid, 1), Change::First, "the first was never classified");
        gate.classified(&grid, 1);
        assert_eq!(gate.judge(&grid, 2), Change::Same);
        gate.forget();
        assert_eq!(gate.judge(&grid, 3), Change::First);
    }

    proptest! {
        #[test]
        fn never_beyond_the_largest_age(steps in prop::collection::vec(0u64..400_000, 1..60)) {
            let (mut gate, mut camera) = (ChangeGate::new(SETTINGS), Camera::new(0.1));
            let (mut now, mut answered) = (0, 0);
            for step_us in steps {
                now += step_us;
                if step(&mut gate, &camera.frame(), now) == Change::Same {
                    prop_assert!(now - answered < SETTINGS.max_age_us);
                } else {
                    answered = now;
                }
            }
        }
    }
}
