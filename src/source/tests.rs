//! The flow of a source, over real files in a temporary folder.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::record::raw::Framing;
use crate::source::{Blocks, Finished, Limits, SourceError, from_reader, open, open_at, read_record};

const QUOTED: Framing = Framing::QuotedLines { quote: b'"' };

fn rows(count: usize) -> Vec<u8> {
    (0..count).map(|row| format!("{row},\"a\n\"\"b\"\"\",{}\n", row * 7919 % 1000)).collect::<String>().into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const PACKERS: [(&str, fn(&[u8]) -> Vec<u8>); 4] =
    [("plain", <[u8]>::to_vec), ("gzip", gzip), ("zstd", zstd), ("bzip2", bzip2)];

fn small() -> Limits {
    Limits { batch_bytes: 4096, max_record_bytes: 1024, ..Limits::default() }
}

fn put(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// All bytes that come out, checked to be contiguous.
fn drain(blocks: &mut Blocks, from: u64) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    while let Some(batch) = blocks.next()? {
        assert_eq!(batch.offset, from + bytes.len() as u64);
        assert!(!batch.bytes.is_empty());
        bytes.extend_from_slice(&batch.bytes);
    }
    Ok(bytes)
}

/// How a whole file fares: its digest, or the code of the error.
fn fate(path: &Path) -> Result<Finished, &'static str> {
    open(path, QUOTED, small()).and_then(Blocks::finish).map_err(|error| error.code())
}

#[test]
fn every_compression_gives_the_same_bytes_and_digest() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = rows(20_000);
    let expected = Finished { sha256: Sha256::digest(&bytes).into(), bytes: bytes.len() as u64, lines: 40_000 };
    for (name, pack) in PACKERS {
        // The name lies on purpose: content decides.
        let path = put(dir.path(), &format!("{name}.txt.gz"), &pack(&bytes));
        let mut blocks = open(&path, QUOTED, small()).unwrap().numbered(7);
        assert!(bytes.starts_with(blocks.head().unwrap()), "{name}");
        assert!(drain(&mut blocks, 0).unwrap() == bytes, "{name}");
        assert_eq!(Some(blocks.raw_bytes_read()), blocks.total_raw_bytes(), "{name}");
        assert_eq!(blocks.finish().unwrap(), expected, "{name}");
    }
}

#[test]
fn members_one_after_another_are_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = rows(3000);
    for (name, pack) in PACKERS {
        let (left, right) = bytes.split_at(bytes.len() / 3);
        let packed = [pack(left), pack(b""), pack(right)].concat();
        let mut blocks = open(&put(dir.path(), name, &packed), QUOTED, small()).unwrap();
        assert!(drain(&mut blocks, 0).unwrap() == bytes, "{name}");
    }
}

#[test]
fn a_damaged_or_shortened_archive_loads_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = rows(5000);
    for (name, pack) in &PACKERS[1..] {
        let packed = pack(&bytes);
        for keep in [12, packed.len() / 2, packed.len() - 5, packed.len() - 1] {
            let path = put(dir.path(), name, &packed[..keep]);
            assert_eq!(fate(&path), Err("truncated"), "{name} cut to {keep} of {}", packed.len());
        }
        let mut damaged = packed.clone();
        let middle = damaged.len() / 2;
        damaged[middle..middle + 8].iter_mut().for_each(|byte| *byte ^= 0xA5);
        let code = fate(&put(dir.path(), name, &damaged)).unwrap_err();
        assert!(code == "corrupt" || code == "truncated", "{name}: {code}");
        let trailing = [&packed[..], b"and then something else"].concat();
        assert_eq!(fate(&put(dir.path(), name, &trailing)), Err("corrupt"), "{name} with a tail");
    }
}
