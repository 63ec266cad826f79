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

#[test]
fn an_empty_file_is_whole_and_has_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for (name, pack) in PACKERS {
        let mut blocks = open(&put(dir.path(), name, &pack(b"")), QUOTED, small()).unwrap();
        assert!(blocks.head().unwrap().is_empty() && blocks.next().unwrap().is_none(), "{name}");
        let expected = Finished { sha256: Sha256::digest(b"").into(), bytes: 0, lines: 0 };
        assert_eq!(blocks.finish().unwrap(), expected, "{name}");
    }
}

#[test]
fn what_is_no_file_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    let archive = |name: &str, magic: &[u8]| put(dir.path(), name, &[magic, b"rest of it"].concat());
    let cases = [
        (dir.path().join("nowhere"), "missing", "no such file"),
        (dir.path().to_path_buf(), "not_a_file", "a directory"),
        (fifo, "not_a_file", "standard input"),
        ("/dev/zero".into(), "not_a_file", "a device"),
        (archive("a", b"\xFD7zXZ\0"), "unsupported_archive", "xz"),
        (archive("b", b"PK\x03\x04"), "unsupported_archive", "zip"),
        // A Zstandard frame that asks for a window of 2^28 bytes, then an empty last block.
        (put(dir.path(), "c", &[0x28, 0xB5, 0x2F, 0xFD, 0, 18 << 3, 1, 0, 0]), "unsupported_archive", "128 MiB"),
    ];
    for (path, code, words) in cases {
        let error = open(&path, QUOTED, small()).and_then(Blocks::finish).expect_err("it is refused");
        assert_eq!(error.code(), code, "{path:?}");
        assert!(error.to_string().contains(words) && error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn no_permission_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = put(dir.path(), "secret", b"1\n");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o0)).unwrap();
    // Root reads it all the same.
    let expected = if std::fs::File::open(&path).is_ok() { Ok(2) } else { Err("no_permission") };
    assert_eq!(fate(&path).map(|finished| finished.bytes), expected);
    let denied = SourceError::io(&path, std::io::ErrorKind::PermissionDenied.into());
    assert_eq!(denied.code(), "no_permission");
}

#[test]
fn bombs_are_refused_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let zeros = [b"0".repeat(63).as_slice(), b"\n"].concat().repeat(1 << 16);
    for (name, pack) in &PACKERS[1..] {
        let path = put(dir.path(), name, &pack(&zeros));
        let fate = |limits: Limits| open(&path, QUOTED, limits).and_then(Blocks::finish).map_err(|error| error.code());
        assert_eq!(fate(small()).unwrap().bytes, zeros.len() as u64, "{name}: too small to be one");
        let strict = Limits { max_ratio: 20, ratio_from_bytes: 1 << 20, ..small() };
        assert_eq!(fate(strict), Err("bomb"), "{name}");
        let short = Limits { max_decompressed_bytes: 1 << 20, ..small() };
        assert_eq!(fate(short), Err("bomb"), "{name}");
    }
    let plain = put(dir.path(), "plain", &zeros);
    let strict = Limits { max_decompressed_bytes: 1, max_ratio: 1, ratio_from_bytes: 0, ..small() };
    assert!(open(&plain, QUOTED, strict).and_then(Blocks::finish).is_ok(), "what is not packed cannot be one");
}

#[test]
fn a_file_that_changes_meanwhile_waits() {
    let dir = tempfile::tempdir().unwrap();
    let packed = gzip(&rows(5000));
    let changes: [(&str, &[u8], &dyn Fn(&Path)); 4] = [
        ("grows", b"1\n2\n", &|path| {
            std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(b"3\n").unwrap()
        }),
        ("is written again", b"1\n2\n", &|path| {
            std::fs::File::open(path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap()
        }),
        ("is replaced", b"1\n2\n", &|path| {
            std::fs::write(path.with_extension("new"), "1\n2\n").unwrap();
            std::fs::rename(path.with_extension("new"), path).unwrap();
        }),
        ("is an archive still being sent", &packed[..packed.len() / 2], &|path| {
            std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(b"more").unwrap()
        }),
    ];
    for (name, bytes, change) in changes {
        let path = put(dir.path(), "f", bytes);
        let blocks = open(&path, QUOTED, small()).unwrap();
        change(&path);
        let error = blocks.finish().unwrap_err();
        assert!(error.waits(), "{name}");
        assert_eq!(error.code(), "growing", "{name}");
    }
    let path = put(dir.path(), "g", b"1\n");
    let blocks = open(&path, QUOTED, small()).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(blocks.finish().unwrap().bytes, 2, "a file that is gone was read whole");
}

#[test]
fn reading_again_from_an_offset() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = rows(8000);
    let mut start = 50_000;
    while !bytes[..start].ends_with(b"\n") || bytes[..start].iter().filter(|byte| **byte == b'"').count() % 2 == 1 {
        start += 1;
    }
    let lines = bytes[..start].iter().filter(|byte| **byte == b'\n').count() as u64;
    for (name, pack) in PACKERS {
        let path = put(dir.path(), name, &pack(&bytes));
        let whole = open(&path, QUOTED, small()).unwrap().finish().unwrap();
        let mut blocks = open_at(&path, QUOTED, small(), start as u64).unwrap();
        assert!(bytes[start..].starts_with(blocks.head().unwrap()), "{name}");
        let first = blocks.next().unwrap().unwrap();
        assert_eq!((first.offset, first.first_line), (start as u64, lines), "{name}");
        drain(&mut blocks, (start + first.bytes.len()) as u64).unwrap();
        assert_eq!(blocks.finish().unwrap(), whole, "{name}");
        assert_eq!(read_record(&path, start as u64, 1000).unwrap(), bytes[start..start + 1000], "{name}");
        assert_eq!(read_record(&path, bytes.len() as u64 - 5, 10).unwrap_err().code(), "shorter", "{name}");
        assert_eq!(read_record(&path, bytes.len() as u64 + 5, 1).unwrap_err().code(), "shorter", "{name}");
        let past = open_at(&path, QUOTED, small(), bytes.len() as u64 + 1).and_then(Blocks::finish);
        assert_eq!(past.unwrap_err().code(), "shorter", "{name}");
    }
}

/// Gives its bytes in small pieces, then fails as a disk does.
struct Failing {
    bytes: std::io::Cursor<Vec<u8>>,
}

impl Read for Failing {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let most = into.len().min(7);
        match self.bytes.read(&mut into[..most])? {
            0 => Err(std::io::Error::from_raw_os_error(5)),
            read => Ok(read),
        }
    }
}

#[test]
fn a_failing_disk_is_no_damage_and_short_reads_are_no_end() {
    for (name, pack) in PACKERS {
        let packed = pack(&rows(100));
        let half = packed[..packed.len() / 2].to_vec();
        let failing = Failing { bytes: std::io::Cursor::new(half) };
        let error = from_reader(Box::new(failing), "pipe", QUOTED, small()).and_then(Blocks::finish).unwrap_err();
        assert_eq!(error.code(), "io", "{name}: {error}");
        let slow = Failing { bytes: std::io::Cursor::new(packed) }.take(u64::MAX);
        let fine = from_reader(Box::new(EndsQuietly(slow)), "pipe", QUOTED, small()).unwrap();
        assert_eq!(fine.total_raw_bytes(), None);
        assert_eq!(fine.finish().unwrap().bytes, rows(100).len() as u64, "{name}");
    }
}

/// Turns the failure at the end into an end.
struct EndsQuietly<R>(R);

impl<R: Read> Read for EndsQuietly<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        Ok(self.0.read(into).unwrap_or(0))
    }
}

#[test]
fn a_caller_that_leaves_ends_the_reading() {
    struct Endless {
        _alive: std::sync::Arc<()>,
    }
    impl Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            into.fill(b'\n');
            Ok(into.len())
        }
    }
    let alive = std::sync::Arc::new(());
    let mut blocks = from_reader(Box::new(Endless { _alive: alive.clone() }), "endless", QUOTED, small()).unwrap();
    blocks.next().unwrap();
    drop(blocks);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while std::sync::Arc::strong_count(&alive) > 1 {
        assert!(std::time::Instant::now() < until, "the thread reads on");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
