//! Depthwise convolutions column by column with AVX2: a column's rows are brought together as pairs of i16 once, and
//! multiplied into all output columns whose window covers them.
//!
//! Windows have an odd number of rows. The last row has no partner in its column; its pixels are paired with those of
//! the column before, so that 9 taps take 5 products of pairs and 25 take 13.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::ops::Range;

use crate::int8::depthwise_weights::PairColumnBlock;
use crate::int8::kernels::Depthwise;
use crate::int8::kernels::columns::Rows;
use crate::int8::kernels::vnni::FinishHalf;

/// Fewest channels: a block may not be wider than the image.
pub const NARROWEST: usize = 16;

/// Numbers of i16 in a vector: pairs of 8 channels.
const NUMBERS: usize = 16;

/// The widest block for a window of that many rows and columns, if there is a loop for it. (The sums of 5 x 5 windows
/// would not fit the registers for 32 channels.)
pub fn widest_block(kernel: [usize; 2], [rows, columns]: [usize; 2]) -> Option<usize> {
    match (kernel, rows == columns, columns) {
        ([3, 3], true, 1 | 2) => Some(32),
        ([5, 5], true, 1 | 2) => Some(16),
        _ => None,
    }
}

/// Whether all slices are long enough for what the numbers say, and the window has a loop.
pub fn can_run(call: &Depthwise<'_>, output: &[u8]) -> bool {
    let window = call.window;
    let Some(widest) = widest_block(window.kernel, window.stride) else { return false };
    let [rows, columns] = window.kernel;
    let fits = |block: &PairColumnBlock| {
        matches!(block.width, 16 | 32)
            && block.width <= widest
            && block.start.saturating_add(block.width) <= call.weights.channels
            && block.pairs.len() >= PairColumnBlock::pairs_of(rows, columns) * 2 * block.width
            && block.bias.len() >= block.width
            && block.scale.len() >= block.width
    };
    window.dilation == [1, 1]
        && !call.weights.epilogue.is_wide
        && call.fits(output)
        && !call.weights.pair_columns.is_empty()
        && call.weights.pair_columns.iter().all(fits)
}

/// # Safety
/// `can_run` holds for the memory at `output`.
#[target_feature(enable = "avx2")]
pub unsafe fn run(call: &Depthwise<'_>, output: *mut u8) {
    let finish = FinishHalf::new(call.weights.epilogue.bounds);
    let [output_rows, output_columns] = call.window.output;
    let ([taps, _], [_, stride]) = (call.window.kernel, call.window.stride);
    for row in 0..output_rows {
        let rows = Rows::new(call, row);
        // SAFETY: the output holds all rows; each block ends within the channels and has weights for the window.
        unsafe {
            let output = output.add(row * output_columns * call.weights.channels);
            for block in &call.weights.pair_columns {
                match (taps, stride, block.width) {
                    (3, 1, 32) => Line::<3, 1, 3, 2>::run(&rows, block, finish, output),
                    (3, 1, _) => Line::<3, 1, 3, 1>::run(&rows, block, finish, output),
                    (3, _, 32) => Line::<3, 2, 2, 2>::run(&rows, block, finish, output),
                    (3, _, _) => Line::<3, 2, 2, 1>::run(&rows, block, finish, output),
                    (_, 1, _) => Line::<5, 1, 5, 1>::run(&rows, block, finish, output),
                    _ => Line::<5, 2, 3, 1>::run(&rows, block, finish, output),
                }
            }
        }
    }
}

/// Sums of the outputs that one column of the input belongs to, each in pairs of vectors of eight channels.
type Sums<const SLOTS: usize, const HALVES: usize> = [[[__m256i; 2]; HALVES]; SLOTS];

/// One output row of one block: a window of `TAPS` by `TAPS`, `STRIDE` columns from one output to the next, `SLOTS` outputs
/// covered by one column, `HALVES` times 16 channels.
#[derive(Clone, Copy)]
struct Line<'a, const TAPS: usize, const STRIDE: usize, const SLOTS: usize, const HALVES: usize> {
    rows: &'a Rows,
    block: &'a PairColumnBlock,
    finish: FinishHalf,
}

impl<'a, const TAPS: usize, const STRIDE: usize, const SLOTS: usize, const HALVES: usize>
    Line<'a, TAPS, STRIDE, SLOTS, HALVES>
{
    /// Steps that make no output; they begin those that the first columns belong to.
    const EARLY: usize = SLOTS - 1;

    /// # Safety
    /// Each pixel that `rows` knows is followed by the block's bytes; the block has weights for all taps, and biases and
    /// scales for its channels; `output` has room for the block's bytes of each pixel of the row.
    #[inline(never)]
    #[target_feature(enable = "avx2")]
    unsafe fn run(rows: &'a Rows, block: &'a PairColumnBlock, finish: FinishHalf, output: *mut u8) {
        let line = Self { rows, block, finish };
        let (inner, all) = (Self::inner_steps(rows), 0..Self::EARLY + rows.output_columns);
        // SAFETY: passed on from the caller; `inner_steps` are what `inner` wants.
        unsafe {
            let mut sums = [std::array::from_fn(|half| line.bias(half)); SLOTS];
            if inner.start != Self::EARLY || inner.end != rows.output_columns {
                // A border wider than what the first outputs of a row cover, or a row of fewer outputs.
                for step in all {
                    line.edge(step, &mut sums, output, |slot| rows.has_output(step + slot, Self::EARLY));
                }
                return;
            }
            // Each step has code of its own, which does nothing for outputs before the row.
            if Self::EARLY > 0 {
                line.edge(0, &mut sums, output, |slot| slot >= Self::EARLY);
            }
            if Self::EARLY > 1 {
                line.edge(1, &mut sums, output, |slot| slot + 1 >= Self::EARLY);
            }
            if Self::EARLY > 2 {
                line.edge(2, &mut sums, output, |slot| slot + 2 >= Self::EARLY);
            }
            if Self::EARLY > 3 {
                line.edge(3, &mut sums, output, |slot| slot + 3 >= Self::EARLY);
            }
            line.inner(inner.clone(), &mut sums, output);
            // The same for outputs after the row.
            if Self::EARLY > 3 {
                line.edge(all.end - 4, &mut sums, output, |slot| slot < 4);
            }
            if Self::EARLY > 2 {
                line.edge(all.end - 3, &mut sums, output, |slot| slot < 3);
            }
            if Self::EARLY > 1 {
                line.edge(all.end - 2, &mut sums, output, |slot| slot < 2);
            }
            if Self::EARLY > 0 {
                line.edge(all.end - 1, &mut sums, output, |slot| slot < 1);
            }
        }
    }

    /// Steps that make an output, begin another one, and have columns of the image.
    fn inner_steps(rows: &Rows) -> Range<usize> {
        let (ahead, last) = (Self::EARLY * STRIDE + STRIDE, rows.columns + rows.pad + Self::EARLY * STRIDE);
        let start = (rows.pad + ahead).saturating_sub(TAPS).div_ceil(STRIDE).max(Self::EARLY);
        let end = last.checked_sub(TAPS).map_or(0, |last| last / STRIDE + 1).min(rows.output_columns);
        start..end.max(start)
    }

    /// The column, counted with the border before the image, of which a step reads the tap at `offset` of its window;
    /// wraps where even the border does not go that far.
    #[inline]
    fn column(step: usize, offset: usize) -> usize {
        (step * STRIDE + offset).wrapping_sub(Self::EARLY * STRIDE)
    }

    /// # Safety
    /// As [`Self::run`], for [`Self::inner_steps`].
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn inner(&self, steps: Range<usize>, sums: &mut Sums<SLOTS, HALVES>, output: *mut u8) {
        let channels = self.rows.channels;
        let column = Self::column(steps.start, TAPS - STRIDE);
        let first = column.wrapping_sub(self.rows.pad);
        let pitches: [usize; TAPS] = std::array::from_fn(|row| self.rows.inside.pitch(row));
        let mut pixels: [*const u8; TAPS] = std::array::from_fn(|row| self.rows.inside.pixel(row, first));
        let (before, at) = self.rows.column(column.wrapping_sub(1));
        let mut before = before.pixel(TAPS - 1, at);
        let mut output = output.wrapping_add(steps.start.wrapping_sub(Self::EARLY) * channels);
        for _ in steps {
            for offset in TAPS - STRIDE..TAPS {
                // SAFETY: passed on from the caller.
                unsafe {
                    let done = self.add_column(offset, pixels, before, sums, |_| true);
                    if offset + 1 == TAPS {
                        self.store(done, output);
                    }
                }
                before = pixels.last().copied().unwrap_or(before);
                pixels.iter_mut().zip(pitches).for_each(|(pixel, pitch)| *pixel = pixel.wrapping_add(pitch));
            }
            output = output.wrapping_add(channels);
        }
    }

    /// # Safety
    /// As [`Self::run`], for any step.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn edge(
        &self,
        step: usize,
        sums: &mut Sums<SLOTS, HALVES>,
        output: *mut u8,
        is_wanted: impl Fn(usize) -> bool,
    ) {
        for offset in TAPS - STRIDE..TAPS {
            let column = Self::column(step, offset);
            let (pixels, at) = self.rows.column(column);
            let pixels: [*const u8; TAPS] = std::array::from_fn(|row| pixels.pixel(row, at));
            let (before, at) = self.rows.column(column.wrapping_sub(1));
            // SAFETY: passed on from the caller.
            unsafe {
                let done = self.add_column(offset, pixels, before.pixel(TAPS - 1, at), sums, &is_wanted);
                if let Some(column) = step.checked_sub(Self::EARLY).filter(|_| offset + 1 == TAPS) {
                    self.store(done, output.add(column * self.rows.channels));
                }
            }
        }
    }

    /// Adds a column's products to the sums of the outputs for which it is the tap at `offset`, at `offset - STRIDE` and
    /// so on. `before` is the last row's pixel in the column before. With the last offset the first sums are finished:
    /// gives them as steps, and moves the others up.
    ///
    /// # Safety
    /// Each of the pixels is followed by the block's bytes; the block is as [`Self::run`] wants it.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn add_column(
        &self,
        offset: usize,
        pixels: [*const u8; TAPS],
        before: *const u8,
        sums: &mut Sums<SLOTS, HALVES>,
        is_wanted: impl Fn(usize) -> bool,
    ) -> [__m256i; 2] {
        let mut done = [_mm256_setzero_si256(); 2];
        // Each half is finished before the next one is begun, so that its sums free their registers.
        for (half, done) in done.iter_mut().enumerate().take(HALVES) {
            // SAFETY: passed on from the caller.
            unsafe {
                // Those across two columns first: the sum that begins with this column is not needed for them.
                if let Some(&last) = pixels.last() {
                    // They are done together when the second column comes.
                    let is_second = |tap: usize| tap % 2 == 1 || tap + 1 == TAPS;
                    let is_wanted = |slot, tap| is_second(tap) && is_wanted(slot);
                    self.add_pair((offset, TAPS / 2, half), [before, last], sums, is_wanted);
                }
                for pair in 0..TAPS / 2 {
                    let row = |row: usize| pixels.get(row).copied().unwrap_or(before);
                    let pixels = [row(2 * pair), row(2 * pair + 1)];
                    self.add_pair((offset, pair, half), pixels, sums, |slot, _| is_wanted(slot));
                }
                if offset + 1 == TAPS {
                    *done = self.turn(half, sums);
                }
            }
        }
        done
    }

    /// Adds the products of two pixels.
    ///
    /// # Safety
    /// As [`Self::add_column`].
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn add_pair(
        &self,
        (offset, pair, half): (usize, usize, usize),
        [first, second]: [*const u8; 2],
        sums: &mut Sums<SLOTS, HALVES>,
        is_wanted: impl Fn(usize, usize) -> bool,
    ) {
        let start = self.block.start;
        // SAFETY: as the caller says; the block has weights for all taps.
        unsafe {
            let inputs = interleave::<HALVES>(first.add(start), second.add(start), half);
            for (slot, sums) in sums.iter_mut().enumerate() {
                let tap = offset.wrapping_sub(slot * STRIDE);
                if tap < TAPS
                    && is_wanted(slot, tap)
                    && let Some(sums) = sums.get_mut(half)
                {
                    let group = tap * (TAPS / 2) + tap / 2 + pair;
                    for (vector, (sum, inputs)) in sums.iter_mut().zip(inputs).enumerate() {
                        let place = ((group * HALVES + half) * 2 + vector) * NUMBERS;
                        let weights = _mm256_loadu_si256(self.block.pairs.as_ptr().add(place).cast());
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(inputs, weights));
                    }
                }
            }
        }
    }

    /// # Safety
    /// The block has biases for its channels.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn bias(&self, half: usize) -> [__m256i; 2] {
        // SAFETY: as the caller says; unaligned loads.
        let load = |at: usize| unsafe { _mm256_loadu_si256(self.block.bias.as_ptr().add(at).cast()) };
        [load(16 * half), load(16 * half + 8)]
    }

    /// Takes the finished sums of a half out as steps of i16, moves the others up and begins new ones.
    ///
    /// # Safety
    /// The block has biases and scales for its channels.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn turn(&self, half: usize, sums: &mut Sums<SLOTS, HALVES>) -> __m256i {
        // SAFETY: as the caller says; unaligned loads.
        let mut moved = unsafe { self.bias(half) };
        for sums in sums.iter_mut().rev() {
            if let Some(sums) = sums.get_mut(half) {
                moved = std::mem::replace(sums, moved);
            }
        }
        let [first, second] = moved;
        // SAFETY: as the caller says; unaligned loads.
        let scale = |at: usize| unsafe { _mm256_loadu_ps(self.block.scale.as_ptr().add(at)) };
        let first = self.finish.scale(first, scale(16 * half));
        self.finish.narrow_half(first, self.finish.scale(second, scale(16 * half + 8)))
    }

    /// # Safety
    /// Room for the block's bytes at `output` past the block's start.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn store(&self, [first, second]: [__m256i; 2], output: *mut u8) {
        // SAFETY: as the caller says.
        unsafe {
            let output = output.add(self.block.start);
            if HALVES == 2 {
                _mm256_storeu_si256(output.cast(), self.finish.join(first, second));
            } else {
                let bytes = _mm256_permute4x64_epi64::<0b00_00_10_00>(self.finish.join(first, first));
                _mm_storeu_si128(output.cast(), _mm256_castsi256_si128(bytes));
            }
        }
    }
}

/// Pairs of i16 of one half of two pixels' channels: of 32 channels the first or the second eight of each 16 in order of
/// [`unpacked_order`](crate::int8::depthwise_weights::unpacked_order), of 16 channels four of each eight.
///
/// # Safety
/// `16 * HALVES` bytes at each pointer.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn interleave<const HALVES: usize>(first: *const u8, second: *const u8, half: usize) -> [__m256i; 2] {
    let zero = _mm256_setzero_si256();
    // SAFETY: as the caller says; unaligned loads.
    unsafe {
        if HALVES == 2 {
            let (first, second) = (_mm256_loadu_si256(first.cast()), _mm256_loadu_si256(second.cast()));
            let unpack = if half == 0 { _mm256_unpacklo_epi8 } else { _mm256_unpackhi_epi8 };
            let bytes = unpack(first, second);
            [_mm256_unpacklo_epi8(bytes, zero), _mm256_unpackhi_epi8(bytes, zero)]
        } else {
            let wide = |pixel: *const u8| _mm256_cvtepu8_epi16(_mm_loadu_si128(pixel.cast()));
            let (first, second) = (wide(first), wide(second));
            [_mm256_unpacklo_epi16(first, second), _mm256_unpackhi_epi16(first, second)]
        }
    }
}
