//! Under which header row refused records stood. A record that is read by column names says nothing
//! without them, so the manifest keeps the names, encrypted: they are the sender's, not ours.

use super::{Keys, PipelineError, encrypted};
use crate::lake::batches::{Headed, Manifest};
use crate::lake::resolved::{block_of, block_text};
use crate::seal::SealError;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const HEADER: &[u8] = b"cdrveil/v1/header";

/// As a manifest holds them.
pub(super) fn seal(
    keys: &Keys,
    headers: &BTreeMap<Arc<[String]>, Vec<[u8; 16]>>,
) -> Result<Vec<Headed>, PipelineError> {
    let one = |(columns, blocks): (&Arc<[String]>, &Vec<[u8; 16]>)| {
        let names = serde_json::to_vec(&columns[..]).map_err(|_| SealError::Seal)?;
        let columns = encrypted::encrypt(keys, HEADER, &names)?;
        Ok(Headed { columns, blocks: blocks.iter().map(block_text).collect() })
    };
    headers.iter().map(one).collect()
}

/// Column names by sealed block, of the blocks that `wanted` takes.
pub(super) fn open(
    keys: &Keys,
    manifest: &Manifest,
    wanted: impl Fn(&[u8; 16]) -> bool,
    known: &mut HashMap<[u8; 16], Arc<[String]>>,
) {
    for headed in &manifest.headers {
        let blocks: Vec<[u8; 16]> = headed.blocks.iter().filter_map(|b| block_of(b)).filter(&wanted).collect();
        if blocks.is_empty() {
            continue;
        }
        let names = encrypted::decrypt(keys, HEADER, &headed.columns);
        let Some(names) = names.and_then(|n| serde_json::from_slice::<Vec<String>>(&n).ok()) else { continue };
        let names: Arc<[String]> = names.into();
        known.extend(blocks.into_iter().map(|block| (block, Arc::clone(&names))));
    }
}
