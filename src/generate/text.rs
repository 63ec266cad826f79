//! Writing numbers, dates and identifiers into a reused buffer, without the formatting machinery.

use crate::record::time::{Day, MS_PER_DAY};

const DIGIT_PAIRS: [u8; 200] = {
    let mut pairs = [0; 200];
    let mut i = 0;
    while i < 100 {
        pairs[2 * i] = b'0' + (i / 10) as u8;
        pairs[2 * i + 1] = b'0' + (i % 10) as u8;
        i += 1;
    }
    pairs
};

/// Decimal.
pub fn uint(out: &mut Vec<u8>, n: u64) {
    padded(out, n, 1);
}

/// Decimal, signed.
pub fn int(out: &mut Vec<u8>, n: i64) {
    if n < 0 {
        out.push(b'-');
    }
    uint(out, n.unsigned_abs());
}

/// Decimal with leading zeros to at least `width` (at most 20).
pub fn padded(out: &mut Vec<u8>, mut n: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut at = 20;
    while n >= 100 {
        at -= 2;
        let pair = (n % 100) as usize * 2;
        digits[at..at + 2].copy_from_slice(&DIGIT_PAIRS[pair..pair + 2]);
        n /= 100;
    }
    if n >= 10 {
        at -= 2;
        let pair = n as usize * 2;
        digits[at..at + 2].copy_from_slice(&DIGIT_PAIRS[pair..pair + 2]);
    } else if n > 0 || at == 20 {
        at -= 1;
        digits[at] = b'0' + n as u8;
    }
    out.extend_from_slice(&digits[at.min(20 - width)..]);
}

/// Lower-case hexadecimal with leading zeros.
pub fn hex(out: &mut Vec<u8>, n: u64, width: u32) {
    for i in (0..width).rev() {
        out.push(b"0123456789abcdef"[(n >> (4 * i)) as usize & 15]);
    }
}

/// A version 4 UUID made of these bits.
pub fn uuid(out: &mut Vec<u8>, high: u64, low: u64) {
    hex(out, high >> 32, 8);
    out.push(b'-');
    hex(out, high >> 16, 4);
    out.push(b'-');
    hex(out, (high & 0x0fff) | 0x4000, 4);
    out.push(b'-');
    hex(out, ((low >> 48) & 0x3fff) | 0x8000, 4);
    out.push(b'-');
    hex(out, low, 12);
}

/// Hundredths-of-a-hundredth as a decimal with four places.
pub fn money(out: &mut Vec<u8>, ten_thousandths: u64) {
    uint(out, ten_thousandths / 10_000);
    out.push(b'.');
    padded(out, ten_thousandths % 10_000, 4);
}

/// `YYYY-MM-DD`, then `between`, then `hh:mm:ss`.
pub fn date_time(out: &mut Vec<u8>, ms: i64, between: u8) {
    let (y, m, d) = Day::of_ms(ms).civil();
    padded(out, y as u64, 4);
    out.push(b'-');
    padded(out, u64::from(m), 2);
    out.push(b'-');
    padded(out, u64::from(d), 2);
    out.push(between);
    let s = ms.rem_euclid(MS_PER_DAY) as u64 / 1000;
    padded(out, s / 3600, 2);
    out.push(b':');
    padded(out, s / 60 % 60, 2);
    out.push(b':');
    padded(out, s % 60, 2);
}

/// `YYYYMMDDhhmmss`.
pub fn compact_date_time(out: &mut Vec<u8>, ms: i64) {
    let (y, m, d) = Day::of_ms(ms).civil();
    padded(out, y as u64, 4);
    padded(out, u64::from(m), 2);
    padded(out, u64::from(d), 2);
    let s = ms.rem_euclid(MS_PER_DAY) as u64 / 1000;
    padded(out, s / 3600, 2);
    padded(out, s / 60 % 60, 2);
    padded(out, s % 60, 2);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_as_format_would() {
        for n in [0, 1, 9, 10, 11, 99, 100, 101, 999, 1000, 12_345, 1_000_000, u64::MAX] {
            assert_eq!(text(|o| uint(o, n)), n.to_string());
            assert_eq!(text(|o| padded(o, n, 7)), format!("{n:07}"));
        }
        assert_eq!(text(|o| int(o, -1_139_627_840)), "-1139627840");
        assert_eq!(text(|o| hex(o, 0x00ab_cdef, 8)), "00abcdef");
        assert_eq!(text(|o| money(o, 12_345)), "1.2345");
        assert_eq!(text(|o| uuid(o, u64::MAX, u64::MAX)), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn dates_are_civil_utc() {
        let ms = 1_795_336_496_000;
        assert_eq!(text(|o| date_time(o, ms, b'T')), "2026-11-22T08:34:56");
        assert_eq!(text(|o| compact_date_time(o, ms)), "20261122083456");
    }
}
