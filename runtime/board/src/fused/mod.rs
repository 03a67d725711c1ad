//! A camera's frame to a model's input tensor in one pass over the bytes that the crop needs.
//!
//! Components are averaged in the camera's own layout, each over the area that a new pixel covers, and only the few
//! averages become colours and numbers of the tensor: the full RGB picture is never made. All of it is integer
//! arithmetic (the only floats are one multiplication and one addition behind f32 tensors), so that the same bytes
//! give the same tensor on every platform. Tables are made once for a format and size; a frame allocates nothing.
//!
//! Stills take another way ([`crate::Preprocessor`]): with the filter that the pair's model was trained with.

mod axis;
mod coded;
mod colour;
mod dots;
mod luma;
mod sample;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tinysaver_core::{InputSpec, LumaGrid};

use self::coded::CodedFrame;
use self::colour::Conversion;
use self::luma::LumaSums;
use self::sample::{Geometry, Sampler};
use crate::decode::{DecodeError, DecodeLimits};
use crate::frame::{Colour, Component, FrameView, PixelFormat, Plane};
use crate::jpeg::{JpegError, Wanted};
use crate::preprocess::{Preprocess, PreprocessError, Tensor, centre_square, check_rule, empty_tensor};

/// Why a frame became no tensor.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FrameTensorError {
    /// The frame is so much larger than the model's input that sums would overflow.
    #[error(
        "the frame has {ratio:.0} samples to a pixel of the model; at most 128 are served: ask the camera for less"
    )]
    TooFine {
        /// Samples along one side of a pixel.
        ratio: f64,
    },
    /// Mean, std or the tensor's scale are too extreme for fixed point.
    #[error("mean, std and the model's input scale give numbers beyond 32 bits")]
    Normalisation,
    /// A camera's JPEG that gives no picture.
    #[error(transparent)]
    Jpeg(#[from] JpegError),
    /// A picture that was left to the decoder of stills, and gave nothing there either.
    #[error(transparent)]
    Still(#[from] DecodeError),
}

/// How a frame became a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameWay {
    /// From the camera's layout.
    Pixels,
    /// From a JPEG, decoded no larger and no further than needed.
    Jpeg,
    /// From an unusual JPEG (or a picture of another kind), decoded whole.
    WholePicture,
}

/// Frames of one layout, size and colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FrameKind {
    format: PixelFormat,
    colour: Colour,
    width: u32,
    height: u32,
    components: [Component; 3],
    count: usize,
}

/// What was worked out for a [`FrameKind`].
struct Plan {
    kind: FrameKind,
    sampler: Sampler,
    conversion: Conversion,
}

/// Turns a camera's frames into the tensor of one model.
pub struct FramePreprocessor {
    rule: Preprocess,
    spec: InputSpec,
    jpeg: CodedFrame,
    plan: Option<Plan>,
    tensor: Tensor,
    luma: Option<LumaSums>,
    fill_tensor: FillTensor,
}

impl FramePreprocessor {
    /// Prepares for tensors of one kind. The rule's `filter` is not used: frames are averaged over areas.
    ///
    /// # Errors
    /// A rule out of range or a tensor that is no colour picture.
    pub fn new(rule: &Preprocess, spec: InputSpec) -> Result<Self, PreprocessError> {
        check_rule(rule, &spec)?;
        Ok(Self {
            rule: *rule,
            spec,
            jpeg: CodedFrame::new(Wanted {
                crop_fraction: rule.crop_fraction,
                columns: spec.width,
                rows: spec.height,
                max_pixels: DecodeLimits::default().max_pixels,
            }),
            plan: None,
            tensor: empty_tensor(&spec),
            luma: None,
            fill_tensor: fastest(),
        })
    }

    /// Refuses coded frames of more pixels than this instead of [`DecodeLimits::default`].
    #[must_use]
    pub fn with_limits(mut self, limits: DecodeLimits) -> Self {
        self.jpeg.wanted.max_pixels = limits.max_pixels;
        self
    }

    /// Also keeps the luma grid of each frame, for the change gate.
    #[must_use]
    pub fn with_luma_grid(mut self) -> Self {
        self.luma = Some(LumaSums::new(self.spec.width, self.spec.height));
        self
    }

    /// Crops the centre square, averages it down and fills the tensor, which stays valid until the next call.
    ///
    /// # Errors
    /// See [`FrameTensorError`].
    pub fn tensor(&mut self, frame: &FrameView) -> Result<&Tensor, FrameTensorError> {
        self.timed_tensor(frame).map(|(tensor, _)| tensor)
    }

    /// As [`Self::tensor`], and what of its time went into decoding; `None` for a frame that was not coded.
    ///
    /// # Errors
    /// See [`FrameTensorError`].
    pub fn timed_tensor(&mut self, frame: &FrameView) -> Result<(&Tensor, Option<Duration>), FrameTensorError> {
        let (kind, of_jpeg);
        let planes = if frame.format().is_compressed() {
            kind = self.jpeg.decode(frame)?;
            of_jpeg = self.jpeg.planes();
            &of_jpeg[..]
        } else {
            self.jpeg.way = FrameWay::Pixels;
            kind = FrameKind::of(frame);
            frame.planes()
        };
        let plan = match self.plan.take().filter(|plan| plan.kind == kind) {
            Some(plan) => plan,
            None => Plan::new(kind, &self.rule, &self.spec)?,
        };
        let plan = self.plan.insert(plan);
        (self.fill_tensor)(plan, planes, &self.spec, self.luma.as_mut(), &mut self.tensor);
        Ok((&self.tensor, (self.jpeg.way != FrameWay::Pixels).then_some(self.jpeg.time)))
    }

    /// What [`Self::tensor`] gave last.
    #[must_use]
    pub fn last(&self) -> &Tensor {
        &self.tensor
    }

    /// How the last frame became a tensor.
    #[must_use]
    pub fn way(&self) -> FrameWay {
        self.jpeg.way
    }

    /// The luma grid of the last frame; `None` before the first and without [`Self::with_luma_grid`].
    #[must_use]
    pub fn luma_grid(&self) -> Option<LumaGrid> {
        self.plan.as_ref().and(self.luma.as_ref()).map(LumaSums::grid)
    }
}

impl FrameKind {
    fn of(frame: &FrameView) -> Self {
        let all = frame.format().components();
        let mut components = [Component { plane: 0, offset: 0, step: 1, columns: 1, rows: 1 }; 3];
        components.iter_mut().zip(all).for_each(|(place, &component)| *place = component);
        Self {
            format: frame.format(),
            colour: frame.colour(),
            width: frame.width(),
            height: frame.height(),
            components,
            count: all.len(),
        }
    }
}

impl Plan {
    fn new(kind: FrameKind, rule: &Preprocess, spec: &InputSpec) -> Result<Self, FrameTensorError> {
        let square = centre_square(kind.width, kind.height, rule.crop_fraction);
        let geometry =
            Geometry { width: kind.width, height: kind.height, square, columns: spec.width, rows: spec.height };
        let sampler = Sampler::new(kind.components.get(..kind.count).unwrap_or_default(), &geometry)?;
        let conversion = Conversion::new((kind.format, kind.colour), sampler.levels(), rule, spec)?;
        Ok(Self { kind, sampler, conversion })
    }
}

/// Averages and converts every row.
type FillTensor = fn(&mut Plan, &[Plane], &InputSpec, Option<&mut LumaSums>, &mut Tensor);

#[inline(always)]
fn fill_tensor(
    plan: &mut Plan,
    planes: &[Plane],
    spec: &InputSpec,
    mut luma: Option<&mut LumaSums>,
    tensor: &mut Tensor,
) {
    if let Some(luma) = &mut luma {
        luma.clear();
    }
    for row in 0..spec.height {
        plan.sampler.sample(planes, row);
        let components = plan.sampler.row();
        match tensor {
            Tensor::U8(out) => plan.conversion.fill_u8(components, row, spec, out),
            Tensor::F32(out) => plan.conversion.fill_f32(components, row, spec, out),
        }
        if let Some(luma) = &mut luma {
            luma.add_row(&plan.conversion, components, row);
        }
    }
}

/// The same code in the widest vectors that this processor has and that we know to look for. (On aarch64 every
/// processor has NEON, so that there is nothing to choose.)
fn fastest() -> FillTensor {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        return avx2::fill_tensor;
    }
    fill_tensor
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{InputSpec, LumaSums, Plan, Plane, Tensor};

    /// Reachable only through [`super::fastest`], that is after AVX2 was found.
    #[expect(unsafe_code, reason = "compiling for vectors that the target does not promise")]
    pub(super) fn fill_tensor(
        plan: &mut Plan,
        planes: &[Plane],
        spec: &InputSpec,
        luma: Option<&mut LumaSums>,
        tensor: &mut Tensor,
    ) {
        // SAFETY: AVX2 was found; the function itself is safe code.
        unsafe { with_avx2(plan, planes, spec, luma, tensor) }
    }

    #[target_feature(enable = "avx2")]
    fn with_avx2(
        plan: &mut Plan,
        planes: &[Plane],
        spec: &InputSpec,
        luma: Option<&mut LumaSums>,
        tensor: &mut Tensor,
    ) {
        super::fill_tensor(plan, planes, spec, luma, tensor);
    }
}
