//! When records fall: every hour of the asked days gets its share of them, by the hour of the day
//! and the day of the week where the network is.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::record::time::{Day, MS_PER_DAY};

pub const MS_PER_HOUR: i64 = 3_600_000;

/// Share of a day's calls by local hour, in thousandths.
const HOUR: [u64; 24] = [9, 6, 4, 3, 3, 5, 12, 28, 47, 58, 63, 66, 64, 58, 58, 62, 68, 76, 78, 70, 60, 48, 34, 20];
/// Monday to Sunday.
const WEEKDAY: [u64; 7] = [100, 102, 103, 106, 114, 88, 71];

/// One hour of the calendar.
pub struct Hour {
    /// UTC, milliseconds.
    pub start_ms: i64,
    /// Local time minus UTC.
    pub offset_s: i32,
    pub records: u64,
}

/// The hours of `days` UTC days from `first`, with `records` shared out among them exactly.
pub fn hours(first: Day, days: u32, zone: &TimeZone, records: u64) -> Vec<Hour> {
    let starts = (0..i64::from(days) * 24).map(|h| first.start_ms() + h * MS_PER_HOUR);
    let weighted: Vec<(i64, i32, u64)> = starts
        .map(|start_ms| {
            let offset_s = offset_s(zone, start_ms);
            let local_ms = start_ms + i64::from(offset_s) * 1000;
            // 1970-01-01 was a Thursday
            let weekday = (Day::of_ms(local_ms).0 + 3).rem_euclid(7) as usize;
            let hour = (local_ms.rem_euclid(MS_PER_DAY) / MS_PER_HOUR) as usize;
            (start_ms, offset_s, HOUR[hour] * WEEKDAY[weekday])
        })
        .collect();
    let total: u128 = weighted.iter().map(|w| u128::from(w.2)).sum();
    let (mut before, mut given) = (0u128, 0u64);
    weighted
        .into_iter()
        .map(|(start_ms, offset_s, weight)| {
            before += u128::from(weight);
            let upto = (u128::from(records) * before / total) as u64;
            let records = upto - given;
            given = upto;
            Hour { start_ms, offset_s, records }
        })
        .collect()
}

fn offset_s(zone: &TimeZone, ms: i64) -> i32 {
    Timestamp::from_millisecond(ms).map_or(0, |t| zone.to_offset(t).seconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_shared_out_exactly_and_follow_day_and_week() {
        let zone = TimeZone::get("Europe/Brussels").unwrap();
        let monday: Day = "2026-11-16".parse().unwrap();
        let hours = hours(monday, 7, &zone, 1_000_003);
        assert_eq!(hours.len(), 168);
        assert_eq!(hours.iter().map(|h| h.records).sum::<u64>(), 1_000_003);
        let day = |d: usize| hours[d * 24..(d + 1) * 24].iter().map(|h| h.records).sum::<u64>();
        assert!(day(4) > day(0) && day(6) < day(5) && day(5) < day(0), "weekend is quieter, friday is not");
        // 17:00 UTC is 18:00 in Brussels in winter
        assert!(hours[17].records > 10 * hours[2].records, "evening against night");
        assert_eq!(hours[0].offset_s, 3600);
    }
}
