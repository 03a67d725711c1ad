//! A tensor as a node sees it: where each of its numbers lies among the bytes that are stored. Reshape, Transpose, Split,
//! Slice and their kin make another view of the same bytes and cost nothing; the bytes are moved once, by one strided
//! copy, where a step needs them in its own order. A channel shuffle is such a copy.

use super::graph::elements;
use super::memory::TensorId;

/// Most axes of a tensor.
pub const MOST_AXES: usize = 8;

/// One loop over numbers: how many, and how far apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loop {
    /// Repetitions.
    pub size: usize,
    /// Bytes from one to the next.
    pub stride: usize,
}

/// Which stored number stands at each place of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The stored bytes.
    pub tensor: TensorId,
    /// Where the first number lies.
    pub offset: usize,
    /// The loops of each axis, outermost first; an axis that was merged from several has several.
    pub axes: Vec<Vec<Loop>>,
}

/// Distance between neighbours along each axis in the order in which steps take a tensor: NHWC where it is an image of
/// batch 1, the model's own order otherwise.
pub fn standard_strides(shape: &[usize]) -> Vec<usize> {
    if let &[1, channels, _, columns] = shape {
        return vec![0, 1, columns * channels, channels];
    }
    row_major_strides(shape)
}

/// Distance between neighbours along each axis in the model's own order.
pub fn row_major_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    let mut product = 1usize;
    for (stride, &size) in strides.iter_mut().zip(shape).rev() {
        *stride = product;
        product = product.saturating_mul(size);
    }
    strides
}

impl View {
    /// A whole tensor that is stored with the given distances between neighbours.
    pub fn whole(tensor: TensorId, shape: &[usize], strides: &[usize]) -> Self {
        let axes = shape.iter().zip(strides).map(|(&size, &stride)| vec![Loop { size, stride }]).collect();
        Self { tensor, offset: 0, axes }
    }

    /// Sizes of the axes.
    pub fn shape(&self) -> Vec<usize> {
        self.axes.iter().map(|axis| axis.iter().map(|each| each.size).product()).collect()
    }

    /// Whether the bytes lie in the given order already, without gaps at the front.
    pub fn has_strides(&self, strides: &[usize]) -> bool {
        let fits = |(axis, &stride): (&Vec<Loop>, &usize)| {
            let mut expected = stride;
            axis.iter().rev().filter(|each| each.size != 1).all(|each| {
                let same = each.stride == expected;
                expected = expected.saturating_mul(each.size);
                same
            })
        };
        self.offset == 0 && self.axes.len() == strides.len() && self.axes.iter().zip(strides).all(fits)
    }

    /// The same numbers in the same order under other axes; `None` where a loop would have to be cut unevenly.
    pub fn reshape(&self, shape: &[usize]) -> Option<Self> {
        let mut left: Vec<Loop> = self.axes.iter().flatten().copied().filter(|each| each.size != 1).collect();
        left.reverse();
        let mut axes = Vec::with_capacity(shape.len());
        for &size in shape {
            let mut axis = Vec::new();
            let mut wanted = size;
            while wanted > 1 {
                let next = left.pop()?;
                if wanted.is_multiple_of(next.size) {
                    wanted /= next.size;
                    axis.push(next);
                } else if next.size.is_multiple_of(wanted) {
                    let inner = next.size / wanted;
                    axis.push(Loop { size: wanted, stride: next.stride.checked_mul(inner)? });
                    left.push(Loop { size: inner, stride: next.stride });
                    wanted = 1;
                } else {
                    return None;
                }
            }
            axes.push(if axis.is_empty() { vec![Loop { size, stride: 0 }] } else { axis });
        }
        left.is_empty().then_some(Self { axes, ..*self })
    }

    /// The axes in another order; `None` where `order` does not name each once.
    pub fn transpose(&self, order: &[usize]) -> Option<Self> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        let complete = sorted.iter().copied().eq(0..self.axes.len());
        let axes: Option<Vec<_>> = order.iter().map(|&axis| self.axes.get(axis).cloned()).collect();
        Some(Self { axes: axes.filter(|_| complete)?, ..*self })
    }

    /// Every `step`th of `count` indices of an axis from `start` on, which the caller has checked to be there; `None`
    /// where loops would have to be cut unevenly.
    pub fn slice(&self, axis: usize, start: usize, count: usize, step: usize) -> Option<Self> {
        let loops: Vec<Loop> = self.axes.get(axis)?.iter().copied().filter(|each| each.size != 1).collect();
        let (first, rest) = match loops.split_first() {
            Some((first, rest)) => (*first, rest),
            None => (Loop { size: 1, stride: 0 }, &[][..]),
        };
        let inner: usize = rest.iter().map(|each| each.size).product();
        let even = inner == 1 || (step == 1 && start.is_multiple_of(inner) && count.is_multiple_of(inner));
        if !even {
            return None;
        }
        let outer = Loop { size: count / inner, stride: first.stride.checked_mul(step)? };
        let mut axes = self.axes.clone();
        *axes.get_mut(axis)? = [&[outer], rest].concat();
        let offset = self.offset.checked_add((start / inner).checked_mul(first.stride)?)?;
        Some(Self { tensor: self.tensor, offset, axes })
    }

    /// The numbers repeated along axes of size 1 and along new leading axes, as ONNX broadcasts; `None` where the shapes
    /// do not fit.
    pub fn broadcast(&self, shape: &[usize]) -> Option<Self> {
        let added = shape.len().checked_sub(self.axes.len())?;
        let spread = |(at, &size): (usize, &usize)| {
            let repeated = vec![Loop { size, stride: 0 }];
            let Some(axis) = at.checked_sub(added).and_then(|at| self.axes.get(at)) else { return Some(repeated) };
            match axis.iter().map(|each| each.size).product::<usize>() {
                same if same == size => Some(axis.clone()),
                1 => Some(repeated),
                _ => None,
            }
        };
        let axes: Option<Vec<_>> = shape.iter().enumerate().map(spread).collect();
        Some(Self { axes: axes?, ..*self })
    }
}

/// One loop of a copy, with the distances on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyLoop {
    /// Repetitions.
    pub size: usize,
    /// Bytes from one to the next where they are read.
    pub from: usize,
    /// Numbers from one to the next where they are written.
    pub to: usize,
}

/// The loops that bring a view into the order of the given strides of its axes, the longest distance on the writing
/// side first.
pub fn copy_loops(view: &View, strides: &[usize]) -> Vec<CopyLoop> {
    let mut loops: Vec<CopyLoop> = Vec::new();
    for (axis, &stride) in view.axes.iter().zip(strides) {
        let mut to = stride;
        for each in axis.iter().rev().filter(|each| each.size != 1) {
            loops.push(CopyLoop { size: each.size, from: each.stride, to });
            to = to.saturating_mul(each.size);
        }
    }
    loops.sort_by_key(|each| std::cmp::Reverse(each.to));
    // Neighbours that are one long run on both sides are one loop.
    let mut merged: Vec<CopyLoop> = Vec::new();
    for inner in loops {
        match merged.last_mut() {
            Some(outer) if outer.from == inner.from * inner.size && outer.to == inner.to * inner.size => {
                *outer = CopyLoop { size: outer.size * inner.size, ..inner };
            }
            _ => merged.push(inner),
        }
    }
    merged
}

/// Calls `work` with the place on the reading and on the writing side for every number.
pub fn walk(loops: &[CopyLoop], from: usize, to: usize, work: &mut impl FnMut(usize, usize)) {
    let Some((each, rest)) = loops.split_first() else { return work(from, to) };
    for index in 0..each.size {
        walk(rest, from + index * each.from, to + index * each.to, work);
    }
}

/// The product of a shape's sizes, unless that is absurd or there are too many axes.
pub fn shape_elements(shape: &[usize]) -> Option<usize> {
    elements(shape).filter(|_| shape.len() <= MOST_AXES)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    /// All numbers of a view in the model's own order.
    fn numbers(view: &View) -> Vec<usize> {
        let loops = view.axes.iter().flatten();
        loops.fold(vec![view.offset], |places, each| {
            places.iter().flat_map(|place| (0..each.size).map(move |index| place + index * each.stride)).collect()
        })
    }

    #[test]
    fn a_channel_shuffle_is_a_view() {
        let image = View::whole(0, &[1, 6, 1, 2], &standard_strides(&[1, 6, 1, 2]));
        let hands = image.reshape(&[1, 2, 3, 1, 2]).unwrap().transpose(&[0, 2, 1, 3, 4]).unwrap();
        let shuffled = hands.reshape(&[1, 6, 1, 2]).unwrap();
        assert_eq!(numbers(&shuffled), [0, 6, 3, 9, 1, 7, 4, 10, 2, 8, 5, 11]);
        assert!(shuffled.slice(1, 0, 2, 1).is_some() && shuffled.slice(1, 0, 3, 1).is_none());
    }

    proptest! {
        #[test]
        fn views_hold_the_numbers_that_the_operators_define(
            shape in proptest::collection::vec(1usize..5, 1..5), seed in any::<u64>()
        ) {
            let total: usize = shape.iter().product();
            let view = View::whole(0, &shape, &row_major_strides(&shape));
            prop_assert_eq!(numbers(&view), (0..total).collect::<Vec<_>>());
            let mut order: Vec<usize> = (0..shape.len()).collect();
            order.rotate_left(seed as usize % shape.len());
            let turned = view.transpose(&order).unwrap();
            // A flat view has the same numbers, and a copy along its loops puts each where it belongs.
            let flat = turned.reshape(&[total]).unwrap();
            prop_assert_eq!(numbers(&flat), numbers(&turned));
            let turned_shape = turned.shape();
            let mut copied = vec![usize::MAX; total];
            let loops = copy_loops(&turned, &row_major_strides(&turned_shape));
            let places = loops.iter().fold(vec![(turned.offset, 0)], |places, each| {
                places.iter().flat_map(|(from, to)| {
                    (0..each.size).map(move |index| (from + index * each.from, to + index * each.to))
                }).collect()
            });
            places.iter().for_each(|&(from, to)| copied[to] = from);
            prop_assert_eq!(&copied, &numbers(&turned));
            let axis = seed as usize % turned_shape.len();
            let half = turned_shape[axis].div_ceil(2);
            let cut = turned.slice(axis, turned_shape[axis] - half, half, 1).unwrap();
            let inner: usize = turned_shape[axis + 1..].iter().product();
            let wanted: Vec<usize> = numbers(&turned).chunks(turned_shape[axis] * inner)
                .flat_map(|chunk| chunk[(turned_shape[axis] - half) * inner..].to_vec()).collect();
            prop_assert_eq!(numbers(&cut), wanted);
        }
    }
}
