//! What is wrong with a configuration, where, and what to do. Never shows a value.

use std::fmt;
use std::path::PathBuf;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Line of the file, from 1.
    Line(usize),
    /// Line of a mapping file.
    Mapping { file: PathBuf, line: usize },
    /// An environment variable, by name.
    Variable(String),
    /// The file as a whole: what is missing has no line.
    File,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    pub message: String,
    /// What to do, in one sentence.
    pub fix: String,
}

/// All problems of one configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub file: PathBuf,
    /// In the order of the file, never empty.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// `FILE:LINE`, the variable's name, or the file.
    pub fn place(&self, problem: &Problem) -> String {
        match &problem.place {
            Place::Line(line) => format!("{}:{line}", self.file.display()),
            Place::Mapping { file, line } => format!("{}:{line}", file.display()),
            Place::Variable(name) => name.clone(),
            Place::File => self.file.display().to_string(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            write!(f, "{end}{}: {}\n  fix: {}", self.place(problem), problem.message, problem.fix)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// The known name that differs least, if it differs little.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let stem = |s: &str| s.rsplit_once('_').map_or(s, |(stem, _)| stem).to_owned();
    known
        .iter()
        .map(|k| {
            // `settle_ms` means `settle_s`: the same word with another unit counts as near.
            let distance = edits(name, k);
            let other_unit =
                !name.starts_with("CDRVEIL") && stem(name) == stem(k) && name.contains('_') && k.contains('_');
            let no_unit = k.strip_prefix(name).is_some_and(|rest| rest.starts_with('_'));
            (if other_unit || no_unit { distance.min(1) } else { distance }, *k)
        })
        .filter(|(distance, k)| *distance <= (k.len() / 3).clamp(2, 4) && *distance < k.len().min(name.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}

/// Levenshtein distance, in bytes.
fn edits(a: &str, b: &str) -> usize {
    let b = b.as_bytes();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_is_the_number_of_edits() {
        for (a, b, n) in [
            ("", "abc", 3),
            ("store", "store", 0),
            ("stroe", "store", 2),
            ("settle", "settle_s", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!((edits(a, b), edits(b, a)), (n, n), "{a} {b}");
        }
    }

    #[test]
    fn a_near_name_is_offered_and_a_far_one_is_not() {
        let known = ["store", "distinct_subscribers", "settle_s", "idle_after_hours"];
        for (name, near) in [
            ("stor", Some("store")),
            ("settle_ms", Some("settle_s")),
            ("idle_after_days", Some("idle_after_hours")),
            ("idle_after", Some("idle_after_hours")),
            ("distinct_subscriber", Some("distinct_subscribers")),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(nearest(name, &known), near, "{name}");
        }
    }
}
