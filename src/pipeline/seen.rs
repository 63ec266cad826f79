//! Which states of which files of a watched folder are known to be loaded, so that a restarted
//! watcher need not read them all again to recognise them by content.
//!
//! `ingest/seen/FEED.json` is a convenience: lost, damaged or out of date it costs reading. An entry
//! counts only if the file's name, device, inode, size and both times are what they were *before* it
//! was read, and only while the ledger knows its content.

use super::engine::Engine;
use crate::clock::Clock;
use crate::lake::durable;
use crate::pseudonymise::hmac::{keyed_bytes, keyed_digest};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

const FORMAT: u32 = 1;
/// Within the tick of the file system's clock a file can change twice and look the same; younger
/// states are not remembered.
const RACY_MS: i64 = 1000;
const SAVE_EVERY: Duration = Duration::from_secs(30);

/// A file as `stat` shows it; times in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    device: u64,
    inode: u64,
    size: u64,
    modified_ns: i64,
    changed_ns: i64,
}

impl State {
    /// `None` when there is no such file.
    pub fn of(path: &Path) -> Option<State> {
        let meta = fs::symlink_metadata(path).ok()?;
        let ns = |s: i64, ns: i64| s.saturating_mul(1_000_000_000).saturating_add(ns);
        Some(State {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified_ns: ns(meta.mtime(), meta.mtime_nsec()),
            changed_ns: ns(meta.ctime(), meta.ctime_nsec()),
        })
    }
}

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Entry {
    #[serde(flatten)]
    state: State,
    /// Identity of the content, as in the ledger.
    file: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    /// By keyed digest of the name, as a name may say more than it should.
    files: BTreeMap<String, Entry>,
}

/// The memory of one feed's inbox.
pub struct Seen {
    path: PathBuf,
    key: Zeroizing<[u8; 32]>,
    files: BTreeMap<String, Entry>,
    changed: bool,
    saved: Instant,
}

impl Seen {
    pub fn open(site: &Path, feed: &str, engine: &Engine<'_>) -> Seen {
        let path = site.join("ingest/seen").join(format!("{feed}.json"));
        let stored = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Stored>(&text).ok());
        let files = stored.filter(|s| s.format == FORMAT).map(|s| s.files).unwrap_or_default();
        let key = Zeroizing::new(keyed_bytes(&engine.keys().ring.file_key, b"cdrveil/v1/seen"));
        Seen { path, key, files, changed: false, saved: Instant::now() }
    }

    /// Whether the file in this state is loaded for certain, without reading it.
    pub fn knows(&self, path: &Path, engine: &Engine<'_>) -> bool {
        let Some(state) = State::of(path) else { return false };
        let entry = path.file_name().and_then(|name| self.files.get(&self.digest(name)));
        entry.is_some_and(|e| e.state == state && engine.knows(&e.file))
    }

    /// Remembers that the file was loaded; `before` is its state before it was opened.
    pub fn remember(&mut self, path: &Path, before: State, file: String, clock: &dyn Clock) {
        let settled = before.changed_ns / 1_000_000 + RACY_MS < clock.now_ms();
        if settled && let Some(name) = path.file_name() {
            self.files.insert(self.digest(name), Entry { state: before, file });
            self.changed = true;
        }
    }

    /// Writes what changed, now and then; a failure costs the next start time and nothing else.
    pub fn save(&mut self, inbox: &Path, now: bool) {
        if !self.changed || !(now || self.saved.elapsed() >= SAVE_EVERY) {
            return;
        }
        (self.changed, self.saved) = (false, Instant::now());
        let Ok(entries) = fs::read_dir(inbox) else { return };
        let present: HashSet<String> = entries.flatten().map(|e| self.digest(&e.file_name())).collect();
        self.files.retain(|name, _| present.contains(name));
        let stored = Stored { format: FORMAT, files: std::mem::take(&mut self.files) };
        if let Ok(text) = serde_json::to_vec(&stored) {
            let _ = durable::replace(&self.path, &text);
        }
        self.files = stored.files;
    }

    fn digest(&self, name: &OsStr) -> String {
        let mut digest = keyed_digest(&self.key, name.as_encoded_bytes());
        digest.truncate(32);
        digest
    }
}
