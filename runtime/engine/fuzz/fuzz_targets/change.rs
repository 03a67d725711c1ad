//! One change of a graph: attributes, weights, scales, zero points, shapes, operators or wiring.

use tract_onnx::pb;

/// Operators that one may be exchanged for.
const OPERATORS: [&str; 16] = [
    "Relu",
    "Clip",
    "Add",
    "Mul",
    "Sub",
    "Div",
    "Sigmoid",
    "HardSwish",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "Flatten",
    "Identity",
    "Concat",
    "Transpose",
    "LeakyRelu",
];

/// One change: what, where, which part of it, to what.
pub fn change(graph: &mut pb::GraphProto, &[what, at, part, to]: &[u8; 4]) {
    let (at, part) = (usize::from(at), usize::from(part));
    let names: Vec<String> = graph.node.iter().flat_map(|node| node.output.iter().cloned()).collect();
    let (nodes, constants) = (graph.node.len(), graph.initializer.len());
    if nodes == 0 || constants == 0 {
        return;
    }
    let node = &mut graph.node[at % nodes];
    let constant = &mut graph.initializer[(at + 256 * part / 64) % constants];
    match what % 8 {
        0 => {
            let ints = node.attribute.iter_mut().flat_map(|attribute| attribute.ints.iter_mut());
            ints.skip(part % 8).take(1).for_each(|int| *int = i64::from(to.cast_signed()));
        }
        1 => {
            let attributes = node.attribute.iter_mut().skip(part % 8).take(1);
            attributes
                .for_each(|attribute| (attribute.i, attribute.f) = (i64::from(to.cast_signed()), f32::from(to) / 16.0));
        }
        2 => node.op_type = OPERATORS[usize::from(to) % OPERATORS.len()].into(),
        3 => {
            let inputs = node.input.len().max(1);
            node.input
                .iter_mut()
                .skip(part % inputs)
                .take(1)
                .for_each(|name| *name = names[usize::from(to) % names.len()].clone());
        }
        4 => {
            let bytes = constant.raw_data.len().max(1);
            constant
                .raw_data
                .iter_mut()
                .skip(part * 31 % bytes)
                .take(1 + usize::from(to) / 32)
                .for_each(|byte| *byte = to);
        }
        5 if constant.data_type == 1 && constant.dims.iter().product::<i64>() == 1 => {
            // Scales from far too small to far too large.
            let scale = 2f32.powi(i32::from(to.cast_signed())) * (1.0 + part as f32 / 256.0);
            (constant.raw_data, constant.float_data) = (scale.to_le_bytes().to_vec(), Vec::new());
        }
        6 if matches!(constant.data_type, 2 | 3) => {
            let shift = |byte: &mut u8| *byte = byte.wrapping_add(to);
            constant.raw_data.iter_mut().step_by(1 + part).for_each(shift);
        }
        7 => {
            constant.dims.iter_mut().skip(part % 4).take(1).for_each(|size| *size = i64::from(to.cast_signed()));
        }
        _ => {}
    }
}
