//! What keeps a table small: files replaced by others with the same rows, what was removed and when,
//! and how long the log is kept.

use super::{ATTEMPTS, AddFile, Table, add, pause, refused};
use crate::lake::LakeError;
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, FinalizedCommit};
use deltalake_core::kernel::{Action, Add, Remove};
use deltalake_core::protocol::{DeltaOperation, checkpoints};
use futures::TryStreamExt;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

/// Log entries older than this are removed once a checkpoint has taken them in. Far beyond what a
/// process needs: a commit takes seconds, and a snapshot that is older begins at the checkpoint.
pub const KEEP_LOG: Duration = Duration::from_secs(24 * 3600);

/// For this long the log says of a removed file when it was removed. A reader that began before may
/// still need it; without an entry, it was removed at least so long ago.
pub const KEEP_REMOVED: Duration = Duration::from_secs(3 * 24 * 3600);

/// What became of a replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    Now,
    /// A file to be replaced is no longer in the table: somebody else replaced or removed it.
    Gone,
}

impl Table {
    /// Puts `added` in the place of `removed` (paths relative to the table), which hold the same rows,
    /// in one commit. Durable on return; a conflict with another writer costs a retry.
    ///
    /// The commit is made on the very snapshot in which every removed file was seen, and on no later
    /// one: `deltalake-core` lets two rewrites of the same file both pass.
    ///
    /// # Errors
    /// After an error the commit may stand all the same: `added` must not be removed.
    pub async fn replace(&mut self, removed: &[String], added: &[AddFile]) -> Result<Replaced, LakeError> {
        let mut last = String::new();
        for attempt in 0..ATTEMPTS {
            pause(attempt).await;
            self.update().await?;
            let Some(removes) = self.removes(removed)? else {
                // An answer that was lost looks like this, too.
                let ours = !added.is_empty() && self.holds(added)?;
                return Ok(if ours { Replaced::Now } else { Replaced::Gone });
            };
            let adds = added.iter().map(|f| Action::Add(Add { data_change: false, ..add(f) }));
            let actions = removes.into_iter().map(Action::Remove).chain(adds).collect();
            match self.commit_here(actions).await {
                Ok(()) => return Ok(Replaced::Now),
                Err(e @ DeltaTableError::Transaction { .. }) => last = e.to_string(),
                Err(e) => return Err(refused(&self.dir)(e)),
            }
        }
        Err(LakeError::Table {
            path: self.dir.clone(),
            reason: format!("{ATTEMPTS} commits in a row were refused: {last}"),
        })
    }

    /// Data files that were removed lately, and when (ms since 1970-01-01 UTC), by path.
    pub async fn removed(&self) -> Result<HashMap<PathBuf, i64>, LakeError> {
        let log = self.table.log_store();
        let snapshot = self.table.snapshot().map_err(refused(&self.dir))?;
        let removed: Vec<_> = snapshot.all_tombstones(&*log).try_collect().await.map_err(refused(&self.dir))?;
        Ok(removed.iter().map(|r| (self.dir.join(&*r.path()), r.deletion_timestamp().unwrap_or(0))).collect())
    }

    /// Sets how long log entries, and entries of removed files, are kept; once, in the table itself.
    pub async fn keep(&mut self, log: Duration, removed: Duration) -> Result<(), LakeError> {
        let mut last = String::new();
        for attempt in 0..ATTEMPTS {
            pause(attempt).await;
            self.update().await?;
            let properties = self.table.snapshot().map_err(refused(&self.dir))?.table_config();
            let set = (properties.log_retention_duration, properties.deleted_file_retention_duration);
            if set == (Some(log), Some(removed)) {
                return Ok(());
            }
            let wanted = kept(log, removed).map(|(name, value)| (name.to_owned(), value));
            match self.table.clone().set_tbl_properties().with_properties(HashMap::from(wanted)).await {
                Ok(_) => {}
                Err(e @ DeltaTableError::Transaction { .. }) => last = e.to_string(),
                Err(e) => return Err(refused(&self.dir)(e)),
            }
        }
        Err(LakeError::Table { path: self.dir.clone(), reason: format!("its properties could not be set: {last}") })
    }

    /// After a commit: when it made a checkpoint, removes what of the log has expired.
    ///
    /// Not after every commit, as `deltalake-core` would: it lists the log each time.
    pub(super) async fn committed(&self, commit: &FinalizedCommit) -> Result<(), DeltaTableError> {
        if commit.metrics.new_checkpoint_created {
            checkpoints::cleanup_metadata(&self.table, None).await?;
        }
        Ok(())
    }

    async fn commit_here(&mut self, actions: Vec<Action>) -> Result<(), DeltaTableError> {
        // No retries inside: they would commit on a later snapshot.
        let properties = CommitProperties::default().with_max_retries(0).with_cleanup_expired_logs(Some(false));
        let operation = DeltaOperation::Optimize { predicate: None, target_size: 0 };
        let commit = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(self.table.snapshot()?), self.table.log_store(), operation)
            .await?;
        self.committed(&commit).await
    }

    /// `None` unless every path is a live file.
    fn removes(&self, paths: &[String]) -> Result<Option<Vec<Remove>>, LakeError> {
        let wanted: HashSet<&str> = paths.iter().map(String::as_str).collect();
        let snapshot = self.table.snapshot().map_err(refused(&self.dir))?;
        let live = snapshot.log_data();
        let found: Vec<Remove> =
            live.iter().filter(|f| wanted.contains(&*f.path())).map(|f| f.remove_action(false)).collect();
        Ok((found.len() == wanted.len()).then_some(found))
    }

    fn holds(&self, files: &[AddFile]) -> Result<bool, LakeError> {
        let paths: Vec<String> = files.iter().map(|f| f.path.clone()).collect();
        Ok(self.removes(&paths)?.is_some())
    }
}

/// The properties of a table that say so.
pub(super) fn kept(log: Duration, removed: Duration) -> [(&'static str, String); 2] {
    let interval = |d: Duration| format!("interval {} seconds", d.as_secs());
    [("delta.logRetentionDuration", interval(log)), ("delta.deletedFileRetentionDuration", interval(removed))]
}
