//! What was released of one day before, and which tally files each vintage took in.

use super::StewardError;
use crate::lake::compact::output::run_of;
use crate::lake::delta::{DataFile, Table};
use crate::lake::{LakeError, parquet};
use crate::record::time::Day;
use crate::release::rules::Audience;
use crate::release::table::{self, Frozen};
use crate::release::window::Published;
use crate::tally::cell::{Key, Sum};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

/// Key in the footer of a compacted tally file: digests of the files that it was made of, and of
/// those that they were made of, 16 hex digits each.
pub const INPUTS: &str = "cdrveil.inputs";

/// A tally file under every name that a vintage may have known it, or a part of it, by.
pub struct TallyFile<'a> {
    pub file: &'a DataFile,
    /// Its own first.
    pub digests: Vec<u64>,
}

impl<'a> TallyFile<'a> {
    pub fn read(file: &'a DataFile) -> Result<TallyFile<'a>, StewardError> {
        let mut digests = vec![digest(&file.path)];
        if run_of(&file.path).is_some() {
            let wrong = || LakeError::Table {
                path: file.path.clone(),
                reason: "a compacted tally file does not say what it was made of".into(),
            };
            let text = parquet::footer_text(&file.path, INPUTS)?.ok_or_else(wrong)?;
            let (words, rest) = text.as_bytes().as_chunks::<16>();
            let number = |w: &[u8; 16]| u64::from_str_radix(std::str::from_utf8(w).ok()?, 16).ok();
            let inputs = words.iter().map(number).collect::<Option<Vec<u64>>>().ok_or_else(wrong)?;
            if !rest.is_empty() || inputs.is_empty() {
                return Err(wrong().into());
            }
            digests.extend(inputs);
        }
        Ok(TallyFile { file, digests })
    }
}

/// The value of `INPUTS` for a file made of these.
pub fn inputs_text<'a>(files: impl Iterator<Item = &'a TallyFile<'a>>) -> String {
    let digests: BTreeSet<u64> = files.flat_map(|f| f.digests.iter().copied()).collect();
    digests.iter().map(|d| format!("{d:016x}")).collect()
}

/// What the release table says of one day.
#[derive(Default)]
pub struct History {
    /// By hour: the latest vintage, and by tally file the vintage that took it in.
    windows: HashMap<i32, (u32, HashMap<u64, u32>)>,
    cells: HashMap<(Audience, Key), Published>,
    /// Tally files on which nothing is left to decide.
    pub settled: HashSet<u64>,
}

impl History {
    pub fn read(table: &Table, day: Day) -> Result<History, StewardError> {
        let mut history = History::default();
        let (day, wanted) = (Some(day.to_string()), |f: &DataFile, c: &str| f.partition.get(c).cloned().flatten());
        for file in table.files()?.iter().filter(|f| wanted(f, "event_day") == day) {
            let name = wanted(file, "audience");
            for audience in Audience::ALL.into_iter().filter(|a| Some(a.name()) == name.as_deref()) {
                let wrong = |source| StewardError::Release { path: file.path.clone(), source };
                let batches = parquet::read_file(&file.path)?;
                history.settled.extend(table::settled(&batches).map_err(wrong)?);
                let windows = table::windows(&batches, audience).map_err(wrong)?;
                windows.iter().for_each(|w| history.take(w));
            }
        }
        Ok(history)
    }

    fn take(&mut self, frozen: &Frozen) {
        let window = &frozen.window;
        let (latest, inputs) = self.windows.entry(window.hour).or_default();
        *latest = (*latest).max(window.vintage);
        inputs.extend(frozen.inputs.iter().map(|d| (*d, window.vintage)));
        for cell in &window.cells {
            let published = self.cells.entry((window.audience, cell.key)).or_default();
            if window.vintage > published.counts {
                published.counts = window.vintage;
                published.parties = [cell.a_parties, cell.b_parties.unwrap_or(0)];
            }
            for sum in Sum::ALL.into_iter().filter(|s| cell.sums[*s as usize].is_some()) {
                let last = &mut published.sums[sum as usize];
                *last = (*last).max(window.vintage);
            }
        }
    }

    /// Hours of which anything was released.
    pub fn hours(&self) -> impl Iterator<Item = i32> {
        self.windows.keys().copied()
    }

    /// The latest vintage of a window; 0 before the first.
    pub fn vintage(&self, hour: i32) -> u32 {
        self.windows.get(&hour).map_or(0, |w| w.0)
    }

    /// The vintages of a window that took in the file or a part of it.
    pub fn tiers(&self, hour: i32, file: &TallyFile<'_>) -> BTreeSet<u32> {
        let known = self.windows.get(&hour);
        known.iter().flat_map(|w| file.digests.iter().filter_map(|d| w.1.get(d).copied())).collect()
    }

    /// The vintage that took in the file's records of this hour.
    pub fn tier(&self, hour: i32, file: &TallyFile<'_>) -> Result<Option<u32>, StewardError> {
        let tiers = self.tiers(hour, file);
        if tiers.len() > 1 {
            return Err(StewardError::Mixed { path: file.file.path.clone() });
        }
        Ok(tiers.first().copied())
    }

    pub fn published(&self, audience: Audience, key: &Key) -> Published {
        self.cells.get(&(audience, *key)).copied().unwrap_or_default()
    }

    pub fn new_inputs(&self, hour: i32, files: &[TallyFile<'_>]) -> Vec<u64> {
        let mut new: Vec<_> = files.iter().filter(|f| self.tiers(hour, f).is_empty()).map(|f| f.digests[0]).collect();
        new.sort_unstable();
        new
    }
}

/// Names a tally file in eight bytes; file names are random and never used again.
pub fn digest(path: &Path) -> u64 {
    let hash = Sha256::digest(path.file_name().unwrap_or_default().as_encoded_bytes());
    u64::from_be_bytes(hash[..8].try_into().expect("a digest has 32 bytes"))
}
