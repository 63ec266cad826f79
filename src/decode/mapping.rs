//! A mapping: everything that is known about one format, read from a TOML file of `schemas/cdr`.

mod check;
mod text;

use crate::decode::delimited::Dialect;
use crate::decode::fixed::Range;
use crate::decode::open::{FileDecoder, OpenError};
use crate::record::field::FieldSpec;
use crate::record::raw::Framing;
use std::sync::Arc;

/// A checked mapping. Cheap to clone and to share.
#[derive(Clone, Debug)]
pub struct Mapping {
    pub(crate) rules: Arc<Rules>,
}

/// What is wrong with a mapping file, and where (1-based line; 0 when it is the file as a whole).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct MappingError {
    pub line: usize,
    pub message: String,
}

impl Mapping {
    /// Reads a mapping. `name` is what the file is called (without `.toml`); the mapping must bear
    /// the same name, so that a copied file cannot pass for another format.
    pub fn parse(name: &str, toml: &str) -> Result<Mapping, MappingError> {
        let rules = Arc::new(text::rules(name, toml)?);
        if !matches!(rules.shape, Shape::Delimited { header: Header::Named | Header::Strict, .. }) {
            // Nothing of the file is needed to place the fields: what cannot be placed is known now.
            FileDecoder::open(rules.clone(), b"").map_err(|e| MappingError { line: 0, message: e.to_string() })?;
        }
        Ok(Mapping { rules })
    }

    pub fn name(&self) -> &str {
        &self.rules.name
    }

    pub fn version(&self) -> u32 {
        self.rules.version
    }

    /// First 16 hex digits of the SHA-256 of the mapping's text.
    pub fn digest(&self) -> &str {
        &self.rules.digest
    }

    /// How records end; what `source` must know of a format.
    pub fn framing(&self) -> Framing {
        self.rules.framing
    }

    /// Names of the rules by which records are left out.
    pub fn drop_rules(&self) -> Vec<&str> {
        self.rules.dispatch.iter().flat_map(|d| d.drops.iter().map(|rule| &**rule)).collect()
    }

    /// The canonical fields that this mapping fills, in the order of `Decoded::columns`.
    pub fn specs(&self) -> &Arc<[FieldSpec]> {
        &self.rules.specs
    }

    /// True when records are halves of calls, to be joined by `decode::join::Joiner`.
    pub fn joins(&self) -> bool {
        self.rules.join.is_some()
    }

    /// Fits the mapping to one file. `head` is the beginning of the decompressed file and must hold
    /// its header row whole; an empty file has an empty head.
    pub fn open(&self, head: &[u8]) -> Result<FileDecoder, OpenError> {
        FileDecoder::open(self.rules.clone(), head)
    }
}

#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) digest: String,
    pub(crate) framing: Framing,
    pub(crate) specs: Arc<[FieldSpec]>,
    /// One per spec.
    pub(crate) fields: Vec<FieldRule>,
    pub(crate) shape: Shape,
    /// Where each spec is found; at least one, and the last unless the data says otherwise.
    pub(crate) layouts: Vec<Layout>,
    pub(crate) comment: Option<u8>,
    pub(crate) skip_rows: u64,
    pub(crate) dispatch: Option<Dispatch>,
    pub(crate) join: Option<JoinKey>,
    /// Rule name and the header column that marks a file of another kind.
    pub(crate) other_files: Vec<(Arc<str>, String)>,
}

#[derive(Debug)]
pub(crate) enum Shape {
    Delimited {
        dialect: Dialect,
        header: Header,
    },
    /// Length of a call record in bytes, if it is fixed.
    Fixed {
        length: Option<u32>,
    },
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// Columns by number.
    None,
    /// Columns by name; others may stand beside them.
    Named,
    /// Columns by name; a column that the mapping does not name is refused.
    Strict,
}

#[derive(Debug, Default)]
pub(crate) struct FieldRule {
    pub(crate) optional: bool,
    /// Found in the record that ends a call, not in the one that opens it.
    pub(crate) of_closing: bool,
    pub(crate) constant: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Layout {
    /// Column counts that records may have; empty: any, or that of the header.
    pub(crate) columns: Vec<u16>,
    /// Index into `specs` of the time field whose look decides for this layout.
    pub(crate) probe: Option<usize>,
    /// One list per spec: the first place that holds something wins.
    pub(crate) from: Vec<Vec<Place>>,
}

/// Where in a record something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// 1-based.
    Column(u16),
    /// A header name, or a dotted path of a JSON document.
    Name(String),
    Bytes(Range),
}

/// What kinds of record there are and what happens to each.
#[derive(Debug)]
pub(crate) struct Dispatch {
    pub(crate) place: Place,
    /// Text of the type column, and the fate of such a record.
    pub(crate) kinds: Vec<(Vec<u8>, Fate)>,
    /// Names of the drop rules that `Fate::Drop` counts in.
    pub(crate) drops: Vec<Arc<str>>,
    /// An opening record whose number here is at least this is a whole call by itself.
    pub(crate) alone: Option<(Place, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Call,
    Drop(usize),
    Opens,
    Closes,
    /// Completes an opening record that lacks its time.
    Fills,
}

/// What the records of one call share.
#[derive(Debug)]
pub(crate) struct JoinKey {
    pub(crate) same: Vec<Place>,
    /// Two or more values that may have changed places (SIP tags).
    pub(crate) any_order: Vec<Place>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_through_other_paths_are_refused_at_once() {
        let text = "name = \"j\"\nversion = 1\nkind = \"json\"\n[fields.start]\nfrom = \"a.b\"\ntime = \"rfc3339\"\n[fields.cell]\nfrom = \"a\"\n";
        assert!(Mapping::parse("j", text).unwrap_err().message.contains("path `a`"));
        let fine = text.replace("from = \"a\"", "from = \"a.c\"");
        assert_eq!(Mapping::parse("j", &fine).unwrap().specs().len(), 2);
        assert_ne!(Mapping::parse("j", &fine).unwrap().digest(), Mapping::parse("j", &(fine + " ")).unwrap().digest());
    }
}
