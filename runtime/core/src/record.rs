//! One frame's line in the exit log, schema 2. `docs/exit-log.md` explains each field to those who read logs with
//! other tools; this file is the definition.

use serde::{Deserialize, Serialize};

use crate::confidence::Temperature;
use crate::energy::FrameEnergy;
use crate::gate::Threshold;
use crate::route::Degraded;
use crate::spend::FrameBudget;

/// The version written into every record. A reader skips, and counts, records of a version it does not know. Version 1
/// had one record for every dropped frame; since version 2 a drop tells how many frames it stands for.
pub const RECORD_SCHEMA: u32 = 2;

/// The oldest version that is still read.
pub const OLDEST_RECORD_SCHEMA: u32 = 1;

/// Who gave the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// The last answer, because the scene had not changed.
    Reused,
    /// The saver was sure.
    Saver,
    /// The base on this board.
    BaseLocal,
    /// The base on another machine.
    BaseRemote,
    /// The base was wanted and did not answer; the saver's answer, marked degraded.
    Fallback,
}

impl Exit {
    /// Every exit, in the order in which tables show them.
    pub const ALL: [Self; 5] = [Self::Reused, Self::Saver, Self::BaseLocal, Self::BaseRemote, Self::Fallback];

    /// The name in logs, metrics and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reused => "reused",
            Self::Saver => "saver",
            Self::BaseLocal => "base_local",
            Self::BaseRemote => "base_remote",
            Self::Fallback => "fallback",
        }
    }
}

/// Why a frame got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// The file could not be read.
    Unreadable,
    /// The bytes are no picture of a kind that we read.
    NotAnImage,
    /// The picture ends early or is damaged.
    Damaged,
    /// The picture has more pixels than the limit allows.
    TooLarge,
    /// A model failed on this frame or gave logits that are not numbers.
    Engine,
    /// A newer frame came before this one's turn: a camera is faster than the models.
    Superseded,
    /// The camera's own count has a gap: its driver had no buffer free, or the transfer failed.
    LostByDriver,
    /// The driver marked the buffer as not to be trusted.
    Corrupt,
    /// The run ended while the frame waited.
    Stopped,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Unreadable,
        Self::NotAnImage,
        Self::Damaged,
        Self::TooLarge,
        Self::Engine,
        Self::Superseded,
        Self::LostByDriver,
        Self::Corrupt,
        Self::Stopped,
    ];

    /// The name in logs, metrics and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::NotAnImage => "not_an_image",
            Self::Damaged => "damaged",
            Self::TooLarge => "too_large",
            Self::Engine => "engine",
            Self::Superseded => "superseded",
            Self::LostByDriver => "lost_by_driver",
            Self::Corrupt => "corrupt",
            Self::Stopped => "stopped",
        }
    }
}

/// What a check of the change gate found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReuseCheck {
    /// The answer that would have been given again.
    pub class: usize,
    /// Whether the models said something else: a miss of the change gate.
    pub differs: bool,
}

/// How a frame became the saver's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputWay {
    /// A picture file: decoded whole, scaled with the filter that the model was trained with.
    Still,
    /// A camera's pixels, straight into the tensor.
    Pixels,
    /// A stream's JPEG, decoded no larger and no further than the model needs, straight into the tensor.
    Jpeg,
    /// An unusual JPEG of a stream, decoded whole, then as pixels.
    WholeJpeg,
}

/// Microseconds that each stage took; a stage that did not run is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageMicros {
    /// From a camera's capture to the moment the frame was taken up: driver, transfer, slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<u64>,
    /// From the disk or the camera into memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// From JPEG or another code to pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decode: Option<u64>,
    /// From pixels to the models' input tensors: crop, scale, normalise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<u64>,
    /// The saver's inference and the gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saver: Option<u64>,
    /// Coding the frame for a base elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encode: Option<u64>,
    /// Handing it to the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transmit: Option<u64>,
    /// The base's inference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<u64>,
}

/// What an answered frame got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Who answered.
    pub exit: Exit,
    /// Of a fallback, why no base answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<Degraded>,
    /// The answered class: index into the pair's labels.
    pub class: usize,
    /// Its name.
    pub label: String,
    /// Top-1 probability of the model that answered.
    pub probability: f32,
    /// What the saver said, which is `class` unless the base answered.
    pub saver_class: usize,
    /// The saver's top-1 probability after temperature: what the gate judged.
    pub confidence: f32,
    /// The gate's threshold for this frame.
    pub threshold: Threshold,
    /// The temperature behind the confidence.
    pub temperature: Temperature,
    /// How the saver's input was made; absent from older logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<InputWay>,
    /// Of a frame that looked the same as the last one and was classified all the same: what reuse would have done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse_check: Option<ReuseCheck>,
    /// Multiply-accumulates that were spent on this frame.
    pub macs: u64,
    /// Multiply-accumulates that the base alone would have spent.
    pub macs_always_base: u64,
}

/// An answer, or the reason why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Somebody answered.
    Answered(Answer),
    /// Nobody did.
    Dropped {
        /// The kind, for counting.
        reason: DropReason,
        /// The error's own words.
        detail: String,
        /// How many frames in a row this stands for; at least 1. The next record's sequence is larger by as much.
        #[serde(default = "one_frame")]
        frames: u64,
    },
}

fn one_frame() -> u64 {
    1
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`RECORD_SCHEMA`].
    pub schema: u32,
    /// Which run of the program: its start in UTC and its process id.
    pub run: String,
    /// Frame number within the run, from 0, without gaps; of several dropped frames, the first one's.
    pub sequence: u64,
    /// When the answer was there: RFC 3339, UTC, microseconds.
    pub time_utc: String,
    /// The same moment on the monotonic clock: microseconds since the run began. Use it for differences.
    pub monotonic_us: u64,
    /// The file or the device that the frame came from.
    pub source: String,
    /// Answer or drop.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The right class, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truth: Option<usize>,
    /// Per-stage time.
    pub stages_us: StageMicros,
    /// From capture to answer: `frame_age_us` of a camera's frame, the work alone of a file's.
    pub latency_us: u64,
    /// How old a live source's frame was when its answer was there, by the camera's own time stamp where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_age_us: Option<u64>,
    /// Bytes that went to a base elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_bytes: Option<u64>,
    /// What held the board back when the frame was done: the bits of the Raspberry Pi's `get_throttled`; absent where the
    /// board cannot tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle: Option<u32>,
    /// What it cost, where that is measured or modelled.
    #[serde(flatten)]
    pub energy: Option<FrameEnergy>,
    /// The budget of energy under which it was decided; absent of runs without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<FrameBudget>,
    /// First 16 hexadecimal digits of the saver file's SHA-256.
    pub saver_model: String,
    /// The same of the base file.
    pub base_model: String,
}

impl Record {
    /// The answer, if there is one.
    #[must_use]
    pub fn answer(&self) -> Option<&Answer> {
        match &self.outcome {
            Outcome::Answered(answer) => Some(answer),
            Outcome::Dropped { .. } => None,
        }
    }

    /// How many frames this record stands for.
    #[must_use]
    pub fn frames(&self) -> u64 {
        match self.outcome {
            Outcome::Answered(_) => 1,
            Outcome::Dropped { frames, .. } => frames.max(1),
        }
    }

    /// Whether the answer is right; `None` where the truth or an answer is missing.
    #[must_use]
    pub fn correct(&self) -> Option<bool> {
        Some(self.answer()?.class == self.truth?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::energy::{EnergyStage, StageEnergies, StageEnergy};
    use proptest::prelude::*;

    /// A record to vary in tests.
    pub(crate) fn answered(exit: Exit) -> Record {
        Record {
            schema: RECORD_SCHEMA,
            run: "20261124T040000Z-77".into(),
            sequence: 3,
            time_utc: "2026-11-24T04:00:01.000250Z".into(),
            monotonic_us: 1_000_250,
            source: "photos/lion.jpg".into(),
            outcome: Outcome::Answered(Answer {
                exit,
                degraded: None,
                class: 291,
                label: "lion".into(),
                probability: 0.75,
                saver_class: 291,
                confidence: 0.75,
                threshold: Threshold::try_from(0.7).unwrap(),
                temperature: Temperature::ONE,
                input: Some(InputWay::Still),
                reuse_check: None,
                macs: 197,
                macs_always_base: 860,
            }),
            truth: Some(291),
            stages_us: StageMicros {
                wait: None,
                read: Some(90),
                decode: Some(800),
                resize: Some(70),
                saver: Some(9_000),
                ..StageMicros::default()
            },
            latency_us: 10_000,
            frame_age_us: None,
            sent_bytes: None,
            throttle: None,
            energy: None,
            budget: None,
            saver_model: "0123456789abcdef".into(),
            base_model: "fedcba9876543210".into(),
        }
    }

    #[test]
    fn an_answered_line_reads_as_documented() {
        let line = serde_json::to_string(&answered(Exit::Saver)).unwrap();
        assert_eq!(
            line,
            concat!(
                r#"{"schema":2,"run":"20261124T040000Z-77","sequence":3,"time_utc":"2026-11-24T04:00:01.000250Z","#,
                r#""monotonic_us":1000250,"source":"photos/lion.jpg","outcome":"answered","exit":"saver","class":291,"#,
                r#""label":"lion","probability":0.75,"saver_class":291,"confidence":0.75,"threshold":0.7,"#,
                r#""temperature":1.0,"input":"still","macs":197,"macs_always_base":860,"truth":291,"#,
                r#""stages_us":{"read":90,"decode":800,"resize":70,"saver":9000},"latency_us":10000,"#,
                r#""saver_model":"0123456789abcdef","base_model":"fedcba9876543210"}"#
            )
        );
    }

    #[test]
    fn a_dropped_line_reads_back() {
        let mut record = answered(Exit::Saver);
        record.outcome = Outcome::Dropped { reason: DropReason::Damaged, detail: "ends early".into(), frames: 3 };
        record.truth = None;
        let line = serde_json::to_string(&record).unwrap();
        assert!(line.contains(r#""outcome":"dropped","reason":"damaged","detail":"ends early","frames":3"#), "{line}");
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
    }

    #[test]
    fn a_drop_of_the_first_schema_is_one_frame() {
        let mut record = answered(Exit::Saver);
        record.outcome = Outcome::Dropped { reason: DropReason::Damaged, detail: "ends early".into(), frames: 1 };
        let line = serde_json::to_string(&record).unwrap().replace(r#","frames":1"#, "");
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap().frames(), 1);
    }

    #[test]
    fn a_live_frames_age_reads_back() {
        let mut record = answered(Exit::Saver);
        (record.frame_age_us, record.stages_us.wait) = (Some(41_000), Some(31_000));
        let line = serde_json::to_string(&record).unwrap();
        assert!(line.contains(r#""stages_us":{"wait":31000,"#) && line.contains(r#""frame_age_us":41000"#), "{line}");
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
    }

    #[test]
    fn energy_reads_back_and_is_absent_where_nobody_knows() {
        let mut record = answered(Exit::Saver);
        record.energy = Some(FrameEnergy {
            energy_source: "modelled:pi4".parse().unwrap(),
            energy_uj: 37_000,
            energy_above_idle_uj: Some(9_000),
            energy_wall_us: 10_000,
            energy_cpu_us: 10_000,
            energy_idle_uj: 56_000,
            energy_idle_us: 20_000,
            energy_waiting_uj: 0,
            energy_waiting_us: 0,
            energy_stages: StageEnergies::default(),
        });
        let stages = &mut record.energy.as_mut().unwrap().energy_stages;
        stages
            .set(EnergyStage::Saver, StageEnergy { us: 9_000, cpu_us: 9_000, uj: 33_000, above_idle_uj: Some(8_000) });
        record.throttle = Some(0x5_0005);
        let line = serde_json::to_string(&record).unwrap();
        let fields = concat!(
            r#""throttle":327685,"energy_source":"modelled:pi4","energy_uj":37000,"energy_above_idle_uj":9000,"energy_wall_us":10000,"#,
            r#""energy_cpu_us":10000,"energy_idle_uj":56000,"energy_idle_us":20000,"#,
            r#""energy_stages":{"saver":{"us":9000,"cpu_us":9000,"uj":33000,"above_idle_uj":8000}},"saver_model""#
        );
        assert!(line.contains(fields), "{line}");
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
        assert!(!serde_json::to_string(&answered(Exit::Saver)).unwrap().contains("energy"));
    }

    #[test]
    fn an_unknown_field_is_no_error() {
        let line = serde_json::to_string(&answered(Exit::Fallback)).unwrap().replacen('{', r#"{"joules":1.5,"#, 1);
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), answered(Exit::Fallback));
    }

    proptest! {
        #[test]
        fn numbers_survive_the_log_bit_for_bit(confidence in 0.0f32..1.0, threshold in 0.0f32..=1.0, source in ".*") {
            let mut record = answered(Exit::BaseLocal);
            record.source = source;
            if let Outcome::Answered(answer) = &mut record.outcome {
                answer.confidence = confidence;
                answer.threshold = Threshold::try_from(threshold).unwrap();
            }
            let line = serde_json::to_string(&record).unwrap();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
        }
    }
}
