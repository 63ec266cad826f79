//! `cdrveil init DIR`: a working single-machine site.

use super::context::Context;
use super::error::CliError;
use super::passphrase::{self, Zone};
use crate::clock::Clock;
use crate::config::{self, shipped_mappings};
use crate::keyfile;
use crate::record::time::Epoch;
use crate::vault::epochs::{self, Passphrases};
use clap::Args;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Make a site: configuration, keys, inboxes, an empty lake
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  cdrveil init /srv/cdr --country BE
  CDRVEIL_PASSPHRASE_FILE=ingest.txt CDRVEIL_VAULT_PASSPHRASE_FILE=vault.txt cdrveil init /srv/cdr

Two key files are made, each with a passphrase of its own: ingest/keys.age lets the pipeline make
pseudonyms and seal, vault/keys.age opens what was sealed. Keep the second one away from the machine's
daily users. Passphrases come from the files named above, or are asked for.")]
pub struct InitArgs {
    /// Folder of the new site; made if it does not exist
    pub dir: PathBuf,
    /// Home country of the feeds, ISO 3166-1 alpha-2
    #[arg(long, value_name = "CC", default_value = "BE", value_parser = country)]
    pub country: String,
}

fn country(text: &str) -> Result<String, String> {
    let upper = text.to_ascii_uppercase();
    if upper.len() == 2 && upper.bytes().all(|b| b.is_ascii_uppercase()) {
        Ok(upper)
    } else {
        Err("two letters are expected, as in ISO 3166-1: BE, GB, DE".into())
    }
}

pub fn run(args: InitArgs, context: &Context) -> Result<(), CliError> {
    refuse_existing(&args.dir)?;
    let ingest = passphrase::fresh(Zone::Ingest, &context.environment)?;
    let vault = passphrase::fresh(Zone::Vault, &context.environment)?;
    let shared = ingest.same_as(&vault);
    let epochs = create_site(&args.dir, &args.country, Passphrases { vault, ingest }, &*context.clock)?;
    if shared {
        eprintln!(
            "warning: both key files have one passphrase. That gives no separation: whoever may ingest may also open \
             everything sealed. Fine for a trial, wrong for a service."
        );
    }
    let names: Vec<String> = epochs.iter().map(Epoch::to_string).collect();
    let dir = args.dir.display().to_string();
    if context.json {
        context.print_json(&serde_json::json!({
            "site": dir, "epochs": names, "feeds": shipped_mappings(), "passphrases_shared": shared,
        }));
    } else {
        context.print_lines(&[
            format!("Site made in {dir}"),
            format!("  {}    every setting, explained", config::FILE),
            "  ingest/keys.age  what ingest may hold: makes pseudonyms, seals, opens nothing".into(),
            "  vault/keys.age   what opens; ingest never reads it".into(),
            format!("  epochs           {}", names.join(", ")),
            format!("  feeds            {}", shipped_mappings().join(", ")),
            String::new(),
            "Next:".into(),
            format!("  cdrveil check --site {dir}"),
            format!("  cdrveil ingest --site {dir} --feed generic-voice FILE.csv"),
        ]);
    }
    Ok(())
}

/// Makes everything of a site in `dir` and returns the epochs that it has keys for. The
/// configuration comes last: a folder that has it is whole.
pub fn create_site(
    dir: &Path,
    country: &str,
    passphrases: Passphrases,
    clock: &dyn Clock,
) -> Result<Vec<Epoch>, CliError> {
    refuse_existing(dir)?;
    folder(dir, 0o755)?;
    // Nothing in here is for other accounts of the machine; who may read the lake is the operator's choice.
    for name in ["ingest", "vault", "lake", "inbox"] {
        folder(&dir.join(name), if name == "inbox" { 0o770 } else { 0o700 })?;
    }
    for feed in shipped_mappings() {
        folder(&dir.join("inbox").join(feed), 0o770)?;
    }
    let outcome = epochs::init(dir, passphrases, clock)?;
    let name = dir.canonicalize().ok().and_then(|d| d.file_name().map(|n| n.to_string_lossy().into_owned()));
    let text = config::template::site_file(name.as_deref().unwrap_or("cdrveil"), country, &shipped_mappings());
    let path = dir.join(config::FILE);
    keyfile::replace_durably(&path, text.as_bytes()).map_err(|e| unwritable(&path, &e))?;
    Ok(outcome.created)
}

fn refuse_existing(dir: &Path) -> Result<(), CliError> {
    for name in [config::FILE, "vault/keys.age", "ingest/keys.age"] {
        if dir.join(name).exists() {
            return Err(CliError::usage(format!("{} is a site already: it has {name}", dir.display()))
                .fix("choose another folder; `cdrveil-vault epoch` adds epochs to an existing site"));
        }
    }
    Ok(())
}

fn folder(path: &Path, mode: u32) -> Result<(), CliError> {
    match DirBuilder::new().mode(mode).recursive(true).create(path) {
        Ok(()) => fs::File::open(path).and_then(|f| f.sync_all()).map_err(|e| unwritable(path, &e)),
        Err(e) => Err(unwritable(path, &e)),
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::failed(format!("cannot make {}: {error}", path.display()))
        .fix("check the path, the free space and the rights of this account")
}
