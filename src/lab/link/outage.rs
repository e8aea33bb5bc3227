//! Decides when outages start. It does no input or output.

use scenario::Outage;

/// Outages that have not started.
#[derive(Debug)]
pub(super) struct Outages {
    pending: Vec<Outage>,
    began_ns: Option<u64>,
}

impl Outages {
    pub(super) fn new(outages: &[Outage]) -> Outages {
        Outages { pending: outages.to_vec(), began_ns: None }
    }

    /// Starts the clock of outages with `at`. Later calls have no effect.
    pub(super) fn begin(&mut self, now_ns: u64) {
        self.began_ns.get_or_insert(now_ns);
    }

    /// Removes and returns the outages due at `now_ns` or after `arrived_bytes`.
    pub(super) fn due(&mut self, now_ns: u64, arrived_bytes: u64) -> Vec<Outage> {
        let began_ns = self.began_ns;
        let is_due = |outage: &Outage| match (outage.at, outage.after_bytes) {
            (Some(at), _) => began_ns.is_some_and(|began_ns| now_ns >= began_ns + at.0 * 1000),
            (None, Some(bytes)) => arrived_bytes >= bytes.0,
            (None, None) => false,
        };
        self.pending.extract_if(.., |outage| is_due(outage)).collect()
    }

    /// Removes and returns the outages due in this state of the source.
    pub(super) fn at_state(&mut self, state: &str) -> Vec<Outage> {
        self.pending.extract_if(.., |outage| outage.at_state.as_deref() == Some(state)).collect()
    }

    /// Time of the next outage with `at`, in ns.
    pub(super) fn next_ns(&self) -> Option<u64> {
        let began_ns = self.began_ns?;
        self.pending.iter().filter_map(|outage| Some(began_ns + outage.at?.0 * 1000)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::units::{Bytes, Micros};

    #[test]
    fn starts_each_outage_once_at_its_time() {
        let at = Outage { at: Some(Micros(1000)), ..Outage::default() };
        let after = Outage { after_bytes: Some(Bytes(10)), ..Outage::default() };
        let state = Outage { at_state: Some("postcopy-active".into()), ..Outage::default() };
        let mut outages = Outages::new(&[at.clone(), after.clone(), state.clone()]);
        assert_eq!(
            (outages.due(u64::MAX, 9), outages.next_ns()),
            (vec![], None),
            "nothing has begun"
        );
        outages.begin(500);
        outages.begin(600);
        assert_eq!(outages.next_ns(), Some(1_000_500));
        assert_eq!(outages.due(1_000_499, 10), [after]);
        assert_eq!(outages.due(1_000_500, 10), [at]);
        assert_eq!(outages.at_state("active"), []);
        assert_eq!(outages.at_state("postcopy-active"), [state]);
        assert_eq!((outages.at_state("postcopy-active"), outages.next_ns()), (vec![], None));
    }
}
