//! Nearest-neighbour scaling.

use super::{Compiler, Value};
use crate::int8::graph::{Node, Unsupported};
use crate::int8::plan::Size;
use crate::int8::steps::{Resize, Step};

impl<'a> Compiler<'a> {
    pub(super) fn resize(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let (operand, kind) = self.tensor(node, 0)?;
        let size = self.size(node, operand)?;
        let mode = node.word("mode", "nearest");
        let place = node.word("coordinate_transformation_mode", "half_pixel");
        let nearest = node.word("nearest_mode", "round_prefer_floor");
        if mode != "nearest" || size.is_row {
            return Err(node.refuse(format!("mode {mode}; only images by nearest neighbour are scaled")));
        }
        let factor = |axis: usize, length: usize| -> Result<(usize, f64), Unsupported> {
            let refuse = || node.refuse("its scales or sizes are not constant, or are absurd");
            let (output, scale) = if let Some(sizes) = self.constant(node, 3)? {
                let sizes = sizes.integers().map_err(|why| node.refuse(why))?;
                let output = sizes.get(axis).and_then(|&n| usize::try_from(n).ok()).ok_or_else(refuse)?;
                (output, output as f64 / length as f64)
            } else {
                let scales = self.constant(node, 2)?.ok_or_else(refuse)?;
                let scales = scales.floats().map_err(|why| node.refuse(why))?;
                let scale = f64::from(scales.get(axis).copied().ok_or_else(refuse)?);
                ((length as f64 * scale).floor() as usize, scale)
            };
            if (1..=1 << 14).contains(&output) && scale > 0.0 { Ok((output, scale)) } else { Err(refuse()) }
        };
        let map = |axis: usize, length: usize| -> Result<Vec<usize>, Unsupported> {
            let (output, scale) = factor(axis, length)?;
            let source = |index: usize| nearest_source(&place, &nearest, index as f64, scale, length);
            let sources: Option<Vec<usize>> = (0..output).map(source).collect();
            sources.ok_or_else(|| node.refuse(format!("{place} with {nearest}")))
        };
        let (rows, columns) = (map(2, size.rows)?, map(3, size.columns)?);
        let scaled = Size { rows: rows.len(), columns: columns.len(), ..size };
        let input = self.ordered(node, operand)?;
        let (output, result) = self.new_tensor(node, &scaled.shape(), operand.quant)?;
        let step = Resize { input, output, channels: size.channels, input_columns: size.columns, rows, columns };
        self.push(node, Step::Resize(step))?;
        Ok(kind(result))
    }
}

/// The input index that ONNX's Resize takes for an output index; `None` for a mode that is not known here.
fn nearest_source(place: &str, nearest: &str, index: f64, scale: f64, length: usize) -> Option<usize> {
    let at = match place {
        "half_pixel" | "pytorch_half_pixel" => (index + 0.5) / scale - 0.5,
        "asymmetric" => index / scale,
        _ => return None,
    };
    let at = match nearest {
        "round_prefer_floor" => (at - 0.5).ceil(),
        "round_prefer_ceil" => (at + 0.5).floor(),
        "floor" => at.floor(),
        "ceil" => at.ceil(),
        _ => return None,
    };
    Some((at.max(0.0) as usize).min(length.saturating_sub(1)))
}
