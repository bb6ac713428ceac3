//! Which records have all their files visible, as far as a writer knows.
//!
//! [`Shown::through`] never passes a record that is not shown: it moves over a number only if the writer
//! has shown that record itself, if the record shows nothing, or if another record's `shown_through`,
//! of which the same is true, has passed it. It need not move at once: what another worker has shown is
//! known once that worker's next record tells it.

use std::collections::BTreeSet;

/// See the module.
#[derive(Debug)]
pub(super) struct Shown {
    through: u64,
    /// Records above that are shown.
    beyond: BTreeSet<u64>,
}

impl Shown {
    /// Every record up to `through` is shown.
    pub(super) fn new(through: u64) -> Self {
        Shown { through, beyond: BTreeSet::new() }
    }

    /// Every record up to this one is shown.
    pub(super) fn through(&self) -> u64 {
        self.through
    }

    /// Whether a record is shown.
    pub(super) fn has(&self, number: u64) -> bool {
        number <= self.through || self.beyond.contains(&number)
    }

    /// Record `number` is shown.
    pub(super) fn add(&mut self, number: u64) {
        self.beyond.insert(number);
        self.close();
    }

    /// Another record tells that every record up to `through` is.
    pub(super) fn told(&mut self, through: u64) {
        self.through = self.through.max(through);
        self.close();
    }

    fn close(&mut self) {
        while let Some(first) = self.beyond.first().copied()
            && first <= self.through.saturating_add(1)
        {
            self.beyond.pop_first();
            self.through = self.through.max(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_passes_no_record_that_is_not_known_to_be_shown() {
        let mut shown = Shown::new(3);
        shown.add(5);
        assert_eq!((shown.through(), shown.has(4), shown.has(5)), (3, false, true));
        shown.add(7);
        shown.told(2);
        assert_eq!(shown.through(), 3);
        shown.add(4);
        assert_eq!(shown.through(), 5);
        shown.told(6);
        assert_eq!((shown.through(), shown.has(8)), (7, false));
    }
}
