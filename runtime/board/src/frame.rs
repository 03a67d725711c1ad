//! A camera's frame as it lies in memory: pixel format, planes, strides and colour.
//!
//! Invariant: a [`FrameView`] holds every byte that its format and size promise. It is checked once, when the view is
//! made, so that whatever reads a frame later needs no checks of its own and cannot leave the buffer.

use std::fmt;

/// The longest side of a frame in pixels; more than any camera, little enough that no product of two sides overflows.
const LONGEST_SIDE: u32 = 1 << 15;

/// How pixels lie in memory. Names are V4L2's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// JPEG, one picture a frame (`MJPG`, `JPEG`).
    Mjpeg,
    /// Y U Y V, 4:2:2.
    Yuyv,
    /// Y V Y U, 4:2:2.
    Yvyu,
    /// U Y V Y, 4:2:2.
    Uyvy,
    /// V Y U Y, 4:2:2.
    Vyuy,
    /// A plane of Y, then one of U V pairs, 4:2:0.
    Nv12,
    /// A plane of Y, then one of V U pairs, 4:2:0.
    Nv21,
    /// A plane of Y, then one of U V pairs, 4:2:2.
    Nv16,
    /// A plane of Y, then one of V U pairs, 4:2:2.
    Nv61,
    /// Planes of Y, U, V, 4:2:0 (I420).
    Yu12,
    /// Planes of Y, V, U, 4:2:0.
    Yv12,
    /// Planes of Y, U, V, 4:2:2.
    Yuv422p,
    /// Y alone.
    Grey,
    /// R G B.
    Rgb3,
    /// B G R.
    Bgr3,
}

/// Where the samples of one component (Y, Cb, Cr or R, G, B) lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Component {
    /// Index of the plane.
    pub plane: usize,
    /// Bytes before the first sample of a row.
    pub offset: usize,
    /// Bytes from one sample to the next.
    pub step: usize,
    /// Columns of pixels that share a sample.
    pub columns: u32,
    /// Rows of pixels that share a sample.
    pub rows: u32,
}

const fn component(plane: usize, offset: usize, step: usize, columns: u32, rows: u32) -> Component {
    Component { plane, offset, step, columns, rows }
}

impl PixelFormat {
    /// Every format, the cheapest to use first where a camera offers a choice of equal size and rate.
    pub const ALL: [Self; 15] = [
        Self::Grey,
        Self::Nv12,
        Self::Nv21,
        Self::Yu12,
        Self::Yv12,
        Self::Yuyv,
        Self::Uyvy,
        Self::Yvyu,
        Self::Vyuy,
        Self::Nv16,
        Self::Nv61,
        Self::Yuv422p,
        Self::Rgb3,
        Self::Bgr3,
        Self::Mjpeg,
    ];

    /// V4L2's code, such as `*b"YUYV"`.
    #[must_use]
    pub fn fourcc(self) -> [u8; 4] {
        *match self {
            Self::Mjpeg => b"MJPG",
            Self::Yuyv => b"YUYV",
            Self::Yvyu => b"YVYU",
            Self::Uyvy => b"UYVY",
            Self::Vyuy => b"VYUY",
            Self::Nv12 => b"NV12",
            Self::Nv21 => b"NV21",
            Self::Nv16 => b"NV16",
            Self::Nv61 => b"NV61",
            Self::Yu12 => b"YU12",
            Self::Yv12 => b"YV12",
            Self::Yuv422p => b"422P",
            Self::Grey => b"GREY",
            Self::Rgb3 => b"RGB3",
            Self::Bgr3 => b"BGR3",
        }
    }

    /// The format behind V4L2's code; `None` for one that is not served. The multi-planar variants (`NM12`, `NM21`,
    /// `NM16`, `NM61`, `YM12`, `YM21`) are the same formats with a buffer for each plane.
    #[must_use]
    pub fn from_fourcc(code: [u8; 4]) -> Option<Self> {
        let single = match &code {
            b"JPEG" => b"MJPG",
            b"NM12" => b"NV12",
            b"NM21" => b"NV21",
            b"NM16" => b"NV16",
            b"NM61" => b"NV61",
            b"YM12" => b"YU12",
            b"YM21" => b"YV12",
            other => other,
        };
        Self::ALL.into_iter().find(|format| &format.fourcc() == single)
    }

    /// Y, Cb, Cr or R, G, B; the first alone for grey, none for JPEG.
    pub(crate) fn components(self) -> &'static [Component] {
        const fn packed(y: usize, u: usize, v: usize) -> [Component; 3] {
            [component(0, y, 2, 1, 1), component(0, u, 4, 2, 1), component(0, v, 4, 2, 1)]
        }
        const fn pairs(u: usize, v: usize, rows: u32) -> [Component; 3] {
            [component(0, 0, 1, 1, 1), component(1, u, 2, 2, rows), component(1, v, 2, 2, rows)]
        }
        const fn planar(u: usize, v: usize, rows: u32) -> [Component; 3] {
            [component(0, 0, 1, 1, 1), component(u, 0, 1, 2, rows), component(v, 0, 1, 2, rows)]
        }
        const fn pixels(r: usize, g: usize, b: usize) -> [Component; 3] {
            [component(0, r, 3, 1, 1), component(0, g, 3, 1, 1), component(0, b, 3, 1, 1)]
        }
        match self {
            Self::Mjpeg => &[],
            Self::Grey => const { &[component(0, 0, 1, 1, 1)] },
            Self::Yuyv => const { &packed(0, 1, 3) },
            Self::Yvyu => const { &packed(0, 3, 1) },
            Self::Uyvy => const { &packed(1, 0, 2) },
            Self::Vyuy => const { &packed(1, 2, 0) },
            Self::Nv12 => const { &pairs(0, 1, 2) },
            Self::Nv21 => const { &pairs(1, 0, 2) },
            Self::Nv16 => const { &pairs(0, 1, 1) },
            Self::Nv61 => const { &pairs(1, 0, 1) },
            Self::Yu12 => const { &planar(1, 2, 2) },
            Self::Yv12 => const { &planar(2, 1, 2) },
            Self::Yuv422p => const { &planar(1, 2, 1) },
            Self::Rgb3 => const { &pixels(0, 1, 2) },
            Self::Bgr3 => const { &pixels(2, 1, 0) },
        }
    }

    /// Whether a frame is coded, so that its bytes have no rows.
    #[must_use]
    pub fn is_compressed(self) -> bool {
        self == Self::Mjpeg
    }

    /// Whether the components are R, G, B.
    #[must_use]
    pub fn is_rgb(self) -> bool {
        matches!(self, Self::Rgb3 | Self::Bgr3)
    }

    /// Planes of a frame; 1 for JPEG.
    #[must_use]
    pub fn planes(self) -> usize {
        self.components().iter().map(|component| component.plane + 1).max().unwrap_or(1)
    }

    /// Bytes of a row and rows of plane `plane`, without padding. `None` for JPEG and for a plane that is not there.
    #[must_use]
    pub fn plane_size(self, plane: usize, width: u32, height: u32) -> Option<(usize, usize)> {
        // Of the components that share a plane, the one with the fewest samples decides: a half pair has no meaning.
        let of_plane = self.components().iter().filter(|component| component.plane == plane);
        let component = of_plane.max_by_key(|component| component.columns)?;
        let samples = width.div_ceil(component.columns) as usize;
        Some((samples * component.step, height.div_ceil(component.rows) as usize))
    }

    /// The stride of plane `plane` where one buffer holds all planes and V4L2 tells only the first one's
    /// (`bytesperline`): other planes have it divided by their subsampling.
    #[must_use]
    pub fn plane_stride(self, plane: usize, first_stride: usize) -> usize {
        let of_plane = self.components().iter().find(|component| component.plane == plane);
        of_plane.map_or(first_stride, |component| match component.plane {
            0 => first_stride,
            _ => (first_stride * component.step).div_ceil(component.columns as usize),
        })
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fourcc().iter().try_for_each(|&letter| write!(f, "{}", char::from(letter)))
    }
}

/// The weights behind Y, Cb, Cr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Matrix {
    /// ITU-R BT.601: standard definition, and JPEG.
    Bt601,
    /// ITU-R BT.709: high definition.
    Bt709,
    /// ITU-R BT.2020, non-constant luminance.
    Bt2020,
    /// SMPTE 240M.
    Smpte240m,
}

/// Which numbers mean black and white.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Range {
    /// 16 to 235 (chroma 16 to 240).
    Limited,
    /// 0 to 255.
    Full,
}

/// How numbers become colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Colour {
    /// The weights; of no meaning for R, G, B.
    pub matrix: Matrix,
    /// Black and white.
    pub range: Range,
}

impl Colour {
    /// What JPEG (JFIF) always is.
    pub const JPEG: Self = Self { matrix: Matrix::Bt601, range: Range::Full };

    /// What `struct v4l2_pix_format` tells in `colorspace`, `ycbcr_enc` and `quantization`; 0 in any of them stands for
    /// the default that `V4L2_MAP_YCBCR_ENC_DEFAULT` and `V4L2_MAP_QUANTIZATION_DEFAULT` (linux/videodev2.h) give.
    #[must_use]
    pub fn from_v4l2(format: PixelFormat, colorspace: u32, ycbcr_enc: u32, quantization: u32) -> Self {
        const COLORSPACE_SMPTE240M: u32 = 2;
        const COLORSPACE_REC709: u32 = 3;
        const COLORSPACE_JPEG: u32 = 7;
        const COLORSPACE_BT2020: u32 = 10;
        const COLORSPACE_DCI_P3: u32 = 12;
        if format.is_compressed() {
            return Self::JPEG;
        }
        let matrix = match (ycbcr_enc, colorspace) {
            (2 | 4, _) | (0, COLORSPACE_REC709 | COLORSPACE_DCI_P3) => Matrix::Bt709,
            (6 | 7, _) | (0, COLORSPACE_BT2020) => Matrix::Bt2020,
            (8, _) | (0, COLORSPACE_SMPTE240M) => Matrix::Smpte240m,
            _ => Matrix::Bt601,
        };
        let range = match quantization {
            1 => Range::Full,
            2 => Range::Limited,
            _ if format.is_rgb() || colorspace == COLORSPACE_JPEG => Range::Full,
            _ => Range::Limited,
        };
        Self { matrix, range }
    }
}

/// One plane's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plane<'a> {
    /// From its first row on; there may be more than needed.
    pub bytes: &'a [u8],
    /// Bytes from the start of a row to the start of the next; of no meaning for JPEG.
    pub stride: usize,
}

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No pixels, or a side beyond any camera.
    #[error("{width} x {height} pixels: each side must be 1 to {LONGEST_SIDE}")]
    Size {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// Not the format's number of planes.
    #[error("{format} has {expected} planes, not {given}")]
    Planes {
        /// The format.
        format: PixelFormat,
        /// How many it has.
        expected: usize,
        /// How many came.
        given: usize,
    },
    /// Rows would overlap.
    #[error("{format}, plane {plane}: a stride of {stride} bytes is shorter than a row of {row_bytes}")]
    Stride {
        /// The format.
        format: PixelFormat,
        /// Which plane.
        plane: usize,
        /// What came.
        stride: usize,
        /// What a row needs.
        row_bytes: usize,
    },
    /// The buffer ends before the picture does.
    #[error("{format}, plane {plane}: {given} bytes, the picture needs {needed}")]
    Short {
        /// The format.
        format: PixelFormat,
        /// Which plane.
        plane: usize,
        /// What came.
        given: usize,
        /// What is needed.
        needed: usize,
    },
}

/// A frame that somebody else owns, such as a driver's buffer. Every row of every plane is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameView<'a> {
    format: PixelFormat,
    width: u32,
    height: u32,
    colour: Colour,
    planes: [Plane<'a>; 3],
}

impl<'a> FrameView<'a> {
    /// A frame with a buffer for each plane. For JPEG, the size is the one that the camera promised; the picture's own
    /// header decides.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn new(
        format: PixelFormat,
        width: u32,
        height: u32,
        colour: Colour,
        planes: &[Plane<'a>],
    ) -> Result<Self, FrameError> {
        if !(1..=LONGEST_SIDE).contains(&width) || !(1..=LONGEST_SIDE).contains(&height) {
            return Err(FrameError::Size { width, height });
        }
        if planes.len() != format.planes() {
            return Err(FrameError::Planes { format, expected: format.planes(), given: planes.len() });
        }
        let mut kept = [Plane { bytes: &[], stride: 0 }; 3];
        for (plane, (kept, &given)) in kept.iter_mut().zip(planes).enumerate() {
            check_plane(format, plane, (width, height), given)?;
            *kept = given;
        }
        Ok(Self { format, width, height, colour, planes: kept })
    }

    /// A frame in one buffer, plane behind plane, as V4L2's single-planar interface gives it. `stride` is its
    /// `bytesperline`; 0 means that rows are not padded. For JPEG, give `bytesused` bytes.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn contiguous(
        format: PixelFormat,
        width: u32,
        height: u32,
        colour: Colour,
        bytes: &'a [u8],
        stride: usize,
    ) -> Result<Self, FrameError> {
        if format.is_compressed() {
            return Self::new(format, width, height, colour, &[Plane { bytes, stride: 0 }]);
        }
        let first_stride = match (stride, format.plane_size(0, width, height)) {
            (0, Some((row_bytes, _))) => row_bytes,
            _ => stride.min(u32::MAX as usize),
        };
        let mut planes = [Plane { bytes: &[], stride: 0 }; 3];
        let mut start = 0usize;
        for (index, plane) in planes.iter_mut().enumerate().take(format.planes()) {
            let rows = format.plane_size(index, width, height).map_or(0, |(_, rows)| rows);
            let stride = format.plane_stride(index, first_stride);
            *plane = Plane { bytes: bytes.get(start..).unwrap_or_default(), stride };
            start = start.saturating_add(stride.saturating_mul(rows));
        }
        Self::new(format, width, height, colour, planes.get(..format.planes()).unwrap_or_default())
    }

    /// A JPEG of which nobody promised a size.
    #[must_use]
    pub fn jpeg(bytes: &'a [u8]) -> Self {
        let planes = [Plane { bytes, stride: 0 }, Plane { bytes: &[], stride: 0 }, Plane { bytes: &[], stride: 0 }];
        Self { format: PixelFormat::Mjpeg, width: 1, height: 1, colour: Colour::JPEG, planes }
    }

    /// How the pixels lie.
    #[must_use]
    pub fn format(&self) -> PixelFormat {
        self.format
    }

    /// Columns; at least 1.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows; at least 1.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// What the numbers mean.
    #[must_use]
    pub fn colour(&self) -> Colour {
        self.colour
    }

    /// As many planes as the format has.
    #[must_use]
    pub fn planes(&self) -> &[Plane<'a>] {
        self.planes.get(..self.format.planes()).unwrap_or_default()
    }

    /// Row `row` of plane `plane`, without padding; empty for a row or a plane that is not there, and for JPEG.
    #[must_use]
    pub fn row(&self, plane: usize, row: usize) -> &'a [u8] {
        let Some((row_bytes, rows)) = self.format.plane_size(plane, self.width, self.height) else { return &[] };
        let Some(from) = self.planes.get(plane).filter(|_| row < rows) else { return &[] };
        let start = row * from.stride;
        from.bytes.get(start..start + row_bytes).unwrap_or_default()
    }
}

fn check_plane(format: PixelFormat, plane: usize, size: (u32, u32), given: Plane) -> Result<(), FrameError> {
    // JPEG has no rows; its decoder checks every byte.
    let Some((row_bytes, rows)) = format.plane_size(plane, size.0, size.1) else { return Ok(()) };
    if given.stride < row_bytes {
        return Err(FrameError::Stride { format, plane, stride: given.stride, row_bytes });
    }
    // The last row needs no padding.
    let needed = given.stride.saturating_mul(rows - 1).saturating_add(row_bytes);
    if given.bytes.len() < needed {
        return Err(FrameError::Short { format, plane, given: given.bytes.len(), needed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn view(format: PixelFormat, size: (u32, u32), bytes: &[u8], stride: usize) -> Result<FrameView<'_>, FrameError> {
        FrameView::contiguous(format, size.0, size.1, Colour::JPEG, bytes, stride)
    }

    #[test]
    fn codes_go_both_ways() {
        for format in PixelFormat::ALL {
            assert_eq!(PixelFormat::from_fourcc(format.fourcc()), Some(format));
            assert_eq!(format.to_string().as_bytes(), format.fourcc());
        }
        assert_eq!(PixelFormat::from_fourcc(*b"JPEG"), Some(PixelFormat::Mjpeg));
        assert_eq!(PixelFormat::from_fourcc(*b"YM21"), Some(PixelFormat::Yv12));
        assert_eq!(PixelFormat::from_fourcc(*b"pRAA"), None, "raw Bayer is not served");
    }

    #[test]
    fn planes_have_v4l2s_sizes() {
        use PixelFormat::*;
        let size = |format: PixelFormat, plane| format.plane_size(plane, 6, 5);
        assert_eq!(size(Yuyv, 0), Some((12, 5)));
        assert_eq!((size(Nv12, 0), size(Nv12, 1), size(Nv12, 2)), (Some((6, 5)), Some((6, 3)), None));
        assert_eq!((size(Yu12, 1), size(Yuv422p, 2)), (Some((3, 3)), Some((3, 5))));
        assert_eq!((size(Rgb3, 0), size(Grey, 0), size(Mjpeg, 0)), (Some((18, 5)), Some((6, 5)), None));
        assert_eq!(Yuyv.plane_size(0, 5, 1), Some((12, 1)), "a half pair is stored whole");
        assert_eq!((Nv12.plane_stride(1, 8), Yu12.plane_stride(1, 8), Yuyv.plane_stride(0, 8)), (8, 4, 8));
        assert_eq!((Nv12.planes(), Yu12.planes(), Mjpeg.planes()), (2, 3, 1));
    }

    #[test]
    fn colours_follow_v4l2s_defaults() {
        use PixelFormat::{Mjpeg, Rgb3, Yuyv};
        let of = |format, space, encoding, quantisation| {
            let colour = Colour::from_v4l2(format, space, encoding, quantisation);
            (colour.matrix, colour.range)
        };
        assert_eq!(of(Yuyv, 0, 0, 0), (Matrix::Bt601, Range::Limited));
        assert_eq!(of(Yuyv, 8, 0, 0), (Matrix::Bt601, Range::Limited), "sRGB, what most webcams say");
        assert_eq!(of(Yuyv, 7, 0, 0), (Matrix::Bt601, Range::Full));
        assert_eq!(of(Yuyv, 3, 0, 0), (Matrix::Bt709, Range::Limited));
        assert_eq!(of(Yuyv, 3, 1, 1), (Matrix::Bt601, Range::Full), "what is told wins over defaults");
        assert_eq!(of(Yuyv, 10, 0, 0).0, Matrix::Bt2020);
        assert_eq!(of(Yuyv, 2, 0, 0).0, Matrix::Smpte240m);
        assert_eq!(of(Rgb3, 8, 0, 0).1, Range::Full);
        assert_eq!(of(Rgb3, 8, 0, 2).1, Range::Limited);
        assert_eq!(of(Mjpeg, 3, 2, 2), (Matrix::Bt601, Range::Full));
    }

    #[test]
    fn planes_are_found_behind_each_other() {
        let bytes: Vec<u8> = (0..8 * 4 + 4 * 2 * 2).collect();
        let frame = view(PixelFormat::Yu12, (6, 4), &bytes, 8).unwrap();
        assert_eq!(frame.row(0, 3), &bytes[24..30]);
        assert_eq!((frame.row(1, 0), frame.row(2, 1)), (&bytes[32..35], &bytes[44..47]));
        assert!(frame.row(0, 4).is_empty() && frame.row(3, 0).is_empty());
        assert_eq!(frame.planes().len(), 3);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let bytes = [0u8; 100];
        assert_eq!(view(PixelFormat::Grey, (0, 4), &bytes, 0), Err(FrameError::Size { width: 0, height: 4 }));
        assert!(matches!(view(PixelFormat::Grey, (1, 40_000), &bytes, 0), Err(FrameError::Size { .. })));
        assert!(matches!(view(PixelFormat::Yuyv, (8, 2), &bytes, 15), Err(FrameError::Stride { row_bytes: 16, .. })));
        assert!(matches!(view(PixelFormat::Yuyv, (8, 2), &bytes, usize::MAX), Err(FrameError::Short { .. })));
        // The last row may end without its padding: 20 * 4 + 16.
        assert!(view(PixelFormat::Yuyv, (8, 5), &bytes[..96], 20).is_ok());
        let error = view(PixelFormat::Yuyv, (8, 5), &bytes[..95], 20).unwrap_err();
        assert_eq!(error.to_string(), "YUYV, plane 0: 95 bytes, the picture needs 96");
        assert!(matches!(view(PixelFormat::Nv12, (8, 8), &bytes[..95], 0), Err(FrameError::Short { plane: 1, .. })));
        let planes = [Plane { bytes: &bytes, stride: 8 }];
        let result = FrameView::new(PixelFormat::Nv12, 8, 8, Colour::JPEG, &planes);
        assert!(matches!(result, Err(FrameError::Planes { expected: 2, given: 1, .. })));
    }

    proptest! {
        #[test]
        fn an_accepted_frame_has_every_row(
            format in prop::sample::select(&PixelFormat::ALL[..]), width in 1u32..40, height in 1u32..40,
            stride in 0usize..200, length in 0usize..9_000
        ) {
            let bytes = vec![7u8; length];
            if let Ok(frame) = view(format, (width, height), &bytes, stride) {
                for plane in 0..3 {
                    let Some((row_bytes, rows)) = format.plane_size(plane, width, height) else { continue };
                    for row in 0..rows {
                        prop_assert_eq!(frame.row(plane, row).len(), row_bytes);
                    }
                }
            }
        }
    }
}
