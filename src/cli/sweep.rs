//! `cdrveil-vault sweep`: what broken ingest runs left in the vault's tables.

use super::context::Context;
use super::error::CliError;
use crate::config::Site;
use crate::lake::LakeError;
use crate::lake::delta::Table;
use crate::lake::sweep::{Swept, sweep};
use indicatif::HumanBytes;
use serde_json::json;

/// Remove sealed files that were never committed, or that a compaction replaced
///
/// Only files older than [ingest] orphan_after_hours that no manifest in lake/_batches names, and
/// files that were replaced as long ago. No key is needed: nothing is opened. `cdrveil-vault compact`
/// does it too; `cdrveil ingest` and `cdrveil steward` do it for the lake's own tables.
#[derive(clap::Args, Debug)]
pub struct SweepArgs {}

/// The tables of the vault zone.
pub(super) const TABLES: [&str; 3] = ["evidence", "identities", "quarantine"];

pub fn run(_: &SweepArgs, context: &Context) -> Result<(), CliError> {
    let site = Site::load(&context.site_dir, &context.environment)?;
    let swept = sweep_vault(context, context.clock.now_ms() - orphan_after_ms(&site))
        .map_err(|e| CliError::failed(e.to_string()).fix("nothing that is needed was removed; run it again"))?;
    if context.json {
        context.print_json(&json!({ "files": swept.files, "bytes": swept.bytes }));
    } else {
        context.print_lines(&[format!("{} files removed ({})", swept.files, HumanBytes(swept.bytes))]);
    }
    Ok(())
}

/// Beyond it a file that was never committed, or that was replaced, is nobody's any more.
pub(super) fn orphan_after_ms(site: &Site) -> i64 {
    i64::try_from(site.ingest.orphan_after_hours).unwrap_or(i64::MAX / 3_600_000) * 3_600_000
}

fn sweep_vault(context: &Context, before_ms: i64) -> Result<Swept, LakeError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(LakeError::io("cannot start a runtime in", &context.site_dir))?;
    let mut tables = Vec::new();
    for name in TABLES {
        let dir = context.site_dir.join("vault").join(name);
        if Table::exists(&dir) {
            tables.push((name, runtime.block_on(Table::open(&dir))?));
        }
    }
    let tables: Vec<(&str, &Table)> = tables.iter().map(|(name, table)| (*name, table)).collect();
    runtime.block_on(sweep(&context.site_dir.join("lake"), &tables, before_ms))
}
