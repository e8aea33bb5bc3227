//! Many runs, and what they say together.
//!
//! Takes tables of runs in memory; gives statistics and comparisons. Knows nothing of how a run was made, of files and of terminals.
//!
//! Map: `statistics` intervals, tests and modes, of plain numbers.

pub mod statistics;
