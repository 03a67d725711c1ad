//! Conv, Gemm and MatMul in both forms.

use std::rc::Rc;

use super::{Compiler, Operand, Operation, Pending, Value};
use crate::int8::depthwise_weights::DepthwiseWeights;
use crate::int8::graph::{Constant, Node, Unsupported, element};
use crate::int8::kernels::DotKernels;
use crate::int8::kernels::winograd::WinogradWeights;
use crate::int8::memory::{SlotId, TensorId};
use crate::int8::plan::Size;
use crate::int8::quant::{Quant, SIGNED_OFFSET};
use crate::int8::steps::{Convolution, DepthwiseStep, DotConvolution, RealLayer, Step, WinogradConvolution};
use crate::int8::weights::{DotPacking, DotWeights, Epilogue, PANEL, Packed};
use crate::int8::window::Window;

/// Numbers of the file as a tensor of activations: what they mean, their bytes in the model's own order, their shape.
type Activations = (Quant, Vec<u8>, Vec<usize>);

/// Longest sum that cannot leave i32: 255 * 255 a product.
const LONGEST_SUM: usize = (i32::MAX / (255 * 255)) as usize;

/// Output pixels from which transforming them is less work than what it saves.
const FEWEST_WINOGRAD_PIXELS: usize = 16;

/// Quantised numbers of the file with their scales and zero points, one or one for each index of an axis.
#[derive(Debug, Clone)]
pub(super) struct Weights<'a> {
    numbers: Constant<'a>,
    scales: Vec<f32>,
    zero_points: Vec<i64>,
    axis: i64,
}

impl<'a> Weights<'a> {
    /// Checks that the parts belong together.
    pub fn new(
        numbers: Constant<'a>,
        scale: Option<Constant<'a>>,
        zero_point: Option<Constant<'a>>,
        axis: i64,
    ) -> Result<Self, String> {
        if !matches!(numbers.element(), element::U8 | element::I8 | element::I32) {
            return Err(format!("weights of type {}; uint8, int8 and (biases) int32 are known", numbers.element()));
        }
        let scales = scale.ok_or("the weights have no scale")?.floats()?.into_owned();
        let zero_points = zero_point.map_or_else(|| Ok(vec![0]), |constant| constant.integers())?;
        if let Some(scale) = scales.iter().find(|scale| !(scale.is_finite() && **scale > 0.0)) {
            return Err(format!("a weight scale of {scale} is no step width"));
        }
        if scales.is_empty() || !(zero_points.len() == scales.len() || zero_points.len() == 1) {
            return Err(format!("{} weight scales but {} zero points", scales.len(), zero_points.len()));
        }
        Ok(Self { numbers, scales, zero_points, axis })
    }

    /// The only number, in real numbers.
    pub fn single(&self) -> Option<f32> {
        let (numbers, scale) = (self.numbers.integers().ok()?, self.scales.first()?);
        let zero_point = self.zero_points.first().copied().unwrap_or(0);
        (numbers.len() == 1).then(|| (numbers.first().copied().unwrap_or(0) - zero_point) as f32 * scale)
    }

    /// All numbers in real numbers, and the shape, for a part of the graph that runs in f32.
    pub fn reals(&self) -> Result<(Vec<f32>, Vec<usize>), String> {
        let (numbers, shape) = (self.numbers.integers()?, self.numbers.sizes());
        let axis = if self.scales.len() == 1 { 0 } else { super::axis(self.axis, shape.len()).ok_or("its axis")? };
        let inner: usize = shape.get(axis + 1..).unwrap_or(&[]).iter().product();
        let length = shape.get(axis).copied().unwrap_or(1);
        if self.scales.len() != 1 && self.scales.len() != length {
            return Err(format!("{} scales along an axis of {length}", self.scales.len()));
        }
        let real = |(at, number): (usize, i64)| {
            let channel = at / inner.max(1) % length.max(1);
            let scale = self.scales.get(channel).or(self.scales.first()).copied().unwrap_or(0.0);
            let zero_point = self.zero_points.get(channel).or(self.zero_points.first()).copied().unwrap_or(0);
            number.saturating_sub(zero_point) as f32 * scale
        };
        Ok((numbers.into_iter().enumerate().map(real).collect(), shape))
    }

    /// As activations: one scale, 8 bits.
    pub fn stored(&self, as_unsigned: bool) -> Result<Activations, String> {
        let (&[scale], &[zero_point]) = (self.scales.as_slice(), self.zero_points.as_slice()) else {
            return Err("constants with a scale for every channel".into());
        };
        let signed = match self.numbers.element() {
            element::U8 => false,
            element::I8 => true,
            other => return Err(format!("constants of type {other}; uint8 and int8 are known")),
        };
        let offset = if signed { i64::from(SIGNED_OFFSET) } else { 0 };
        let moved = |number: i64| u8::try_from(number + offset).map_err(|_| "a number that is out of range".to_owned());
        let zero_point = i32::from(moved(zero_point)?);
        let numbers: Result<Vec<u8>, String> = self.numbers.integers()?.into_iter().map(moved).collect();
        Ok((Quant { scale, zero_point, signed: signed && !as_unsigned }, numbers?, self.numbers.sizes()))
    }

    /// Scales, one for each of `channels` along `axis`.
    fn scales(&self, channels: usize, axis: i64) -> Result<Vec<f32>, String> {
        match self.scales.as_slice() {
            [scale] => Ok(vec![*scale; channels]),
            scales if scales.len() == channels && self.axis == axis => Ok(scales.to_vec()),
            scales => Err(format!("{} weight scales along axis {} for {channels} channels", scales.len(), self.axis)),
        }
    }

    /// Numbers less their zero points as `rows`, one an output channel, whose axis is the first or, if not `leading`,
    /// the last of two.
    fn rows(&self, channels: usize, leading: bool) -> Result<Vec<Vec<i16>>, String> {
        let zero_point =
            |channel: usize| self.zero_points.get(channel).or(self.zero_points.first()).copied().unwrap_or(0);
        let far = |_| "a weight is too far from its zero point".to_owned();
        // What all files have, without a copy that is eight times as large.
        if let Some((bytes, is_signed)) = self.numbers.bytes() {
            let length = bytes.len() / channels.max(1);
            let widen = |byte: u8| if is_signed { i16::from(byte.cast_signed()) } else { i16::from(byte) };
            let row = |channel: usize| {
                let zero_point = i16::try_from(zero_point(channel)).map_err(far)?;
                let shifted = |&byte: &u8| widen(byte).wrapping_sub(zero_point);
                Ok(if leading {
                    let row = bytes.get(channel * length..(channel + 1) * length);
                    row.unwrap_or_default().iter().map(shifted).collect()
                } else {
                    bytes.iter().skip(channel).step_by(channels).map(shifted).collect()
                })
            };
            let in_type = |zero_point: &i64| (-128..=255).contains(zero_point);
            if self.zero_points.iter().all(in_type) {
                return (0..channels).map(row).collect();
            }
        }
        let numbers = self.numbers.integers()?;
        let length = numbers.len() / channels.max(1);
        let row = |channel: usize| {
            let (start, step) = if leading { (channel * length, 1) } else { (channel, channels) };
            let numbers = numbers.iter().skip(start).step_by(step).take(length);
            let shifted = numbers.map(|number| i16::try_from(number.saturating_sub(zero_point(channel))));
            shifted.collect::<Result<Vec<i16>, _>>().map_err(far)
        };
        (0..channels).map(row).collect()
    }
}

/// What is added to the sums.
#[derive(Debug, Clone)]
enum Bias<'a> {
    Absent,
    /// In steps of input scale times weight scale.
    Steps(Constant<'a>),
    /// In real numbers.
    Real(Rc<[f32]>),
}

/// A convolution or a fully connected layer whose output is not quantised yet.
#[derive(Debug, Clone)]
pub(super) struct Layer<'a> {
    input: Operand,
    /// One row an output channel: `[tap row][tap column][channel of the group]`.
    rows: Rc<Vec<Vec<i16>>>,
    scales: Rc<Vec<f32>>,
    bias: Bias<'a>,
    window: Window,
    groups: usize,
    /// Whether the output is a row rather than an image.
    is_row: bool,
}

impl<'a> Layer<'a> {
    /// The same layer with a bias, if it has none yet.
    pub fn with_bias(&self, bias: Vec<f32>) -> Option<Self> {
        let fits = matches!(self.bias, Bias::Absent) && (bias.len() == self.rows.len() || bias.len() == 1);
        let bias = if bias.len() == 1 { bias.repeat(self.rows.len()) } else { bias };
        fits.then(|| Self { bias: Bias::Real(bias.into()), ..self.clone() })
    }

    /// Bias of each channel in steps of input scale times weight scale.
    fn bias_steps(&self) -> Result<Vec<i32>, String> {
        let wanted = self.rows.len();
        let steps: Vec<i32> = match &self.bias {
            Bias::Absent => vec![0; wanted],
            Bias::Steps(constant) => {
                let steps = constant.integers()?.into_iter().map(i32::try_from);
                steps.collect::<Result<_, _>>().map_err(|_| "a bias does not fit 32 bits".to_owned())?
            }
            Bias::Real(reals) => {
                let scales = self.scales.iter().map(|scale| self.input.quant.scale * scale);
                // Saturates where the bias is beyond all sums.
                reals.iter().zip(scales).map(|(real, scale)| (real / scale).round_ties_even() as i32).collect()
            }
        };
        if steps.len() == wanted { Ok(steps) } else { Err(format!("{} biases for {wanted} channels", steps.len())) }
    }

    /// The rows of weights of each group, and its part of an epilogue.
    fn groups_with(&self, epilogue: &Epilogue) -> impl Iterator<Item = (&[Vec<i16>], Epilogue)> {
        let per_group = (self.rows.len() / self.groups.max(1)).max(1);
        let groups = self.rows.chunks(per_group).enumerate();
        groups.map(move |(group, rows)| (rows, epilogue.part(group * per_group..group * per_group + rows.len())))
    }

    /// Most bytes that a row of weights takes in either form.
    fn row_bytes(&self, dot: Option<DotKernels>) -> usize {
        let [runs, _] = self.window.kernel;
        let depth = self.rows.first().map_or(0, Vec::len);
        let dot = dot.map_or(0, |dot| (depth / runs.max(1)).next_multiple_of(dot.packing.group) * runs);
        dot.max(2 * depth.next_multiple_of(2))
    }

    /// Weights for products of bytes; `None` where one does not fit i8.
    fn dot_weights(&self, packing: DotPacking, epilogue: &Epilogue) -> Option<Vec<DotWeights>> {
        let [runs, _] = self.window.kernel;
        self.groups_with(epilogue).map(|(rows, epilogue)| DotWeights::new(rows, runs, packing, epilogue)).collect()
    }

    /// How far from 0 each channel's sum of products can be: all pixels 255 under weights of one sign.
    fn largest_sums(&self) -> impl Iterator<Item = u64> {
        self.rows.iter().map(|row| {
            let sum = |is_counted: fn(i16) -> bool| {
                row.iter().filter(|&&weight| is_counted(weight)).map(|&weight| u64::from(weight.unsigned_abs())).sum()
            };
            let (below, above): (u64, u64) = (sum(|weight| weight < 0), sum(|weight| weight > 0));
            255 * below.max(above)
        })
    }

    /// The epilogue: what the input's zero point adds to every sum is the same for all pixels and goes to the bias.
    fn epilogue(&self, pending: &Pending<'_>, output: Quant) -> Result<Epilogue, String> {
        let bias = self.bias_steps()?.into_iter().zip(self.rows.iter()).map(|(bias, row)| {
            let sum = row.iter().fold(0i32, |sum, &weight| sum.wrapping_add(i32::from(weight)));
            bias.wrapping_sub(self.input.quant.zero_point.wrapping_mul(sum))
        });
        let scale: Vec<f32> = self.scales.iter().map(|scale| self.input.quant.scale * scale / output.scale).collect();
        if let Some(scale) = scale.iter().find(|scale| !scale.is_finite()) {
            return Err(format!("its scales multiply to {scale}"));
        }
        let bias = bias.collect();
        Ok(Epilogue::for_sums(bias, scale, pending.bounds(output), self.largest_sums()))
    }
}

impl<'a> Compiler<'a> {
    pub(super) fn conv(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let input = self.real(node, 0)?;
        let Value::Weights(weights) = self.value(node, 1)? else {
            return Err(node.refuse("its weights are not quantised"));
        };
        let bias = self.bias(node, 2, input, &weights)?;
        Ok(Operation::Convolution(self.layer(node, input, &weights, bias)?).into())
    }

    pub(super) fn qlinear_conv(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let input = self.stored(node, 0, 1, 2)?;
        let weights = self.weights_at(node, 3)?;
        let output = self.quant(node, 6, 7, false)?;
        let bias = self.constant(node, 8)?.map_or(Bias::Absent, Bias::Steps);
        let layer = self.layer(node, input, &weights, bias)?;
        self.emit_stored(node, Operation::Convolution(layer), output)
    }

    /// Weights of the QOperator form: numbers, scale and zero point at three inputs in a row.
    pub(super) fn weights_at(&self, node: Node<'a>, first: usize) -> Result<Weights<'a>, Unsupported> {
        let numbers = self.constant(node, first)?.ok_or_else(|| node.refuse("its weights are missing"))?;
        let (scale, zero_point) = (self.constant(node, first + 1)?, self.constant(node, first + 2)?);
        Weights::new(numbers, scale, zero_point, 0).map_err(|why| node.refuse(why))
    }

    /// A bias of the QDQ form: int32 in steps of input scale times weight scale, or real numbers.
    fn bias(
        &self,
        node: Node<'a>,
        index: usize,
        input: Operand,
        weights: &Weights<'a>,
    ) -> Result<Bias<'a>, Unsupported> {
        if node.input(index).is_none() {
            return Ok(Bias::Absent);
        }
        let refuse = |why: String| node.refuse(why);
        match self.value(node, index)? {
            Value::Constant(constant) => Ok(Bias::Real(constant.floats().map_err(refuse)?.into_owned().into())),
            Value::Weights(bias) => {
                let wanted = |channel: usize| {
                    let scale = weights.scales.get(channel).or(weights.scales.first()).copied().unwrap_or(0.0);
                    scale * input.quant.scale
                };
                let near = |(channel, scale): (usize, &f32)| (scale / wanted(channel) - 1.0).abs() < 1e-3;
                let expected = bias.scales.iter().enumerate().all(near);
                let count = bias.scales.len() == weights.scales.len();
                if expected && count && bias.zero_points.iter().all(|&zero_point| zero_point == 0) {
                    return Ok(Bias::Steps(bias.numbers.clone()));
                }
                let numbers = bias.numbers.integers().map_err(refuse)?;
                let scales = bias.scales(numbers.len(), bias.axis).map_err(refuse)?;
                let zero =
                    |channel: usize| bias.zero_points.get(channel).or(bias.zero_points.first()).map_or(0, |z| *z);
                let reals = numbers.iter().zip(scales).enumerate();
                Ok(Bias::Real(
                    reals.map(|(channel, (n, scale))| n.saturating_sub(zero(channel)) as f32 * scale).collect(),
                ))
            }
            _ => Err(node.refuse("its bias is not constant")),
        }
    }

    fn layer(
        &mut self,
        node: Node<'a>,
        input: Operand,
        weights: &Weights<'a>,
        bias: Bias<'a>,
    ) -> Result<Layer<'a>, Unsupported> {
        let size = self.size(node, input)?;
        let groups = usize::try_from(node.int("group", 1)).unwrap_or(0);
        let sizes = weights.numbers.sizes();
        let &[channels, per_group, rows, columns] = sizes.as_slice() else {
            return Err(node.refuse(format!("weights of shape {sizes:?}; four axes are known")));
        };
        let fits = groups > 0
            && channels > 0
            && per_group.checked_mul(groups) == Some(size.channels)
            && channels.is_multiple_of(groups)
            && !size.is_row
            && node.ints("kernel_shape").is_none_or(|shape| super::sizes(shape) == Some(vec![rows, columns]));
        if !fits {
            return Err(node.refuse(format!("weights {sizes:?} in {groups} groups do not fit an input of {size}")));
        }
        let window = self.window(node, size, [rows, columns])?;
        let channel_first = weights.rows(channels, true).map_err(|why| node.refuse(why))?;
        let taps = rows * columns;
        let channel_last = |row: Vec<i16>| -> Vec<i16> {
            if taps == 1 || per_group == 1 {
                return row;
            }
            let mut turned = vec![0; row.len()];
            for (channel, taps) in row.chunks_exact(taps.max(1)).enumerate() {
                let places = turned.iter_mut().skip(channel).step_by(per_group);
                places.zip(taps).for_each(|(place, &weight)| *place = weight);
            }
            turned
        };
        let layer = Layer {
            input,
            rows: Rc::new(channel_first.into_iter().map(channel_last).collect()),
            scales: Rc::new(weights.scales(channels, 0).map_err(|why| node.refuse(why))?),
            bias,
            window,
            groups,
            is_row: false,
        };
        self.check_depth(node, &layer)?;
        Ok(layer)
    }

    fn check_depth(&self, node: Node<'a>, layer: &Layer<'a>) -> Result<(), Unsupported> {
        match layer.rows.iter().map(Vec::len).max() {
            Some(1..=LONGEST_SUM) => Ok(()),
            depth => Err(node.refuse(format!("sums of {} products", depth.unwrap_or(0)))),
        }
    }

    pub(super) fn gemm(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let input = self.real(node, 0)?;
        let Value::Weights(weights) = self.value(node, 1)? else {
            return Err(node.refuse("its weights are not quantised"));
        };
        let bias = self.bias(node, 2, input, &weights)?;
        Ok(Operation::Convolution(self.connected(node, input, &weights, bias)?).into())
    }

    pub(super) fn qgemm(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let input = self.stored(node, 0, 1, 2)?;
        let mut weights = self.weights_at(node, 3)?;
        let is_gemm = node.op() == "QGemm";
        weights.axis = if is_gemm && node.int("transB", 0) != 0 { 0 } else { 1 };
        let bias = if is_gemm { self.constant(node, 6)?.map_or(Bias::Absent, Bias::Steps) } else { Bias::Absent };
        let scale = if is_gemm { 7 } else { 6 };
        if node.input(scale).is_none() {
            return Err(node.refuse("its output is not quantised"));
        }
        let output = self.quant(node, scale, scale + 1, false)?;
        let layer = self.connected(node, input, &weights, bias)?;
        self.emit_stored(node, Operation::Convolution(layer), output)
    }

    /// A fully connected layer: a convolution of a single pixel.
    fn connected(
        &mut self,
        node: Node<'a>,
        input: Operand,
        weights: &Weights<'a>,
        bias: Bias<'a>,
    ) -> Result<Layer<'a>, Unsupported> {
        let plain = node.float("alpha", 1.0) == 1.0 && node.float("beta", 1.0) == 1.0 && node.int("transA", 0) == 0;
        let leading = node.int("transB", 0) != 0;
        let (size, sizes) = (self.size(node, input)?, weights.numbers.sizes());
        let (channels, depth) = match (sizes.as_slice(), leading) {
            (&[channels, depth], true) | (&[depth, channels], false) => (channels, depth),
            _ => return Err(node.refuse(format!("weights of shape {sizes:?}; two axes are known"))),
        };
        if !plain || !size.is_row || size.channels != depth || channels == 0 {
            return Err(
                node.refuse(format!("weights {sizes:?} do not fit an input of {size}, or alpha, beta or transA"))
            );
        }
        let axis = if leading { 0 } else { 1 };
        let one = [1, 1];
        let window = Window { input: one, output: one, kernel: one, stride: one, dilation: one, pad: [0, 0] };
        let layer = Layer {
            input,
            rows: Rc::new(weights.rows(channels, leading).map_err(|why| node.refuse(why))?),
            scales: Rc::new(weights.scales(channels, axis).map_err(|why| node.refuse(why))?),
            bias,
            window,
            groups: 1,
            is_row: true,
        };
        self.check_depth(node, &layer)?;
        Ok(layer)
    }

    pub(super) fn emit_convolution(
        &mut self,
        node: Node<'a>,
        pending: &Pending<'a>,
        layer: &Layer<'a>,
        quant: Quant,
    ) -> Result<Operand, Unsupported> {
        let [rows, columns] = layer.window.output;
        let channels = layer.rows.len();
        let size = Size { rows, columns, channels, is_row: layer.is_row };
        let input = self.ordered(node, layer.input)?;
        let (tensor, result) = self.new_tensor(node, &size.shape(), quant)?;
        let depth = layer.rows.first().map_or(0, Vec::len);
        let epilogue = layer.epilogue(pending, quant).map_err(|why| node.refuse(why))?;
        let products = (layer.window.outputs() as u64).saturating_mul(channels as u64).saturating_mul(depth as u64);
        self.parts.macs = self.parts.macs.saturating_add(products);
        let inputs = self.size(node, layer.input)?.channels;
        let step = if layer.groups > 1 && layer.groups == channels && layer.groups == inputs {
            self.depthwise_step(node, layer, epilogue, [input, tensor])?
        } else {
            self.dense_step(node, layer, &epilogue, [input, tensor])?
        };
        self.push(node, step)?;
        Ok(result)
    }

    fn depthwise_step(
        &mut self,
        node: Node<'a>,
        layer: &Layer<'a>,
        epilogue: Epilogue,
        [input, output]: [TensorId; 2],
    ) -> Result<Step, Unsupported> {
        let channels = layer.rows.len();
        let taps = (0..layer.window.taps())
            .flat_map(|tap| layer.rows.iter().map(move |row| row.get(tap).copied().unwrap_or(0)));
        let weights = DepthwiseWeights::new(channels, taps.collect(), epilogue);
        self.charge_weights(node, weights.bytes())?;
        let weights = (self.kernels.prepare_depthwise)(&layer.window, weights);
        let border = vec![layer.input.quant.zero_point as u8; channels.max(PANEL)];
        Ok(Step::Depthwise(DepthwiseStep { input, output, window: layer.window, border, weights }))
    }

    fn dense_step(
        &mut self,
        node: Node<'a>,
        layer: &Layer<'a>,
        epilogue: &Epilogue,
        [input, output]: [TensorId; 2],
    ) -> Result<Step, Unsupported> {
        let per_group = layer.rows.len() / layer.groups;
        // Scales that large are in no real model, and not every dot-product kernel clamps before it rounds.
        let dot = self.kernels.products_for(layer.window.outputs()).filter(|_| !epilogue.is_wide);
        let panel = dot.map_or(PANEL, |dot| dot.packing.panel.max(PANEL));
        let panels = per_group.next_multiple_of(panel).saturating_mul(layer.groups);
        self.charge_weights(node, panels.saturating_mul(layer.row_bytes(dot) + 8))?;
        let window = layer.window;
        let (channels, border) = (self.size(node, layer.input)?.channels, layer.input.quant.zero_point as u8);
        if let Some(groups) = dot.and_then(|dot| layer.dot_weights(dot.packing, epilogue)) {
            let step = DotConvolution::new((input, output), window, channels, border, groups);
            return Ok(Step::DotConvolution(step));
        }
        if let Some(weights) = self.winograd_weights(node, layer, epilogue)? {
            let border = vec![border; channels];
            return Ok(Step::Winograd(WinogradConvolution { input, output, window, border, weights }));
        }
        let groups = layer.groups_with(epilogue).map(|(rows, epilogue)| Packed::new(rows, epilogue)).collect();
        Ok(Step::Convolution(Convolution { input, output, window, channels, border, groups }))
    }

    /// Transformed weights, where the kernels have that algorithm and the layer suits it.
    fn winograd_weights(
        &mut self,
        node: Node<'a>,
        layer: &Layer<'a>,
        epilogue: &Epilogue,
    ) -> Result<Option<WinogradWeights>, Unsupported> {
        let channels = [self.size(node, layer.input)?.channels, layer.rows.len()];
        let suits = self.kernels.winograd.is_some()
            && layer.groups == 1
            && !epilogue.is_wide
            && layer.window.outputs() >= FEWEST_WINOGRAD_PIXELS
            && WinogradWeights::suit(&layer.window, channels, layer.largest_sums());
        if !suits {
            return Ok(None);
        }
        self.charge_weights(node, WinogradWeights::bytes(channels))?;
        Ok(WinogradWeights::new(&layer.rows, epilogue.clone()))
    }

    /// A fully connected layer at the end of a graph whose output is not quantised.
    pub(super) fn emit_real_layer(
        &mut self,
        node: Node<'a>,
        pending: &Pending<'a>,
        layer: &Layer<'a>,
        slot: SlotId,
    ) -> Result<(), Unsupported> {
        let input = self.ordered(node, layer.input)?;
        let zero_point = layer.input.quant.zero_point;
        let bias = layer.bias_steps().map_err(|why| node.refuse(why))?.into_iter().zip(layer.rows.iter());
        let bias = bias.map(|(bias, row)| {
            let sum = row.iter().fold(0i32, |sum, &weight| sum.wrapping_add(i32::from(weight)));
            bias.wrapping_sub(zero_point.wrapping_mul(sum))
        });
        let scales = layer.scales.iter().map(|scale| scale * layer.input.quant.scale);
        let constants: Vec<(i32, f32)> = bias.zip(scales).collect();
        let weights: Vec<i16> = layer.rows.iter().flatten().copied().collect();
        self.charge_weights(node, weights.len().saturating_mul(2))?;
        self.parts.macs = self.parts.macs.saturating_add(weights.len() as u64);
        let range = (pending.low, pending.high);
        self.push(node, Step::RealLayer(RealLayer { input, slot, weights, constants, range }))
    }
}

impl Layer<'_> {
    /// Its outputs, where it is a fully connected layer.
    pub fn row_length(&self) -> Option<usize> {
        self.is_row.then_some(self.rows.len())
    }
}
