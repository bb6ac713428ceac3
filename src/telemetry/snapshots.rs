//! The progress of snapshots for those who watch a run: a bar for each table on a terminal, log lines
//! elsewhere. What begins and ends is a log line in both.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use lakeward_core::TableId;
use lakeward_core::stats::{SnapshotCount, SnapshotPhase};
use tracing::info;

use super::Telemetry;
use super::pace::Pace;

/// Time between two looks at the counters.
const LOOK: Duration = Duration::from_millis(500);
/// Time between two log lines of one table.
const LINES: Duration = Duration::from_secs(10);
/// Tables that have a bar, or a log line of their own, at once.
const SHOWN: usize = 8;
/// Characters of a table's name beside its bar.
const NAME: usize = 32;

/// Tells the progress of a run's snapshots.
pub struct Teller {
    telemetry: Telemetry,
    phases: BTreeMap<TableId, SnapshotPhase>,
    lines_at: Duration,
    terminal: Option<Terminal>,
}

/// The bars, below the log lines.
struct Terminal {
    all: MultiProgress,
    bars: BTreeMap<TableId, ProgressBar>,
    /// What has no bar.
    others: Option<ProgressBar>,
}

/// What a look at the counters found to be new.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Begins(TableId, Pace),
    Waits(TableId, Pace),
    Ends(TableId, Pace),
}

impl Teller {
    /// Tells what `telemetry` counts; as bars where there is a terminal for them.
    pub fn new(telemetry: Telemetry, terminal: Option<MultiProgress>) -> Self {
        let terminal = terminal.map(|all| Terminal { all, bars: BTreeMap::new(), others: None });
        let lines_at = telemetry.clock.elapsed();
        Teller { telemetry, phases: BTreeMap::new(), lines_at, terminal }
    }

    /// Tells for as long as it is waited for.
    pub async fn tell(&mut self) -> Infallible {
        loop {
            self.look();
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Tells what is new; once more at the end of a run.
    pub fn look(&mut self) {
        let counts = self.telemetry.source.snapshots.get();
        let now_us = self.telemetry.clock.unix_micros();
        for news in self.news(&counts, now_us) {
            match news {
                News::Begins(table, pace) => info!(%table, %pace, "snapshot: reading"),
                News::Waits(table, pace) => info!(%table, %pace, "snapshot: paused"),
                News::Ends(table, pace) => info!(%table, rows = pace.rows, %pace, "snapshot: done"),
            }
        }
        match &mut self.terminal {
            Some(terminal) => terminal.draw(&counts, now_us),
            None => {
                for line in self.lines(&counts, now_us) {
                    info!("snapshot: {line}");
                }
            }
        }
    }

    fn news(&mut self, counts: &[(TableId, SnapshotCount)], now_us: i64) -> Vec<News> {
        let mut news = Vec::new();
        for (table, count) in counts {
            let before = self.phases.insert(table.clone(), count.phase);
            if before == Some(count.phase) {
                continue;
            }
            let pace = Pace::counted(count, now_us);
            match count.phase {
                SnapshotPhase::Waiting => {}
                SnapshotPhase::Reading => news.push(News::Begins(table.clone(), pace)),
                SnapshotPhase::Paused => news.push(News::Waits(table.clone(), pace)),
                SnapshotPhase::Done => news.push(News::Ends(table.clone(), pace)),
            }
        }
        let counted: BTreeSet<&TableId> = counts.iter().map(|(table, _)| table).collect();
        self.phases.retain(|table, _| counted.contains(table));
        news
    }

    /// The regular lines, where they are due.
    fn lines(&mut self, counts: &[(TableId, SnapshotCount)], now_us: i64) -> Vec<String> {
        let now = self.telemetry.clock.elapsed();
        if now.saturating_sub(self.lines_at) < LINES {
            return Vec::new();
        }
        self.lines_at = now;
        let mut lines: Vec<String> = reading(counts)
            .take(SHOWN)
            .map(|(table, count)| format!("{table}: {}", Pace::counted(count, now_us)))
            .collect();
        if !lines.is_empty() {
            lines.extend(others(counts));
        }
        lines
    }
}

fn reading(counts: &[(TableId, SnapshotCount)]) -> impl Iterator<Item = &(TableId, SnapshotCount)> {
    counts.iter().filter(|(_, count)| count.phase == SnapshotPhase::Reading)
}

/// The tables that are not shown one by one.
fn others(counts: &[(TableId, SnapshotCount)]) -> Option<String> {
    let in_phase = |phase| counts.iter().filter(|(_, count)| count.phase == phase).count();
    let parts = [
        (in_phase(SnapshotPhase::Reading).saturating_sub(SHOWN), "more being read"),
        (in_phase(SnapshotPhase::Waiting), "to come"),
        (in_phase(SnapshotPhase::Paused), "paused"),
        (in_phase(SnapshotPhase::Done), "done"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    (!parts.is_empty()).then(|| format!("tables: {}", parts.join(", ")))
}

impl Terminal {
    fn draw(&mut self, counts: &[(TableId, SnapshotCount)], now_us: i64) {
        let shown: Vec<_> = reading(counts).take(SHOWN).collect();
        self.bars.retain(|table, bar| {
            let stays = shown.iter().any(|(reading, _)| reading == table);
            if !stays {
                bar.finish_and_clear();
                self.all.remove(bar);
            }
            stays
        });
        for (table, count) in &shown {
            let bar = self.bars.entry(table.clone()).or_insert_with(|| {
                let bar = ProgressBar::no_length().with_style(style()).with_prefix(shortened(table));
                self.all.insert(0, bar)
            });
            let pace = Pace::counted(count, now_us);
            // A full bar would say that it is done.
            bar.set_length(pace.estimated_rows.unwrap_or_default().max(pace.rows + 1));
            bar.set_position(pace.rows);
            bar.set_message(pace.to_string());
        }
        let rest = others(counts).filter(|_| !shown.is_empty());
        match (rest, &self.others) {
            (Some(rest), Some(line)) => line.set_message(rest),
            (Some(rest), None) => {
                let plain =
                    ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
                let line = self.all.add(ProgressBar::no_length().with_style(plain));
                line.set_message(rest);
                self.others = Some(line);
            }
            (None, Some(line)) => {
                line.finish_and_clear();
                self.all.remove(line);
                self.others = None;
            }
            (None, None) => {}
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix} {bar:24} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// A table's name in a fixed width; of a long one the end, which tells tables apart.
fn shortened(table: &TableId) -> String {
    let name = table.to_string();
    let length = name.chars().count();
    match length.checked_sub(NAME) {
        None | Some(0) => format!("{name:NAME$}"),
        Some(over) => format!("…{}", name.chars().skip(over + 1).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use indicatif::{InMemoryTerm, ProgressDrawTarget};
    use lakeward_core::clock::ManualClock;

    use super::*;

    fn teller(terminal: Option<MultiProgress>) -> (Teller, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(1_000_000));
        let telemetry = Telemetry::new("shop", clock.clone(), Duration::from_secs(60));
        (Teller::new(telemetry, terminal), clock)
    }

    fn count(teller: &Teller, table: &str, phase: SnapshotPhase, rows: u64) {
        teller.telemetry.source.snapshots.update(&TableId::new("s", table), |count| {
            *count = SnapshotCount { rows, phase, estimated_rows: Some(1_000), since_us: 1, rows_before: 0 };
        });
    }

    fn found(teller: &mut Teller) -> Vec<String> {
        let counts = teller.telemetry.source.snapshots.get();
        let name = |news| match news {
            News::Begins(table, _) => format!("begins {table}"),
            News::Waits(table, _) => format!("waits {table}"),
            News::Ends(table, pace) => format!("ends {table} {}", pace.rows),
        };
        teller.news(&counts, 2_000_000).into_iter().map(name).collect()
    }

    #[test]
    fn beginnings_and_ends_are_told_once_even_between_two_looks() {
        let (mut teller, _) = teller(None);
        count(&teller, "a", SnapshotPhase::Waiting, 0);
        assert!(found(&mut teller).is_empty());
        count(&teller, "a", SnapshotPhase::Reading, 5);
        count(&teller, "quick", SnapshotPhase::Done, 3);
        assert_eq!(found(&mut teller), ["begins s.a", "ends s.quick 3"]);
        assert!(found(&mut teller).is_empty());
        count(&teller, "a", SnapshotPhase::Paused, 6);
        assert_eq!(found(&mut teller), ["waits s.a"]);
        count(&teller, "a", SnapshotPhase::Done, 9);
        assert_eq!(found(&mut teller), ["ends s.a 9"]);
        teller.telemetry.source.snapshots.remove(&TableId::new("s", "a"));
        assert!(found(&mut teller).is_empty());
        count(&teller, "a", SnapshotPhase::Reading, 0);
        assert_eq!(found(&mut teller), ["begins s.a"], "a second reading");
    }

    #[test]
    fn log_lines_come_every_ten_seconds_and_are_few() {
        let (mut teller, clock) = teller(None);
        for table in 0..40 {
            count(&teller, &format!("t{table:02}"), SnapshotPhase::Reading, 10);
        }
        count(&teller, "z", SnapshotPhase::Waiting, 0);
        let counts = teller.telemetry.source.snapshots.get();
        assert!(teller.lines(&counts, 2_000_000).is_empty());
        clock.advance(LINES);
        let lines = teller.lines(&counts, 2_000_000);
        assert_eq!(lines.len(), SHOWN + 1);
        assert!(lines[0].starts_with("s.t00: 10 of about 1,000 rows (1 %)"), "{lines:?}");
        assert_eq!(lines[SHOWN], "tables: 32 more being read, 1 to come");
        assert!(teller.lines(&counts, 2_000_000).is_empty());
    }

    #[test]
    fn a_terminal_has_a_bar_for_each_table_that_is_being_read() {
        let screen = InMemoryTerm::new(20, 120);
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::term_like(Box::new(screen.clone())));
        let (mut teller, _) = teller(Some(all));
        count(&teller, "orders", SnapshotPhase::Reading, 500);
        count(&teller, "lines", SnapshotPhase::Waiting, 0);
        teller.look();
        let shown = screen.contents();
        assert!(shown.contains("s.orders") && shown.contains("500 of about 1,000 rows (50 %)"), "{shown}");
        assert!(shown.contains("=>") && shown.contains("tables: 1 to come"), "{shown}");
        count(&teller, "orders", SnapshotPhase::Done, 1_000);
        teller.look();
        assert_eq!(screen.contents().trim(), "", "nothing is left below the log");
    }

    #[test]
    fn a_long_name_keeps_its_end() {
        let name = shortened(&TableId::new("d", "x".repeat(40) + "_2026"));
        assert!(name.chars().count() == NAME && name.ends_with("_2026") && name.starts_with('…'), "{name}");
    }
}
