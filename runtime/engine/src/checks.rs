//! What must hold of every graph before anything is made of it: bounds on its size, an order without cycles, constants
//! that hold what their shapes say, scales that are step widths. Neither backend is given a graph that fails here.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb;

use crate::onnx::qualified;

/// Most nodes of a graph, subgraphs included; the largest classifiers have a few thousand.
const MOST_NODES: usize = 20_000;
/// Most inputs or outputs of one node; DenseNet joins about sixty tensors.
const MOST_PORTS: usize = 1024;
/// Most constants beside nodes.
const MOST_CONSTANTS: usize = 50_000;
/// Deepest nesting of subgraphs.
const DEEPEST: usize = 4;
/// Most numbers of one constant.
const MOST_ELEMENTS: u64 = 1 << 28;
/// Most numbers that a node may make of constants alone.
const MOST_MADE: u64 = 1 << 26;

/// Checks a graph; the error names what is wrong, without the file.
pub(crate) fn check(graph: &pb::GraphProto) -> Result<(), String> {
    check_counts(graph, 0)?;
    check_order(graph)?;
    let initializers = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor));
    let written = graph.node.iter().filter(|node| node.op_type == "Constant").filter_map(|node| {
        let tensor = node.attribute.iter().find_map(|attribute| attribute.t.as_ref())?;
        Some((node.output.first()?.as_str(), tensor))
    });
    let constants: Constants<'_> = initializers.chain(written).collect();
    let attributes = graph.node.iter().flat_map(|node| &node.attribute).filter_map(|attribute| attribute.t.as_ref());
    graph.initializer.iter().chain(attributes).try_for_each(check_constant)?;
    graph.node.iter().try_for_each(|node| check_scales(&constants, node))?;
    check_made(graph, &constants)
}

/// Constants by name, those of Constant nodes included.
type Constants<'a> = HashMap<&'a str, &'a pb::TensorProto>;

fn named(node: &pb::NodeProto) -> String {
    let first = node.output.first().map_or("", String::as_str);
    format!("{} '{}'", qualified(node), if node.name.is_empty() { first } else { &node.name })
}

/// Sizes of the graph, without recursion deeper than is believed.
fn check_counts(graph: &pb::GraphProto, depth: usize) -> Result<usize, String> {
    if depth > DEEPEST {
        return Err(format!("subgraphs are nested more than {DEEPEST} deep"));
    }
    let mut nodes = graph.node.len();
    for node in &graph.node {
        if node.input.len().max(node.output.len()) > MOST_PORTS {
            let (inputs, outputs) = (node.input.len(), node.output.len());
            return Err(format!("{} has {inputs} inputs and {outputs} outputs; at most {MOST_PORTS}", named(node)));
        }
        let graphs = node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
        for inner in graphs {
            nodes += check_counts(inner, depth + 1)?;
        }
    }
    if nodes > MOST_NODES || graph.initializer.len() > MOST_CONSTANTS {
        return Err(format!(
            "{nodes} nodes and {} constants; at most {MOST_NODES} and {MOST_CONSTANTS}",
            graph.initializer.len()
        ));
    }
    Ok(nodes)
}

/// Every node reads what came before it, and nothing is made twice.
fn check_order<'a>(graph: &'a pb::GraphProto) -> Result<(), String> {
    let mut known: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    known.extend(graph.input.iter().map(|input| input.name.as_str()));
    for node in &graph.node {
        let missing = |name: &&'a String| !name.is_empty() && !known.contains(name.as_str());
        if let Some(name) = node.input.iter().find(missing) {
            return Err(format!(
                "{} reads '{name}', which no earlier node makes (a cycle, or nodes out of order)",
                named(node)
            ));
        }
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if !known.insert(name) {
                return Err(format!("{} makes '{name}', which is there already", named(node)));
            }
        }
    }
    match graph.output.iter().find(|output| !known.contains(output.name.as_str())) {
        _ if graph.output.is_empty() => Err("it has no output".into()),
        Some(output) => Err(format!("output '{}' is made by no node", output.name)),
        None => Ok(()),
    }
}

/// The numbers of a tensor by its sizes; `None` where a size is negative or the product is absurd.
fn numbers(tensor: &pb::TensorProto) -> Option<u64> {
    let product = tensor.dims.iter().try_fold(1u64, |product, &size| product.checked_mul(u64::try_from(size).ok()?));
    product.filter(|&product| product <= MOST_ELEMENTS)
}

fn check_constant(tensor: &pb::TensorProto) -> Result<(), String> {
    // By ONNX's codes: bytes of a number, and how many the typed field holds.
    let (bytes, typed) = match tensor.data_type {
        1 => (4, tensor.float_data.len()),
        2 | 3 | 9 => (1, tensor.int32_data.len()),
        4 | 5 | 10 | 16 => (2, tensor.int32_data.len()),
        6 => (4, tensor.int32_data.len()),
        7 => (8, tensor.int64_data.len()),
        8 => (0, tensor.string_data.len()),
        11 => (8, tensor.double_data.len()),
        12 => (4, tensor.uint64_data.len()),
        13 => (8, tensor.uint64_data.len()),
        other => return Err(format!("constant '{}' is of type {other}, which is not known here", tensor.name)),
    };
    let wanted = numbers(tensor).ok_or_else(|| format!("constant '{}' is {:?}", tensor.name, tensor.dims))?;
    let raw = tensor.raw_data.len();
    let held = if raw == 0 { typed } else { raw.checked_div(bytes).unwrap_or(0) };
    if held as u64 == wanted && (raw == 0 || raw == held * bytes) {
        Ok(())
    } else {
        Err(format!("constant '{}' is {:?} but holds {held} numbers", tensor.name, tensor.dims))
    }
}

/// Scales of quantised operators are finite and positive.
fn check_scales(constants: &Constants<'_>, node: &pb::NodeProto) -> Result<(), String> {
    let op = node.op_type.as_str();
    let places: &[usize] = match op {
        "QuantizeLinear" | "DequantizeLinear" => &[1],
        "QLinearConv" | "QLinearMatMul" | "QLinearAdd" | "QLinearMul" => &[1, 4, 6],
        "QGemm" => &[1, 4, 7],
        _ if op.starts_with("QLinear") && op != "QLinearConcat" => &[1, 3],
        _ => return Ok(()),
    };
    for name in places.iter().filter_map(|&place| node.input.get(place)) {
        let Some(tensor) = constants.get(name.as_str()) else { continue };
        let raw = tensor.raw_data.chunks_exact(4).filter_map(|word| word.try_into().ok()).map(f32::from_le_bytes);
        let reals = tensor.float_data.iter().copied().chain(raw);
        if tensor.data_type == 1
            && let Some(scale) = reals.into_iter().find(|scale| !(scale.is_finite() && *scale > 0.0))
        {
            return Err(format!("{}: a scale of {scale} is no step width", named(node)));
        }
    }
    Ok(())
}

/// What a backend would work out of constants alone before the first frame must be of a size that can be told from the
/// file: a few bytes must not make gigabytes.
fn check_made(graph: &pb::GraphProto, constants: &Constants<'_>) -> Result<(), String> {
    let mut sizes: HashMap<&str, u64> =
        graph.initializer.iter().map(|tensor| (tensor.name.as_str(), numbers(tensor).unwrap_or(u64::MAX))).collect();
    for node in &graph.node {
        let inputs = node.input.iter().filter(|name| !name.is_empty()).map(|name| sizes.get(name.as_str()).copied());
        let Some(inputs) = inputs.collect::<Option<Vec<u64>>>() else { continue };
        let made = match node.op_type.as_str() {
            "Constant" => node.attribute.iter().filter_map(|attribute| attribute.t.as_ref()).filter_map(numbers).sum(),
            "ConstantOfShape" | "Expand" | "Tile" | "Range" | "OneHot" | "EyeLike" | "Pad" | "Resize" | "Upsample"
            | "ConvTranspose" | "Conv" | "RandomNormal" | "RandomUniform" | "MaxUnpool" | "Col2Im" => {
                stated(constants, node)?
            }
            "QuantizeLinear" | "DequantizeLinear" | "Cast" | "Identity" | "Reshape" | "Transpose" | "Squeeze"
            | "Unsqueeze" | "Flatten" | "Slice" | "Shape" | "Clip" | "BatchNormalization" => {
                inputs.iter().copied().max().unwrap_or(0)
            }
            "Concat" => inputs.iter().copied().fold(0, u64::saturating_add),
            // Products cover broadcasting and matrix products.
            _ => inputs.iter().copied().fold(1u64, |product, size| product.saturating_mul(size.max(1))),
        };
        if made > MOST_MADE {
            return Err(format!("{} would make more than {MOST_MADE} numbers of constants", named(node)));
        }
        sizes.extend(node.output.iter().map(|name| (name.as_str(), made)));
    }
    Ok(())
}

/// The size that a node's constant shape states, where it is written in the file and small.
fn stated(constants: &Constants<'_>, node: &pb::NodeProto) -> Result<u64, String> {
    let unknown = || {
        format!(
            "{} makes numbers of constants alone, of a size that is not written in the file; simplify the model (onnxsim)",
            named(node)
        )
    };
    let place = match node.op_type.as_str() {
        "ConstantOfShape" => 0,
        "Expand" => 1,
        _ => return Err(unknown()),
    };
    let name = node.input.get(place).ok_or_else(unknown)?;
    let tensor = constants.get(name.as_str()).filter(|tensor| tensor.data_type == 7).ok_or_else(unknown)?;
    let raw = tensor.raw_data.chunks_exact(8).filter_map(|word| word.try_into().ok()).map(i64::from_le_bytes);
    let sizes = tensor.int64_data.iter().copied().chain(raw);
    let product = sizes.map(i64::unsigned_abs).fold(1u64, |product, size| product.saturating_mul(size.max(1)));
    Ok(product)
}
