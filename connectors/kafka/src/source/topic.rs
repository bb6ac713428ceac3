//! One topic, which is one table: its lanes are merged by number into batches.
//!
//! The event with the least number is taken first. Each lane that has events due is waited for: how many are due is
//! known, so what is waited for comes. A record that cannot be decoded stops its lane, where it does not go to the
//! dead-letter topic; the other lanes go on.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use lakeward_core::error::Policy;
use lakeward_core::{Error, ErrorKind, Feed, MarkReason, Op, Result, TableSchema, failpoint};

use super::dead_letters::{Verdict, judge};
use super::desk::Desk;
use super::gathering::Gathering;
use super::lane::{Head, Lane};
use super::link::{BRIEF, OVERTAKEN};
use super::outlet::End;
use super::places::lacks;
use super::record::{Event, What};
use crate::topics::bounds_within;

/// Our lanes of one topic.
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    pub(super) lanes: Vec<Lane>,
    gathering: Option<Gathering>,
    taken: u64,
}

/// A look at the world comes after so many events.
const LOOK_EVERY: u64 = 256;
/// How long a lane is waited for between two looks.
const WAIT: Duration = Duration::from_millis(100);
/// How often a lane that stands still is asked about, and how often its brokers must say that it is at its end.
const ASK_EVERY: Duration = Duration::from_secs(15);
const ASK_TIMES: u32 = 5;
/// How often they may say that it is not, before it is read by another link.
const STALLED_TIMES: u32 = 20;

impl Topic {
    pub(super) fn new(name: Arc<str>, lanes: Vec<Lane>) -> Topic {
        Topic { name, lanes, gathering: None, taken: 0 }
    }

    /// Takes every event that is due, up to those with `next_seq`.
    pub(super) fn bring(&mut self, next_seq: i64, desk: &mut Desk) -> Result<(), End> {
        let mut unknown: Vec<usize> = (0..self.lanes.len()).collect();
        let mut heads = BinaryHeap::new();
        loop {
            while let Some(index) = unknown.pop() {
                if let Some(seq) = self.head(index, next_seq, desk)? {
                    heads.push(Reverse((seq, index)));
                }
            }
            let Some(Reverse((_, index))) = heads.pop() else { break };
            self.take(index, next_seq, desk)?;
            unknown.push(index);
        }
        self.flush(desk)
    }

    /// The number of the next event of a lane, waited for; `None` if no more is due.
    fn head(&mut self, index: usize, next_seq: i64, desk: &mut Desk) -> Result<Option<i64>, End> {
        let mut still = None;
        while let Some(lane) = self.lanes.get_mut(index).filter(|lane| lane.is_wanted()) {
            match lane.head(WAIT, &desk.reader)? {
                Head::Is(told) => return Ok(Some(told.seq)),
                Head::NotYet => {
                    desk.look()?;
                    still.get_or_insert_with(|| Still::since(desk)).ask(lane, desk)?;
                }
                Head::Unreadable => {
                    let event = lane.take(next_seq)?;
                    let why = event.told.as_ref().err().cloned().unwrap_or_default();
                    self.reject(index, &event, &Error::new(ErrorKind::UnreadableRecord, why), desk)?;
                }
            }
        }
        Ok(None)
    }

    fn take(&mut self, index: usize, next_seq: i64, desk: &mut Desk) -> Result<(), End> {
        failpoint::hit("kafka.load.event")?;
        self.taken += 1;
        if self.taken.is_multiple_of(LOOK_EVERY) {
            desk.look()?;
        }
        let event = self.lane(index)?.take(next_seq)?;
        self.put(index, &event, desk)
    }

    /// Puts an event where it belongs.
    fn put(&mut self, index: usize, event: &Event, desk: &mut Desk) -> Result<(), End> {
        let Ok(told) = event.told else {
            return Err(bug("an event without headers came to its turn").into());
        };
        if let What::Row(op) = told.what
            && self.gathering.as_ref().is_some_and(|gathering| gathering.version() == told.version)
        {
            return self.gather(index, event, (told.seq, op), desk);
        }
        let Some(schema) = desk.captured.version(&self.name, told.version).cloned() else {
            let message =
                format!("the record names version {} of its table, which capture never wrote", told.version);
            return self.reject(index, event, &Error::new(ErrorKind::UnreadableRecord, message), desk);
        };
        match told.what {
            What::Row(op) => {
                self.begin(&schema, desk)?;
                self.gather(index, event, (told.seq, op), desk)
            }
            What::Mark(reason) => self.mark(index, event, (told.seq, reason), &schema, desk),
        }
    }

    /// Goes over to another version.
    fn begin(&mut self, schema: &Arc<TableSchema>, desk: &mut Desk) -> Result<(), End> {
        self.flush(desk)?;
        self.gathering = None;
        desk.give(&schema.table, schema.version)?;
        let memory = usize::try_from(desk.options.memory.0 / 8).unwrap_or(usize::MAX);
        self.gathering = Some(Gathering::new(&desk.decoder, schema, memory)?);
        Ok(())
    }

    fn gather(
        &mut self,
        index: usize,
        event: &Event,
        (seq, op): (i64, Op),
        desk: &mut Desk,
    ) -> Result<(), End> {
        let Some(gathering) = &mut self.gathering else {
            return Err(bug("a row came before its version").into());
        };
        match gathering.push(event, seq, op) {
            Ok(()) => {
                let full = gathering.is_full();
                self.lane(index)?.pass(event.offset());
                if full { self.flush(desk) } else { Ok(()) }
            }
            Err(error) => self.reject(index, event, &error, desk),
        }
    }

    fn mark(
        &mut self,
        index: usize,
        event: &Event,
        (seq, reason): (i64, MarkReason),
        schema: &Arc<TableSchema>,
        desk: &mut Desk,
    ) -> Result<(), End> {
        let mark = match desk.decoder.mark(schema, event.value(), seq, reason) {
            Ok(mark) => mark,
            Err(error) => return self.reject(index, event, &error, desk),
        };
        self.flush(desk)?;
        desk.give(&schema.table, schema.version)?;
        desk.out.send(Feed::Mark(mark))?;
        self.lane(index)?.pass(event.offset());
        Ok(())
    }

    /// Hands on what was gathered.
    fn flush(&mut self, desk: &mut Desk) -> Result<(), End> {
        let Some(gathering) = &mut self.gathering else { return Ok(()) };
        if let Some(batch) = gathering.finish().map_err(|error| error.at("topic", &self.name))? {
            desk.out.send(Feed::Batch(batch))?;
        }
        Ok(())
    }

    /// A record that cannot be decoded, whatever is tried: its lane stops there. What only fails now ends the source.
    fn reject(&mut self, index: usize, event: &Event, error: &Error, desk: &mut Desk) -> Result<(), End> {
        let lane = self.lane(index)?;
        let letter = event.letter(&lane.topic, lane.number);
        match judge(desk.dead_letters.as_mut(), &letter, error, desk.options.stop_all)? {
            Verdict::Aside if event.strange => {
                lane.pass_stranger(event.offset());
                desk.options.kafka_stats.strangers.add(1);
            }
            Verdict::Aside => lane.put_aside(event.offset()),
            Verdict::Stops => lane.stop(event.offset(), error.message()),
        }
        Ok(())
    }

    fn lane(&mut self, index: usize) -> Result<&mut Lane> {
        self.lanes.get_mut(index).ok_or_else(|| bug("a lane is not there"))
    }
}

fn bug(message: &str) -> Error {
    Error::new(ErrorKind::Bug, message)
}

/// A lane that is waited for. Its events were counted, so they are there, or lost: lost if the brokers say several
/// times, long after each other, that nothing visible lies beyond the place. Where something may lie there and does not
/// come, the link is opened anew.
struct Still {
    asked: Duration,
    read_to: i64,
    at_end: u32,
    before_end: u32,
}

impl Still {
    fn since(desk: &Desk) -> Still {
        Still { asked: desk.options.clock.elapsed(), read_to: i64::MIN, at_end: 0, before_end: 0 }
    }

    fn ask(&mut self, lane: &Lane, desk: &Desk) -> Result<()> {
        let now = desk.options.clock.elapsed();
        if now.saturating_sub(self.asked) < ASK_EVERY {
            return Ok(());
        }
        self.asked = now;
        match bounds_within(&desk.reader, &lane.topic, lane.number, BRIEF) {
            Err(error) if error.policy() == Policy::Retry => {
                desk.options.stats.connected.set(0);
                self.at_end = 0;
                Ok(())
            }
            Err(error) => Err(error),
            Ok((first, _)) if lacks(&lane.place, first) => Err(Error::new(
                ErrorKind::PositionLost,
                "retention has removed records that are not in the lake",
            )
            .at("topic partition", lane.name())
            .at("offset", lane.place.offset)
            .remedy(OVERTAKEN)),
            Ok((_, end)) => {
                desk.options.stats.connected.set(1);
                match self.hears(lane.read_to(), end) {
                    Stands::Waits => Ok(()),
                    Stands::Lost => {
                        Err(lane.lost("events that capture counts are not in the topic".to_owned()))
                    }
                    Stands::Stalled => {
                        let message = "records of a topic partition do not come, although it goes on";
                        Err(Error::new(ErrorKind::KafkaUnreachable, message)
                            .at("topic partition", lane.name())
                            .at("read to offset", lane.read_to())
                            .at("end", end))
                    }
                }
            }
        }
    }

    /// The topic partition, which the client has read up to `read_to`, ends at `end`: markers and aborted records count for both.
    fn hears(&mut self, read_to: i64, end: i64) -> Stands {
        if read_to > self.read_to {
            // What is no event, tombstones for example, was read.
            (self.read_to, self.before_end) = (read_to, 0);
        }
        match end <= read_to {
            true => self.at_end += 1,
            false => (self.at_end, self.before_end) = (0, self.before_end + 1),
        }
        match (self.at_end, self.before_end) {
            (ASK_TIMES.., _) => Stands::Lost,
            (_, STALLED_TIMES..) => Stands::Stalled,
            _ => Stands::Waits,
        }
    }
}

/// What is known of a lane that stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    Waits,
    Lost,
    Stalled,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(times: u32, read_to: i64, end: i64) -> Stands {
        let mut still = Still { asked: Duration::ZERO, read_to: 0, at_end: 0, before_end: 0 };
        (0..times).map(|_| still.hears(read_to, end)).last().unwrap()
    }

    #[test]
    fn events_are_lost_only_where_the_client_has_read_to_the_end() {
        assert_eq!(heard(ASK_TIMES - 1, 9, 9), Stands::Waits);
        assert_eq!(heard(ASK_TIMES, 9, 9), Stands::Lost);
        assert_eq!(heard(ASK_TIMES, 7, 9), Stands::Waits, "they may come");
        assert_eq!(heard(STALLED_TIMES, 7, 9), Stands::Stalled);
        let mut still = Still { asked: Duration::ZERO, read_to: 0, at_end: 0, before_end: 0 };
        let slow = (1..=2 * i64::from(STALLED_TIMES)).map(|read_to| still.hears(read_to, 1_000));
        assert_eq!(slow.last().unwrap(), Stands::Waits, "the client goes on");
    }
}
