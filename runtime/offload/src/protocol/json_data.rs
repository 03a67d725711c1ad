//! The `data` of a tensor in JSON: numbers, booleans or strings, flat or nested to any shape.

use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde_json::{Number, Value, json};

use super::{ByteElements, Datatype, ProtocolError, Tensor, join_byte_elements};

/// JSON numbers are doubles to most programs: whole numbers beyond this are not exact.
const EXACT: u64 = 1 << 53;

/// Flattened elements, of whichever kind stood there; 8 bytes a number.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum JsonData {
    Numbers(Vec<f64>),
    Texts(Vec<String>),
}

impl<'de> serde::Deserialize<'de> for JsonData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut flat = Flat::default();
        Level(&mut flat).deserialize(deserializer)?;
        match (flat.numbers.is_empty(), flat.texts.is_empty()) {
            (_, true) => Ok(Self::Numbers(flat.numbers)),
            (true, false) => Ok(Self::Texts(flat.texts)),
            (false, false) => Err(D::Error::custom("data mixes numbers and strings")),
        }
    }
}

#[derive(Default)]
struct Flat {
    numbers: Vec<f64>,
    texts: Vec<String>,
}

/// One level of nesting; serde_json itself stops at 128 of them.
struct Level<'a>(&'a mut Flat);

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, booleans or strings, flat or in nested arrays")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while elements.next_element_seed(Level(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.0.numbers.push(value);
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "what is lost is refused")]
    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        if value > EXACT {
            return Err(E::custom("a whole number above 2^53: send it in binary"));
        }
        self.visit_f64(value as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "what is lost is refused")]
    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        if value.unsigned_abs() > EXACT {
            return Err(E::custom("a whole number below -2^53: send it in binary"));
        }
        self.visit_f64(value as f64)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.visit_f64(f64::from(u8::from(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.0.texts.push(value.to_owned());
        Ok(())
    }
}

/// The elements in the wire's binary form.
pub(super) fn encode(tensor: &str, datatype: Datatype, data: &JsonData) -> Result<Bytes, ProtocolError> {
    match (data, datatype) {
        (JsonData::Texts(texts), Datatype::Bytes) => join_byte_elements(texts),
        (JsonData::Numbers(numbers), Datatype::Bytes) if numbers.is_empty() => Ok(Bytes::new()),
        (JsonData::Numbers(numbers), _) => encode_numbers(tensor, datatype, numbers),
        (JsonData::Texts(_), _) => {
            let detail = format!("strings are no {}", datatype.name());
            Err(ProtocolError::Value { tensor: tensor.to_owned(), detail })
        }
    }
}

fn encode_numbers(tensor: &str, datatype: Datatype, numbers: &[f64]) -> Result<Bytes, ProtocolError> {
    macro_rules! whole {
        ($type:ty) => {
            collect(tensor, datatype, numbers, |number| {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked on the way back")]
                let value = number as $type;
                #[allow(clippy::cast_lossless, clippy::cast_precision_loss, reason = "at most 2^53")]
                let same = value as f64 == number && number.abs() <= EXACT as f64;
                same.then(|| value.to_le_bytes())
            })
        };
    }
    match datatype {
        Datatype::Bool => collect(tensor, datatype, numbers, |number| {
            (number == 0.0 || number == 1.0).then_some([u8::from(number != 0.0)])
        }),
        Datatype::Uint8 => whole!(u8),
        Datatype::Uint16 => whole!(u16),
        Datatype::Uint32 => whole!(u32),
        Datatype::Uint64 => whole!(u64),
        Datatype::Int8 => whole!(i8),
        Datatype::Int16 => whole!(i16),
        Datatype::Int32 => whole!(i32),
        Datatype::Int64 => whole!(i64),
        #[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest")]
        Datatype::Fp32 => collect(tensor, datatype, numbers, |number| {
            Some(number as f32).filter(|value| value.is_finite()).map(f32::to_le_bytes)
        }),
        Datatype::Fp64 => collect(tensor, datatype, numbers, |number| Some(number.to_le_bytes())),
        Datatype::Fp16 | Datatype::Bf16 | Datatype::Bytes => Err(ProtocolError::Value {
            tensor: tensor.to_owned(),
            detail: format!("{} cannot be sent as JSON numbers", datatype.name()),
        }),
    }
}

fn collect<const N: usize>(
    tensor: &str,
    datatype: Datatype,
    numbers: &[f64],
    convert: impl Fn(f64) -> Option<[u8; N]>,
) -> Result<Bytes, ProtocolError> {
    let mut bytes = Vec::with_capacity(numbers.len() * N);
    for &number in numbers {
        let Some(value) = convert(number) else {
            let detail = format!("{number} is no {}", datatype.name());
            return Err(ProtocolError::Value { tensor: tensor.to_owned(), detail });
        };
        bytes.extend(value);
    }
    Ok(bytes.into())
}

/// A tensor's elements as a flat JSON array.
pub(super) fn decode(tensor: &Tensor) -> Result<Value, ProtocolError> {
    let refuse = |detail: &str| ProtocolError::Value { tensor: tensor.name().to_owned(), detail: detail.to_owned() };
    let data = tensor.data();
    macro_rules! numbers {
        ($type:ty, $width:literal) => {
            Ok(data.as_chunks::<$width>().0.iter().map(|bytes| json!(<$type>::from_le_bytes(*bytes))).collect())
        };
    }
    match tensor.datatype() {
        Datatype::Bool => Ok(data.iter().map(|byte| Value::Bool(*byte != 0)).collect()),
        Datatype::Uint8 => numbers!(u8, 1),
        Datatype::Uint16 => numbers!(u16, 2),
        Datatype::Uint32 => numbers!(u32, 4),
        Datatype::Uint64 => numbers!(u64, 8),
        Datatype::Int8 => numbers!(i8, 1),
        Datatype::Int16 => numbers!(i16, 2),
        Datatype::Int32 => numbers!(i32, 4),
        Datatype::Int64 => numbers!(i64, 8),
        Datatype::Fp32 => {
            // Through f64, so that the shortest text that gives the same f32 is not padded with f64's digits.
            let values = data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            values
                .map(|value| shortest(value).ok_or_else(|| refuse("a number that is not finite has no JSON")))
                .collect()
        }
        Datatype::Fp64 => {
            let values = data.as_chunks::<8>().0.iter().map(|bytes| Number::from_f64(f64::from_le_bytes(*bytes)));
            values
                .map(|value| value.map(Value::Number).ok_or_else(|| refuse("a number that is not finite has no JSON")))
                .collect()
        }
        Datatype::Fp16 | Datatype::Bf16 => Err(refuse("16-bit floats have no JSON form; ask for binary data")),
        Datatype::Bytes => ByteElements::new(data.clone())
            .map(|element| {
                String::from_utf8(element?.to_vec())
                    .map(Value::String)
                    .map_err(|_| refuse("bytes that are no UTF-8 have no JSON form; ask for binary data"))
            })
            .collect(),
    }
}

fn shortest(value: f32) -> Option<Value> {
    let text = value.is_finite().then(|| value.to_string())?;
    text.parse().ok().and_then(Number::from_f64).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<JsonData, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn nested_or_flat_is_the_same() {
        let flat = parse("[1, 2.5, -3, true]").unwrap();
        assert_eq!(flat, JsonData::Numbers(vec![1.0, 2.5, -3.0, 1.0]));
        assert_eq!(parse("[[[1], [2.5]], [[-3], [true]]]").unwrap(), flat);
        assert_eq!(parse("7").unwrap(), JsonData::Numbers(vec![7.0]));
    }

    #[test]
    fn what_is_no_tensor_is_refused() {
        for text in ["{}", "[{}]", "[null]", "[1, \"a\"]", "[18446744073709551615]", "null"] {
            assert!(parse(text).is_err(), "{text}");
        }
        let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
        assert!(parse(&deep).unwrap_err().contains("recursion limit"));
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        let check = |datatype, text: &str| encode("x", datatype, &parse(text).unwrap());
        assert_eq!(check(Datatype::Uint8, "[0, 255]").unwrap(), Bytes::from_static(&[0, 255]));
        for (datatype, text) in [
            (Datatype::Uint8, "[256]"),
            (Datatype::Uint8, "[-1]"),
            (Datatype::Uint8, "[1.5]"),
            (Datatype::Int8, "[128]"),
            (Datatype::Bool, "[2]"),
            (Datatype::Fp32, "[1e300]"),
            (Datatype::Fp16, "[1]"),
            (Datatype::Fp32, "[\"1\"]"),
            (Datatype::Bytes, "[1]"),
        ] {
            assert!(check(datatype, text).is_err(), "{datatype:?} {text}");
        }
    }

    proptest! {
        #[test]
        fn floats_survive_json_bit_for_bit(values in prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::ZERO, 0..20)) {
            let shape = [i64::try_from(values.len()).unwrap()];
            let tensor = Tensor::from_f32("x", &shape, &values).unwrap();
            let text = decode(&tensor).unwrap().to_string();
            let back = encode("x", Datatype::Fp32, &parse(&text).unwrap()).unwrap();
            prop_assert_eq!(&back, tensor.data());
        }

        #[test]
        fn texts_survive(texts in prop::collection::vec(".{0,10}", 1..5)) {
            let shape = [i64::try_from(texts.len()).unwrap()];
            let tensor = Tensor::new("x", Datatype::Bytes, &shape, join_byte_elements(&texts).unwrap()).unwrap();
            let text = decode(&tensor).unwrap().to_string();
            prop_assert_eq!(&encode("x", Datatype::Bytes, &parse(&text).unwrap()).unwrap(), tensor.data());
        }
    }
}
