//! The page itself: one file without anything from elsewhere.

pub(super) const PAGE: &str = include_str!("page.html");
