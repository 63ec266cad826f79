//! What every command is given: the site's folder, the environment, the clock, and its output.

use super::error::CliError;
use super::passphrase::{self, Zone};
use crate::clock::{Clock, SystemClock};
use crate::config::Site;
use crate::config::environment::Environment;
use crate::keyfile::{IngestKeyFile, Passphrase};
use crate::vault::epochs::{Passphrases, ingest_key_file};
use comfy_table::{ContentArrangement, Table, presets};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

pub struct Context {
    pub site_dir: PathBuf,
    /// Results as JSON on stdout, errors as JSON on stderr.
    pub json: bool,
    /// Stdout is a terminal: colours, tables with borders, progress bars.
    pub terminal: bool,
    pub environment: Environment,
    pub clock: Arc<dyn Clock>,
}

impl Context {
    pub fn new(site: Option<PathBuf>, json: bool, environment: Environment) -> Context {
        let site_dir = site.or_else(|| environment.site()).unwrap_or_else(|| PathBuf::from("."));
        let terminal = !json && std::io::stdout().is_terminal();
        Context { site_dir, json, terminal, environment, clock: Arc::new(SystemClock) }
    }

    /// The checked configuration.
    pub fn site(&self) -> Result<Site, CliError> {
        Ok(Site::load(&self.site_dir, &self.environment)?)
    }

    /// The lease of this site's ingest, unlocked by its passphrase at the first `refresh`.
    pub fn ingest_keys(&self) -> Result<IngestKeyFile, CliError> {
        let passphrase = passphrase::existing(Zone::Ingest, &self.environment)?;
        Ok(IngestKeyFile::open(&ingest_key_file(&self.site_dir), passphrase)?)
    }

    pub fn vault_passphrase(&self) -> Result<Passphrase, CliError> {
        passphrase::existing(Zone::Vault, &self.environment)
    }

    /// Both, for commands of the vault that hand a lease to ingest.
    pub fn passphrases(&self) -> Result<Passphrases, CliError> {
        Ok(Passphrases {
            vault: self.vault_passphrase()?,
            ingest: passphrase::existing(Zone::Ingest, &self.environment)?,
        })
    }

    /// An empty table: borders and bold heads on a terminal, aligned columns when piped.
    pub fn table(&self, head: &[&str]) -> Table {
        let mut table = Table::new();
        if self.terminal {
            table.load_preset(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
            table
                .set_header(head.iter().map(|h| comfy_table::Cell::new(h).add_attribute(comfy_table::Attribute::Bold)));
        } else {
            table.load_preset(presets::NOTHING).set_header(head);
        }
        table
    }

    pub fn print_table(&self, table: &Table) {
        self.print_lines(&table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>());
    }

    pub fn print_json(&self, value: &serde_json::Value) {
        self.print_lines(&[value.to_string()]);
    }

    /// Writes to stdout; a reader that went away (`| head`) is not an error.
    pub fn print_lines(&self, lines: &[String]) {
        let mut out = std::io::stdout().lock();
        for line in lines {
            if writeln!(out, "{line}").is_err() {
                return;
            }
        }
        let _ = out.flush();
    }
}
