//! The marks (`txn`) of a table, followed from commit to commit.
//!
//! Asking a snapshot for one mark replays the table's log. A round asks for one per feed partition
//! and table, so what was asked once is kept, and brought up to date by the few commits since.

use deltalake_core::{DeltaTable, DeltaTableError};
use serde::Deserialize;
use std::collections::HashMap;

/// Commits that are read one by one; beyond it everything is asked anew.
const FOLLOW_MAX: u64 = 64;

/// Marks as of one version of a table.
#[derive(Default)]
pub struct Marks {
    version: Option<u64>,
    known: HashMap<String, i64>,
}

#[derive(Deserialize)]
struct Line {
    txn: Option<Txn>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Txn {
    app_id: String,
    version: i64,
}

impl Marks {
    /// Takes up what was committed up to the version that `table` has loaded.
    pub async fn follow(&mut self, table: &DeltaTable) -> Result<(), DeltaTableError> {
        let now = table.version();
        if self.version == now {
            return Ok(());
        }
        let read = match (self.version, now) {
            (Some(then), Some(now)) if then < now && now - then <= FOLLOW_MAX => {
                self.read(table, then + 1..=now).await?
            }
            _ => false,
        };
        if !read {
            self.known.clear();
        }
        self.version = now;
        Ok(())
    }

    pub fn of(&self, app: &str) -> Option<i64> {
        self.known.get(app).copied()
    }

    /// Notes what the snapshot of the present version says.
    pub fn learn(&mut self, app: &str, mark: i64) {
        self.known.insert(app.to_owned(), mark);
    }

    /// False when a commit is no longer there, or not as expected.
    async fn read(
        &mut self,
        table: &DeltaTable,
        versions: std::ops::RangeInclusive<u64>,
    ) -> Result<bool, DeltaTableError> {
        let log = table.log_store();
        for version in versions {
            let Some(entry) = log.read_commit_entry(version).await? else { return Ok(false) };
            for line in entry.split(|b| *b == b'\n').filter(|line| memchr::memmem::find(line, b"\"txn\"").is_some()) {
                let Ok(line) = serde_json::from_slice::<Line>(line) else { return Ok(false) };
                if let Some(txn) = line.txn {
                    self.known.insert(txn.app_id, txn.version);
                }
            }
        }
        Ok(true)
    }
}
