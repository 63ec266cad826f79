//! The commit: manifest first, tables after (architecture 4). `Committed` is the only thing that
//! moves a source's position.

use super::SinkError;
use super::stage::table_folder;
use crate::failpoint;
use crate::lake::LakeError;
use crate::lake::batches::{BatchLog, Manifest, Put, TABLES};
use crate::lake::contract::Contract;
use crate::lake::delta::{Addition, Table};
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

/// The five tables, open, and the way into them for every feed partition of this process.
pub struct Committer {
    tables: Vec<(&'static str, Table)>,
}

/// One feed partition's batch log, as far as this process has followed it.
pub struct PartitionLog {
    log: BatchLog,
    last: u64,
    ledger: Ledger,
}

impl PartitionLog {
    /// What this partition has finished so far, whoever did.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The number the next manifest takes.
    pub fn next(&self) -> u64 {
        self.last + 1
    }

    /// After a failed commit: nothing of `manifest` stands in the log, and nothing of it ever will.
    pub fn surely_not_put(&self, manifest: &Manifest) -> bool {
        self.log.holds(manifest).is_ok_and(|standing| !standing)
    }

    fn took(&mut self, manifest: &Manifest) {
        self.last = self.last.max(manifest.number);
        self.ledger.take(manifest);
        self.ledger.checkpoint_if_due(&self.log);
    }
}

impl Committer {
    /// Opens the five tables; made empty if they are not there.
    pub async fn open(site: &Path, contracts: &[Contract]) -> Result<Committer, SinkError> {
        let mut tables = Vec::new();
        for name in TABLES {
            let contract = contracts.iter().find(|c| c.name == name).expect("a contract for every table");
            tables.push((name, Table::open_or_create(&table_folder(site, name), contract).await?));
        }
        Ok(Committer { tables })
    }

    /// Opens the log of a feed partition, finishes what its newest manifest began, and returns that.
    pub async fn open_log(
        &mut self,
        site: &Path,
        feed: &str,
        partition: &str,
    ) -> Result<(PartitionLog, Option<Manifest>), SinkError> {
        let log = BatchLog::new(&site.join("lake"), feed, partition);
        // Whoever put the newest manifest may have been killed before it was durable; the tables
        // must never know more than the log.
        log.sync()?;
        let (ledger, newest) = Ledger::open(&log)?;
        let mut log = PartitionLog { log, last: 0, ledger };
        if let Some(newest) = &newest {
            failpoint::reached("recover.before");
            self.finish(&mut [(&mut log, newest)]).await?;
            failpoint::reached("recover.done");
        }
        Ok((log, newest))
    }

    /// Removes files of the lake's own tables that were staged before `before_ms` and never
    /// committed; those of the vault's tables are the vault's to sweep.
    pub async fn sweep(&self, lake: &Path, before_ms: i64) -> Result<Swept, SinkError> {
        let tables = self.tables.iter().filter(|(name, _)| matches!(*name, "cdr" | "tally"));
        let tables: Vec<(&str, &Table)> = tables.map(|(name, table)| (*name, table)).collect();
        Ok(sweep::sweep(lake, &tables, before_ms).await?)
    }

    /// Puts each partition's manifest at its next number (the commit point, one by one), then
    /// brings the tables after all of them, with one commit for each table.
    ///
    /// After an error, [`PartitionLog::surely_not_put`] tells which of them stand all the same.
    pub async fn commit(
        &mut self,
        round: &mut [(&mut PartitionLog, &mut Manifest)],
    ) -> Result<Vec<Outcome>, SinkError> {
        if round.iter().any(|(_, manifest)| !manifest.counts.balances()) {
            return Err(SinkError::Unbalanced);
        }
        let mut outcomes = Vec::with_capacity(round.len());
        for (log, manifest) in round.iter_mut() {
            manifest.number = log.next();
            failpoint::reached("manifest.before");
            outcomes.push(match log.log.put(manifest)? {
                Put::Taken(other) => Outcome::Overtaken(other),
                Put::Done => {
                    failpoint::reached("manifest.put");
                    Outcome::Committed(Committed { number: manifest.number, _made_here: () })
                }
            });
        }
        let mut standing: Vec<(&mut PartitionLog, &Manifest)> = Vec::with_capacity(round.len());
        for ((log, ours), outcome) in round.iter_mut().zip(&outcomes) {
            standing.push(match outcome {
                Outcome::Committed(_) => (log, ours),
                Outcome::Overtaken(theirs) => (log, theirs),
            });
        }
        self.finish(&mut standing).await?;
        Ok(outcomes)
    }

    /// Brings every table up to these manifests, whoever wrote them, with the very files they name.
    async fn finish(&mut self, round: &mut [(&mut PartitionLog, &Manifest)]) -> Result<(), SinkError> {
        let apps: Vec<String> = round.iter().map(|(log, _)| log.log.app()).collect();
        for (name, table) in &mut self.tables {
            let additions: Vec<Addition<'_>> =
                round.iter().zip(&apps).map(|((_, manifest), app)| addition(app, manifest, name)).collect();
            let answers = table.append_all(&additions).await?;
            for ((log, manifest), answer) in round.iter().zip(answers) {
                if let Err(gap) = answer {
                    catch_up(&log.log, manifest, gap, (name, table)).await?;
                }
            }
            failpoint::reached(&format!("commit.{name}"));
        }
        for (log, manifest) in round {
            log.took(manifest);
        }
        failpoint::reached("commit.done");
        Ok(())
    }
}

/// The tables may trail by more than one when the log was read while its owner was at work: takes
/// the manifests between in turn.
async fn catch_up(
    log: &BatchLog,
    manifest: &Manifest,
    gap: LakeError,
    (name, table): (&str, &mut Table),
) -> Result<(), SinkError> {
    let LakeError::Gap { found, .. } = gap else { return Err(gap.into()) };
    let app = log.app();
    for number in found + 1..=mark(manifest) {
        let between = log.read(number as u64)?;
        let Addition { app, number, files } = addition(&app, &between, name);
        table.append(app, number, files).await?;
    }
    Ok(())
}

fn addition<'a>(app: &'a str, manifest: &'a Manifest, table: &str) -> Addition<'a> {
    Addition { app, number: mark(manifest), files: manifest.adds.get(table).map_or(&[], Vec::as_slice) }
}

fn mark(manifest: &Manifest) -> i64 {
    i64::try_from(manifest.number).unwrap_or(i64::MAX)
}
