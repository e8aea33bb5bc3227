//! Ranks of values, and how often a sum of them comes about by chance.
//!
//! Takes values; gives ranks, doubled: values that are equal share the mean of their ranks, which may be a half, and whole numbers can be
//! counted out.

use super::to_f64;

/// Values' ranks, each twice.
pub(super) struct Ranked {
    /// In the order of the values.
    pub(super) doubled: Vec<usize>,
    /// Σ t³ − t over groups of t equal values: by so much ties narrow the distribution of rank sums.
    pub(super) ties: f64,
}

pub(super) fn ranked(values: &[f64]) -> Ranked {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|one, two| values[*one].total_cmp(&values[*two]));
    let mut doubled = vec![0; values.len()];
    let mut ties = 0.0;
    let mut before = 0;
    for group in order.chunk_by(|one, two| values[*one] == values[*two]) {
        let size = group.len();
        for index in group {
            // Twice the mean of before + 1 .. before + size.
            doubled[*index] = 2 * before + size + 1;
        }
        ties += to_f64(size) * to_f64(size) * to_f64(size) - to_f64(size);
        before += size;
    }
    Ranked { doubled, ties }
}

/// Of all ways to choose `size` of the ranks: two-sided, the share whose sum is as far out as `observed`.
pub(super) fn chosen(ranks: &[usize], size: usize, observed: usize) -> f64 {
    let most: usize = ranks.iter().sum();
    // ways[k][s]: ways to choose k ranks with sum s. The least kinds of ranks first, so that sums stay small for long.
    let mut ways = vec![vec![0.0; most + 1]; size + 1];
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
    tails(&ways[size], observed)
}

/// Of all ways to take or to leave each of the ranks: the same.
pub(super) fn taken(ranks: &[usize], observed: usize) -> f64 {
    let most: usize = ranks.iter().sum();
    let mut ways = vec![0.0; most + 1];
    ways[0] = 1.0;
    let mut reached = 0;
    for rank in ranks {
        reached += rank;
        for sum in (*rank..=reached).rev() {
            ways[sum] += ways[sum - rank];
        }
    }
    tails(&ways, observed)
}

fn tails(ways: &[f64], observed: usize) -> f64 {
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
        let ranked = ranked(&[3.0, 1.0, 3.0, 2.0, 3.0]);
        assert_eq!((ranked.doubled, ranked.ties), (vec![8, 2, 8, 4, 8], 24.0));
    }

    #[test]
    fn ways_are_counted_out() {
        // Two of 1, 2, 3, 4: the sum is 3 in one of six ways, and 7 in one.
        assert_eq!(chosen(&[2, 4, 6, 8], 2, 6), 2.0 / 6.0);
        // Any of 1, 2, 3: the sum is 0 in one of eight ways.
        assert_eq!(taken(&[2, 4, 6], 0), 2.0 / 8.0);
    }
}
