//! Halves of calls between batches: joined in order, remembered by position, read again after a
//! restart (architecture 4).

use super::{Feed, Keys, PipelineError, encrypted};
use crate::decode::join::{self, Joiner};
use crate::lake::batches::OpenHalf;
use crate::record::decoded::Decoded;
use crate::record::raw::RawBatch;
use crate::seal::SealError;
use crate::source;
use std::path::{Path, PathBuf};

const QUARTER_MS: i64 = 15 * 60 * 1000;
const PATH: &[u8] = b"cdrveil/v1/open-half-path";

/// The joiner of a feed, and where its open halves can be read again.
#[derive(Default)]
pub struct Halves {
    joiner: Joiner,
    /// Paths by the file number that batches carry.
    paths: Vec<PathBuf>,
    /// Open halves as of the last manifest.
    committed: u64,
    staged: u64,
    /// Halves of the last manifest that are gone for good.
    pub lost: u64,
}

impl Halves {
    /// The number for batches of the file at `path`.
    pub fn number(&mut self, path: &Path) -> u32 {
        if self.paths.last().map(PathBuf::as_path) != Some(path) {
            self.paths.push(path.to_owned());
        }
        (self.paths.len() - 1) as u32
    }

    /// Joins what a batch completes; how many halves went away into rows.
    pub fn absorb(&mut self, decoded: Decoded, now_ms: i64) -> (Decoded, u64) {
        // To the quarter of an hour: the position of a half stands in the lake's batch log.
        let joined = self.joiner.absorb(decoded, now_ms.div_euclid(QUARTER_MS) * QUARTER_MS);
        (joined.decoded, joined.joined)
    }

    /// Gives up halves that arrived before `before_ms`.
    pub fn expire(&mut self, before_ms: i64) -> join::Expired {
        self.joiner.expire(before_ms)
    }

    /// Reads the open halves of the last manifest again.
    pub fn restore(&mut self, open: &[OpenHalf], feed: &Feed, keys: &Keys, forget: bool) -> Result<(), PipelineError> {
        *self = Halves { committed: open.len() as u64, ..Halves::default() };
        let mut missing = 0;
        for half in open {
            if self.read_again(half, feed, keys).is_none() {
                missing += 1;
            }
        }
        self.lost = missing as u64;
        match missing {
            0 => Ok(()),
            _ if forget => Ok(()),
            count => Err(PipelineError::HalvesLost { feed: feed.name.clone(), count }),
        }
    }

    fn read_again(&mut self, half: &OpenHalf, feed: &Feed, keys: &Keys) -> Option<()> {
        let path = open_path(keys, &half.path)?;
        let bytes = source::read_record(&path, half.offset, usize::try_from(half.bytes).ok()?).ok()?;
        let decoder = feed.mapping.open(&bytes).ok()?;
        let file = self.number(&path);
        let before = self.joiner.len();
        let mut batch = RawBatch::of_file(bytes, half.offset, half.line);
        batch.file = file;
        self.joiner.absorb(decoder.decode(batch), half.seen_ms);
        (self.joiner.len() == before + 1).then_some(())
    }

    /// Open halves as of the last manifest.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// What the next manifest says of the halves that wait now.
    pub fn to_commit(&mut self, keys: &Keys) -> Result<(Vec<OpenHalf>, u64), PipelineError> {
        let open = self.joiner.open();
        self.staged = open.len() as u64;
        let known = |h: &join::OpenHalf| {
            Ok(OpenHalf {
                path: seal_path(keys, &self.paths[h.file as usize])?,
                offset: h.offset,
                bytes: u64::from(h.len),
                line: h.line,
                seen_ms: h.arrived_ms,
            })
        };
        Ok((open.iter().map(known).collect::<Result<_, SealError>>()?, self.staged))
    }

    pub fn took_effect(&mut self) {
        self.committed = self.staged;
        self.lost = 0;
    }
}

/// A path under the site's file key: a file's name may say more than it should. One that cannot be
/// sealed stops the commit, as its half could not be found again.
fn seal_path(keys: &Keys, path: &Path) -> Result<String, SealError> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    encrypted::encrypt(keys, PATH, absolute.as_os_str().as_encoded_bytes())
}

fn open_path(keys: &Keys, sealed: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    Some(PathBuf::from(std::ffi::OsString::from_vec(encrypted::decrypt(keys, PATH, sealed)?)))
}
