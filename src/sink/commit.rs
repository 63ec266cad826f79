//! The commit: manifest first, tables after (architecture 4). `Committed` is the only thing that
//! moves a source's position.

use super::SinkError;
use super::stage::table_folder;
use crate::failpoint;
use crate::lake::LakeError;
use crate::lake::batches::{BatchLog, Manifest, Put, TABLES};
use crate::lake::contract::Contract;
use crate::lake::delta::Table;
use crate::lake::ledger::Ledger;
use crate::lake::sweep::{self, Swept};
use std::path::Path;

/// Proof that a batch is in the log; only `Committer` makes one.
#[must_use]
#[expect(clippy::manual_non_exhaustive, reason = "a proof: no other module of this crate may make one either")]
pub struct Committed {
    pub number: u64,
    _made_here: (),
}

/// What became of a batch.
pub enum Outcome {
    Committed(Committed),
    /// Somebody else put a manifest first; it is finished, and the caller looks again.
    Overtaken(Box<Manifest>),
}

/// One feed partition's way into the tables.
pub struct Committer {
    log: BatchLog,
    tables: Vec<(&'static str, Table)>,
    last: u64,
    ledger: Ledger,
}

impl Committer {
    /// Opens the five tables (made empty if they are not there), finishes what the last manifest
    /// began, and returns it.
    pub async fn open(
        site: &Path,
        feed: &str,
        partition: &str,
        contracts: &[Contract],
    ) -> Result<(Committer, Option<Manifest>), SinkError> {
        let log = BatchLog::new(&site.join("lake"), feed, partition);
        let mut tables = Vec::new();
        for name in TABLES {
            let contract = contracts.iter().find(|c| c.name == name).expect("a contract for every table");
            tables.push((name, Table::open_or_create(&table_folder(site, name), contract).await?));
        }
        // Whoever put the newest manifest may have been killed before it was durable; the tables
        // must never know more than the log.
        log.sync()?;
        let (ledger, newest) = Ledger::open(&log)?;
        let mut committer = Committer { log, tables, last: 0, ledger };
        if let Some(newest) = &newest {
            failpoint::reached("recover.before");
            committer.finish(newest).await?;
            failpoint::reached("recover.done");
        }
        Ok((committer, newest))
    }

    /// What this partition has finished so far, whoever did.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Removes files of the lake's own tables that were staged before `before_ms` and never
    /// committed; those of the vault's tables are the vault's to sweep.
    pub fn sweep(&self, lake: &Path, before_ms: i64) -> Result<Swept, SinkError> {
        let tables = self.tables.iter().filter(|(name, _)| matches!(*name, "cdr" | "tally"));
        let tables: Vec<(&str, &Table)> = tables.map(|(name, table)| (*name, table)).collect();
        Ok(sweep::sweep(lake, &tables, before_ms)?)
    }

    /// The number the next manifest takes.
    pub fn next(&self) -> u64 {
        self.last + 1
    }

    /// Puts `manifest` at `next()` and brings the tables after it.
    pub async fn commit(&mut self, manifest: &mut Manifest) -> Result<Outcome, SinkError> {
        if !manifest.counts.balances() {
            return Err(SinkError::Unbalanced);
        }
        manifest.number = self.next();
        failpoint::reached("manifest.before");
        match self.log.put(manifest)? {
            Put::Taken(other) => {
                self.finish(&other).await?;
                Ok(Outcome::Overtaken(other))
            }
            Put::Done => {
                failpoint::reached("manifest.put");
                self.finish(manifest).await?;
                Ok(Outcome::Committed(Committed { number: manifest.number, _made_here: () }))
            }
        }
    }

    /// After a failed commit: nothing of `manifest` stands in the log, and nothing of it ever will.
    pub fn surely_not_put(&self, manifest: &Manifest) -> bool {
        self.log.holds(manifest).is_ok_and(|standing| !standing)
    }

    /// Brings every table up to `manifest`, whoever wrote it, with the very files it names.
    async fn finish(&mut self, manifest: &Manifest) -> Result<(), SinkError> {
        let app = self.log.app();
        let number = i64::try_from(manifest.number).unwrap_or(i64::MAX);
        let none = Vec::new();
        for (name, table) in &mut self.tables {
            let adds = manifest.adds.get(*name).unwrap_or(&none);
            match table.append(&app, number, adds).await {
                // The tables may trail by more than one when the log was read while its owner
                // was at work: take the manifests between in turn.
                Err(LakeError::Gap { found, .. }) if found < number - 1 => {
                    for n in found + 1..=number {
                        let m = self.log.read(n as u64)?;
                        table.append(&app, n, m.adds.get(*name).unwrap_or(&none)).await?;
                    }
                }
                other => {
                    other?;
                }
            }
            failpoint::reached(&format!("commit.{name}"));
        }
        self.last = self.last.max(manifest.number);
        self.ledger.take(manifest);
        self.ledger.checkpoint_if_due(&self.log);
        failpoint::reached("commit.done");
        Ok(())
    }
}
