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
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

/// Key in the footer of a compacted tally file: the files that it was made of, and those that they
/// were made of, each as its digest (16 hex digits) and the hours of the day that it had records of
/// (6 hex digits, bit n for hour n).
pub const INPUTS: &str = "cdrveil.inputs";

/// Hours of a day, bit n for hour n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hours(u32);

impl Hours {
    const ALL: Hours = Hours(0xff_ffff);

    /// `hour` counts from 1970-01-01 UTC.
    pub fn holds(self, hour: i32) -> bool {
        self.0 >> hour.rem_euclid(24) & 1 == 1
    }

    pub fn add(&mut self, hour: i32) {
        self.0 |= 1 << hour.rem_euclid(24);
    }
}

/// A tally file under every name that a vintage may have known it, or a part of it, by.
pub struct TallyFile<'a> {
    pub file: &'a DataFile,
    /// Its own first; the hours of which this name speaks.
    names: Vec<(u64, Hours)>,
}

impl<'a> TallyFile<'a> {
    pub fn read(file: &'a DataFile) -> Result<TallyFile<'a>, StewardError> {
        let mut names = vec![(digest(&file.path), Hours::ALL)];
        if run_of(&file.path).is_some() {
            let wrong = || LakeError::Table {
                path: file.path.clone(),
                reason: "a compacted tally file does not say what it was made of".into(),
            };
            let text = parquet::footer_text(&file.path, INPUTS)?.ok_or_else(wrong)?;
            let (words, rest) = text.as_bytes().as_chunks::<22>();
            let inputs = words.iter().map(name).collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
            if !rest.is_empty() || inputs.is_empty() {
                return Err(wrong().into());
            }
            names.extend(inputs);
        }
        Ok(TallyFile { file, names })
    }
}

fn name(word: &[u8; 22]) -> Option<(u64, Hours)> {
    let (digest, hours) = std::str::from_utf8(word).ok()?.split_at_checked(16)?;
    Some((u64::from_str_radix(digest, 16).ok()?, Hours(u32::from_str_radix(hours, 16).ok()?)))
}

/// The value of `INPUTS` for a file made of these, each with the hours that it has records of.
pub fn inputs_text<'a>(files: impl Iterator<Item = (&'a TallyFile<'a>, Hours)>) -> String {
    let mut names: BTreeMap<u64, u32> = BTreeMap::new();
    for (file, hours) in files {
        names.insert(file.names[0].0, hours.0);
        names.extend(file.names[1..].iter().map(|(digest, hours)| (*digest, hours.0)));
    }
    names.iter().map(|(digest, hours)| format!("{digest:016x}{hours:06x}")).collect()
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

    /// The latest vintage of a window; 0 before the first.
    pub fn vintage(&self, hour: i32) -> u32 {
        self.windows.get(&hour).map_or(0, |w| w.0)
    }

    /// The vintages of a window that took in the file, or a part of it that has records of this hour.
    fn tiers(&self, hour: i32, file: &TallyFile<'_>) -> BTreeSet<u32> {
        let Some((_, taken)) = self.windows.get(&hour) else { return BTreeSet::new() };
        file.names.iter().filter(|n| n.1.holds(hour)).filter_map(|n| taken.get(&n.0).copied()).collect()
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
        let mut new: Vec<_> = files.iter().filter(|f| self.tiers(hour, f).is_empty()).map(|f| f.names[0].0).collect();
        new.sort_unstable();
        new
    }
}

/// Names a tally file in eight bytes; file names are random and never used again.
pub fn digest(path: &Path) -> u64 {
    let hash = Sha256::digest(path.file_name().unwrap_or_default().as_encoded_bytes());
    u64::from_be_bytes(hash[..8].try_into().expect("a digest has 32 bytes"))
}
