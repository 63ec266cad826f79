//! Removes what a writer staged and never committed, and what a compaction has replaced.
//!
//! Only ever what is old: a writer gives its batch up at half of the bound that is used here, so a
//! file beyond it belongs to nobody, and no reader still wants what was replaced before it. Folders
//! are listed and nothing in a data file is read. That a Delta log does not name a file is never
//! enough for it to go. What may go is a file
//!
//! * that the log says was removed, before the bound;
//! * that a manifest names, that the table has taken in (its mark has reached that manifest) and that
//!   is neither in it nor among what was removed lately: it was replaced longer ago than the log tells;
//! * that no manifest names: staged and never committed, by ingest or by a compaction.

use super::LakeError;
use super::batches::{self, BatchLog};
use super::delta::Table;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    pub files: u64,
    pub bytes: u64,
}

/// Sweeps `tables` (name in manifests, table as just opened) of what was last written, or replaced,
/// before `before_ms`, and for the lake's own tables also temporary files beside the manifests.
pub async fn sweep(lake: &Path, tables: &[(&str, &Table)], before_ms: i64) -> Result<Swept, LakeError> {
    let mut swept = Swept::default();
    let mut unnamed: HashMap<(String, String), PathBuf> = HashMap::new();
    for (name, table) in tables {
        let (data, temporary) = files(table.dir())?;
        swept.remove_old(temporary, before_ms)?;
        let live: HashSet<PathBuf> = table.files()?.into_iter().map(|f| f.path).collect();
        let mut old = Vec::new();
        for path in data.into_iter().filter(|path| !live.contains(path)) {
            old.extend(is_older(&path, before_ms)?.is_some().then_some(path));
        }
        // The log is read for it, so not without need.
        let removed = if old.is_empty() { HashMap::new() } else { table.removed().await? };
        for path in old {
            match removed.get(&path) {
                // 0: whoever removed it did not say when.
                Some(at) if (1..before_ms).contains(at) => swept.remove_old(vec![path], before_ms)?,
                Some(_) => {}
                None => {
                    let relative = path.strip_prefix(table.dir()).ok().and_then(Path::to_str);
                    unnamed.extend(relative.map(|r| ((String::from(*name), r.to_owned()), path.clone())));
                }
            }
        }
    }
    let partitions = batches::partitions(lake)?;
    // The log belongs to the lake's zone; the vault only reads it.
    if tables.iter().any(|(_, table)| table.dir().starts_with(lake)) {
        for (feed, partition) in &partitions {
            swept.remove_old(temporaries(BatchLog::new(lake, feed, partition).folder())?, before_ms)?;
        }
    }
    // Rare: only after a crash, or where nobody has swept for long.
    if !unnamed.is_empty() {
        take_out_named(lake, &partitions, tables, &mut unnamed).await?;
        swept.remove_old(unnamed.into_values().collect(), before_ms)?;
    }
    Ok(swept)
}

/// Takes out of `unnamed` what a manifest names that the table has not taken in yet.
async fn take_out_named(
    lake: &Path,
    partitions: &[(String, String)],
    tables: &[(&str, &Table)],
    unnamed: &mut HashMap<(String, String), PathBuf>,
) -> Result<(), LakeError> {
    let mut manifests = 0;
    for (feed, partition) in partitions {
        let log = BatchLog::new(lake, feed, partition);
        let mut marks = Vec::with_capacity(tables.len());
        for (name, table) in tables {
            marks.push((*name, table.mark(&log.app()).await?.unwrap_or(0)));
        }
        for number in log.numbers()? {
            let manifest = log.read(number)?;
            manifests += 1;
            for (name, mark) in &marks {
                // Of the same snapshot as the live files: what it has taken in and does not hold, it lost.
                if i64::try_from(number).is_ok_and(|n| n <= *mark) {
                    continue;
                }
                for add in manifest.adds.get(*name).into_iter().flatten() {
                    unnamed.remove(&(String::from(*name), add.path.clone()));
                }
            }
        }
    }
    // A table with commits and no manifest: the log is elsewhere, and everything would look orphaned.
    match tables.iter().find(|(_, table)| manifests == 0 && table.version() > 0) {
        Some(_) => Err(LakeError::Manifest {
            path: lake.join("_batches"),
            reason: "it is empty although the tables are not; nothing was swept".into(),
        }),
        None => Ok(()),
    }
}

impl Swept {
    fn remove_old(&mut self, paths: Vec<PathBuf>, before_ms: i64) -> Result<(), LakeError> {
        for path in paths {
            let Some(meta) = is_older(&path, before_ms)? else { continue };
            match fs::remove_file(&path) {
                Ok(()) => {
                    self.files += 1;
                    self.bytes += meta.len();
                }
                // Another sweep was there first.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(LakeError::io("cannot remove", &path)(e)),
            }
        }
        Ok(())
    }
}

/// What the file says of itself, if it was last written before `before_ms`.
fn is_older(path: &Path, before_ms: i64) -> Result<Option<Metadata>, LakeError> {
    let meta = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(LakeError::io("cannot read", path))?,
    };
    let written = meta.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    let older = written.is_some_and(|t| i64::try_from(t.as_millis()).is_ok_and(|ms| ms < before_ms));
    Ok((older && meta.is_file()).then_some(meta))
}

/// Data files of a table, and temporary files in its partitions and its log.
fn files(table: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), LakeError> {
    let (mut data, mut temporary) = (Vec::new(), temporaries(&table.join("_delta_log"))?);
    for folder in list(table)? {
        if folder.file_name().to_str().is_some_and(|n| n.contains('=')) {
            for entry in list(&folder.path())? {
                match entry.file_name().to_str() {
                    Some(name) if name.starts_with(".tmp-") => temporary.push(entry.path()),
                    Some(name) if name.ends_with(".parquet") => data.push(entry.path()),
                    _ => {}
                }
            }
        }
    }
    Ok((data, temporary))
}

fn temporaries(folder: &Path) -> Result<Vec<PathBuf>, LakeError> {
    let temporary = |e: &DirEntry| e.file_name().to_str().is_some_and(|n| n.starts_with(".tmp-"));
    Ok(list(folder)?.into_iter().filter(temporary).map(|e| e.path()).collect())
}

fn list(folder: &Path) -> Result<Vec<DirEntry>, LakeError> {
    match fs::read_dir(folder) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(e) => Err(LakeError::io("cannot list", folder)(e)),
        Ok(entries) => entries.collect::<Result<_, _>>().map_err(LakeError::io("cannot list", folder)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::contract::{ColumnKind, Contract, column};
    use crate::lake::delta::AddFile;
    use std::collections::BTreeMap;
    use std::time::Duration;

    const BOUND_MS: i64 = 1_000_000_000;

    fn contract() -> Contract {
        Contract {
            name: "cdr",
            columns: vec![column("n", ColumnKind::Long, false)],
            partition: vec![column("event_day", ColumnKind::Date, false)],
        }
    }

    fn add(path: &str) -> AddFile {
        let partition = BTreeMap::from([("event_day".to_owned(), "2026-11-22".to_owned())]);
        AddFile { path: path.into(), partition, bytes: 1, rows: 1, modified_ms: 0 }
    }

    /// A file last written `age_ms` before (after, if negative) the bound.
    fn put(path: &Path, age_ms: i64) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
        let at = UNIX_EPOCH + Duration::from_millis((BOUND_MS - age_ms) as u64);
        fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
    }

    fn manifest(lake: &Path, number: u64, adds: &[&str]) {
        let adds: Vec<AddFile> = adds.iter().map(|a| add(a)).collect();
        let text = serde_json::json!({
            "format": 1, "feed": "f", "partition": "p", "number": number, "batch": "b", "committed_ms": 0, "program": "",
            "mapping": "", "mapping_version": 1, "mapping_digest": "", "profile_version": 1, "profile_digest": "",
            "sources": [], "counts": crate::lake::batches::Counts::default(), "epochs": [], "watermark_ms": null,
            "finished": true, "last_sequence": null, "adds": {"cdr": adds}, "open": [], "append": [],
        });
        let dir = lake.join("_batches/f/p");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("{number:020}.json")), text.to_string()).unwrap();
    }

    #[tokio::test]
    async fn only_old_files_that_no_manifest_names_go() {
        let lake = tempfile::tempdir().unwrap();
        let dir = lake.path().join("cdr");
        let mut table = Table::open_or_create(&dir, &contract()).await.unwrap();
        let (day, batches) = (dir.join("event_day=2026-11-22"), lake.path().join("_batches/f/p"));
        manifest(lake.path(), 2, &["event_day=2026-11-22/in-manifest.parquet"]);
        table.append("f/p", 1, &[add("event_day=2026-11-22/in-log.parquet")]).await.unwrap();
        table.refresh().await.unwrap();
        let kept = [day.join("in-manifest.parquet"), day.join("in-log.parquet"), day.join("notes.txt")];
        let young = [day.join("young.parquet"), day.join(".tmp-young"), batches.join(".tmp-young")];
        let orphans = [
            day.join("orphan.parquet"),
            day.join(".tmp-old"),
            dir.join("_delta_log/.tmp-old"),
            batches.join(".tmp-old"),
        ];
        kept.iter().chain(&orphans).for_each(|p| put(p, 1));
        young.iter().for_each(|p| put(p, 0));
        let swept = sweep(lake.path(), &[("cdr", &table)], BOUND_MS).await.unwrap();
        assert_eq!(swept, Swept { files: 4, bytes: 4 });
        assert!(kept.iter().chain(&young).all(|p| p.exists()));
        assert!(orphans.iter().all(|p| !p.exists()));
        assert_eq!(sweep(lake.path(), &[("cdr", &table)], BOUND_MS).await.unwrap(), Swept::default());
    }

    #[tokio::test]
    async fn without_a_readable_batch_log_nothing_goes() {
        let lake = tempfile::tempdir().unwrap();
        let dir = lake.path().join("cdr");
        let mut table = Table::open_or_create(&dir, &contract()).await.unwrap();
        table.append("f/p", 1, &[add("event_day=2026-11-22/in-log.parquet")]).await.unwrap();
        table.refresh().await.unwrap();
        let old = dir.join("event_day=2026-11-22/old.parquet");
        put(&old, 1);
        assert!(sweep(lake.path(), &[("cdr", &table)], BOUND_MS).await.is_err(), "the log is elsewhere");
        manifest(lake.path(), 1, &[]);
        fs::write(lake.path().join("_batches/f/p/00000000000000000002.json"), "{").unwrap();
        assert!(sweep(lake.path(), &[("cdr", &table)], BOUND_MS).await.is_err(), "a manifest is damaged");
        assert!(old.exists());
    }

    /// Replaced files stay for their bound, however old they are; then they go, and nothing else.
    #[tokio::test]
    async fn what_was_replaced_goes_after_the_bound_or_when_the_log_forgot_it() {
        let lake = tempfile::tempdir().unwrap();
        let dir = lake.path().join("cdr");
        let mut table = Table::open_or_create(&dir, &contract()).await.unwrap();
        let at = |name: &str| format!("event_day=2026-11-22/{name}.parquet");
        let names = ["one", "two", "three", "made"].map(at);
        for (number, name) in (1..=3).zip(&names) {
            manifest(lake.path(), number as u64, &[name]);
            table.append("f/p", number, &[add(name)]).await.unwrap();
        }
        names.iter().for_each(|name| put(&dir.join(name), 1));
        table.replace(&names[..2], &[add(&names[3])]).await.unwrap();
        table.refresh().await.unwrap();
        let removed: Vec<i64> = table.removed().await.unwrap().into_values().collect();
        let (first, last) = (removed.iter().min().unwrap(), removed.iter().max().unwrap());
        let stand = || names.iter().map(|name| dir.join(name).exists()).collect::<Vec<_>>();
        assert_eq!(sweep(lake.path(), &[("cdr", &table)], *first).await.unwrap(), Swept::default());
        assert_eq!(stand(), [true; 4], "just replaced");
        assert_eq!(sweep(lake.path(), &[("cdr", &table)], last + 1).await.unwrap().files, 2);
        assert_eq!(stand(), [false, false, true, true]);

        // The same when checkpoints no longer tell: marks say that the table has taken the files in.
        names[..2].iter().for_each(|name| put(&dir.join(name), 1));
        put(&dir.join(at("coming")), 1);
        manifest(lake.path(), 4, &[&at("coming")]);
        table.keep(Duration::ZERO, Duration::ZERO).await.unwrap();
        for number in 1..=210 {
            table.append("other/p", number, &[]).await.unwrap();
        }
        table.refresh().await.unwrap();
        assert!(table.removed().await.unwrap().is_empty());
        assert_eq!(sweep(lake.path(), &[("cdr", &table)], BOUND_MS).await.unwrap().files, 2);
        assert_eq!(stand(), [false, false, true, true]);
        assert!(dir.join(at("coming")).exists(), "the table has still to take it in");
    }
}
