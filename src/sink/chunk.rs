//! Parquet column chunks of the two shapes that make up most of a row, built without going through
//! values one by one: 16-byte identifiers (PLAIN) and texts of few kinds (RLE_DICTIONARY).
//!
//! One data page per chunk, version 1, uncompressed (Apache Parquet format, `Encodings.md`). What
//! comes out is read back by the `parquet` crate in the tests here, and by other readers in
//! `tests/integration`.

use parquet::basic::{Compression, Encoding};
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

/// A finished column chunk: its bytes, and what the footer says of it.
pub struct Chunk {
    pub bytes: bytes::Bytes,
    pub close: ColumnCloseResult,
}

/// A nullable column of 16-byte values. `values` holds only those that are there, one after
/// another; `valid` has one entry per row. `bloom` asks for a Bloom filter of this false positive rate.
pub fn ids(column: &ColumnDescPtr, values: &[u8], valid: &[bool], bloom: Option<f64>) -> Result<Chunk> {
    let mut page = Vec::with_capacity(values.len() + valid.len() / 8 + 16);
    if column.max_def_level() > 0 {
        levels(valid, &mut page);
    }
    page.extend_from_slice(values);
    let filter = bloom.map(|fpp| filter(values, fpp)).transpose()?;
    Pages::new().data(page, valid.len(), Encoding::PLAIN)?.finish(column, valid.len(), filter)
}

fn filter(values: &[u8], fpp: f64) -> Result<Sbbf> {
    let (values, _) = values.as_chunks::<16>();
    let mut filter = Sbbf::new_with_ndv_fpp(values.len().max(1) as u64, fpp)?;
    for value in values {
        filter.insert(&value[..]);
    }
    Ok(filter)
}

/// A column of byte strings without nulls, already in PLAIN form: each with its length before it.
pub fn blobs(column: &ColumnDescPtr, plain: Vec<u8>, rows: usize) -> Result<Chunk> {
    Pages::new().data(plain, rows, Encoding::PLAIN)?.finish(column, rows, None)
}

/// Key of a row that has no value.
pub const NULL: u16 = u16::MAX;

/// A column of few distinct values: one key per row into `dictionary`, `NULL` for none.
pub fn symbols(column: &ColumnDescPtr, keys: &[u16], dictionary: &[impl AsRef<[u8]>]) -> Result<Chunk> {
    let mut words = Vec::new();
    for word in dictionary {
        let word = word.as_ref();
        words.extend_from_slice(&(word.len() as u32).to_le_bytes());
        words.extend_from_slice(word);
    }
    let mut page = Vec::with_capacity(keys.len() + 16);
    if column.max_def_level() > 0 {
        let valid: Vec<bool> = keys.iter().map(|k| *k != NULL).collect();
        levels(&valid, &mut page);
    }
    indices(keys, dictionary.len(), &mut page);
    Pages::new().dictionary(words, dictionary.len())?.data(page, keys.len(), Encoding::RLE_DICTIONARY)?.finish(
        column,
        keys.len(),
        None,
    )
}

/// Definition levels of a flat nullable column: length, then RLE/bit-packed hybrid of width 1.
fn levels(valid: &[bool], page: &mut Vec<u8>) {
    let at = page.len();
    page.extend_from_slice(&[0; 4]);
    if valid.iter().all(|v| *v) {
        run(valid.len(), 1, 1, page);
    } else if !valid.iter().any(|v| *v) {
        run(valid.len(), 0, 1, page);
    } else {
        packed(valid.iter().map(|v| u16::from(*v)), valid.len(), 1, page);
    }
    let length = (page.len() - at - 4) as u32;
    page[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

/// Dictionary indices: bit width, then one run if all are the same, else bit-packed.
fn indices(keys: &[u16], distinct: usize, page: &mut Vec<u8>) {
    let present = || keys.iter().copied().filter(|k| *k != NULL);
    let count = present().count();
    let width = (usize::BITS - distinct.saturating_sub(1).leading_zeros()).max(1);
    page.push(width as u8);
    let first = present().next().unwrap_or(0);
    if present().all(|k| k == first) {
        if count > 0 {
            run(count, first, width, page);
        }
    } else {
        packed(present(), count, width, page);
    }
}

/// One RLE run of `count` times `value`.
fn run(count: usize, value: u16, width: u32, page: &mut Vec<u8>) {
    varint((count as u64) << 1, page);
    page.extend_from_slice(&value.to_le_bytes()[..width.div_ceil(8) as usize]);
}

/// One bit-packed run, least significant bit first, padded to a multiple of eight values.
fn packed(values: impl Iterator<Item = u16>, count: usize, width: u32, page: &mut Vec<u8>) {
    let groups = count.div_ceil(8);
    varint((groups as u64) << 1 | 1, page);
    let end = page.len() + groups * width as usize;
    let (mut bits, mut held) = (0u64, 0u32);
    for value in values {
        bits |= u64::from(value) << held;
        held += width;
        if held >= 32 {
            page.extend_from_slice(&(bits as u32).to_le_bytes());
            bits >>= 32;
            held -= 32;
        }
    }
    page.extend_from_slice(&bits.to_le_bytes());
    page.resize(end.max(page.len()), 0);
    page.truncate(end);
}

fn varint(mut v: u64, out: &mut Vec<u8>) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

/// Pages of one chunk under construction.
struct Pages {
    out: TrackedWrite<Vec<u8>>,
    dictionary: Option<u64>,
    data: u64,
    uncompressed: u64,
    encodings: Vec<Encoding>,
}

impl Pages {
    fn new() -> Pages {
        Pages {
            out: TrackedWrite::new(Vec::new()),
            dictionary: None,
            data: 0,
            uncompressed: 0,
            encodings: vec![Encoding::RLE],
        }
    }

    fn dictionary(mut self, words: Vec<u8>, n: usize) -> Result<Pages> {
        let page = Page::DictionaryPage {
            buf: words.into(),
            num_values: n as u32,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        let offset = self.write(page)?;
        self.dictionary = Some(offset);
        self.encodings.push(Encoding::PLAIN);
        Ok(self)
    }

    fn data(mut self, bytes: Vec<u8>, rows: usize, encoding: Encoding) -> Result<Pages> {
        let page = Page::DataPage {
            buf: bytes.into(),
            num_values: rows as u32,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        self.data = self.write(page)?;
        self.encodings.push(encoding);
        Ok(self)
    }

    fn write(&mut self, page: Page) -> Result<u64> {
        let length = page.buffer().len();
        let spec = SerializedPageWriter::new(&mut self.out).write_page(CompressedPage::new(page, length))?;
        self.uncompressed += spec.uncompressed_size as u64;
        Ok(spec.offset)
    }

    fn finish(self, column: &ColumnDescPtr, rows: usize, bloom_filter: Option<Sbbf>) -> Result<Chunk> {
        let bytes = self.out.into_inner()?;
        let metadata = ColumnChunkMetaData::builder(column.clone())
            .set_compression(Compression::UNCOMPRESSED)
            .set_encodings(self.encodings)
            .set_num_values(rows as i64)
            .set_total_compressed_size(bytes.len() as i64)
            .set_total_uncompressed_size(self.uncompressed as i64)
            .set_data_page_offset(self.data as i64)
            .set_dictionary_page_offset(self.dictionary.map(|o| o as i64))
            .build()?;
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: rows as u64,
            metadata,
            bloom_filter,
            column_index: None,
            offset_index: None,
        };
        Ok(Chunk { bytes: bytes.into(), close })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::contract::{ColumnKind, Contract, column};
    use arrow::array::AsArray;
    use parquet::arrow::ArrowSchemaConverter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::file::writer::SerializedFileWriter;
    use proptest::prelude::*;

    fn write(kind: ColumnKind, nullable: bool, chunks: impl Fn(&ColumnDescPtr) -> Chunk) -> bytes::Bytes {
        let contract = Contract {
            name: "t",
            columns: vec![column("c", kind, nullable)],
            partition: vec![column("event_day", ColumnKind::Date, false)],
        };
        let schema = ArrowSchemaConverter::new().convert(&contract.arrow()).unwrap();
        let mut file = SerializedFileWriter::new(Vec::new(), schema.root_schema_ptr(), Default::default()).unwrap();
        let mut group = file.next_row_group().unwrap();
        let chunk = chunks(&schema.column(0));
        group.append_column(&chunk.bytes, chunk.close).unwrap();
        group.close().unwrap();
        file.into_inner().unwrap().into()
    }

    fn read(file: bytes::Bytes) -> arrow::record_batch::RecordBatch {
        let mut all = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(1 << 20).build().unwrap();
        all.next().unwrap().unwrap()
    }

    proptest! {
        #[test]
        fn symbols_read_back(
            keys in proptest::collection::vec(0u16..300, 1..400),
            distinct in 1usize..300,
            nulls: bool,
        ) {
            let words: Vec<String> = (0..distinct).map(|i| format!("word {i}")).collect();
            let keys: Vec<u16> = keys.iter().map(|k| if nulls && k % 7 == 0 { NULL } else { k % distinct as u16 }).collect();
            let batch = read(write(ColumnKind::String, nulls, |c| symbols(c, &keys, &words).unwrap()));
            let got: Vec<Option<&str>> = batch.column(0).as_string::<i32>().iter().collect();
            let expected: Vec<Option<&str>> = keys.iter().map(|k| words.get(*k as usize).map(String::as_str)).collect();
            prop_assert_eq!(got, expected);
        }

        #[test]
        fn ids_read_back(valid in proptest::collection::vec(any::<bool>(), 1..400), same: Option<bool>) {
            let valid: Vec<bool> = valid.iter().map(|v| same.unwrap_or(*v)).collect();
            let id = |row: usize| [row as u8; 16];
            let values: Vec<u8> = (0..valid.len()).filter(|r| valid[*r]).flat_map(id).collect();
            let batch = read(write(ColumnKind::Id, true, |c| ids(c, &values, &valid, Some(0.01)).unwrap()));
            let got: Vec<Option<Vec<u8>>> = batch.column(0).as_fixed_size_binary().iter().map(|v| v.map(<[u8]>::to_vec)).collect();
            let expected: Vec<Option<Vec<u8>>> = (0..valid.len()).map(|r| valid[r].then(|| id(r).to_vec())).collect();
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_required_column_has_no_levels() {
        let batch = read(write(ColumnKind::Id, false, |c| ids(c, &[7; 48], &[true; 3], None).unwrap()));
        assert_eq!(batch.column(0).as_fixed_size_binary().value(2), [7; 16]);
        let batch = read(write(ColumnKind::String, false, |c| symbols(c, &[0; 5], &["only"]).unwrap()));
        assert_eq!(batch.column(0).as_string::<i32>().value(4), "only");
        let plain = [&[2, 0, 0, 0, 8, 9][..], &[0; 4], &[1, 0, 0, 0, 7]].concat();
        let batch = read(write(ColumnKind::Binary, false, |c| blobs(c, plain.clone(), 3).unwrap()));
        let got: Vec<&[u8]> = batch.column(0).as_binary::<i32>().iter().flatten().collect();
        assert_eq!(got, [&[8, 9][..], &[], &[7]]);
    }
}
