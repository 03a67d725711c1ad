//! Small quantised networks out of bytes: one to three layers of any size, in both forms that quantisers write.

use tract_onnx::pb;

/// Reads bytes; zeros follow their end.
pub struct Bytes<'a>(pub &'a [u8]);

impl Bytes<'_> {
    pub fn next(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// A number from 1 to `most`.
    fn size(&mut self, most: u8) -> i64 {
        i64::from(self.next() % most) + 1
    }
}

/// A quantised tensor: its bytes, scale and zero point, by name, and its channels.
#[derive(Clone)]
struct Value {
    names: [String; 3],
    channels: i64,
}

#[derive(Default)]
struct Net {
    graph: pb::GraphProto,
    made: usize,
}

fn ints(name: &str, ints: &[i64]) -> pb::AttributeProto {
    pb::AttributeProto { name: name.into(), r#type: 7, ints: ints.to_vec(), ..Default::default() }
}

fn int(name: &str, i: i64) -> pb::AttributeProto {
    pb::AttributeProto { name: name.into(), r#type: 2, i, ..Default::default() }
}

impl Net {
    fn constant(&mut self, data_type: i32, dims: &[i64], raw_data: Vec<u8>) -> String {
        let name = format!("constant{}", self.graph.initializer.len());
        let tensor =
            pb::TensorProto { name: name.clone(), data_type, dims: dims.to_vec(), raw_data, ..Default::default() };
        self.graph.initializer.push(tensor);
        name
    }

    fn op(&mut self, kind: &str, input: &[String], attribute: Vec<pb::AttributeProto>) -> String {
        self.made += 1;
        let output = format!("value{}", self.made);
        let domain = if kind.starts_with("QLinearA") { "com.microsoft".into() } else { String::new() };
        let node = pb::NodeProto {
            op_type: kind.into(),
            domain,
            input: input.to_vec(),
            output: vec![output.clone()],
            attribute,
            ..Default::default()
        };
        self.graph.node.push(node);
        output
    }

    /// A scale (from 2^-8 to 2^-1, in odd steps) and a zero point, of an activation.
    fn quant(&mut self, bytes: &mut Bytes<'_>) -> [String; 2] {
        let (scale, zero) = (bytes.next(), bytes.next());
        let scale = 2f32.powi(-1 - i32::from(scale >> 5)) * (1.0 + f32::from(scale & 31) / 37.0);
        [self.constant(1, &[], scale.to_le_bytes().to_vec()), self.constant(2, &[], vec![zero])]
    }

    fn quantise(&mut self, real: String, bytes: &mut Bytes<'_>, channels: i64) -> Value {
        let [scale, zero] = self.quant(bytes);
        let steps = self.op("QuantizeLinear", &[real, scale.clone(), zero.clone()], vec![]);
        Value { names: [steps, scale, zero], channels }
    }

    fn real(&mut self, value: &Value) -> String {
        self.op("DequantizeLinear", &value.names, vec![])
    }

    /// Weights, their scales (one, or one a channel) and zero points; and a bias. Extremes are frequent.
    fn weights(&mut self, bytes: &mut Bytes<'_>, dims: &[i64; 4]) -> [String; 4] {
        let (kind, mut state) = (bytes.next(), u32::from(bytes.next()) * 2_654_435 + 1);
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let weight =
            |byte: u8| if byte.is_multiple_of(7) { [0x80, 0x7f, 0xff, 0][usize::from(byte >> 6)] } else { byte };
        let count = usize::try_from(dims.iter().product::<i64>()).unwrap_or(0);
        let raw = (0..count).map(|_| weight(random())).collect();
        let (unsigned, channels) = (kind & 1 == 1, if kind & 2 == 2 { dims[0] } else { 1 });
        let axes = if kind & 2 == 2 { vec![channels] } else { vec![] };
        let scales =
            (0..channels).flat_map(|_| (2f32.powi(-4 - i32::from(random() >> 5)) * 1.1).to_le_bytes()).collect();
        let zero = if unsigned { random() } else { 0 };
        let data_type = if unsigned { 2 } else { 3 };
        let bias = (0..dims[0]).flat_map(|_| ((i32::from(random()) - 128) << (kind >> 4)).to_le_bytes()).collect();
        [
            self.constant(data_type, dims, raw),
            self.constant(1, &axes, scales),
            self.constant(data_type, &axes, vec![zero; usize::try_from(channels).unwrap_or(0)]),
            self.constant(6, &[dims[0]], bias),
        ]
    }

    /// Dense, grouped or depthwise, with any window that is small.
    fn convolution(&mut self, bytes: &mut Bytes<'_>, from: &Value) -> Value {
        let kind = bytes.next();
        let (group, channels) = match kind % 4 {
            0 | 1 => (1, bytes.size(48)),
            2 => (from.channels, from.channels * if kind & 64 == 64 { 2 } else { 1 }),
            _ if from.channels % 2 == 0 => (2, 2 * bytes.size(12)),
            _ => (1, bytes.size(80)),
        };
        let kernel = if kind & 8 == 8 { [1, 1] } else { [bytes.size(5), bytes.size(5)] };
        let (strides, pads) = (bytes.next(), bytes.next());
        let pad = |shift: u8, most: i64| i64::from(pads >> shift & 3).min(most - 1);
        let [up, left, down, right] = [pad(0, kernel[0]), pad(2, kernel[1]), pad(4, kernel[0]), pad(6, kernel[1])];
        let stride = |shift: u8| i64::from(strides >> shift & 3).clamp(1, 3);
        let attributes = vec![
            int("group", group),
            ints("kernel_shape", &kernel),
            ints("strides", &[stride(0), stride(2)]),
            ints("dilations", &[stride(4).min(2), stride(6).min(2)]),
            ints("pads", &[up, left, down, right]),
        ];
        let [weights, scales, zeros, bias] =
            self.weights(bytes, &[channels, from.channels / group, kernel[0], kernel[1]]);
        if kind & 16 == 16 {
            let [scale, zero] = self.quant(bytes);
            let input = [&from.names[..], &[weights, scales, zeros, scale.clone(), zero.clone(), bias]].concat();
            let steps = self.op("QLinearConv", &[&input[..1], &input[1..]].concat(), attributes);
            return Value { names: [steps, scale, zero], channels };
        }
        let (input, axis) = (self.real(from), int("axis", 0));
        let filters = self.op("DequantizeLinear", &[weights, scales, zeros], vec![axis]);
        // The bias would need the product of the scales; the quantisers' files in tests/data have it.
        let mut real = self.op("Conv", &[input, filters], attributes);
        if let Some(activation) = ["Relu", "HardSwish", "Sigmoid"].get(usize::from(kind >> 5 & 3)) {
            real = self.op(activation, &[real], vec![]);
        }
        self.quantise(real, bytes, channels)
    }

    fn pool(&mut self, bytes: &mut Bytes<'_>, from: &Value, kind: &str) -> Value {
        let input = self.real(from);
        let (side, stride) = (bytes.size(4), bytes.size(3));
        let window = vec![ints("kernel_shape", &[side, side]), ints("strides", &[stride, stride])];
        let real = self.op(kind, &[input], if kind.starts_with("Global") { vec![] } else { window });
        self.quantise(real, bytes, from.channels)
    }

    fn layer(&mut self, bytes: &mut Bytes<'_>, values: &[Value]) -> Option<Value> {
        let from = values.last()?.clone();
        let other = values.get(usize::from(bytes.next()) % values.len())?.clone();
        Some(match bytes.next() % 12 {
            0 => self.pool(bytes, &from, "MaxPool"),
            1 => self.pool(bytes, &from, "AveragePool"),
            2 => self.pool(bytes, &from, "GlobalAveragePool"),
            3 | 4 => {
                let (kind, channels) = if other.channels == from.channels && bytes.next() & 1 == 0 {
                    (["Add", "Mul"][usize::from(bytes.next() & 1)], from.channels)
                } else {
                    ("Concat", from.channels + other.channels)
                };
                let inputs = [self.real(&from), self.real(&other)];
                let real = self.op(kind, &inputs, if kind == "Concat" { vec![int("axis", 1)] } else { vec![] });
                self.quantise(real, bytes, channels)
            }
            _ => self.convolution(bytes, &from),
        })
    }
}

fn port(name: &str, sizes: &[i64]) -> pb::ValueInfoProto {
    use pb::tensor_shape_proto::{Dimension, dimension::Value};
    let dim = |&size: &i64| Dimension { value: (size > 0).then_some(Value::DimValue(size)), ..Default::default() };
    let shape = Some(pb::TensorShapeProto { dim: sizes.iter().map(dim).collect() });
    let tensor = pb::type_proto::Value::TensorType(pb::type_proto::Tensor { elem_type: 1, shape });
    let kind = pb::TypeProto { value: Some(tensor), ..Default::default() };
    pb::ValueInfoProto { name: name.into(), r#type: Some(kind), ..Default::default() }
}

/// A classifier whose layers, sizes and constants the bytes say.
pub fn model(bytes: &mut Bytes<'_>) -> pb::ModelProto {
    let mut net = Net::default();
    net.graph.input = vec![port("input", &[1, 3, bytes.size(11), bytes.size(11)])];
    let mut values = vec![net.quantise("input".into(), bytes, 3)];
    for _ in 0..bytes.size(3) {
        values.extend(net.layer(bytes, &values));
    }
    if let Some(last) = values.last() {
        let real = net.real(last);
        let flat = net.op("Flatten", &[real], vec![int("axis", 1)]);
        let steps = net.op("QuantizeLinear", &[flat, last.names[1].clone(), last.names[2].clone()], vec![]);
        let logits = net.op("DequantizeLinear", &[steps, last.names[1].clone(), last.names[2].clone()], vec![]);
        net.graph.output = vec![port(&logits, &[1, 0])];
    }
    let opset = |domain: &str, version| pb::OperatorSetIdProto { domain: domain.into(), version };
    let opset_import = vec![opset("", 14), opset("com.microsoft", 1)];
    pb::ModelProto { ir_version: 8, opset_import, graph: Some(net.graph), ..Default::default() }
}
