//! The columns of every table (contracts in prose: `schemas/lake/`).

use super::compact::Layout;
use super::compact::rows::Order;
use super::contract::ColumnKind::{Binary, Boolean, Date, Header, Id, Integer, Long, String, Symbol, Timestamp};
use super::contract::{Column, Contract, column};
use crate::record::identifier::Party;

/// Version of the canonicalisation rules behind every pseudonym; a change of rules is a re-key
/// event and takes a new number.
pub const CANON: i32 = 1;

/// `cdr`: veiled rows, generalised; partitioned by event day.
pub fn cdr() -> Contract {
    let mut columns = vec![
        column("epoch", Symbol, false),
        column("service", Symbol, false),
        column("direction", Symbol, false),
        column("start", Timestamp, false),
        column("duration", Integer, true),
        column("volume", Long, true),
        column("charge", Long, true),
        column("currency", Symbol, true),
        column("answered", Boolean, true),
        column("cause_class", Symbol, false),
    ];
    for party in Party::ALL {
        columns.push(column(party.column(), Id, true));
        columns.push(column(kind_column(party), Symbol, false));
    }
    for name in ["a_country", "b_country", "home_network", "visited_network", "trunk_in", "trunk_out", "device_class"] {
        columns.push(column(name, Symbol, true));
    }
    columns.extend([column("feed", Symbol, false), column("canon", Integer, false), column("batch", Symbol, false)]);
    Contract { name: "cdr", columns, partition: vec![column("event_day", Date, false)] }
}

fn kind_column(party: Party) -> &'static str {
    match party {
        Party::A => "a_party_kind",
        Party::B => "b_party_kind",
        Party::C => "c_party_kind",
        Party::Imsi => "imsi_kind",
        Party::Imei => "imei_kind",
        Party::Address => "address_kind",
    }
}

/// `evidence`: sealed originals, found by blind index; partitioned by event day.
pub fn evidence() -> Contract {
    let mut columns: Vec<Column> = Party::ALL.iter().map(|p| column(p.column(), Id, true)).collect();
    columns.extend(sealed_columns());
    Contract { name: "evidence", columns, partition: vec![column("event_day", Date, false)] }
}

/// `identities`: the sealed canonical number behind each pseudonym; partitioned by epoch.
pub fn identities() -> Contract {
    let mut columns = vec![column("pseudonym", Id, false), column("kind", Symbol, false)];
    columns.extend(sealed_columns());
    Contract { name: "identities", columns, partition: vec![column("epoch", String, false)] }
}

/// `quarantine`: sealed raw bytes of refused records; partitioned by arrival day.
pub fn quarantine() -> Contract {
    let mut columns = vec![
        column("feed", Symbol, false),
        column("batch", Symbol, false),
        // Index into the manifest's `sources`.
        column("source", Integer, false),
        // 1-based line in the decompressed file.
        column("line", Long, false),
        column("offset", Long, false),
        column("reason", Symbol, false),
        // 1-based input column; 0 for the record as a whole.
        column("column", Integer, false),
    ];
    columns.extend(sealed_columns());
    Contract { name: "quarantine", columns, partition: vec![column("arrival_day", Date, false)] }
}

fn sealed_columns() -> [Column; 4] {
    [
        column("block", Header, false),
        // Row number in the block: the nonce.
        column("row", Integer, false),
        column("header", Header, false),
        column("sealed", Binary, false),
    ]
}

/// How compaction writes `cdr`.
pub fn cdr_layout() -> Layout {
    let order = Order::ById(vec![Party::A.column(), Party::B.column()]);
    Layout { contract: cdr(), order, lookup: Vec::new(), unique: false }
}

/// How compaction writes the vault's tables.
pub fn vault_layouts() -> [Layout; 3] {
    let by = |id| Order::ById(vec![id]);
    let parties = Party::ALL.map(Party::column).to_vec();
    [
        Layout { contract: evidence(), order: by(Party::A.column()), lookup: parties, unique: false },
        Layout { contract: identities(), order: by("pseudonym"), lookup: vec!["pseudonym"], unique: true },
        Layout { contract: quarantine(), order: Order::AsTheyStand, lookup: Vec::new(), unique: false },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::contract::ColumnKind;

    /// As the documents write it.
    fn type_name(kind: ColumnKind) -> &'static str {
        match kind {
            String | Symbol => "string",
            Id | Binary | Header => "binary",
            Integer => "integer",
            Long => "long",
            Boolean => "boolean",
            Timestamp => "timestamp",
            Date => "date",
        }
    }

    #[test]
    fn the_documents_name_every_column_and_no_other() {
        for (contract, document) in [
            (cdr(), include_str!("../../schemas/lake/cdr.md")),
            (evidence(), include_str!("../../schemas/lake/evidence.md")),
            (identities(), include_str!("../../schemas/lake/identities.md")),
            (quarantine(), include_str!("../../schemas/lake/quarantine.md")),
        ] {
            // The first table is that of the columns; others explain values.
            let rows = document.lines().skip_while(|l| !l.starts_with("| `"));
            let documented: Vec<&str> = rows.take_while(|l| l.starts_with("| `")).collect();
            assert_eq!(documented.len(), contract.columns.len(), "{}", contract.name);
            for (column, line) in contract.columns.iter().zip(documented) {
                let null = if column.nullable { "yes" } else { "no" };
                let start = format!("| `{}` | {} | {null} |", column.name, type_name(column.kind));
                assert!(line.starts_with(&start), "{}: {line}", contract.name);
            }
            assert!(document.contains(&format!("Partitioned by `{}`", contract.partition[0].name)));
        }
    }
}
