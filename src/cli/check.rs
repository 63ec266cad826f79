//! `cdrveil check`: is this site right? Starts nothing, changes nothing, needs no passphrase.

use super::context::Context;
use super::error::CliError;
use crate::config::problem::Place;
use crate::config::warning::Warning;
use crate::config::{Feed, FeedKind, Site};
use crate::vault::epochs::{ingest_key_file, vault_key_file};
use clap::Args;
use serde_json::json;

/// Validate configuration, feeds and mappings without starting anything
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  cdrveil check --site /srv/cdr
  CDRVEIL__RELEASE__STORE=/srv/release.sqlite cdrveil check --json

Every problem is printed with file and line, or the variable it comes from, and the fix. Exit code 2
when there is one.")]
pub struct CheckArgs {}

pub fn run(_args: CheckArgs, context: &Context) -> Result<(), CliError> {
    let site = context.site()?;
    site.check_clusters()?;
    if context.json {
        context.print_json(&as_json(&site));
        return Ok(());
    }
    let mut table = context.table(&["feed", "mapping", "kind", "profile", "country", "inbox or topics"]);
    for feed in site.feeds.values() {
        table.add_row([
            feed.name.clone(),
            mapping(feed),
            kind(feed).to_owned(),
            feed.profile.get("version").map_or("1".into(), ToString::to_string),
            feed.profile.get("home_country").and_then(|c| c.as_str()).unwrap_or("-").to_owned(),
            match &feed.kafka {
                None => feed.inbox.display().to_string(),
                Some(kafka) => format!("{} in group {}", kafka.topics.join(", "), kafka.group),
            },
        ]);
    }
    context.print_table(&table);
    let mut lines = vec![String::new()];
    for (file, there) in key_files(&site) {
        lines.push(format!("{file}: {}", if there { "present" } else { "not on this machine" }));
    }
    if !site.overrides.is_empty() {
        lines.push(format!("overridden from the environment: {}", site.overrides.join(", ")));
    }
    lines.extend(site.warnings.iter().map(Warning::text));
    lines.push(format!("{}: all right, {} feeds", site.dir.display(), site.feeds.len()));
    context.print_lines(&lines);
    Ok(())
}

fn as_json(site: &Site) -> serde_json::Value {
    let feeds: Vec<_> = site
        .feeds
        .values()
        .map(|feed| {
            json!({
                "name": feed.name, "mapping": feed.mapping.name(), "mapping_version": feed.mapping.version(),
                "mapping_digest": feed.mapping.digest(), "mapping_file": feed.mapping_file, "kind": kind(feed),
                "inbox": feed.kafka.is_none().then_some(&feed.inbox),
                "topics": feed.kafka.as_ref().map(|k| &k.topics), "group": feed.kafka.as_ref().map(|k| &k.group),
                "line": match feed.places.get("") { Some(Place::Line(line)) => Some(line), _ => None },
                "profile_version": feed.profile.get("version").and_then(|v| v.as_integer()).unwrap_or(1),
            })
        })
        .collect();
    let keys: serde_json::Map<_, _> = key_files(site).into_iter().map(|(file, there)| (file, there.into())).collect();
    let warnings: Vec<_> = site.warnings.iter().map(|w| json!({ "place": w.place, "message": w.message })).collect();
    json!({ "ok": true, "warnings": warnings, "site": site.dir, "name": site.name, "feeds": feeds, "key_files": keys, "overrides": site.overrides })
}

fn key_files(site: &Site) -> [(String, bool); 2] {
    [
        ("ingest/keys.age".into(), ingest_key_file(&site.dir).is_file()),
        ("vault/keys.age".into(), vault_key_file(&site.dir).is_file()),
    ]
}

/// Name and version; where it is not a shipped one, its file.
fn mapping(feed: &Feed) -> String {
    let version = feed.mapping.version();
    match &feed.mapping_file {
        None => format!("{} v{version}", feed.mapping.name()),
        Some(file) => format!("{} v{version}", file.display()),
    }
}

fn kind(feed: &Feed) -> &'static str {
    match feed.kind {
        _ if feed.kafka.is_some() => "kafka",
        FeedKind::Files => "files",
        FeedKind::Append => "append",
    }
}
