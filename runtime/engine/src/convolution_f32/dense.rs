//! Output channels that each see all input channels, or a group of them: a matrix product whose rows lie where the picture has them.

use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};

/// Output positions whose pixels are looked up together; a multiple of what each kernel does at once.
pub(super) const BLOCK: usize = 48;

/// Positions of a block and channels of a panel.
pub(super) struct Part<'a> {
    /// Where the pixels are: [`BLOCK`] for each tap.
    pub pixels: &'a [*const f32],
    /// Positions of the block that there are.
    pub positions: usize,
    /// Input channels that the panel sees, and the first of them.
    pub channels: usize,
    pub seen: usize,
    /// The panel's, `[tap][input channel][output channel]`, whole vectors.
    pub weights: *const f32,
    pub bias: *const f32,
    /// Weights that are used next, as many or fewer: those of this part lie near when its positions are done.
    pub next: *const f32,
    /// Channels of the panel, and the first of them.
    pub filters: usize,
    pub first: usize,
    /// Of the block's first position.
    pub output: *mut f32,
    /// What is added, laid out as the output.
    pub other: Option<*const f32>,
    /// From one position to the next in the output.
    pub stride: usize,
    pub low: f32,
    pub high: f32,
}

/// Numbers of a cache line.
pub(super) const LINE: usize = 16;

/// Asks for a cache line to be brought into the second-level cache, from wherever it is.
#[inline(always)]
pub(super) fn bring(numbers: *const f32) {
    // SAFETY: this is no access; any address may be named.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(numbers.cast()) };
}

/// Needs what `vectors!` of the module makes.
macro_rules! dense {
    ($features:literal) => {
        /// Output positions `P` at a time, or `H` where no more are left, channels in `V` vectors.
        ///
        /// # Safety
        /// The processor has the features; the part's pointers are as its fields say; `P` divides `BLOCK`, and `H` is less.
        #[target_feature(enable = $features)]
        unsafe fn tiles<const V: usize, const P: usize, const H: usize>(part: &Part<'_>) {
            let rest = part.positions % P;
            let whole = if rest > H { part.positions } else { part.positions - rest };
            for at in (0..whole).step_by(P) {
                // SAFETY: `P` divides `BLOCK`, so the pixels up to `at + P` are there.
                unsafe { finish(part, at, sums::<V, P>(part, at)) };
            }
            if whole < part.positions {
                // SAFETY: `H` is less than `P`.
                unsafe { finish(part, whole, sums::<V, H>(part, whole)) };
            }
        }

        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn sums<const V: usize, const P: usize>(part: &Part<'_>, at: usize) -> [[Vector; V]; P] {
            // SAFETY: each tap has `BLOCK` pixels of `channels` numbers, and `channels` rows of `V` vectors of weights.
            unsafe {
                let mut sums = [row::<V>(part.bias); P];
                let mut weights = part.weights;
                let mut ahead = part.next.wrapping_add(at / P * LINE * part.channels * (part.pixels.len() / BLOCK));
                for tap in part.pixels.chunks_exact(BLOCK) {
                    let mut pixels = [std::ptr::null(); P];
                    for (pixel, start) in pixels.iter_mut().zip(tap.get_unchecked(at..at + P)) {
                        *pixel = start.add(part.seen);
                    }
                    for channel in 0..part.channels {
                        let row = row::<V>(weights);
                        bring(ahead);
                        ahead = ahead.wrapping_add(LINE);
                        for (sums, pixel) in sums.iter_mut().zip(pixels) {
                            let value = spread(*pixel.add(channel));
                            for (sum, &weight) in sums.iter_mut().zip(&row) {
                                *sum = multiply_add(value, weight, *sum);
                            }
                        }
                        weights = weights.add(V * LANES);
                    }
                }
                sums
            }
        }

        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn row<const V: usize>(numbers: *const f32) -> [Vector; V] {
            let mut row = [spread(0.0); V];
            for (vector, place) in row.iter_mut().enumerate() {
                // SAFETY: the caller has so many vectors there.
                *place = unsafe { load(numbers.add(vector * LANES), LANES) };
            }
            row
        }

        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn finish<const V: usize, const P: usize>(part: &Part<'_>, at: usize, sums: [[Vector; V]; P]) {
            let (low, high) = (spread(part.low), spread(part.high));
            for (position, sums) in (at..part.positions).zip(sums) {
                for (vector, sum) in sums.into_iter().enumerate() {
                    let lanes = (part.filters - vector * LANES).min(LANES);
                    let place = position * part.stride + part.first + vector * LANES;
                    // SAFETY: so many lanes are channels of this position.
                    unsafe {
                        let sum = part.other.map_or(sum, |other| add(sum, load(other.add(place), lanes)));
                        store(part.output.add(place), clip(sum, low, high), lanes);
                    }
                }
            }
        }
    };
}
