//! Which backend runs a file.

use std::path::Path;

use crate::error::LoadError;
use crate::int8::{Fallback, Int8Engine, KernelChoice};
use crate::onnx::OnnxFile;
use crate::spec::Engine;
use crate::tract::TractEngine;

/// A loaded model and why this backend runs it.
pub struct Loaded {
    /// The engine.
    pub engine: Box<dyn Engine>,
    /// Why there is no int8 plan for a quantised file; `None` where there is one, and for files of real numbers.
    pub not_int8_because: Option<String>,
    /// The nodes of an int8 plan that run in f32 all the same, and why.
    pub fallbacks: Vec<Fallback>,
}

/// Loads a classifier with the int8 backend where it can run the whole graph, with tract otherwise. `bytes` is the whole
/// file, which the caller has checked; `path` serves the messages. `pixels` is the
/// height and width that the pair states; `choice` forces a set of int8 kernels.
///
/// # Errors
/// Every way in which neither can use the file; see [`LoadError`].
pub fn load_best(
    path: &Path,
    bytes: Vec<u8>,
    pixels: Option<(usize, usize)>,
    choice: KernelChoice,
) -> Result<Loaded, LoadError> {
    let file = OnnxFile::parse(path, &bytes)?;
    // The parser has copied what it needs; a board has no memory for a third copy of the weights.
    drop(bytes);
    let in_tract = |not_int8_because: Option<String>| -> Result<Loaded, LoadError> {
        let engine = Box::new(TractEngine::from_file(&file, pixels)?);
        Ok(Loaded { engine, not_int8_because, fallbacks: Vec::new() })
    };
    if !file.is_quantised() {
        return in_tract(None);
    }
    match Int8Engine::compile(&file, pixels, choice) {
        Ok(engine) => {
            let fallbacks = engine.fallbacks().to_vec();
            for Fallback { op, node, why } in &fallbacks {
                log::info!("{}: {op} '{node}' runs in f32: {why}", path.display());
            }
            Ok(Loaded { engine: Box::new(engine), not_int8_because: None, fallbacks })
        }
        Err(LoadError::Int8 { reason, .. }) => {
            log::info!("{}: runs in tract, no int8 plan: {reason}", path.display());
            in_tract(Some(reason.to_string()))
        }
        Err(other) => Err(other),
    }
}
