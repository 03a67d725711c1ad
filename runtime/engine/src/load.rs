//! Which backend runs a file.

use std::path::Path;

use crate::error::LoadError;
use crate::int8::{Int8Engine, KernelChoice};
use crate::onnx::OnnxFile;
use crate::spec::Engine;
use crate::tract::TractEngine;

/// A loaded model and why this backend runs it.
pub struct Loaded {
    /// The engine.
    pub engine: Box<dyn Engine>,
    /// Why there is no int8 plan; `None` where there is one.
    pub not_int8_because: Option<String>,
}

/// Loads a classifier with the int8 backend where it can run the whole graph, with tract otherwise. `bytes` is the whole
/// file, which the caller has checked; `path` serves the messages. `pixels` is the
/// height and width that the pair states; `choice` forces a set of int8 kernels.
///
/// # Errors
/// Every way in which neither can use the file; see [`LoadError`].
pub fn load_best(
    path: &Path,
    bytes: &[u8],
    pixels: Option<(usize, usize)>,
    choice: KernelChoice,
) -> Result<Loaded, LoadError> {
    let file = OnnxFile::parse(path, bytes)?;
    match Int8Engine::compile(&file, pixels, choice) {
        Ok(engine) => Ok(Loaded { engine: Box::new(engine), not_int8_because: None }),
        Err(LoadError::Int8 { reason, .. }) => {
            log::info!("{}: runs in tract, no int8 plan: {reason}", path.display());
            let engine = Box::new(TractEngine::from_file(&file, pixels)?);
            Ok(Loaded { engine, not_int8_because: Some(reason.to_string()) })
        }
        Err(other) => Err(other),
    }
}
