//! Convolutions of tract's graphs on x86-64 in f32 with the channels last, which is how the base runs where there is no int8
//! file of it. tract multiplies matrices that it first copies together; here each output position reads its pixels where they
//! lie (as XNNPACK's indirect convolution does), and what follows, a sum with another branch and a clip, is done before
//! the sums leave the registers. Large tensors between convolutions are never whole: lines are made when they are needed
//! (`lines.rs`, `docs/figures/f32.md`). On ARM tract has kernels of its own.

// Each block says why it is sound.
#![allow(unsafe_code)]

#[macro_use]
mod dense;
#[macro_use]
mod depthwise;

mod avx2;
mod avx512;
mod geometry;
mod kernel;
mod lines;
mod operator;
mod rewrite;
#[cfg(test)]
mod tests;
mod weights;

pub(crate) use rewrite::rewrite;
