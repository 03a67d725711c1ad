//! The binary `tinysaver`.

fn main() {}
