//! How busy the processor is, by the kernel's own count.

use super::tree::SysTree;

const STAT: &str = "proc/stat";

/// The count since the system was started, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuLoad {
    busy: u64,
    all: u64,
    cores: u32,
}

impl CpuLoad {
    /// Reads it; `None` where the file is none.
    #[must_use]
    pub fn read(tree: &dyn SysTree) -> Option<Self> {
        let text = tree.read(STAT).ok()?;
        let mut lines = text.lines().filter(|line| line.starts_with("cpu"));
        let ticks: Vec<u64> =
            lines.next()?.split_ascii_whitespace().skip(1).map_while(|word| word.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal; what guests get is in user already.
        let all: u64 = ticks.iter().take(8).sum();
        let idle = ticks.get(3)? + ticks.get(4).copied().unwrap_or(0);
        Some(Self { busy: all.checked_sub(idle)?, all, cores: u32::try_from(lines.count()).ok()? })
    }

    /// Mean number of busy cores since `before`, and how many there are; `None` where no tick has passed.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub fn busy_cores_since(&self, before: &Self) -> Option<(f64, u32)> {
        let all = self.all.checked_sub(before.all).filter(|ticks| *ticks > 0)?;
        let busy = self.busy.saturating_sub(before.busy).min(all);
        Some((busy as f64 / all as f64 * f64::from(self.cores), self.cores))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::power::RealTree;

    fn load(text: &str) -> Option<CpuLoad> {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("proc")).unwrap();
        fs::write(root.path().join(STAT), text).unwrap();
        CpuLoad::read(&RealTree::new(root.path()))
    }

    #[test]
    fn busy_cores_are_what_the_kernel_counted() {
        let before = load("cpu  100 0 50 800 50 0 0 0 7 0\ncpu0 1 2 3 4\ncpu1 1 2 3 4\nintr 5\n").unwrap();
        let after = load("cpu  150 10 60 870 60 0 0 0 9 0\ncpu0 1 2 3 4\ncpu1 1 2 3 4\n").unwrap();
        let (busy, cores) = after.busy_cores_since(&before).unwrap();
        assert!((busy - 2.0 * 70.0 / 150.0).abs() < 1e-12 && cores == 2, "{busy} of {cores}");
        assert_eq!(before.busy_cores_since(&before), None);
        assert_eq!(before.busy_cores_since(&after), None, "it never runs backwards");
        assert!(load("cpu garbage\n").is_none() && load("").is_none());
    }
}
