//! `vault/events.jsonl`: one line per change of a key and per opening of what is sealed. Never a
//! key, only what commits to it; never content.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

#[derive(Serialize)]
pub struct Event<'a> {
    /// RFC 3339, UTC.
    pub time: String,
    pub event: &'a str,
    pub epoch: String,
    pub generation: u32,
    /// `EpochKey::commitment` of the key that now stands.
    pub commitment: String,
    /// The same of the key that it replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<String>,
}

/// A recipient was registered: from now on ingest is handed its keys.
#[derive(Serialize)]
pub struct RecipientEvent<'a> {
    /// RFC 3339, UTC.
    pub time: String,
    pub event: &'a str,
    pub recipient: &'a str,
}

/// Rows of `vault/quarantine` that are about to be opened.
#[derive(Serialize)]
pub struct Opening<'a> {
    /// RFC 3339, UTC.
    pub time: String,
    pub event: &'a str,
    pub feed: &'a str,
    pub purpose: &'a str,
    /// User id of the process that asked.
    pub uid: u32,
    pub rows: u64,
    /// Rows by the reason that they were refused for.
    pub reasons: BTreeMap<String, u64>,
    /// Arrival days of the rows.
    pub days: Vec<String>,
}

/// Appends and syncs.
pub fn append(vault: &Path, events: &[impl Serialize]) -> std::io::Result<()> {
    let mut text = Vec::new();
    for event in events {
        serde_json::to_writer(&mut text, event)?;
        text.push(b'\n');
    }
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(vault.join("events.jsonl"))?;
    file.write_all(&text)?;
    file.sync_all()
}

/// Milliseconds since 1970 as RFC 3339 in UTC.
pub fn timestamp(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |t| t.to_string())
}
