//! Concatenation, flattening and nearest-neighbour scaling.

use super::{Compiler, Operand, Operation, Pending, Value};
use crate::int8::graph::{Node, Unsupported};
use crate::int8::plan::Size;
use crate::int8::quant::Quant;
use crate::int8::steps::{Flatten, Piece, Resize, Step};

impl<'a> Compiler<'a> {
    pub(super) fn concat(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let mut parts = Vec::new();
        let mut is_stored = false;
        for index in 0..node.inputs().len() {
            let (operand, kind) = self.tensor(node, index)?;
            is_stored |= matches!(kind(operand), Value::Stored(_));
            parts.push(operand);
        }
        let first = *parts.first().ok_or_else(|| node.refuse("it has no input"))?;
        self.check_concat(node, first, &parts)?;
        let alike = parts.iter().all(|part| part.quant == first.quant);
        match (is_stored, alike) {
            (true, true) => self.emit_stored(node, Operation::Concat(parts.into()), first.quant),
            (true, false) => Err(node.refuse("it joins numbers of different scales")),
            (false, _) => Ok(Operation::Concat(parts.into()).into()),
        }
    }

    /// Inputs: scale and zero point of the output, then a triple for each part.
    pub(super) fn qlinear_concat(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let parts = (2..node.inputs().len()).step_by(3).map(|first| self.stored(node, first, first + 1, first + 2));
        let parts: Vec<Operand> = parts.collect::<Result<_, _>>()?;
        let first = *parts.first().ok_or_else(|| node.refuse("it has no input"))?;
        self.check_concat(node, first, &parts)?;
        let quant = self.quant(node, 0, 1, first.quant.signed)?;
        self.emit_stored(node, Operation::Concat(parts.into()), quant)
    }

    fn check_concat(&self, node: Node<'a>, first: Operand, parts: &[Operand]) -> Result<(), Unsupported> {
        let size = self.size(first);
        let axis = node.int("axis", i64::MAX);
        let rank = if size.is_row { 2 } else { 4 };
        let same = |part: &Operand| Size { channels: size.channels, ..self.size(*part) } == size;
        if (axis == 1 || axis == 1 - rank) && parts.iter().all(same) {
            Ok(())
        } else {
            Err(node.refuse(format!("axis {axis}, or parts of different size; only channels are joined")))
        }
    }

    pub(super) fn emit_concat(
        &mut self,
        node: Node<'a>,
        pending: &Pending<'a>,
        parts: &[Operand],
        quant: Quant,
    ) -> Result<Operand, Unsupported> {
        let sizes: Vec<Size> = parts.iter().map(|&part| self.size(part)).collect();
        let output_channels = sizes.iter().try_fold(0usize, |sum, size| sum.checked_add(size.channels));
        let output_channels = output_channels.ok_or_else(|| node.refuse("too many channels"))?;
        let size = Size { channels: output_channels, ..sizes.first().copied().unwrap_or_default() };
        let output = self.new_tensor(node, size)?;
        let unclipped = pending.low == f32::NEG_INFINITY && pending.high == f32::INFINITY;
        let mut first_channel = 0;
        for (part, size) in parts.iter().zip(sizes) {
            let same = part.quant == quant && unclipped;
            let table = (!same).then(|| part.quant.table(quant, pending.bounds(quant), |x| x));
            let channels = size.channels;
            self.push(
                node,
                Step::Piece(Piece { input: part.tensor, output, channels, output_channels, first_channel, table }),
            )?;
            first_channel += channels;
        }
        Ok(Operand { tensor: output, quant })
    }

    /// Flatten, and the Reshape or Squeeze that do the same.
    pub(super) fn flatten(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let (operand, kind) = self.tensor(node, 0)?;
        let size = self.size(operand);
        let count = size.elements().unwrap_or(0);
        self.check_flatten(node, size, count)?;
        if size.is_row {
            return Ok(kind(operand));
        }
        let output = self.new_tensor(node, Size { rows: 1, columns: 1, channels: count, is_row: true })?;
        let step = Step::Flatten(Flatten { input: operand.tensor, output, channels: size.channels });
        self.push(node, step)?;
        Ok(kind(Operand { tensor: output, quant: operand.quant }))
    }

    fn check_flatten(&self, node: Node<'a>, size: Size, count: usize) -> Result<(), Unsupported> {
        let refuse = |why: String| node.refuse(why);
        let flat = match node.op() {
            "Flatten" => matches!(node.int("axis", 1), 1 | -3),
            "Reshape" => {
                let shape = self.constant(node, 1)?.ok_or_else(|| node.refuse("its shape is missing"))?;
                let shape = shape.integers().map_err(refuse)?;
                let batch = matches!(shape.first(), Some(-1..=1));
                let rest = i64::try_from(count)
                    .is_ok_and(|count| matches!(shape.get(1), Some(&n) if n == count || n == -1))
                    || (shape.get(1) == Some(&0) && size.pixels() == 1);
                let inferred = shape.iter().filter(|&&axis| axis == -1).count() < 2;
                batch && rest && inferred && shape.len() == 2
            }
            _ => {
                let axes = match self.constant(node, 1)? {
                    Some(constant) => constant.integers().map_err(refuse)?,
                    None => node.ints("axes").unwrap_or(&[]).to_vec(),
                };
                size.pixels() == 1 && matches!(axes.as_slice(), [2, 3] | [-2, -1] | [3, 2] | [-1, -2])
            }
        };
        if flat { Ok(()) } else { Err(node.refuse(format!("it makes no row of an input of {size}"))) }
    }

    pub(super) fn resize(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let (operand, kind) = self.tensor(node, 0)?;
        let size = self.size(operand);
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
        let output = Size { rows: rows.len(), columns: columns.len(), ..size };
        let output = self.new_tensor(node, output)?;
        let step = Resize {
            input: operand.tensor,
            output,
            channels: size.channels,
            input_columns: size.columns,
            rows,
            columns,
        };
        self.push(node, Step::Resize(step))?;
        Ok(kind(Operand { tensor: output, quant: operand.quant }))
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
