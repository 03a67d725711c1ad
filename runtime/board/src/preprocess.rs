//! From a picture to a model's input tensor: one pass that crops and scales, one table look-up that normalises.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use serde::{Deserialize, Serialize};
use tinysaver_core::{Element, InputSpec, Layout};

use crate::decode::Picture;

/// How pixels are weighed when a picture is scaled. All of them average over the area that a new pixel covers, as
/// Pillow's filters of the same names do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// Triangle.
    Bilinear,
    /// Cubic with a = -0.5.
    Bicubic,
    /// Windowed sinc over three lobes.
    Lanczos,
}

impl Filter {
    fn algorithm(self) -> ResizeAlg {
        ResizeAlg::Convolution(match self {
            Self::Bilinear => FilterType::Bilinear,
            Self::Bicubic => FilterType::CatmullRom,
            Self::Lanczos => FilterType::Lanczos3,
        })
    }
}

/// The order of the colours that a model was trained with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelOrder {
    /// Red first.
    Rgb,
    /// Blue first.
    Bgr,
}

/// What a model expects to be done to a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preprocess {
    /// Side of the centre square that is kept, as a share of the picture's shorter side; in (0, 1].
    pub crop_fraction: f64,
    /// How it is scaled to the model's size.
    pub filter: Filter,
    /// Order of the colours.
    pub channels: ChannelOrder,
    /// Subtracted from each colour, on the scale 0..=255, in the model's order.
    pub mean: [f32; 3],
    /// Then divided by, in the model's order.
    pub std: [f32; 3],
}

/// A rule, or a model's tensor, that cannot be served.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PreprocessError {
    /// `crop_fraction` is out of range.
    #[error("crop_fraction {0} must be above 0 and at most 1")]
    CropFraction(f64),
    /// A mean or a divisor is not a usable number.
    #[error("mean and std must be finite numbers, and std above 0")]
    Normalisation,
    /// Not three channels, or a size that no picture has.
    #[error("cannot make a tensor of {height} x {width} pixels with {channels} channels")]
    Size {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Channels.
        channels: usize,
    },
    /// The resizer refused.
    #[error("cannot scale the picture: {0}")]
    Resize(String),
}

/// A filled input tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum Tensor {
    /// Normalised pixels.
    F32(Vec<f32>),
    /// Normalised and quantised pixels.
    U8(Vec<u8>),
}

/// Turns pictures into the tensor of one model; owns every buffer, so that nothing is allocated per frame.
pub struct Preprocessor {
    spec: InputSpec,
    crop_fraction: f64,
    options: ResizeOptions,
    resizer: Resizer,
    scaled: TypedImage<'static, U8x3>,
    tables: Tables,
    /// For each of the model's channels, which of R G B it reads.
    sources: [usize; 3],
    tensor: Tensor,
}

/// What each of the 256 levels of a channel becomes.
enum Tables {
    F32(Box<[[f32; 256]; 3]>),
    U8(Box<[[u8; 256]; 3]>),
}

impl Preprocessor {
    /// Prepares for tensors of one kind.
    ///
    /// # Errors
    /// A rule out of range or a tensor that is no colour picture.
    pub fn new(rule: &Preprocess, spec: InputSpec) -> Result<Self, PreprocessError> {
        let (width, height) = check_rule(rule, &spec)?;
        let tables = match spec.element {
            Element::F32 => Tables::F32(Box::new(float_tables(rule))),
            Element::U8 { scale, zero_point } => Tables::U8(Box::new(quantised_tables(rule, scale, zero_point))),
        };
        Ok(Self {
            spec,
            crop_fraction: rule.crop_fraction,
            options: ResizeOptions::new().resize_alg(rule.filter.algorithm()).use_alpha(false),
            resizer: Resizer::new(),
            scaled: TypedImage::new(width, height),
            tables,
            sources: match rule.channels {
                ChannelOrder::Rgb => [0, 1, 2],
                ChannelOrder::Bgr => [2, 1, 0],
            },
            tensor: empty_tensor(&spec),
        })
    }

    /// Crops the centre square, scales it and fills the tensor, which stays valid until the next call.
    ///
    /// # Errors
    /// A picture whose size contradicts its pixels.
    pub fn tensor(&mut self, picture: &Picture) -> Result<&Tensor, PreprocessError> {
        self.scale(picture)?;
        self.fill();
        Ok(&self.tensor)
    }

    /// What [`Self::tensor`] gave last.
    #[must_use]
    pub fn last(&self) -> &Tensor {
        &self.tensor
    }

    /// Crops and scales as [`Self::tensor`] does, but leaves the pixels as they are: R G B, rows from the top. What
    /// [`Self::tensor_of_pixels`] makes of them elsewhere is the same tensor.
    ///
    /// # Errors
    /// A picture whose size contradicts its pixels.
    pub fn pixels(&mut self, picture: &Picture) -> Result<Vec<u8>, PreprocessError> {
        self.scale(picture)?;
        Ok(self.scaled.pixels().iter().flat_map(|pixel| pixel.0).collect())
    }

    /// Fills the tensor with pixels that have been cropped and scaled already.
    ///
    /// # Errors
    /// Another number of pixels than the tensor has.
    pub fn tensor_of_pixels(&mut self, rgb: &[u8]) -> Result<&Tensor, PreprocessError> {
        let (scaled, (pixels, rest)) = (self.scaled.pixels_mut(), rgb.as_chunks::<3>());
        if scaled.len() != pixels.len() || !rest.is_empty() {
            return Err(PreprocessError::Resize(format!("{} bytes of pixels, wanted {}", rgb.len(), 3 * scaled.len())));
        }
        for (place, pixel) in scaled.iter_mut().zip(pixels) {
            place.0 = *pixel;
        }
        self.fill();
        Ok(&self.tensor)
    }

    fn scale(&mut self, picture: &Picture) -> Result<(), PreprocessError> {
        let resize_error = |error: String| PreprocessError::Resize(error);
        // Typed: the untyped call compiles the resizer for every kind of pixel, which takes minutes.
        let source = TypedImageRef::<U8x3>::from_buffer(picture.width, picture.height, &picture.rgb)
            .map_err(|error| resize_error(error.to_string()))?;
        let (left, top, side) = centre_square(picture.width, picture.height, self.crop_fraction);
        let options = self.options.crop(left, top, side, side);
        self.resizer.resize_typed(&source, &mut self.scaled, &options).map_err(|error| resize_error(error.to_string()))
    }

    fn fill(&mut self) {
        let pixels = self.scaled.pixels();
        match (&self.tables, &mut self.tensor) {
            (Tables::F32(tables), Tensor::F32(out)) => spread(pixels, &self.spec, self.sources, tables, out),
            (Tables::U8(tables), Tensor::U8(out)) => spread(pixels, &self.spec, self.sources, tables, out),
            // `new` makes tables and tensor of the same kind.
            (Tables::F32(_), Tensor::U8(_)) | (Tables::U8(_), Tensor::F32(_)) => {}
        }
    }
}

/// Refuses rules and tensors that cannot be served; gives the tensor's width and height.
pub(crate) fn check_rule(rule: &Preprocess, spec: &InputSpec) -> Result<(u32, u32), PreprocessError> {
    if !(rule.crop_fraction > 0.0 && rule.crop_fraction <= 1.0) {
        return Err(PreprocessError::CropFraction(rule.crop_fraction));
    }
    if !rule.mean.iter().all(|mean| mean.is_finite()) || !rule.std.iter().all(|std| std.is_finite() && *std > 0.0) {
        return Err(PreprocessError::Normalisation);
    }
    match (u32::try_from(spec.width), u32::try_from(spec.height)) {
        (Ok(width), Ok(height)) if spec.channels == 3 && !spec.is_empty() => Ok((width, height)),
        _ => Err(PreprocessError::Size { height: spec.height, width: spec.width, channels: spec.channels }),
    }
}

/// A tensor of zeros to fill.
pub(crate) fn empty_tensor(spec: &InputSpec) -> Tensor {
    match spec.element {
        Element::F32 => Tensor::F32(vec![0.0; spec.len()]),
        Element::U8 { .. } => Tensor::U8(vec![0; spec.len()]),
    }
}

/// Left, top and side of the kept square, in real-valued pixels.
pub(crate) fn centre_square(width: u32, height: u32, fraction: f64) -> (f64, f64, f64) {
    let side = f64::from(width.min(height)) * fraction;
    ((f64::from(width) - side) / 2.0, (f64::from(height) - side) / 2.0, side)
}

/// Looks each pixel up and writes it where the layout wants it.
fn spread<T: Copy>(pixels: &[U8x3], spec: &InputSpec, sources: [usize; 3], tables: &[[T; 256]; 3], out: &mut [T]) {
    let (plane_stride, pixel_stride) = match spec.layout {
        Layout::Nchw => (spec.height * spec.width, 1),
        Layout::Nhwc => (1, 3),
    };
    for (channel, (table, source)) in tables.iter().zip(sources).enumerate() {
        let places = out.iter_mut().skip(channel * plane_stride).step_by(pixel_stride);
        for (place, pixel) in places.zip(pixels) {
            if let Some(&value) = pixel.0.get(source).and_then(|&level| table.get(usize::from(level))) {
                *place = value;
            }
        }
    }
}

fn float_tables(rule: &Preprocess) -> [[f32; 256]; 3] {
    let mut tables = [[0.0; 256]; 3];
    for ((table, mean), std) in tables.iter_mut().zip(rule.mean).zip(rule.std) {
        for (level, value) in (0u8..=255).zip(table.iter_mut()) {
            *value = (f32::from(level) - mean) / std;
        }
    }
    tables
}

/// ONNX's `QuantizeLinear` over every level.
fn quantised_tables(rule: &Preprocess, scale: f32, zero_point: u8) -> [[u8; 256]; 3] {
    let mut tables = [[0; 256]; 3];
    for (table, normalised) in tables.iter_mut().zip(float_tables(rule)) {
        for (value, level) in table.iter_mut().zip(normalised) {
            *value = Element::quantise(level, scale, zero_point);
        }
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Preprocess = Preprocess {
        crop_fraction: 0.875,
        filter: Filter::Bicubic,
        channels: ChannelOrder::Rgb,
        mean: [127.0; 3],
        std: [128.0; 3],
    };

    fn spec(height: usize, width: usize, layout: Layout, element: Element) -> InputSpec {
        InputSpec { height, width, channels: 3, layout, element }
    }

    fn flat(width: u32, height: u32, colour: [u8; 3]) -> Picture {
        Picture { width, height, rgb: colour.repeat((width * height) as usize) }
    }

    fn run(rule: &Preprocess, spec: InputSpec, picture: &Picture) -> Tensor {
        Preprocessor::new(rule, spec).unwrap().tensor(picture).unwrap().clone()
    }

    #[test]
    fn a_flat_colour_stays_what_it_is() {
        let picture = flat(30, 20, [255, 127, 0]);
        let planes = run(&RULE, spec(2, 2, Layout::Nchw, Element::F32), &picture);
        assert_eq!(planes, Tensor::F32([[1.0; 4], [0.0; 4], [-127.0 / 128.0; 4]].concat()));
        let pixels = run(&RULE, spec(2, 2, Layout::Nhwc, Element::F32), &picture);
        assert_eq!(pixels, Tensor::F32([1.0, 0.0, -127.0 / 128.0].repeat(4)));
        let blue_first = Preprocess { channels: ChannelOrder::Bgr, ..RULE };
        let planes = run(&blue_first, spec(1, 1, Layout::Nchw, Element::F32), &picture);
        assert_eq!(planes, Tensor::F32(vec![-127.0 / 128.0, 0.0, 1.0]));
    }

    #[test]
    fn quantised_levels_follow_onnx() {
        // scale 1/64 and zero point 128: (255-127)/128*64 = 64 steps up; a half rounds to even.
        let element = Element::U8 { scale: 1.0 / 64.0, zero_point: 128 };
        let got = run(&RULE, spec(1, 1, Layout::Nhwc, element), &flat(8, 8, [255, 128, 0]));
        assert_eq!(got, Tensor::U8(vec![192, 128, 64]), "0.5 steps round to 0, -63.5 to -64");
        let narrow = Element::U8 { scale: 0.001, zero_point: 10 };
        let got = run(&RULE, spec(1, 1, Layout::Nhwc, narrow), &flat(8, 8, [255, 127, 0]));
        assert_eq!(got, Tensor::U8(vec![255, 10, 0]), "saturates");
    }

    #[test]
    fn only_the_centre_square_is_seen() {
        // Red left and right of a green square: with half of its height kept, only green remains. (The filter
        // looks a little beyond the square's edge, as Pillow's does, so the whole height would mix in some red.)
        let mut picture = flat(40, 20, [255, 0, 0]);
        for y in 0..20usize {
            for x in 10..30usize {
                picture.rgb[(y * 40 + x) * 3..][..3].copy_from_slice(&[0, 255, 0]);
            }
        }
        let half = Preprocess { crop_fraction: 0.5, mean: [0.0; 3], std: [1.0; 3], ..RULE };
        let got = run(&half, spec(4, 4, Layout::Nhwc, Element::F32), &picture);
        assert_eq!(got, Tensor::F32([0.0, 255.0, 0.0].repeat(16)));
    }

    #[test]
    fn one_pixel_is_enough() {
        let got = run(&RULE, spec(3, 3, Layout::Nhwc, Element::F32), &flat(1, 1, [255, 255, 255]));
        assert_eq!(got, Tensor::F32(vec![1.0; 27]));
    }

    #[test]
    fn a_ramp_is_pinned_to_the_bit_on_every_platform() {
        let rgb = (0..64u32 * 48).flat_map(|i| [(i * 7 % 256) as u8, (i * 13 % 256) as u8, (i / 12) as u8]).collect();
        let picture = Picture { width: 64, height: 48, rgb };
        for (filter, expected) in
            [(Filter::Bilinear, 25703521u64), (Filter::Bicubic, 344975909), (Filter::Lanczos, 191828506)]
        {
            let rule = Preprocess { filter, mean: [0.0; 3], std: [1.0; 3], ..RULE };
            let Tensor::F32(values) = run(&rule, spec(16, 16, Layout::Nhwc, Element::F32), &picture) else { panic!() };
            let sum = values.iter().fold(0u64, |sum, &value| (sum * 31 + value as u64) % 1_000_000_007);
            assert_eq!(sum, expected, "{filter:?}");
        }
    }

    #[test]
    fn pixels_that_travelled_give_the_same_tensor() {
        let rgb: Vec<u8> = (0..40u32 * 30 * 3).map(|i| (i * 37 % 251) as u8).collect();
        let picture = Picture { width: 40, height: 30, rgb };
        let rule = Preprocess { channels: ChannelOrder::Bgr, ..RULE };
        let mut sender = Preprocessor::new(&rule, spec(8, 8, Layout::Nchw, Element::F32)).unwrap();
        let mut receiver = Preprocessor::new(&rule, spec(8, 8, Layout::Nchw, Element::F32)).unwrap();
        let pixels = sender.pixels(&picture).unwrap();
        assert_eq!(receiver.tensor_of_pixels(&pixels).unwrap(), sender.tensor(&picture).unwrap());
        assert!(receiver.tensor_of_pixels(&pixels[1..]).is_err());
    }

    #[test]
    fn refuses_rules_that_make_no_sense() {
        let tensor = spec(2, 2, Layout::Nchw, Element::F32);
        for fraction in [0.0, -1.0, 1.5, f64::NAN] {
            assert!(Preprocessor::new(&Preprocess { crop_fraction: fraction, ..RULE }, tensor).is_err(), "{fraction}");
        }
        assert!(Preprocessor::new(&Preprocess { std: [0.0; 3], ..RULE }, tensor).is_err());
        assert!(Preprocessor::new(&RULE, InputSpec { channels: 1, ..tensor }).is_err());
        assert!(Preprocessor::new(&RULE, spec(0, 2, Layout::Nchw, Element::F32)).is_err());
        let liar = Picture { width: 10, height: 10, rgb: vec![0; 12] };
        assert!(Preprocessor::new(&RULE, tensor).unwrap().tensor(&liar).is_err());
    }
}
