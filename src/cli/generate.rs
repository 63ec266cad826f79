//! `cdrveil generate`: synthetic records to standard output.

use std::io::{self, ErrorKind};

use clap::Args;

use crate::clock::{Clock, SystemClock};
use crate::generate::country::{self, Country};
use crate::generate::format::Format;
use crate::generate::{self, MAX_SUBSCRIBERS, Plan};
use crate::record::time::Day;

/// Write synthetic call records to standard output: the same options give the same bytes
#[derive(Args)]
#[command(after_help = "\
Examples:
  cdrveil generate --records 1000 > calls.csv
  cdrveil generate --format asterisk --days 7 --seed 2 | zstd > Master.csv.zst
  cdrveil generate --records 1000000 | cdrveil ingest --feed generic-voice -

Formats without a time zone are written in the home country's local time: give such a feed that zone
in its profile. No person stands behind a number, yet some are in real ranges: never dial one.")]
pub struct GenerateArgs {
    /// generic-voice, generic-sms, generic-data, asterisk, freeswitch, cisco-cucm, kamailio,
    /// fixed-width or json-lines
    #[arg(long, value_name = "NAME", value_parser = format, default_value = "generic-voice")]
    format: Format,
    /// Rows to write, damaged ones included
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    records: u64,
    /// Subscribers of the home network
    #[arg(long, value_name = "M", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SUBSCRIBERS)))]
    subscribers: u32,
    /// First day, YYYY-MM-DD in UTC [default: so that the last day is yesterday]
    #[arg(long, value_name = "DATE", value_parser = day)]
    start: Option<Day>,
    /// Days to spread the records over
    #[arg(long, value_name = "D", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=3660))]
    days: u32,
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Share of damaged rows, 0 to 1
    #[arg(long, value_name = "SHARE", value_parser = parts_per_million, default_value = "0.001")]
    broken: u32,
    /// Home country (ISO 3166): BE, NL, FR, DE, GB, IE, SE or AT
    #[arg(long, value_name = "CC", value_parser = home, default_value = "BE")]
    country: &'static Country,
}

/// Ends quietly when the reader goes away.
pub fn run(args: GenerateArgs) -> io::Result<()> {
    let plan = plan(args, Day::of_ms(SystemClock.now_ms()));
    match generate::write(&plan, &mut io::stdout().lock()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn plan(args: GenerateArgs, today: Day) -> Plan {
    Plan {
        format: args.format,
        records: args.records,
        subscribers: args.subscribers,
        first: args.start.unwrap_or(Day(today.0 - args.days as i32)),
        days: args.days,
        seed: args.seed,
        broken_ppm: args.broken,
        home: args.country,
    }
}

fn format(name: &str) -> Result<Format, String> {
    let known = || Format::ALL.map(Format::name).join(", ");
    Format::from_name(name).ok_or_else(|| format!("unknown format; known: {}", known()))
}

fn day(text: &str) -> Result<Day, String> {
    text.parse().map_err(|()| "not a date; write YYYY-MM-DD".to_owned())
}

fn home(iso: &str) -> Result<&'static Country, String> {
    country::home(iso).ok_or_else(|| format!("not a home country here; known: {}", country::homes().join(", ")))
}

fn parts_per_million(share: &str) -> Result<u32, String> {
    match share.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok((share * 1_000_000.0).round() as u32),
        _ => Err("not a share between 0 and 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: GenerateArgs,
    }

    #[test]
    fn the_days_end_yesterday_unless_said_otherwise() {
        let today: Day = "2026-11-22".parse().unwrap();
        let parsed = |args: &[&str]| plan(Command::try_parse_from(args).ok().unwrap().args, today);
        assert_eq!(parsed(&["generate"]).first.to_string(), "2026-11-21");
        assert_eq!(parsed(&["generate", "--days", "3"]).first.to_string(), "2026-11-19");
        assert_eq!(parsed(&["generate", "--start", "2025-01-31"]).first.to_string(), "2025-01-31");
        assert_eq!(parsed(&["generate", "--broken", "0.25"]).broken_ppm, 250_000);
    }

    #[test]
    fn bad_values_are_refused() {
        for bad in [
            ["--broken", "2"],
            ["--start", "2026-02-30"],
            ["--format", "excel"],
            ["--country", "US"],
            ["--subscribers", "0"],
            ["--days", "0"],
        ] {
            assert!(Command::try_parse_from(["generate", bad[0], bad[1]]).is_err(), "{bad:?}");
        }
    }
}
