//! The int8 kernels of the engine, from its own files, with what they need and nothing else.
#![allow(dead_code, unused_imports, reason = "the engine uses the rest of these modules")]

mod int8;
