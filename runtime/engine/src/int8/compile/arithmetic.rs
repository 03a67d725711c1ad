//! Clips, sums, products and functions of one number.

use std::rc::Rc;

use super::{Compiler, Operand, Operation, Pending, Value};
use crate::int8::graph::{Node, Unsupported};
use crate::int8::kernels::Add;
use crate::int8::quant::{Bounds, Quant};
use crate::int8::steps::{AddStep, MultiplyStep, Step, TableStep};

/// A function of one real number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Function {
    Same,
    Sigmoid,
    Tanh,
    /// `max(0, min(1, slope * x + shift))`.
    HardSigmoid {
        slope: f32,
        shift: f32,
    },
    /// `x * max(0, min(1, x / 6 + 1 / 2))`.
    HardSwish,
    LeakyRelu {
        slope: f32,
    },
}

impl Function {
    fn of(node: Node<'_>) -> Result<Self, Unsupported> {
        match node.op().trim_start_matches("QLinear") {
            "Sigmoid" => Ok(Self::Sigmoid),
            "Tanh" => Ok(Self::Tanh),
            "HardSigmoid" => Ok(Self::HardSigmoid { slope: node.float("alpha", 0.2), shift: node.float("beta", 0.5) }),
            "HardSwish" => Ok(Self::HardSwish),
            "LeakyRelu" => Ok(Self::LeakyRelu { slope: node.float("alpha", 0.01) }),
            _ => Err(node.refuse("there is no table for this function")),
        }
    }

    fn apply(self, x: f32) -> f32 {
        match self {
            Self::Same => x,
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Tanh => x.tanh(),
            Self::HardSigmoid { slope, shift } => (slope * x + shift).clamp(0.0, 1.0),
            Self::HardSwish => x * (x * (1.0 / 6.0) + 0.5).clamp(0.0, 1.0),
            Self::LeakyRelu { slope } => {
                if x < 0.0 {
                    slope * x
                } else {
                    x
                }
            }
        }
    }
}

impl<'a> Compiler<'a> {
    /// Relu and Clip narrow what is pending.
    pub(super) fn clip(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let (low, high) = self.clip_range(node)?;
        let pending = match self.value(node, 0)? {
            Value::Pending(pending) => pending,
            Value::Real(operand) => match Operation::Function(operand, Function::Same).into() {
                Value::Pending(pending) => pending,
                other => return Ok(other),
            },
            _ => return Err(node.refuse("its input is not the output of a DequantizeLinear or a fused operator")),
        };
        let inside = |bound: f32| bound.max(low).min(high);
        let (low, high) = (inside(pending.low), inside(pending.high));
        Ok(Value::Pending(Rc::new(Pending { low, high, ..(*pending).clone() })))
    }

    fn clip_range(&self, node: Node<'a>) -> Result<(f32, f32), Unsupported> {
        if node.op() == "Relu" {
            return Ok((0.0, f32::INFINITY));
        }
        let bound = |index: usize, name: &str, default: f32| -> Result<f32, Unsupported> {
            match self.constant(node, index)? {
                Some(constant) => constant.float().map_err(|why| node.refuse(why)),
                None => Ok(node.float(name, default)),
            }
        };
        let (low, high) = (bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?);
        if low <= high { Ok((low, high)) } else { Err(node.refuse(format!("it clips to {low}..{high}"))) }
    }

    pub(super) fn function(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        Ok(Operation::Function(self.real(node, 0)?, Function::of(node)?).into())
    }

    pub(super) fn qlinear_function(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let operand = self.stored(node, 0, 1, 2)?;
        let quant = self.quant(node, 3, 4, operand.quant.signed)?;
        self.emit_stored(node, Operation::Function(operand, Function::of(node)?), quant)
    }

    pub(super) fn emit_function(
        &mut self,
        node: Node<'a>,
        pending: &Pending<'a>,
        operand: Operand,
        function: Function,
        quant: Quant,
    ) -> Result<Operand, Unsupported> {
        let output = self.new_tensor(node, self.size(operand))?;
        let table = operand.quant.table(quant, pending.bounds(quant), |x| function.apply(x));
        self.push(node, Step::Table(TableStep { input: operand.tensor, output, table }))?;
        Ok(Operand { tensor: output, quant })
    }

    pub(super) fn binary(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        if node.op() == "Add"
            && let Some(value) = self.late_bias(node)?
        {
            return Ok(value);
        }
        let (a, b) = (self.real(node, 0)?, self.real(node, 1)?);
        Ok(self.pair(node, a, b)?.into())
    }

    /// A MatMul whose bias is added by the next node.
    fn late_bias(&self, node: Node<'a>) -> Result<Option<Value<'a>>, Unsupported> {
        let (Value::Pending(pending), Value::Constant(bias)) = (self.value(node, 0)?, self.value(node, 1)?) else {
            return Ok(None);
        };
        let Operation::Convolution(layer) = &pending.operation else { return Ok(None) };
        let unclipped = pending.low == f32::NEG_INFINITY && pending.high == f32::INFINITY;
        let bias = bias.floats().map_err(|why| node.refuse(why))?.into_owned();
        let layer = layer.with_bias(bias).filter(|_| unclipped);
        let layer = layer.ok_or_else(|| node.refuse("it adds a constant that is no bias"))?;
        Ok(Some(Operation::Convolution(layer).into()))
    }

    pub(super) fn qlinear_binary(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let (a, b) = (self.stored(node, 0, 1, 2)?, self.stored(node, 3, 4, 5)?);
        let quant = self.quant(node, 6, 7, a.quant.signed)?;
        let operation = self.pair(node, a, b)?;
        self.emit_stored(node, operation, quant)
    }

    /// A sum or a product of two tensors that fit each other.
    fn pair(&self, node: Node<'a>, a: Operand, b: Operand) -> Result<Operation<'a>, Unsupported> {
        let (size_a, size_b) = (self.size(a), self.size(b));
        if node.op().ends_with("Add") {
            let fits = size_a == size_b;
            return if fits { Ok(Operation::Add(a, b)) } else { Err(node.refuse(format!("{size_a} plus {size_b}"))) };
        }
        let spreads = |small: crate::int8::plan::Size, large: crate::int8::plan::Size| {
            small == large || (small.pixels() == 1 && small.channels == large.channels && small.is_row == large.is_row)
        };
        match (spreads(size_b, size_a), spreads(size_a, size_b)) {
            (true, _) => Ok(Operation::Multiply(a, b)),
            (false, true) => Ok(Operation::Multiply(b, a)),
            _ => Err(node.refuse(format!("{size_a} times {size_b}"))),
        }
    }

    pub(super) fn emit_add(
        &mut self,
        node: Node<'a>,
        pending: &Pending<'a>,
        a: Operand,
        b: Operand,
        quant: Quant,
    ) -> Result<Operand, Unsupported> {
        let (scale_a, scale_b) = (a.quant.scale / quant.scale, b.quant.scale / quant.scale);
        // One product fused with the sum: so is ONNX Runtime's constant, and the last bit shows in the outputs.
        let zeros = scale_a.mul_add(a.quant.model_zero_point(), scale_b * b.quant.model_zero_point());
        let fixed = quant.model_zero_point() - zeros;
        if !fixed.is_finite() || !scale_a.is_finite() || !scale_b.is_finite() {
            return Err(node.refuse("its scales are too far apart"));
        }
        let (offset_a, offset_b) = (a.quant.offset(), b.quant.offset());
        let bounds: Bounds = pending.model_bounds(quant);
        let output = self.new_tensor(node, self.size(a))?;
        let add = Add { scale_a, scale_b, offset_a, offset_b, fixed, bounds };
        self.push(node, Step::Add(AddStep { a: a.tensor, b: b.tensor, output, add }))?;
        Ok(Operand { tensor: output, quant })
    }

    pub(super) fn emit_multiply(
        &mut self,
        node: Node<'a>,
        pending: &Pending<'a>,
        a: Operand,
        b: Operand,
        quant: Quant,
    ) -> Result<Operand, Unsupported> {
        let scale = a.quant.scale * b.quant.scale / quant.scale;
        if !scale.is_finite() {
            return Err(node.refuse("its scales are too far apart"));
        }
        let output = self.new_tensor(node, self.size(a))?;
        let step = MultiplyStep {
            a: a.tensor,
            b: b.tensor,
            output,
            zero_points: [a.quant.zero_point, b.quant.zero_point],
            scale,
            fixed: quant.model_zero_point(),
            bounds: pending.model_bounds(quant),
        };
        self.push(node, Step::Multiply(step))?;
        Ok(Operand { tensor: output, quant })
    }
}
