//! A part of an ONNX graph that tract runs in f32 for the int8 backend.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tract_onnx::pb;
use tract_onnx::prelude::*;

use crate::error::{InferError, LoadError};
use crate::tract;

/// A part of a graph, compiled: any number of inputs and outputs, all f32 of known sizes.
#[derive(Clone)]
pub(crate) struct Program {
    plan: Arc<TypedSimplePlan>,
    input_shapes: Vec<Vec<usize>>,
    output_shapes: Vec<Vec<usize>>,
    macs: u64,
}

/// What a program needs while it runs.
pub(crate) struct ProgramState {
    state: TypedSimpleState,
}

impl Program {
    /// Compiles `model` for inputs of the given shapes, in the model's order.
    pub fn compile(path: &Path, model: &pb::ModelProto, input_shapes: Vec<Vec<usize>>) -> Result<Self, LoadError> {
        tract::guarded(path, || {
            let refuse = |error: TractError| tract::graph_error(path, &error);
            let typed = tract::typed_for(model, &input_shapes).map_err(refuse)?;
            let macs = tract::macs(&typed).map_err(refuse)?;
            let output_shapes = shapes_of(&typed).map_err(|detail| LoadError::Graph { path: path.into(), detail })?;
            let plan = typed.into_optimized().and_then(TypedModel::into_runnable).map_err(refuse)?;
            Ok(Self { plan, input_shapes, output_shapes, macs })
        })
    }

    /// Sizes of the axes of each output.
    pub fn output_shapes(&self) -> &[Vec<usize>] {
        &self.output_shapes
    }

    /// Multiply-accumulates of one run.
    pub fn macs(&self) -> u64 {
        self.macs
    }

    /// What a run needs; made once.
    pub fn state(&self) -> Result<ProgramState, InferError> {
        Ok(ProgramState { state: self.plan.spawn().map_err(failed)? })
    }

    /// Runs once. `input` fills the input of the given index; `output` is given each output's numbers.
    pub fn run(
        &self,
        state: &mut ProgramState,
        mut input: impl FnMut(usize, &mut [f32]),
        mut output: impl FnMut(usize, &[f32]),
    ) -> Result<(), InferError> {
        let mut inputs = tvec!();
        for (index, shape) in self.input_shapes.iter().enumerate() {
            let mut tensor = Tensor::zero::<f32>(shape).map_err(failed)?;
            let mut view = tensor.to_plain_array_view_mut::<f32>().map_err(failed)?;
            if let Some(numbers) = view.as_slice_mut() {
                input(index, numbers);
            }
            inputs.push(tensor.into_tvalue());
        }
        let outputs = tract::guarded_run(&mut state.state, |state| state.run(inputs))?;
        for (index, tensor) in outputs.iter().enumerate() {
            let view = tensor.to_plain_array_view::<f32>().map_err(failed)?;
            match view.as_slice() {
                Some(numbers) => output(index, numbers),
                None => output(index, &view.iter().copied().collect::<Vec<f32>>()),
            }
        }
        Ok(())
    }
}

fn shapes_of(model: &TypedModel) -> Result<Vec<Vec<usize>>, String> {
    let shape = |index: usize| {
        let fact = model.output_fact(index).map_err(|error| format!("{error:#}"))?;
        let shape = fact.shape.as_concrete().filter(|_| fact.datum_type == f32::datum_type());
        shape.map(<[usize]>::to_vec).ok_or_else(|| format!("an output is {:?} {:?}", fact.datum_type, fact.shape))
    };
    (0..model.outputs.len()).map(shape).collect()
}

fn failed(error: TractError) -> InferError {
    InferError::Backend(format!("{error:#}"))
}

impl fmt::Debug for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Program {:?} -> {:?}", self.input_shapes, self.output_shapes)
    }
}

impl fmt::Debug for ProgramState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ProgramState")
    }
}
