//! The several ways in which one number stands in call records.

use super::country::Country;
use super::event::Peer;
use super::random::Random;
use super::subscriber::Line;
use super::text;

/// How a network element writes numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// `+`, `00`, national with `0`, now and then `tel:` and `sip:` URIs.
    Mixed,
    /// Dialled digits only: `00` and national with `0`.
    Digits,
}

/// Writes a party; `home` decides who may be written nationally.
pub fn peer(out: &mut Vec<u8>, peer: Peer, habit: Habit, home: &Country, random: &mut Random) {
    match peer {
        Peer::Line(line) => number(out, line, habit, home, random),
        Peer::Short(code) => text::uint(out, code),
        Peer::Brand(name) => out.extend_from_slice(name.as_bytes()),
        Peer::Withheld => out.extend_from_slice(b"anonymous"),
        Peer::Unavailable if habit == Habit::Digits => {}
        Peer::Unavailable => out.extend_from_slice(b"unavailable"),
    }
}

pub fn number(out: &mut Vec<u8>, line: Line, habit: Habit, home: &Country, random: &mut Random) {
    let domestic = line.calling_code == home.calling_code;
    match (habit, random.below(100)) {
        (Habit::Mixed, 0..45) => international(out, b"+", line),
        (Habit::Mixed, 45..50) => international(out, b"tel:+", line),
        (Habit::Mixed, 50..53) => {
            international(out, b"sip:+", line);
            out.extend_from_slice(b"@ims.example.net;user=phone");
        }
        (_, 0..80) if domestic => {
            out.push(b'0');
            text::uint(out, line.national);
        }
        _ => international(out, b"00", line),
    }
}

/// `+`, calling code and national number.
pub fn e164(out: &mut Vec<u8>, line: Line) {
    international(out, b"+", line);
}

fn international(out: &mut Vec<u8>, prefix: &[u8], line: Line) {
    out.extend_from_slice(prefix);
    text::uint(out, line.calling_code);
    text::uint(out, line.national);
}

/// 15 digits with check digit, 14, or 16 with software version (3GPP TS 23.003, 6.2).
pub fn imei(out: &mut Vec<u8>, imei14: u64, random: &mut Random) {
    text::padded(out, imei14, 14);
    match random.below(10) {
        0 => {}
        1 => text::padded(out, 1 + imei14 % 78, 2),
        _ => text::uint(out, luhn(imei14)),
    }
}

/// Check digit of a number whose last digit stands beside it.
fn luhn(mut n: u64) -> u64 {
    let (mut sum, mut double) = (0, true);
    while n > 0 {
        let digit = n % 10 * if double { 2 } else { 1 };
        sum += digit / 10 + digit % 10;
        (n, double) = (n / 10, !double);
    }
    (10 - sum % 10) % 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_digit_is_that_of_the_standard() {
        // example of 3GPP TS 23.003 annex B: 26053179311383 has check digit 7
        assert_eq!(luhn(26_053_179_311_383), 7);
    }
}
