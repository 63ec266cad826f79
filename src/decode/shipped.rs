//! The mapping files that come with the program.

/// Name and text of every mapping of `schemas/cdr`.
pub fn shipped() -> &'static [(&'static str, &'static str)] {
    SHIPPED
}

const SHIPPED: &[(&str, &str)] = &[
    ("asterisk", include_str!("../../schemas/cdr/asterisk.toml")),
    ("cisco-cucm", include_str!("../../schemas/cdr/cisco-cucm.toml")),
    ("fixed-width", include_str!("../../schemas/cdr/fixed-width.toml")),
    ("freeswitch", include_str!("../../schemas/cdr/freeswitch.toml")),
    ("freeswitch-epoch", include_str!("../../schemas/cdr/freeswitch-epoch.toml")),
    ("freeswitch-json", include_str!("../../schemas/cdr/freeswitch-json.toml")),
    ("generic-data", include_str!("../../schemas/cdr/generic-data.toml")),
    ("generic-sms", include_str!("../../schemas/cdr/generic-sms.toml")),
    ("generic-voice", include_str!("../../schemas/cdr/generic-voice.toml")),
    ("json-lines", include_str!("../../schemas/cdr/json-lines.toml")),
    ("kamailio", include_str!("../../schemas/cdr/kamailio.toml")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::join::{Joined, Joiner};
    use crate::decode::mapping::Mapping;
    use crate::decode::open::OpenError;
    use crate::record::decoded::Decoded;
    use crate::record::raw::RawBatch;
    use std::fmt::Write;
    use std::fs;
    use std::path::{Path, PathBuf};

    fn decode(mapping: &Mapping, bytes: &[u8]) -> Result<Joined, OpenError> {
        let decoder = mapping.open(bytes)?;
        let mut batch = RawBatch::of_file(bytes.to_vec(), 0, 0);
        mapping.mark_document(&mut batch);
        let decoded = decoder.decode(batch);
        Ok(match mapping.joins() {
            true => Joiner::default().absorb(decoded, 0),
            false => Joined { decoded, joined: 0 },
        })
    }

    /// Every row as `line: field=text …` (absent and empty fields left out), then rejects and drops.
    fn describe(Joined { decoded, joined }: &Joined) -> String {
        let mut out = String::new();
        for (row, record) in decoded.rows.iter().enumerate() {
            let _ = write!(out, "{}:", decoded.lines[*record as usize] + 1);
            for (spec, column) in decoded.specs.iter().zip(&decoded.columns) {
                let text = column[row].of(&decoded.text);
                if !text.is_empty() {
                    let _ = write!(out, " {}={}", spec.field.name(), String::from_utf8_lossy(text));
                }
            }
            out.push('\n');
        }
        for reject in &decoded.rejects {
            let line = decoded.lines[reject.record as usize] + 1;
            let _ = writeln!(out, "reject {} at {line}:{}", reject.reason.code(), reject.column);
        }
        for (rule, n) in &decoded.dropped {
            let _ = writeln!(out, "dropped {rule} {n}");
        }
        if *joined > 0 {
            let _ = writeln!(out, "joined {joined}");
        }
        out
    }

    fn files(name: &str, folder: &str) -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/cdr").join(name).join(folder);
        let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|f| f.extension().is_none_or(|e| e != "expected"));
        files.sort();
        files
    }

    fn balance(Joined { decoded, joined }: &Joined) {
        let dropped: u64 = decoded.dropped.iter().map(|d| d.1).sum();
        assert_eq!(
            decoded.records.len() as u64,
            decoded.rows.len() as u64 + joined + decoded.rejects.len() as u64 + dropped
        );
    }

    fn of_decoded(decoded: Decoded) -> Joined {
        Joined { decoded, joined: 0 }
    }

    #[test]
    fn every_mapping_of_the_folder_ships() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/cdr");
        let mut found: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str().unwrap().strip_suffix(".toml").map(str::to_owned))
            .collect();
        found.sort();
        assert_eq!(found, shipped().iter().map(|s| s.0).collect::<Vec<_>>());
        for (name, text) in shipped() {
            let mapping = Mapping::parse(name, text).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!((mapping.name(), mapping.version(), mapping.digest().len()), (*name, 1, 16));
        }
    }

    #[test]
    fn good_files_give_the_expected_fields() {
        for (name, text) in shipped() {
            let mapping = Mapping::parse(name, text).unwrap();
            for file in files(name, "good") {
                let joined =
                    decode(&mapping, &fs::read(&file).unwrap()).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
                balance(&joined);
                let expected = fs::read_to_string(format!("{}.expected", file.display())).unwrap_or_default();
                assert_eq!(describe(&joined), expected, "{}", file.display());
            }
        }
    }

    /// A bad file is named for the reason of its one reject, or `open-…` when it is refused whole.
    #[test]
    fn bad_files_break_the_rule_they_are_named_for() {
        for (name, text) in shipped() {
            let mapping = Mapping::parse(name, text).unwrap();
            for file in files(name, "bad") {
                let stem = file.file_name().unwrap().to_str().unwrap().split('.').next().unwrap().to_owned();
                match decode(&mapping, &fs::read(&file).unwrap()) {
                    Err(error) => {
                        assert!(stem.starts_with("open-"), "{}: {error}", file.display());
                        assert!(!error.to_string().contains("7700"), "{}: {error}", file.display());
                    }
                    Ok(joined) => {
                        balance(&joined);
                        let reasons: Vec<_> = joined.decoded.rejects.iter().map(|r| r.reason.code()).collect();
                        assert_eq!(reasons, [stem], "{}", file.display());
                        assert!(joined.decoded.rows.is_empty());
                    }
                }
            }
        }
    }

    #[test]
    fn an_empty_file_opens_and_has_no_records() {
        for (name, text) in shipped() {
            let mapping = Mapping::parse(name, text).unwrap();
            for bytes in [&b""[..], b"\n\r\n"] {
                let decoder = mapping.open(bytes).unwrap();
                let batch = RawBatch::of_file(bytes.to_vec(), 0, 0);
                assert_eq!(describe(&of_decoded(decoder.decode(batch))), "", "{name}");
            }
        }
    }

    #[test]
    fn an_oversize_piece_is_one_reject() {
        for (name, text) in shipped() {
            let mapping = Mapping::parse(name, text).unwrap();
            let decoder = mapping.open(b"").unwrap();
            let mut batch = RawBatch::of_file(vec![b'\n'; 1000], 0, 9);
            batch.oversize = true;
            assert_eq!(describe(&of_decoded(decoder.decode(batch))), "reject record_too_long at 1:0\n", "{name}");
        }
    }
}
