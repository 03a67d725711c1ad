//! Operators that only name numbers in another order: each makes another view of the same bytes.

use super::{Compiler, Operand, Value, axis};
use crate::int8::graph::{Node, Unsupported};
use crate::int8::view::{MOST_AXES, View, row_major_strides, shape_elements};

impl<'a> Compiler<'a> {
    /// Reshape, Flatten, Squeeze and Unsqueeze.
    pub(super) fn reshape(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let (operand, kind) = self.tensor(node, 0)?;
        let shape = self.shape(operand);
        let wanted = match node.op() {
            "Reshape" => self.reshaped(node, &shape)?,
            "Flatten" => flattened(node, &shape)?,
            _ => self.squeezed(node, &shape)?,
        };
        if shape_elements(&wanted).is_none() || shape_elements(&wanted) != shape_elements(&shape) {
            return Err(node.refuse(format!("it makes {wanted:?} of {shape:?}")));
        }
        let view = match self.view(operand).reshape(&wanted) {
            Some(view) => view,
            None => {
                self.row_major(node, operand)?.reshape(&wanted).ok_or_else(|| node.refuse("its shape is absurd"))?
            }
        };
        Ok(kind(Operand { view: self.add_view(view), quant: operand.quant }))
    }

    /// A copy in the model's own order, which can be cut anywhere.
    fn row_major(&mut self, node: Node<'a>, operand: Operand) -> Result<View, Unsupported> {
        let view = self.view(operand);
        let shape = view.shape();
        let (tensor, _) = self.new_tensor(node, &shape, operand.quant)?;
        let strides = row_major_strides(&shape);
        self.push_copy(node, &view, (tensor, 0), &strides, None)?;
        Ok(View::whole(tensor, &shape, &strides))
    }

    fn reshaped(&self, node: Node<'a>, shape: &[usize]) -> Result<Vec<usize>, Unsupported> {
        let constant = self.constant(node, 1)?.ok_or_else(|| node.refuse("its shape is missing"))?;
        let numbers = constant.integers().map_err(|why| node.refuse(why))?;
        let refuse = || node.refuse(format!("it makes {numbers:?} of {shape:?}"));
        if numbers.len() > MOST_AXES || numbers.iter().filter(|&&size| size == -1).count() > 1 {
            return Err(refuse());
        }
        let copies_zero = node.int("allowzero", 0) == 0;
        let size = |(at, &number): (usize, &i64)| match number {
            0 if copies_zero => shape.get(at).copied(),
            -1 => Some(1),
            size => usize::try_from(size).ok(),
        };
        let mut wanted: Vec<usize> = numbers.iter().enumerate().map(size).collect::<Option<_>>().ok_or_else(refuse)?;
        let (whole, known) = (shape_elements(shape), shape_elements(&wanted));
        let rest = whole.zip(known).and_then(|(whole, known)| whole.checked_div(known)).ok_or_else(refuse)?;
        for (size, _) in wanted.iter_mut().zip(&numbers).filter(|(_, number)| **number == -1) {
            *size = rest;
        }
        Ok(wanted)
    }

    fn squeezed(&self, node: Node<'a>, shape: &[usize]) -> Result<Vec<usize>, Unsupported> {
        let adds = node.op() == "Unsqueeze";
        let axes = match self.constant(node, 1)? {
            Some(constant) => Some(constant.integers().map_err(|why| node.refuse(why))?),
            None => node.ints("axes").map(<[i64]>::to_vec),
        };
        let Some(axes) = axes.filter(|axes| axes.len() <= MOST_AXES) else {
            let rest = shape.iter().copied().filter(|&size| size != 1).collect();
            return if adds { Err(node.refuse("its axes are missing")) } else { Ok(rest) };
        };
        let rank = if adds { shape.len() + axes.len() } else { shape.len() };
        let chosen: Option<Vec<usize>> = axes.iter().map(|&each| axis(each, rank)).collect();
        let mut chosen = chosen.ok_or_else(|| node.refuse(format!("axes {axes:?} of {shape:?}")))?;
        chosen.sort_unstable();
        chosen.dedup();
        let fits = adds || chosen.iter().all(|&each| shape.get(each) == Some(&1));
        if !fits || chosen.len() != axes.len() {
            return Err(node.refuse(format!("axes {axes:?} of {shape:?}")));
        }
        let mut left = shape.iter().copied();
        Ok((0..rank)
            .filter_map(|each| match (adds, chosen.contains(&each)) {
                (true, true) => Some(1),
                (false, true) => left.next().and(None),
                (_, false) => left.next(),
            })
            .collect())
    }

    pub(super) fn transpose(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let (operand, kind) = self.tensor(node, 0)?;
        let view = self.view(operand);
        let order: Option<Vec<usize>> = match node.ints("perm") {
            Some(order) => order.iter().map(|&each| usize::try_from(each).ok()).collect(),
            None => Some((0..view.axes.len()).rev().collect()),
        };
        let turned = order.and_then(|order| view.transpose(&order));
        let turned = turned.ok_or_else(|| node.refuse(format!("perm {:?}", node.ints("perm"))))?;
        Ok(kind(Operand { view: self.add_view(turned), quant: operand.quant }))
    }

    pub(super) fn split(&mut self, node: Node<'a>) -> Result<Vec<Value<'a>>, Unsupported> {
        let (operand, kind) = self.tensor(node, 0)?;
        let shape = self.shape(operand);
        let at = axis(node.int("axis", 0), shape.len()).ok_or_else(|| node.refuse("its axis"))?;
        let length = shape.get(at).copied().unwrap_or(0);
        let parts = node.outputs().len();
        let stated = match self.constant(node, 1)? {
            Some(constant) => Some(constant.integers().map_err(|why| node.refuse(why))?),
            None => node.ints("split").map(<[i64]>::to_vec),
        };
        let lengths: Vec<usize> = match stated {
            Some(stated) => super::sizes(&stated).unwrap_or_default(),
            None => {
                let each = length.div_ceil(parts.max(1));
                (0..parts).map(|part| each.min(length.saturating_sub(part * each))).collect()
            }
        };
        let sum = lengths.iter().try_fold(0usize, |sum, &part| sum.checked_add(part));
        if sum != Some(length) || lengths.len() != parts || lengths.contains(&0) {
            return Err(node.refuse(format!("{lengths:?} are no parts of {length}")));
        }
        let mut start = 0;
        let mut values = Vec::with_capacity(parts);
        for part in lengths {
            values.push(kind(self.cut(node, operand, (at, start, part, 1))?));
            start += part;
        }
        Ok(values)
    }

    /// Every `step`th of `count` indices of an axis from `start` on.
    fn cut(
        &mut self,
        node: Node<'a>,
        operand: Operand,
        (at, start, count, step): (usize, usize, usize, usize),
    ) -> Result<Operand, Unsupported> {
        let view = match self.view(operand).slice(at, start, count, step) {
            Some(view) => view,
            None => {
                let whole = self.row_major(node, operand)?;
                whole.slice(at, start, count, step).ok_or_else(|| node.refuse("its slice is absurd"))?
            }
        };
        Ok(Operand { view: self.add_view(view), quant: operand.quant })
    }

    pub(super) fn slice(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        let (mut operand, kind) = self.tensor(node, 0)?;
        let list = |index: usize, name: &str| -> Result<Option<Vec<i64>>, Unsupported> {
            match self.constant(node, index)? {
                Some(constant) => Ok(Some(constant.integers().map_err(|why| node.refuse(why))?)),
                None => Ok(node.ints(name).map(<[i64]>::to_vec)),
            }
        };
        let (starts, ends) = (list(1, "starts")?.unwrap_or_default(), list(2, "ends")?.unwrap_or_default());
        let axes = list(3, "axes")?.unwrap_or_else(|| (0..).take(starts.len()).collect());
        let steps = list(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
        if starts.len() > MOST_AXES || [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            return Err(node.refuse("its starts, ends, axes and steps do not belong together"));
        }
        for (((start, end), each), step) in starts.into_iter().zip(ends).zip(axes).zip(steps) {
            let shape = self.shape(operand);
            let at = axis(each, shape.len()).ok_or_else(|| node.refuse(format!("axis {each}")))?;
            let length = shape.get(at).and_then(|&size| i64::try_from(size).ok()).unwrap_or(0);
            let place = |index: i64| if index < 0 { index.saturating_add(length) } else { index }.clamp(0, length);
            let (start, end) = (place(start), place(end));
            let counted = usize::try_from(end - start).ok().zip(usize::try_from(step).ok().filter(|&step| step > 0));
            let Some((span @ 1.., step)) = counted else {
                return Err(node.refuse(format!("it takes {start}..{end} in steps of {step}")));
            };
            operand = self.cut(node, operand, (at, usize::try_from(start).unwrap_or(0), span.div_ceil(step), step))?;
        }
        Ok(kind(operand))
    }

    /// A Cast from f32 to f32 does nothing.
    pub(super) fn cast(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        match self.value(node, 0)? {
            value @ (Value::Real(_) | Value::Pending(_)) if node.int("to", 0) == i64::from(crate::onnx::FLOAT32) => {
                Ok(value)
            }
            _ => Err(node.refuse("it changes the type")),
        }
    }
}

fn flattened(node: Node<'_>, shape: &[usize]) -> Result<Vec<usize>, Unsupported> {
    let stated = node.int("axis", 1);
    let at = axis(stated, shape.len()).or((usize::try_from(stated) == Ok(shape.len())).then_some(shape.len()));
    let at = at.ok_or_else(|| node.refuse(format!("axis {stated} of {shape:?}")))?;
    let (outer, inner) = shape.split_at_checked(at).unwrap_or((shape, &[]));
    Ok(vec![outer.iter().product(), inner.iter().product()])
}
