//! Properties of librdkafka in the configuration: which may stand there, and how a secret does.

use super::problem::nearest;
use crate::kafka::OptionValue;
use crate::kafka::options::{OFTEN, is_secret, known, refused};
use std::path::Path;
use toml::{Table, Value};

/// `{ file = "…" }` or `{ env = "…" }`: where a value stands instead of the value.
pub(super) fn is_reference(table: &Table) -> bool {
    let place = |name: &str| table.get(name).and_then(Value::as_str).is_some_and(|s| !s.is_empty());
    table.len() == 1 && (place("file") || place("env"))
}

/// What is wrong with option `name`, and the fix. Never says its value.
pub(super) fn check(name: &str, value: &Value) -> Result<(), (String, String)> {
    if let Some((why, fix)) = refused(name) {
        return Err((format!("option `{name}` is not for you to set: {why}"), fix.into()));
    }
    let reference = value.as_table().is_some_and(is_reference);
    let text = plain(value);
    if text.is_none() && !reference {
        return Err((
            format!("option `{name}` must be text, a number, true or false, or a reference"),
            format!("write \"{name}\" = \"…\", or {{ file = \"/path\" }}, or {{ env = \"NAME\" }}"),
        ));
    }
    if text.as_deref().is_some_and(|text| is_secret(name) || text.contains("PRIVATE KEY-----")) {
        return Err((
            format!("option `{name}` is a secret, and stands here in the clear"),
            format!(
                "write \"{name}\" = {{ file = \"/run/secrets/NAME\" }} or {{ env = \"NAME\" }} (in a variable: file:/path or \
                 env:NAME), and change the secret"
            ),
        ));
    }
    match known(name, text.as_deref()) {
        Ok(()) => Ok(()),
        Err(true) => Err((
            format!("option `{name}` is not one of librdkafka"),
            nearest(name, OFTEN).map_or_else(
                || "remove it; the names stand in librdkafka's CONFIGURATION.md".into(),
                |near| format!("did you mean `{near}`?"),
            ),
        )),
        Err(false) => Err((
            format!("librdkafka does not take the value of option `{name}`"),
            "correct the value: librdkafka's CONFIGURATION.md names what it takes".into(),
        )),
    }
}

/// The text of an environment variable: a place for a secret, or the value.
pub(super) fn read(text: &str) -> Value {
    for place in ["file", "env"] {
        if let Some(rest) = text.strip_prefix(place).and_then(|rest| rest.strip_prefix(':')) {
            return Value::Table(Table::from_iter([(place.to_owned(), Value::String(rest.into()))]));
        }
    }
    Value::String(text.into())
}

/// A checked option. Paths are relative to the file, as everywhere in it.
pub(super) fn value(dir: &Path, name: &str, value: &Value) -> OptionValue {
    let place = |which: &str| value.as_table().and_then(|t| t.get(which)?.as_str());
    if let Some(path) = place("file") {
        return OptionValue::File(dir.join(path));
    }
    if let Some(variable) = place("env") {
        return OptionValue::Env(variable.to_owned());
    }
    let text = plain(value).unwrap_or_default();
    // `probe` looks for the system's certificates.
    if name.ends_with(".location") && text != "probe" {
        return OptionValue::Plain(dir.join(text).display().to_string());
    }
    OptionValue::Plain(text)
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Integer(n) => Some(n.to_string()),
        Value::Float(n) => Some(n.to_string()),
        Value::Boolean(b) => Some(b.to_string()),
        _ => None,
    }
}
