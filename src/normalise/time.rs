//! Points in time to UTC milliseconds.

use crate::normalise::profile::{AmbiguousTime, ProfileError};
use crate::record::field::{TimeFormat, TimeZoneChoice};
use crate::record::reject::Reason;
use crate::record::time::Day;
use jiff::civil;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// 9999-12-31T23:59:59.999Z; what lies beyond is no event time.
const LAST_MS: i64 = 253_402_300_799_999;
const QUARTER_S: i64 = 900;

/// A compiled time format.
pub(crate) enum Format {
    Rfc3339,
    /// Units per second: 1, 1000, 1000000.
    Unix(i64),
    Pattern {
        parts: Vec<Part>,
        utc: bool,
    },
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Part {
    Year4,
    /// 00–69 are 2000–2069, 70–99 are 1970–1999 (POSIX).
    Year2,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Fraction,
    Literal(u8),
}

impl Format {
    pub(crate) fn compile(field: &'static str, format: &TimeFormat) -> Result<Format, ProfileError> {
        Ok(match format {
            TimeFormat::Rfc3339 => Format::Rfc3339,
            TimeFormat::UnixSeconds => Format::Unix(1),
            TimeFormat::UnixMillis => Format::Unix(1_000),
            TimeFormat::UnixMicros => Format::Unix(1_000_000),
            TimeFormat::Pattern { pattern, zone } => {
                Format::Pattern { parts: parts(field, pattern)?, utc: *zone == TimeZoneChoice::Utc }
            }
        })
    }

    /// Milliseconds since 1970-01-01 UTC of a trimmed, non-empty text.
    pub(crate) fn read(&self, text: &[u8], zone: &mut LocalClock, fold: AmbiguousTime) -> Result<i64, Reason> {
        match self {
            Format::Rfc3339 => rfc3339(text, &mut zone.date).ok_or(Reason::InvalidTime),
            Format::Unix(per_second) => unix(text, *per_second).ok_or(Reason::InvalidTime),
            Format::Pattern { parts, utc } => {
                let local_ms = pattern(text, parts).ok_or(Reason::InvalidTime)?;
                if *utc { Ok(local_ms) } else { zone.utc_ms(local_ms, fold) }
            }
        }
    }
}

/// Local time of one zone to UTC. The offset is looked up once per local quarter of an hour and
/// kept; quarters with a change of clocks are looked up every time. One per batch, not shared.
pub(crate) struct LocalClock<'z> {
    zone: &'z TimeZone,
    /// (quarter number, offset in seconds), placed by the low bits of the quarter.
    seen: [(i64, i32); 64],
    date: LastDate,
}

/// The date parsed last: records of a file mostly share it.
struct LastDate {
    text: [u8; 10],
    day_ms: i64,
}

enum Offset {
    Plain(i32),
    Gap,
    Fold { before: i32, after: i32 },
}

impl<'z> LocalClock<'z> {
    pub(crate) fn new(zone: &'z TimeZone) -> LocalClock<'z> {
        LocalClock { zone, seen: [(i64::MIN, 0); 64], date: LastDate { text: [0; 10], day_ms: 0 } }
    }

    fn utc_ms(&mut self, local_ms: i64, fold: AmbiguousTime) -> Result<i64, Reason> {
        let quarter = local_ms.div_euclid(QUARTER_S * 1000);
        let place = (quarter & 63) as usize;
        if self.seen[place].0 == quarter {
            return Ok(local_ms - i64::from(self.seen[place].1) * 1000);
        }
        let first = self.offset(quarter * QUARTER_S)?;
        let last = self.offset(quarter * QUARTER_S + QUARTER_S - 1)?;
        if let (Offset::Plain(a), Offset::Plain(b)) = (&first, &last)
            && a == b
        {
            self.seen[place] = (quarter, *a);
            return Ok(local_ms - i64::from(*a) * 1000);
        }
        let offset = match (self.offset(local_ms.div_euclid(1000))?, fold) {
            (Offset::Plain(offset), _) => offset,
            (Offset::Gap, _) => return Err(Reason::NonexistentTime),
            (Offset::Fold { before, .. }, AmbiguousTime::Earlier) => before,
            (Offset::Fold { after, .. }, AmbiguousTime::Later) => after,
            (Offset::Fold { .. }, AmbiguousTime::Reject) => return Err(Reason::AmbiguousTime),
        };
        Ok(local_ms - i64::from(offset) * 1000)
    }

    fn offset(&self, local_s: i64) -> Result<Offset, Reason> {
        let (year, month, day) = Day(local_s.div_euclid(86_400) as i32).civil();
        let second = local_s.rem_euclid(86_400);
        let civil = civil::DateTime::new(
            year as i16,
            month as i8,
            day as i8,
            (second / 3600) as i8,
            (second / 60 % 60) as i8,
            (second % 60) as i8,
            0,
        );
        let civil = civil.map_err(|_| Reason::InvalidTime)?;
        Ok(match self.zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => Offset::Plain(offset.seconds()),
            AmbiguousOffset::Gap { .. } => Offset::Gap,
            AmbiguousOffset::Fold { before, after } => {
                Offset::Fold { before: before.seconds(), after: after.seconds() }
            }
        })
    }
}

/// `2026-11-22T17:30:05.123+01:00`; `t`, `z`, a space for the `T`, and a leap second are allowed.
fn rfc3339(text: &[u8], last: &mut LastDate) -> Option<i64> {
    let (date, rest) = text.split_first_chunk::<10>()?;
    let (&[sep, h1, h2, b':', m1, m2, b':', s1, s2], rest) = rest.split_first_chunk::<9>()? else { return None };
    if !matches!(sep, b'T' | b't' | b' ') {
        return None;
    }
    if last.text != *date {
        let &[y1, y2, y3, y4, b'-', mo1, mo2, b'-', d1, d2] = date else { return None };
        let year = two(y1, y2)? * 100 + two(y3, y4)?;
        let day = Day::from_civil(year as i32, two(mo1, mo2)? as u32, two(d1, d2)? as u32)?;
        *last = LastDate { text: *date, day_ms: day.start_ms() };
    }
    let within = time_of_day(two(h1, h2)?, two(m1, m2)?, two(s1, s2)?)?;
    let (fraction_ms, rest) = match rest {
        [b'.', rest @ ..] => fraction(rest)?,
        _ => (0, rest),
    };
    let offset_min = match *rest {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (two(h1, h2)?, two(m1, m2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    Some(last.day_ms + within + fraction_ms - offset_min * 60_000)
}

/// Milliseconds into the day. Second 60 is the end of second 59: a leap second has no place in
/// UTC milliseconds.
fn time_of_day(hour: i64, minute: i64, second: i64) -> Option<i64> {
    if hour > 23 || minute > 59 || second > 60 || (second == 60 && minute != 59) {
        return None;
    }
    Some(((hour * 60 + minute) * 60 + second.min(59)) * 1000)
}

/// One or more decimals to whole milliseconds (the rest is cut off), and what follows them.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let len = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if len == 0 || len > 12 {
        return None;
    }
    let ms = (0..3).fold(0, |ms, i| ms * 10 + if i < len { i64::from(text[i] - b'0') } else { 0 });
    Some((ms, &text[len..]))
}

fn unix(text: &[u8], per_second: i64) -> Option<i64> {
    let (whole, decimals) = match text.iter().position(|&b| b == b'.') {
        Some(dot) => (&text[..dot], Some(&text[dot + 1..])),
        None => (text, None),
    };
    if whole.is_empty() || whole.len() > 18 {
        return None;
    }
    let units = whole.iter().try_fold(0i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))?;
    let extra_ms = match decimals {
        None => 0,
        Some(decimals) => {
            let (ms, rest) = fraction(decimals)?;
            if !rest.is_empty() {
                return None;
            }
            if per_second == 1 { ms } else { 0 }
        }
    };
    let ms = if per_second == 1 { units.checked_mul(1000)? } else { units / (per_second / 1000) };
    Some(ms + extra_ms).filter(|ms| *ms <= LAST_MS)
}

fn two(a: u8, b: u8) -> Option<i64> {
    (a.is_ascii_digit() && b.is_ascii_digit()).then(|| i64::from(a - b'0') * 10 + i64::from(b - b'0'))
}

/// Local milliseconds, as if the clock were UTC.
fn pattern(text: &[u8], parts: &[Part]) -> Option<i64> {
    let (mut year, mut month, mut day, mut hour, mut minute, mut second, mut ms) = (1970, 1, 1, 0, 0, 0, 0);
    let mut rest = text;
    for (i, part) in parts.iter().enumerate() {
        // A field may drop its leading zero where something that is no digit follows it.
        let loose = !matches!(parts.get(i + 1), Some(next) if !matches!(next, Part::Literal(_)));
        match *part {
            Part::Literal(b) => rest = rest.strip_prefix(&[b])?,
            Part::Fraction => (ms, rest) = fraction(rest)?,
            Part::Year4 => (year, rest) = digits(rest, 4, false)?,
            Part::Year2 => {
                let (short, after) = digits(rest, 2, false)?;
                (year, rest) = (short + if short < 70 { 2000 } else { 1900 }, after);
            }
            Part::Month => (month, rest) = digits(rest, 2, loose)?,
            Part::Day => (day, rest) = digits(rest, 2, loose)?,
            Part::Hour => (hour, rest) = digits(rest, 2, loose)?,
            Part::Minute => (minute, rest) = digits(rest, 2, loose)?,
            Part::Second => (second, rest) = digits(rest, 2, loose)?,
        }
    }
    if !rest.is_empty() {
        return None;
    }
    let day = Day::from_civil(year as i32, month as u32, day as u32)?;
    Some(day.start_ms() + time_of_day(hour, minute, second)? + ms)
}

/// A number of `width` digits, or of at least one if `loose`.
fn digits(text: &[u8], width: usize, loose: bool) -> Option<(i64, &[u8])> {
    let found = text.iter().take(width).take_while(|b| b.is_ascii_digit()).count();
    if found == 0 || (found < width && !loose) {
        return None;
    }
    let value = text[..found].iter().fold(0, |n, b| n * 10 + i64::from(b - b'0'));
    Some((value, &text[found..]))
}

fn parts(field: &'static str, pattern: &str) -> Result<Vec<Part>, ProfileError> {
    let mut parts = Vec::new();
    let mut bytes = pattern.bytes();
    while let Some(b) = bytes.next() {
        parts.push(match (b, if b == b'%' { bytes.next() } else { None }) {
            (b'%', Some(b'Y')) => Part::Year4,
            (b'%', Some(b'y')) => Part::Year2,
            (b'%', Some(b'm')) => Part::Month,
            (b'%', Some(b'd')) => Part::Day,
            (b'%', Some(b'H')) => Part::Hour,
            (b'%', Some(b'M')) => Part::Minute,
            (b'%', Some(b'S')) => Part::Second,
            (b'%', Some(b'f')) => Part::Fraction,
            (b'%', Some(b'%')) => Part::Literal(b'%'),
            (b'%', _) => return Err(ProfileError::new(field, "a time pattern knows %Y %y %m %d %H %M %S %f and %%")),
            _ => Part::Literal(b),
        });
    }
    let has_date = (parts.contains(&Part::Year4) || parts.contains(&Part::Year2))
        && parts.contains(&Part::Month)
        && parts.contains(&Part::Day);
    if !has_date {
        return Err(ProfileError::new(field, "a time pattern needs year, month and day"));
    }
    Ok(parts)
}
