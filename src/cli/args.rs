//! Arguments of the commands of the flow: the contract that others script against.

use clap::Args;
use std::path::PathBuf;

/// Load CDR files: pseudonymise, seal, tally, commit
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  cdrveil ingest --feed generic-voice calls-1.csv calls-2.csv.gz
  zcat old/*.gz | cdrveil ingest --feed asterisk -        no re-delivery protection on a pipe
  cdrveil ingest --watch                                  every feed's inbox, until stopped
  cdrveil ingest --feed generic-voice --accept-late unlimited 2024-*.csv

A file is loaded whole or not at all, and never twice: the same content under another name is
recognised and reported. Compression (gzip, Zstandard, bzip2) is recognised by content. Records that
cannot be read are sealed into the quarantine and counted by reason; they do not fail the run.")]
pub struct IngestArgs {
    /// Feed in cdrveil.toml that says how the records are read; with --watch, all feeds without it
    #[arg(long, value_name = "NAME", required_unless_present = "watch")]
    pub feed: Option<String>,
    /// Take files from the inboxes as they arrive, until stopped
    #[arg(long, conflicts_with_all = ["files", "accept_late"])]
    pub watch: bool,
    /// Oldest records to accept in this run, instead of the feed's accept_late_days
    #[arg(long, value_name = "DAYS|unlimited", value_parser = late)]
    pub accept_late: Option<Late>,
    /// Files to load; - is standard input; none takes what is complete in the feed's inbox
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// A bound on lateness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    Days(u32),
    Unlimited,
}

fn late(text: &str) -> Result<Late, String> {
    match text.parse::<u32>() {
        _ if text == "unlimited" => Ok(Late::Unlimited),
        Ok(days) if days <= 36_500 => Ok(Late::Days(days)),
        _ => Err("a number of days or `unlimited` is expected".into()),
    }
}

/// Release closed windows under their thresholds, and publish them
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  cdrveil steward --once             one pass, for a timer
  cdrveil steward                    a pass every few minutes, until stopped")]
pub struct StewardArgs {
    /// One pass, then exit
    #[arg(long)]
    pub once: bool,
}

/// Ask the release store: released aggregates only, opened read-only
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  cdrveil query --sql \"SELECT hour, service, records FROM traffic_hourly ORDER BY hour\"
  cdrveil query --format csv --sql \"SELECT * FROM traffic_hourly\" > cells.csv")]
pub struct QueryArgs {
    /// One SQL statement (SQLite)
    #[arg(long, value_name = "STATEMENT")]
    pub sql: String,
    /// How the answer is written; --json is short for --format json
    #[arg(long, value_enum, default_value_t = AnswerFormat::Table)]
    pub format: AnswerFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum AnswerFormat {
    Table,
    Csv,
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Ingest {
        #[command(flatten)]
        args: IngestArgs,
    }

    #[test]
    fn ingest_takes_a_feed_or_watches() {
        let parse = |line: &str| Ingest::try_parse_from(line.split(' ')).ok().map(|i| i.args);
        for bad in [
            "ingest",
            "ingest a.csv",
            "ingest --watch --feed x a.csv",
            "ingest --watch --accept-late 5",
            "ingest --feed x --accept-late -1",
            "ingest --feed x --accept-late 5d",
            "ingest --feed x --accept-late 36501",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
        let args = parse("ingest --feed x --accept-late unlimited a.csv -").unwrap();
        assert_eq!((args.accept_late, args.files.len()), (Some(Late::Unlimited), 2));
        assert_eq!(parse("ingest --feed x --accept-late 90 -").unwrap().accept_late, Some(Late::Days(90)));
        assert!(parse("ingest --watch --feed x").unwrap().watch);
    }
}
