//! How many threads an inference may have.

use std::num::NonZeroUsize;
use std::str::FromStr;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tinysaver_engine::{MOST_THREADS, Threads};

/// Threads of one inference, the one that asks for it included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "i64", into = "usize")]
pub struct ThreadCount(NonZeroUsize);

/// The flag.
#[derive(Debug, Default, Clone, Copy, clap::Args)]
pub struct ThreadArgs {
    /// Threads of one inference, 1 to 64: quicker answers for more processor time, the same to the bit; on a board with
    /// one camera the other cores are the local base's [default: 1]
    #[arg(long, value_name = "N", env = "TINYSAVER_THREADS")]
    pub threads: Option<ThreadCount>,
}

impl ThreadCount {
    /// The machine's cores.
    pub fn of_cores() -> Self {
        std::thread::available_parallelism().map_or_else(|_| Self::default(), Self)
    }

    /// The number.
    pub fn get(self) -> usize {
        self.0.get()
    }

    /// Starts them, for inferences of which so many may run at the same time. More threads than there are cores in all are
    /// only started where one inference shall have them.
    ///
    /// # Errors
    /// The system starts no more threads.
    pub fn start(self, inferences: usize) -> Result<Threads> {
        let cores = Self::of_cores().0.max(self.0);
        let together = if inferences > 1 { cores } else { self.0 };
        Threads::new(self.0, together).with_context(|| format!("cannot start {together} threads; try --threads 1"))
    }
}

impl Default for ThreadCount {
    fn default() -> Self {
        Self(NonZeroUsize::MIN)
    }
}

impl TryFrom<i64> for ThreadCount {
    type Error = String;

    fn try_from(count: i64) -> Result<Self, String> {
        let within =
            usize::try_from(count).ok().and_then(NonZeroUsize::new).filter(|count| count.get() <= MOST_THREADS);
        within.map(Self).ok_or_else(|| {
            let cores = Self::of_cores().get();
            format!(
                "{count} is not from 1 to {MOST_THREADS}; 1 is the thread that asks, and this machine has {cores} cores"
            )
        })
    }
}

impl FromStr for ThreadCount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<i64>().map_err(|_| "not a whole number".to_owned()).and_then(Self::try_from)
    }
}

impl From<ThreadCount> for usize {
    fn from(count: ThreadCount) -> Self {
        count.get()
    }
}

impl std::fmt::Display for ThreadCount {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.get() {
            1 => formatter.write_str("one thread"),
            count => write!(formatter, "{count} threads"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_from_one_to_the_most() {
        let count = |text: &str| text.parse::<ThreadCount>().map(ThreadCount::get);
        assert_eq!((count("1"), count("64")), (Ok(1), Ok(64)));
        for wrong in ["0", "-1", "65", "9999999999999999999", "two", ""] {
            let error = count(wrong).unwrap_err();
            assert!(error.contains("from 1 to 64") || error.contains("whole number"), "{wrong}: {error}");
        }
        assert_eq!(ThreadCount::default().to_string(), "one thread");
        assert_eq!(ThreadCount::try_from(3).unwrap().to_string(), "3 threads");
    }

    #[test]
    fn one_inference_gets_what_was_asked_for_and_several_share_the_cores() {
        let three = ThreadCount::try_from(3).unwrap();
        assert_eq!((three.start(1).unwrap().most(), three.start(4).unwrap().most()), (3, 3));
        assert_eq!(ThreadCount::default().start(4).unwrap().most(), 1);
    }
}
