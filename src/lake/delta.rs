//! One Delta table: open, list, append exactly once.

pub mod upkeep;

use super::LakeError;
use super::contract::Contract;
use super::durable::{DurableStore, create_folders};
use super::marks::Marks;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, Add, Transaction};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableBuilder, DeltaTableError, TableProperty};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A data file to be added; what a manifest keeps of it is all a commit needs.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct AddFile {
    /// Relative to the table.
    pub path: String,
    pub partition: BTreeMap<String, String>,
    pub bytes: i64,
    pub rows: i64,
    pub modified_ms: i64,
}

/// A live data file of a table.
#[derive(Clone, Debug)]
pub struct DataFile {
    pub path: PathBuf,
    pub partition: BTreeMap<String, Option<String>>,
    pub rows: Option<usize>,
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    Now,
    /// The table's mark had reached this number before.
    AlreadyThere,
}

/// What one feed partition adds to a table: its files, and the mark that it moves.
#[derive(Clone, Copy)]
pub struct Addition<'a> {
    pub app: &'a str,
    pub number: i64,
    pub files: &'a [AddFile],
}

/// An open table with the newest snapshot this process has seen.
pub struct Table {
    dir: PathBuf,
    table: DeltaTable,
    partition_columns: Vec<String>,
    marks: Marks,
}

/// A conflict costs a retry; this many in a row mean that something else is wrong.
const ATTEMPTS: u32 = 50;

impl Table {
    pub async fn open(dir: &Path) -> Result<Table, LakeError> {
        let mut table = Table {
            dir: dir.to_owned(),
            table: unloaded(dir)?,
            partition_columns: Vec::new(),
            marks: Marks::default(),
        };
        table.refresh().await?;
        table.read_partition_columns()?;
        Ok(table)
    }

    pub fn exists(dir: &Path) -> bool {
        dir.join("_delta_log/00000000000000000000.json").exists() || dir.join("_delta_log/_last_checkpoint").exists()
    }

    /// Opens the table, or creates it empty. Two creators at once: one creates, both open.
    pub async fn open_or_create(dir: &Path, contract: &Contract) -> Result<Table, LakeError> {
        if !Table::exists(dir) {
            create_folders(&dir.join("_delta_log"))?;
            let kept = upkeep::kept(upkeep::KEEP_LOG, upkeep::KEEP_REMOVED);
            let created = unloaded(dir)?
                .create()
                .with_table_name(contract.name)
                .with_columns(contract.delta_columns())
                .with_partition_columns(contract.partition.iter().map(|c| c.name))
                // No column statistics, ever: an identifier's minimum would stand in the log.
                .with_configuration_property(TableProperty::DataSkippingNumIndexedCols, Some("0"))
                .with_configuration(kept.map(|(name, value)| (name, Some(value))))
                .with_save_mode(SaveMode::ErrorIfExists)
                .await;
            if let Err(e) = created
                && !Table::exists(dir)
            {
                return Err(refused(dir)(e));
            }
        }
        Table::open(dir).await
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Version of the newest snapshot this process has seen.
    pub fn version(&self) -> u64 {
        self.table.version().unwrap_or(0)
    }

    /// Takes up what others have committed since.
    pub async fn refresh(&mut self) -> Result<(), LakeError> {
        self.table.load().await.map_err(refused(&self.dir))
    }

    /// The data files of the snapshot.
    pub fn files(&self) -> Result<Vec<DataFile>, LakeError> {
        let snapshot = self.table.snapshot().map_err(refused(&self.dir))?;
        let file = |view: deltalake_core::kernel::LogicalFileView| DataFile {
            path: self.dir.join(&*view.path()),
            partition: view.partition_values_map().into_iter().collect(),
            rows: view.num_records(),
            bytes: u64::try_from(view.size()).unwrap_or(0),
        };
        Ok(snapshot.log_data().iter().map(file).collect())
    }

    /// The last number that `app` has committed here.
    pub async fn mark(&self, app: &str) -> Result<Option<i64>, LakeError> {
        let log = self.table.log_store();
        let snapshot = self.table.snapshot().map_err(refused(&self.dir))?;
        snapshot.transaction_version(&*log, app).await.map_err(refused(&self.dir))
    }

    /// Adds `files` and moves `app`'s mark to `number`, in one commit, only if the mark is at
    /// `number − 1` (none counts as 0). Durable on return; a conflict with another writer costs a
    /// retry.
    ///
    /// # Errors
    /// `Gap` if the mark is behind `number − 1`: an earlier manifest was not finished.
    pub async fn append(&mut self, app: &str, number: i64, files: &[AddFile]) -> Result<Appended, LakeError> {
        self.append_all(&[Addition { app, number, files }]).await?.remove(0)
    }

    /// As `append`, for many feed partitions: all that fit go in with one commit. One answer for
    /// each, in order; a `Gap` of one does not hold up the others.
    pub async fn append_all(
        &mut self,
        additions: &[Addition<'_>],
    ) -> Result<Vec<Result<Appended, LakeError>>, LakeError> {
        let mut last = String::new();
        for attempt in 0..ATTEMPTS {
            pause(attempt).await;
            self.update().await?;
            let mut answers = Vec::with_capacity(additions.len());
            let mut due = Vec::new();
            for addition in additions {
                let mark = self.newest_mark(addition.app).await?;
                answers.push(match mark {
                    mark if mark >= addition.number => Ok(Appended::AlreadyThere),
                    mark if mark == addition.number - 1 => {
                        due.push(*addition);
                        Ok(Appended::Now)
                    }
                    found => Err(LakeError::Gap {
                        path: self.dir.clone(),
                        app: addition.app.to_owned(),
                        found,
                        expected: addition.number - 1,
                    }),
                });
            }
            if due.is_empty() {
                return Ok(answers);
            }
            match self.commit(&due).await {
                Ok(()) => return Ok(answers),
                // Whether it was a conflict or an answer that got lost, the marks tell.
                Err(e @ DeltaTableError::Transaction { .. }) => last = e.to_string(),
                Err(e) => return Err(refused(&self.dir)(e)),
            }
        }
        Err(LakeError::Table {
            path: self.dir.clone(),
            reason: format!("{ATTEMPTS} commits in a row were refused: {last}"),
        })
    }

    /// The mark in the present snapshot, without a replay of the log for each partition and round.
    async fn newest_mark(&mut self, app: &str) -> Result<i64, LakeError> {
        self.marks.follow(&self.table).await.map_err(refused(&self.dir))?;
        if let Some(mark) = self.marks.of(app) {
            return Ok(mark);
        }
        let mark = self.mark(app).await?.unwrap_or(0);
        self.marks.learn(app, mark);
        Ok(mark)
    }

    async fn update(&mut self) -> Result<(), LakeError> {
        self.table.update_state().await.map_err(refused(&self.dir))
    }

    async fn commit(&mut self, additions: &[Addition<'_>]) -> Result<(), DeltaTableError> {
        let marks = additions.iter().map(|a| Transaction::new(a.app, a.number)).collect();
        let properties = CommitProperties::default()
            .with_max_retries(15)
            .with_application_transactions(marks)
            .with_cleanup_expired_logs(Some(false));
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: Some(self.partition_columns.clone()),
            predicate: None,
        };
        let files = additions.iter().flat_map(|a| a.files);
        let commit = CommitBuilder::from(properties)
            .with_actions(files.map(|f| Action::Add(add(f))).collect())
            .build(Some(self.table.snapshot()?), self.table.log_store(), operation)
            .await?;
        self.committed(&commit).await
    }

    fn read_partition_columns(&mut self) -> Result<(), LakeError> {
        let snapshot = self.table.snapshot().map_err(refused(&self.dir))?;
        self.partition_columns = snapshot.metadata().partition_columns().to_vec();
        Ok(())
    }
}

/// Before another attempt: a little longer each time.
async fn pause(attempt: u32) {
    if attempt > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(u64::from(attempt) * 3)).await;
    }
}

fn unloaded(dir: &Path) -> Result<DeltaTable, LakeError> {
    let absolute = std::path::absolute(dir).map_err(LakeError::io("cannot find", dir))?;
    let url = url::Url::from_directory_path(&absolute)
        .map_err(|()| LakeError::Table { path: dir.to_owned(), reason: "not a path that a URL can name".into() })?;
    DeltaTableBuilder::from_url(url.clone())
        .map(|b| b.with_storage_backend(Arc::new(DurableStore::new()), url))
        .and_then(|b| b.build())
        .map_err(refused(dir))
}

fn add(file: &AddFile) -> Add {
    Add {
        path: file.path.clone(),
        partition_values: file.partition.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect(),
        size: file.bytes,
        modification_time: file.modified_ms,
        data_change: true,
        stats: Some(format!("{{\"numRecords\":{}}}", file.rows)),
        ..Default::default()
    }
}

fn refused(dir: &Path) -> impl FnOnce(DeltaTableError) -> LakeError {
    let path = dir.to_owned();
    move |e| LakeError::Table { path, reason: e.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::contract::{ColumnKind, column};
    use crate::lake::parquet::write_file;
    use arrow::array::Int64Array;
    use arrow::record_batch::RecordBatch;

    fn contract() -> Contract {
        Contract {
            name: "t",
            columns: vec![column("n", ColumnKind::Long, false)],
            partition: vec![column("event_day", ColumnKind::Date, false)],
        }
    }

    fn file(dir: &Path, n: i64) -> AddFile {
        let batch = RecordBatch::try_new(contract().arrow(), vec![Arc::new(Int64Array::from(vec![n]))]).unwrap();
        let partition = BTreeMap::from([("event_day".to_owned(), "2026-11-22".to_owned())]);
        write_file(dir, &format!("event_day=2026-11-22/{n}.parquet"), partition, contract().arrow(), &[batch]).unwrap()
    }

    #[tokio::test]
    async fn a_number_is_appended_once_and_never_out_of_order() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("t");
        let mut table = Table::open_or_create(&dir, &contract()).await.unwrap();
        let mut zombie = Table::open_or_create(&dir, &contract()).await.unwrap();
        for n in 1..=3 {
            assert_eq!(table.append("feed/0", n, &[file(&dir, n)]).await.unwrap(), Appended::Now);
        }
        assert_eq!(zombie.append("feed/0", 3, &[file(&dir, 33)]).await.unwrap(), Appended::AlreadyThere);
        assert!(matches!(zombie.append("feed/0", 5, &[]).await, Err(LakeError::Gap { found: 3, expected: 4, .. })));
        assert_eq!(zombie.append("other/0", 1, &[]).await.unwrap(), Appended::Now);
        table.refresh().await.unwrap();
        assert_eq!(table.files().unwrap().len(), 3);
        assert_eq!(table.mark("feed/0").await.unwrap(), Some(3));
        assert_eq!(table.files().unwrap()[0].partition["event_day"].as_deref(), Some("2026-11-22"));
    }

    #[tokio::test]
    async fn many_partitions_share_a_commit_and_one_that_does_not_fit_stays_out() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("t");
        let mut table = Table::open_or_create(&dir, &contract()).await.unwrap();
        let mut other = Table::open_or_create(&dir, &contract()).await.unwrap();
        let files: Vec<[AddFile; 1]> = (0..8).map(|n| [file(&dir, n)]).collect();
        let of = |app, number, n: usize| Addition { app, number, files: &files[n] };
        let first = table.append_all(&[of("f/a", 1, 0), of("f/b", 1, 1), of("f/c", 1, 2)]).await.unwrap();
        assert!(first.iter().all(|a| matches!(a, Ok(Appended::Now))));
        assert_eq!(table.version(), 0, "the snapshot is taken up before the next commit");
        // Another process takes b over, and is two numbers ahead when this one comes back.
        assert_eq!(other.append("f/b", 2, &files[3]).await.unwrap(), Appended::Now);
        let second =
            table.append_all(&[of("f/a", 2, 4), of("f/b", 2, 5), of("f/c", 5, 6), of("f/d", 1, 7)]).await.unwrap();
        assert!(matches!(
            second[..],
            [
                Ok(Appended::Now),
                Ok(Appended::AlreadyThere),
                Err(LakeError::Gap { found: 1, expected: 4, .. }),
                Ok(Appended::Now)
            ]
        ));
        assert_eq!(table.append("f/d", 1, &[]).await.unwrap(), Appended::AlreadyThere);
        let fresh = Table::open(&dir).await.unwrap();
        assert_eq!(fresh.version(), 3, "created, one commit for three, one of the other, one for two");
        for (app, mark) in [("f/a", 2), ("f/b", 2), ("f/c", 1), ("f/d", 1)] {
            assert_eq!(fresh.mark(app).await.unwrap(), Some(mark), "{app}");
        }
        assert_eq!(fresh.files().unwrap().len(), 6);
    }

    #[tokio::test]
    async fn two_writers_of_one_feed_append_each_number_once() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("t");
        let mut one = Table::open_or_create(&dir, &contract()).await.unwrap();
        let mut two = Table::open_or_create(&dir, &contract()).await.unwrap();
        for n in 1..=20 {
            let file = [file(&dir, n)];
            let (a, b) = tokio::join!(one.append("feed/0", n, &file), two.append("feed/0", n, &file));
            let now = [a.unwrap(), b.unwrap()].iter().filter(|x| **x == Appended::Now).count();
            assert_eq!(now, 1, "number {n}");
        }
        one.refresh().await.unwrap();
        assert_eq!(one.files().unwrap().len(), 20);
    }
}
