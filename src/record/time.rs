//! Days and epochs: the units in which keys live and die. Always UTC, always by event time.

use std::fmt;
use std::str::FromStr;

/// Days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(pub i32);

pub const MS_PER_DAY: i64 = 86_400_000;

impl Day {
    pub fn of_ms(ms: i64) -> Day {
        Day(ms.div_euclid(MS_PER_DAY) as i32)
    }

    pub fn start_ms(self) -> i64 {
        i64::from(self.0) * MS_PER_DAY
    }

    /// (year, month 1–12, day 1–31) in the proleptic Gregorian calendar.
    /// Algorithm: Hinnant, "chrono-compatible low-level date algorithms".
    pub fn civil(self) -> (i32, u32, u32) {
        let z = self.0 + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let d = doy - (153 * mp + 2) / 5 + 1;
        let m = if mp < 10 { mp + 3 } else { mp - 9 };
        let y = yoe + era * 400 + i32::from(m <= 2);
        (y, m as u32, d as u32)
    }

    /// The inverse of `civil`; `None` for a date that does not exist.
    pub fn from_civil(y: i32, m: u32, d: u32) -> Option<Day> {
        if !(1..=12).contains(&m) || d < 1 || d > days_in_month(y, m) || !(0..=9999).contains(&y) {
            return None;
        }
        let y2 = if m <= 2 { y - 1 } else { y };
        let era = y2.div_euclid(400);
        let yoe = y2.rem_euclid(400);
        let mp = (m as i32 + 9) % 12;
        let doy = (153 * mp + 2) / 5 + d as i32 - 1;
        let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
        Some(Day(era * 146_097 + doe - 719_468))
    }

    pub fn epoch(self) -> Epoch {
        let (y, m, _) = self.civil();
        Epoch(y * 12 + m as i32 - 1)
    }
}

fn days_in_month(y: i32, m: u32) -> u32 {
    match m {
        2 if y % 4 == 0 && (y % 100 != 0 || y % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (y, m, d) = self.civil();
        write!(f, "{y:04}-{m:02}-{d:02}")
    }
}

impl FromStr for Day {
    type Err = ();

    fn from_str(s: &str) -> Result<Day, ()> {
        let b = s.as_bytes();
        if b.len() != 10
            || b[4] != b'-'
            || b[7] != b'-'
            || !b.iter().enumerate().all(|(i, c)| i == 4 || i == 7 || c.is_ascii_digit())
        {
            return Err(());
        }
        let n = |r: std::ops::Range<usize>| s[r].parse::<u32>().map_err(|_| ());
        Day::from_civil(n(0..4)? as i32, n(5..7)?, n(8..10)?).ok_or(())
    }
}

/// A calendar month in UTC: the unit of pseudonym keys. Counted in months since year 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub i32);

impl Epoch {
    pub fn first_day(self) -> Day {
        Day::from_civil(self.0.div_euclid(12), self.0.rem_euclid(12) as u32 + 1, 1)
            .expect("the first of a month exists")
    }

    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }

    pub fn previous(self) -> Epoch {
        Epoch(self.0 - 1)
    }

    pub fn days(self) -> impl Iterator<Item = Day> {
        (self.first_day().0..self.next().first_day().0).map(Day)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.div_euclid(12), self.0.rem_euclid(12) + 1)
    }
}

impl FromStr for Epoch {
    type Err = ();

    fn from_str(s: &str) -> Result<Epoch, ()> {
        format!("{s}-01").parse::<Day>().map(Day::epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_civil_dates_agree_both_ways() {
        for d in -800_000..=800_000 {
            let day = Day(d);
            let (y, m, dd) = day.civil();
            if (0..=9999).contains(&y) {
                assert_eq!(Day::from_civil(y, m, dd), Some(day));
            }
        }
        assert_eq!("1970-01-01".parse(), Ok(Day(0)));
        assert_eq!(Day(20_779).to_string(), "2026-11-22");
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for s in ["2026-02-29", "2026-13-01", "2026-00-10", "2026-04-31", "2026-1-1", "+026-01-01", "2026-01-00"] {
            assert_eq!(s.parse::<Day>(), Err(()), "{s}");
        }
    }

    #[test]
    fn epochs_are_calendar_months() {
        let e: Epoch = "2026-12".parse().unwrap();
        assert_eq!(e.next().to_string(), "2027-01");
        assert_eq!(e.days().count(), 31);
        assert_eq!("2026-11-30".parse::<Day>().unwrap().epoch().to_string(), "2026-11");
    }
}
