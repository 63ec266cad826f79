//! IMSI and network codes (ITU-T E.212, TS 23.003).

use crate::normalise::numbering::rows;
use crate::record::plmn::Plmn;
use crate::record::reject::Reason;
use std::sync::LazyLock;

/// One mobile country code: how long its network codes are.
#[derive(Clone, Default)]
struct Mcc {
    /// 2 or 3; 0 for a code that no network uses.
    digits: u8,
    /// Network codes of the other length.
    others: Vec<u16>,
}

/// MNC lengths by MCC. A wrong or missing row changes the coarse network, never a pseudonym: the
/// whole IMSI is hashed.
pub(crate) struct Networks(Vec<Mcc>);

static SHIPPED: LazyLock<Networks> =
    LazyLock::new(|| Networks::parse(include_str!("../../schemas/numbering/networks.tsv")));

impl Networks {
    pub(crate) fn shipped() -> &'static Networks {
        &SHIPPED
    }

    fn parse(table: &'static str) -> Networks {
        let mut codes = vec![Mcc::default(); 1000];
        for row in rows(table) {
            let number = |s: &str| s.parse::<u16>().expect("networks.tsv: codes are numbers");
            let mut others = Vec::new();
            for range in row[3].split(',').filter(|r| *r != "-") {
                let (from, to) = range.split_once('-').unwrap_or((range, range));
                others.extend(number(from)..=number(to));
            }
            codes[usize::from(number(row[0]))] = Mcc { digits: number(row[2]) as u8, others };
        }
        Networks(codes)
    }

    /// The network of an IMSI or of MCC and MNC without separator; `Plmn::NONE` for an MCC that is
    /// not in the table (test networks 001 among them) or too few digits.
    pub(crate) fn of_digits(&self, digits: &[u8]) -> Plmn {
        let Some(mcc) = digits.get(..3).and_then(number) else { return Plmn::NONE };
        let row = &self.0[mcc as usize];
        let long = digits.get(..6).and_then(|d| number(&d[3..]));
        let short = digits.get(..5).and_then(|d| number(&d[3..]));
        let is_other = |mnc: Option<u32>| mnc.is_some_and(|m| row.others.contains(&(m as u16)));
        let plmn = match row.digits {
            2 if is_other(long) => long.and_then(|mnc| Plmn::new(mcc, mnc, 3)),
            3 if is_other(short) => short.and_then(|mnc| Plmn::new(mcc, mnc, 2)),
            2 => short.and_then(|mnc| Plmn::new(mcc, mnc, 2)),
            3 => long.and_then(|mnc| Plmn::new(mcc, mnc, 3)),
            _ => None,
        };
        plmn.unwrap_or(Plmn::NONE)
    }

    /// A network as records write it: `20601`, `206-01`, `206 001`, `310410`. Two-digit codes that
    /// were padded to three are cut back. Test network 001 and unassigned codes are `Plmn::NONE`.
    pub(crate) fn read(&self, text: &[u8]) -> Result<Plmn, Reason> {
        let mut digits = [0u8; 6];
        let mut len = 0;
        for &b in text {
            match b {
                b'0'..=b'9' => {
                    *digits.get_mut(len).ok_or(Reason::InvalidNetwork)? = b;
                    len += 1;
                }
                b'-' | b' ' | b'/' | b'.' | b':' | b'_' if len == 3 => {}
                _ => return Err(Reason::InvalidNetwork),
            }
        }
        let mcc = digits.get(..3).and_then(number).ok_or(Reason::InvalidNetwork)?;
        let mnc = number(&digits[3..len.max(3)]).ok_or(Reason::InvalidNetwork)?;
        if len < 5 {
            return Err(Reason::InvalidNetwork);
        }
        if mcc == 1 {
            return Ok(Plmn::NONE);
        }
        let row = &self.0[mcc as usize];
        if row.digits == 0 && mcc >= 200 {
            // Not an assigned code: perhaps another number in the wrong column, so none of it is kept.
            return Ok(Plmn::NONE);
        }
        let padded = len == 6 && row.digits == 2 && mnc < 100 && !row.others.contains(&(mnc as u16));
        let width = if padded { 2 } else { len as u32 - 3 };
        Plmn::new(mcc, mnc, width).ok_or(Reason::InvalidNetwork)
    }
}

/// Appends the 6 to 15 digits exactly as they are. False for an IMSI of zeros only: a placeholder.
pub(crate) fn read(text: &[u8], out: &mut Vec<u8>) -> Result<bool, Reason> {
    if !(6..=15).contains(&text.len()) || !text.iter().all(u8::is_ascii_digit) {
        return Err(Reason::InvalidImsi);
    }
    if text.iter().all(|&b| b == b'0') {
        return Ok(false);
    }
    out.extend_from_slice(text);
    Ok(true)
}

/// Decimal digits only; `None` for none of them, or for anything else.
fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u32, |n, b| b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_codes_have_the_length_of_their_country() {
        let networks = Networks::shipped();
        for (imsi, network) in [
            ("206010123456789", "206-01"),
            ("310410123456789", "310-410"),
            ("302720123456789", "302-720"),
            ("405750123456789", "405-750"),
            ("405010123456789", "405-01"),
            ("405034123456789", "405-034"),
            ("901700123456789", "901-70"),
        ] {
            assert_eq!(networks.of_digits(imsi.as_bytes()).to_string(), network, "{imsi}");
        }
        assert!(networks.of_digits(b"001010123456789").is_none());
        assert!(networks.of_digits(b"20601").to_string() == "206-01");
        assert!(networks.of_digits(b"2060").is_none() && networks.of_digits(b"000000").is_none());
    }

    #[test]
    fn networks_are_read_in_the_notations_of_records() {
        let networks = Networks::shipped();
        for text in ["20601", "206-01", "206 01", "206/01", "206-001", "206001"] {
            assert_eq!(networks.read(text.as_bytes()).unwrap().to_string(), "206-01", "{text}");
        }
        assert_eq!(networks.read(b"310-410").unwrap().to_string(), "310-410");
        assert!(networks.read(b"001-01").unwrap().is_none());
        for text in ["", "206", "2060", "2060101", "abc01", "20-601", "199-01", "206-0x"] {
            assert_eq!(networks.read(text.as_bytes()), Err(Reason::InvalidNetwork), "{text}");
        }
    }

    #[test]
    fn an_imsi_is_kept_as_sent() {
        let mut out = Vec::new();
        assert_eq!(read(b"206010123456789", &mut out), Ok(true));
        assert_eq!(out, b"206010123456789");
        assert_eq!(read(b"000000000000000", &mut out), Ok(false));
        for text in [&b"20601"[..], b"2060101234567890", b"20601012345678f", b"206 01 0123456789", b""] {
            assert_eq!(read(text, &mut out), Err(Reason::InvalidImsi));
        }
    }
}
