//! Refused records as messages: where they stood, why, and their bytes, sealed to the quarantine's
//! key of the day they arrived on. No clear byte of a record is in one.

use super::base64;
use crate::keys::SealingKey;
use crate::record::time::Day;
use crate::seal::{BlockSealer, MAX_BLOCK_ROWS, SealError, SealKind};
use crate::sink::quarantine::Refused;
use serde::Serialize;

/// Of a message, beside the sealed bytes: the block's header in Base64, names, numbers.
const ENVELOPE: usize = 3 * 1024;

/// Where the records of a block came from.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    pub feed: &'a str,
    pub topic: &'a str,
    pub partition: i32,
}

/// The JSON of `schemas/kafka/README.md`.
#[derive(Serialize)]
struct Letter<'a> {
    feed: &'a str,
    topic: &'a str,
    partition: i32,
    offset: i64,
    line: i64,
    reason: &'a str,
    column: i32,
    arrival_day: String,
    sealed: Option<Sealed<'a>>,
}

#[derive(Serialize)]
struct Sealed<'a> {
    block: &'a str,
    row: u32,
    header: &'a str,
    bytes: String,
}

/// One message for each refused record. Bytes that a message of `max_bytes` has no room for are left
/// out: they stand in the lake side's quarantine.
pub fn letters(
    origin: Origin<'_>,
    key: &SealingKey,
    arrival: Day,
    refused: &[Refused<'_>],
    max_bytes: usize,
) -> Result<Vec<Vec<u8>>, SealError> {
    let room = max_bytes.saturating_sub(ENVELOPE) / 4 * 3;
    let mut letters = Vec::with_capacity(refused.len());
    for chunk in refused.chunks(MAX_BLOCK_ROWS) {
        let mut sealer = BlockSealer::new(SealKind::Quarantine, arrival.0, &arrival, key)?;
        let block: String = sealer.block().iter().map(|b| format!("{b:02x}")).collect();
        let header = base64::encode(sealer.header());
        let mut bytes = Vec::new();
        for r in chunk {
            bytes.clear();
            let sealed = if r.bytes.len() + crate::seal::TAG_LEN <= room {
                let row = sealer.seal(r.bytes, &mut bytes)?;
                Some(Sealed { block: &block, row, header: &header, bytes: base64::encode(&bytes) })
            } else {
                None
            };
            let letter = Letter {
                feed: origin.feed,
                topic: origin.topic,
                partition: origin.partition,
                offset: r.offset,
                line: r.line,
                reason: r.reason.code(),
                column: r.column,
                arrival_day: arrival.to_string(),
                sealed,
            };
            letters.push(serde_json::to_vec(&letter).expect("plain text and numbers are always JSON"));
        }
    }
    Ok(letters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::reject::Reason;
    use crate::vault::opener::{BlockOpener, OpeningKey};

    fn letter_of(bytes: &[u8], max_bytes: usize) -> (OpeningKey, Vec<u8>) {
        let key = OpeningKey::random();
        let refused = Refused { source: 0, line: 3, offset: 41, reason: Reason::InvalidTime, column: 1, bytes };
        let origin = Origin { feed: "calls", topic: "cdr.voice", partition: 2 };
        let mut letters = letters(origin, &key.public(), Day(20_779), &[refused], max_bytes).unwrap();
        assert_eq!(letters.len(), 1);
        (key, letters.remove(0))
    }

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn a_letter_says_where_and_why_and_nothing_else_in_the_clear() {
        let record = b"2026-13-45,+32470000001";
        let (key, letter) = letter_of(record, 1_000_000);
        let text = String::from_utf8(letter).unwrap();
        assert!(!text.contains("3247") && !text.contains("2026-13"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let place =
            ["feed", "topic", "partition", "offset", "line", "reason", "column", "arrival_day"].map(|k| &json[k]);
        let expected = serde_json::json!(["calls", "cdr.voice", 2, 41, 3, "invalid_time", 1, "2026-11-22"]);
        assert_eq!(place.map(Clone::clone).to_vec(), *expected.as_array().unwrap());
        let sealed = |name: &str| json["sealed"][name].as_str().unwrap();
        let block = unhex(sealed("block")).try_into().unwrap();
        let (header, bytes) = (base64::decode(sealed("header")), base64::decode(sealed("bytes")));
        let day = Day(20_779);
        let opener = BlockOpener::new(SealKind::Quarantine, day.0, &day, &key, block, &header).unwrap();
        let mut plain = Vec::new();
        opener.open(json["sealed"]["row"].as_u64().unwrap() as u32, &bytes, &mut plain).unwrap();
        assert_eq!(plain, record);
    }

    #[test]
    fn what_is_too_long_for_a_message_is_told_without_its_bytes() {
        let (_, letter) = letter_of(&[b'x'; 800_000], 1_000_000);
        assert!(letter.len() < 1000, "{}", letter.len());
        let json: serde_json::Value = serde_json::from_slice(&letter).unwrap();
        assert!(json["sealed"].is_null() && json["reason"] == "invalid_time", "{json}");
        let (_, longest) = letter_of(&[b'x'; 740_000], 1_000_000);
        assert!(longest.len() > 900_000 && longest.len() < 1_000_000, "{}", longest.len());
    }
}
