//! Pools, and where windows of pools and convolutions lie.

use super::{Compiler, Operand, Operation, Pending, Value};
use crate::int8::graph::{Node, Unsupported};
use crate::int8::plan::Size;
use crate::int8::quant::Quant;
use crate::int8::steps::{AveragePool, GlobalAverage, MaxPool, Step};
use crate::int8::window::Window;

/// Largest window side, stride or padding that is believed.
const LARGEST: usize = 4096;

/// Pixels of an image whose channel sums cannot leave i32.
const MOST_PIXELS: usize = (i32::MAX / 255) as usize;

/// A mean over a window whose output is not quantised yet.
#[derive(Debug, Clone)]
pub(super) struct Average {
    input: Operand,
    window: Window,
    border_counts: bool,
}

/// A mean over the whole image whose output is not quantised yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Global {
    input: Operand,
    /// Whether the output has a height and a width, of 1.
    is_image: bool,
}

impl<'a> Compiler<'a> {
    /// The window that a node's attributes describe.
    pub(super) fn window(&self, node: Node<'a>, size: Size, kernel: [usize; 2]) -> Result<Window, Unsupported> {
        let (stride, dilation) = (node.pair("strides")?, node.pair("dilations")?);
        let [rows, columns] = kernel;
        if rows == 0 || columns == 0 || rows > LARGEST || columns > LARGEST {
            return Err(node.refuse(format!("a window of {rows} x {columns}")));
        }
        let pads = match node.ints("pads") {
            Some(ints) => super::sizes(&ints.iter().map(|pad| pad.saturating_add(1)).collect::<Vec<_>>())
                .map(|pads| pads.into_iter().map(|pad| pad.saturating_sub(1)).collect()),
            None => Some(vec![0; 4]),
        };
        let pads: Option<[usize; 4]> = pads.and_then(|pads: Vec<usize>| pads.try_into().ok());
        let Some([top, left, bottom, right]) = pads.filter(|pads| pads.iter().all(|&pad| pad <= LARGEST)) else {
            return Err(node.refuse(format!("pads {:?}", node.ints("pads"))));
        };
        let automatic = node.word("auto_pad", "NOTSET");
        let ceil = node.int("ceil_mode", 0) != 0;
        let axis = |input: usize, kernel: usize, stride: usize, dilation: usize, before: usize, after: usize| {
            let span = (kernel - 1).checked_mul(dilation)?.checked_add(1)?;
            let same = input.div_ceil(stride);
            let total = ((same.checked_sub(1)?).checked_mul(stride)?.checked_add(span)?).saturating_sub(input);
            let (before, after) = match automatic.as_ref() {
                "SAME_UPPER" => (total / 2, total - total / 2),
                "SAME_LOWER" => (total - total / 2, total / 2),
                "VALID" => (0, 0),
                _ => (before, after),
            };
            let room = input.checked_add(before)?.checked_add(after)?.checked_sub(span)?;
            let mut output = room / stride + 1;
            // A rounded-up last window has to begin on the image or its leading border.
            if ceil && !room.is_multiple_of(stride) && output * stride < input + before {
                output += 1;
            }
            (output <= LARGEST * LARGEST).then_some((output, before))
        };
        let ([stride_y, stride_x], [dilation_y, dilation_x]) = (stride, dilation);
        let vertical = axis(size.rows, rows, stride_y, dilation_y, top, bottom);
        let horizontal = axis(size.columns, columns, stride_x, dilation_x, left, right);
        let (Some((output_rows, pad_top)), Some((output_columns, pad_left))) = (vertical, horizontal) else {
            return Err(node.refuse(format!("a window of {rows} x {columns} does not fit an input of {size}")));
        };
        Ok(Window {
            input: [size.rows, size.columns],
            output: [output_rows, output_columns],
            kernel,
            stride,
            dilation,
            pad: [pad_top, pad_left],
        })
    }

    fn pool_window(&self, node: Node<'a>, operand: Operand) -> Result<Window, Unsupported> {
        let size = self.size(node, operand)?;
        if node.ints("kernel_shape").is_none() || size.is_row {
            return Err(node.refuse("it has no kernel_shape or its input is no image"));
        }
        self.window(node, size, node.pair("kernel_shape")?)
    }

    /// The largest step is the largest real number, so a pool of either kind of tensor is one of the stored numbers.
    pub(super) fn max_pool(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let (operand, kind) = self.tensor(node, 0)?;
        let window = self.pool_window(node, operand)?;
        let [rows, columns] = window.output;
        let size = Size { rows, columns, ..self.size(node, operand)? };
        let input = self.ordered(node, operand)?;
        let (output, result) = self.new_tensor(node, &size.shape(), operand.quant)?;
        self.push(node, Step::MaxPool(MaxPool { input, output, window, channels: size.channels }))?;
        Ok(kind(result))
    }

    pub(super) fn average_pool(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let is_stored = node.op().starts_with("QLinear");
        if is_stored && node.int("channels_last", 0) != 0 {
            return Err(node.refuse("channels_last"));
        }
        let input = if is_stored { self.stored(node, 0, 1, 2)? } else { self.real(node, 0)? };
        let window = self.pool_window(node, input)?;
        if window.dilation != [1, 1] {
            return Err(node.refuse("a mean over a dilated window"));
        }
        let border_counts = node.int("count_include_pad", 0) != 0;
        let operation = Operation::AveragePool(Average { input, window, border_counts });
        if is_stored {
            let quant = self.quant(node, 3, 4, input.quant.signed)?;
            return self.emit_stored(node, operation, quant);
        }
        Ok(operation.into())
    }

    pub(super) fn emit_average(
        &mut self,
        node: Node<'a>,
        pending: &Pending<'a>,
        average: &Average,
        quant: Quant,
    ) -> Result<Operand, Unsupported> {
        let [rows, columns] = average.window.output;
        let size = Size { rows, columns, ..self.size(node, average.input)? };
        let input = self.ordered(node, average.input)?;
        let (output, result) = self.new_tensor(node, &size.shape(), quant)?;
        let step = AveragePool {
            input,
            output,
            window: average.window,
            channels: size.channels,
            border_counts: average.border_counts,
            quants: [average.input.quant, quant],
            bounds: pending.model_bounds(quant),
        };
        self.push(node, Step::AveragePool(step))?;
        Ok(result)
    }

    pub(super) fn global_average(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let is_stored = node.op().starts_with("QLinear");
        let input = if is_stored { self.stored(node, 0, 1, 2)? } else { self.real(node, 0)? };
        if self.size(node, input)?.is_row || node.int("channels_last", 0) != 0 {
            return Err(node.refuse("its input is no image with channels first"));
        }
        if node.op() == "ReduceMean" {
            self.check_spatial_axes(node)?;
        }
        let is_image = node.op() != "ReduceMean" || node.int("keepdims", 1) != 0;
        let operation = Operation::GlobalAverage(Global { input, is_image });
        if is_stored {
            let quant = self.quant(node, 3, 4, input.quant.signed)?;
            return self.emit_stored(node, operation, quant);
        }
        Ok(operation.into())
    }

    /// A ReduceMean is a global average where it takes the last two axes.
    fn check_spatial_axes(&self, node: Node<'a>) -> Result<(), Unsupported> {
        let mut axes = match self.constant(node, 1)? {
            Some(constant) => constant.integers().map_err(|why| node.refuse(why))?,
            None => node.ints("axes").unwrap_or(&[]).to_vec(),
        };
        axes.iter_mut().filter(|axis| **axis < 0).for_each(|axis| *axis += 4);
        axes.sort_unstable();
        if axes == [2, 3] { Ok(()) } else { Err(node.refuse("it does not reduce height and width")) }
    }

    pub(super) fn emit_global_average(
        &mut self,
        node: Node<'a>,
        pending: &Pending<'a>,
        global: Global,
        quant: Quant,
    ) -> Result<Operand, Unsupported> {
        let operand = global.input;
        let size = self.size(node, operand)?;
        let pixels = size.pixels();
        let scale = operand.quant.scale / (quant.scale * pixels as f32);
        if pixels > MOST_PIXELS || !scale.is_finite() {
            return Err(node.refuse(format!("a mean over {size} with a scale of {scale}")));
        }
        let input = self.ordered(node, operand)?;
        let mean = Size { rows: 1, columns: 1, is_row: !global.is_image, ..size };
        let (output, result) = self.new_tensor(node, &mean.shape(), quant)?;
        let step = GlobalAverage {
            input,
            output,
            channels: size.channels,
            bias: -operand.quant.zero_point * pixels as i32,
            scale,
            bounds: pending.bounds(quant),
        };
        self.push(node, Step::GlobalAverage(step))?;
        Ok(result)
    }
}
