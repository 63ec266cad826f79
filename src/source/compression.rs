//! Compression told by content, never by name, and undone as a stream: memory does not depend on
//! what the archive claims.
//!
//! gzip (RFC 1952, with its members one after another), Zstandard (RFC 8878, frames one after
//! another, skippable ones included) and bzip2 (streams one after another). Other archives are
//! recognised so that they are refused by name rather than read as text.

use std::io::{BufRead, Read};

/// How many first bytes [`Compression::detect`] needs.
pub const MAGIC_BYTES: usize = 10;

/// Largest Zstandard window taken: 2^27 bytes = 128 MiB, what `zstd --ultra` and `zstd --long` make.
const ZSTD_WINDOW_LOG: u32 = 27;

/// What a file's first bytes say it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Plain,
    Gzip,
    Zstd,
    Bzip2,
    /// An archive that is not read; its name for the message.
    Unsupported(&'static str),
}

const UNSUPPORTED: [(&[u8], &str); 6] = [
    (b"\xFD7zXZ\0", "xz"),
    (b"PK\x03\x04", "zip"),
    (b"7z\xBC\xAF\x27\x1C", "7z"),
    (b"\x04\x22\x4D\x18", "lz4"),
    (b"\x1F\x9D", "compress (.Z)"),
    (b"\x89LZO\0", "lzop"),
];

impl Compression {
    /// `head` is the start of the file: [`MAGIC_BYTES`] of them, or the whole of a shorter file.
    pub fn detect(head: &[u8]) -> Compression {
        if head.starts_with(&[0x1F, 0x8B]) {
            return Compression::Gzip;
        }
        if is_zstd(head) {
            return Compression::Zstd;
        }
        if is_bzip2(head) {
            return Compression::Bzip2;
        }
        match UNSUPPORTED.iter().find(|(magic, _)| head.starts_with(magic)) {
            Some((_, name)) => Compression::Unsupported(name),
            None => Compression::Plain,
        }
    }

    /// A reader of the decompressed bytes. An archive that ends early reads as `UnexpectedEof`, a
    /// damaged one as any other error. `Unsupported` reads as it stands.
    pub fn reader<'r>(self, raw: impl BufRead + Send + 'r) -> std::io::Result<Box<dyn Read + Send + 'r>> {
        Ok(match self {
            Compression::Plain | Compression::Unsupported(_) => Box::new(raw),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(raw)),
            Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(raw)),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(raw)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
        })
    }
}

/// A Zstandard frame wants a larger window than is taken; libzstd tells this apart by its text only.
pub fn is_window_too_large(error: &std::io::Error) -> bool {
    error.to_string().contains("too much memory")
}

/// A frame, or a skippable frame (`pzstd` begins with one), cut short or not: text never begins so.
fn is_zstd(head: &[u8]) -> bool {
    const FRAME: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
    if head.len() < FRAME.len() {
        return head.len() >= 2 && FRAME.starts_with(head);
    }
    head.starts_with(&FRAME) || (head[0] & 0xF0 == 0x50 && head[1..4] == [0x2A, 0x4D, 0x18])
}

/// "BZh" and a digit may begin a text, so the six bytes after them (pi, or for an empty stream the
/// square root of pi) decide, as far as there are any.
fn is_bzip2(head: &[u8]) -> bool {
    const BLOCK: [u8; 6] = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
    const END: [u8; 6] = [0x17, 0x72, 0x45, 0x38, 0x50, 0x90];
    let Some(rest) = head.strip_prefix(b"BZh") else { return false };
    let Some((b'1'..=b'9', magic)) = rest.split_first() else { return false };
    let magic = &magic[..magic.len().min(6)];
    // One byte of "1" could be text; two bytes of either constant could too, a third can hardly.
    magic.len() >= 3 && (BLOCK.starts_with(magic) || END.starts_with(magic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_by_content() {
        let cases: [(&[u8], Compression); 15] = [
            (b"", Compression::Plain),
            (b"start,a_number", Compression::Plain),
            (b"\x1F\x8B", Compression::Gzip),
            (b"\x1F", Compression::Plain),
            (b"\x28\xB5\x2F\xFD\x04", Compression::Zstd),
            (b"\x28\xB5", Compression::Zstd),
            (b"\x5A\x2A\x4D\x18\x00\x00\x00\x00", Compression::Zstd),
            (b"P*M,1", Compression::Plain),
            (b"BZh91AY&SY", Compression::Bzip2),
            (b"BZh1\x17\x72\x45\x38\x50\x90", Compression::Bzip2),
            (b"BZh91AY", Compression::Bzip2),
            (b"BZh9,1,2,3", Compression::Plain),
            (b"BZh9", Compression::Plain),
            (b"\x1F\x9D\x90", Compression::Unsupported("compress (.Z)")),
            (b"7z\xBC\xAF\x27\x1C", Compression::Unsupported("7z")),
        ];
        for (head, expected) in cases {
            assert_eq!(Compression::detect(head), expected, "{head:?}");
        }
    }
}
