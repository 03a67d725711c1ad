//! Panics that are caught are no finding.

use std::panic::{PanicHookInfo, set_hook};
use std::sync::Once;

/// With FUZZ_VERBOSE, what a panic says: to look into a finding.
fn report(panic: &PanicHookInfo<'_>) {
    if std::env::var_os("FUZZ_VERBOSE").is_some() {
        eprintln!("{panic}");
    }
}

/// Replaces libFuzzer's own hook, which aborts on every panic, also on those of tract that the engine catches.
pub fn caught_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| set_hook(Box::new(report)));
}
