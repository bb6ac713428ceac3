//! Which parts of a table are read, being read, and still to be read: ranges of keys in their order.
//!
//! Guarantee: the ranges follow each other without a gap and without an overlap from the beginning to
//! the greatest key; a range that is read again is the same or is joined with unread neighbours; what
//! [`Ranges::note`] says is read was read. Keys are the server's literals, compared for equality only:
//! the order of ranges is the order in which the server cut them.

use lakeward_core::{KeyBound, SnapshotPlan};

/// A range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// Before its first key; `None`: the beginning of the table.
    pub(crate) from: Option<KeyBound>,
    /// Its last key.
    pub(crate) to: KeyBound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unread,
    /// Claimed; where it is cut is being asked.
    Cutting(u64),
    Reading(u64),
    Read,
}

/// The ranges of a table, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges {
    list: Vec<(Range, State)>,
}

impl Ranges {
    /// The ranges as a plan has them: nothing is being read.
    pub(crate) fn of(plan: &SnapshotPlan) -> Ranges {
        let mut list = Vec::new();
        let Some(last) = &plan.last else { return Ranges::default() };
        let mut at: Option<&KeyBound> = plan.through.as_ref();
        if let Some(through) = at {
            list.push((Range { from: None, to: through.clone() }, State::Read));
        }
        for (from, to) in &plan.beyond {
            if at != Some(from) {
                list.push((Range { from: at.cloned(), to: from.clone() }, State::Unread));
            }
            list.push((Range { from: Some(from.clone()), to: to.clone() }, State::Read));
            at = Some(to);
        }
        if at != Some(last) {
            list.push((Range { from: at.cloned(), to: last.clone() }, State::Unread));
        }
        Ranges { list }
    }

    /// Whether there is a range to claim: none while one is being cut.
    pub(crate) fn has_more(&self) -> bool {
        let any = |wanted: fn(&State) -> bool| self.list.iter().any(|(_, state)| wanted(state));
        !any(|state| matches!(state, State::Cutting(_))) && any(|state| *state == State::Unread)
    }

    /// Claims the first range that nobody reads under a new `id`, to cut a chunk from its beginning.
    pub(crate) fn claim(&mut self, id: u64) -> Option<Range> {
        if !self.has_more() {
            return None;
        }
        let (range, state) = self.list.iter_mut().find(|(_, state)| *state == State::Unread)?;
        *state = State::Cutting(id);
        Some(range.clone())
    }

    /// The claimed range is cut behind `to`, and the first part is being read; `None`: all of it is.
    pub(crate) fn cut(&mut self, id: u64, to: Option<KeyBound>) {
        let Some(at) = self.list.iter().position(|(_, state)| *state == State::Cutting(id)) else { return };
        let Some((range, state)) = self.list.get_mut(at) else { return };
        *state = State::Reading(id);
        if let Some(to) = to.filter(|to| *to != range.to) {
            let rest = Range { from: Some(to.clone()), to: std::mem::replace(&mut range.to, to) };
            self.list.insert(at + 1, (rest, State::Unread));
        }
    }

    /// The range that is being read under `id`.
    pub(crate) fn being_read(&self, id: u64) -> Option<&Range> {
        self.list.iter().find(|(_, state)| *state == State::Reading(id)).map(|(range, _)| range)
    }

    /// A claimed range was not read after all.
    pub(crate) fn give_back(&mut self, id: u64) {
        self.become_of(id, State::Unread);
    }

    /// A range is read.
    pub(crate) fn read(&mut self, id: u64) {
        self.become_of(id, State::Read);
    }

    /// Nothing that is being read counts.
    pub(crate) fn void(&mut self) {
        for (_, state) in &mut self.list {
            if *state != State::Read {
                *state = State::Unread;
            }
        }
        self.join();
    }

    fn become_of(&mut self, id: u64, becomes: State) {
        for (_, state) in &mut self.list {
            if *state == State::Cutting(id) || *state == State::Reading(id) {
                *state = becomes;
            }
        }
        self.join();
    }

    /// Neighbours that are both read, or both unread, are one.
    fn join(&mut self) {
        self.list.dedup_by(|next, before| {
            let joins = before.1 == next.1 && matches!(next.1, State::Read | State::Unread);
            if joins {
                before.0.to.clone_from(&next.0.to);
            }
            joins
        });
    }

    /// Whether everything is read.
    pub(crate) fn all_read(&self) -> bool {
        self.list.iter().all(|(_, state)| *state == State::Read)
    }

    /// Notes in the plan what is read.
    pub(crate) fn note(&self, plan: &mut SnapshotPlan) {
        plan.through = None;
        plan.beyond.clear();
        for (range, _) in self.list.iter().filter(|(_, state)| *state == State::Read) {
            match &range.from {
                None => plan.through = Some(range.to.clone()),
                Some(from) => plan.beyond.push((from.clone(), range.to.clone())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> KeyBound {
        vec![n.to_string()]
    }

    fn plan(last: u32) -> SnapshotPlan {
        SnapshotPlan { key: vec!["id".into()], last: Some(key(last)), ..SnapshotPlan::default() }
    }

    fn noted(ranges: &Ranges, last: u32) -> SnapshotPlan {
        let mut plan = plan(last);
        ranges.note(&mut plan);
        plan
    }

    const A: u64 = 1;
    const B: u64 = 2;
    const C: u64 = 3;

    #[test]
    fn chunks_that_end_out_of_order_are_noted_beyond_until_the_gap_closes() {
        let mut ranges = Ranges::of(&plan(100));
        assert_eq!(ranges.claim(A), Some(Range { from: None, to: key(100) }));
        assert_eq!(ranges.claim(B), None, "one at a time is cut");
        ranges.cut(A, Some(key(10)));
        ranges.claim(B).unwrap();
        ranges.cut(B, Some(key(20)));
        assert_eq!(ranges.claim(C), Some(Range { from: Some(key(20)), to: key(100) }));
        ranges.cut(C, None);
        assert!(!ranges.has_more());
        ranges.read(B);
        let now = noted(&ranges, 100);
        assert_eq!((now.through, now.beyond), (None, vec![(key(10), key(20))]));
        ranges.read(A);
        let now = noted(&ranges, 100);
        assert_eq!((now.through, now.beyond), (Some(key(20)), vec![]));
        ranges.read(C);
        assert!(ranges.all_read());
        assert_eq!(noted(&ranges, 100).through, Some(key(100)));
    }

    #[test]
    fn a_chunk_given_back_is_read_again_with_what_follows_it() {
        let mut ranges = Ranges::of(&plan(100));
        ranges.claim(A).unwrap();
        ranges.cut(A, Some(key(10)));
        ranges.give_back(A);
        assert_eq!(ranges.claim(B), Some(Range { from: None, to: key(100) }));
        ranges.cut(B, Some(key(5)));
        ranges.claim(C).unwrap();
        ranges.read(B);
        ranges.void();
        assert_eq!(ranges.claim(4), Some(Range { from: Some(key(5)), to: key(100) }));
        ranges.read(C);
        assert!(!ranges.all_read(), "a voided chunk does not count");
    }

    #[test]
    fn a_cut_at_the_end_of_a_range_leaves_no_rest() {
        let mut ranges = Ranges::of(&plan(100));
        ranges.claim(A).unwrap();
        ranges.cut(A, Some(key(100)));
        assert!(!ranges.has_more());
        ranges.read(A);
        assert!(ranges.all_read());
    }

    proptest::proptest! {
        /// Whatever the order of claims, cuts, ends and crashes: each key is read, and what is noted
        /// as read was read.
        #[test]
        fn all_is_read_once_noted(steps in proptest::collection::vec((0u8..5, 0u32..8), 1..200)) {
            let mut ranges = Ranges::of(&plan(60));
            let mut open: Vec<(u64, u32, u32)> = Vec::new();
            let mut read = std::collections::BTreeSet::new();
            let number = |key: &KeyBound| key[0].parse::<u32>().unwrap();
            for (id, (step, pick)) in (0u64..).zip(steps) {
                match step {
                    0 | 1 => if let Some(range) = ranges.claim(id) {
                        let (from, to) = (range.from.as_ref().map_or(0, &number), number(&range.to));
                        let cut = from + pick + 1;
                        if cut < to {
                            ranges.cut(id, Some(key(cut)));
                            open.push((id, from, cut));
                        } else {
                            ranges.cut(id, None);
                            open.push((id, from, to));
                        }
                    },
                    2 | 3 => if !open.is_empty() {
                        let (id, from, to) = open.remove(pick as usize % open.len());
                        if step == 2 {
                            read.extend(from + 1..=to);
                            ranges.read(id);
                        } else {
                            ranges.give_back(id);
                        }
                    },
                    _ => {
                        let noted = noted(&ranges, 60);
                        ranges = Ranges::of(&noted);
                        open.clear();
                    }
                }
                let noted = noted(&ranges, 60);
                let mut said: Vec<u32> = (1..=noted.through.as_ref().map_or(0, &number)).collect();
                for (from, to) in &noted.beyond {
                    said.extend(number(from) + 1..=number(to));
                }
                proptest::prop_assert_eq!(&said, &read.iter().copied().collect::<Vec<_>>());
                proptest::prop_assert_eq!(ranges.all_read(), said.len() == 60);
            }
        }
    }
}
