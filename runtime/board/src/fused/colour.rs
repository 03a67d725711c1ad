//! From averaged components to a row of the tensor: colour, normalisation and quantisation as one affine map in fixed
//! point.

use tinysaver_core::{Element, InputSpec, LUMA_UNITS, Layout};

use super::FrameTensorError;
use crate::frame::{Colour, Matrix, PixelFormat, Range};
use crate::preprocess::{ChannelOrder, Preprocess};

/// A whole level in the fixed-point numbers behind f32 tensors; small enough that 255 of them are exact in f32.
const LEVEL_F32: f64 = 16_384.0;

/// A linear map of up to three components, real-valued.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Affine {
    coefficients: [f64; 3],
    bias: f64,
}

impl Affine {
    /// `(self(x)) * factor + offset`.
    fn then(self, factor: f64, offset: f64) -> Self {
        Self { coefficients: self.coefficients.map(|c| c * factor), bias: self.bias * factor + offset }
    }

    /// The same map of components whose level 255 is `levels` instead.
    fn of_scaled(self, levels: [f64; 3]) -> Self {
        let [a, b, c] = self.coefficients;
        let coefficients = [a * 255.0 / levels[0], b * 255.0 / levels[1], c * 255.0 / levels[2]];
        Self { coefficients, bias: self.bias }
    }
}

/// The same in fixed point: `clamp((coefficients . components + bias) >> shift)`, rounded half up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Map {
    coefficients: [i32; 3],
    bias: i32,
    shift: u32,
    low: i32,
    high: i32,
}

impl Map {
    /// In the finest units in which no sum of 15-bit components leaves an `i32`.
    #[expect(clippy::cast_possible_truncation, reason = "checked against the largest i32 just before")]
    fn new(map: Affine, low: f64, high: f64) -> Result<Self, FrameTensorError> {
        let largest =
            map.coefficients.iter().map(|c| c.abs() * f64::from(i16::MAX)).sum::<f64>() + map.bias.abs() + 1.0;
        let fits = |shift: u32| (largest + 2.0) * f64::from(1u32 << shift) < f64::from(i32::MAX);
        let shift = (1..=24).rev().find(|&shift| fits(shift)).ok_or(FrameTensorError::Normalisation)?;
        let fixed = |value: f64| (value * f64::from(1u32 << shift)).round() as i32;
        Ok(Self {
            coefficients: map.coefficients.map(fixed),
            bias: fixed(map.bias) + (1 << (shift - 1)),
            shift,
            low: low as i32,
            high: high as i32,
        })
    }

    #[inline(always)]
    fn apply(&self, a: i16, b: i16, c: i16) -> i32 {
        let [x, y, z] = self.coefficients;
        let sum = i32::from(a) * x + i32::from(b) * y + i32::from(c) * z + self.bias;
        (sum >> self.shift).clamp(self.low, self.high)
    }
}

/// Turns rows of averaged components into rows of one kind of tensor.
#[derive(Debug, Clone)]
pub(crate) struct Conversion {
    channels: [Map; 3],
    luma: Map,
    /// For f32 tensors: what the fixed-point level is multiplied with, and what is added then.
    scales: [(f32, f32); 3],
}

impl Conversion {
    /// `levels` is what the sampler makes of a sample of 255, for each component.
    ///
    /// # Errors
    /// A normalisation whose numbers do not fit 32 bits.
    pub fn new(
        (format, colour): (PixelFormat, Colour),
        levels: [f64; 3],
        rule: &Preprocess,
        spec: &InputSpec,
    ) -> Result<Self, FrameTensorError> {
        let (mut rgb, luma) = level_maps(format, colour);
        if rule.channels == ChannelOrder::Bgr {
            rgb.reverse();
        }
        let luma = luma.of_scaled(levels).then(f64::from(LUMA_UNITS), 0.0);
        let [r, g, b] = rgb.map(|map| map.of_scaled(levels));
        let channel = |map: Affine, mean: f32, std: f32| match spec.element {
            Element::F32 => Map::new(map.then(LEVEL_F32, 0.0), 0.0, 255.0 * LEVEL_F32),
            Element::U8 { scale, zero_point } => {
                let steps = 1.0 / (f64::from(std) * f64::from(scale));
                // Clamping a level to 0..=255 is clamping its step, because the map rises.
                let end = |level: f32| f64::from(Element::quantise((level - mean) / std, scale, zero_point));
                Map::new(map.then(steps, f64::from(zero_point) - f64::from(mean) * steps), end(0.0), end(255.0))
            }
        };
        let (mean, std) = (rule.mean, rule.std);
        #[expect(clippy::cast_possible_truncation, reason = "rounded once, here")]
        let scale = |mean: f32, std: f32| ((1.0 / (f64::from(std) * LEVEL_F32)) as f32, -mean / std);
        Ok(Self {
            channels: [channel(r, mean[0], std[0])?, channel(g, mean[1], std[1])?, channel(b, mean[2], std[2])?],
            luma: Map::new(luma, 0.0, 255.0 * f64::from(LUMA_UNITS))?,
            scales: [scale(mean[0], std[0]), scale(mean[1], std[1]), scale(mean[2], std[2])],
        })
    }

    /// Fills row `row` of a tensor of quantised numbers.
    #[inline(always)]
    pub fn fill_u8(&self, components: [&[i16]; 3], row: usize, spec: &InputSpec, out: &mut [u8]) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a quantised number")]
        self.fill(components, row, spec, out, |step, _| step as u8);
    }

    /// Fills row `row` of a tensor of normalised numbers.
    #[inline(always)]
    pub fn fill_f32(&self, components: [&[i16]; 3], row: usize, spec: &InputSpec, out: &mut [f32]) {
        #[expect(clippy::cast_precision_loss, reason = "a level has at most 22 bits")]
        self.fill(components, row, spec, out, |level, (scale, offset)| level as f32 * scale + offset);
    }

    #[inline(always)]
    fn fill<T: Copy>(
        &self,
        [a, b, c]: [&[i16]; 3],
        row: usize,
        spec: &InputSpec,
        out: &mut [T],
        finish: impl Fn(i32, (f32, f32)) -> T,
    ) {
        let [x, y, z] = &self.channels;
        let pixels = a.iter().zip(b).zip(c);
        match spec.layout {
            Layout::Nhwc => {
                let out = out.get_mut(row * spec.width * 3..).unwrap_or_default();
                for (place, ((&a, &b), &c)) in out.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
                    *place = [
                        finish(x.apply(a, b, c), self.scales[0]),
                        finish(y.apply(a, b, c), self.scales[1]),
                        finish(z.apply(a, b, c), self.scales[2]),
                    ];
                }
            }
            Layout::Nchw => {
                for (channel, (map, scale)) in [x, y, z].into_iter().zip(self.scales).enumerate() {
                    let out = out.get_mut((channel * spec.height + row) * spec.width..).unwrap_or_default();
                    for (place, ((&a, &b), &c)) in out.iter_mut().zip(pixels.clone()) {
                        *place = finish(map.apply(a, b, c), scale);
                    }
                }
            }
        }
    }

    /// The sum of a stretch's luma, [`LUMA_UNITS`] to a level.
    #[inline(always)]
    pub fn luma_sum(&self, [a, b, c]: [&[i16]; 3]) -> u32 {
        let pixels = a.iter().zip(b).zip(c);
        pixels.map(|((&a, &b), &c)| self.luma.apply(a, b, c).unsigned_abs()).sum()
    }
}

/// Levels of R, G, B, and of luma, out of a format's components.
fn level_maps(format: PixelFormat, colour: Colour) -> ([Affine; 3], Affine) {
    let (black, gain, chroma_gain) = match colour.range {
        Range::Full => (0.0, 1.0, 1.0),
        Range::Limited => (16.0, 255.0 / 219.0, 255.0 / 224.0),
    };
    let (red, blue) = match colour.matrix {
        Matrix::Bt601 => (0.299, 0.114),
        Matrix::Bt709 => (0.2126, 0.0722),
        Matrix::Bt2020 => (0.2627, 0.0593),
        Matrix::Smpte240m => (0.212, 0.087),
    };
    let green = 1.0 - red - blue;
    if format.is_rgb() {
        let scaled =
            |of: [f64; 3]| Affine { coefficients: of.map(|c| c * gain), bias: -black * gain * of.iter().sum::<f64>() };
        let rgb = [scaled([1.0, 0.0, 0.0]), scaled([0.0, 1.0, 0.0]), scaled([0.0, 0.0, 1.0])];
        return (rgb, scaled([0.299, 0.587, 0.114]));
    }
    let luma = Affine { coefficients: [gain, 0.0, 0.0], bias: -black * gain };
    if format == PixelFormat::Grey {
        return ([luma; 3], luma);
    }
    let with_chroma = |cb: f64, cr: f64| Affine {
        coefficients: [gain, cb * chroma_gain, cr * chroma_gain],
        bias: luma.bias - 128.0 * (cb + cr) * chroma_gain,
    };
    let (of_cr, of_cb) = (2.0 * (1.0 - red), 2.0 * (1.0 - blue));
    let rgb =
        [with_chroma(0.0, of_cr), with_chroma(-of_cb * blue / green, -of_cr * red / green), with_chroma(of_cb, 0.0)];
    (rgb, luma)
}
