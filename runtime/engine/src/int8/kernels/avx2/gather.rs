//! Rows of i16 from an image of bytes.

use std::arch::x86_64::*;

use crate::int8::kernels::{Gather, scalar};

/// Bytes that are widened at once.
const UNIT: usize = 16;

pub fn gather(call: &Gather<'_>, rows: &mut [i16]) {
    if !call.fits(rows) || call.length == 0 {
        return;
    }
    let whole = call.rows_in_units(UNIT, rows);
    // SAFETY: AVX2 was found, and `whole` rows may be read and written in units.
    unsafe {
        match call.length.div_ceil(UNIT) {
            1 => gather_units::<1>(call, whole, rows.as_mut_ptr()),
            2 => gather_units::<2>(call, whole, rows.as_mut_ptr()),
            3 => gather_units::<3>(call, whole, rows.as_mut_ptr()),
            _ => gather_units::<0>(call, whole, rows.as_mut_ptr()),
        }
    }
    scalar::gather_from(whole, call, rows);
}

/// The first `whole` rows, of runs of `UNITS` units; of any number where that is 0. What is written beyond a run is written
/// over by the next one, or by the next row.
///
/// # Safety
/// Each run of these rows may be read, and written at `rows`, in whole units.
#[target_feature(enable = "avx2")]
unsafe fn gather_units<const UNITS: usize>(call: &Gather<'_>, whole: usize, rows: *mut i16) {
    let border = _mm256_set1_epi16(i16::from(call.border));
    let units = if UNITS == 0 { call.length.div_ceil(UNIT) } else { UNITS };
    for index in 0..whole {
        let mut row = rows.wrapping_add(index * call.depth);
        for start in call.starts {
            for unit in 0..units {
                // SAFETY: as the caller says; unaligned loads and stores.
                unsafe {
                    let numbers = match start {
                        Some(start) => {
                            let bytes = call.input.as_ptr().add(start + index * call.step + unit * UNIT);
                            _mm256_cvtepu8_epi16(_mm_loadu_si128(bytes.cast()))
                        }
                        None => border,
                    };
                    _mm256_storeu_si256(row.add(unit * UNIT).cast(), numbers);
                }
            }
            row = row.wrapping_add(call.length);
        }
    }
}
