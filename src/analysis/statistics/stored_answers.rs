//! Compares our results with those of scipy and statsmodels, which are stored under
//! fixtures/statistics with the script that made them. Some cases are published ones: the examples
//! of R's help on `wilcox.test`, and Fisher's lady tasting tea.

use super::quantile_distribution::quantile_shares;
use super::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
struct Stored<Case> {
    made_by: String,
    cases: Vec<Case>,
}

fn stored<Case: DeserializeOwned>(name: &str) -> Vec<Case> {
    let path = format!("{}/../../fixtures/statistics/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let stored: Stored<Case> =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(stored.made_by.contains("scipy") && !stored.cases.is_empty());
    stored.cases
}

/// Whether two results are equal up to rounding in the last digits.
fn is_close(one: f64, two: f64) -> bool {
    (one - two).abs() <= 1e-9 * one.abs().max(two.abs())
}

#[derive(Deserialize)]
struct TwoSamples {
    name: String,
    a: Vec<f64>,
    b: Vec<f64>,
    p: f64,
    #[serde(default)]
    below: f64,
}

#[test]
fn mann_whitney_matches_scipy_and_r() {
    for case in stored::<TwoSamples>("rank_sum") {
        let tested = rank_sum(&case.a, &case.b).unwrap();
        let below = tested.lower * to_f64(case.a.len()) * to_f64(case.b.len());
        assert!(
            is_close(tested.p, case.p) && is_close(below, case.below),
            "{}: {tested:?}, not {}",
            case.name,
            case.p
        );
    }
}

#[test]
fn signed_ranks_match_scipy_and_r() {
    for case in stored::<TwoSamples>("signed_rank") {
        let rounded = |difference: f64| (difference * 1e9).round() / 1e9;
        let shift =
            |(a, b): (&f64, &f64)| PairedChange { size: rounded((b - a).abs()), lower: b < a };
        let tested = signed_rank(&case.a.iter().zip(&case.b).map(shift).collect::<Vec<_>>());
        assert!(is_close(tested.p, case.p), "{}: {tested:?}, not {}", case.name, case.p);
    }
}

#[test]
fn the_sign_test_matches_scipy() {
    for case in stored::<TwoSamples>("signs") {
        let tested = sign_test(
            &case
                .a
                .iter()
                .zip(&case.b)
                .map(|(a, b)| PairedChange::of_pair(*a, *b))
                .collect::<Vec<_>>(),
        );
        assert!(is_close(tested.p, case.p), "{}: {tested:?}, not {}", case.name, case.p);
    }
}

#[test]
fn the_permutation_test_matches_scipy_within_the_sampling_error() {
    for case in stored::<TwoSamples>("permutation") {
        let tested = permutation::test_medians(&case.a, &case.b, 9999, 1).unwrap();
        // Four standard deviations, and one step of p.
        let error = 4.0 * (case.p * (1.0 - case.p) / 9999.0).sqrt() + 1e-4;
        assert!(
            (tested.p - case.p).abs() <= error,
            "{}: {tested:?}, not {} ± {error}",
            case.name,
            case.p
        );
    }
}

#[derive(Deserialize)]
struct Resamples {
    name: String,
    a: Vec<f64>,
    b: Vec<f64>,
    design: String,
    hundredths: f64,
    ratio: f64,
    ratio_low: f64,
    ratio_high: f64,
    difference: f64,
    difference_low: f64,
    difference_high: f64,
}

#[test]
fn bootstrap_intervals_match_scipy_within_the_sampling_error() {
    for case in stored::<Resamples>("bootstrap") {
        let hundredths = if case.hundredths == 90.0 { 90 } else { 50 };
        let pairs: Vec<(f64, f64)> = case.a.iter().copied().zip(case.b.iter().copied()).collect();
        let (a, b) =
            (SortedValues::new(case.a.iter().copied()), SortedValues::new(case.b.iter().copied()));
        // The share of our resamples that may lie outside scipy's interval may differ by four
        // standard deviations: scipy drew 99,999 resamples, and of pairs we draw 2000.
        let (change, resampled, error) = match case.design.as_str() {
            "paired" => {
                let resamples = bootstrap::draw_resamples(&pairs, &a, &b, hundredths, 1);
                let share = 1.0 / to_f64(resamples.len());
                let all = resamples.into_iter().map(|(a, b)| (a, b, share)).collect();
                (bootstrap::paired_change(&pairs, hundredths, 1), all, 0.014)
            }
            _ => {
                let [a_shares, b_shares] =
                    [&a, &b].map(|sample| quantile_shares(sample, hundredths));
                let all: Vec<(f64, f64, f64)> = a_shares
                    .iter()
                    .flat_map(|(a, share)| {
                        b_shares.iter().map(move |(b, other)| (*a, *b, share * other))
                    })
                    .collect();
                (bootstrap::independent_change(&a, &b, hundredths), all, 0.002)
            }
        };
        let change = change.unwrap();
        assert!(
            is_close(change.ratio.unwrap().value, case.ratio)
                && is_close(change.difference.value, case.difference),
            "{}",
            case.name
        );
        let share = |within: &dyn Fn(f64, f64) -> bool| -> f64 {
            resampled.iter().filter(|one| within(one.0, one.1)).map(|one| one.2).sum()
        };
        for (what, beyond, and_at) in [
            (
                "low ratio",
                share(&|a, b| b / a < case.ratio_low),
                share(&|a, b| b / a <= case.ratio_low * 1.000_001),
            ),
            (
                "high ratio",
                share(&|a, b| b / a > case.ratio_high),
                share(&|a, b| b / a >= case.ratio_high * 0.999_999),
            ),
            (
                "low difference",
                share(&|a, b| b - a < case.difference_low),
                share(&|a, b| b - a <= case.difference_low + 0.01),
            ),
            (
                "high difference",
                share(&|a, b| b - a > case.difference_high),
                share(&|a, b| b - a >= case.difference_high - 0.01),
            ),
        ] {
            assert!(
                beyond <= 0.025 + error && and_at >= 0.025 - error,
                "{}, {what}: a share of {beyond} to {and_at} lies outside",
                case.name
            );
        }
    }
}

#[derive(Deserialize)]
struct Proportions {
    a: usize,
    of_a: usize,
    b: usize,
    of_b: usize,
    p: f64,
    low: f64,
    high: f64,
}

#[test]
fn fisher_and_wilson_match_scipy_and_statsmodels() {
    for case in stored::<Proportions>("proportion") {
        let p = fisher_exact((case.a, case.of_a), (case.b, case.of_b)).unwrap();
        let share = proportion(case.a, case.of_a).unwrap();
        assert!(
            is_close(p, case.p),
            "{} of {}, {} of {}: {p}, not {}",
            case.a,
            case.of_a,
            case.b,
            case.of_b,
            case.p
        );
        assert!(
            (share.low - case.low).abs() < 1e-9 && (share.high - case.high).abs() < 1e-9,
            "{share:?}"
        );
    }
}

#[derive(Deserialize)]
struct Quantiled {
    values: Vec<f64>,
    p1: f64,
    p25: f64,
    p50: f64,
    p75: f64,
    p90: f64,
    p99: f64,
}

#[test]
fn quantiles_match_numpy() {
    for case in stored::<Quantiled>("quantiles") {
        let values = SortedValues::new(case.values);
        let ours =
            [1, 25, 50, 75, 90, 99].map(|hundredths| values.quantile(hundredths).unwrap().value);
        let numpy = [case.p1, case.p25, case.p50, case.p75, case.p90, case.p99];
        assert!(
            ours.iter().zip(numpy).all(|(one, two)| is_close(*one, two)),
            "{ours:?}, {numpy:?}"
        );
    }
}

#[derive(Deserialize)]
struct Family {
    p: Vec<f64>,
    corrected: Vec<f64>,
}

#[test]
fn holm_matches_statsmodels() {
    for case in stored::<Family>("holm") {
        let ours = holm(&case.p.iter().copied().map(Some).collect::<Vec<_>>());
        assert!(
            ours.iter().zip(&case.corrected).all(|(one, two)| is_close(one.unwrap(), *two)),
            "{ours:?}"
        );
    }
}
