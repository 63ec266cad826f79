//! Synthetic call records in every shipped format, for load tests and the demo.
//!
//! The same plan gives the same bytes on every machine: the random numbers are our own and every
//! decision is integer arithmetic. Damaged rows are drawn from a stream of their own, so that two
//! plans that differ only in `broken_ppm` differ only in the damaged rows.

pub mod breakage;
pub mod calendar;
pub mod country;
pub mod event;
pub mod format;
pub mod notation;
pub mod random;
pub mod subscriber;
pub mod text;
pub mod zipf;

use std::collections::VecDeque;
use std::io::{self, Write};

use jiff::tz::TimeZone;

use self::breakage::Marks;
use self::calendar::Hour;
use self::country::Country;
use self::event::{Event, Source};
use self::format::kamailio::{self, Open};
use self::format::{Format, Row};
use self::random::Random;
use self::subscriber::Population;
use self::zipf::Zipf;
use crate::record::time::Day;

/// What to write.
pub struct Plan {
    pub format: Format,
    /// Rows, damaged ones included; headers and trailers not.
    pub records: u64,
    /// 1 to `MAX_SUBSCRIBERS`.
    pub subscribers: u32,
    pub first: Day,
    /// At least 1; days in UTC.
    pub days: u32,
    pub seed: u64,
    /// Damaged rows in a million.
    pub broken_ppm: u32,
    pub home: &'static Country,
}

/// Bounds the table of callers to 128 MiB.
pub const MAX_SUBSCRIBERS: u32 = 1 << 24;

const CHUNK: usize = 1 << 20;
/// Rows between an INVITE and its BYE, at most.
const OPEN_CALLS: usize = 64;

/// Writes the plan's records. Errors are those of `to`, or a time zone that is not known.
pub fn write(plan: &Plan, to: &mut impl Write) -> io::Result<()> {
    let zone = TimeZone::get(plan.home.zone).map_err(io::Error::other)?;
    let hours = calendar::hours(plan.first, plan.days, &zone, plan.records);
    let people = Population::new(plan.home, plan.subscribers, plan.seed);
    let callers = Zipf::new(plan.subscribers);
    let source = Source { people: &people, callers: &callers };
    let mut writer = Writer::new(plan, to);
    plan.format.head(&mut writer.out, plan.first.start_ms());
    let mut random = Random::new(plan.seed, 1);
    for hour in &hours {
        writer.hour(&source, hour, &mut random)?;
    }
    let end_ms = Day(plan.first.0 + plan.days as i32).start_ms();
    plan.format.tail(&mut writer.out, plan.records, end_ms);
    writer.to.write_all(&writer.out)?;
    writer.to.flush()
}

struct Writer<'a, W> {
    plan: &'a Plan,
    to: &'a mut W,
    out: Vec<u8>,
    marks: Marks,
    damage: Random,
    rows: u64,
    /// Calls whose BYE is due (Kamailio).
    open: VecDeque<Open>,
}

impl<'a, W: Write> Writer<'a, W> {
    fn new(plan: &'a Plan, to: &'a mut W) -> Self {
        let out = Vec::with_capacity(CHUNK + 4096);
        let damage = Random::new(plan.seed, 2);
        Writer { plan, to, out, marks: Marks::default(), damage, rows: 0, open: VecDeque::new() }
    }

    fn hour(&mut self, source: &Source, hour: &Hour, random: &mut Random) -> io::Result<()> {
        for _ in 0..hour.records {
            if self.bye_is_due(random) {
                self.bye()?;
            } else {
                let service = self.plan.format.service(random);
                let event = source.draw(service, hour, random);
                self.event(&event, random)?;
            }
        }
        Ok(())
    }

    fn event(&mut self, event: &Event, random: &mut Random) -> io::Result<()> {
        if self.plan.format == Format::Kamailio {
            self.open.extend(Open::of(event));
        }
        let row = Row { event, home: self.plan.home, number: self.rows };
        self.marks.row.start = self.out.len();
        format::write(self.plan.format, &row, &mut self.out, &mut self.marks, random);
        self.end_row()
    }

    /// Every open call is closed before the rows run out.
    fn bye_is_due(&self, random: &mut Random) -> bool {
        let left = self.plan.records - self.rows;
        let open = self.open.len();
        open > 0 && (open as u64 >= left || open > random.below(OPEN_CALLS as u64) as usize)
    }

    fn bye(&mut self) -> io::Result<()> {
        if let Some(open) = self.open.pop_front() {
            self.marks.row.start = self.out.len();
            kamailio::bye(&open, &mut self.out, &mut self.marks);
        }
        self.end_row()
    }

    fn end_row(&mut self) -> io::Result<()> {
        if self.damage.chance(u64::from(self.plan.broken_ppm), 1_000_000) {
            self.marks.row.end = self.out.len();
            breakage::damage(&mut self.out, &self.marks, &mut self.damage);
        }
        self.out.push(b'\n');
        self.rows += 1;
        if self.out.len() >= CHUNK {
            self.to.write_all(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
