//! A softmax at the end of a classifier is left out: the gate takes logits and applies its own, with a temperature, and
//! the softmax of a softmax would make every model look unsure.

use tract_onnx::pb;

use crate::onnx::qualified;

/// Makes the input of a last softmax over the classes the output of the graph, also where the softmax is quantised.
/// Gives its name.
pub(crate) fn leave_out(graph: &mut pb::GraphProto) -> Option<String> {
    let [output] = graph.output.as_slice() else { return None };
    let mut chain = vec![maker(graph, &output.name)?];
    while let Some(&last) = chain.last()
        && matches!(graph.node.get(last)?.op_type.as_str(), "DequantizeLinear" | "QuantizeLinear")
        && chain.len() < 3
    {
        chain.push(maker(graph, graph.node.get(last)?.input.first()?)?);
    }
    let (&softmax, behind) = chain.split_last()?;
    let node = graph.node.get(softmax)?;
    let reads = |name: &String| {
        let nodes = graph.node.iter().flat_map(|node| &node.input);
        nodes.filter(|each| *each == name).count()
    };
    // Nobody else reads what goes: the last output is the graph's, the others are each read by the next.
    let outputs = chain.iter().filter_map(|&at| graph.node.get(at)?.output.first());
    let alone = outputs.enumerate().all(|(at, name)| reads(name) == usize::from(at > 0));
    if !alone || !is_over_classes(output, node) {
        return None;
    }
    let name =
        format!("{} '{}'", qualified(node), if node.name.is_empty() { node.output.first()? } else { &node.name });
    match (node.op_type.as_str(), behind) {
        ("Softmax", _) => {
            let logits = node.input.first()?.clone();
            graph.output.first_mut()?.name = logits;
        }
        // Its dequantisation becomes that of its input.
        ("QLinearSoftmax", &[dequantise]) => {
            let inputs: Vec<String> = node.input.iter().take(3).cloned().collect();
            graph.node.get_mut(dequantise)?.input = inputs;
            chain.retain(|&at| at == softmax);
        }
        _ => return None,
    }
    chain.sort_unstable();
    chain.into_iter().rev().for_each(|at| drop(graph.node.remove(at)));
    Some(name)
}

fn maker(graph: &pb::GraphProto, name: &str) -> Option<usize> {
    graph.node.iter().position(|node| node.output.iter().any(|each| each == name))
}

/// Whether the axis is that of the classes: the second, which is also the last where the output has two axes.
fn is_over_classes(output: &pb::ValueInfoProto, node: &pb::NodeProto) -> bool {
    let axis = node.attribute.iter().find(|attribute| attribute.name == "axis").map(|attribute| attribute.i);
    let tensor = output.r#type.as_ref().and_then(|kind| kind.value.as_ref());
    let axes = tensor.map_or(0, |pb::type_proto::Value::TensorType(t)| t.shape.as_ref().map_or(0, |s| s.dim.len()));
    match axis {
        Some(1) => true,
        None | Some(-1) => matches!(axes, 0 | 2),
        _ => false,
    }
}
