//! The order in which cells are visited. Pure.
//!
//! A visit starts one fresh guest in one cell and makes one or more measured runs with it. Each
//! round visits every cell once, in a new random order, so that a drift over an hour (a machine
//! that warms up, another process that comes and goes) affects all cells alike. Cells that differ
//! only in the keys of the baseline are visited one directly after the other, because runs that are
//! compared should meet the same conditions.

use super::definition::{Definition, Order};
use serde::{Deserialize, Serialize};

/// One visit of one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Visit {
    /// The number of the cell, from 1.
    pub cell: u32,
    /// The number of the round, from 1: how often the cell has been visited, this time included.
    pub round: u32,
}

/// One part of a campaign whose cells are divided among several machines. Written as `1/3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The number of this part, from 1.
    pub number: u32,
    /// The number of all parts.
    pub count: u32,
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let parsed = text
            .split_once('/')
            .and_then(|(number, count)| Some((number.parse().ok()?, count.parse().ok()?)));
        match parsed {
            Some((number, count)) if (1..=count).contains(&number) => Ok(Shard { number, count }),
            _ => Err(format!("{text} is not a shard; write K/N with K from 1 to N, such as 1/3")),
        }
    }
}

impl Definition {
    /// Returns the number of measured runs that each visit of this round makes.
    #[must_use]
    pub fn runs_in_round(&self, round: u32) -> u32 {
        self.together.min(self.repeats.saturating_sub((round - 1) * self.together))
    }

    /// Returns the number, from 1, of the first run that a visit of this round makes in its cell.
    #[must_use]
    pub fn first_repeat(&self, round: u32) -> u32 {
        (round - 1) * self.together + 1
    }

    /// Returns all visits in their order. The same seed always gives the same order.
    #[must_use]
    pub fn visits(&self, shard: Option<Shard>) -> Vec<Visit> {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let groups = self.compared_cells();
        let is_in_shard = |index: usize| {
            shard.is_none_or(|shard| index % shard.count as usize == shard.number as usize - 1)
        };
        let groups: Vec<&Vec<u32>> = groups
            .iter()
            .enumerate()
            .filter(|(index, _)| is_in_shard(*index))
            .map(|(_, group)| group)
            .collect();
        let mut visits = Vec::new();
        for round in 1..=self.repeats.div_ceil(self.together) {
            let mut groups: Vec<Vec<u32>> = groups.iter().map(|group| (*group).clone()).collect();
            if self.order == Order::Random {
                random.shuffle(&mut groups);
                groups.iter_mut().for_each(|group| random.shuffle(group));
            }
            visits.extend(groups.into_iter().flatten().map(|cell| Visit { cell, round }));
        }
        visits
    }

    /// Groups the numbers of the cells that are compared with each other.
    fn compared_cells(&self) -> Vec<Vec<u32>> {
        let keys: Vec<&str> = self.baseline.iter().map(|setting| setting.key.as_str()).collect();
        let mut groups: Vec<(String, Vec<u32>)> = Vec::new();
        for cell in &self.cells {
            let name = cell.name_without(&keys);
            match groups.iter_mut().find(|(known, _)| !keys.is_empty() && *known == name) {
                Some((_, group)) => group.push(cell.number),
                None => groups.push((name, vec![cell.number])),
            }
        }
        groups.into_iter().map(|(_, group)| group).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::definition::Overrides;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    fn defined(text: &str) -> Definition {
        Definition::from_toml("c", "c", Path::new("."), text, &Overrides::default()).unwrap()
    }

    #[test]
    fn visits_compared_cells_one_after_the_other() {
        let definition = defined(
            "repeats = 5\n[vary]\nmode = [\"precopy\", \"postcopy\"]\nguest.seed = [1, 2, \
                3]\n[baseline]\nmode = \"precopy\"\n",
        );
        let seed = |visit: &Visit| (visit.cell - 1) % 3;
        for pair in definition.visits(None).chunks(2) {
            assert_eq!((seed(&pair[0]), pair[0].round), (seed(&pair[1]), pair[1].round));
        }
        let rounds: Vec<Vec<Visit>> =
            definition.visits(None).chunks(6).map(<[Visit]>::to_vec).collect();
        assert!(
            rounds
                .windows(2)
                .any(|two| two[0].iter().map(|v| v.cell).ne(two[1].iter().map(|v| v.cell))),
            "no two rounds differ"
        );
    }

    #[test]
    fn keeps_the_written_order_if_asked_to() {
        let definition = defined(
            "order = \"written\"\nrepeats = 5\ntogether = 2\n[vary]\nguest.seed = [1, 2]\n",
        );
        let cells: Vec<(u32, u32)> =
            definition.visits(None).iter().map(|visit| (visit.cell, visit.round)).collect();
        assert_eq!(cells, [(1, 1), (2, 1), (1, 2), (2, 2), (1, 3), (2, 3)]);
        assert_eq!(
            (1..=3)
                .map(|round| (definition.first_repeat(round), definition.runs_in_round(round)))
                .collect::<Vec<_>>(),
            [(1, 2), (3, 2), (5, 1)]
        );
    }

    #[test]
    fn parses_a_shard_or_refuses_it() {
        assert_eq!("2/3".parse(), Ok(Shard { number: 2, count: 3 }));
        for text in ["0/3", "4/3", "3", "a/b", "1/0", ""] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn visits_every_cell_once_a_round_also_in_shards(seeds in 1..9u32, repeats in 1..9u32,
            together in 1..5u32, seed: u64, of in 1..5u32) {
            let list: Vec<String> = (1..=seeds).map(|seed| seed.to_string()).collect();
            let text = format!("repeats = {repeats}\ntogether = {together}\n[vary]\nguest.seed = \
                [{}]\nmode = [\"precopy\", \"hybrid\"]\n[baseline]\nmode = \"hybrid\"\n",
                list.join(", "));
            let definition = Definition { seed, ..defined(&text) };
            let all = definition.visits(None);
            prop_assert_eq!(&all, &definition.visits(None));
            let rounds = repeats.div_ceil(definition.together);
            let wanted: BTreeSet<Visit> = (1..=2 * seeds)
                .flat_map(|cell| (1..=rounds).map(move |round| Visit { cell, round }))
                .collect();
            prop_assert_eq!(all.iter().copied().collect::<BTreeSet<_>>(), wanted.clone());
            prop_assert_eq!(all.len(), wanted.len());
            let shards: Vec<Visit> = (1..=of)
                .flat_map(|number| definition.visits(Some(Shard { number, count: of })))
                .collect();
            prop_assert_eq!(shards.len(), all.len());
            prop_assert_eq!(shards.into_iter().collect::<BTreeSet<_>>(), wanted);
            prop_assert_eq!((1..=rounds).map(|round| definition.runs_in_round(round)).sum::<u32>(),
                repeats);
        }
    }
}
