//! The entropy-coded blocks of a picture, one MCU after the other.

use super::headers::{Header, JpegComponent, Step, Tables};
use super::huffman::{BitReader, HuffmanTable};
use super::idct::{self, LARGEST_COEFFICIENT};
use super::{JpegError, Samples};

/// A component's tables.
#[derive(Clone, Copy)]
struct Part<'a> {
    component: &'a JpegComponent,
    dc: &'a HuffmanTable,
    ac: &'a HuffmanTable,
    steps: &'a [Step; 64],
}

/// Decodes the MCUs in `window` (columns, rows) into `samples`.
pub(super) type Decode = fn(&[u8], &Header, &Tables, [(u32, u32); 2], &mut [Samples; 3]) -> Result<(), JpegError>;

/// The fastest for this processor.
pub(super) fn fastest() -> Decode {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2") {
        return avx2::decode;
    }
    decode
}

/// The same code in wider vectors and with shifts that take their count from any register.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{Header, JpegError, Samples, Tables};

    /// Reachable only through [`super::fastest`], that is after AVX2 and BMI2 were found.
    #[expect(unsafe_code, reason = "compiling for instructions that the target does not promise")]
    pub fn decode(
        bytes: &[u8],
        header: &Header,
        tables: &Tables,
        window: [(u32, u32); 2],
        samples: &mut [Samples; 3],
    ) -> Result<(), JpegError> {
        // SAFETY: AVX2 and BMI2 were found; the function itself is safe code.
        unsafe { with_avx2(bytes, header, tables, window, samples) }
    }

    #[target_feature(enable = "avx2,bmi2")]
    fn with_avx2(
        bytes: &[u8],
        header: &Header,
        tables: &Tables,
        window: [(u32, u32); 2],
        samples: &mut [Samples; 3],
    ) -> Result<(), JpegError> {
        super::decode(bytes, header, tables, window, samples)
    }
}

#[inline(always)]
fn decode(
    bytes: &[u8],
    header: &Header,
    tables: &Tables,
    [columns, rows]: [(u32, u32); 2],
    samples: &mut [Samples; 3],
) -> Result<(), JpegError> {
    let [a, b, c] = &header.components;
    let parts = [
        part(a, tables)?,
        part(if header.count > 1 { b } else { a }, tables)?,
        part(if header.count > 1 { c } else { a }, tables)?,
    ];
    let parts = parts.get(..header.count).unwrap_or_default();
    let (widest, tallest) = header.largest();
    let (across, down) = (header.width.div_ceil(8 * widest), header.height.div_ceil(8 * tallest));
    let interval = if header.restart_interval == 0 { u32::MAX } else { header.restart_interval };
    let mut reader = BitReader::new(bytes, header.scan);
    let mut means = [0; 3];
    let mut restarts = 0u8;
    // The last row that the window needs ends the work.
    let end = rows.1.min(down) * across;
    let mut mcu = 0;
    // Whether a marker stands between the reader and the next interval.
    let mut at_marker = false;
    while mcu < end {
        if mcu % interval == 0 {
            if at_marker {
                reader.restart(restarts % 8)?;
                restarts = restarts.wrapping_add(1);
                means = [0; 3];
            }
            at_marker = true;
            if mcu.saturating_add(interval) <= rows.0 * across {
                // Nothing of this interval is wanted, and it can be passed without reading codes.
                reader.skip_interval(restarts % 8)?;
                restarts = restarts.wrapping_add(1);
                at_marker = false;
                mcu += interval;
                continue;
            }
        }
        let (x, y) = (mcu % across, mcu / across);
        let wanted = y >= rows.0 && x >= columns.0 && x < columns.1;
        for ((part, samples), mean) in parts.iter().zip(samples.iter_mut()).zip(&mut means) {
            if wanted { part.decode_mcu(&mut reader, mean, samples, x, y)? } else { part.skip_mcu(&mut reader, mean)? }
        }
        mcu += 1;
        if x + 1 == across {
            reader.check()?;
        }
    }
    reader.finish()
}

fn part<'a>(component: &'a JpegComponent, tables: &'a Tables) -> Result<Part<'a>, JpegError> {
    let missing = JpegError::Damaged("a Huffman table is missing");
    Ok(Part {
        component,
        dc: tables.dc.get(usize::from(component.dc)).ok_or(missing)?,
        ac: tables.ac.get(usize::from(component.ac)).ok_or(missing)?,
        steps: tables.steps(component)?,
    })
}

impl Part<'_> {
    /// Reads over the component's blocks of one MCU; keeps only the running mean.
    #[inline(always)]
    fn skip_mcu(&self, reader: &mut BitReader, mean: &mut i32) -> Result<(), JpegError> {
        for _ in 0..self.component.across * self.component.down {
            *mean = mean.wrapping_add(reader.dc(self.dc)?);
            reader.ac(self.ac, 0, |_, _| {})?;
        }
        Ok(())
    }

    #[inline(always)]
    fn decode_mcu(
        &self,
        reader: &mut BitReader,
        mean: &mut i32,
        samples: &mut Samples,
        x: u32,
        y: u32,
    ) -> Result<(), JpegError> {
        let (across, down) = (self.component.across, self.component.down);
        for block_y in y * down..(y + 1) * down {
            for block_x in x * across..(x + 1) * across {
                let start = block_y as usize * samples.size.1 * samples.stride + block_x as usize * samples.size.0;
                let out = samples.bytes.get_mut(start..).unwrap_or_default();
                self.decode_block(reader, mean, samples.size, out, samples.stride)?;
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn decode_block(
        &self,
        reader: &mut BitReader,
        mean: &mut i32,
        size: (usize, usize),
        out: &mut [u8],
        stride: usize,
    ) -> Result<(), JpegError> {
        let mut block = [0i16; 64];
        *mean = mean.wrapping_add(reader.dc(self.dc)?);
        let factor = self.steps.first().map_or(1, |step| i32::from(step.factor));
        let dc = coefficient(*mean, factor);
        if let Some(place) = block.first_mut() {
            *place = dc;
        }
        let mut is_flat = true;
        reader.ac(self.ac, last_place(size), |index, value| {
            let Some(step) = self.steps.get(index & 63) else { return };
            if let Some(place) = block.get_mut(usize::from(step.place & 63)) {
                *place = coefficient(value, i32::from(step.factor));
            }
            is_flat = false;
        })?;
        if is_flat {
            idct::flat(dc, size, out, stride);
            return Ok(());
        }
        transform(&block, size, out, stride);
        Ok(())
    }
}

/// The last place in zigzag order whose frequency is among the lowest `size`.
#[inline(always)]
fn last_place(size: (usize, usize)) -> u32 {
    match size.0.max(size.1) {
        8 => 63,
        4 => 24,
        2 => 4,
        _ => 0,
    }
}

#[inline(always)]
fn transform(block: &[i16; 64], size: (usize, usize), out: &mut [u8], stride: usize) {
    match size {
        (8, 8) => idct::samples::<8, 8>(block, out, stride),
        (8, 4) => idct::samples::<8, 4>(block, out, stride),
        (8, 2) => idct::samples::<8, 2>(block, out, stride),
        (8, 1) => idct::samples::<8, 1>(block, out, stride),
        (4, 8) => idct::samples::<4, 8>(block, out, stride),
        (4, 4) => idct::samples::<4, 4>(block, out, stride),
        (4, 2) => idct::samples::<4, 2>(block, out, stride),
        (4, 1) => idct::samples::<4, 1>(block, out, stride),
        (2, 8) => idct::samples::<2, 8>(block, out, stride),
        (2, 4) => idct::samples::<2, 4>(block, out, stride),
        (2, 2) => idct::samples::<2, 2>(block, out, stride),
        (2, 1) => idct::samples::<2, 1>(block, out, stride),
        (1, 8) => idct::samples::<1, 8>(block, out, stride),
        (1, 4) => idct::samples::<1, 4>(block, out, stride),
        (1, 2) => idct::samples::<1, 2>(block, out, stride),
        _ => idct::samples::<1, 1>(block, out, stride),
    }
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "clamped")]
fn coefficient(value: i32, factor: i32) -> i16 {
    value.wrapping_mul(factor).clamp(-LARGEST_COEFFICIENT, LARGEST_COEFFICIENT) as i16
}
