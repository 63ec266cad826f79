//! Durations, volumes, charges and sequence numbers.

use crate::record::clear::{ABSENT_U32, ABSENT_U64};
use crate::record::field::DurationUnit;
use crate::record::reject::Reason;

/// Whole seconds, rounded down.
pub(crate) fn duration(text: &[u8], unit: DurationUnit) -> Result<u32, Reason> {
    let seconds = match unit {
        DurationUnit::Hms => hms(text),
        DurationUnit::Seconds => micro(text).map(|m| m.div_euclid(1_000_000)),
        DurationUnit::Millis => micro(text).map(|m| m.div_euclid(1_000_000_000)),
        DurationUnit::Micros => micro(text).map(|m| m.div_euclid(1_000_000_000_000)),
        DurationUnit::Ticks10ms => micro(text).map(|m| m.div_euclid(100_000_000)),
    };
    seconds.and_then(|s| u32::try_from(s).ok()).filter(|s| *s != ABSENT_U32).ok_or(Reason::InvalidDuration)
}

/// Octets: a whole number, times `scale`.
pub(crate) fn volume(text: &[u8], scale: u64) -> Result<u64, Reason> {
    unsigned(text).and_then(|n| n.checked_mul(scale)).filter(|n| *n < ABSENT_U64).ok_or(Reason::InvalidVolume)
}

/// Millionths, from a decimal with `.` or `,`, times `scale`. More than six decimals are cut off.
pub(crate) fn charge(text: &[u8], scale: u64) -> Result<i64, Reason> {
    let scale = i64::try_from(scale).map_err(|_| Reason::InvalidCharge)?;
    micro(text)
        .and_then(|m| m.checked_mul(scale))
        .filter(|m| *m > i64::MIN / 4 && *m < i64::MAX / 4)
        .ok_or(Reason::InvalidCharge)
}

pub(crate) fn currency(text: &[u8]) -> Result<[u8; 3], Reason> {
    match *text {
        [a, b, c] => {
            let code = [a, b, c].map(|b| b.to_ascii_uppercase());
            let (codes, _) = CURRENCIES.as_bytes().as_chunks::<4>();
            codes.binary_search_by(|known| known[..3].cmp(&code)).map(|_| code).map_err(|_| Reason::InvalidCurrency)
        }
        _ => Err(Reason::InvalidCurrency),
    }
}

/// ISO 4217 codes of currencies in use, and XDR (the special drawing right that roaming is settled
/// in), ascending. It stands in clear in the lake, so it is an allow-list.
const CURRENCIES: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP \
    BYN BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF \
    GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD \
    LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR \
    PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY \
    TTD TWD TZS UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XCG XDR XOF XPF YER ZAR ZMW ZWG ";

/// A whole number without sign.
#[inline]
pub(crate) fn unsigned(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    if text.len() <= 19 {
        // 19 digits always fit.
        let mut n = 0;
        for b in text {
            if !b.is_ascii_digit() {
                return None;
            }
            n = n * 10 + u64::from(b - b'0');
        }
        return Some(n);
    }
    text.iter().try_fold(0u64, |n, b| {
        if !b.is_ascii_digit() {
            return None;
        }
        n.checked_mul(10)?.checked_add(u64::from(b - b'0'))
    })
}

/// A decimal number in millionths; one `.` or `,` may stand in it, digits must stand before it.
fn micro(text: &[u8]) -> Option<i64> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let dot = text.iter().position(|b| matches!(b, b'.' | b',')).unwrap_or(text.len());
    let whole = i64::try_from(unsigned(&text[..dot])?).ok()?;
    let decimals = text.get(dot + 1..).unwrap_or_default();
    if decimals.len() > 18 || !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let kept = &decimals[..decimals.len().min(6)];
    let part = kept.iter().fold(0, |n, b| n * 10 + i64::from(b - b'0')) * 10i64.pow(6 - kept.len() as u32);
    let value = whole.checked_mul(1_000_000)?.checked_add(part)?;
    Some(if negative { -value } else { value })
}

/// `H:MM:SS` or `MM:SS`.
fn hms(text: &[u8]) -> Option<i64> {
    let mut total = 0i64;
    let mut parts = 0;
    for part in text.split(|&b| b == b':') {
        let value = unsigned(part).and_then(|v| i64::try_from(v).ok())?;
        if parts > 0 && (value > 59 || part.len() != 2) {
            return None;
        }
        total = total.checked_mul(60)?.checked_add(value)?;
        parts += 1;
    }
    (2..=3).contains(&parts).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_every_unit() {
        for (text, unit, seconds) in [
            ("0", DurationUnit::Seconds, 0),
            ("61", DurationUnit::Seconds, 61),
            ("61.999", DurationUnit::Seconds, 61),
            ("61999", DurationUnit::Millis, 61),
            ("61999999", DurationUnit::Micros, 61),
            ("6199", DurationUnit::Ticks10ms, 61),
            ("1:01:01", DurationUnit::Hms, 3661),
            ("100:00:00", DurationUnit::Hms, 360_000),
            ("4:05", DurationUnit::Hms, 245),
        ] {
            assert_eq!(duration(text.as_bytes(), unit), Ok(seconds), "{text}");
        }
        for (text, unit) in [
            ("-1", DurationUnit::Seconds),
            ("", DurationUnit::Seconds),
            ("4294967295", DurationUnit::Seconds),
            ("1e3", DurationUnit::Seconds),
            ("1:60:00", DurationUnit::Hms),
            ("1:1:1", DurationUnit::Hms),
            ("61", DurationUnit::Hms),
            ("1:2:3:4", DurationUnit::Hms),
        ] {
            assert_eq!(duration(text.as_bytes(), unit), Err(Reason::InvalidDuration), "{text}");
        }
    }

    #[test]
    fn volumes_are_whole_and_have_64_bits() {
        assert_eq!(volume(b"18446744073709551614", 1), Ok(u64::MAX - 1));
        assert_eq!(volume(b"3", 1024), Ok(3072));
        for (text, scale) in [
            ("18446744073709551615", 1),
            ("18446744073709551616", 1),
            ("-1", 1),
            ("", 1),
            ("1.5", 1),
            ("99999999999999999", 1024),
        ] {
            assert_eq!(volume(text.as_bytes(), scale), Err(Reason::InvalidVolume), "{text}");
        }
    }

    #[test]
    fn charges_are_millionths() {
        assert_eq!(charge(b"0.1234567", 1), Ok(123_456));
        assert_eq!(charge(b"-1,5", 1), Ok(-1_500_000));
        assert_eq!(charge(b"2", 100), Ok(200_000_000));
        for text in ["", ".5", "1.2.3", "1,000.00", "9999999999999", "abc", "-"] {
            assert_eq!(charge(text.as_bytes(), 1), Err(Reason::InvalidCharge), "{text}");
        }
        assert_eq!(currency(b"eur"), Ok(*b"EUR"));
        assert_eq!(currency(b"EURO"), Err(Reason::InvalidCurrency));
    }
}
