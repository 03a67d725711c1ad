//! The table of frames for people: one line each.

use tinysaver_core::{DropReason, Exit, Outcome, Record};

use crate::summary_text::milliseconds;

/// The table's first line.
pub const HEADER: &str = "photo                     exit        class                       sure      ms";

/// One line: who answered, what, how sure; where the base answered, what the saver would have said. `None` for what
/// only the summary counts: a camera that is faster than the models makes frames that nobody asked for.
pub fn row(record: &Record, labels: &[String]) -> Option<String> {
    let photo = shorten(record.source.rsplit('/').next().unwrap_or_default(), 24);
    let ms = milliseconds(record.latency_us);
    let answer = match &record.outcome {
        Outcome::Dropped { reason: DropReason::Superseded | DropReason::Stopped, .. } => return None,
        Outcome::Dropped { reason, detail, frames } => {
            let times = if *frames > 1 { format!(" ({frames} frames)") } else { String::new() };
            return Some(format!("{photo:24}  {:10}  {}{times}: {detail}", "dropped", reason.name()));
        }
        Outcome::Answered(answer) => answer,
    };
    let mark = match record.correct() {
        Some(true) => " right",
        Some(false) => " WRONG",
        None => "",
    };
    let saver = labels.get(answer.saver_class).map_or("?", String::as_str);
    let note = match answer.exit {
        Exit::BaseLocal | Exit::BaseRemote => format!("  (saver: {saver} {:.2})", answer.confidence),
        Exit::Reused | Exit::Saver | Exit::Fallback => String::new(),
    };
    let label = shorten(&answer.label, 24);
    let (exit, sure) = (answer.exit.name(), answer.probability);
    Some(format!("{photo:24}  {exit:10}  {label:24}  {sure:6.2}  {ms:>6}{mark}{note}"))
}

fn shorten(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest.saturating_sub(1)).chain(['…']).collect()
}
