//! Simulations of the statistical promises: how often an interval covers the true value, how often
//! a difference is shown that does not exist, and how often modes are found that exist or do not.
//! Seeds make the results repeatable, and the limits leave room for another seed. The figures of
//! docs/reference/campaigns.md are what these tests print: `cargo test --workspace --lib
//! statistics::simulations -- --nocapture --test-threads 1`.

use super::*;
use fastrand::Rng;

fn normal(random: &mut Rng) -> f64 {
    // The Box-Muller transform.
    (-2.0 * (1.0 - random.f64()).ln()).sqrt() * (std::f64::consts::TAU * random.f64()).cos()
}

/// A blackout from one mode at `center` that scatters by 30 %.
fn one_mode(random: &mut Rng, center: f64) -> f64 {
    center * (0.3 * normal(random)).exp()
}

/// A blackout of 4 ms, or of 43 ms in this share of cases, as with Nagle's algorithm.
fn two_modes(random: &mut Rng, share: f64) -> f64 {
    let center = if random.f64() < share { 43.0 } else { 4.0 };
    center * (0.1 * normal(random)).exp()
}

fn sample(count: usize, mut value: impl FnMut() -> f64) -> Vec<f64> {
    (0..count).map(|_| value()).collect()
}

fn share_of(trials: usize, mut trial: impl FnMut() -> bool) -> f64 {
    to_f64((0..trials).filter(|_| trial()).count()) / to_f64(trials)
}

/// Prints one line of figures.
fn print_row<Key: std::fmt::Display>(name: &str, figures: &[(Key, f64)]) {
    let figures: Vec<String> =
        figures.iter().map(|(key, share)| format!("{key}: {:.1} %", share * 100.0)).collect();
    println!("{name:<32} {}", figures.join("  "));
}

#[test]
fn the_interval_of_a_ratio_covers_the_true_ratio_as_often_as_promised() {
    let mut random = Rng::with_seed(1);
    for (name, hundredths, sizes) in [
        ("median", 50, [(6, 6), (6, 20), (20, 20), (50, 50)]),
        ("p90", 90, [(36, 36), (36, 60), (60, 60), (100, 100)]),
    ] {
        let coverage = sizes.map(|(a, b)| {
            let covered = share_of(400, || {
                let before = SortedValues::new(sample(a, || one_mode(&mut random, 4.0)));
                let after = SortedValues::new(sample(b, || one_mode(&mut random, 2.0)));
                let ratio = bootstrap::independent_change(&before, &after, hundredths)
                    .unwrap()
                    .ratio
                    .unwrap();
                ratio.low.unwrap() <= 0.5 && 0.5 <= ratio.high.unwrap()
            });
            assert!((0.93..=0.99).contains(&covered), "{name}, {a} and {b}: {covered}");
            (format!("{a} and {b}"), covered)
        });
        print_row(&format!("interval of a ratio, {name}"), &coverage);
    }
}

#[test]
fn tests_show_a_difference_that_does_not_exist_in_at_most_five_of_a_hundred_cases() {
    let mut random = Rng::with_seed(2);
    for count in [6, 15, 40] {
        let ranks = share_of(500, || {
            let (a, b) = (
                sample(count, || two_modes(&mut random, 0.3)),
                sample(count, || two_modes(&mut random, 0.3)),
            );
            rank_sum(&a, &b).unwrap().p <= ALPHA
        });
        let pairs = share_of(500, || {
            let pair =
                |_| PairedChange::of_pair(two_modes(&mut random, 0.3), two_modes(&mut random, 0.3));
            signed_rank(&(0..count).map(pair).collect::<Vec<_>>()).p <= ALPHA
        });
        assert!(ranks <= 0.075 && pairs <= 0.075, "{count}: {ranks}, {pairs}");
        print_row(
            "difference that is not there",
            &[(format!("{count}, Mann-Whitney"), ranks), (format!("{count}, Wilcoxon"), pairs)],
        );
    }
}

#[test]
fn one_mode_is_taken_for_two_in_less_than_one_of_a_hundred_cases() {
    type Shape = fn(&mut Rng) -> f64;
    let shapes: [(&str, Shape); 5] = [
        ("log-normal", |random| one_mode(random, 4.0)),
        ("exponential", |random| -(1.0 - random.f64()).ln()),
        ("uniform", |random| 1.0 + random.f64()),
        ("Pareto", |random| (1.0 - random.f64()).powf(-1.0 / 1.5)),
        ("whole milliseconds", |random| one_mode(random, 4.0).round()),
    ];
    let mut random = Rng::with_seed(3);
    for (name, shape) in shapes {
        let wrong = [6, 10, 20, 50, 200].map(|count| {
            let wrong = share_of(300, || {
                find_modes(&SortedValues::new(sample(count, || shape(&mut random)))).unwrap().len()
                    > 1
            });
            assert!(wrong <= 0.01, "{name}, {count}: {wrong}");
            (count, wrong)
        });
        print_row(&format!("two modes found in one, {name}"), &wrong);
    }
}

#[test]
fn finds_two_modes_more_often_the_more_values_they_have() {
    let mut random = Rng::with_seed(4);
    for (share, at_least) in [
        (0.5, [0.45, 0.95, 0.99, 0.99]),
        (0.3, [0.2, 0.7, 0.98, 0.99]),
        (0.2, [0.0, 0.3, 0.9, 0.98]),
        (0.1, [0.0, 0.0, 0.35, 0.85]),
    ] {
        let mut least = at_least.into_iter();
        let found = [10, 20, 50, 100].map(|count| {
            let found = share_of(200, || {
                find_modes(&SortedValues::new(sample(count, || two_modes(&mut random, share))))
                    .unwrap()
                    .len()
                    == 2
            });
            assert!(
                least.next().is_some_and(|least| found >= least),
                "{share} of {count}: {found}"
            );
            (count, found)
        });
        print_row(&format!("two modes, {share} in one"), &found);
    }
}

#[test]
fn overlapping_modes_are_seldom_found() {
    let mut random = Rng::with_seed(6);
    let found = [20, 50, 100].map(|count| {
        let mut overlapping = || {
            let center = if random.bool() { 1.6 } else { 3.6 };
            center * (0.2 * normal(&mut random)).exp()
        };
        let found = share_of(200, || {
            find_modes(&SortedValues::new(sample(count, &mut overlapping))).unwrap().len() > 1
        });
        assert!(found <= 0.2, "{count}: {found}");
        (count, found)
    });
    print_row("1.6 and 3.6, scatter 20 %", &found);
}

#[test]
fn forty_runs_show_a_blackout_shorter_by_a_fifth_in_most_cases() {
    let mut random = Rng::with_seed(5);
    for (less, at_least) in
        [(0.1, [0.0, 0.1, 0.35]), (0.2, [0.1, 0.6, 0.95]), (0.4, [0.7, 0.99, 0.99])]
    {
        let mut least = at_least.into_iter();
        let seen = [10, 40, 100].map(|count| {
            let seen = share_of(200, || {
                let a = sample(count, || one_mode(&mut random, 4.0));
                let b = sample(count, || one_mode(&mut random, 4.0 * (1.0 - less)));
                let p = rank_sum(&a, &b).unwrap().p;
                let difference =
                    bootstrap::independent_change(&SortedValues::new(a), &SortedValues::new(b), 50)
                        .unwrap()
                        .difference;
                p <= ALPHA && difference.high < Some(0.0)
            });
            assert!(least.next().is_some_and(|least| seen >= least), "{less} of {count}: {seen}");
            (count, seen)
        });
        print_row(&format!("median less by {less}"), &seen);
    }
}
