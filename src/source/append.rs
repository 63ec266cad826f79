//! A file that grows for ever and is rotated away under its reader (Asterisk's `Master.csv`).
//!
//! The position is (keyed digest of the bytes delivered, their count): it finds the file again under
//! whatever name it has now, packed or not. Files follow each other without a gap: the one that was
//! being read, wherever the rotation put it; then every newer rotated one; then the live one. Both
//! ways of rotation work, a rename with a new file and a copy with truncation in place. Rotated
//! files lie in the same folder and are named as logrotate names them: `NAME.1`, `NAME-20261122`,
//! `STEM-20261122.EXT`, with `.gz`, `.zst` or `.bz2` after it or not.
//!
//! An unended last line waits, until its file has a successor with something in it: until then the
//! writer may still hold the old file. Not seen: two rotations between two looks when the file that
//! was read was removed meanwhile.

mod family;
pub mod recognise;

pub use crate::source::append::family::lives;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use memchr::memchr_iter;
use sha2::{Digest, Sha256};

use crate::record::raw::{Framing, RawBatch};
use crate::source::append::family::rotated;
use crate::source::files::{Identity, Opened, Stream};
use crate::source::framing::Framer;
use crate::source::{Limits, SourceError};

/// First bytes of each file that are kept, for its header line.
const HEAD_BYTES: usize = 64 * 1024;
/// First bytes that are compared again whenever the file changed, to tell a file that was truncated
/// and grew again from one that merely grew.
const GUARD_BYTES: usize = 4096;

/// Keys a digest: of few records, a plain digest is as good as the records.
pub type Keyed = Box<dyn Fn([u8; 32]) -> [u8; 32] + Send>;

/// How far a feed got. All records before it were delivered, none after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Keyed SHA-256 of the first `offset` bytes.
    pub prefix: [u8; 32],
    /// End of the last record delivered, in decompressed bytes.
    pub offset: u64,
    /// Inode of the file at that time. It only decides between files that begin alike.
    pub inode: u64,
}

/// One growing file and what became of it.
pub struct Append {
    path: PathBuf,
    keyed: Keyed,
    framing: Framing,
    limits: Limits,
    position: Option<Position>,
    part: Option<Part>,
    parts: u32,
}

/// One file, live or rotated away. Holds clear bytes, so it has no `Debug`.
struct Part {
    path: PathBuf,
    stream: Stream,
    framer: Framer,
    hash: Sha256,
    head: Vec<u8>,
    /// The state of the file when it was last compared.
    seen: Identity,
    /// It has a successor: what is left of it, ended or not, is all there will be.
    last: bool,
}

impl Append {
    /// Goes on from `position`, or from the start of the file at `path` without one. The file need
    /// not exist yet. [`SourceError::PrefixChanged`]: neither it nor a rotated file beside it begins
    /// with what was delivered, so records may be missing; only a start without position goes on.
    pub fn resume(
        path: &Path,
        position: Option<Position>,
        keyed: Keyed,
        framing: Framing,
        limits: Limits,
    ) -> Result<Append, SourceError> {
        let path = path.to_path_buf();
        let mut append = Append { path, keyed, framing, limits, position, part: None, parts: 0 };
        append.part = append.locate()?;
        Ok(append)
    }

    /// The next whole records, `None` when there are none now; ask again later. `file` of a batch
    /// counts the files followed, `offset` and `first_line` are of its own file.
    ///
    /// After an error the next call finds its place again from the position.
    #[expect(clippy::should_implement_trait, reason = "it goes on after None, and it can fail")]
    pub fn next(&mut self) -> Result<Option<RawBatch>, SourceError> {
        let batch = self.advance();
        if batch.is_err() {
            self.part = None;
        }
        batch
    }

    /// Where the delivered records end: store it with them. `None` before the first ones.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// The start of the file that is read first, by its inode alone: stored at once, it finds the file
    /// again if it is rotated away before its first records are. `None` while there is no file.
    pub fn beginning(&self) -> Option<Position> {
        let part = self.part.as_ref().filter(|part| self.position.is_none() && part.framer.offset() == 0);
        part.map(|part| part.position(&self.keyed))
    }

    /// Bytes read after the last record delivered: a record whose end has not been written yet.
    pub fn pending(&self) -> usize {
        self.part.as_ref().map_or(0, |part| part.framer.pending())
    }

    /// The first bytes (at most 64 KiB) of the file that the last batch came from.
    pub fn head(&self) -> &[u8] {
        self.part.as_ref().map_or(&[], |part| &part.head)
    }

    fn advance(&mut self) -> Result<Option<RawBatch>, SourceError> {
        loop {
            let Some(part) = &mut self.part else {
                self.part = self.locate()?;
                match self.part {
                    Some(_) => continue,
                    None => return Ok(None),
                }
            };
            if part.was_rewritten() {
                self.part = None;
                continue;
            }
            if let Some(mut batch) = part.next()? {
                batch.file = self.parts;
                self.position = Some(part.position(&self.keyed));
                return Ok(Some(batch));
            }
            let finished = part.last;
            match self.successor()? {
                Some(next) if finished => {
                    self.part = Some(next);
                    self.parts += 1;
                }
                // Once more to the end, now that nothing can be added to it.
                Some(_) => self.part.iter_mut().for_each(|part| part.last = true),
                None => return Ok(None),
            }
        }
    }

    /// The file that the position is in, opened there.
    fn locate(&self) -> Result<Option<Part>, SourceError> {
        let Some(position) = self.position else {
            return self.open(&self.path, 0);
        };
        let live = self.open_at(&self.path, position)?;
        if live.as_ref().is_some_and(|part| part.seen.inode == position.inode) {
            return Ok(live);
        }
        let mut newest = None;
        for path in rotated(&self.path)? {
            if let Some(part) = self.open_at(&path, position)? {
                if part.seen.inode == position.inode {
                    return Ok(Some(part));
                }
                newest = Some(part);
            }
        }
        match newest.or(live) {
            Some(part) => Ok(Some(part)),
            None => Err(SourceError::PrefixChanged { path: self.path.clone(), offset: position.offset }),
        }
    }

    /// The start of the file that follows the current one; `None` while the current one is live or
    /// its successor is empty.
    fn successor(&self) -> Result<Option<Part>, SourceError> {
        let Some(part) = &self.part else { return Ok(None) };
        if !part.is_elsewhere(&self.path) {
            return Ok(None);
        }
        if let Some(next) = self.rotated_after(part)? {
            return self.open(&next, 0);
        }
        let Some(live) = self.open(&self.path, 0)? else { return Ok(None) };
        // Rotated once more between the two looks: then that file comes first.
        if let Some(next) = self.rotated_after(part)? {
            return self.open(&next, 0);
        }
        // Copied and not truncated yet: what it holds was, or will be, read from the copy.
        if part.is_copy_of(&self.path) {
            return Ok(None);
        }
        Ok(Some(live).filter(|live| live.seen.size > 0))
    }

    /// The oldest rotated file that is newer than `part`.
    fn rotated_after(&self, part: &Part) -> Result<Option<PathBuf>, SourceError> {
        let family = rotated(&self.path)?;
        let mut at =
            family.iter().position(|path| std::fs::metadata(path).is_ok_and(|m| part.is_same_file(&Identity::of(&m))));
        // Not there under its inode: packed since, or copied. Hashing them all can be long, so it
        // waits until there is a new file to go on to.
        let live_has_some = std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() > 0);
        if at.is_none() && live_has_some && part.framer.offset() > 0 {
            let end = part.position(&self.keyed);
            for (index, path) in family.iter().enumerate() {
                if self.open_at(path, end)?.is_some() {
                    at = Some(index);
                }
            }
        }
        Ok(at.and_then(|at| family.into_iter().nth(at + 1)))
    }

    /// `None` when the file does not begin with what the position covers.
    fn open_at(&self, path: &Path, position: Position) -> Result<Option<Part>, SourceError> {
        match self.open(path, position.offset) {
            Ok(part) => Ok(part.filter(|part| part.position(&self.keyed).prefix == position.prefix)),
            Err(SourceError::Shorter { .. } | SourceError::Truncated { .. } | SourceError::Corrupt { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `None` when there is no such file.
    fn open(&self, path: &Path, offset: u64) -> Result<Option<Part>, SourceError> {
        match Part::open(path, offset, self.framing, self.limits) {
            Err(SourceError::Missing { .. }) => Ok(None),
            other => other.map(Some),
        }
    }
}

impl Part {
    fn open(path: &Path, offset: u64, framing: Framing, limits: Limits) -> Result<Part, SourceError> {
        let opened = Opened::open(path)?;
        let seen = opened.identity();
        let mut stream = Stream::new(Box::new(opened.file), path, limits, Default::default())?;
        if !stream.is_compressed() && seen.size < offset {
            return Err(SourceError::Shorter { path: path.to_path_buf(), offset });
        }
        let (mut hash, mut head, mut lines, mut left) = (Sha256::new(), Vec::new(), 0, offset);
        let mut chunk = vec![0; if offset == 0 { 0 } else { HEAD_BYTES }];
        while left > 0 {
            let most = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = stream.read(&mut chunk[..most]).map_err(|error| stream.explain(error))?;
            if read == 0 {
                return Err(SourceError::Shorter { path: path.to_path_buf(), offset });
            }
            hash.update(&chunk[..read]);
            lines += memchr_iter(b'\n', &chunk[..read]).count() as u64;
            head.extend_from_slice(&chunk[..read.min(HEAD_BYTES - head.len())]);
            left -= read as u64;
        }
        let framer = Framer::at(framing, limits.bounds(), offset, lines);
        Ok(Part { path: path.to_path_buf(), stream, framer, hash, head, seen, last: false })
    }

    fn next(&mut self) -> Result<Option<RawBatch>, SourceError> {
        let batch = self.framer.next(&mut self.stream, self.last).map_err(|error| self.stream.explain(error))?;
        if let Some(batch) = &batch {
            self.hash.update(&batch.bytes);
            let room = HEAD_BYTES - self.head.len();
            self.head.extend_from_slice(&batch.bytes[..batch.bytes.len().min(room)]);
        }
        Ok(batch)
    }

    fn position(&self, keyed: &Keyed) -> Position {
        let prefix = keyed(self.hash.clone().finalize().into());
        Position { prefix, offset: self.framer.offset(), inode: self.seen.inode }
    }

    fn is_same_file(&self, other: &Identity) -> bool {
        (self.seen.device, self.seen.inode) == (other.device, other.inode)
    }

    /// `path` leads to another file than this one. While it leads nowhere, this one is the live one.
    fn is_elsewhere(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|metadata| !self.is_same_file(&Identity::of(&metadata)))
    }

    /// `path` begins as this one does. One line in common may be a header, and says nothing.
    fn is_copy_of(&self, path: &Path) -> bool {
        let head = &self.head[..self.head.len().min(GUARD_BYTES)];
        memchr_iter(b'\n', head).count() > 1 && begins_with(path, head).unwrap_or(false)
    }

    /// The file lost bytes that were read from it, or begins with others: truncated in place.
    fn was_rewritten(&mut self) -> bool {
        let Ok(metadata) = std::fs::metadata(&self.path) else { return false };
        let now = Identity::of(&metadata);
        // Another file under this name is a rotation, which the open file outlives.
        if !self.is_same_file(&now) || now == self.seen || self.stream.is_compressed() {
            return false;
        }
        let guarded = self.head.len().min(GUARD_BYTES);
        let kept = begins_with(&self.path, &self.head[..guarded]).unwrap_or(true);
        self.seen = now;
        now.size < self.framer.offset() + self.framer.pending() as u64 || !kept
    }
}

fn begins_with(path: &Path, head: &[u8]) -> std::io::Result<bool> {
    let mut bytes = vec![0; head.len()];
    match File::open(path)?.read_exact(&mut bytes) {
        Ok(()) => Ok(bytes == head),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
