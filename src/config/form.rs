//! What the value of a setting must look like, and what is said when it does not.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use toml::Value;

/// What a value must look like.
#[derive(Clone, Copy)]
pub enum Form {
    /// A whole number, both bounds included.
    Integer {
        min: i64,
        max: i64,
    },
    /// The same, or one word.
    IntegerOr {
        min: i64,
        max: i64,
        word: &'static str,
    },
    Text,
    /// Text that may be empty.
    AnyText,
    /// Number and unit, both bounds in milliseconds and included.
    Duration {
        min_ms: u64,
        max_ms: u64,
    },
    /// Address and port to listen on, or nothing.
    Listen,
    Flag,
    OneOf(&'static [&'static str]),
    TextList,
    /// Kafka brokers: host:port.
    Brokers,
    /// One name of a Kafka topic.
    Topic,
    Topics,
    /// Lower-case letters, digits and hyphens.
    Name,
    /// Parts of a name, with slashes between them.
    Recipient,
    /// Two upper-case letters, ISO 3166-1 alpha-2.
    Country,
    /// Three upper-case letters, ISO 4217.
    Currency,
    /// A name of the IANA time zone database, or a fixed offset.
    Zone,
}

impl Form {
    /// What is wrong with `value`, or nothing. Says what would be right.
    pub fn refuse(&self, value: &Value) -> Option<String> {
        match (self, value) {
            (Form::Integer { min, max }, Value::Integer(n)) if (min..=max).contains(&n) => None,
            (Form::Integer { min, max }, _) => Some(format!("must be a whole number from {min} to {max}")),
            (Form::IntegerOr { min, max, .. }, Value::Integer(n)) if (min..=max).contains(&n) => None,
            (Form::IntegerOr { word, .. }, Value::String(s)) if s == word => None,
            (Form::IntegerOr { min, max, word }, _) => {
                Some(format!("must be a whole number from {min} to {max}, or \"{word}\""))
            }
            (Form::Text, Value::String(s)) if !s.is_empty() => None,
            (Form::AnyText, Value::String(_)) => None,
            (Form::Text | Form::AnyText, _) => Some("must be text in quotes".into()),
            (Form::Duration { min_ms, max_ms }, Value::String(s))
                if duration(s).is_some_and(|d| (*min_ms..=*max_ms).contains(&(d.as_millis() as u64))) =>
            {
                None
            }
            (Form::Duration { min_ms, max_ms }, _) => Some(format!(
                "must be a duration like \"500ms\", \"15s\", \"2m\" or \"1h\", from {min_ms}ms to {max_ms}ms"
            )),
            (Form::Listen, Value::String(s)) if s.is_empty() || s.parse::<SocketAddr>().is_ok() => None,
            (Form::Listen, _) => {
                Some("must be an address and a port, like \"127.0.0.1:9464\" or \"[::1]:9464\"".into())
            }
            (Form::Brokers, Value::Array(items)) if list_of(items, is_broker) => None,
            (Form::Brokers, _) => Some("must be a list of brokers, like [\"kafka1:9092\"]".into()),
            (Form::Topic, Value::String(s)) if is_topic(s) => None,
            (Form::Topics, Value::Array(items)) if list_of(items, is_topic) => None,
            (Form::Topic | Form::Topics, _) => Some(format!(
                "must be {}: letters, digits, dots, hyphens and underscores, at most 249",
                if matches!(self, Form::Topic) { "the name of a topic" } else { "a list of different topics" }
            )),
            (Form::Name, Value::String(s)) if is_name(s) => None,
            (Form::Name, _) => {
                Some("must be 1 to 64 lower-case letters, digits and hyphens, beginning with a letter".into())
            }
            (Form::Recipient, Value::String(s)) if is_recipient(s) => None,
            (Form::Recipient, _) => Some(format!("must be a name {RECIPIENT}")),
            (Form::Flag, Value::Boolean(_)) => None,
            (Form::Flag, _) => Some("must be true or false".into()),
            (Form::OneOf(words), Value::String(s)) if words.contains(&s.as_str()) => None,
            (Form::OneOf(words), _) => Some(format!("must be one of \"{}\"", words.join("\", \""))),
            (Form::TextList, Value::Array(items)) if items.iter().all(Value::is_str) => None,
            (Form::TextList, _) => Some("must be a list of texts: [\"…\", \"…\"]".into()),
            (Form::Country, Value::String(s)) if upper_case(s, 2) => None,
            (Form::Country, _) => Some("must be two upper-case letters (ISO 3166-1 alpha-2), like \"BE\"".into()),
            (Form::Currency, Value::String(s)) if upper_case(s, 3) => None,
            (Form::Currency, _) => Some("must be three upper-case letters (ISO 4217), like \"EUR\"".into()),
            (Form::Zone, Value::String(s)) if zone_exists(s) => None,
            (Form::Zone, _) => Some("must be a time zone, like \"Europe/Brussels\", \"UTC\" or \"+02:00\"".into()),
        }
    }

    /// Reads the text of an environment variable in this form; lists are separated by commas.
    pub fn read(&self, text: &str) -> Value {
        let number = || text.trim().parse().map(Value::Integer).ok();
        let parsed = match self {
            Form::Integer { .. } | Form::IntegerOr { .. } => number(),
            Form::Flag => text.trim().parse().map(Value::Boolean).ok(),
            Form::TextList | Form::Brokers | Form::Topics => {
                let items = text.split(',').map(str::trim).filter(|s| !s.is_empty());
                Some(Value::Array(items.map(|s| Value::String(s.into())).collect()))
            }
            _ => None,
        };
        parsed.unwrap_or_else(|| Value::String(text.into()))
    }
}

/// `500ms`, `15s`, `2m`, `1h`.
pub fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(unit_ms).map(Duration::from_millis)
}

/// What a recipient's name is, for people.
pub const RECIPIENT: &str = "of 1 to 64 lower-case letters, digits and hyphens, beginning with a letter, in parts by slashes: \"acme/contract-17\"";

/// A party, or a party and its contract. Each name has keys of its own.
pub fn is_recipient(name: &str) -> bool {
    name.len() <= 64
        && name.split('/').all(|part| !part.is_empty() && part_of_name(part))
        && is_name(&name.replace('/', "-"))
}

fn part_of_name(part: &str) -> bool {
    part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Names of feeds: they become folders, variables and labels.
pub fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// At least one, none twice.
fn list_of(items: &[Value], is_right: impl Fn(&str) -> bool) -> bool {
    let texts: BTreeSet<&str> = items.iter().filter_map(Value::as_str).filter(|s| is_right(s)).collect();
    !items.is_empty() && texts.len() == items.len()
}

/// What Kafka takes. It also becomes the name of a folder, which `.` and `..` must not.
fn is_topic(s: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=249).contains(&s.len()) && s.bytes().all(legal) && s != "." && s != ".."
}

/// `host:port`, or `host` for port 9092. An @ would be a password in the clear.
fn is_broker(s: &str) -> bool {
    let port = s.rsplit_once(':').is_none_or(|(host, port)| {
        !host.is_empty() && (port.parse::<u16>().is_ok_and(|p| p > 0) || port.ends_with(']'))
    });
    port && s.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b',' | b'@' | b'/' | b'"'))
}

fn upper_case(s: &str, letters: usize) -> bool {
    s.len() == letters && s.bytes().all(|b| b.is_ascii_uppercase())
}

fn zone_exists(s: &str) -> bool {
    let offset = || -> Option<bool> {
        let (hours, minutes) = s.strip_prefix(['+', '-'])?.split_once(':')?;
        let number =
            |t: &str| (t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit())).then(|| t.parse::<u8>().ok()).flatten();
        Some(number(hours)? <= 14 && number(minutes)? < 60)
    };
    offset().unwrap_or(false) || jiff::tz::TimeZone::get(s).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_is_a_party_or_a_party_and_its_contract() {
        let longest = "a".repeat(64);
        for right in ["desk", "acme/contract-17", "a/1/b-2", longest.as_str()] {
            assert!(is_recipient(right), "{right}");
        }
        let too_long = "a".repeat(65);
        for wrong in
            ["", "/", "acme/", "/acme", "a//b", "1acme", "Acme", "acme contract", "a:b", "a/../b", too_long.as_str()]
        {
            assert!(!is_recipient(wrong), "{wrong}");
        }
    }
}
