//! Medians, quantiles, and how far a median can be trusted.

const RESAMPLES: usize = 5000;

/// The quantile `q` of `values`, between its two neighbours where it falls between two; NaN of
/// nothing.
pub(crate) fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = q * last as f64;
    let below = (0..=last).rev().find(|at| *at as f64 <= place).unwrap_or(0);
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

/// The middle one.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Where the median would be in 95 of 100 repetitions, by resampling (percentile bootstrap, fixed
/// seed).
pub(crate) fn median_interval(values: &[f64]) -> (f64, f64) {
    if values.is_empty() {
        return (f64::NAN, f64::NAN);
    }
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        // xorshift64*: good enough to draw with.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        usize::try_from(state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap_or(0)
    };
    let draw =
        |_| median(&(0..values.len()).map(|_| values[random() % values.len()]).collect::<Vec<_>>());
    let medians: Vec<f64> = (0..RESAMPLES).map(draw).collect();
    (quantile(&medians, 0.025), quantile(&medians, 0.975))
}

/// `median [low, high]` with `digits` after the point.
pub(crate) fn with_interval(values: &[f64], digits: usize) -> String {
    let (low, high) = median_interval(values);
    format!("{:.digits$} [{low:.digits$}, {high:.digits$}]", median(values))
}
