//! Opens chosen rows of `vault/quarantine`, for a replay that ingest asked for. What is about to be
//! opened is in the event log, synced, before the first byte is released.

use super::events::{self, Opening};
use super::keystore::KeyStore;
use super::opener::{BlockOpener, OpenError};
use crate::clock::Clock;
use crate::lake::LakeError;
use crate::lake::parquet::{read_columns, row_groups};
use crate::lake::rejects::{binary, files_by_day, handle, long, text};
use crate::lake::resolved::Handle;
use crate::record::time::Day;
use crate::seal::SealKind;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Which rows are asked for, by whom and what for.
pub struct Request<'a> {
    pub feed: &'a str,
    pub rows: HashSet<Handle>,
    /// Arrival days that they stand under.
    pub days: BTreeSet<Day>,
    /// `replay`, or `dry-run`.
    pub purpose: &'a str,
    /// User id of the process that asks.
    pub uid: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(
        "{missing} of the rows that were asked for are not in vault/quarantine: they were removed or moved meanwhile"
    )]
    Missing { missing: usize },
    #[error("a row that was asked for belongs to another feed than {feed}; nothing was opened")]
    OtherFeed { feed: String },
    #[error("the keys of {0} are gone: what arrived on that day can no longer be opened")]
    NoKey(Day),
    #[error("vault/quarantine: {0}")]
    Open(#[from] OpenError),
    #[error("cannot write vault/events.jsonl, so nothing was opened: {0}")]
    Events(io::Error),
    #[error("cannot hand over what was opened: {0}")]
    Release(io::Error),
}

/// The quarantine table, with where each block stands in it: looked up once for many requests.
pub struct Quarantine<'k> {
    vault: PathBuf,
    keys: &'k KeyStore,
    days: HashSet<Day>,
    places: HashMap<[u8; 16], Vec<Place>>,
}

/// A row group that holds rows of a block.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    path: PathBuf,
    group: usize,
    day: Day,
}

/// Sealed rows of one block.
struct Block {
    day: Day,
    header: Vec<u8>,
    rows: Vec<(u32, Vec<u8>)>,
}

impl<'k> Quarantine<'k> {
    pub fn new(site: &Path, keys: &'k KeyStore) -> Quarantine<'k> {
        Quarantine { vault: site.join("vault"), keys, days: HashSet::new(), places: HashMap::new() }
    }

    /// Opens the rows of `request` and hands each to `release`, in no particular order.
    ///
    /// # Errors
    /// Unless every row is there and of that feed, nothing is opened. An error later on means that
    /// some were released; all of them were logged.
    pub async fn open(
        &mut self,
        request: &Request<'_>,
        clock: &dyn Clock,
        mut release: impl FnMut(Handle, &[u8]) -> io::Result<()>,
    ) -> Result<(), QuarantineError> {
        self.look_up(&request.days).await?;
        let (blocks, reasons) = self.find(request)?;
        if let Some(block) = blocks.values().find(|block| self.keys.day(block.day).is_none()) {
            return Err(QuarantineError::NoKey(block.day));
        }
        self.log(request, &blocks, reasons, clock).map_err(QuarantineError::Events)?;
        let mut plain = Zeroizing::new(Vec::new());
        for (id, block) in blocks {
            let key = &self.keys.day(block.day).ok_or(QuarantineError::NoKey(block.day))?.quarantine;
            let opener = BlockOpener::new(SealKind::Quarantine, block.day.0, &block.day, key, id, &block.header)?;
            for (row, sealed) in &block.rows {
                opener.open(*row, sealed, &mut plain)?;
                release(Handle { block: id, row: *row }, &plain).map_err(QuarantineError::Release)?;
            }
        }
        Ok(())
    }

    fn log(
        &self,
        request: &Request<'_>,
        blocks: &HashMap<[u8; 16], Block>,
        reasons: BTreeMap<String, u64>,
        clock: &dyn Clock,
    ) -> io::Result<()> {
        let days: BTreeSet<Day> = blocks.values().map(|block| block.day).collect();
        let opening = Opening {
            time: events::timestamp(clock.now_ms()),
            event: "quarantine-opened",
            feed: request.feed,
            purpose: request.purpose,
            uid: request.uid,
            rows: request.rows.len() as u64,
            reasons,
            days: days.iter().map(Day::to_string).collect(),
        };
        events::append(&self.vault, &[opening])
    }

    /// Learns where the blocks of these days stand.
    async fn look_up(&mut self, days: &BTreeSet<Day>) -> Result<(), QuarantineError> {
        if days.iter().all(|day| self.days.contains(day)) {
            return Ok(());
        }
        for (day, file) in files_by_day(&self.vault.join("quarantine")).await? {
            if !days.contains(&day) || self.days.contains(&day) {
                continue;
            }
            for group in 0..row_groups(&file.path)? {
                let mut blocks: HashSet<[u8; 16]> = HashSet::new();
                for batch in read_columns(&file.path, &["block"], Some(group))? {
                    let column = binary(&file.path, &batch?, "block")?;
                    blocks.extend(column.iter().flatten().filter_map(|block| <[u8; 16]>::try_from(block).ok()));
                }
                for block in blocks {
                    self.places.entry(block).or_default().push(Place { path: file.path.clone(), group, day });
                }
            }
        }
        self.days.extend(days);
        Ok(())
    }

    /// The rows, still sealed, by block; and how many were refused for which reason.
    fn find(
        &self,
        request: &Request<'_>,
    ) -> Result<(HashMap<[u8; 16], Block>, BTreeMap<String, u64>), QuarantineError> {
        const COLUMNS: [&str; 6] = ["feed", "reason", "block", "row", "header", "sealed"];
        let mut blocks: HashMap<[u8; 16], Block> = HashMap::new();
        let (mut reasons, mut found) = (BTreeMap::new(), HashSet::new());
        let wanted: HashSet<[u8; 16]> = request.rows.iter().map(|handle| handle.block).collect();
        let places: BTreeSet<&Place> = wanted.iter().filter_map(|block| self.places.get(block)).flatten().collect();
        for Place { path, group, day } in places {
            for batch in read_columns(path, &COLUMNS, Some(*group))? {
                let batch = batch?;
                let (block, row) = (binary(path, &batch, "block")?, long(path, &batch, "row")?);
                let (feed, reason) = (text(path, &batch, "feed")?, text(path, &batch, "reason")?);
                let (header, sealed) = (binary(path, &batch, "header")?, binary(path, &batch, "sealed")?);
                for i in 0..batch.num_rows() {
                    let handle = handle(path, block.value(i), row.value(i))?;
                    if !request.rows.contains(&handle) || !found.insert(handle) {
                        continue;
                    }
                    if feed.value(i) != request.feed {
                        return Err(QuarantineError::OtherFeed { feed: request.feed.to_owned() });
                    }
                    *reasons.entry(reason.value(i).to_owned()).or_default() += 1;
                    let new = || Block { day: *day, header: header.value(i).to_vec(), rows: Vec::new() };
                    let block = blocks.entry(handle.block).or_insert_with(new);
                    block.rows.push((handle.row, sealed.value(i).to_vec()));
                }
            }
        }
        match request.rows.len() - found.len() {
            0 => Ok((blocks, reasons)),
            missing => Err(QuarantineError::Missing { missing }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MockClock;
    use crate::keyfile::Passphrase;
    use crate::lake::delta::Table;
    use crate::lake::tables;
    use crate::record::reject::Reason;
    use crate::sink::encode::TableFormat;
    use crate::sink::quarantine::{Quarantined, Refused, groups};
    use crate::sink::stage::Stage;
    use std::sync::Arc;

    const DAY: Day = Day(20_779);

    struct Vault {
        site: tempfile::TempDir,
        keys: KeyStore,
        /// By feed, in the order of `new`.
        blocks: Vec<[u8; 16]>,
    }

    impl Vault {
        /// A table with the records of some feeds, each feed one block and one row group.
        async fn new(feeds: &[(&str, &[&[u8]])]) -> Vault {
            let site = tempfile::tempdir().unwrap();
            let passphrase = Passphrase::new(Zeroizing::new("x".to_owned())).unwrap();
            let mut keys = KeyStore::new(&site.path().join("keys.age"), passphrase);
            keys.create_epoch(DAY.epoch());
            let public = keys.day(DAY).unwrap().quarantine.public();
            let contract = tables::quarantine();
            let format = Arc::new(TableFormat::new(&contract, &[]).unwrap());
            let dir = site.path().join("vault/quarantine");
            let mut table = Table::open_or_create(&dir, &contract).await.unwrap();
            let mut stage = Stage::new("b".into(), [("quarantine", (Arc::clone(&format), dir))].into());
            let mut blocks = Vec::new();
            for (feed, records) in feeds {
                let refused = |bytes: &&'static [u8]| Refused {
                    source: 0,
                    line: 1,
                    offset: 0,
                    reason: Reason::InvalidNumber,
                    column: 1,
                    bytes,
                };
                let records: Vec<&'static [u8]> = records.iter().map(|r| &*r.to_vec().leak()).collect();
                let refused: Vec<Refused<'_>> = records.iter().map(refused).collect();
                let Quarantined { groups, blocks: one } = groups(&format, &public, DAY, (feed, "b"), &refused).unwrap();
                blocks.extend(one);
                for group in groups {
                    stage.append(group).unwrap();
                }
            }
            let adds = stage.finish().unwrap();
            table.append("f/p", 1, &adds["quarantine"]).await.unwrap();
            stage.committed();
            Vault { site, keys, blocks }
        }

        fn handle(&self, feed: usize, row: u32) -> Handle {
            Handle { block: self.blocks[feed], row }
        }

        fn events(&self) -> String {
            std::fs::read_to_string(self.site.path().join("vault/events.jsonl")).unwrap_or_default()
        }

        /// Opens these rows as those of feed `a`; what was released, and what became of it.
        async fn open(&self, rows: &[Handle]) -> (Vec<(u32, Vec<u8>)>, Result<(), QuarantineError>) {
            let days = BTreeSet::from([DAY]);
            let request = Request { feed: "a", rows: rows.iter().copied().collect(), days, purpose: "replay", uid: 7 };
            let mut released = Vec::new();
            let release = |handle: Handle, bytes: &[u8]| {
                assert!(self.events().contains("quarantine-opened"), "released before it was logged");
                released.push((handle.row, bytes.to_vec()));
                Ok(())
            };
            let mut quarantine = Quarantine::new(self.site.path(), &self.keys);
            let result = quarantine.open(&request, &MockClock::at_ms(DAY.start_ms()), release).await;
            released.sort();
            (released, result)
        }
    }

    #[tokio::test]
    async fn chosen_rows_are_opened_after_they_were_logged() {
        let vault = Vault::new(&[("a", &[b"zero", b"one", b"two"]), ("b", &[b"not this"])]).await;
        let (released, result) = vault.open(&[vault.handle(0, 2), vault.handle(0, 0)]).await;
        result.unwrap();
        assert_eq!(released, [(0, b"zero".to_vec()), (2, b"two".to_vec())]);
        let event: serde_json::Value = serde_json::from_str(vault.events().trim_end()).unwrap();
        let expected = serde_json::json!({
            "time": "2026-11-22T00:00:00Z", "event": "quarantine-opened", "feed": "a", "purpose": "replay", "uid": 7,
            "rows": 2, "reasons": {"invalid_number": 2}, "days": ["2026-11-22"],
        });
        assert_eq!(event, expected);
    }

    #[tokio::test]
    async fn nothing_is_opened_unless_everything_can_be() {
        let vault = Vault::new(&[("a", &[b"zero"]), ("b", &[b"another feed's"])]).await;
        let (released, result) = vault.open(&[vault.handle(0, 0), vault.handle(1, 0)]).await;
        assert!(matches!(result, Err(QuarantineError::OtherFeed { .. })) && released.is_empty());
        let (released, result) = vault.open(&[vault.handle(0, 0), vault.handle(0, 1)]).await;
        assert!(matches!(result, Err(QuarantineError::Missing { missing: 1 })) && released.is_empty());
        let stranger = Handle { block: [7; 16], row: 0 };
        let (released, result) = vault.open(&[stranger]).await;
        assert!(matches!(result, Err(QuarantineError::Missing { missing: 1 })) && released.is_empty());
        assert_eq!(vault.events(), "");
    }

    #[tokio::test]
    async fn without_the_keys_of_the_day_nothing_is_opened() {
        let mut vault = Vault::new(&[("a", &[b"zero"])]).await;
        let passphrase = Passphrase::new(Zeroizing::new("x".to_owned())).unwrap();
        vault.keys = KeyStore::new(&vault.site.path().join("other.age"), passphrase);
        let (released, result) = vault.open(&[vault.handle(0, 0)]).await;
        assert!(matches!(result, Err(QuarantineError::NoKey(DAY))) && released.is_empty());
        assert_eq!(vault.events(), "");
    }
}
