use tinysaver_core::{DropReason, LUMA_UNITS};

use super::*;
use crate::exit_log::tests::sample;

const SETTINGS: ReuseSettings = ReuseSettings { max_age_us: 1_000_000, recheck_every: 3 };

fn scene(level: u16) -> LumaGrid {
    let mut grid = LumaGrid::default();
    grid.0.fill(level * LUMA_UNITS);
    grid
}

/// A record as the models would have made it.
fn classified(sequence: u64, class: usize, exit: Exit) -> Record {
    let mut record = sample(sequence);
    if let Outcome::Answered(answer) = &mut record.outcome {
        (answer.class, answer.exit) = (class, exit);
    }
    record
}

fn check(record: &Record) -> Option<ReuseCheck> {
    record.answer().and_then(|answer| answer.reuse_check)
}

/// Shows a frame; where it is not answered again, the models say `class`. Gives the record's exit and class.
fn show(reuse: &mut Reuse, sequence: u64, level: u16, class: usize) -> (Exit, usize, Option<ReuseCheck>) {
    if let Some(answer) = reuse.again(sequence, scene(level), sequence * 1000, InputWay::Pixels) {
        assert_eq!((answer.macs, answer.input), (0, Some(InputWay::Pixels)));
        return (answer.exit, answer.class, answer.reuse_check);
    }
    let mut record = classified(sequence, class, Exit::Saver);
    reuse.learn(&mut record);
    (Exit::Saver, class, check(&record))
}

#[test]
fn a_still_scene_keeps_its_answer_and_every_third_is_checked() {
    let mut reuse = Reuse::new(SETTINGS);
    assert_eq!(show(&mut reuse, 0, 50, 7), (Exit::Saver, 7, None));
    assert_eq!(show(&mut reuse, 1, 50, 8), (Exit::Reused, 7, None));
    assert_eq!(show(&mut reuse, 2, 50, 8), (Exit::Reused, 7, None));
    let missed = Some(ReuseCheck { class: 7, differs: true });
    assert_eq!(show(&mut reuse, 3, 50, 8), (Exit::Saver, 8, missed));
    assert_eq!(show(&mut reuse, 4, 50, 8), (Exit::Reused, 8, None), "the newer answer stands");
    show(&mut reuse, 5, 50, 8);
    assert_eq!(show(&mut reuse, 6, 50, 8), (Exit::Saver, 8, Some(ReuseCheck { class: 8, differs: false })));
    assert_eq!(show(&mut reuse, 7, 90, 9), (Exit::Saver, 9, None), "another scene");
}

#[test]
fn answers_that_come_later_are_learnt_in_order() {
    let mut reuse = Reuse::new(SETTINGS);
    assert!(reuse.again(0, scene(50), 0, InputWay::Jpeg).is_none());
    assert!(reuse.again(1, scene(50), 1, InputWay::Jpeg).is_none(), "the first answer is still on its way");
    reuse.learn(&mut classified(0, 3, Exit::BaseRemote));
    let again = reuse.again(2, scene(50), 2, InputWay::Jpeg).unwrap();
    assert_eq!((again.exit, again.class), (Exit::Reused, 3));
    // Its own record teaches nothing.
    reuse.learn(&mut classified(2, 99, Exit::Reused));
    reuse.learn(&mut classified(1, 4, Exit::BaseRemote));
    assert_eq!(reuse.again(3, scene(50), 3, InputWay::Jpeg).unwrap().class, 4);
}

#[test]
fn what_nobody_was_sure_of_is_not_given_again() {
    let mut reuse = Reuse::new(SETTINGS);
    show(&mut reuse, 0, 50, 7);
    assert!(reuse.again(1, scene(90), 1000, InputWay::Jpeg).is_none());
    reuse.learn(&mut classified(1, 5, Exit::Fallback));
    assert!(reuse.again(2, scene(90), 2000, InputWay::Jpeg).is_none(), "the base is asked anew");
    let mut failed = sample(2);
    failed.outcome = Outcome::Dropped { reason: DropReason::Engine, detail: String::new(), frames: 1 };
    reuse.learn(&mut failed);
    assert!(reuse.again(3, scene(90), 3000, InputWay::Jpeg).is_none());
}
