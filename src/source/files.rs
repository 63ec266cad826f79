//! Opening a file and reading it ahead in a thread of its own.

use std::fs::{File, Metadata};
use std::io::{BufReader, Cursor, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Sender, bounded};
use memchr::memchr_iter;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::record::raw::{Framing, RawBatch};
use crate::source::compression::{Compression, MAGIC_BYTES, is_window_too_large};
use crate::source::framing::Framer;
use crate::source::{Blocks, End, Finished, Limits, SourceError};

/// Batches that wait between the reading thread and the caller.
const READ_AHEAD: usize = 2;
/// Buffer before the decompressor.
const RAW_BUFFER: usize = 256 * 1024;

/// Opens the file at `path` and begins to read it.
pub fn open(path: &Path, framing: Framing, limits: Limits) -> Result<Blocks, SourceError> {
    open_at(path, framing, limits, 0)
}

/// As [`open`], handing out only what stands from `offset` (of the decompressed bytes, the start of
/// a record) on. The bytes before it are read all the same, so that line numbers and the digest of
/// [`Blocks::finish`] are those of the whole file.
pub fn open_at(path: &Path, framing: Framing, limits: Limits, offset: u64) -> Result<Blocks, SourceError> {
    let opened = Opened::open(path)?;
    let input = opened.file.try_clone().map_err(|error| SourceError::io(path, error))?;
    spawn(Box::new(input), Some(opened), path.to_path_buf(), framing, limits, offset)
}

/// Reads one record again: `len` bytes at `offset` of the decompressed file. An archive is
/// decompressed from its start.
pub fn read_record(path: &Path, offset: u64, len: usize) -> Result<Vec<u8>, SourceError> {
    let fail = |error| SourceError::io(path, error);
    let mut file = Opened::open(path)?.file;
    let plain = Compression::detect(&head(&mut file).map_err(fail)?) == Compression::Plain;
    file.seek(SeekFrom::Start(if plain { offset } else { 0 })).map_err(fail)?;
    let mut bytes = Vec::new();
    if plain {
        file.take(len as u64).read_to_end(&mut bytes).map_err(fail)?;
    } else {
        let mut stream = Stream::new(Box::new(file), path, Limits::default(), Arc::default())?;
        skip(&mut stream, offset, &mut Sha256::new())?;
        stream.by_ref().take(len as u64).read_to_end(&mut bytes).map_err(|error| stream.explain(error))?;
    }
    if bytes.len() < len {
        return Err(SourceError::Shorter { path: path.to_path_buf(), offset: offset + len as u64 });
    }
    Ok(bytes)
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    /// Last change of the content, nanoseconds since 1970.
    pub(crate) modified_ns: i128,
}

impl Identity {
    pub(crate) fn of(metadata: &Metadata) -> Identity {
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified_ns: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        }
    }
}

/// An open regular file and what it was when it was opened.
pub(crate) struct Opened {
    path: PathBuf,
    pub(crate) file: File,
    identity: Identity,
}

impl Opened {
    pub(crate) fn open(path: &Path) -> Result<Opened, SourceError> {
        let fail = |error| SourceError::io(path, error);
        // Without NONBLOCK, opening a named pipe would wait for its writer; on files it changes nothing.
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let file = File::options().read(true).custom_flags(flags).open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        if let Some(what) = not_a_file(&metadata) {
            return Err(SourceError::NotAFile { path: path.to_path_buf(), what });
        }
        Ok(Opened { path: path.to_path_buf(), file, identity: Identity::of(&metadata) })
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    pub(crate) fn size(&self) -> u64 {
        self.identity.size
    }

    /// The open file changed, or its path now leads to another one. A path that is gone is no
    /// change: the bytes that were read are all there were.
    pub(crate) fn changed(&self) -> bool {
        let same = |metadata: Metadata| Identity::of(&metadata) == self.identity;
        let path_same = match std::fs::metadata(&self.path) {
            Ok(metadata) => same(metadata),
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        !(path_same && self.file.metadata().is_ok_and(same))
    }
}

fn not_a_file(metadata: &Metadata) -> Option<&'static str> {
    let kind = metadata.file_type();
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("a directory")
    } else if kind.is_fifo() {
        Some("a named pipe")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        Some("a device")
    }
}

/// What the reading thread says.
pub(crate) enum Message {
    Batch(RawBatch),
    End(Result<Finished, SourceError>),
}

/// Shared with the raw end of the reading thread.
#[derive(Default)]
pub(crate) struct Progress {
    pub(crate) raw_bytes: AtomicU64,
    /// Why the raw end failed: the decompressors do not keep that apart from damage.
    failed: OnceLock<std::io::Error>,
}

/// Starts the reading thread over `input`, of which the first `offset` decompressed bytes are
/// hashed and not handed out.
pub(crate) fn spawn(
    input: Box<dyn Read + Send>,
    opened: Option<Opened>,
    name: PathBuf,
    framing: Framing,
    limits: Limits,
    offset: u64,
) -> Result<Blocks, SourceError> {
    let progress = Arc::new(Progress::default());
    let (sender, batches) = bounded(READ_AHEAD);
    let thread = Reading { progress: progress.clone(), name: name.clone(), framing, limits, offset };
    std::thread::Builder::new()
        .name("source".into())
        .spawn(move || {
            let end = thread.run(input, &sender);
            if let Some(end) = end.transpose() {
                // A caller that left needs no answer.
                let _ = sender.send(Message::End(end));
            }
        })
        .map_err(|error| SourceError::io(&name, error))?;
    Ok(Blocks { name, file: 0, opened, progress, batches, peeked: None, end: End::Ahead })
}

struct Reading {
    progress: Arc<Progress>,
    name: PathBuf,
    framing: Framing,
    limits: Limits,
    offset: u64,
}

impl Reading {
    /// `None` when the caller left.
    fn run(self, input: Box<dyn Read + Send>, sender: &Sender<Message>) -> Result<Option<Finished>, SourceError> {
        let mut stream = Stream::new(input, &self.name, self.limits, self.progress.clone())?;
        let mut hash = Sha256::new();
        let skipped_lines = skip(&mut stream, self.offset, &mut hash)?;
        let mut framer = Framer::at(self.framing, self.limits.bounds(), self.offset, skipped_lines);
        while let Some(batch) = framer.next(&mut stream, true).map_err(|error| stream.explain(error))? {
            hash.update(&batch.bytes);
            if sender.send(Message::Batch(batch)).is_err() {
                return Ok(None);
            }
        }
        Ok(Some(Finished { sha256: hash.finalize().into(), bytes: framer.offset(), lines: framer.lines() }))
    }
}

/// The first bytes of `input`, as many as compression is told by.
fn head(input: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(MAGIC_BYTES);
    input.take(MAGIC_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Reads `bytes` bytes into `hash`; the lines that ended in them.
fn skip(stream: &mut Stream, bytes: u64, hash: &mut Sha256) -> Result<u64, SourceError> {
    let mut chunk = Zeroizing::new(vec![0; if bytes == 0 { 0 } else { RAW_BUFFER }]);
    let (mut left, mut lines) = (bytes, 0);
    while left > 0 {
        let most = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = stream.read(&mut chunk[..most]).map_err(|error| stream.explain(error))?;
        if read == 0 {
            return Err(SourceError::Shorter { path: stream.name.clone(), offset: bytes });
        }
        hash.update(&chunk[..read]);
        lines += memchr_iter(b'\n', &chunk[..read]).count() as u64;
        left -= read as u64;
    }
    Ok(lines)
}

/// The decompressed bytes of one input, within the bounds for archives.
pub(crate) struct Stream {
    name: PathBuf,
    inner: Box<dyn Read + Send>,
    compressed: bool,
    bytes: u64,
    limits: Limits,
    progress: Arc<Progress>,
    bomb: bool,
}

impl Stream {
    pub(crate) fn new(
        input: Box<dyn Read + Send>,
        name: &Path,
        limits: Limits,
        progress: Arc<Progress>,
    ) -> Result<Stream, SourceError> {
        let fail = |error| SourceError::io(name, error);
        let mut counted = Counted { input, progress: progress.clone() };
        let head = head(&mut counted).map_err(fail)?;
        let compression = Compression::detect(&head);
        let raw = BufReader::with_capacity(RAW_BUFFER, Cursor::new(head).chain(counted));
        if let Compression::Unsupported(archive) = compression {
            return Err(SourceError::Unsupported { path: name.to_path_buf(), name: archive });
        }
        let inner = compression.reader(raw).map_err(fail)?;
        let compressed = compression != Compression::Plain;
        Ok(Stream { name: name.to_path_buf(), inner, compressed, bytes: 0, limits, progress, bomb: false })
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.compressed
    }

    fn is_bomb(&self) -> bool {
        let raw = self.progress.raw_bytes.load(Ordering::Relaxed);
        let ratio = self.bytes > self.limits.ratio_from_bytes && self.bytes / self.limits.max_ratio.max(1) > raw;
        self.compressed && (ratio || self.bytes > self.limits.max_decompressed_bytes)
    }

    /// What a failed read was.
    pub(crate) fn explain(&self, error: std::io::Error) -> SourceError {
        let path = self.name.clone();
        if self.bomb {
            let raw_bytes = self.progress.raw_bytes.load(Ordering::Relaxed);
            return SourceError::Bomb { path, bytes: self.bytes, raw_bytes };
        }
        if let Some(failed) = self.progress.failed.get() {
            return SourceError::io(&path, copy_of(failed));
        }
        match error.kind() {
            _ if !self.compressed => SourceError::io(&path, error),
            ErrorKind::UnexpectedEof => SourceError::Truncated { path },
            _ if is_window_too_large(&error) => {
                SourceError::Unsupported { path, name: "Zstandard with a window above 128 MiB" }
            }
            _ => SourceError::Corrupt { path },
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(into)?;
        self.bytes += read as u64;
        if self.is_bomb() {
            self.bomb = true;
            return Err(ErrorKind::FileTooLarge.into());
        }
        Ok(read)
    }
}

/// Counts raw bytes, hides signals, and remembers why it failed.
struct Counted {
    input: Box<dyn Read + Send>,
    progress: Arc<Progress>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.input.read(into) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let _ = self.progress.failed.set(copy_of(&error));
                    return Err(error);
                }
                Ok(read) => {
                    self.progress.raw_bytes.fetch_add(read as u64, Ordering::Relaxed);
                    return Ok(read);
                }
            }
        }
    }
}

/// The same error again; one of the operating system keeps its number.
fn copy_of(error: &std::io::Error) -> std::io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), std::io::Error::from_raw_os_error)
}
