//! Tells the program in which year it was compiled, or made from if `SOURCE_DATE_EPOCH` says so.

#![allow(clippy::print_stdout)]

use std::time::{SystemTime, UNIX_EPOCH};

/// The mean Gregorian year.
const SECONDS_PER_YEAR: u64 = 31_556_952;

fn main() {
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let seconds: u64 = epoch.unwrap_or_else(now);
    println!("cargo::rustc-env=TINYSAVER_BUILD_YEAR={}", 1970 + seconds / SECONDS_PER_YEAR);
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo::rerun-if-changed=build.rs");
}
