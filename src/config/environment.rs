//! The process environment, read once: only names that begin with `CDRVEIL`.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Prefix of variables that override a setting.
pub const OVERRIDE: &str = "CDRVEIL__";

#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// The one place that reads the environment.
    pub fn of_process() -> Environment {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
            .filter(|(name, _)| name.starts_with("CDRVEIL"));
        Environment { variables: variables.collect() }
    }

    pub fn of(variables: &[(&str, &str)]) -> Environment {
        Environment { variables: variables.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect() }
    }

    /// The same with `name` set to `value`.
    pub fn with(mut self, name: &str, value: &str) -> Environment {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// File with the passphrase of `ingest/keys.age`.
    pub fn passphrase_file(&self) -> Option<PathBuf> {
        self.path(PASSPHRASE_FILE)
    }

    /// File with the passphrase of `vault/keys.age`.
    pub fn vault_passphrase_file(&self) -> Option<PathBuf> {
        self.path(VAULT_PASSPHRASE_FILE)
    }

    /// Folder of the site.
    pub fn site(&self) -> Option<PathBuf> {
        self.path("CDRVEIL_SITE")
    }

    /// Variables that override a setting, by name.
    pub fn overrides(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().filter(|(name, _)| name.starts_with(OVERRIDE)).map(|(n, v)| (n.as_str(), v.as_str()))
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.variables.get(name).filter(|v| !v.is_empty()).map(PathBuf::from)
    }
}

pub const PASSPHRASE_FILE: &str = "CDRVEIL_PASSPHRASE_FILE";
pub const VAULT_PASSPHRASE_FILE: &str = "CDRVEIL_VAULT_PASSPHRASE_FILE";

/// `release.store` → `CDRVEIL__RELEASE__STORE`; hyphens of feed names become one underscore.
pub fn variable_of(path: &str) -> String {
    format!("{OVERRIDE}{}", path.replace('.', "__").replace('-', "_").to_uppercase())
}
