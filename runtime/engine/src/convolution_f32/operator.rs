//! The convolution as an operator of tract.

use std::sync::Arc;

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::Cost;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::math::{Add, Max, Min};
use tract_onnx::tract_core::{as_op, op_as_typed_op, op_out_of_plan};

use super::geometry::Geometry;
use super::kernel::Kernel;
use crate::threads::Threads;

/// More than this of a picture between two convolutions is made line by line: a third of a second-level cache of 2 MB.
const MUCH_BYTES: usize = 640 << 10;

/// Inputs: pictures, channels last; where `adds`, what is added to the sums, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConvolutionF32 {
    pub kernel: Kernel,
    pub adds: bool,
}

impl Op for ConvolutionF32 {
    fn name(&self) -> StaticName {
        "ConvolutionF32".into()
    }

    fn validation(&self) -> Validation {
        Validation::Rounding
    }

    op_as_typed_op!();
}

impl EvalOp for ConvolutionF32 {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let [input, other @ ..] = inputs.as_slice() else { bail!("a convolution without a picture") };
        let input = input.try_as_plain_ram()?;
        let other = other.first().map(|other| other.try_as_plain_ram()).transpose()?;
        let other = other.as_ref().map(|other| other.as_slice::<f32>()).transpose()?;
        // SAFETY: every number is written below.
        let mut output = unsafe { Tensor::uninitialized::<f32>(&self.output_shape())? };
        let threads = Threads::current();
        let count = threads.free().min(self.kernel.worth());
        self.kernel.run((&threads, count), input.as_slice()?, other, output.try_as_plain_ram_mut()?.as_slice_mut()?)?;
        Ok(tvec!(output.into_tvalue()))
    }
}

impl ConvolutionF32 {
    /// This before the convolution that alone reads it, as one operator, if more is between them than caches hold.
    fn before(&self, model: &TypedModel, node: &TypedNode, next: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
        let Some(last) = next.op_as::<Self>() else { return Ok(None) };
        let [input, others @ ..] = next.inputs.as_slice() else { return Ok(None) };
        let Geometry { pictures, filters, .. } = self.kernel.geometry;
        let is_much = self.kernel.geometry.positions() / pictures * filters * size_of::<f32>() > MUCH_BYTES;
        let fits = is_much && !self.adds && self.kernel.makes_lines_of(&last.kernel) && last.kernel.before.is_none();
        if !fits || input.node != node.id || others.iter().any(|other| other.node == node.id) {
            return Ok(None);
        }
        let mut both = last.clone();
        both.kernel.before = Some(Arc::new(self.kernel.clone()));
        let mut patch = TypedModelPatch::default();
        let mut inputs = patch.taps(model, &node.inputs)?;
        for other in others {
            inputs.push(patch.tap_model(model, *other)?);
        }
        let output = patch.wire_node(&next.name, both, &inputs)?;
        output.first().map_or(Ok(()), |&output| patch.shunt_outside(model, next.id.into(), output))?;
        Ok(Some(patch))
    }

    fn output_shape(&self) -> [usize; 4] {
        let geometry = &self.kernel.geometry;
        [geometry.pictures, geometry.rows.output, geometry.columns.output, geometry.filters]
    }

    /// This with the operator after it, if it can do that as well; and that one's other input, if it is to be added.
    fn with(
        &self,
        model: &TypedModel,
        node: &TypedNode,
        next: &TypedNode,
    ) -> TractResult<Option<(Self, Option<OutletId>)>> {
        let Some(operator) = next.op_as::<TypedBinOp>().filter(|operator| operator.1.is_none()) else {
            return Ok(None);
        };
        let [a, b] = next.inputs.as_slice() else { return Ok(None) };
        let other = if a.node == node.id { *b } else { *a };
        let fact = model.outlet_fact(other)?;
        let mut fused = self.clone();
        let (low, high) = (self.kernel.low, self.kernel.high);
        if let Some(limit) = fact.konst.as_deref().and_then(limit) {
            if operator.0.is::<Max>() {
                // What is clipped from above first may not be when it is so afterwards.
                (fused.kernel.low, fused.kernel.high) = (low.max(limit), high.max(limit));
            } else if operator.0.is::<Min>() {
                (fused.kernel.low, fused.kernel.high) = (low.min(limit), high.min(limit));
            } else {
                return Ok(None);
            }
            return Ok(Some((fused, None)));
        }
        let is_linear = !self.adds && low == f32::NEG_INFINITY && high == f32::INFINITY;
        let same = other.node != node.id && fact.shape == next.outputs.first().context("no output")?.fact.shape;
        if !(operator.0.is::<Add>()
            && is_linear
            && same
            && fact.shape == node.outputs.first().context("no output")?.fact.shape)
        {
            return Ok(None);
        }
        fused.adds = true;
        Ok(Some((fused, Some(other))))
    }
}

/// The one number of a constant.
fn limit(constant: &Tensor) -> Option<f32> {
    let values = constant.try_as_plain_ram().ok()?;
    match values.as_slice::<f32>().ok()? {
        [limit] if !limit.is_nan() => Some(*limit),
        _ => None,
    }
}

impl TypedOp for ConvolutionF32 {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(self.output_shape())))
    }

    fn cost(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        let count: usize = self.kernel.chain().map(|kernel| kernel.geometry.products()).sum();
        Ok(tvec!((Cost::FMA(f32::datum_type()), count.to_dim())))
    }

    /// Takes in what follows: a sum with another branch, then clips; or becomes the one that makes the next one's lines.
    fn declutter(&self, model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
        let Some(next) = model.single_succ(node.id)? else { return Ok(None) };
        if let Some(both) = self.before(model, node, next)? {
            return Ok(Some(both));
        }
        let Some((fused, other)) = self.with(model, node, next)? else { return Ok(None) };
        let mut patch = TypedModelPatch::default();
        let mut inputs = patch.taps(model, &node.inputs)?;
        if let Some(other) = other {
            inputs.push(patch.tap_model(model, other)?);
        }
        let output = patch.wire_node(&node.name, fused, &inputs)?;
        output.first().map_or(Ok(()), |&output| patch.shunt_outside(model, next.id.into(), output))?;
        Ok(Some(patch))
    }

    as_op!();
}
