//! QuantizeLinear and DequantizeLinear, and the scales and zero points of the QOperator form.

use std::rc::Rc;

use super::arithmetic::Function;
use super::convolution::Weights;
use super::{Compiler, Operand, Operation, Value};
use crate::int8::graph::{Node, Unsupported, element};
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
        Ok(Operand { tensor: operand.tensor, quant })
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
        let quant = self.quant(node, 1, 2, false)?;
        match self.value(node, 0)? {
            Value::Picture => self.quantise_picture(node, quant),
            Value::Pending(pending) => Ok(Value::Stored(self.emit(node, &pending, quant)?)),
            Value::Real(operand) if operand.quant == quant => Ok(Value::Stored(operand)),
            Value::Real(operand) => self.emit_stored(node, Operation::Function(operand, Function::Same), quant),
            Value::Stored(_) => Err(node.refuse("its input is quantised already")),
            Value::Constant(_) | Value::Weights(_) => Err(node.refuse("it quantises a constant")),
        }
    }

    fn quantise_picture(&mut self, node: Node<'a>, quant: Quant) -> Result<Value<'a>, Unsupported> {
        if self.picture_is_nhwc {
            return Err(node.refuse("the picture comes with channels last; export the model with channels first"));
        }
        if let Some(input) = self.input {
            if input.quant == quant {
                return Ok(Value::Stored(input));
            }
            return Err(node.refuse("the picture is quantised in two ways"));
        }
        let tensor = self.new_tensor(node, self.picture)?;
        let operand = Operand { tensor, quant };
        self.input = Some(operand);
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
