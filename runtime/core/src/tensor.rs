//! The input tensor of an image classifier, as preprocessing makes it and engines take it.

/// How the numbers of an image tensor follow each other. The batch is always 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// All of the first channel, then all of the second.
    Nchw,
    /// The channels of a pixel together.
    Nhwc,
}

/// What one number of an input tensor is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Element {
    /// The normalised pixel `x` itself.
    F32,
    /// `x / scale + zero_point`, rounded half to even and saturated: what an int8 plan starts from.
    U8 {
        /// Width of a step.
        scale: f32,
        /// The step that stands for 0.
        zero_point: u8,
    },
}

impl Element {
    /// ONNX's `QuantizeLinear` of one number: `saturate(round_half_even(value / scale) + zero_point)`.
    #[must_use]
    pub fn quantise(value: f32, scale: f32, zero_point: u8) -> u8 {
        let step = (value / scale).round_ties_even() + f32::from(zero_point);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
        let step = step as u8;
        step
    }
}

/// The input tensor that an engine wants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InputSpec {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels; 3 for colour.
    pub channels: usize,
    /// Order of the numbers.
    pub layout: Layout,
    /// Kind of the numbers.
    pub element: Element,
}

impl InputSpec {
    /// Numbers in the tensor.
    #[must_use]
    pub fn len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Whether there is nothing to fill in; never the case for a loaded model.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
