//! Tells whether a file that comes under a new name was read before, as a whole or in part.

use std::io::Read;
use std::path::Path;

use memchr::memchr_iter;
use sha2::{Digest, Sha256};

use crate::source::append::{Keyed, Position};
use crate::source::files::{Opened, Stream};
use crate::source::{Limits, SourceError};

const CHUNK: usize = 256 * 1024;
/// A shorter beginning may be a header, which files of one kind share.
const LINES_MIN: usize = 2;

/// What a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recognised {
    /// Where all of it was read to.
    pub end: Position,
    /// Index of the position that it continues, the furthest if several do.
    pub known: Option<usize>,
    /// It is an archive, so it does not grow.
    pub packed: bool,
}

/// Reads the file once and compares its beginnings with what `known` positions cover.
pub fn recognise(path: &Path, known: &[Position], keyed: &Keyed, limits: Limits) -> Result<Recognised, SourceError> {
    let opened = Opened::open(path)?;
    let inode = opened.identity().inode;
    let mut stream = Stream::new(Box::new(opened.file), path, limits, Default::default())?;
    let mut ahead: Vec<usize> = (0..known.len()).filter(|i| known[*i].offset > 0).collect();
    ahead.sort_by_key(|i| std::cmp::Reverse(known[*i].offset));
    let (mut hash, mut offset, mut lines, mut found) = (Sha256::new(), 0u64, 0usize, None);
    let mut chunk = vec![0; CHUNK];
    loop {
        let next = ahead.last().map_or(u64::MAX, |i| known[*i].offset);
        let most = CHUNK.min(usize::try_from(next - offset).unwrap_or(usize::MAX));
        let read = stream.read(&mut chunk[..most]).map_err(|error| stream.explain(error))?;
        if read == 0 {
            let end = Position { prefix: keyed(hash.finalize().into()), offset, inode };
            return Ok(Recognised { end, known: found, packed: stream.is_compressed() });
        }
        hash.update(&chunk[..read]);
        lines += memchr_iter(b'\n', &chunk[..read]).count();
        offset += read as u64;
        while let Some(i) = ahead.pop_if(|i| known[*i].offset == offset) {
            if lines >= LINES_MIN && known[i].prefix == keyed(hash.clone().finalize().into()) {
                found = Some(i);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyed() -> Keyed {
        Box::new(|digest| digest.map(|byte| byte ^ 0x5A))
    }

    fn position(text: &str) -> Position {
        let digest: [u8; 32] = Sha256::digest(text).into();
        Position { prefix: keyed()(digest), offset: text.len() as u64, inode: 7 }
    }

    #[test]
    fn a_file_is_known_by_its_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "1\n2\n3\n").unwrap();
        let known = [position("1\n"), position("1\n2\n"), position("9\n9\n"), position("1\n2\n3\n4\n"), position("")];
        let found = recognise(&path, &known, &keyed(), Limits::default()).unwrap();
        assert_eq!(found.known, Some(1), "one line may be a header, the third and fourth are of other files");
        assert_eq!((found.end.prefix, found.end.offset), (position("1\n2\n3\n").prefix, 6));
        assert!(!found.packed);
        let all = [position("1\n2\n3\n"), position("1\n2\n")];
        assert_eq!(recognise(&path, &all, &keyed(), Limits::default()).unwrap().known, Some(0));
        assert_eq!(recognise(&path, &[], &keyed(), Limits::default()).unwrap().known, None);
    }
}
