//! The structures of `linux/videodev2.h` that the crate `v4l` and `tinysaver-board` use, generated once (README.md says
//! how) instead of in every build. They are the same for 64-bit systems and for 32-bit ones with a 32-bit `time_t`.
#![allow(missing_docs, non_camel_case_types, non_snake_case, non_upper_case_globals, clippy::all, clippy::pedantic)]

include!("bindings.rs");

const _: () = {
    // A `time_t` of 64 bits on a 32-bit system would be a third layout, which nobody needs yet.
    assert!(size_of::<v4l2_buffer>() == if cfg!(target_pointer_width = "64") { 88 } else { 68 });
    assert!(size_of::<v4l2_format>() == if cfg!(target_pointer_width = "64") { 208 } else { 204 });
};
