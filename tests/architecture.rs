//! The rules of ARCHITECTURE.md that a machine can check: who imports whom, how long a file may
//! be, what a module may be called.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and may talk")]

use std::fs;
use std::path::{Path, PathBuf};

/// Who may import whom, in data-flow order. `config` and `cli` may import everything, and nothing
/// but the binaries imports `cli`.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("manual", &[]),
    ("record", &[]),
    ("clock", &[]),
    ("failpoint", &[]),
    ("keys", &["record"]),
    ("seal", &["record", "keys"]),
    ("keyfile", &["record", "keys"]),
    // `clock`: whether a token has expired is a question of wall-clock time.
    ("kafka", &["clock"]),
    ("source", &["record", "clock", "kafka"]),
    ("decode", &["record"]),
    ("normalise", &["record"]),
    ("pseudonymise", &["record", "keys"]),
    ("generalise", &["record"]),
    ("tally", &["record"]),
    // `failpoint`: a compaction can be killed at its steps, as a batch can.
    ("lake", &["record", "clock", "failpoint"]),
    ("sink", &["record", "keys", "lake", "seal", "failpoint", "kafka"]),
    (
        "pipeline",
        &[
            "record",
            "keys",
            "seal",
            "clock",
            "failpoint",
            "kafka",
            "lake",
            "source",
            "decode",
            "normalise",
            "pseudonymise",
            "generalise",
            "tally",
            "sink",
        ],
    ),
    ("release", &["record", "lake", "clock", "tally"]),
    ("publish", &["record", "lake", "release", "clock"]),
    ("steward", &["record", "release", "publish", "lake", "tally", "clock", "failpoint"]),
    ("query", &["record", "publish", "clock"]),
    ("vault", &["record", "keys", "seal", "keyfile", "lake", "clock"]),
    ("generate", &["record"]),
    ("telemetry", &[]),
    ("serve", &["telemetry"]),
    ("shutdown", &[]),
];
const MAY_IMPORT_ALL: &[&str] = &["config", "cli"];
const NOBODY_IMPORTS: &str = "cli";

const BAD_NAMES: &[&str] = &["utils", "util", "common", "types", "helpers", "misc"];
const MAX_LINES: usize = 600;
const MAX_LINES_OF_A_BINARY: usize = 5;

#[test]
fn modules_import_only_downwards() {
    assert_clean(|path, text| imports(path, text, MAY_IMPORT));
}

#[test]
fn files_can_be_read_in_one_sitting() {
    assert_clean(length);
}

#[test]
fn names_say_what_a_module_is_about() {
    assert_clean(|path, _| name(path));
}

#[test]
fn nothing_reaches_two_levels_up() {
    assert_clean(grandparents);
}

/// The checks themselves, on sources that break each rule.
#[test]
fn each_rule_catches_what_it_forbids() {
    let at = |path: &str| PathBuf::from(path);
    let import = |text: &str| imports(&at("src/decode/json.rs"), text, MAY_IMPORT).len();
    assert_eq!(import("use crate::record::raw::RawBatch; // crate::vault"), 0);
    assert_eq!(import("use crate::decode::mapping::Mapping;"), 0);
    assert_eq!(import("fn f() { crate::vault::open() }"), 1, "not in its row");
    assert_eq!(import("use crate::{record, vault};"), 1, "braces at the root hide names");
    assert_eq!(import("use crate::cli::run;"), 1);
    assert_eq!(import("#[cfg(test)]\nmod tests {\n    use crate::vault::open;\n}"), 0);
    assert_eq!(import("#[cfg(test)]\nmod fixtures {}\nuse crate::vault::open;"), 1, "only the tests at the end");
    assert_eq!(imports(&at("src/cli/ingest.rs"), "use crate::vault::open;", MAY_IMPORT).len(), 0);
    assert_eq!(imports(&at("src/config.rs"), "use crate::cli::run;", MAY_IMPORT).len(), 1);
    assert_eq!(imports(&at("src/surprise.rs"), "", MAY_IMPORT).len(), 1, "no row");
    assert_eq!(grandparents(&at("src/a.rs"), "use super::super::x;").len(), 1);
    assert_eq!(name(&at("src/decode/utils.rs")).len(), 1);
    assert_eq!(name(&at("src/helpers/a.rs")).len(), 1);
    assert_eq!(length(&at("src/a.rs"), &"\n".repeat(MAX_LINES + 1)).len(), 1);
    assert_eq!(length(&at("src/bin/a.rs"), &"\n".repeat(MAX_LINES_OF_A_BINARY + 1)).len(), 1);
}

fn assert_clean(check: impl Fn(&Path, &str) -> Vec<String>) {
    let files = sources(Path::new("src"));
    assert!(files.len() > 10, "sources not found; tests run in the package's folder");
    let wrong: Vec<String> = files.iter().flat_map(|p| check(p, &fs::read_to_string(p).unwrap())).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() {
        return fs::read_dir(path).unwrap().flat_map(|entry| sources(&entry.unwrap().path())).collect();
    }
    let rust = path.extension().is_some_and(|e| e == "rs");
    if rust { vec![path.to_owned()] } else { Vec::new() }
}

/// The module right below the root that a file belongs to; none for `lib.rs` and the binaries.
fn module(path: &Path) -> Option<&str> {
    let first = Path::new(path.strip_prefix("src").unwrap().iter().next().unwrap());
    let name = first.file_stem().unwrap().to_str().unwrap();
    (!matches!(name, "lib" | "bin")).then_some(name)
}

fn imports(path: &Path, text: &str, table: &[(&str, &[&str])]) -> Vec<String> {
    let Some(module) = module(path) else { return Vec::new() };
    let row = table.iter().find(|row| row.0 == module).map(|row| row.1);
    let all = MAY_IMPORT_ALL.contains(&module);
    if row.is_none() && !all {
        return vec![format!("{}: give {module} a row in MAY_IMPORT", path.display())];
    }
    let allowed = |target: &str| {
        let listed = all || row.is_some_and(|row| row.contains(&target));
        target == module || (!target.is_empty() && target != NOBODY_IMPORTS && listed)
    };
    let mut wrong = Vec::new();
    // A file's own tests stand last, and may make what they need by whatever makes it in the product.
    let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    for (n, line) in product.lines().enumerate() {
        let code = line.split("//").next().unwrap();
        for rest in code.split("crate::").skip(1) {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            if !allowed(&rest[..end]) {
                wrong.push(format!("{}:{}: {module} may not import `{}`", path.display(), n + 1, &rest[..end]));
            }
        }
    }
    wrong
}

fn length(path: &Path, text: &str) -> Vec<String> {
    let bound = if path.starts_with("src/bin") { MAX_LINES_OF_A_BINARY } else { MAX_LINES };
    let lines = text.lines().count();
    if lines <= bound {
        return Vec::new();
    }
    vec![format!("{}: {lines} lines, at most {bound}: does it tell one story?", path.display())]
}

fn name(path: &Path) -> Vec<String> {
    let parts = path.iter().filter_map(|part| Path::new(part).file_stem()?.to_str());
    parts
        .filter(|part| BAD_NAMES.contains(part))
        .map(|part| format!("{}: `{part}` says nothing", path.display()))
        .collect()
}

fn grandparents(path: &Path, text: &str) -> Vec<String> {
    let hits = text.lines().enumerate().filter(|(_, line)| line.contains("super::super::"));
    hits.map(|(n, _)| format!("{}:{}: write the full path from crate::", path.display(), n + 1)).collect()
}
