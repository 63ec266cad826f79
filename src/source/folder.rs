//! A watched folder: offers each file once it is complete.
//!
//! A file is complete when it was renamed into the folder (or from a temporary name within it), or
//! when size and time of change stood still for the settling time. inotify only makes this quick;
//! a rescan finds what events missed (overflow, network mounts, a folder deleted and made again).
//! Nothing is moved or deleted here, and what was loaded is the ledger's to know: the watch merely
//! remembers which states of which files it offered, to not offer them on every rescan.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use inotify::{EventMask, Inotify, WatchMask};

use crate::clock::Clock;
use crate::source::SourceError;
use crate::source::files::Identity;

/// Files that are watched until they settle, at most; further ones get their turn later.
const PENDING_MAX: usize = 65_536;
/// Offered files that still lie in the folder and are remembered, at most; beyond it files are
/// offered again (the ledger reports them as delivered before). About 20 MiB.
const OFFERED_MAX: usize = 262_144;
/// How often events are looked at while waiting.
const TICK: Duration = Duration::from_millis(50);
/// Endings of names under which programs write files that they rename when done.
const UNFINISHED: [&[u8]; 4] = [b".tmp", b".part", b".filepart", b"~"];

/// A complete file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub path: PathBuf,
    identity: Identity,
}

impl Candidate {
    /// Bytes as the file stands, compressed.
    pub fn size(&self) -> u64 {
        self.identity.size
    }

    /// Last change of the content, milliseconds since 1970.
    pub fn modified_ms(&self) -> i64 {
        (self.identity.modified_ns / 1_000_000) as i64
    }
}

/// The state of one watched folder.
pub struct Watch {
    dir: PathBuf,
    settle_ms: i64,
    clock: Arc<dyn Clock>,
    /// `None` while the folder cannot be watched (it is gone, or the system has no watch left).
    inotify: Option<Inotify>,
    pending: HashMap<OsString, Pending>,
    offered: HashSet<Identity>,
    next_scan: Instant,
    scan_every: Duration,
}

struct Pending {
    identity: Identity,
    /// When this identity was first seen.
    since_ms: i64,
    /// It came by a rename and did not change since.
    renamed: bool,
}

impl Watch {
    /// Watches `dir`, which must exist. Files in it already are offered when they settled.
    pub fn new(dir: &Path, settle: Duration, clock: Arc<dyn Clock>) -> Result<Watch, SourceError> {
        let metadata = std::fs::metadata(dir).map_err(|error| SourceError::io(dir, error))?;
        if !metadata.is_dir() {
            return Err(SourceError::NotAFolder { path: dir.to_path_buf() });
        }
        std::fs::read_dir(dir).map_err(|error| SourceError::io(dir, error))?;
        Ok(Watch {
            dir: dir.to_path_buf(),
            settle_ms: settle.as_millis().min(i64::MAX as u128) as i64,
            clock,
            inotify: subscribe(dir),
            pending: HashMap::new(),
            offered: HashSet::new(),
            next_scan: Instant::now(),
            scan_every: (settle / 2).clamp(Duration::from_millis(200), Duration::from_secs(5)),
        })
    }

    /// Whether the system tells of changes; without it files are found by rescans only.
    pub fn is_notified(&self) -> bool {
        self.inotify.is_some()
    }

    /// Files that became complete, oldest change first, then by name; empty when none did within
    /// `timeout`. With a `timeout` of zero it looks once and does not wait.
    pub fn next(&mut self, timeout: Duration) -> Vec<Candidate> {
        let until = Instant::now() + timeout;
        loop {
            self.take_events();
            if Instant::now() >= self.next_scan {
                self.scan();
            }
            let complete = self.complete();
            let left = until.saturating_duration_since(Instant::now());
            if !complete.is_empty() || left.is_zero() {
                return complete;
            }
            std::thread::sleep(left.min(TICK));
        }
    }

    /// Offers the file again when it next settles: for a failure that had nothing to do with what
    /// the file holds. A file that changes is offered again by itself.
    pub fn again(&mut self, candidate: &Candidate) {
        self.offered.remove(&candidate.identity);
    }

    fn take_events(&mut self) {
        let mut buffer = [0; 16 * 1024];
        // Bounded, so that a folder written to without pause is looked at all the same.
        for _ in 0..64 {
            let Some(inotify) = &mut self.inotify else { return };
            let Ok(events) = inotify.read_events(&mut buffer) else { return };
            let mut lost = false;
            let mut touched = Vec::new();
            for event in events {
                let gone = EventMask::IGNORED | EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::UNMOUNT;
                lost |= event.mask.intersects(gone | EventMask::Q_OVERFLOW);
                if let Some(name) = event.name {
                    touched.push((name.to_os_string(), event.mask.contains(EventMask::MOVED_TO)));
                }
            }
            for (name, renamed) in touched {
                self.look(&name, renamed);
            }
            if lost {
                // A new subscription: the old one may be of a folder that has another name now.
                self.inotify = None;
                self.next_scan = Instant::now();
            }
        }
    }

    /// Looks at every file of the folder.
    fn scan(&mut self) {
        let began = Instant::now();
        // Before the listing, so that nothing falls between the two.
        if self.inotify.is_none() {
            self.inotify = subscribe(&self.dir);
        }
        let mut present = HashSet::new();
        // A folder that is gone may come back; its files are forgotten with it.
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if let Some(identity) = self.look(&entry.file_name(), false)
                && self.offered.contains(&identity)
            {
                present.insert(identity);
            }
        }
        self.offered = present;
        // A large folder is listed less often, so that listing stays a small share of the time.
        self.next_scan = Instant::now() + self.scan_every.max(began.elapsed() * 20);
    }

    /// Notes the state of one file; its identity when it is one to take.
    fn look(&mut self, name: &OsStr, renamed: bool) -> Option<Identity> {
        let Some(identity) = self.identity(name) else {
            self.pending.remove(name);
            return None;
        };
        if self.offered.contains(&identity) {
            return Some(identity);
        }
        let now_ms = self.clock.now_ms();
        let room = self.pending.len() < PENDING_MAX;
        match self.pending.get_mut(name) {
            Some(pending) if pending.identity == identity => pending.renamed |= renamed,
            Some(pending) => *pending = Pending { identity, since_ms: now_ms, renamed },
            None if room => {
                self.pending.insert(name.to_os_string(), Pending { identity, since_ms: now_ms, renamed });
            }
            None => {}
        }
        Some(identity)
    }

    /// Moves what is complete from pending to offered.
    fn complete(&mut self) -> Vec<Candidate> {
        let now_ms = self.clock.now_ms();
        let mut due = Vec::new();
        for (name, pending) in &mut self.pending {
            // A clock that was set back must not stretch the wait.
            pending.since_ms = pending.since_ms.min(now_ms);
            if pending.renamed || now_ms - pending.since_ms >= self.settle_ms {
                due.push(name.clone());
            }
        }
        let mut complete = Vec::new();
        for name in due {
            let was = self.pending[&name].identity;
            // The last look counts: it starts the wait anew if the file changed meanwhile.
            if self.look(&name, false) == Some(was) {
                self.pending.remove(&name);
                if self.offered.len() < OFFERED_MAX {
                    self.offered.insert(was);
                }
                complete.push(Candidate { path: self.dir.join(&name), identity: was });
            }
        }
        complete.sort_by(|a, b| (a.identity.modified_ns, &a.path).cmp(&(b.identity.modified_ns, &b.path)));
        complete
    }

    /// The identity of a regular file with a finished name. Links are not followed: who may write
    /// to the folder should not choose what else is read.
    fn identity(&self, name: &OsStr) -> Option<Identity> {
        let bytes = name.as_bytes();
        if bytes.starts_with(b".") || UNFINISHED.iter().any(|ending| bytes.ends_with(ending)) {
            return None;
        }
        let metadata = std::fs::symlink_metadata(self.dir.join(name)).ok()?;
        metadata.is_file().then(|| Identity::of(&metadata))
    }
}

fn subscribe(dir: &Path) -> Option<Inotify> {
    let inotify = Inotify::init().ok()?;
    let mask = WatchMask::CREATE
        | WatchMask::MODIFY
        | WatchMask::CLOSE_WRITE
        | WatchMask::MOVED_TO
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR;
    inotify.watches().add(dir, mask).ok()?;
    Some(inotify)
}

#[cfg(test)]
mod tests;
