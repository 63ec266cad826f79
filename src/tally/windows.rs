//! Event-time windows and the watermark that closes them.
//!
//! The watermark is the minimum over feed partitions that have delivered. It counts only once the
//! tally holds every batch that it speaks of, so that no window is judged without its last batch.

const MS_PER_HOUR: i64 = 3_600_000;

/// What the newest manifest of one feed partition says, and whether the tally has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedMark {
    /// `FEED/PARTITION`.
    pub name: String,
    /// Newest event time seen, milliseconds UTC; none before the first record.
    pub newest_event_ms: Option<i64>,
    /// The run that wrote the manifest was finite and ended with it.
    pub finished: bool,
    /// Wall clock of the manifest.
    pub committed_ms: i64,
    /// The tally's mark has reached the manifest.
    pub counted: bool,
}

/// How far event time is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watermark {
    /// No feed has delivered.
    Nothing,
    /// Up to this time (ms UTC), held there by this feed partition.
    Complete { until_ms: i64, held_by: String },
    /// The tally does not yet hold the newest batch of this feed partition.
    Trailing { feed: String },
}

/// The watermark at `now_ms`. A feed that has brought nothing for `idle_after_ms` moves with the
/// clock, that far behind it; a finished run stands at the clock of its end.
pub fn watermark(feeds: &[FeedMark], now_ms: i64, idle_after_ms: i64) -> Watermark {
    if let Some(feed) = feeds.iter().find(|f| !f.counted) {
        return Watermark::Trailing { feed: feed.name.clone() };
    }
    let each = feeds.iter().map(|f| (of_feed(f, now_ms, idle_after_ms), &f.name));
    match each.min() {
        None => Watermark::Nothing,
        Some((until_ms, feed)) => Watermark::Complete { until_ms, held_by: feed.clone() },
    }
}

/// The clock bounds what events may claim: one record dated tomorrow closes nothing early.
fn of_feed(feed: &FeedMark, now_ms: i64, idle_after_ms: i64) -> i64 {
    let seen = if feed.finished {
        feed.committed_ms
    } else {
        feed.newest_event_ms.map_or(i64::MIN, |ms| ms.min(feed.committed_ms))
    };
    let idle = now_ms.saturating_sub(idle_after_ms);
    if feed.committed_ms <= idle { seen.max(idle) } else { seen }
}

/// When the watermark has to have come for the window that starts at `hour` to be judged.
pub fn closes_at_ms(hour: i32, release_after_hours: u32) -> i64 {
    (i64::from(hour) + 1 + i64::from(release_after_hours)) * MS_PER_HOUR
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = MS_PER_HOUR;

    fn feed(newest: Option<i64>, finished: bool, committed: i64, counted: bool) -> FeedMark {
        FeedMark {
            name: format!("f{committed}/0"),
            newest_event_ms: newest,
            finished,
            committed_ms: committed,
            counted,
        }
    }

    #[test]
    fn the_slowest_feed_holds_the_watermark() {
        let (now, idle) = (100 * HOUR, 24 * HOUR);
        for (feeds, until) in [
            (vec![feed(Some(90 * HOUR), false, 95 * HOUR, true)], 90 * HOUR),
            (
                vec![feed(Some(90 * HOUR), false, 95 * HOUR, true), feed(Some(80 * HOUR), false, 99 * HOUR, true)],
                80 * HOUR,
            ),
            // a finite run counts as the clock of its end
            (vec![feed(Some(10 * HOUR), true, 95 * HOUR, true)], 95 * HOUR),
            // silent for idle_after: moves with the clock, not before
            (vec![feed(Some(10 * HOUR), false, 76 * HOUR, true)], 76 * HOUR),
            (vec![feed(Some(10 * HOUR), false, 76 * HOUR + 1, true)], 10 * HOUR),
            (vec![feed(Some(10 * HOUR), true, 20 * HOUR, true)], 76 * HOUR),
            // an event from the future moves it no further than the clock of its batch
            (vec![feed(Some(120 * HOUR), false, 95 * HOUR, true)], 95 * HOUR),
            // delivered, but no record yet: holds everything
            (vec![feed(None, false, 95 * HOUR, true)], i64::MIN),
        ] {
            let Watermark::Complete { until_ms, .. } = watermark(&feeds, now, idle) else { panic!("{feeds:?}") };
            assert_eq!(until_ms, until, "{feeds:?}");
        }
        assert_eq!(watermark(&[], now, idle), Watermark::Nothing);
    }

    #[test]
    fn a_tally_that_trails_holds_everything() {
        let feeds = [feed(Some(90 * HOUR), false, 95 * HOUR, true), feed(Some(99 * HOUR), true, 96 * HOUR, false)];
        assert_eq!(watermark(&feeds, 100 * HOUR, 0), Watermark::Trailing { feed: feeds[1].name.clone() });
    }

    #[test]
    fn a_window_waits_for_its_end_and_release_after() {
        assert_eq!(closes_at_ms(10, 0), 11 * HOUR);
        assert_eq!(closes_at_ms(10, 6), 17 * HOUR);
        assert_eq!(closes_at_ms(-2, 1), 0);
    }
}
