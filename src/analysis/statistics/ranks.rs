//! Ranks of values, and the exact distribution of sums of ranks.
//!
//! Equal values share the mean of their ranks, which may be half a rank. All ranks are doubled
//! here, so that they are whole numbers and the possible sums can be counted.

use super::estimate::to_f64;

/// The doubled ranks of values.
pub(super) struct Ranked {
    /// The doubled ranks in the order of the values.
    pub(super) doubled: Vec<usize>,
    /// Σ (t³ − t) over groups of t equal values, by which ties reduce the variance of rank sums.
    pub(super) ties: f64,
}

/// Ranks the values.
pub(super) fn rank_values(values: &[f64]) -> Ranked {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|one, two| values[*one].total_cmp(&values[*two]));
    let mut doubled = vec![0; values.len()];
    let mut ties = 0.0;
    let mut before = 0;
    for group in order.chunk_by(|one, two| values[*one] == values[*two]) {
        let size = group.len();
        for index in group {
            // Twice the mean of the ranks before + 1 to before + size.
            doubled[*index] = 2 * before + size + 1;
        }
        ties += to_f64(size) * to_f64(size) * to_f64(size) - to_f64(size);
        before += size;
    }
    Ranked { doubled, ties }
}

/// Returns the two-sided p-value of a rank sum: of all ways to choose `size` of the ranks, the
/// share whose sum is at least as extreme as `observed`.
pub(super) fn p_of_chosen_sum(ranks: &[usize], size: usize, observed: usize) -> f64 {
    let max_sum: usize = ranks.iter().sum();
    // ways[k][s] is the number of ways to choose k ranks with the sum s.
    let mut ways = vec![vec![0.0; max_sum + 1]; size + 1];
    ways[0][0] = 1.0;
    let mut reached = 0;
    for (seen, rank) in ranks.iter().enumerate() {
        reached += rank;
        for chosen in (1..=size.min(seen + 1)).rev() {
            let (fewer, more) = ways.split_at_mut(chosen);
            let from = &fewer[chosen - 1];
            for sum in *rank..=reached {
                more[0][sum] += from[sum - rank];
            }
        }
    }
    two_sided_p(&ways[size], observed)
}

/// Returns the two-sided p-value of a signed-rank sum: the same over all subsets of the ranks.
pub(super) fn p_of_subset_sum(ranks: &[usize], observed: usize) -> f64 {
    let max_sum: usize = ranks.iter().sum();
    let mut ways = vec![0.0; max_sum + 1];
    ways[0] = 1.0;
    let mut reached = 0;
    for rank in ranks {
        reached += rank;
        for sum in (*rank..=reached).rev() {
            ways[sum] += ways[sum - rank];
        }
    }
    two_sided_p(&ways, observed)
}

fn two_sided_p(ways: &[f64], observed: usize) -> f64 {
    let all: f64 = ways.iter().sum();
    let low: f64 = ways.iter().take(observed + 1).sum();
    let high: f64 = ways.iter().skip(observed).sum();
    (2.0 * low.min(high) / all).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_the_mean_of_their_ranks() {
        let ranked = rank_values(&[3.0, 1.0, 3.0, 2.0, 3.0]);
        assert_eq!((ranked.doubled, ranked.ties), (vec![8, 2, 8, 4, 8], 24.0));
    }

    #[test]
    fn counts_all_ways_exactly() {
        // Choosing two of 1, 2, 3, 4 gives the sum 3 in one of six ways, and the sum 7 in one.
        assert_eq!(p_of_chosen_sum(&[2, 4, 6, 8], 2, 6), 2.0 / 6.0);
        // The subsets of 1, 2, 3 have the sum 0 in one of eight ways.
        assert_eq!(p_of_subset_sum(&[2, 4, 6], 0), 2.0 / 8.0);
    }
}
