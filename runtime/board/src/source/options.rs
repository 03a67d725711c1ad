//! The part of an address behind the question mark: `size=640x480&fps=30`.

use std::time::Duration;

use super::AddressError;

/// Options of one address, each to be taken by who knows it.
pub(crate) struct Options<'a> {
    scheme: &'static str,
    known: &'static str,
    left: Vec<(&'a str, &'a str)>,
}

impl<'a> Options<'a> {
    /// `known` lists the options for the error message.
    pub(crate) fn parse(scheme: &'static str, known: &'static str, text: &'a str) -> Self {
        let parts = text.split('&').filter(|part| !part.is_empty());
        Self { scheme, known, left: parts.map(|part| part.split_once('=').unwrap_or((part, ""))).collect() }
    }

    /// The last value of an option, read by `read`.
    pub(crate) fn take<T>(
        &mut self,
        option: &'static str,
        expected: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, AddressError> {
        let mut taken = None;
        for (_, value) in self.left.iter().filter(|(name, _)| *name == option) {
            let scheme = self.scheme;
            let error = || AddressError::Value { scheme, option, value: (*value).into(), expected };
            taken = Some(read(value).ok_or_else(error)?);
        }
        self.left.retain(|(name, _)| *name != option);
        Ok(taken)
    }

    /// Whatever was not taken is a mistake.
    pub(crate) fn finish(self) -> Result<(), AddressError> {
        let Self { scheme, known, left } = self;
        match left.first() {
            Some((option, _)) => Err(AddressError::Option { scheme, option: (*option).into(), known }),
            None => Ok(()),
        }
    }
}

/// `640x480`.
pub(crate) fn size(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once('x')?;
    let size = (width.parse().ok()?, height.parse().ok()?);
    ((1..=16_384).contains(&size.0) && (1..=16_384).contains(&size.1)).then_some(size)
}

/// Frames per second.
pub(crate) fn rate(text: &str) -> Option<f64> {
    text.parse().ok().filter(|rate: &f64| rate.is_finite() && (0.01..=1000.0).contains(rate))
}

/// Whole milliseconds, from a tenth of a second to an hour.
pub(crate) fn milliseconds(text: &str) -> Option<Duration> {
    text.parse().ok().filter(|ms| (100..=3_600_000).contains(ms)).map(Duration::from_millis)
}

/// What to write for each of them.
pub(crate) const SIZE: &str = "width x height, such as 640x480, each from 1 to 16384";
pub(crate) const RATE: &str = "frames per second, such as 30, from 0.01 to 1000";
pub(crate) const MILLISECONDS: &str = "milliseconds, from 100 to 3600000";
