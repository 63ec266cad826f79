//! Key files: age-encrypted (age-encryption.org/v1, scrypt recipient) JSON with a version.
//!
//! A site has two. `ingest/keys.age` holds what ingest leases and is read here; `vault/keys.age`
//! holds everything and is read by `vault::keystore`. Both are written the same way: a temporary
//! file of mode 0600 in the same folder, synced, renamed over the old one, folder synced, so that
//! a crash leaves the old file or the new one, never half of one.

use crate::keys::{DayKeys, DomainKey, EpochLease, KeyError, KeyRing, KeySource, SealingKey};
use crate::record::time::{Day, Epoch};
use age::secrecy::SecretString;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use zeroize::Zeroizing;

mod hex;

pub use hex::{Hex, SecretHex, decode_key};

/// Version of the JSON inside a key file.
pub const VERSION: u32 = 1;
/// log2 of scrypt's N for files we write: 32 MiB and about 0.1 s a guess. An unlock may take 0.3 s.
/// Unit tests write dozens of files without optimisation, and test nothing about scrypt.
pub const WORK_FACTOR: u8 = if cfg!(test) { 2 } else { 15 };
/// Files made with other tools may be stronger (`age -p` writes 18), up to 256 MiB for one unlock.
const MAX_WORK_FACTOR: u8 = 18;
/// No key file of ours comes near; keeps a wrong path from filling memory.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// X-Wing public key: X25519 (32) and ML-KEM-768 (1184).
const PUBLIC_KEY_LEN: usize = 1216;

/// What unlocks a key file. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct Passphrase(SecretString);

impl Passphrase {
    /// `None` for an empty one. One trailing line end is not part of it, so that files written by
    /// `echo` work.
    pub fn new(text: Zeroizing<String>) -> Option<Passphrase> {
        let trimmed = text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t));
        (!trimmed.is_empty()).then(|| Passphrase(SecretString::from(trimmed.to_owned())))
    }

    /// Whether both files of a site would open with one passphrase. Only ever compared locally,
    /// between two secrets of the same operator, so no constant time is needed.
    pub fn same_as(&self, other: &Passphrase) -> bool {
        use age::secrecy::ExposeSecret;
        self.0.expose_secret() == other.0.expose_secret()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {reason}")]
pub struct WriteError {
    pub path: String,
    pub reason: String,
}

/// Decrypts the file at `path`. The plain text is wiped when dropped.
pub fn read(path: &Path, passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let unreadable = |reason: String| KeyError::Unreadable { path: path.display().to_string(), reason };
    let file = File::open(path).map_err(|e| unreadable(e.to_string()))?;
    let length = file.metadata().map_err(|e| unreadable(e.to_string()))?.len();
    if length > MAX_FILE_BYTES {
        return Err(unreadable(format!("{length} bytes is too large for a key file")));
    }
    let decryptor =
        age::Decryptor::new_buffered(std::io::BufReader::new(file)).map_err(|e| unreadable(age_reason(&e)))?;
    let mut identity = age::scrypt::Identity::new(passphrase.0.clone());
    identity.set_max_work_factor(MAX_WORK_FACTOR);
    let mut reader = match decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)) {
        Ok(reader) => reader,
        Err(age::DecryptError::DecryptionFailed | age::DecryptError::KeyDecryptionFailed) => {
            return Err(KeyError::WrongPassphrase { path: path.display().to_string() });
        }
        Err(e) => return Err(unreadable(age_reason(&e))),
    };
    // The plain text is shorter than the file, so the buffer never moves and leaves no copy behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(length as usize + 1));
    reader.read_to_end(&mut plain).map_err(|_| unreadable("it is damaged or was cut short".into()))?;
    Ok(plain)
}

/// Encrypts `plain` and puts it at `path`, durably and all or nothing.
pub fn write(path: &Path, passphrase: &Passphrase, plain: &[u8]) -> Result<(), WriteError> {
    let failed = |reason: String| WriteError { path: path.display().to_string(), reason };
    let mut recipient = age::scrypt::Recipient::new(passphrase.0.clone());
    recipient.set_work_factor(WORK_FACTOR);
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
        .map_err(|e| failed(e.to_string()))?;
    let mut sealed = Vec::with_capacity(plain.len() + plain.len() / 1024 + 1024);
    let seal = |sealed: &mut Vec<u8>| -> std::io::Result<()> {
        let mut writer = encryptor.wrap_output(sealed)?;
        writer.write_all(plain)?;
        writer.finish().map(|_| ())
    };
    seal(&mut sealed).map_err(|e| failed(e.to_string()))?;
    replace_durably(path, &sealed).map_err(|e| failed(e.to_string()))
}

/// Puts `bytes` at `path` with mode 0600: the old content or the new one, whatever happens.
pub fn replace_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| std::io::Error::other("not a file name"))?;
    let mut temporary = name.to_os_string();
    temporary.push(format!(".{:016x}.tmp", rand::random::<u64>()));
    let temporary = folder.join(temporary);
    let put = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        // The umask may only take rights away; whoever owned the old file keeps reading the new one.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        if let Ok(old) = fs::metadata(path) {
            let mine = file.metadata()?;
            if (old.uid(), old.gid()) != (mine.uid(), mine.gid()) {
                std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
            }
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    };
    put().inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// age's own words for errors that say nothing of the content, ours where it would be unclear.
fn age_reason(error: &age::DecryptError) -> String {
    match error {
        age::DecryptError::Io(e) => format!("it is not an age file, or was cut short ({})", e.kind()),
        age::DecryptError::NoMatchingKeys => "it is not encrypted with a passphrase".into(),
        age::DecryptError::ExcessiveWork { required, .. } => {
            format!("its work factor 2^{required} is above 2^{MAX_WORK_FACTOR}; encrypt it anew with a smaller one")
        }
        _ => "it is not an age file, or is damaged".into(),
    }
}

/// `ingest/keys.age`: read at start, and again whenever the vault has replaced it.
///
/// While one lives, a shared lock on `lease.lock` beside the file tells the vault that keys are in
/// use, so that an epoch's key is not replaced under a running ingest.
pub struct IngestKeyFile {
    path: PathBuf,
    passphrase: Passphrase,
    seen: Mutex<Option<Stamp>>,
    _in_use: LeaseLock,
}

/// What changes when a file is replaced: inode, size, and time of the last change in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp(u64, u64, i64, i64);

impl IngestKeyFile {
    /// The same file once more, for a second reader that learns of changes by itself.
    pub fn another(&self) -> Result<IngestKeyFile, KeyError> {
        IngestKeyFile::open(&self.path, self.passphrase.clone())
    }

    /// Does not read the file yet: the first `refresh` does.
    pub fn open(path: &Path, passphrase: Passphrase) -> Result<IngestKeyFile, KeyError> {
        stamp(path)?;
        let in_use = LeaseLock::shared(path)
            .map_err(|e| KeyError::Unreadable { path: path.display().to_string(), reason: e.to_string() })?;
        Ok(IngestKeyFile { path: path.to_owned(), passphrase, seen: Mutex::new(None), _in_use: in_use })
    }
}

fn stamp(path: &Path) -> Result<Stamp, KeyError> {
    fs::metadata(path)
        .map(|m| Stamp(m.ino(), m.size(), m.mtime(), m.mtime_nsec()))
        .map_err(|e| KeyError::Unreadable { path: path.display().to_string(), reason: e.to_string() })
}

impl KeySource for IngestKeyFile {
    fn refresh(&self) -> Result<Option<KeyRing>, KeyError> {
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Taken before reading: a replacement in between shows at the next call.
        let now = stamp(&self.path)?;
        if *seen == Some(now) {
            return Ok(None);
        }
        let plain = read(&self.path, &self.passphrase)?;
        let ring = parse_ring(&self.path, &plain)?;
        *seen = Some(now);
        Ok(Some(ring))
    }
}

/// Lock beside `ingest/keys.age`; released when dropped or when the process ends.
pub struct LeaseLock {
    _file: File,
}

impl LeaseLock {
    /// Held by every ingest. Waits for an import that is under way.
    fn shared(key_file: &Path) -> std::io::Result<LeaseLock> {
        Self::take(key_file, FlockOperation::LockShared)
    }

    /// Held by the vault while it replaces a key; `None` when an ingest is running.
    pub fn exclusive(key_file: &Path) -> std::io::Result<Option<LeaseLock>> {
        match Self::take(key_file, FlockOperation::NonBlockingLockExclusive) {
            Ok(lock) => Ok(Some(lock)),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn take(key_file: &Path, how: FlockOperation) -> std::io::Result<LeaseLock> {
        let path = key_file.with_file_name("lease.lock");
        let file = match File::open(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?
            }
            other => other?,
        };
        rustix::fs::flock(&file, how)?;
        Ok(LeaseLock { _file: file })
    }
}

/// The JSON of `ingest/keys.age`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RingFile {
    version: u32,
    zone: String,
    file_key: SecretHex,
    epochs: Vec<EpochEntry>,
    days: Vec<DayEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EpochEntry {
    epoch: String,
    generation: u32,
    analytics: SecretHex,
    tally: SecretHex,
    identities: Hex,
    /// Not there in a site without recipients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    recipients: Vec<RecipientEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipientEntry {
    name: String,
    key: SecretHex,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DayEntry {
    day: String,
    evidence: Hex,
    quarantine: Hex,
}

const ZONE: &str = "ingest";

/// The plain text of `ingest/keys.age` for a ring; equal rings give equal bytes.
pub fn ring_text(ring: &KeyRing) -> Zeroizing<Vec<u8>> {
    let file = RingFile {
        version: VERSION,
        zone: ZONE.into(),
        file_key: SecretHex::new(*ring.file_key),
        epochs: ring
            .epochs
            .iter()
            .map(|(epoch, lease)| EpochEntry {
                epoch: epoch.to_string(),
                generation: lease.generation,
                analytics: SecretHex::new(*lease.analytics.expose()),
                tally: SecretHex::new(*lease.tally.expose()),
                identities: Hex(lease.identities.0.clone()),
                recipients: lease
                    .recipients
                    .iter()
                    .map(|(name, key)| RecipientEntry { name: name.clone(), key: SecretHex::new(*key.expose()) })
                    .collect(),
            })
            .collect(),
        days: ring
            .days
            .iter()
            .map(|(day, keys)| DayEntry {
                day: day.to_string(),
                evidence: Hex(keys.evidence.0.clone()),
                quarantine: Hex(keys.quarantine.0.clone()),
            })
            .collect(),
    };
    let recipients: usize = file.epochs.iter().flat_map(|e| &e.recipients).map(|r| r.name.len() + 128).sum();
    let room = 4096 + file.epochs.len() * 4096 + file.days.len() * 6144 + recipients;
    to_wiped_json(&file, room)
}

/// JSON in a buffer that is wiped when dropped; `room` must not be exceeded, or copies stay behind.
pub fn to_wiped_json(value: &impl Serialize, room: usize) -> Zeroizing<Vec<u8>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(room));
    serde_json::to_writer(&mut *plain, value).expect("plain structures of text and numbers always serialise");
    plain
}

/// Version and zone are looked at before anything else, so that a newer file is named as such.
pub fn check_header(path: &Path, plain: &[u8], zone: &str) -> Result<(), KeyError> {
    #[derive(Deserialize)]
    struct Header {
        version: u32,
        zone: String,
    }
    let header: Header = serde_json::from_slice(plain).map_err(|e| malformed(path, &e))?;
    if header.version != VERSION {
        return Err(KeyError::Version { path: path.display().to_string(), found: header.version, known: VERSION });
    }
    if header.zone != zone {
        return Err(KeyError::Unreadable {
            path: path.display().to_string(),
            reason: format!(
                "it belongs to the {} zone, not to {zone}",
                if header.zone == "vault" { "vault" } else { "ingest" }
            ),
        });
    }
    Ok(())
}

/// serde's own message could quote a key, so only the place is passed on.
pub fn malformed(path: &Path, error: &serde_json::Error) -> KeyError {
    KeyError::Unreadable {
        path: path.display().to_string(),
        reason: format!("its content is not as expected at line {}, column {}", error.line(), error.column()),
    }
}

fn parse_ring(path: &Path, plain: &[u8]) -> Result<KeyRing, KeyError> {
    check_header(path, plain, ZONE)?;
    let file: RingFile = serde_json::from_slice(plain).map_err(|e| malformed(path, &e))?;
    let bad = |what: &str| KeyError::Unreadable {
        path: path.display().to_string(),
        reason: format!("{what} in it is not valid"),
    };
    let public = |hex: Hex| {
        if hex.0.len() == PUBLIC_KEY_LEN { Ok(SealingKey(hex.0)) } else { Err(bad("a public key")) }
    };
    let mut epochs = BTreeMap::new();
    for e in file.epochs {
        let epoch: Epoch = e.epoch.parse().map_err(|()| bad("an epoch"))?;
        let listed = e.recipients.len();
        let recipients: BTreeMap<String, DomainKey> =
            e.recipients.into_iter().map(|r| (r.name, DomainKey::from_bytes(*r.key.expose()))).collect();
        if recipients.len() != listed {
            return Err(bad("a recipient (listed twice)"));
        }
        let lease = EpochLease {
            generation: e.generation,
            analytics: DomainKey::from_bytes(*e.analytics.expose()),
            tally: DomainKey::from_bytes(*e.tally.expose()),
            identities: public(e.identities)?,
            recipients,
        };
        if epochs.insert(epoch, lease).is_some() {
            return Err(bad("an epoch (listed twice)"));
        }
    }
    let mut days = BTreeMap::new();
    for d in file.days {
        let day: Day = d.day.parse().map_err(|()| bad("a day"))?;
        let keys = DayKeys { evidence: public(d.evidence)?, quarantine: public(d.quarantine)? };
        if days.insert(day, keys).is_some() {
            return Err(bad("a day (listed twice)"));
        }
    }
    Ok(KeyRing { file_key: Zeroizing::new(*file.file_key.expose()), epochs, days })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::keystore::KeyStore;

    fn phrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.to_owned())).unwrap()
    }

    fn ring(epochs: &[&str]) -> KeyRing {
        let mut store = KeyStore::new(Path::new("unused"), phrase("x"));
        for epoch in epochs {
            store.create_epoch(epoch.parse().unwrap());
        }
        store.lease()
    }

    /// What the file holds, whole: key rings have no comparison on purpose.
    fn text(ring: &KeyRing) -> Vec<u8> {
        ring_text(ring).to_vec()
    }

    #[test]
    fn one_line_end_is_no_part_of_a_passphrase_and_an_empty_one_is_none() {
        for same in ["open sesame", "open sesame\n", "open sesame\r\n"] {
            assert!(phrase(same).same_as(&phrase("open sesame")));
        }
        assert!(!phrase("open sesame\n\n").same_as(&phrase("open sesame")));
        assert!(!phrase(" open sesame").same_as(&phrase("open sesame")));
        for empty in ["", "\n", "\r\n"] {
            assert!(Passphrase::new(Zeroizing::new(empty.into())).is_none());
        }
    }

    #[test]
    fn a_ring_comes_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.age");
        let ring = ring(&["2026-02", "2026-11"]);
        write(&path, &phrase("p"), &ring_text(&ring)).unwrap();
        let read = IngestKeyFile::open(&path, phrase("p")).unwrap().refresh().unwrap().unwrap();
        assert_eq!(text(&read), text(&ring));
        assert_eq!((read.epochs.len(), read.days.len()), (2, 28 + 30));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::read_dir(dir.path()).unwrap().all(|e| !e.unwrap().file_name().to_string_lossy().ends_with(".tmp")));
    }

    #[test]
    fn a_wrong_passphrase_is_told_apart_from_a_damaged_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.age");
        write(&path, &phrase("right"), &ring_text(&ring(&["2026-11"]))).unwrap();
        let refresh = |p: &str| IngestKeyFile::open(&path, phrase(p)).unwrap().refresh().err();
        assert!(matches!(refresh("wrong"), Some(KeyError::WrongPassphrase { .. })));
        let whole = fs::read(&path).unwrap();
        for length in [0, 1, 20, 100, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(matches!(refresh("right"), Some(KeyError::Unreadable { .. })), "{length} bytes");
        }
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        fs::write(&path, changed).unwrap();
        assert!(matches!(refresh("right"), Some(KeyError::Unreadable { .. })));
        fs::remove_file(&path).unwrap();
        assert!(IngestKeyFile::open(&path, phrase("right")).is_err());
    }

    #[test]
    fn content_that_is_not_a_ring_is_refused_without_showing_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.age");
        let secret = "5".repeat(63);
        let cases = [
            ("{}".to_owned(), "line 1"),
            (format!(r#"{{"version":1,"zone":"vault","file_key":"{secret}"}}"#), "vault zone"),
            (format!(r#"{{"version":2,"zone":"ingest","file_key":"{secret}"}}"#), "version 2"),
            (
                format!(r#"{{"version":1,"zone":"ingest","file_key":"{secret}","epochs":[],"days":[]}}"#),
                "not as expected",
            ),
            (
                format!(
                    r#"{{"version":1,"zone":"ingest","file_key":"{secret}5","epochs":[],"days":[{{"day":"2026-02-30","evidence":"","quarantine":""}}]}}"#
                ),
                "a day in it",
            ),
            (
                format!(
                    r#"{{"version":1,"zone":"ingest","file_key":"{secret}5","epochs":[],"days":[{{"day":"2026-02-01","evidence":"00","quarantine":""}}]}}"#
                ),
                "a public key",
            ),
        ];
        for (content, says) in cases {
            write(&path, &phrase("p"), content.as_bytes()).unwrap();
            let error = IngestKeyFile::open(&path, phrase("p")).unwrap().refresh().err().unwrap().to_string();
            assert!(error.contains(says) && !error.contains("5555"), "{error}");
        }
    }

    #[test]
    fn refresh_reads_again_only_when_the_file_was_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.age");
        write(&path, &phrase("p"), &ring_text(&ring(&["2026-11"]))).unwrap();
        let source = IngestKeyFile::open(&path, phrase("p")).unwrap();
        assert!(source.refresh().unwrap().is_some());
        assert!(source.refresh().unwrap().is_none());
        write(&path, &phrase("p"), &ring_text(&ring(&["2026-11", "2026-12"]))).unwrap();
        assert_eq!(source.refresh().unwrap().unwrap().epochs.len(), 2);
        assert!(source.refresh().unwrap().is_none());
        // A replacement that does not open is reported at every call until it is put right.
        write(&path, &phrase("other"), b"x").unwrap();
        assert!(source.refresh().is_err() && source.refresh().is_err());
    }

    #[test]
    fn an_ingest_holds_the_lease_until_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.age");
        write(&path, &phrase("p"), b"x").unwrap();
        let one = IngestKeyFile::open(&path, phrase("p")).unwrap();
        let two = IngestKeyFile::open(&path, phrase("p")).unwrap();
        assert!(LeaseLock::exclusive(&path).unwrap().is_none());
        drop(one);
        assert!(LeaseLock::exclusive(&path).unwrap().is_none());
        drop(two);
        assert!(LeaseLock::exclusive(&path).unwrap().is_some());
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.age");
        fs::create_dir(&path).unwrap();
        assert!(write(&path, &phrase("p"), b"x").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write(&dir.path().join("none/keys.age"), &phrase("p"), b"x").is_err());
    }
}
