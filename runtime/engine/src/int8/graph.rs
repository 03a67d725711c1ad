//! Reads nodes, attributes and constants out of the file, distrusting every number.

use std::borrow::Cow;
use std::rc::Rc;

use tract_onnx::pb;

/// Most elements of one tensor: more is no picture that a saver looks at.
pub const MOST_ELEMENTS: usize = 1 << 26;

/// ONNX's codes for element types.
pub mod element {
    /// float32
    pub const F32: i32 = 1;
    /// uint8
    pub const U8: i32 = 2;
    /// int8
    pub const I8: i32 = 3;
    /// int32
    pub const I32: i32 = 6;
    /// int64
    pub const I64: i32 = 7;
}

/// Why a graph, or one of its nodes, cannot be run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{op} '{node}': {why}")]
pub struct Unsupported {
    /// The operator, with its domain where that is not ONNX's own.
    pub op: String,
    /// The node's name, or that of its first output.
    pub node: String,
    /// What is the matter with it.
    pub why: String,
}

/// The product of sizes, unless it is absurd.
pub fn elements(sizes: &[usize]) -> Option<usize> {
    let product = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size))?;
    (product <= MOST_ELEMENTS).then_some(product)
}

/// A constant of the file, or one that follows from others: its sizes and numbers agree.
#[derive(Debug, Clone)]
pub enum Constant<'a> {
    /// As the file has it.
    Written(&'a pb::TensorProto),
    /// Worked out while compiling.
    Derived(Rc<pb::TensorProto>),
}

impl<'a> Constant<'a> {
    /// Checks that the tensor holds what its sizes say.
    pub fn new(tensor: &'a pb::TensorProto) -> Result<Self, String> {
        let describe = || format!("constant '{}' is {:?} of type {}", tensor.name, tensor.dims, tensor.data_type);
        let sizes: Option<Vec<usize>> = tensor.dims.iter().map(|&size| usize::try_from(size).ok()).collect();
        let length = sizes.as_deref().and_then(elements).ok_or_else(describe)?;
        let (bytes, typed) = match tensor.data_type {
            element::F32 => (4, tensor.float_data.len()),
            element::U8 | element::I8 => (1, tensor.int32_data.len()),
            element::I32 => (4, tensor.int32_data.len()),
            element::I64 => (8, tensor.int64_data.len()),
            _ => return Err(format!("{}, which is not known here", describe())),
        };
        let held = if tensor.raw_data.is_empty() { typed } else { tensor.raw_data.len() / bytes };
        let whole = tensor.raw_data.len().is_multiple_of(bytes);
        if held == length && whole {
            Ok(Self::Written(tensor))
        } else {
            Err(format!("{} but holds {held} numbers", describe()))
        }
    }

    /// A constant of 8-bit or 64-bit whole numbers (by ONNX's code for the element type), which the caller has made fit
    /// the sizes and the type.
    pub fn derived(element: i32, sizes: &[usize], numbers: &[i64]) -> Self {
        let dims = sizes.iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect();
        let mut tensor = pb::TensorProto { data_type: element, dims, ..Default::default() };
        if element == element::I64 {
            tensor.int64_data = numbers.to_vec();
        } else {
            tensor.raw_data = numbers.iter().map(|&number| number as u8).collect();
        }
        Self::Derived(Rc::new(tensor))
    }

    /// The tensor that holds it.
    pub fn tensor(&self) -> &pb::TensorProto {
        match self {
            Self::Written(tensor) => tensor,
            Self::Derived(tensor) => tensor,
        }
    }

    /// Sizes of its axes.
    pub fn sizes(&self) -> Vec<usize> {
        self.tensor().dims.iter().filter_map(|&size| usize::try_from(size).ok()).collect()
    }

    /// ONNX's code for the element type.
    pub fn element(&self) -> i32 {
        self.tensor().data_type
    }

    /// Float32 numbers.
    pub fn floats(&self) -> Result<Cow<'_, [f32]>, String> {
        match self.tensor().data_type {
            element::F32 if self.tensor().raw_data.is_empty() => Ok(Cow::Borrowed(&self.tensor().float_data)),
            element::F32 => Ok(words(&self.tensor().raw_data).map(f32::from_le_bytes).collect()),
            _ => Err(format!("constant '{}' is not float32", self.tensor().name)),
        }
    }

    /// Its bytes, and whether they are signed, where they are 8-bit numbers that are stored as such.
    pub fn bytes(&self) -> Option<(&[u8], bool)> {
        let tensor = self.tensor();
        let is_signed = match tensor.data_type {
            element::U8 => false,
            element::I8 => true,
            _ => return None,
        };
        (!tensor.raw_data.is_empty()).then_some((tensor.raw_data.as_slice(), is_signed))
    }

    /// Whole numbers of any width.
    pub fn integers(&self) -> Result<Vec<i64>, String> {
        let raw = &self.tensor().raw_data;
        let short = || self.tensor().int32_data.iter().map(|&number| i64::from(number));
        let numbers: Vec<i64> = match (self.tensor().data_type, raw.is_empty()) {
            (element::U8, false) => raw.iter().map(|&byte| i64::from(byte)).collect(),
            (element::I8, false) => raw.iter().map(|&byte| i64::from(byte.cast_signed())).collect(),
            (element::I32, false) => words(raw).map(|word| i64::from(i32::from_le_bytes(word))).collect(),
            (element::I64, false) => words(raw).map(i64::from_le_bytes).collect(),
            (element::U8 | element::I8 | element::I32, true) => short().collect(),
            (element::I64, true) => self.tensor().int64_data.clone(),
            _ => return Err(format!("constant '{}' is not of a whole type", self.tensor().name)),
        };
        let range = match self.tensor().data_type {
            element::U8 => 0..=255,
            element::I8 => -128..=127,
            _ => i64::MIN..=i64::MAX,
        };
        if numbers.iter().all(|number| range.contains(number)) {
            Ok(numbers)
        } else {
            Err(format!("constant '{}' holds numbers that its type cannot hold", self.tensor().name))
        }
    }

    /// Its only number.
    pub fn float(&self) -> Result<f32, String> {
        match self.floats()?.as_ref() {
            [number] => Ok(*number),
            numbers => Err(format!("constant '{}' has {} numbers instead of one", self.tensor().name, numbers.len())),
        }
    }
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    bytes.chunks_exact(N).filter_map(|word| word.try_into().ok())
}

/// A node with its attributes at hand.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    proto: &'a pb::NodeProto,
}

impl<'a> Node<'a> {
    /// Wraps the file's own node.
    pub fn new(proto: &'a pb::NodeProto) -> Self {
        Self { proto }
    }

    /// The operator's name without its domain.
    pub fn op(&self) -> &'a str {
        &self.proto.op_type
    }

    /// An error about this node.
    pub fn refuse(&self, why: impl Into<String>) -> Unsupported {
        let first = self.proto.output.first().map_or("", String::as_str);
        let node = if self.proto.name.is_empty() { first } else { &self.proto.name };
        Unsupported { op: crate::onnx::qualified(self.proto), node: node.into(), why: why.into() }
    }

    /// The name of an input; `None` where it is left out.
    pub fn input(&self, index: usize) -> Option<&'a str> {
        self.proto.input.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The node as the file has it.
    pub fn proto(&self) -> &'a pb::NodeProto {
        self.proto
    }

    /// Names of all inputs.
    pub fn inputs(&self) -> &'a [String] {
        &self.proto.input
    }

    /// Names of all outputs.
    pub fn outputs(&self) -> &'a [String] {
        &self.proto.output
    }

    fn attribute(&self, name: &str) -> Option<&'a pb::AttributeProto> {
        self.proto.attribute.iter().find(|attribute| attribute.name == name)
    }

    /// A whole number.
    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.i)
    }

    /// A real number.
    pub fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |attribute| attribute.f)
    }

    /// A word.
    pub fn word(&self, name: &str, default: &'static str) -> Cow<'a, str> {
        self.attribute(name).map_or(Cow::Borrowed(default), |attribute| String::from_utf8_lossy(&attribute.s))
    }

    /// Whole numbers; `None` where the attribute is left out.
    pub fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    /// A tensor.
    pub fn tensor(&self, name: &str) -> Option<&'a pb::TensorProto> {
        self.attribute(name).and_then(|attribute| attribute.t.as_ref())
    }

    /// Two sizes of at least 1, by default both 1.
    pub fn pair(&self, name: &str) -> Result<[usize; 2], Unsupported> {
        let Some(ints) = self.ints(name) else { return Ok([1, 1]) };
        let sizes: Vec<usize> = ints.iter().filter_map(|&size| usize::try_from(size).ok()).collect();
        match (ints.len(), sizes.as_slice()) {
            (2, &[rows, columns]) if (1..=4096).contains(&rows) && (1..=4096).contains(&columns) => Ok([rows, columns]),
            _ => Err(self.refuse(format!("{name} {ints:?} is not two sizes"))),
        }
    }
}
