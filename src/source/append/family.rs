//! The rotated files beside a live one, told by their names.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::source::SourceError;

/// Endings under which rotated files are packed; content decides how they are read.
const PACKED: [&str; 3] = [".gz", ".zst", ".bz2"];

/// What tells one rotated file from the next, in order of age, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    /// Digits of a date and perhaps a time.
    Stamp(String),
    /// The higher, the older.
    Index(Reverse<u32>),
}

/// The rotated files of `live`, oldest first. Of one that is there packed and unpacked (while it is
/// being packed), only the unpacked one.
pub(super) fn rotated(live: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let folder = match live.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let Some(name) = live.file_name().and_then(|name| name.to_str()) else { return Ok(Vec::new()) };
    let mut family: BTreeMap<Mark, (bool, PathBuf)> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(|error| SourceError::io(folder, error))? {
        let entry = entry.map_err(|error| SourceError::io(folder, error))?;
        let Some((mark, packed)) = entry.file_name().to_str().and_then(|other| mark(name, other)) else { continue };
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let slot = family.entry(mark).or_insert_with(|| (packed, entry.path()));
        if slot.0 && !packed {
            *slot = (packed, entry.path());
        }
    }
    Ok(family.into_values().map(|(_, path)| path).collect())
}

/// The files that `path` may have been rotated from, by its name alone; none for most names.
pub fn lives(path: &Path) -> Vec<PathBuf> {
    let Some(other) = path.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
    let name = PACKED.iter().find_map(|ending| other.strip_suffix(ending)).unwrap_or(other);
    let mut found: Vec<String> = Vec::new();
    for (at, _) in name.match_indices(['.', '-', '_']).filter(|(at, _)| *at > 0) {
        let ends = name.match_indices('.').map(|(dot, _)| dot).filter(|dot| *dot > at).chain([name.len()]);
        found.extend(ends.map(|end| format!("{}{}", &name[..at], &name[end..])));
    }
    found.retain(|live| mark(live, other).is_some());
    found.iter().map(|live| path.with_file_name(live)).collect()
}

/// The mark of `other` when it is a rotated `live`, and whether it is packed.
fn mark(live: &str, other: &str) -> Option<(Mark, bool)> {
    let unpacked = PACKED.iter().find_map(|ending| other.strip_suffix(ending));
    let name = unpacked.unwrap_or(other);
    let inner = between(name, live, "").or_else(|| {
        let dot = live.rfind('.').filter(|dot| *dot > 0)?;
        // `2026-11-22.csv` is a day's file, not one of November rotated on the 22nd.
        live[..dot].contains(|c| !is_stamp(c)).then_some(())?;
        between(name, &live[..dot], &live[dot..])
    })?;
    let digits: String = inner.chars().filter(char::is_ascii_digit).collect();
    if digits.is_empty() || !inner.chars().all(is_stamp) {
        return None;
    }
    let mark = match digits.parse::<u32>() {
        Ok(index) if digits.len() <= 4 && digits == inner => Mark::Index(Reverse(index)),
        _ => Mark::Stamp(digits),
    };
    Some((mark, unpacked.is_some()))
}

fn is_stamp(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '-' | '_' | ':' | 'T')
}

/// What stands between `start`, a separator, and `end`.
fn between<'a>(name: &'a str, start: &str, end: &str) -> Option<&'a str> {
    name.strip_prefix(start)?.strip_suffix(end)?.strip_prefix(['.', '-', '_'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rotated_files() {
        let stamp = |digits: &str| Mark::Stamp(digits.into());
        let index = |index| Mark::Index(Reverse(index));
        let cases = [
            ("Master.csv.1", Some((index(1), false))),
            ("Master.csv.12.gz", Some((index(12), true))),
            ("Master.csv-20261122", Some((stamp("20261122"), false))),
            ("Master.csv-20261122.zst", Some((stamp("20261122"), true))),
            ("Master.csv-2026-11-22_17:00", Some((stamp("202611221700"), false))),
            ("Master-20261122.csv", Some((stamp("20261122"), false))),
            ("Master.3.csv.bz2", Some((index(3), true))),
            ("Master.csv", None),
            ("Master.csv.gz", None),
            ("Master.csv.bak", None),
            ("Master.csv.1.tmp", None),
            ("Master.csv-", None),
            ("Master.csv2", None),
            ("Other.csv.1", None),
        ];
        for (name, expected) in cases {
            assert_eq!(mark("Master.csv", name), expected, "{name}");
        }
    }

    #[test]
    fn names_that_look_rotated() {
        let of = |name: &str| -> Vec<String> {
            let found = lives(&Path::new("/var/log").join(name));
            found.iter().map(|p| p.strip_prefix("/var/log").unwrap().display().to_string()).collect()
        };
        assert_eq!(of("Master.csv.1"), ["Master.csv"]);
        assert_eq!(of("Master.csv.2.gz"), ["Master.csv"]);
        assert_eq!(of("Master.csv-20261122.zst"), ["Master.csv"]);
        assert_eq!(of("Master-20261122.csv"), ["Master.csv"]);
        assert!(of("Master-2026-11-22.csv").contains(&"Master.csv".to_owned()));
        assert_eq!(of("2026-11-22.csv.1"), ["2026-11-22.csv"]);
        for name in
            ["2026-11-22.csv", "2026-11-22.csv.gz", "Master.csv", "Master2.csv", "a_b.csv", "x.csv.gz", ".1", "é-é.csv"]
        {
            assert!(of(name).is_empty(), "{name}");
        }
    }

    #[test]
    fn oldest_first_and_unpacked_before_packed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["m.csv", "m.csv.2.gz", "m.csv.1", "m.csv.10", "m.csv.2", "m.csv.lock"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        std::fs::create_dir(dir.path().join("m.csv.3")).unwrap();
        let found: Vec<_> = rotated(&dir.path().join("m.csv")).unwrap();
        let names: Vec<_> = found.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["m.csv.10", "m.csv.2", "m.csv.1"]);
    }
}
