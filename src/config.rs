//! The site's configuration: `cdrveil.toml` and what overrides it, checked whole before anything
//! starts. Errors name the file and line, or the variable, and the fix.

pub mod environment;
pub mod settings;
pub mod template;

/// Name of the file in a site's folder.
pub const FILE: &str = "cdrveil.toml";

/// Mappings that come with the program; one feed of the same name each.
/// Until `decode` is merged this list stands here; `decode::shipped()` replaces it.
pub const SHIPPED_MAPPINGS: &[&str] = &[
    "generic-voice",
    "generic-sms",
    "generic-data",
    "asterisk",
    "freeswitch",
    "cisco-cucm",
    "kamailio",
    "fixed-width",
    "json-lines",
];
