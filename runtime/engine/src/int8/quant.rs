//! The arithmetic that defines the backend; every kernel must give the same bits. It follows ONNX Runtime's: multiply
//! by an f32 scale, round half to even, add the zero point, saturate.
//!
//! Activations are u8 inside. A signed tensor is stored as `value + 128` with its zero point moved likewise, which
//! leaves every difference `value - zero_point` as it was.

/// How far a signed tensor is moved to be stored as u8.
pub const SIGNED_OFFSET: i32 = 128;

/// What the numbers of a quantised tensor mean: `real = scale * (stored - zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quant {
    /// Width of a step; finite and positive.
    pub scale: f32,
    /// The stored number (0..=255) that stands for 0.
    pub zero_point: i32,
    /// Whether the model's own type is s8.
    pub signed: bool,
}

impl Quant {
    /// What has to be added to the model's own number to get the stored one.
    pub fn offset(self) -> i32 {
        if self.signed { SIGNED_OFFSET } else { 0 }
    }

    /// The zero point as the model has it, as f32.
    pub fn model_zero_point(self) -> f32 {
        (self.zero_point - self.offset()) as f32
    }

    /// As ONNX's QuantizeLinear. Not a number becomes the smallest step.
    pub fn quantise(self, real: f32) -> u8 {
        let bounds = Bounds::full(self.zero_point);
        bounds.requantise(real / self.scale)
    }

    /// As ONNX's DequantizeLinear.
    pub fn dequantise(self, stored: u8) -> f32 {
        self.scale * (i32::from(stored) - self.zero_point) as f32
    }

    /// The table of `stored -> quantise(function(dequantise(stored)))`.
    pub fn table(self, output: Self, bounds: Bounds, function: impl Fn(f32) -> f32) -> Box<[u8; 256]> {
        let mut table = Box::new([0; 256]);
        for (stored, entry) in (0..=u8::MAX).zip(table.iter_mut()) {
            *entry = bounds.requantise(function(self.dequantise(stored)) / output.scale);
        }
        table
    }
}

/// The range of an output, relative to its zero point: the type's own, narrowed by a fused clip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Smallest step, minus the zero point.
    pub low: f32,
    /// Largest step, minus the zero point.
    pub high: f32,
    /// What stands for 0.
    pub zero_point: i32,
}

impl Bounds {
    /// The whole of u8.
    pub fn full(zero_point: i32) -> Self {
        Self { low: -zero_point as f32, high: (255 - zero_point) as f32, zero_point }
    }

    /// The whole of u8 cut to what `low..=high` quantises to. Rounding is monotone, so clipping the steps equals
    /// clipping the real numbers first.
    pub fn clipped(quant: Quant, low: f32, high: f32) -> Self {
        let step = |real: f32| (i32::from(quant.quantise(real)) - quant.zero_point) as f32;
        Self { low: step(low), high: step(high), zero_point: quant.zero_point }
    }

    /// The end of every fused step: clamp, round half to even, add the zero point.
    pub fn requantise(self, steps: f32) -> u8 {
        let clamped = steps.max(self.low).min(self.high);
        (clamped.round_ties_even() as i32 + self.zero_point) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_even_and_ends_saturate() {
        let quant = Quant { scale: 0.5, zero_point: 10, signed: false };
        for (real, stored) in [(0.0, 10), (0.25, 10), (0.75, 12), (-0.25, 10), (1e9, 255), (-1e9, 0), (f32::NAN, 0)] {
            assert_eq!(quant.quantise(real), stored, "{real}");
        }
        assert_eq!(quant.dequantise(12), 1.0);
    }

    #[test]
    fn a_clip_narrows_the_bounds() {
        let quant = Quant { scale: 0.1, zero_point: 128, signed: true };
        let bounds = Bounds::clipped(quant, 0.0, 6.0);
        assert_eq!((bounds.low, bounds.high), (0.0, 60.0));
        assert_eq!(bounds.requantise(-3.0), 128);
        assert_eq!(bounds.requantise(99.0), 188);
    }
}
