//! Concatenation, and copies from one order into another.

use std::rc::Rc;

use super::{Compiler, Operand, Operation, Pending, Value, axis};
use crate::int8::graph::{Node, Unsupported};
use crate::int8::memory::TensorId;
use crate::int8::quant::Quant;
use crate::int8::steps::{Copy, Step};
use crate::int8::view::{View, copy_loops, standard_strides};

/// Parts that follow each other along an axis, whose common quantisation is not known yet.
#[derive(Debug, Clone)]
pub(super) struct Join {
    parts: Vec<Operand>,
    axis: usize,
    /// Of the whole.
    shape: Vec<usize>,
}

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
        let alike = parts.iter().all(|part| part.quant == first.quant);
        let join = self.join(node, parts)?;
        match (is_stored, alike) {
            (true, true) => self.emit_stored(node, join, first.quant),
            (true, false) => Err(node.refuse("it joins numbers of different scales")),
            (false, _) => Ok(join.into()),
        }
    }

    /// Inputs: scale and zero point of the output, then a triple for each part.
    pub(super) fn qlinear_concat(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let parts = (2..node.inputs().len()).step_by(3).map(|first| self.stored(node, first, first + 1, first + 2));
        let parts: Vec<Operand> = parts.collect::<Result<_, _>>()?;
        let first = *parts.first().ok_or_else(|| node.refuse("it has no input"))?;
        let quant = self.quant(node, 0, 1, first.quant.signed)?;
        let join = self.join(node, parts)?;
        self.emit_stored(node, join, quant)
    }

    fn join(&self, node: Node<'a>, parts: Vec<Operand>) -> Result<Operation<'a>, Unsupported> {
        let shapes: Vec<Vec<usize>> = parts.iter().map(|&part| self.shape(part)).collect();
        let first = shapes.first().cloned().unwrap_or_default();
        let stated = node.int("axis", i64::MAX);
        let at = axis(stated, first.len()).ok_or_else(|| node.refuse(format!("axis {stated} of {first:?}")))?;
        let outline = |shape: &[usize]| -> Vec<usize> {
            shape.iter().enumerate().map(|(each, &size)| if each == at { 0 } else { size }).collect()
        };
        if shapes.iter().any(|shape| outline(shape) != outline(&first)) {
            return Err(node.refuse(format!("its parts {shapes:?} differ beside axis {at}")));
        }
        let lengths = shapes.iter().filter_map(|shape| shape.get(at));
        let length = lengths.copied().try_fold(0usize, usize::checked_add);
        let length = length.ok_or_else(|| node.refuse("its parts are too long together"))?;
        let shape = first.iter().enumerate().map(|(each, &size)| if each == at { length } else { size }).collect();
        Ok(Operation::Concat(Rc::new(Join { parts, axis: at, shape })))
    }

    pub(super) fn emit_concat(
        &mut self,
        node: Node<'a>,
        pending: &Pending<'a>,
        join: &Join,
        quant: Quant,
    ) -> Result<Operand, Unsupported> {
        let (output, result) = self.new_tensor(node, &join.shape, quant)?;
        let strides = standard_strides(&join.shape);
        let stride = strides.get(join.axis).copied().unwrap_or(1);
        let mut first = 0;
        for &part in &join.parts {
            let same = part.quant == quant && !pending.is_clipped();
            let table = (!same).then(|| part.quant.table(quant, pending.bounds(quant), |x| x));
            let view = self.view(part);
            let length = view.shape().get(join.axis).copied().unwrap_or(0);
            self.push_copy(node, &view, (output, first * stride), &strides, table)?;
            first += length;
        }
        Ok(result)
    }

    /// A step that copies a view to where the given strides of its axes lead, from a place of the output on.
    pub(super) fn push_copy(
        &mut self,
        node: Node<'a>,
        view: &View,
        (output, start): (TensorId, usize),
        strides: &[usize],
        table: Option<Box<[u8; 256]>>,
    ) -> Result<(), Unsupported> {
        let copy = Copy::new([view.tensor, output], [view.offset, start], copy_loops(view, strides));
        self.push(node, Step::Copy(copy.with_table(table)))
    }
}
