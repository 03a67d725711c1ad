//! Clips, sums, products and functions of one number.

use std::rc::Rc;

use super::convolution::Weights;
use super::curves;
use super::{Compiler, Operand, Operation, Pending, Value};
use crate::int8::graph::{Node, Unsupported};
use crate::int8::kernels::{Add, Multiply};
use crate::int8::memory::TensorId;
use crate::int8::quant::{Bounds, Quant};
use crate::int8::steps::{AddStep, FillStep, MultiplyStep, Step, TableStep};
use crate::int8::view::{View, copy_loops, row_major_strides, standard_strides, walk};

/// Steps before a product among which a function of one of its sides is looked for.
const NEAR: usize = 8;

/// A function of one quantised number: the real number for each of the 256 that may be stored.
#[derive(Debug, Clone)]
pub(super) struct Mapped {
    operand: Operand,
    reals: Rc<[f32; 256]>,
}

impl Mapped {
    fn of(operand: Operand) -> Self {
        let mut reals = [0.0; 256];
        for (stored, real) in (0..=u8::MAX).zip(reals.iter_mut()) {
            *real = operand.quant.dequantise(stored);
        }
        Self { operand, reals: Rc::new(reals) }
    }

    fn then(&self, function: impl Fn(f32) -> f32) -> Self {
        Self { operand: self.operand, reals: Rc::new(self.reals.map(function)) }
    }

    /// A function of two numbers that are functions of the same.
    fn with(&self, other: &Self, function: impl Fn(f32, f32) -> f32) -> Self {
        let mut reals = *self.reals;
        reals.iter_mut().zip(other.reals.iter()).for_each(|(a, &b)| *a = function(*a, b));
        Self { operand: self.operand, reals: Rc::new(reals) }
    }

    fn is_of_same(&self, other: &Self) -> bool {
        self.operand.view == other.operand.view && self.operand.quant == other.operand.quant
    }
}

/// The function that an operator of one input computes.
fn function_of(node: Node<'_>) -> Result<Box<dyn Fn(f32) -> f32>, Unsupported> {
    let number = |name: &str, default: f32| node.float(name, default);
    Ok(match node.op().trim_start_matches("QLinear") {
        "Sigmoid" => Box::new(curves::logistic),
        "Tanh" => Box::new(curves::tanh),
        "HardSigmoid" => {
            let (slope, shift) = (number("alpha", 0.2), number("beta", 0.5));
            Box::new(move |x| (slope * x + shift).clamp(0.0, 1.0))
        }
        "HardSwish" => Box::new(|x| x * (x * (1.0 / 6.0) + 0.5).clamp(0.0, 1.0)),
        "LeakyRelu" => {
            let slope = number("alpha", 0.01);
            Box::new(move |x| if x < 0.0 { slope * x } else { x })
        }
        _ => return Err(node.refuse("there is no table for this function")),
    })
}

fn arithmetic_of(node: Node<'_>) -> fn(f32, f32) -> f32 {
    match node.op() {
        "Add" => |a, b| a + b,
        "Sub" => |a, b| a - b,
        "Mul" => |a, b| a * b,
        _ => |a, b| a / b,
    }
}

impl<'a> Compiler<'a> {
    /// Relu and Clip narrow what is pending.
    pub(super) fn clip(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let (low, high) = self.clip_range(node)?;
        let pending = match self.value(node, 0)? {
            Value::Pending(pending) => pending,
            Value::Real(operand) => match Operation::Function(Mapped::of(operand)).into() {
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
            match node.input(index).map(|_| self.value(node, index)).transpose()? {
                Some(Value::Constant(constant)) => constant.float().map_err(|why| node.refuse(why)),
                Some(Value::Weights(weights)) => {
                    weights.single().ok_or_else(|| node.refuse("its bound is not one number"))
                }
                Some(_) => Err(node.refuse("its bounds are not constant")),
                None => Ok(node.float(name, default)),
            }
        };
        let (low, high) = (bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?);
        if low <= high { Ok((low, high)) } else { Err(node.refuse(format!("it clips to {low}..{high}"))) }
    }

    pub(super) fn function(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let mapped = self.mapped(node, 0)?;
        let mapped = mapped.ok_or_else(|| node.refuse("its input is not the output of a DequantizeLinear"))?;
        Ok(Operation::Function(mapped.then(function_of(node)?)).into())
    }

    /// An input that is a quantised tensor or a function of one, number by number.
    fn mapped(&self, node: Node<'a>, index: usize) -> Result<Option<Mapped>, Unsupported> {
        Ok(match self.value(node, index)? {
            Value::Real(operand) => Some(Mapped::of(operand)),
            Value::Pending(pending) => match &pending.operation {
                Operation::Function(mapped) => Some(mapped.then(|x| x.max(pending.low).min(pending.high))),
                _ => None,
            },
            _ => None,
        })
    }

    pub(super) fn qlinear_function(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let operand = self.stored(node, 0, 1, 2)?;
        let quant = self.quant(node, 3, 4, operand.quant.signed)?;
        self.emit_stored(node, Operation::Function(Mapped::of(operand).then(function_of(node)?)), quant)
    }

    /// The same numbers in other steps.
    pub(super) fn requantised(operand: Operand) -> Operation<'a> {
        Operation::Function(Mapped::of(operand))
    }

    pub(super) fn emit_function(
        &mut self,
        node: Node<'a>,
        pending: &Pending<'a>,
        mapped: &Mapped,
        quant: Quant,
    ) -> Result<Operand, Unsupported> {
        let bounds = pending.bounds(quant);
        let table = Box::new(mapped.reals.map(|real| bounds.requantise(real / quant.scale)));
        let input = self.ordered(node, mapped.operand)?;
        let (output, result) = self.new_tensor(node, &self.shape(mapped.operand), quant)?;
        self.push(node, Step::Table(TableStep { input, output, table }))?;
        Ok(result)
    }

    pub(super) fn binary(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        if node.op() == "Add"
            && let Some(value) = self.late_bias(node)?
        {
            return Ok(value);
        }
        if let Some(mapped) = self.table_of_two(node)? {
            return Ok(Operation::Function(mapped).into());
        }
        if !matches!(node.op(), "Add" | "Mul") {
            return Err(node.refuse("only with a constant number on one side, or functions of the same numbers"));
        }
        let (a, b) = (self.real_or_weights(node, 0)?, self.real_or_weights(node, 1)?);
        Ok(self.pair(node, a, b)?.into())
    }

    /// One number of the file on one side, or functions of the same tensor on both: still a function of one number.
    /// Two plain tensors are not taken here, because their sums and products are rounded as integers.
    fn table_of_two(&self, node: Node<'a>) -> Result<Option<Mapped>, Unsupported> {
        let function = arithmetic_of(node);
        let number = |index: usize| -> Result<Option<f32>, Unsupported> {
            match self.value(node, index)? {
                Value::Constant(constant) if constant.sizes().iter().product::<usize>() == 1 => {
                    Ok(Some(constant.float().map_err(|why| node.refuse(why))?))
                }
                _ => Ok(None),
            }
        };
        let is_plain = |index: usize| Ok(matches!(self.value(node, index)?, Value::Real(_)));
        let both_plain = is_plain(0)? && is_plain(1)?;
        Ok(match (self.mapped(node, 0)?, self.mapped(node, 1)?) {
            (Some(a), Some(b)) if a.is_of_same(&b) && !both_plain => Some(a.with(&b, function)),
            (Some(a), None) => number(1)?.map(|b| a.then(|x| function(x, b))),
            (None, Some(b)) => number(0)?.map(|a| b.then(|x| function(a, x))),
            _ => None,
        })
    }

    /// An input that is dequantised: a tensor of the graph or of the file.
    fn real_or_weights(&mut self, node: Node<'a>, index: usize) -> Result<Operand, Unsupported> {
        match self.value(node, index)? {
            Value::Weights(weights) => self.filled(node, &weights),
            _ => self.real(node, index),
        }
    }

    /// Quantised numbers of the file as a tensor.
    fn filled(&mut self, node: Node<'a>, weights: &Weights<'a>) -> Result<Operand, Unsupported> {
        let (quant, numbers, shape) = weights.stored(self.as_unsigned).map_err(|why| node.refuse(why))?;
        let (tensor, operand) = self.new_tensor(node, &shape, quant)?;
        let view = View::whole(0, &shape, &row_major_strides(&shape));
        self.charge_weights(node, numbers.len())?;
        let strides = standard_strides(&shape);
        let mut bytes = vec![0; numbers.len()];
        walk(&copy_loops(&view, &strides), 0, 0, &mut |from, to| {
            if let (Some(&number), Some(byte)) = (numbers.get(from), bytes.get_mut(to)) {
                *byte = number;
            }
        });
        self.push(node, Step::Fill(FillStep { output: tensor, bytes }))?;
        Ok(operand)
    }

    /// A MatMul whose bias is added by the next node.
    fn late_bias(&self, node: Node<'a>) -> Result<Option<Value<'a>>, Unsupported> {
        let (Value::Pending(pending), Value::Constant(bias)) = (self.value(node, 0)?, self.value(node, 1)?) else {
            return Ok(None);
        };
        let Operation::Convolution(layer) = &pending.operation else { return Ok(None) };
        let bias = bias.floats().map_err(|why| node.refuse(why))?.into_owned();
        let layer = layer.with_bias(bias).filter(|_| !pending.is_clipped());
        let layer = layer.ok_or_else(|| node.refuse("it adds a constant that is no bias"))?;
        Ok(Some(Operation::Convolution(layer).into()))
    }

    pub(super) fn qlinear_binary(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let (a, b) = (self.stored_or_weights(node, 0)?, self.stored_or_weights(node, 3)?);
        let quant = self.quant(node, 6, 7, a.quant.signed)?;
        let operation = self.pair(node, a, b)?;
        self.emit_stored(node, operation, quant)
    }

    fn stored_or_weights(&mut self, node: Node<'a>, first: usize) -> Result<Operand, Unsupported> {
        match self.value(node, first)? {
            Value::Constant(_) => {
                let weights = self.weights_at(node, first)?;
                self.filled(node, &weights)
            }
            _ => self.stored(node, first, first + 1, first + 2),
        }
    }

    /// A sum or a product of two tensors, of which one may be repeated along some axes to fit the other.
    fn pair(&mut self, node: Node<'a>, a: Operand, b: Operand) -> Result<Operation<'a>, Unsupported> {
        let (shape_a, shape_b) = (self.shape(a), self.shape(b));
        let large = if shape_a.len() >= shape_b.len() && shape_a.iter().product::<usize>() >= shape_b.iter().product() {
            &shape_a
        } else {
            &shape_b
        };
        let refuse = || node.refuse(format!("{shape_a:?} and {shape_b:?} do not fit each other"));
        let mut spread = |operand: Operand, shape: &[usize]| -> Result<Operand, Unsupported> {
            if shape == large {
                return Ok(operand);
            }
            let view = self.view(operand).broadcast(large).ok_or_else(refuse)?;
            Ok(Operand { view: self.add_view(view), quant: operand.quant })
        };
        let gate = |small: &[usize]| matches!((large.as_slice(), small), (&[1, c, _, _], &[1, d, 1, 1]) if c == d);
        if node.op().ends_with("Add") {
            return Ok(Operation::Add(spread(a, &shape_a)?, spread(b, &shape_b)?));
        }
        // One number a channel is not spread: the step reads it again and again.
        Ok(match (gate(&shape_a), gate(&shape_b)) {
            (_, true) => Operation::Multiply(spread(a, &shape_a)?, b),
            (true, false) => Operation::Multiply(spread(b, &shape_b)?, a),
            _ => Operation::Multiply(spread(a, &shape_a)?, spread(b, &shape_b)?),
        })
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
        let add = Add { scale_a, scale_b, offset_a, offset_b, fixed, bounds };
        let (left, right) = (self.ordered(node, a)?, self.ordered(node, b)?);
        let (output, result) = self.new_tensor(node, &self.shape(a), quant)?;
        self.push(node, Step::Add(AddStep { a: left, b: right, output, add }))?;
        Ok(result)
    }

    /// The product of a tensor with a function of itself, as a hard-swish in two nodes is: again a function of it.
    fn with_itself(&self, multiply: &Multiply, a: TensorId, b: TensorId) -> Option<(TensorId, Box<[u8; 256]>)> {
        self.parts.steps.iter().rev().take(NEAR).find_map(|step| {
            let Step::Table(TableStep { input, output, table }) = step else { return None };
            let of = |step: usize| {
                let (plain, mapped) = (step as u8, table.get(step).copied().unwrap_or(0));
                if (a, b) == (*input, *output) { multiply.of(plain, mapped) } else { multiply.of(mapped, plain) }
            };
            let is_of_itself = (a, b) == (*input, *output) || (b, a) == (*input, *output);
            is_of_itself.then(|| (*input, Box::new(std::array::from_fn(of))))
        })
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
        let (left, right) = (self.ordered(node, a)?, self.ordered(node, b)?);
        let (output, result) = self.new_tensor(node, &self.shape(a), quant)?;
        let multiply = Multiply {
            zero_points: [a.quant.zero_point, b.quant.zero_point],
            scale,
            fixed: quant.model_zero_point(),
            bounds: pending.model_bounds(quant),
        };
        let step = match self.with_itself(&multiply, left, right) {
            Some((input, table)) => Step::Table(TableStep { input, output, table }),
            None => Step::Multiply(MultiplyStep { a: left, b: right, output, multiply }),
        };
        self.push(node, step)?;
        Ok(result)
    }
}
