use super::*;
use crate::lab::parquet_file::tests::sample_records;
use crate::lab::records::Records;

const PLAIN: Judge = Judge { temperature: Temperature::ONE, score: Score::MaxSoftmax };

fn page(records: &Records, judge: Judge) -> String {
    let test = Test::new(records, &["saver", "base"], false).unwrap();
    let stages = test.stages(&[judge]).unwrap();
    let figures = test.figures(&stages, &[0.5]);
    let point = |is_swept| Point { name: "<b>0.5 pp</b>".into(), is_swept, figures: &figures };
    let promise = Some((Method::Rcps, Promise::new(0.005, 0.05).unwrap()));
    let points = vec![point(true), point(false)];
    let title = "<script>alert(1)</script>".to_owned();
    Page { title, test: &test, judge, threshold: Some(0.5), promise, points }.render().unwrap()
}

#[test]
fn the_page_has_all_plots_and_needs_nothing_from_outside() {
    let records = sample_records(200, 7, true, true);
    let page = page(&records, PLAIN);
    for title in
        ["Accuracy against operations", "Harm against the threshold", "Risk and coverage", "How sure", "Reliability"]
    {
        assert!(page.contains(title), "{title}");
    }
    assert_eq!(page.matches("<svg").count(), 6, "reliability is there twice");
    for outside in ["http:", "https:", "url(", "@import", "src=", "href=", "<script", "<b>", "NaN", "inf"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn degenerate_records_make_a_page_too() {
    for (rows, classes, logits, labelled) in [(1, 1, false, true), (1, 3, true, false), (40, 2, false, false)] {
        let records = sample_records(rows, classes, logits, labelled);
        let page = page(&records, PLAIN);
        assert!(!page.contains("NaN") && !page.contains("inf,"), "{rows} {classes}");
        assert_eq!(page.contains("hold no logits"), !logits);
    }
}

#[test]
fn reliability_is_the_mean_distance_of_confidence_and_accuracy() {
    let judged = |confidence, error| Judged { confidence, harm: false, help: false, error };
    // Two at 0.9, one right: 0.4 off; two at 0.2, none right: 0.2 off.
    let samples = [judged(0.9, false), judged(0.9, true), judged(0.2, true), judged(0.2, true)];
    let reliability = Reliability::of(&samples);
    assert!((reliability.error - 0.3).abs() < 1e-6, "{reliability:?}");
    assert_eq!(reliability.bins[9].0, 2);
    assert_eq!((curves::bin_of(1.0, 10), curves::bin_of(0.0, 10), curves::bin_of(0.55, 10)), (9, 0, 5));
    assert_eq!(Reliability::of(&[]).error, 0.0);
}

#[test]
fn the_curve_goes_from_always_base_to_always_saver() {
    let records = sample_records(300, 5, false, true);
    let test = Test::new(&records, &["saver", "base"], false).unwrap();
    let curve = accuracy_curve(&test, &Ranked::new(test.judged(test.savers[0], PLAIN).unwrap()).unwrap());
    let (saver, base) = test.ends(&test.stages(&[PLAIN]).unwrap());
    let (first, last) = (curve[0], curve[curve.len() - 1]);
    assert!((first.0 - 1.1).abs() < 1e-9 && (first.1 - base.accuracy).abs() < 1e-9, "{first:?}");
    assert!((last.0 - 0.1).abs() < 1e-9 && (last.1 - saver.accuracy).abs() < 1e-9, "{last:?}");
}
