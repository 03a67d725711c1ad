//! BYTES tensors as they travel: each element is its length (u32, little endian) and then that many bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::ProtocolError;

/// Bytes of the length before each element.
const LENGTH_BYTES: usize = 4;

/// The elements of a BYTES tensor, one after the other, without copying them.
#[derive(Debug, Clone)]
pub struct ByteElements(Bytes);

impl ByteElements {
    /// Reads from the wire form.
    #[must_use]
    pub fn new(data: Bytes) -> Self {
        Self(data)
    }
}

impl Iterator for ByteElements {
    type Item = Result<Bytes, ProtocolError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let left = self.0.len();
        let Some((length, _)) = self.0.split_first_chunk::<LENGTH_BYTES>() else {
            self.0.clear();
            return Some(Err(ProtocolError::ByteElement { says: LENGTH_BYTES, left }));
        };
        let says = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if says > left - LENGTH_BYTES {
            self.0.clear();
            return Some(Err(ProtocolError::ByteElement { says, left: left - LENGTH_BYTES }));
        }
        let mut element = self.0.split_to(LENGTH_BYTES + says);
        Some(Ok(element.split_off(LENGTH_BYTES)))
    }
}

/// The wire form of some elements.
///
/// # Errors
/// An element of 4 GiB or more.
pub fn join_byte_elements<T: AsRef<[u8]>>(elements: &[T]) -> Result<Bytes, ProtocolError> {
    let total: usize = elements.iter().map(|element| LENGTH_BYTES + element.as_ref().len()).sum();
    let mut joined = BytesMut::with_capacity(total);
    for element in elements {
        let element = element.as_ref();
        let length =
            u32::try_from(element.len()).map_err(|_| ProtocolError::ByteElement { says: element.len(), left: 0 })?;
        joined.put_u32_le(length);
        joined.put_slice(element);
    }
    Ok(joined.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_that_lie_are_errors() {
        for bytes in [&b"\x01"[..], b"\x05\0\0\0abcd", b"\xff\xff\xff\xff", b"\x01\0\0\0a\x01\0"] {
            let last = ByteElements::new(Bytes::copy_from_slice(bytes)).last().unwrap();
            assert!(last.is_err(), "{bytes:?}");
        }
        assert!(ByteElements::new(Bytes::new()).next().is_none());
    }

    proptest! {
        #[test]
        fn elements_come_back(elements in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..10)) {
            let joined = join_byte_elements(&elements).unwrap();
            let back: Vec<Vec<u8>> = ByteElements::new(joined).map(|element| element.unwrap().to_vec()).collect();
            prop_assert_eq!(back, elements);
        }

        #[test]
        fn whatever_comes_it_ends(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let length = bytes.len();
            prop_assert!(ByteElements::new(bytes.into()).count() <= length / 4 + 1);
        }
    }
}
