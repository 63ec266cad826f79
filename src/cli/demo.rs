//! `cdrveil demo`: a site, a day of synthetic calls through it, and a look at it from every side.
//!
//! Nothing here is special to the demo but the calls: the site is made by `init`, and what runs is
//! what `generate`, `ingest`, `steward` and `query` run.

mod day;
mod look;
mod place;
mod print;

use super::context::Context;
use super::error::CliError;
use super::steward;
use crate::config::Site;
use crate::generate::country::{self, Country};
use crate::pipeline::summary::Summary;
use crate::query::Answer;
use crate::record::time::Day;
use crate::steward::Report;
use clap::Args;
use look::{Held, LakeRow};
use place::Place;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Show everything at once: a new site, a day of synthetic calls, what each role then sees
#[derive(Args)]
#[command(after_help = "\
Examples:
  cdrveil demo                   in a folder under the system's temporary one; its name is printed
  cdrveil demo /tmp/try          in this folder, which must be new or empty
  cdrveil demo --records 3000000 ten times the calls

The folder is kept and is a site like any other: every command works on it with --site. Its
passphrases stand in files inside it, which is right for nothing but a demo. If
CDRVEIL_PASSPHRASE_FILE and CDRVEIL_VAULT_PASSPHRASE_FILE are set, the passphrases they name are
taken instead.")]
pub struct DemoArgs {
    /// Folder of the site, new or empty [default: a new temporary one]
    pub dir: Option<PathBuf>,
    /// Voice calls; the other eight feeds get shares of this number
    #[arg(long, value_name = "N", default_value_t = 300_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    pub records: u64,
    /// Home country of the calls (ISO 3166): BE, NL, FR, DE, GB, IE, SE or AT
    #[arg(long, value_name = "CC", default_value = "BE", value_parser = home)]
    pub country: &'static Country,
    /// Other synthetic calls for another number
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
}

fn home(iso: &str) -> Result<&'static Country, String> {
    country::home(iso).ok_or_else(|| format!("not a home country here; known: {}", country::homes().join(", ")))
}

pub fn run(args: DemoArgs, context: &Context) -> Result<(), CliError> {
    let begun = Instant::now();
    let place = Place::make(args.dir.as_deref(), args.country, context)?;
    let inside = place.context(context);
    if !context.json {
        print::site(&place, context);
    }
    let demo = Demo::of(&args, place, &inside, begun)?;
    if context.json {
        context.print_json(&demo.as_json());
    } else {
        print::all(&demo, context);
    }
    Ok(())
}

/// Everything that is shown.
struct Demo {
    place: Place,
    site: Arc<Site>,
    /// The day that the calls fall on, in UTC.
    day: Day,
    feeds: Vec<Summary>,
    report: Report,
    /// Cells of the release store.
    busiest: Answer,
    /// What the release store says is not shown.
    withheld: Answer,
    rows: Vec<LakeRow>,
    vault: Vec<Held>,
    seconds: f64,
}

impl Demo {
    fn of(args: &DemoArgs, place: Place, context: &Context, begun: Instant) -> Result<Demo, CliError> {
        let site = Arc::new(context.site()?);
        let day = day::complete_day(context.clock.now_ms(), site.release.release_after_hours);
        let feeds = day::run(args, day, &site, context)?;
        let report = steward::pass(&steward::of_site(&site), &*context.clock)?;
        let busiest = look::ask(look::BUSIEST, &site)?;
        let withheld = look::ask(look::WITHHELD, &site)?;
        let rows = look::lake_rows(&site.dir)?;
        let vault = look::vault(&site.dir)?;
        let seconds = begun.elapsed().as_secs_f64();
        Ok(Demo { place, site, day, feeds, report, busiest, withheld, rows, vault, seconds })
    }

    fn as_json(&self) -> serde_json::Value {
        let mut total = Summary::default();
        self.feeds.iter().for_each(|f| look::add(&mut total, f));
        json!({
            "site": self.place.dir,
            "passphrase_file": self.place.ingest_passphrase,
            "vault_passphrase_file": self.place.vault_passphrase,
            "day": self.day.to_string(),
            "records_in": total.records_in, "veiled": total.veiled, "joined": total.joined,
            "quarantined": total.quarantined, "quarantined_by": total.quarantined_by,
            "dropped": total.dropped, "dropped_by": total.dropped_by,
            "feeds": self.feeds,
            "steward": steward::as_json(&self.report),
            "busiest": look::objects(&self.busiest),
            "withheld": look::objects(&self.withheld),
            "lake_rows": self.rows,
            "vault": self.vault,
            "next": self.place.next_commands(self.day).iter().map(|c| c.line.clone()).collect::<Vec<_>>(),
            "seconds": self.seconds,
        })
    }
}

#[cfg(test)]
mod tests;
