//! Files being written for a batch that is not committed yet. Dropped, they vanish.

use super::SinkError;
use super::encode::{Encoded, Group, TableFormat, refused};
use crate::lake::LakeError;
use crate::lake::delta::AddFile;
use crate::lake::durable::create_folders;
use crate::lake::parquet::finish_file;
use parquet::file::writer::SerializedFileWriter;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

/// A file is closed and another begun at this size.
const ROLL_BYTES: usize = 256 << 20;
/// More partitions than this at once (a feed of many days): the longest unused file is closed.
const OPEN_FILES: usize = 96;

/// The uncommitted files of one batch, over all tables.
pub struct Stage {
    batch: String,
    tables: HashMap<&'static str, (Arc<TableFormat>, PathBuf)>,
    open: HashMap<(&'static str, String), OpenFile>,
    finishing: Vec<(&'static str, JoinHandle<Result<AddFile, LakeError>>)>,
    /// Everything that stands on disk, to be removed if the batch is given up.
    written: Vec<PathBuf>,
    serial: u32,
    clock: u64,
}

struct OpenFile {
    writer: SerializedFileWriter<BufWriter<File>>,
    path: PathBuf,
    relative: String,
    rows: i64,
    used: u64,
}

impl Stage {
    /// `tables`: format and folder of every table that groups may name.
    pub fn new(batch: String, tables: HashMap<&'static str, (Arc<TableFormat>, PathBuf)>) -> Stage {
        Stage { batch, tables, open: HashMap::new(), finishing: Vec::new(), written: Vec::new(), serial: 0, clock: 0 }
    }

    pub fn batch(&self) -> &str {
        &self.batch
    }

    /// Appends an encoded row group to the file of its partition.
    pub fn append(&mut self, group: Group) -> Result<(), SinkError> {
        self.clock += 1;
        let key = (group.table, group.partition);
        if !self.open.contains_key(&key) {
            self.make_room();
            let file = self.begin(key.0, &key.1)?;
            self.open.insert(key.clone(), file);
        }
        let file = self.open.get_mut(&key).expect("opened above");
        file.used = self.clock;
        let failed = refused(key.0);
        let mut rows = file.writer.next_row_group().map_err(&failed)?;
        for chunk in group.chunks {
            match chunk {
                Encoded::Ours(chunk) => rows.append_column(&chunk.bytes, chunk.close),
                Encoded::Theirs(chunk) => chunk.append_to_row_group(&mut rows),
            }
            .map_err(&failed)?;
        }
        rows.close().map_err(&failed)?;
        file.rows += group.rows as i64;
        if file.writer.bytes_written() > ROLL_BYTES {
            self.close(&key);
        }
        Ok(())
    }

    /// Closes and syncs every file; what they are, by table. The files stay until `Committed`
    /// takes them over or the stage is dropped.
    pub fn finish(&mut self) -> Result<BTreeMap<String, Vec<AddFile>>, SinkError> {
        let keys: Vec<_> = self.open.keys().cloned().collect();
        for key in keys {
            self.close(&key);
        }
        let mut adds: BTreeMap<String, Vec<AddFile>> = BTreeMap::new();
        for (table, job) in self.finishing.drain(..) {
            let add = job
                .join()
                .map_err(|_| SinkError::Encode { table, reason: "a file could not be finished".into() })??;
            adds.entry(table.to_owned()).or_default().push(add);
        }
        for files in adds.values_mut() {
            files.sort_by(|a, b| a.path.cmp(&b.path));
        }
        Ok(adds)
    }

    /// Registers a file that was written beside the stage (the tally), so that it shares its fate.
    pub fn adopt(&mut self, path: PathBuf) {
        self.written.push(path);
    }

    /// A name no other batch uses.
    pub fn file_name(&mut self) -> String {
        self.serial += 1;
        format!("{}-{}.parquet", self.batch, self.serial)
    }

    /// The manifest names the files now: they are no longer ours to remove.
    pub fn committed(mut self) {
        self.written.clear();
    }

    fn begin(&mut self, table: &'static str, partition: &str) -> Result<OpenFile, SinkError> {
        let name = self.file_name();
        let (format, dir) = &self.tables[table];
        let relative = format!("{}={partition}/{name}", format.partition);
        let path = dir.join(&relative);
        create_folders(path.parent().unwrap_or(dir))?;
        let file = File::create_new(&path).map_err(LakeError::io("cannot create", &path))?;
        self.written.push(path.clone());
        let root = format.parquet.root_schema_ptr();
        let writer =
            SerializedFileWriter::new(BufWriter::with_capacity(256 << 10, file), root, Arc::clone(&format.properties))
                .map_err(refused(table))?;
        Ok(OpenFile { writer, path, relative, rows: 0, used: self.clock })
    }

    fn make_room(&mut self) {
        if self.open.len() >= OPEN_FILES
            && let Some(key) = self.open.iter().min_by_key(|(_, f)| f.used).map(|(k, _)| k.clone())
        {
            self.close(&key);
        }
    }

    /// Writes the footer and syncs, beside the flow: a sync takes as long as the disk needs.
    fn close(&mut self, key: &(&'static str, String)) {
        let Some(file) = self.open.remove(key) else { return };
        let column = self.tables[key.0].0.partition;
        let partition = BTreeMap::from([(column.to_owned(), key.1.clone())]);
        let job = std::thread::spawn(move || finish(file, partition));
        self.finishing.push((key.0, job));
    }
}

fn finish(file: OpenFile, partition: BTreeMap<String, String>) -> Result<AddFile, LakeError> {
    let OpenFile { writer, path, relative, rows, .. } = file;
    let broken = |reason: String| LakeError::Table { path: path.clone(), reason };
    let buffered = writer.into_inner().map_err(|e| broken(e.to_string()))?;
    let plain = buffered.into_inner().map_err(|e| LakeError::io("cannot write", &path)(e.into_error()))?;
    finish_file(plain, &path, &relative, partition, rows)
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.open.clear();
        for (_, job) in self.finishing.drain(..) {
            let _ = job.join();
        }
        for path in self.written.drain(..) {
            // What cannot be removed now is an orphan for the sweep: no manifest names it.
            let _ = fs::remove_file(path);
        }
    }
}

/// Where every table stands.
pub fn table_folder(site: &Path, table: &str) -> PathBuf {
    match table {
        "cdr" | "tally" => site.join("lake").join(table),
        _ => site.join("vault").join(table),
    }
}
