//! What the vault's keys open: the sealed tables of a site, read back in clear.

use crate::site::{Site, VAULT_PASSPHRASE};
use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use arrow::record_batch::RecordBatch;
use cdrveil::keyfile::Passphrase;
use cdrveil::lake::delta::Table;
use cdrveil::lake::parquet::read_file;
use cdrveil::record::identifier::{Kind, Party};
use cdrveil::record::packed::{Unpacked, unpack};
use cdrveil::record::time::{Day, Epoch};
use cdrveil::seal::SealKind;
use cdrveil::vault::keystore::KeyStore;
use cdrveil::vault::opener::{BlockOpener, OpeningKey};
use std::fmt::Display;
use zeroize::Zeroizing;

pub struct Evidence {
    pub day: Day,
    pub blind: [Option<[u8; 16]>; Party::COUNT],
    pub record: Unpacked,
}

pub struct Identity {
    pub epoch: Epoch,
    pub pseudonym: [u8; 16],
    pub kind: Kind,
    pub canonical: Vec<u8>,
}

pub struct Quarantined {
    pub feed: String,
    pub line: i64,
    pub offset: i64,
    pub reason: String,
    pub column: i64,
    pub bytes: Vec<u8>,
}

pub fn keys(site: &Site) -> KeyStore {
    let passphrase = Passphrase::new(Zeroizing::new(VAULT_PASSPHRASE.to_owned())).unwrap();
    KeyStore::open(&site.path("vault/keys.age"), passphrase).unwrap_or_else(|e| panic!("{e}"))
}

pub fn evidence(site: &Site) -> Vec<Evidence> {
    let keys = keys(site);
    let mut found = Vec::new();
    for (partition, batch) in batches(site, "vault/evidence", "event_day") {
        let day: Day = partition.parse().unwrap();
        let key = &keys.day(day).expect("the vault has every day's key").evidence;
        let blind = Party::ALL.map(|p| binary(&batch, p.column()));
        for (row, plain) in opened(&batch, SealKind::Evidence, day.0, &day, key).into_iter().enumerate() {
            let record = unpack(&plain).expect("evidence is a packed record");
            let blind = std::array::from_fn(|p| blind[p][row].as_ref().map(|b| b.as_slice().try_into().unwrap()));
            found.push(Evidence { day, blind, record });
        }
    }
    found
}

pub fn identities(site: &Site) -> Vec<Identity> {
    let keys = keys(site);
    let mut found = Vec::new();
    for (partition, batch) in batches(site, "vault/identities", "epoch") {
        let epoch: Epoch = partition.parse().unwrap();
        let key = &keys.epoch(epoch).expect("the vault has every epoch's key").identities;
        let (pseudonyms, kinds) = (binary(&batch, "pseudonym"), text(&batch, "kind"));
        for (row, plain) in opened(&batch, SealKind::Identity, epoch.0, &epoch, key).into_iter().enumerate() {
            let kind = Kind::from_byte(plain[0]).unwrap();
            assert_eq!(kinds[row], kind.name());
            let pseudonym = pseudonyms[row].as_ref().unwrap().as_slice().try_into().unwrap();
            found.push(Identity { epoch, pseudonym, kind, canonical: plain[1..].to_vec() });
        }
    }
    found
}

pub fn quarantine(site: &Site) -> Vec<Quarantined> {
    let keys = keys(site);
    let mut found = Vec::new();
    for (partition, batch) in batches(site, "vault/quarantine", "arrival_day") {
        let day: Day = partition.parse().unwrap();
        let key = &keys.day(day).expect("the vault has every day's key").quarantine;
        let (feeds, reasons) = (text(&batch, "feed"), text(&batch, "reason"));
        let [lines, offsets, columns] = ["line", "offset", "column"].map(|name| long(&batch, name));
        let plains = opened(&batch, SealKind::Quarantine, day.0, &day, key);
        for (row, bytes) in plains.into_iter().enumerate() {
            found.push(Quarantined {
                feed: feeds[row].clone(),
                line: lines[row],
                offset: offsets[row],
                reason: reasons[row].clone(),
                column: columns[row],
                bytes,
            });
        }
    }
    found.sort_by_key(|q| (q.line, q.offset));
    found
}

/// A column of 16-byte identifiers of lake/cdr with its `…_kind`, row by row, with the event day.
pub fn cdr(site: &Site, party: Party) -> Vec<(Day, Kind, Option<[u8; 16]>)> {
    let mut found = Vec::new();
    for (partition, batch) in batches(site, "lake/cdr", "event_day") {
        let kinds = text(&batch, &format!("{}_kind", party.column()));
        for (value, kind) in binary(&batch, party.column()).into_iter().zip(kinds) {
            let kind = Kind::ALL.into_iter().find(|k| k.name() == kind).unwrap();
            found.push((partition.parse().unwrap(), kind, value.map(|v| v.as_slice().try_into().unwrap())));
        }
    }
    found
}

/// Rows of a table.
pub fn rows(site: &Site, table: &str, partition: &str) -> usize {
    batches(site, table, partition).iter().map(|(_, b)| b.num_rows()).sum()
}

/// Live batches of a table with the value of its partition column; none if there is no table.
fn batches(site: &Site, table: &str, partition: &str) -> Vec<(String, RecordBatch)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let table = runtime.block_on(Table::open(&site.path(table))).unwrap_or_else(|e| panic!("{e}"));
    let mut found = Vec::new();
    for file in table.files().unwrap() {
        let value = file.partition[partition].clone().unwrap();
        found.extend(read_file(&file.path).unwrap().into_iter().map(|batch| (value.clone(), batch)));
    }
    found
}

/// Opens every row of a batch; blocks come one after the other, their rows in any order.
fn opened(batch: &RecordBatch, kind: SealKind, unit: i32, name: &impl Display, key: &OpeningKey) -> Vec<Vec<u8>> {
    let [blocks, headers, sealed] = ["block", "header", "sealed"].map(|column| binary(batch, column));
    let numbers = long(batch, "row");
    let mut current: Option<([u8; 16], BlockOpener)> = None;
    let open = |row: usize| {
        let block: [u8; 16] = blocks[row].as_ref().unwrap().as_slice().try_into().unwrap();
        if current.as_ref().is_none_or(|c| c.0 != block) {
            let header = headers[row].as_ref().unwrap();
            let opener = BlockOpener::new(kind, unit, name, key, block, header).unwrap_or_else(|e| panic!("{e}"));
            current = Some((block, opener));
        }
        let mut plain = Vec::new();
        let opener = &current.as_ref().unwrap().1;
        opener.open(numbers[row] as u32, sealed[row].as_ref().unwrap(), &mut plain).unwrap_or_else(|e| panic!("{e}"));
        plain
    };
    (0..batch.num_rows()).map(open).collect()
}

fn binary(batch: &RecordBatch, name: &str) -> Vec<Option<Vec<u8>>> {
    let column = cast(batch.column_by_name(name).unwrap(), &DataType::Binary).unwrap();
    column.as_binary::<i32>().iter().map(|v| v.map(<[u8]>::to_vec)).collect()
}

fn text(batch: &RecordBatch, name: &str) -> Vec<String> {
    let column = cast(batch.column_by_name(name).unwrap(), &DataType::Utf8).unwrap();
    assert_eq!(column.null_count(), 0, "{name}");
    column.as_string::<i32>().iter().map(|v| v.unwrap().to_owned()).collect()
}

fn long(batch: &RecordBatch, name: &str) -> Vec<i64> {
    let column = cast(batch.column_by_name(name).unwrap(), &DataType::Int64).unwrap();
    column.as_primitive::<Int64Type>().values().to_vec()
}
