//! Transactional ids: a prefix, the machine and the site, and a number that no other process there
//! has.
//!
//! Any unique id would do, as offsets are fenced by the group (KIP-447). But the id of a process that
//! was killed is taken up by the next one that starts in its place, which ends what was left open at
//! once; else readers of the topic, and whoever is given its partitions, wait for
//! `transaction.timeout.ms`.

use rustix::fs::FlockOperation;
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Processes of one site on one machine; beyond it, or where no file can be locked, ids are random.
const SLOTS: u32 = 64;

/// An id for as long as this lives. The lock goes with the process, however it ends.
pub struct Slot {
    prefix: String,
    id: String,
    _lock: Option<File>,
}

impl Slot {
    /// The lowest number that is free in `folder`; `sink-N.lock` stands there from then on.
    pub fn take(folder: &Path, prefix: &str) -> Slot {
        let place = format!("{prefix}-{}", place(folder));
        for number in 0..SLOTS {
            match lock(&folder.join(format!("sink-{number}.lock"))) {
                Ok(lock) => {
                    return Slot { prefix: prefix.to_owned(), id: format!("{place}-{number}"), _lock: Some(lock) };
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        Slot { prefix: prefix.to_owned(), id: random(prefix), _lock: None }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// Somebody else uses the id, whoever that is: from now on another, which nobody has.
    pub fn leave(&mut self) {
        self.id = random(&self.prefix);
        self._lock = None;
    }
}

fn lock(path: &Path) -> io::Result<File> {
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?
        }
        other => other?,
    };
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// 8 hexadecimal digits of this machine and this folder: two sites with one prefix, or one disk
/// that two machines mount, do not share ids.
fn place(folder: &Path) -> String {
    let mut digest = Sha256::new();
    digest.update(std::fs::read("/proc/sys/kernel/hostname").unwrap_or_default());
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    digest.update(folder.as_os_str().as_encoded_bytes());
    digest.finalize()[..4].iter().map(|b| format!("{b:02x}")).collect()
}

fn random(prefix: &str) -> String {
    format!("{prefix}-{:016x}", rand::random::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_have_different_ids_and_who_comes_after_one_takes_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let first = Slot::take(dir.path(), "cdrveil");
        let mut second = Slot::take(dir.path(), "cdrveil");
        assert!(first.id().starts_with("cdrveil-") && first.id().ends_with("-0"), "{}", first.id());
        assert!(second.id().ends_with("-1"));
        let id = first.id().to_owned();
        drop(first);
        let next = Slot::take(dir.path(), "cdrveil");
        assert_eq!(next.id(), id);
        second.leave();
        assert!(!second.id().ends_with("-1") && second.id().starts_with("cdrveil-"));
        assert!(Slot::take(dir.path(), "cdrveil").id().ends_with("-1"), "what was left is free");
    }

    #[test]
    fn other_folders_have_other_ids_and_one_that_is_not_there_is_no_error() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_ne!(Slot::take(one.path(), "p").id(), Slot::take(other.path(), "p").id());
        let none = one.path().join("none");
        assert_ne!(Slot::take(&none, "p").id(), Slot::take(&none, "p").id());
    }
}
