//! A tensor whose parts agree with each other.

use bytes::Bytes;

use super::{ByteElements, Datatype};

/// More axes than any image classifier has.
pub const MAX_AXES: usize = 16;

/// A request or a reply that says something impossible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// No JSON, or not of the protocol's form.
    #[error("the JSON part is malformed: {0}")]
    Json(String),
    /// The header that gives the length of the JSON part is no number or is too large.
    #[error("Inference-Header-Content-Length is '{says}', the body has {body_bytes} bytes")]
    HeaderLength {
        /// What it says.
        says: String,
        /// Size of the whole body.
        body_bytes: usize,
    },
    /// A type that the protocol does not have.
    #[error("tensor '{tensor}': unknown datatype '{datatype}'")]
    Datatype {
        /// Name of the tensor.
        tensor: String,
        /// The type as given.
        datatype: String,
    },
    /// An axis below zero, too many axes, or a product that no machine holds.
    #[error("tensor '{tensor}': impossible shape {shape:?}")]
    Shape {
        /// Name of the tensor.
        tensor: String,
        /// The shape as given.
        shape: Vec<i64>,
    },
    /// Shape and data disagree.
    #[error("tensor '{tensor}': shape {shape:?} of {datatype} needs {needs}, got {got}")]
    Size {
        /// Name of the tensor.
        tensor: String,
        /// The shape.
        shape: Vec<i64>,
        /// Name of the type.
        datatype: &'static str,
        /// What the shape asks for.
        needs: String,
        /// What is there.
        got: String,
    },
    /// A BYTES element that is longer than what follows.
    #[error("a BYTES element claims {says} bytes, {left} are left")]
    ByteElement {
        /// What its length says.
        says: usize,
        /// What is there.
        left: usize,
    },
    /// A number that the type cannot hold, or something that is no number.
    #[error("tensor '{tensor}': {detail}")]
    Value {
        /// Name of the tensor.
        tensor: String,
        /// What is wrong.
        detail: String,
    },
    /// A tensor without data, or with data in two forms.
    #[error("tensor '{tensor}' has {detail}")]
    Contents {
        /// Name of the tensor.
        tensor: String,
        /// What is wrong.
        detail: &'static str,
    },
    /// Bytes behind the last tensor, or fewer than the tensors claim.
    #[error("the body's binary part has {got} bytes, its tensors claim {claimed}")]
    BinaryPart {
        /// Sum of `binary_data_size`.
        claimed: u64,
        /// What is there.
        got: usize,
    },
}

/// Name, type, shape and row-major little-endian elements, which agree with each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    name: String,
    datatype: Datatype,
    shape: Vec<i64>,
    data: Bytes,
}

impl Tensor {
    /// Checks that `data` holds exactly what `shape` and `datatype` say.
    ///
    /// # Errors
    /// It does not.
    pub fn new(name: &str, datatype: Datatype, shape: &[i64], data: Bytes) -> Result<Self, ProtocolError> {
        let count = element_count(name, shape)?;
        let size_error = |needs: String, got: String| ProtocolError::Size {
            tensor: name.to_owned(),
            shape: shape.to_vec(),
            datatype: datatype.name(),
            needs,
            got,
        };
        if let Some(width) = datatype.width_bytes() {
            if count.checked_mul(width) != Some(data.len()) {
                return Err(size_error(format!("{count} x {width} bytes"), format!("{} bytes", data.len())));
            }
        } else {
            let mut found = 0usize;
            for element in ByteElements::new(data.clone()) {
                element?;
                found += 1;
            }
            if found != count {
                return Err(size_error(format!("{count} elements"), format!("{found} elements")));
            }
        }
        Ok(Self { name: name.to_owned(), datatype, shape: shape.to_vec(), data })
    }

    /// A tensor of 32-bit floats.
    ///
    /// # Errors
    /// The shape asks for another number of values.
    pub fn from_f32(name: &str, shape: &[i64], values: &[f32]) -> Result<Self, ProtocolError> {
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::new(name, Datatype::Fp32, shape, data.into())
    }

    /// The tensor's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Type of its elements.
    #[must_use]
    pub fn datatype(&self) -> Datatype {
        self.datatype
    }

    /// Sizes of its axes, none below 0.
    #[must_use]
    pub fn shape(&self) -> &[i64] {
        &self.shape
    }

    /// Row-major little-endian elements; BYTES with a length before each.
    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// The values of an FP32 tensor; `None` of another type.
    #[must_use]
    pub fn f32_values(&self) -> Option<Vec<f32>> {
        (self.datatype == Datatype::Fp32)
            .then(|| self.data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    /// The elements of a BYTES tensor; `None` of another type.
    #[must_use]
    pub fn byte_elements(&self) -> Option<ByteElements> {
        (self.datatype == Datatype::Bytes).then(|| ByteElements::new(self.data.clone()))
    }
}

/// Elements that a shape asks for; refuses what no message can hold.
pub(crate) fn element_count(tensor: &str, shape: &[i64]) -> Result<usize, ProtocolError> {
    let impossible = || ProtocolError::Shape { tensor: tensor.to_owned(), shape: shape.to_vec() };
    if shape.len() > MAX_AXES {
        return Err(impossible());
    }
    shape.iter().try_fold(1usize, |count, &axis| {
        let axis = usize::try_from(axis).map_err(|_| impossible())?;
        count.checked_mul(axis).filter(|&count| count <= isize::MAX as usize).ok_or_else(impossible)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_must_agree() {
        let new = |datatype, shape: &[i64], bytes: usize| Tensor::new("x", datatype, shape, vec![0; bytes].into());
        assert!(new(Datatype::Fp32, &[1, 3], 12).is_ok());
        assert!(new(Datatype::Uint8, &[], 1).is_ok(), "no axis is one element");
        assert!(new(Datatype::Uint8, &[0, 5], 0).is_ok());
        for (datatype, shape, bytes) in [
            (Datatype::Fp32, &[1i64, 3][..], 11usize),
            (Datatype::Uint8, &[-1, 3], 3),
            (Datatype::Uint8, &[i64::MAX, 2], 0),
            (Datatype::Uint8, &[1 << 32, 1 << 32], 0),
            (Datatype::Fp64, &[1 << 60], 0),
            (Datatype::Uint8, &[1; 17], 1),
            (Datatype::Bytes, &[2], 4),
        ] {
            assert!(new(datatype, shape, bytes).is_err(), "{datatype:?} {shape:?} {bytes}");
        }
    }

    #[test]
    fn floats_come_back() {
        let values = [0.0f32, -1.5, f32::MAX, f32::MIN_POSITIVE];
        let tensor = Tensor::from_f32("x", &[2, 2], &values).unwrap();
        assert_eq!(tensor.f32_values().unwrap(), values);
        assert!(tensor.byte_elements().is_none());
        assert!(Tensor::from_f32("x", &[3], &values).is_err());
    }
}
