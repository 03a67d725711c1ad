//! The luma grid of a frame, as a by-product of its tensor.

use std::ops::Range;

use tinysaver_core::{GRID_COLUMNS, GRID_ROWS, LumaGrid};

use super::colour::Conversion;

/// Sums of luma over the blocks of a grid.
pub(super) struct LumaSums {
    columns: [Range<usize>; GRID_COLUMNS],
    rows: [Range<usize>; GRID_ROWS],
    sums: [[u64; GRID_COLUMNS]; GRID_ROWS],
}

impl LumaSums {
    /// For tensors of `width` x `height` pixels.
    pub fn new(width: usize, height: usize) -> Self {
        Self {
            columns: std::array::from_fn(|block| block_of(block, GRID_COLUMNS, width)),
            rows: std::array::from_fn(|block| block_of(block, GRID_ROWS, height)),
            sums: [[0; GRID_COLUMNS]; GRID_ROWS],
        }
    }

    pub fn clear(&mut self) {
        self.sums = [[0; GRID_COLUMNS]; GRID_ROWS];
    }

    /// Adds row `row` of the averaged components.
    #[inline(always)]
    pub fn add_row(&mut self, conversion: &Conversion, components: [&[i16]; 3], row: usize) {
        for (_, sums) in self.rows.iter().zip(&mut self.sums).filter(|(rows, _)| rows.contains(&row)) {
            for (columns, sum) in self.columns.iter().zip(sums) {
                let block = components.map(|component| component.get(columns.clone()).unwrap_or_default());
                *sum += u64::from(conversion.luma_sum(block));
            }
        }
    }

    /// Each block's mean.
    pub fn grid(&self) -> LumaGrid {
        let means = self.rows.iter().zip(&self.sums).flat_map(|(rows, sums)| {
            let pixels = move |columns: &Range<usize>| (rows.len() * columns.len()).max(1) as u64;
            let mean = move |(columns, sum): (&Range<usize>, &u64)| sum / pixels(columns);
            self.columns.iter().zip(sums).map(mean)
        });
        let mut grid = LumaGrid::default();
        for (block, mean) in grid.0.iter_mut().zip(means) {
            *block = u16::try_from(mean).unwrap_or(u16::MAX);
        }
        grid
    }
}

/// The pixels of block `block` of `blocks`; at least one.
fn block_of(block: usize, blocks: usize, pixels: usize) -> Range<usize> {
    let start = block * pixels / blocks;
    start..((block + 1) * pixels / blocks).max(start + 1)
}
