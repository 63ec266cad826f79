//! IMEI and IMEISV (TS 23.003 clause 6.2): the first 14 digits are the device.

use crate::record::reject::Reason;

/// Accepts 14 digits (TAC and serial), 15 (with check or spare digit), 16 (IMEISV), with `-`, space,
/// `.` and `/` between them. False for zeros only: a placeholder.
pub(crate) fn read(text: &[u8], out: &mut Vec<u8>) -> Result<bool, Reason> {
    if (14..=16).contains(&text.len()) && text.iter().all(u8::is_ascii_digit) {
        return Ok(keep(&text[..14], out));
    }
    let mut digits = [0u8; 16];
    let mut len = 0;
    for &b in text {
        match b {
            b'0'..=b'9' => {
                *digits.get_mut(len).ok_or(Reason::InvalidImei)? = b;
                len += 1;
            }
            b'-' | b' ' | b'.' | b'/' => {}
            _ => return Err(Reason::InvalidImei),
        }
    }
    if len < 14 {
        return Err(Reason::InvalidImei);
    }
    Ok(keep(&digits[..14], out))
}

fn keep(device: &[u8], out: &mut Vec<u8>) -> bool {
    let there = device.iter().any(|&b| b != b'0');
    if there {
        out.extend_from_slice(device);
    }
    there
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_notations_of_a_device_are_its_first_14_digits() {
        for text in [
            "26053179311383",
            "260531793113835",
            "260531793113830",
            "2605317931138301",
            "26-053179-311383-5",
            "26-053179-311383-01",
            "26053179 311383",
            "26.053179.311383",
            "260531/79/311383/5",
            "26 053179 311383 0",
            "26-05317931138-3",
            "2605317931138377",
        ] {
            let mut out = Vec::new();
            assert_eq!(read(text.as_bytes(), &mut out), Ok(true), "{text}");
            assert_eq!(out, b"26053179311383", "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let mut out = Vec::new();
        for text in ["", "2605317931138", "26053179311383012", "A0000012345678", "2605317931138x"] {
            assert_eq!(read(text.as_bytes(), &mut out), Err(Reason::InvalidImei), "{text}");
        }
        assert_eq!(read(b"000000000000000", &mut out), Ok(false));
    }
}
