//! The change gate: whether a frame shows the same as the last one that was classified.

/// Blocks of a luma grid along x.
pub const GRID_COLUMNS: usize = 16;

/// Blocks of a luma grid along y.
pub const GRID_ROWS: usize = 12;

/// Mean luma of each block of what the model sees, row by row, in 1/128 of a level (0 to 255 levels).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LumaGrid(pub [u16; GRID_COLUMNS * GRID_ROWS]);

impl Default for LumaGrid {
    fn default() -> Self {
        Self([0; GRID_COLUMNS * GRID_ROWS])
    }
}
