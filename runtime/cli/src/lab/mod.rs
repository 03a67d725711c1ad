//! Offline tools that a board does not need: what models say of a data set, kept in a file, and what follows from it.

pub mod calibration;
pub mod dataset;
pub mod evaluation;
pub mod import;
pub mod page;
pub mod paper_pairs;
pub mod parquet_file;
pub mod recording;
pub mod records;
pub mod selection;
