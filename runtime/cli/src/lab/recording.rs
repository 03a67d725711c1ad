//! Running a pool of models over a data set, on all cores. Every few hundred answers are a file of their own, so that a
//! recording that was stopped goes on where it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow, ensure};
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use tinysaver_engine::Threads;

use crate::cascade::Stage;
use crate::config::Settings;
use crate::frames::Image;
use crate::interrupt::Interrupt;
use crate::lab::dataset::Dataset;
use crate::lab::parquet_file;
use crate::lab::records::{ModelInfo, ModelRecords, Records, hexadecimal};
use crate::pair::{ModelEntry, Pair};

/// Samples of one part.
const PART: usize = 500;

/// What to record.
pub struct Recording<'a> {
    /// Where the models are from.
    pub pair: &'a Pair,
    /// Which of them.
    pub models: Vec<&'a ModelEntry>,
    /// The samples.
    pub dataset: &'a Dataset,
    /// How many classes the pair's labels name.
    pub classes: usize,
    /// Kernels, and what a picture may cost.
    pub settings: &'a Settings,
    /// Keep all logits.
    pub keep_logits: bool,
    /// The file to write.
    pub out: &'a Path,
    /// Threads.
    pub jobs: usize,
}

/// One piece of work: a model, and samples from here to there.
#[derive(Debug, Clone)]
struct Part {
    model: usize,
    from: usize,
    to: usize,
    file: PathBuf,
}

impl Recording<'_> {
    /// Records what is not recorded yet, then puts the parts together. `None` if it was interrupted before.
    ///
    /// # Errors
    /// A picture or a model that cannot be used, or a file that cannot be written.
    pub fn run(&self, progress: &ProgressBar, interrupt: &Interrupt) -> Result<Option<Records>> {
        let folder = self.folder();
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let parts = self.parts(&folder);
        let (open, done): (Vec<Part>, Vec<Part>) = parts.iter().cloned().partition(|part| !part.file.is_file());
        progress.inc(done.iter().map(|part| (part.to - part.from) as u64).sum());
        let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
        let threads = self.settings.threads.start(self.jobs)?;
        let work = || {
            let mut stage: Option<(usize, Stage)> = None;
            while let Some(part) = open.get(next.fetch_add(1, Ordering::Relaxed)) {
                if interrupt.requested() {
                    return;
                }
                if let Err(error) = self.record_part(part, (&mut stage, &threads), progress) {
                    // The others stop as well; the first error is the one to tell.
                    next.store(open.len(), Ordering::Relaxed);
                    if let Ok(mut failure) = failure.lock() {
                        failure.get_or_insert(error);
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(work);
            }
        });
        if let Some(error) = failure.into_inner().map_err(|_| anyhow!("a thread failed"))? {
            return Err(error);
        }
        if parts.iter().any(|part| !part.file.is_file()) {
            return Ok(None);
        }
        let records = self.put_together(&parts)?;
        parquet_file::write(self.out, &records)?;
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(Some(records))
    }

    /// Parts of another data set, of other labels or with other settings are in another folder.
    fn folder(&self) -> PathBuf {
        let mut hash = Sha256::new();
        for index in 0..self.dataset.len() {
            hash.update(self.dataset.name(index));
            hash.update(self.dataset.label(index).map_or(-1, i64::from).to_le_bytes());
        }
        for model in &self.models {
            hash.update(format!("{:?}", self.pair.preprocess(model)));
        }
        hash.update([u8::from(self.keep_logits)]);
        let key: String = hexadecimal(&hash.finalize()).chars().take(12).collect();
        let mut name = self.out.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{key}.parts"));
        self.out.with_file_name(name)
    }

    fn parts(&self, folder: &Path) -> Vec<Part> {
        let (mut parts, all) = (Vec::new(), self.dataset.len());
        for (model, entry) in self.models.iter().enumerate() {
            for from in (0..all).step_by(PART) {
                let hash = entry.sha256.get(..16).unwrap_or_default();
                let file = folder.join(format!("{}-{hash}-{from:08}.parquet", entry.id.replace('/', "_")));
                parts.push(Part { model, from, to: (from + PART).min(all), file });
            }
        }
        parts
    }

    fn record_part(
        &self,
        part: &Part,
        (stage, threads): (&mut Option<(usize, Stage)>, &Threads),
        progress: &ProgressBar,
    ) -> Result<()> {
        if stage.as_ref().is_none_or(|(model, _)| *model != part.model) {
            let entry = self.models.get(part.model).context("no such model")?;
            *stage = Some((part.model, Stage::load(self.pair, entry, self.classes, self.settings, threads)?));
        }
        let (_, stage) = stage.as_mut().context("no model")?;
        let mut model = ModelRecords::new(ModelInfo {
            id: stage.entry.id.clone(),
            sha256: stage.entry.sha256.clone(),
            macs: stage.engine.macs(),
            classes: self.classes,
            latency_us: None,
            energy_joules: None,
        });
        let (mut samples, mut times) = (Vec::new(), Vec::new());
        for index in part.from..part.to {
            let (sample, picture) = self.dataset.sample(index, self.settings.limits)?;
            let (logits, infer_us) = stage.infer_image(&Image::Still(picture)).with_context(|| sample.name.clone())?;
            model.push(logits, self.keep_logits).with_context(|| sample.name.clone())?;
            samples.push(sample);
            #[expect(clippy::cast_precision_loss, reason = "microseconds")]
            times.push(infer_us as f64);
            progress.inc(1);
        }
        model.info.latency_us = median(times);
        parquet_file::write(&part.file, &Records { samples, models: vec![model] })
    }

    fn put_together(&self, parts: &[Part]) -> Result<Records> {
        let mut all = Records::default();
        for (index, entry) in self.models.iter().enumerate() {
            let (mut samples, mut times, mut whole) = (Vec::new(), Vec::new(), None::<ModelRecords>);
            for part in parts.iter().filter(|part| part.model == index) {
                let read = parquet_file::read(&part.file)?;
                let model = read.models.into_iter().next().context("a part without a model")?;
                times.extend(model.info.latency_us);
                samples.extend(read.samples);
                match &mut whole {
                    Some(whole) => whole.append(model),
                    None => whole = Some(model),
                }
            }
            let mut model = whole.with_context(|| format!("nothing was recorded of '{}'", entry.id))?;
            model.info.latency_us = median(times);
            if index == 0 {
                all.samples = samples;
            } else {
                ensure!(
                    all.samples == samples,
                    "the data set has changed while it was recorded; remove the .parts folder"
                );
            }
            all.models.push(model);
        }
        all.check(&self.out.display().to_string())?;
        Ok(all)
    }
}

/// The middle one.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
