//! `tinysaver run`: the main job. A live source has a thread of its own; inference, log and table are in this one. The
//! base is the slow local path, unless others are named: then frames that wait for a base do not hold up those that
//! follow.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use tinysaver_board::{Dropped, Fault, Next};
use tinysaver_core::energy::Account;
use tinysaver_core::{Outcome, Record, StageMicros};

use crate::cascade::{Cascade, Stage};
use crate::config::{RunSettingsArgs, Settings, SettingsArgs};
use crate::energy::{BoardWatcher, EnergyMeter};
use crate::face::{About, follow};
use crate::failure::Failure;
use crate::feed::Feed;
use crate::frames::{Drop, Image, micros_since};
use crate::interrupt::Interrupt;
use crate::offload::{Draft, Offload};
use crate::pair::Pair;
use crate::recorder::Recorder;
use crate::reuse::Reuse;
use crate::sinks::{Sinks, Style};
use crate::spending::{Decided, LocalBase, Spender, opening_line, route_prices};
use crate::truth::Truth;

/// While a frame waits for its turn, other things are looked after this often.
const TURN_PIECE: Duration = Duration::from_millis(50);

/// Arguments of `run`.
#[derive(clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    run: RunSettingsArgs,
    /// Stop after so many frames; those that a camera made while nobody had time do not count
    #[arg(long, value_name = "N")]
    frames: Option<u64>,
    /// No line per frame; a progress bar where the terminal can show one
    #[arg(short, long)]
    quiet: bool,
    /// JSON Lines: the exit log's record of each frame, then {"summary": ...}
    #[arg(long)]
    json: bool,
}

/// One run of the program over one source.
struct Run<'a> {
    settings: &'a Settings,
    frames: Option<u64>,
    feed: Feed,
    cascade: Cascade,
    recorder: Recorder,
    offload: Option<Offload>,
    reuse: Option<Reuse>,
    energy: Option<EnergyMeter>,
    spender: Option<Spender>,
    board: BoardWatcher,
}

/// Classifies every frame of the source.
pub fn execute(args: &RunArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let settings = Settings::gather(&args.settings, &args.run).map_err(Failure::config)?;
    let mut run = Run::prepare(&settings, args.frames).map_err(Failure::Config)?;
    let interrupt = Interrupt::listen().context("cannot listen for Ctrl-C")?;
    let (followers, page) = follow(&settings.face, run.about(), settings.limits).map_err(Failure::Config)?;
    let style = Style { quiet: args.quiet, json: args.json };
    let mut sinks = Sinks::new(style, settings.log.clone(), followers, run.feed.count(), out)?;
    if let Some(page) = page {
        sinks.announce(&format!("live page: http://{page}/"))?;
    }
    if let Some(line) = run.opening_line() {
        sinks.announce(&line)?;
    }
    let result = run.classify(&interrupt, &mut sinks);
    sinks.stop();
    let fault = result?;
    if let Some(rest) = run.energy.as_mut().and_then(EnergyMeter::rest) {
        sinks.add_rest(&rest);
    }
    sinks.finish(interrupt.requested(), run.feed.status(), run.offload.as_ref().map(Offload::counts))?;
    fault.map_or(Ok(()), |fault| Err(Failure::Run(fault.into())))
}

impl<'a> Run<'a> {
    fn prepare(settings: &'a Settings, frames: Option<u64>) -> anyhow::Result<Self> {
        let source = settings
            .source
            .as_deref()
            .context("no source: name one with --source, such as --source photos/, /dev/video0 or test://?frames=20")?;
        let pair = Pair::read(&settings.pair)?;
        let mut cascade = Cascade::load(&pair, settings)?;
        let is_f32 = cascade.local_base.as_ref().is_some_and(Stage::is_f32);
        let base = LocalBase { is_f32, threads: settings.threads.get() };
        let prices = settings.price.map(|prices| route_prices(prices, &settings.energy, base)).transpose()?;
        let offload = settings.offload.as_ref();
        let offload = offload.map(|offload| Offload::start(&pair, &mut cascade, offload, prices)).transpose()?;
        // Last, so that a camera's first frame is not old before the models are there.
        let feed = Feed::open(source, settings.pace)?;
        let truth = Truth::find(settings.truth.as_deref(), feed.paths(), cascade.labels.len())?;
        let board = BoardWatcher::start(&settings.energy.root).context("cannot watch the board")?;
        let recorder = Recorder::new(&cascade, truth, board.watch());
        let reuse = settings.reuse.map(Reuse::new);
        let energy = EnergyMeter::start(&settings.energy)?;
        let spender = settings.budget.as_ref().map(|budget| Spender::new(budget, cascade.gate.threshold));
        if spender.is_some() && energy.is_none() {
            bail!(
                "a budget needs energy that is measured or modelled, and here it is neither: name the board with --board \
                 (pi4, pi5, pi-zero-2w, or a profile's path), or a sensor with --power-sensor (`tinysaver power` lists them)"
            );
        }
        let mut run = Self { settings, frames, feed, cascade, recorder, offload, reuse, energy, spender, board };
        run.obey();
        Ok(run)
    }

    /// What holds for the next frame, by the budget.
    fn obey(&mut self) {
        if let Some(spender) = &self.spender {
            self.cascade.gate.threshold = spender.threshold();
            self.recorder.budget = Some(spender.in_force());
        }
    }

    fn opening_line(&self) -> Option<String> {
        let (budget, energy) = (self.settings.budget.as_ref()?, self.energy.as_ref()?);
        Some(opening_line(budget, energy.source(), &self.cascade.gate, &self.cascade.gate_origin))
    }

    fn about(&self) -> About {
        let Cascade { saver, base, .. } = &self.cascade;
        About {
            source: self.feed.address().to_owned(),
            models: format!("saver {}, base {}", saver.entry.id, base.entry.id),
            capture: self.feed.watch(),
            board: self.board.watch(),
        }
    }

    /// Until the source ends, the user has had enough, or a recorded source cannot be read on, which is returned.
    fn classify(&mut self, interrupt: &Interrupt, sinks: &mut Sinks) -> Result<Option<Fault>, Failure> {
        sinks.begin(self.feed.status())?;
        self.book_between(Account::Idle);
        let mut left = self.frames.unwrap_or(u64::MAX);
        let mut fault = None;
        while left > 0 && !interrupt.requested() {
            self.wait_for_room(sinks)?;
            self.wait_for_turn(interrupt, sinks)?;
            let next = self.next();
            if let (Some(spender), Ok(Next::Frame | Next::Dropped(..))) = (&mut self.spender, &next) {
                spender.begin(self.recorder.started.elapsed());
            }
            self.drops(sinks)?;
            match next {
                Ok(Next::Frame) => {
                    sinks.see(self.recorder.sequence(), self.feed.frame());
                    let record = self.frame();
                    let record = self.book(record);
                    self.recorder.advance(1);
                    record.map_or(Ok(()), |record| self.emit(record, sinks))?;
                    self.collect(sinks)?;
                }
                Ok(Next::Dropped(reason, detail)) => {
                    let record = self.recorder.dropped(&self.feed, Drop { reason, detail }, self.feed.stages());
                    let record = self.book(Some(record));
                    self.recorder.advance(1);
                    record.map_or(Ok(()), |record| self.emit(record, sinks))?;
                }
                Ok(Next::Idle) => {
                    sinks.idle(self.recorder.started);
                    self.collect(sinks)?;
                    continue;
                }
                Ok(Next::End) => break,
                Err(failed) => {
                    fault = Some(failed);
                    break;
                }
            }
            self.book_between(Account::Sinks);
            left -= 1;
        }
        self.feed.stop();
        self.drops(sinks)?;
        self.wait_while(sinks, Offload::is_waiting)?;
        Ok(fault)
    }

    /// Waits for the next frame. A recorded frame's work begins with reading it (what was before is booked already), a
    /// live one's when it has come.
    fn next(&mut self) -> Result<Next, Fault> {
        let has_time = self.feed.has_time();
        let next = self.feed.next(self.offload.as_ref().map_or(Duration::MAX, Offload::quiet_for));
        if !has_time {
            let frames_wait = self.offload.as_ref().is_some_and(Offload::is_waiting);
            self.book_between(if frames_wait { Account::Waiting } else { Account::Idle });
        }
        next
    }

    /// Time and energy since the last booking were no frame's.
    fn book_between(&mut self, account: Account) {
        if let Some(energy) = &mut self.energy {
            energy.between(account);
        }
    }

    /// They were for the frame in hand, whose record this is; one that waits for a base has it already.
    fn book(&mut self, mut record: Option<Box<Record>>) -> Option<Box<Record>> {
        let Some(energy) = &mut self.energy else { return record };
        let newest = record.as_deref().or_else(|| self.offload.as_ref()?.newest());
        let work = newest.map(|record| self.cascade.work(&record.stages_us, record.sent_bytes));
        let energy = energy.frame(&work.unwrap_or_default());
        if let Some(spender) = &mut self.spender {
            let of_waiting = self.offload.as_ref().and_then(Offload::newest).map(Decided::of_waiting);
            let decided = record.as_deref().map(Decided::of_done).or(of_waiting).unwrap_or_default();
            let now = self.recorder.started.elapsed();
            spender.observe(now, energy.as_ref(), decided, &self.board.watch().conditions());
        }
        match (&mut record, &mut self.offload, energy) {
            (Some(record), _, energy) => record.energy = energy,
            (None, Some(offload), Some(energy)) => offload.book(energy),
            (None, ..) => {}
        }
        self.obey();
        record
    }

    /// Records go out in the order of their frames: one that is done waits for those before it.
    fn emit(&mut self, record: Box<Record>, sinks: &mut Sinks) -> Result<(), Failure> {
        match &mut self.offload {
            Some(offload) => {
                offload.done(record);
                self.collect(sinks)
            }
            None => self.give_out(record, sinks),
        }
    }

    /// Takes in what bases have said, and gives out what is done.
    fn collect(&mut self, sinks: &mut Sinks) -> Result<(), Failure> {
        if let Some(offload) = &mut self.offload {
            offload.collect();
        }
        while let Some(record) = self.offload.as_mut().and_then(Offload::next_record) {
            self.give_out(record, sinks)?;
        }
        Ok(())
    }

    fn give_out(&mut self, mut record: Box<Record>, sinks: &mut Sinks) -> Result<(), Failure> {
        if let Some(reuse) = &mut self.reuse {
            reuse.learn(&mut record);
        }
        sinks.take(&record, &self.cascade.labels, self.recorder.started)
    }

    /// A source that has time waits until a base can take another frame, rather than have the saver answer for it.
    fn wait_for_room(&mut self, sinks: &mut Sinks) -> Result<(), Failure> {
        if self.feed.has_time() { self.wait_while(sinks, Offload::is_full) } else { Ok(()) }
    }

    /// Under a budget frames may have to come less often than they could. A live source's next frame is the newest then.
    fn wait_for_turn(&mut self, interrupt: &Interrupt, sinks: &mut Sinks) -> Result<(), Failure> {
        while let Some(left) = self.spender.as_ref().and_then(|spender| spender.left(self.recorder.started.elapsed()))
            && !interrupt.requested()
        {
            let piece = left.min(TURN_PIECE);
            match &mut self.offload {
                Some(offload) if offload.is_waiting() => {
                    offload.wait(piece);
                    self.book_between(Account::Waiting);
                }
                _ => {
                    std::thread::sleep(piece);
                    self.book_between(Account::Idle);
                }
            }
            sinks.idle(self.recorder.started);
            self.collect(sinks)?;
        }
        Ok(())
    }

    fn wait_while(&mut self, sinks: &mut Sinks, busy: impl Fn(&Offload) -> bool) -> Result<(), Failure> {
        loop {
            self.collect(sinks)?;
            match &mut self.offload {
                Some(offload) if busy(offload) => {
                    offload.wait(Duration::MAX);
                    self.book_between(Account::Waiting);
                }
                _ => return Ok(()),
            }
        }
    }

    /// What the source dropped since the last frame goes before the next one.
    fn drops(&mut self, sinks: &mut Sinks) -> Result<(), Failure> {
        for Dropped { reason, frames, detail } in self.feed.take_drops() {
            let record = self.recorder.lost(&self.feed, Outcome::Dropped { reason, detail, frames });
            self.recorder.advance(frames);
            self.emit(record, sinks)?;
        }
        Ok(())
    }

    /// Takes the frame in hand all the way, or to a base that will answer later.
    fn frame(&mut self) -> Option<Box<Record>> {
        let mut stages = self.feed.stages();
        self.try_frame(&mut stages).unwrap_or_else(|dropped| Some(self.recorder.dropped(&self.feed, dropped, stages)))
    }

    fn try_frame(&mut self, stages: &mut StageMicros) -> Result<Option<Box<Record>>, Drop> {
        let Self { settings, feed, cascade, recorder, offload, reuse, .. } = self;
        let image = Image::of(feed.frame(), settings.limits, stages)?;
        let grid = cascade.look(&image, stages)?;
        if let (Some(reuse), Some(grid)) = (reuse, grid) {
            let now_us = micros_since(recorder.started);
            if let Some(answer) = reuse.again(recorder.sequence(), grid, now_us, cascade.input_way(&image)) {
                return Ok(Some(recorder.answered(feed, answer, *stages)));
            }
        }
        let Some(offload) = offload else {
            let answer = cascade.answer(&image, stages)?;
            return Ok(Some(recorder.answered(feed, answer, *stages)));
        };
        let (answer, exits) = cascade.saver_answer(&image, stages)?;
        let record = recorder.answered(feed, answer, *stages);
        if exits { Ok(Some(record)) } else { offload.escalate(&image, feed.jpeg(), Draft::new(record)) }
    }
}
