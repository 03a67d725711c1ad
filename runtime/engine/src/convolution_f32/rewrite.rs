//! Puts the operator where a convolution of tract's is.

use std::sync::Arc;

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::model::Rewriter;
use tract_onnx::tract_core::ops::change_axes::AxisOp;
use tract_onnx::tract_core::ops::cnn::conv::{Conv, KernelFormat};
use tract_onnx::tract_core::ops::nn::DataFormat;

use super::geometry::{Axis, Geometry};
use super::kernel::{Kernel, Vectors, Weights};
use super::operator::ConvolutionF32;
use super::weights::{Dense, Depthwise};

/// Each convolution in f32, of known sizes and weights, becomes one with its channels last, between operators
/// that move the axes there and back; tract drops those between two of them.
pub(crate) fn rewrite(model: &mut TypedModel) -> TractResult<()> {
    // A bias may have come through operators of its own.
    model.prop_consts()?;
    Rewriter::default().with_rule_for("convolution-f32", rule).rewrite(&Vectors::detect(), model)
}

fn rule(
    vectors: &Option<Vectors>,
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    conv: &Conv,
) -> TractResult<Option<TypedModelPatch>> {
    let Some(vectors) = *vectors else { return Ok(None) };
    let Some(kernel) = kernel(vectors, model, node, conv)? else { return Ok(None) };
    let mut patch = TypedModelPatch::default();
    let Some(&input) = node.inputs.first() else { return Ok(None) };
    let input = patch.tap_model(model, input)?;
    let input = patch.wire_node(format!("{name}.channels_last"), AxisOp::Move(1, 3), &[input])?;
    let output = patch.wire_node(name, ConvolutionF32 { kernel, adds: false }, &input)?;
    let output = patch.wire_node(format!("{name}.channels_first"), AxisOp::Move(3, 1), &output)?;
    output.first().map_or(Ok(()), |&output| patch.shunt_outside(model, node.id.into(), output))?;
    Ok(Some(patch))
}

fn kernel(vectors: Vectors, model: &TypedModel, node: &TypedNode, conv: &Conv) -> TractResult<Option<Kernel>> {
    let [input, weights, bias] = node.inputs.as_slice() else { return Ok(None) };
    let Some(geometry) = geometry(model.outlet_fact(*input)?, conv) else { return Ok(None) };
    let (Some(weights), Some(bias)) = (numbers(model, *weights)?, numbers(model, *bias)?) else { return Ok(None) };
    let bias = match bias.as_slice() {
        [one] => vec![*one; geometry.filters],
        _ => bias,
    };
    if weights.len() != geometry.filters * geometry.channels_seen() * geometry.taps() || bias.len() != geometry.filters
    {
        return Ok(None);
    }
    let weights = if geometry.is_depthwise() {
        Weights::Depthwise(Arc::new(Depthwise::pack(&geometry, &weights, &bias, vectors)))
    } else {
        Weights::Dense(Arc::new(Dense::pack(&geometry, &weights, &bias, vectors)))
    };
    Ok(Some(Kernel { geometry, vectors, weights, before: None, low: f32::NEG_INFINITY, high: f32::INFINITY }))
}

/// Sizes of a two-dimensional f32 convolution, if they are known.
fn geometry(input: &TypedFact, conv: &Conv) -> Option<Geometry> {
    let spec = &conv.pool_spec;
    let fits = conv.q_params.is_none()
        && conv.kernel_fmt == KernelFormat::OIHW
        && spec.data_format == DataFormat::NCHW
        && input.datum_type == f32::datum_type();
    let &[pictures, channels, height, width] = input.shape.as_concrete().filter(|_| fits)? else { return None };
    let padding = spec.computed_padding(&[height, width]);
    let axis = |axis: usize, input: usize| {
        let padding = padding.get(axis)?;
        Some(Axis {
            input,
            output: padding.convoluted,
            kernel: *spec.kernel_shape.get(axis)?,
            stride: *spec.strides().get(axis)?,
            dilation: *spec.dilations().get(axis)?,
            padding: padding.pad_before,
        })
    };
    let (rows, columns) = (axis(0, height)?, axis(1, width)?);
    let geometry = Geometry { pictures, rows, columns, channels, filters: spec.output_channels, groups: conv.group };
    let sizes = [geometry.positions(), geometry.taps(), geometry.channels, geometry.filters, geometry.groups];
    let is_sound = !sizes.contains(&0)
        && geometry.channels.is_multiple_of(geometry.groups)
        && geometry.filters.is_multiple_of(geometry.groups);
    is_sound.then_some(geometry)
}

/// Of a constant in f32.
fn numbers(model: &TypedModel, outlet: OutletId) -> TractResult<Option<Vec<f32>>> {
    let constant =
        model.outlet_fact(outlet)?.konst.as_deref().filter(|tensor| tensor.datum_type() == f32::datum_type());
    constant.map(|tensor| Ok(tensor.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())).transpose()
}
