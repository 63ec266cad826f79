//! Where records come from: files, standard input, a watched folder, a file that grows.
//!
//! A source is blind to formats. It undoes compression (told by content), cuts whole records
//! ([`framing`]) and hands them out as [`RawBatch`]es with their position, while a thread of its own
//! reads ahead, decompresses and hashes. Nothing here knows what was loaded before: the caller's
//! ledger does.

pub mod append;
pub mod compression;
pub mod files;
pub mod folder;
pub mod framing;
pub mod kafka;
pub mod stdin;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::Receiver;

use crate::record::raw::{Framing, RawBatch};
use crate::source::files::{Message, Opened, Progress};

pub use crate::source::files::{open, open_at, read_record};

/// Bounds that keep memory flat whatever a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that a batch aims at.
    pub batch_bytes: usize,
    /// Lines that a batch holds at most.
    pub batch_lines: usize,
    /// Bytes of one record at most, its line end included; longer ones come as `oversize` pieces.
    pub max_record_bytes: usize,
    /// Decompressed bytes per compressed byte at most, judged only beyond `ratio_from_bytes`.
    pub max_ratio: u64,
    /// Decompressed bytes from which `max_ratio` is judged: small files of equal lines pack well.
    pub ratio_from_bytes: u64,
    /// Decompressed bytes of a compressed file at most.
    pub max_decompressed_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            batch_bytes: 4 << 20,
            batch_lines: 131_072,
            max_record_bytes: 1 << 20,
            max_ratio: 1000,
            ratio_from_bytes: 64 << 20,
            max_decompressed_bytes: u64::MAX,
        }
    }
}

impl Limits {
    fn bounds(&self) -> framing::Bounds {
        framing::Bounds {
            batch_bytes: self.batch_bytes,
            batch_lines: self.batch_lines,
            max_record_bytes: self.max_record_bytes,
        }
    }
}

/// Why a source gave up. Messages hold a path as the operator or the folder named it, never content.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{path:?}: no such file")]
    Missing { path: PathBuf },
    #[error("{path:?}: no permission to read it")]
    Denied { path: PathBuf },
    #[error("{path:?}: {what}, not a file{}", hint(what))]
    NotAFile { path: PathBuf, what: &'static str },
    #[error("{path:?}: not a folder")]
    NotAFolder { path: PathBuf },
    #[error("{path:?}: packed with {name}, which is not read; unpack it or use gzip, zstd or bzip2")]
    Unsupported { path: PathBuf, name: &'static str },
    #[error("{path:?}: the archive ends early; nothing of it was loaded")]
    Truncated { path: PathBuf },
    #[error("{path:?}: the archive is damaged; nothing of it was loaded")]
    Corrupt { path: PathBuf },
    #[error(
        "{path:?}: unpacks to more than {bytes} bytes from {raw_bytes}, past the bound for archives; nothing of it was loaded"
    )]
    Bomb { path: PathBuf, bytes: u64, raw_bytes: u64 },
    #[error("{path:?}: changed while it was read; it waits until it is complete")]
    StillGrowing { path: PathBuf },
    #[error("{path:?}: ends before byte {offset}, which was read from it before")]
    Shorter { path: PathBuf, offset: u64 },
    #[error(
        "{path:?}: no longer begins with the {offset} bytes read from it before, and no rotated file beside it does; records may be missing, so the feed stops until it is told to start again"
    )]
    PrefixChanged { path: PathBuf, offset: u64 },
    #[error("{path:?}: reading failed: {error}")]
    Io { path: PathBuf, error: std::io::Error },
    #[error("{path:?}: the reading thread stopped early")]
    Stopped { path: PathBuf },
}

impl SourceError {
    /// A later try may well go through by itself: the file is not complete yet.
    pub fn waits(&self) -> bool {
        matches!(self, SourceError::Truncated { .. } | SourceError::StillGrowing { .. })
    }

    /// A stable name for summaries and scripts.
    pub fn code(&self) -> &'static str {
        match self {
            SourceError::Missing { .. } => "missing",
            SourceError::Denied { .. } => "no_permission",
            SourceError::NotAFile { .. } => "not_a_file",
            SourceError::NotAFolder { .. } => "not_a_folder",
            SourceError::Unsupported { .. } => "unsupported_archive",
            SourceError::Truncated { .. } => "truncated",
            SourceError::Corrupt { .. } => "corrupt",
            SourceError::Bomb { .. } => "bomb",
            SourceError::StillGrowing { .. } => "growing",
            SourceError::Shorter { .. } => "shorter",
            SourceError::PrefixChanged { .. } => "prefix_changed",
            SourceError::Io { .. } => "io",
            SourceError::Stopped { .. } => "stopped",
        }
    }

    fn io(path: &Path, error: std::io::Error) -> SourceError {
        let path = path.to_path_buf();
        match error.kind() {
            std::io::ErrorKind::NotFound => SourceError::Missing { path },
            std::io::ErrorKind::PermissionDenied => SourceError::Denied { path },
            _ => SourceError::Io { path, error },
        }
    }
}

fn hint(what: &str) -> &'static str {
    match what {
        "a named pipe" => "; pipe it into standard input and name the file -",
        "a directory" => "; name the files in it, or watch it with --watch",
        _ => "",
    }
}

/// What a source was, as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// SHA-256 of the decompressed bytes. Of few records it is as good as the records themselves:
    /// key it before it is stored.
    pub sha256: [u8; 32],
    /// Decompressed bytes.
    pub bytes: u64,
    /// Lines, an unended last one counted.
    pub lines: u64,
}

/// The batches of one file, or of standard input, in order.
pub struct Blocks {
    name: PathBuf,
    file: u32,
    opened: Option<Opened>,
    progress: Arc<Progress>,
    batches: Receiver<Message>,
    peeked: Option<RawBatch>,
    end: End,
}

enum End {
    Ahead,
    Reached(Finished),
    Failed,
}

impl Blocks {
    /// The number that batches carry as their `file`.
    pub fn numbered(mut self, file: u32) -> Blocks {
        self.file = file;
        self
    }

    /// The bytes of the first batch, which stays to be handed out; empty for an empty source.
    /// Only meant before the first [`Blocks::next`]: it looks at whatever comes next.
    pub fn head(&mut self) -> Result<&[u8], SourceError> {
        if self.peeked.is_none() {
            self.peeked = self.next()?;
        }
        Ok(self.peeked.as_ref().map_or(&[], |batch| &batch.bytes))
    }

    /// The next whole records, `None` at the end. After an error nothing of the source counts.
    #[expect(
        clippy::should_implement_trait,
        reason = "it can fail; an Iterator of Results hides that it must stop then"
    )]
    pub fn next(&mut self) -> Result<Option<RawBatch>, SourceError> {
        if let Some(batch) = self.peeked.take() {
            return Ok(Some(batch));
        }
        if !matches!(self.end, End::Ahead) {
            return Ok(None);
        }
        match self.batches.recv() {
            Ok(Message::Batch(mut batch)) => {
                batch.file = self.file;
                Ok(Some(batch))
            }
            Ok(Message::End(Ok(finished))) => {
                self.end = End::Reached(finished);
                Ok(None)
            }
            Ok(Message::End(Err(error))) => {
                self.end = End::Failed;
                Err(self.growing().unwrap_or(error))
            }
            Err(_) => {
                self.end = End::Failed;
                Err(SourceError::Stopped { path: self.name.clone() })
            }
        }
    }

    /// Compressed bytes read so far, for progress; the reader is a few batches ahead.
    pub fn raw_bytes_read(&self) -> u64 {
        self.progress.raw_bytes.load(Ordering::Relaxed)
    }

    /// Size of the file as it stands, compressed; `None` for standard input.
    pub fn total_raw_bytes(&self) -> Option<u64> {
        self.opened.as_ref().map(Opened::size)
    }

    /// The digest of the whole, reading on to the end if [`Blocks::next`] did not. Fails with
    /// [`SourceError::StillGrowing`] when the file is not what it was when it was opened.
    pub fn finish(mut self) -> Result<Finished, SourceError> {
        while self.next()?.is_some() {}
        if let Some(growing) = self.growing() {
            return Err(growing);
        }
        match self.end {
            End::Reached(finished) => Ok(finished),
            _ => Err(SourceError::Stopped { path: self.name }),
        }
    }

    fn growing(&self) -> Option<SourceError> {
        let changed = self.opened.as_ref().is_some_and(Opened::changed);
        changed.then(|| SourceError::StillGrowing { path: self.name.clone() })
    }
}

/// Reads `input` as a source, decompressing by content: for standard input and for tests.
pub fn from_reader(
    input: Box<dyn std::io::Read + Send>,
    name: &str,
    framing: Framing,
    limits: Limits,
) -> Result<Blocks, SourceError> {
    files::spawn(input, None, PathBuf::from(name), framing, limits, 0)
}

#[cfg(test)]
mod tests;
