//! Numbers that begin at a whole cache line, so that no vector of 64 bytes is spread over two.

use std::ops::{Deref, DerefMut};

/// Bytes of a cache line on all processors that matter here.
const LINE: usize = 64;

/// A slice of fixed length on the heap. (An allocation itself is aligned for its type only.)
pub struct Aligned<T> {
    numbers: Vec<T>,
    start: usize,
    length: usize,
}

impl<T: Copy + Default> Aligned<T> {
    /// Zeros.
    pub fn zeros(length: usize) -> Self {
        let spare = LINE / size_of::<T>().max(1);
        let numbers = vec![T::default(); length + spare];
        let start = numbers.as_ptr().align_offset(LINE).min(spare);
        Self { numbers, start, length }
    }
}

impl<T: Copy + Default> From<Vec<T>> for Aligned<T> {
    fn from(numbers: Vec<T>) -> Self {
        let mut aligned = Self::zeros(numbers.len());
        aligned.copy_from_slice(&numbers);
        aligned
    }
}

impl<T: Copy + Default> Clone for Aligned<T> {
    fn clone(&self) -> Self {
        Self::from(self.to_vec())
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.numbers.get(self.start..self.start + self.length).unwrap_or_default()
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.numbers.get_mut(self.start..self.start + self.length).unwrap_or_default()
    }
}

impl<T> std::fmt::Debug for Aligned<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} numbers", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_and_begin_at_a_line() {
        for length in [0, 1, 63, 64, 65, 1000] {
            let numbers: Vec<i32> = (0..length).collect();
            let aligned = Aligned::from(numbers.clone());
            let copy = aligned.clone();
            for aligned in [&aligned, &copy] {
                assert_eq!(aligned.to_vec(), numbers);
                assert!(aligned.as_ptr().addr().is_multiple_of(LINE));
            }
        }
        let mut bytes = Aligned::<u8>::zeros(3);
        bytes[1] = 7;
        assert_eq!(bytes.to_vec(), [0, 7, 0]);
    }
}
