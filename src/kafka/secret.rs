//! The value of an option, wherever it stands.

use super::{KafkaError, OptionValue, say};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use zeroize::Zeroizing;

/// No key, certificate or token comes near; keeps a wrong path from filling memory.
const MAX_BYTES: u64 = 1 << 20;

/// Reads the value now. An error says from where, never what.
pub(super) fn read(option: &str, value: &OptionValue) -> Result<Zeroizing<String>, KafkaError> {
    let refuse =
        |place: String, reason: &str| KafkaError::Secret { option: option.into(), place, reason: reason.into() };
    match value {
        OptionValue::Plain(text) => Ok(Zeroizing::new(text.clone())),
        OptionValue::File(path) => {
            of_file(option, path).map_err(|reason| refuse(format!("file {}", path.display()), &reason))
        }
        OptionValue::Env(name) => match variable(name) {
            Some(text) if !text.is_empty() => Ok(text),
            Some(_) => Err(refuse(format!("variable {name}"), "it is empty")),
            None => Err(refuse(format!("variable {name}"), "it is not set")),
        },
    }
}

#[expect(clippy::disallowed_methods, reason = "a secret is read where it is used, and kept nowhere else")]
fn variable(name: &str) -> Option<Zeroizing<String>> {
    std::env::var(name).ok().map(Zeroizing::new)
}

/// The text of a small file without the line end at its end.
pub(super) fn of_file(what: &str, path: &Path) -> Result<Zeroizing<String>, String> {
    let kind = |e: std::io::Error| e.kind().to_string();
    let file = std::fs::File::open(path).map_err(kind)?;
    let about = file.metadata().map_err(kind)?;
    if !about.is_file() {
        return Err("it is not a file".into());
    }
    if about.permissions().mode() & 0o007 != 0 {
        // A group is how a service account is given a secret; everybody is nobody's intention.
        say("secrets", &format!("warning: every account can read {} ({what}); chmod o-rwx it", path.display()));
    }
    let mut text = Zeroizing::new(String::with_capacity(about.len().min(MAX_BYTES) as usize + 1));
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(kind)?;
    if text.len() as u64 > MAX_BYTES {
        return Err("it is too large for a secret".into());
    }
    let trimmed = text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t));
    if trimmed.is_empty() {
        return Err("it is empty".into());
    }
    Ok(Zeroizing::new(trimmed.to_owned()))
}
