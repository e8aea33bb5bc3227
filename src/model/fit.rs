//! The working set and the write rate that explain best what was seen.

/// Steps of each search along each axis.
const STEPS: u32 = 60;
/// Each search is finer than the last, around its best.
const ROUNDS: u32 = 8;
/// Steps to each side of the best that the next search looks at.
const AROUND: f64 = 8.0;

/// The pair (bytes, bytes a second) of which `error` is least: working sets from `least` to `most`,
/// rates from a page to a hundred times `most` in `longest` seconds.
pub fn fit(
    least: f64,
    most: f64,
    longest: f64,
    error: impl Fn(f64, f64) -> f64,
) -> Option<(f64, f64)> {
    let longest = longest.max(1e-3);
    let (mut sets, mut rates) = (
        (least, most.max(least * 1.001)),
        (super::workload::PAGE / longest, most * 100.0 / longest),
    );
    let mut best = None;
    for _ in 0..ROUNDS {
        let points = |(low, high): (f64, f64)| {
            (0..=STEPS).map(move |step| low * (high / low).powf(f64::from(step) / f64::from(STEPS)))
        };
        let all = points(sets).flat_map(|set| points(rates).map(move |rate| (set, rate)));
        let (set, rate) = all.min_by(|a, b| error(a.0, a.1).total_cmp(&error(b.0, b.1)))?;
        let around = |(low, high): (f64, f64), at: f64, floor: f64| {
            let step = (high / low).powf(AROUND / f64::from(STEPS));
            ((at / step).max(floor), at * step)
        };
        sets = around(sets, set, least);
        rates = around(rates, rate, f64::MIN_POSITIVE);
        best = Some((set, rate));
    }
    best
}
