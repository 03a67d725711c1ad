//! Area-averaged samples of each component, one new row at a time, straight from the camera's layout.
//!
//! First the rows that a new row covers are added up, byte by byte, whatever the bytes mean: this touches every byte of
//! the picture and is plain vector arithmetic. Only the one row that results is taken apart into components and
//! averaged along x.

use super::FrameTensorError;
use super::axis::{Axis, GROUP, Span, Taps};
use super::dots::{Dots, fastest, narrow};
use crate::frame::{Component, Plane};

/// Bytes whose column sums are kept in registers at once.
const BLOCK: usize = 64;

/// Samples and results are kept within 15 bits, so that they are `i16` for the multipliers.
const LARGEST_SAMPLE: u64 = i16::MAX as u64;

/// How to read one component of a plane.
#[derive(Debug, Clone)]
struct ComponentPlan {
    /// Index of the component: 0 to 2.
    component: usize,
    /// Of the first sample, in the plane's column sums.
    offset: usize,
    step: usize,
    samples: usize,
    taps: Taps,
    shift: u32,
}

/// How to read one plane.
#[derive(Debug, Clone)]
struct PlanePlan {
    plane: usize,
    rows: Axis,
    shift: u32,
    /// First byte of a row that is read, and how many.
    start: usize,
    length: usize,
    components: Vec<ComponentPlan>,
}

/// The size of a frame and of what is made of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Geometry {
    /// Of the frame, in pixels.
    pub width: u32,
    /// Of the frame, in pixels.
    pub height: u32,
    /// Left, top and side of the square that is kept, in real-valued pixels.
    pub square: (f64, f64, f64),
    /// New columns.
    pub columns: usize,
    /// New rows.
    pub rows: usize,
}

/// Averages frames of one layout and size. All buffers are made once.
#[derive(Debug, Clone)]
pub(crate) struct Sampler {
    planes: Vec<PlanePlan>,
    pub(super) dots: Dots,
    /// Column sums of a plane's bytes.
    sums: Vec<i16>,
    /// The same of one component alone.
    strip: Vec<i16>,
    /// What a sample of 255 is in `row`, for each component.
    levels: [f64; 3],
    /// The new row of each component; empty rows do not happen: those that the format lacks stay 0.
    row: [Vec<i16>; 3],
}

impl Sampler {
    /// # Errors
    /// The frame is too large for the result.
    pub fn new(components: &[Component], geometry: &Geometry) -> Result<Self, FrameTensorError> {
        let planes = components.iter().map(|component| component.plane + 1).max().unwrap_or(0);
        let mut levels = [255.0; 3];
        let planes: Vec<PlanePlan> = (0..planes)
            .map(|plane| PlanePlan::new(plane, components, geometry, &mut levels))
            .collect::<Result<_, _>>()?;
        let longest = planes.iter().map(|plane| plane.length).max().unwrap_or(0);
        let most = planes.iter().flat_map(|plane| &plane.components).map(|c| c.samples + c.taps.groups * GROUP).max();
        Ok(Self {
            sums: vec![0; longest + most.unwrap_or(0)],
            strip: vec![0; most.unwrap_or(0)],
            levels,
            dots: fastest(),
            row: std::array::from_fn(|_| vec![0; geometry.columns]),
            planes,
        })
    }

    /// What a sample of 255 is in a row, for each component.
    pub fn levels(&self) -> [f64; 3] {
        self.levels
    }

    /// Averages new row `row` of every component.
    #[inline(always)]
    pub fn sample(&mut self, planes: &[Plane], row: usize) {
        for plan in &self.planes {
            let (Some(plane), Some(&span)) = (planes.get(plan.plane), plan.rows.spans.get(row)) else { continue };
            let Some(sums) = self.sums.get_mut(..plan.length) else { continue };
            plan.add_rows(plane, span, sums);
            for component in &plan.components {
                if let Some(out) = self.row.get_mut(component.component) {
                    component.average(self.dots, &self.sums, &mut self.strip, out);
                }
            }
        }
    }

    /// The row that was averaged last, of each component; 0 for those that the format lacks.
    pub fn row(&self) -> [&[i16]; 3] {
        let [a, b, c] = &self.row;
        [a, b, c]
    }
}

impl PlanePlan {
    fn new(
        plane: usize,
        all: &[Component],
        geometry: &Geometry,
        levels: &mut [f64; 3],
    ) -> Result<Self, FrameTensorError> {
        let (left, top, side) = geometry.square;
        let mut components = Vec::new();
        let mut rows = None;
        for (index, component) in all.iter().enumerate().filter(|(_, component)| component.plane == plane) {
            let (across, down) = (f64::from(component.columns), f64::from(component.rows));
            let samples = geometry.width.div_ceil(component.columns) as usize;
            let axis = Axis::new(left / across, side / across, geometry.columns, samples)?;
            components.push((index, component, axis));
            if rows.is_none() {
                let samples = geometry.height.div_ceil(component.rows) as usize;
                rows = Some(Axis::new(top / down, side / down, geometry.rows, samples)?);
            }
        }
        let rows = rows.unwrap_or(Axis { spans: Vec::new(), total: 1, full_bits: 0 });
        let shift = shift_to_15_bits(255 * u64::from(rows.total));
        let start = components.iter().map(|(_, c, axis)| c.offset + axis.extent().0 * c.step).min().unwrap_or(0);
        let end = components.iter().map(|(_, c, axis)| c.offset + (axis.extent().1 - 1) * c.step + 1).max();
        let level = 255.0 * f64::from(rows.total) / f64::from(1u32 << shift);
        let largest = (255 * u64::from(rows.total)) >> shift;
        let components = components.into_iter().map(|(index, component, axis)| {
            let (first, behind) = axis.extent();
            let shift = shift_to_15_bits((largest + 1) * u64::from(axis.total));
            if let Some(place) = levels.get_mut(index) {
                *place = level * f64::from(axis.total) / f64::from(1u32 << shift);
            }
            ComponentPlan {
                component: index,
                offset: component.offset + first * component.step - start,
                step: component.step,
                samples: behind - first,
                taps: Taps::new(&axis),
                shift,
            }
        });
        let components = components.collect();
        Ok(Self { plane, rows, shift, start, length: end.unwrap_or(start) - start, components })
    }

    /// The weighted sum of the span's rows for every byte, down to 15 bits.
    #[inline(always)]
    fn add_rows(&self, plane: &Plane, span: Span, sums: &mut [i16]) {
        let mut x = 0;
        while let Some(out) = sums.get_mut(x..).and_then(|rest| rest.first_chunk_mut::<BLOCK>()) {
            self.add_block(plane, span, x, out);
            x += BLOCK;
        }
        // The rest: once more the last whole block, shifted; single bytes of a row that is shorter than a block.
        if let Some(out) = sums.last_chunk_mut::<BLOCK>() {
            if x < self.length {
                self.add_block(plane, span, self.length - BLOCK, out);
            }
            return;
        }
        for (x, out) in sums.iter_mut().enumerate() {
            self.add_block(plane, span, x, std::array::from_mut(out));
        }
    }

    #[inline(always)]
    fn add_block<const N: usize>(&self, plane: &Plane, span: Span, x: usize, out: &mut [i16; N]) {
        let at = |row: usize| {
            let start = row * plane.stride + self.start + x;
            // A `FrameView` holds every row that a plan made for its size reads.
            plane.bytes.get(start..).and_then(|rest| rest.first_chunk::<N>()).unwrap_or(&[0; N])
        };
        let first = at(span.first);
        let mut full = [0u16; N];
        for row in span.first + 1..=span.first + span.full {
            for (sum, &byte) in full.iter_mut().zip(at(row)) {
                *sum += u16::from(byte);
            }
        }
        let last = if span.last_weight > 0 { at(span.first + span.full + 1) } else { &[0; N] };
        let (first_weight, last_weight) = (i32::from(span.first_weight), i32::from(span.last_weight));
        let half = (1 << self.shift) >> 1;
        for (((out, &full), &first), &last) in out.iter_mut().zip(&full).zip(first).zip(last) {
            let parts = i32::from(i16::from(first)) * first_weight + i32::from(i16::from(last)) * last_weight;
            *out = narrow(((i32::from(full) << self.rows.full_bits) + parts + half) >> self.shift);
        }
    }
}

impl ComponentPlan {
    /// Takes the component's column sums and averages along x.
    #[inline(always)]
    fn average(&self, dots: Dots, sums: &[i16], strip: &mut [i16], out: &mut [i16]) {
        let source = match self.step {
            1 => sums.get(self.offset..).unwrap_or_default(),
            2 => spread::<2>(sums, strip, self.offset, self.samples),
            3 => spread::<3>(sums, strip, self.offset, self.samples),
            _ => spread::<4>(sums, strip, self.offset, self.samples),
        };
        dots(&self.taps, source, self.shift, out);
    }
}

/// Every `STEP`-th of the sums.
#[inline(always)]
fn spread<'a, const STEP: usize>(sums: &[i16], strip: &'a mut [i16], offset: usize, samples: usize) -> &'a [i16] {
    let source = sums.get(offset..).unwrap_or_default();
    let (groups, _) = source.as_chunks::<STEP>();
    for (place, group) in strip.iter_mut().zip(groups).take(samples) {
        *place = group[0];
    }
    strip
}

/// How far a sum up to `largest` must be shifted to fit 15 bits.
fn shift_to_15_bits(largest: u64) -> u32 {
    (0..32).find(|&shift| (largest + ((1 << shift) >> 1)) >> shift <= LARGEST_SAMPLE).unwrap_or(32)
}
