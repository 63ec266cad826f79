//! The mapping files that come with the program.

/// Name and text of every mapping of `schemas/cdr`.
pub fn shipped() -> &'static [(&'static str, &'static str)] {
    SHIPPED
}

const SHIPPED: &[(&str, &str)] = &[
    ("generic-voice", include_str!("../../schemas/cdr/generic-voice.toml")),
];
