//! Frames that got no answer, counted by reason, in bounded memory.

use std::collections::BTreeMap;

use tinysaver_core::DropReason;

/// Frames that were dropped for one reason since it was last asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Why.
    pub reason: DropReason,
    /// How many; at least 1.
    pub frames: u64,
    /// The last one's error, in its own words.
    pub detail: String,
}

/// Counts by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drops(BTreeMap<DropReason, (u64, String)>);

impl Drops {
    /// Counts frames; none is nothing.
    pub fn add(&mut self, reason: DropReason, frames: u64, detail: &str) {
        if frames == 0 {
            return;
        }
        let (total, last_detail) = self.0.entry(reason).or_default();
        *total = total.saturating_add(frames);
        last_detail.clear();
        last_detail.push_str(detail);
    }

    /// Takes over what another one counted.
    pub fn append(&mut self, other: &mut Self) {
        for dropped in other.take() {
            self.add(dropped.reason, dropped.frames, &dropped.detail);
        }
    }

    /// What was counted, in a fixed order; counting begins anew.
    pub fn take(&mut self) -> impl Iterator<Item = Dropped> + use<> {
        std::mem::take(&mut self.0).into_iter().map(|(reason, (frames, detail))| Dropped { reason, frames, detail })
    }

    /// All frames together.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.0.values().map(|(frames, _)| frames).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_by_reason_and_begins_anew() {
        let (mut drops, mut more) = (Drops::default(), Drops::default());
        drops.add(DropReason::Superseded, 2, "a");
        drops.add(DropReason::Corrupt, 0, "never");
        more.add(DropReason::Superseded, 3, "b");
        more.add(DropReason::Damaged, 1, "c");
        drops.append(&mut more);
        assert_eq!((drops.frames(), more.frames()), (6, 0));
        let taken: Vec<_> = drops.take().map(|dropped| (dropped.reason, dropped.frames, dropped.detail)).collect();
        assert_eq!(taken, [(DropReason::Damaged, 1, "c".into()), (DropReason::Superseded, 5, "b".into())]);
        assert_eq!(drops, Drops::default());
    }
}
