//! Units. A joule's origin is a part of its type.

use std::iter::Sum;
use std::marker::PhantomData;
use std::ops::{Add, AddAssign, Mul, Sub};
use std::time::Duration;

/// The origin of joules that a sensor gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measured {}

/// The origin of joules that a profile's coefficients gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Modelled {}

/// Power of an origin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Watts<O> {
    value: f64,
    origin: PhantomData<O>,
}

/// Energy of an origin. Joules of two origins have two types:
///
/// ```compile_fail
/// use tinysaver_core::energy::{Joules, Measured, Modelled};
/// let sum = Joules::<Measured>::new(1.0) + Joules::<Modelled>::new(1.0);
/// ```
///
/// ```
/// use tinysaver_core::energy::{Joules, Measured};
/// let sum = Joules::<Measured>::new(1.0) + Joules::<Measured>::new(1.0);
/// assert_eq!(sum.value(), 2.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Joules<O> {
    value: f64,
    origin: PhantomData<O>,
}

impl<O> Watts<O> {
    /// From a number of watts.
    #[must_use]
    pub const fn new(value: f64) -> Self {
        Self { value, origin: PhantomData }
    }

    /// In watts; whose they are is forgotten.
    #[must_use]
    pub const fn value(&self) -> f64 {
        self.value
    }
}

impl<O> Joules<O> {
    /// None.
    pub const ZERO: Self = Self::new(0.0);

    /// From a number of joules.
    #[must_use]
    pub const fn new(value: f64) -> Self {
        Self { value, origin: PhantomData }
    }

    /// In joules; whose they are is forgotten.
    #[must_use]
    pub const fn value(&self) -> f64 {
        self.value
    }

    /// Rounded to whole microjoules, as records keep them; what is no number is 0.
    #[must_use]
    pub fn micros(&self) -> i64 {
        // A float-to-integer cast saturates and makes 0 of what is no number.
        #[expect(clippy::cast_possible_truncation, reason = "saturates")]
        let micros = (self.value * 1e6).round() as i64;
        micros
    }
}

impl<O> Mul<Duration> for Watts<O> {
    type Output = Joules<O>;

    fn mul(self, time: Duration) -> Joules<O> {
        Joules::new(self.value * time.as_secs_f64())
    }
}

impl<O> Mul<f64> for Joules<O> {
    type Output = Self;

    fn mul(self, factor: f64) -> Self {
        Self::new(self.value * factor)
    }
}

impl<O> Add for Joules<O> {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self::new(self.value + other.value)
    }
}

impl<O> Sub for Joules<O> {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self::new(self.value - other.value)
    }
}

impl<O> AddAssign for Joules<O> {
    fn add_assign(&mut self, other: Self) {
        self.value += other.value;
    }
}

impl<O> Sum for Joules<O> {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Add::add)
    }
}
