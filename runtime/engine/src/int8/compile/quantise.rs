//! QuantizeLinear and DequantizeLinear, and the scales and zero points of the QOperator form.

use std::rc::Rc;

use super::convolution::Weights;
use super::{Compiler, Operand, Operation, Value};
use crate::int8::graph::{Constant, Node, Unsupported, element};
use crate::int8::quant::{Quant, SIGNED_OFFSET};

impl<'a> Compiler<'a> {
    /// The quantisation that two inputs of a node state. `signed` is the type where the zero point is left out.
    pub(super) fn quant(&self, node: Node<'a>, scale: usize, zero: usize, signed: bool) -> Result<Quant, Unsupported> {
        let refuse = |why: String| node.refuse(why);
        let scale = self.constant(node, scale)?.ok_or_else(|| node.refuse("its scale is missing"))?;
        let scale = scale.float().map_err(refuse)?;
        if !(scale.is_finite() && scale > 0.0) {
            return Err(node.refuse(format!("a scale of {scale} is no step width")));
        }
        let Some(constant) = self.constant(node, zero)? else {
            let zero_point = if signed { SIGNED_OFFSET } else { 0 };
            return Ok(Quant { scale, zero_point, signed: signed && !self.as_unsigned });
        };
        let signed = match constant.element() {
            element::U8 => false,
            element::I8 => true,
            other => return Err(node.refuse(format!("zero points of type {other}; uint8 and int8 are known"))),
        };
        let numbers = constant.integers().map_err(refuse)?;
        let &[zero_point] = numbers.as_slice() else {
            return Err(node.refuse("activations with a zero point for every channel"));
        };
        let zero_point = i32::try_from(zero_point).map_err(|_| node.refuse("its zero point is too large"))?;
        let zero_point = zero_point + if signed { SIGNED_OFFSET } else { 0 };
        Ok(Quant { scale, zero_point, signed: signed && !self.as_unsigned })
    }

    /// A quantised input of a node of the QOperator form, with what the node says that it means.
    pub(super) fn stored(
        &self,
        node: Node<'a>,
        data: usize,
        scale: usize,
        zero: usize,
    ) -> Result<Operand, Unsupported> {
        let Value::Stored(operand) = self.value(node, data)? else {
            return Err(node.refuse(format!("input {data} is not quantised")));
        };
        if self.as_unsigned && node.input(zero).is_none() && operand.quant.zero_point != 0 {
            return Err(node.refuse("its zero point is missing"));
        }
        let quant = self.quant(node, scale, zero, operand.quant.signed)?;
        if quant.signed != operand.quant.signed {
            return Err(node.refuse(format!("input {data} and its zero point are of different types")));
        }
        Ok(Operand { view: operand.view, quant })
    }

    /// Makes the step of an operation of the QOperator form, which states its output's quantisation itself.
    pub(super) fn emit_stored(
        &mut self,
        node: Node<'a>,
        operation: Operation<'a>,
        quant: Quant,
    ) -> Result<Value<'a>, Unsupported> {
        let Value::Pending(pending) = Value::from(operation) else {
            return Err(node.refuse("it is no operation"));
        };
        Ok(Value::Stored(self.emit(node, &pending, quant)?))
    }

    pub(super) fn quantize_linear(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let value = self.value(node, 0)?;
        if let Value::Constant(constant) = value {
            return self.quantise_constant(node, &constant);
        }
        let quant = self.quant(node, 1, 2, false)?;
        match value {
            Value::Picture => self.quantise_picture(node, quant),
            Value::Pending(pending) => match self.emit(node, &pending, quant) {
                Ok(operand) => Ok(Value::Stored(operand)),
                Err(reason) => self.quantise_reals(node, quant, Some(reason)),
            },
            Value::Float => self.quantise_reals(node, quant, None),
            Value::Real(operand) if operand.quant == quant => Ok(Value::Stored(operand)),
            Value::Real(operand) => self.emit_stored(node, Self::requantised(operand), quant),
            Value::Stored(_) => Err(node.refuse("its input is quantised already")),
            Value::Constant(_) | Value::Weights(_) => Err(node.refuse("it quantises what was quantised")),
        }
    }

    /// Weights that are stored as real numbers, as PyTorch's fake quantisation exports them.
    fn quantise_constant(&self, node: Node<'a>, reals: &Constant<'a>) -> Result<Value<'a>, Unsupported> {
        let refuse = |why: String| node.refuse(why);
        let scale = self.constant(node, 1)?.ok_or_else(|| node.refuse("its scale is missing"))?;
        let (scales, sizes) = (scale.floats().map_err(refuse)?, reals.sizes());
        let zero_point = self.constant(node, 2)?;
        let kind = zero_point.as_ref().map_or(element::U8, Constant::element);
        let zero_points = zero_point.map_or(Ok(vec![0]), |constant| constant.integers()).map_err(refuse)?;
        let (low, high) = match kind {
            element::U8 => (0.0, 255.0),
            element::I8 => (-128.0, 127.0),
            other => return Err(node.refuse(format!("zero points of type {other}; uint8 and int8 are known"))),
        };
        let axis = super::axis(node.int("axis", 1), sizes.len()).unwrap_or(0);
        let (length, inner): (usize, usize) = if scales.len() == 1 {
            (1, 1)
        } else {
            (sizes.get(axis).copied().unwrap_or(0), sizes.get(axis + 1..).unwrap_or(&[]).iter().product())
        };
        let good = |scale: &f32| scale.is_finite() && *scale > 0.0;
        let counts = [scales.len(), zero_points.len()];
        if length == 0
            || scales.len() != length
            || ![1, length].contains(&zero_points.len())
            || !scales.iter().all(good)
        {
            return Err(
                node.refuse(format!("{counts:?} scales and zero points for {length} channels, or no step widths"))
            );
        }
        let reals = reals.floats().map_err(refuse)?;
        let steps = reals.iter().enumerate().map(|(at, real)| {
            let channel = at / inner.max(1) % length;
            let scale = scales.get(channel).or(scales.first()).copied().unwrap_or(1.0);
            let zero_point = zero_points.get(channel).or(zero_points.first()).copied().unwrap_or(0);
            let step = (real / scale).round_ties_even() + zero_point as f32;
            step.max(low).min(high) as i64
        });
        Ok(Value::Constant(Constant::derived(kind, &sizes, &steps.collect::<Vec<i64>>())))
    }

    fn quantise_picture(&mut self, node: Node<'a>, quant: Quant) -> Result<Value<'a>, Unsupported> {
        if self.picture.is_real() {
            return self.quantise_reals(node, quant, None);
        }
        if let Some(operand) = self.picture.stored() {
            // The readers that differ were looked for before.
            return Ok(Value::Stored(operand));
        }
        let shape = self.picture.shape().to_vec();
        let (tensor, operand) = self.new_tensor(node, &shape, quant)?;
        self.picture.store(tensor, operand);
        Ok(Value::Stored(operand))
    }

    pub(super) fn dequantize_linear(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        match self.value(node, 0)? {
            Value::Stored(_) => Ok(Value::Real(self.stored(node, 0, 1, 2)?)),
            Value::Constant(numbers) => {
                let weights =
                    Weights::new(numbers, self.constant(node, 1)?, self.constant(node, 2)?, node.int("axis", 1));
                Ok(Value::Weights(Rc::new(weights.map_err(|why| node.refuse(why))?)))
            }
            _ => Err(node.refuse("its input is not quantised")),
        }
    }
}
