//! `tinysaver check`: everything that `run` needs before its first frame.

use std::io::Write;

use serde_json::json;
use tinysaver_board::TestPattern;
use tinysaver_core::StageMicros;

use crate::cascade::{Cascade, Stage};
use crate::config::{RunSettingsArgs, Settings, SettingsArgs};
use crate::failure::Failure;
use crate::feed::Feed;
use crate::frames::Image;
use crate::pair::Pair;

/// Arguments of `check`.
#[derive(clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    run: RunSettingsArgs,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// Loads everything and classifies one made-up picture.
pub fn execute(args: &CheckArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let settings = Settings::gather(&args.settings, &args.run).map_err(Failure::config)?;
    let pair = Pair::read(&settings.pair).map_err(Failure::config)?;
    let open = |source: &str| Feed::open(source, settings.pace);
    let feed = settings.source.as_deref().map(open).transpose().map_err(Failure::Config)?;
    let mut cascade = Cascade::load(&pair, &settings).map_err(Failure::config)?;
    let pattern = TestPattern { frames: 1, repeat: 1, seed: 0, width: 320, height: 240 };
    let (picture, stages) = (Image::Still(pattern.picture(0)), &mut StageMicros::default());
    let seen = cascade.look(&picture, stages);
    let answer = seen.and_then(|_| {
        if cascade.local_base.is_some() {
            cascade.answer(&picture, stages).map(drop)
        } else {
            cascade.saver_answer(&picture, stages).map(drop)
        }
    });
    answer.map_err(|dropped| Failure::config(anyhow::anyhow!("a test picture got no answer: {}", dropped.detail)))?;
    let sources: Vec<&str> = pair.sources().iter().map(|source| source.id.as_str()).collect();
    if args.json {
        let stage = |stage: &Stage| json!({"model": stage.entry, "engine": stage.engine.name(), "threads": stage.engine.threads(), "macs": stage.engine.macs()});
        let object = json!({
            "pair": pair.name(), "saver": stage(&cascade.saver), "base": cascade.local_base.as_ref().map_or_else(|| json!({"model": cascade.base.entry}), stage),
            "classes": cascade.labels.len(), "labels_source": pair.labels_source(), "sources": sources,
            "threshold": cascade.gate.threshold, "temperature": cascade.gate.temperature,
            "calibrated": pair.policy().calibrated, "frames": feed.as_ref().and_then(Feed::count),
            "source": feed.as_ref().and_then(Feed::status).map(|status| status.description),
        });
        writeln!(out, "{object}")?;
        return Ok(());
    }
    writeln!(out, "pair   {}: {}", pair.name(), pair.description())?;
    for (role, stage) in [("saver", Some(&cascade.saver)), ("base", cascade.local_base.as_ref())] {
        let entry = stage.map_or(&cascade.base.entry, |stage| &stage.entry);
        let mega = stage.map_or(cascade.base.macs, |stage| stage.engine.macs()) / 1_000_000;
        let engine = stage.map_or_else(
            || "on other machines".into(),
            |stage| format!("engine {}, {}", stage.engine.name(), settings.threads),
        );
        writeln!(
            out,
            "{role:6} {} ({}, {} pixels, {mega} MMAC), {engine}",
            entry.id,
            entry.file.display(),
            entry.input
        )?;
    }
    for url in settings.offload.iter().flat_map(|offload| &offload.urls) {
        writeln!(out, "remote {url} (not asked: `run` finds out)")?;
    }
    let calibrated = if pair.policy().calibrated { "calibrated" } else { "not calibrated: no promise about accuracy" };
    writeln!(
        out,
        "gate   confidence > {} ({calibrated}), {} classes",
        cascade.gate.threshold.value(),
        cascade.labels.len()
    )?;
    writeln!(out, "pool   {} models in the pair", pair.models().len())?;
    if let Some(feed) = &feed {
        match (feed.status(), feed.count()) {
            (Some(status), _) => writeln!(out, "source {}", status.description)?,
            (None, Some(frames)) => writeln!(out, "source {}: {frames} frames", feed.address())?,
            (None, None) => writeln!(out, "source {}", feed.address())?,
        }
    }
    writeln!(out, "ok")?;
    Ok(())
}
