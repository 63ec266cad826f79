//! Hexadecimal in key files: bytes that are public, and 32-byte secrets that are wiped.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use zeroize::Zeroizing;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Public bytes as lower-case hex.
pub struct Hex(pub Vec<u8>);

/// A 32-byte secret as lower-case hex. No `Debug`, wiped when dropped.
pub struct SecretHex(Zeroizing<[u8; 32]>);

impl SecretHex {
    pub fn new(bytes: [u8; 32]) -> SecretHex {
        SecretHex(Zeroizing::new(bytes))
    }

    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// 64 hex digits of either case, surrounded by nothing but one trailing line end.
pub fn decode_key(text: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let mut key = Zeroizing::new([0u8; 32]);
    decode_into(text, &mut *key).then_some(key)
}

fn decode_into(text: &[u8], out: &mut [u8]) -> bool {
    let nibble = |c: u8| (c as char).to_digit(16).map(|d| d as u8);
    text.len() == out.len() * 2
        && text.chunks_exact(2).zip(out).all(|(pair, byte)| match (nibble(pair[0]), nibble(pair[1])) {
            (Some(high), Some(low)) => {
                *byte = high << 4 | low;
                true
            }
            _ => false,
        })
}

fn encode(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 2));
    for b in bytes {
        text.push(DIGITS[usize::from(b >> 4)] as char);
        text.push(DIGITS[usize::from(b & 15)] as char);
    }
    text
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&encode(&self.0))
    }
}

impl Serialize for SecretHex {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&encode(&*self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Hex, D::Error> {
        d.deserialize_str(HexVisitor)
    }
}

struct HexVisitor;

impl Visitor<'_> for HexVisitor {
    type Value = Hex;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hexadecimal")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Hex, E> {
        let mut bytes = vec![0; text.len() / 2];
        if decode_into(text.as_bytes(), &mut bytes) { Ok(Hex(bytes)) } else { Err(E::custom("not hexadecimal")) }
    }
}

impl<'de> Deserialize<'de> for SecretHex {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<SecretHex, D::Error> {
        d.deserialize_str(SecretVisitor)
    }
}

struct SecretVisitor;

impl Visitor<'_> for SecretVisitor {
    type Value = SecretHex;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<SecretHex, E> {
        let mut key = SecretHex::new([0; 32]);
        if decode_into(text.as_bytes(), &mut *key.0) { Ok(key) } else { Err(E::custom("not a key")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_exactly_64_hex_digits_and_at_most_one_line_end() {
        let digits = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        let expect: [u8; 32] = std::array::from_fn(|i| i as u8);
        for ok in [digits.to_string(), format!("{digits}\n"), format!("{digits}\r\n"), digits.to_uppercase()] {
            assert_eq!(*decode_key(ok.as_bytes()).unwrap(), expect);
        }
        for bad in [
            "",
            &digits[1..],
            &format!("{digits}0"),
            &format!("{digits}\n\n"),
            &format!(" {digits}"),
            &digits.replace('f', "g"),
            &digits.replacen("00", "+1", 1),
        ] {
            assert!(decode_key(bad.as_bytes()).is_none());
        }
    }
}
