use super::*;
use crate::clock::MockClock;
use crate::config::Site;
use crate::keys::KeySource;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// A folder with two passphrase files beside a place for the site.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Desk {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("ingest.txt", "one\n"), ("vault.txt", "two\n"), ("empty.txt", "\n")] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Desk { dir }
    }

    fn site(&self) -> PathBuf {
        self.dir.path().join("site")
    }

    fn context(&self, ingest: &str, vault: &str) -> Context {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let environment = Environment::of(&[
            ("CDRVEIL_PASSPHRASE_FILE", &path(ingest)),
            ("CDRVEIL_VAULT_PASSPHRASE_FILE", &path(vault)),
            ("CDRVEIL_SITE", &path("site")),
        ]);
        let mut context = Context::new(None, true, environment);
        context.clock = Arc::new(MockClock::at_ms(1_795_305_600_000));
        context
    }

    fn usual(&self) -> Context {
        self.context("ingest.txt", "vault.txt")
    }

    fn init(&self, context: &Context) -> Result<(), CliError> {
        init::run(init::InitArgs { dir: self.site(), country: "GB".into() }, context)
    }

    fn vault(&self, line: &[&str], context: &Context) -> Result<(), CliError> {
        let parsed = CdrveilVault::try_parse_from([&["cdrveil-vault"], line].concat())
            .map_err(|e| CliError::usage(e.to_string()))?;
        match parsed.command {
            VaultCommand::Epoch(args) => epoch::run(args, context),
            VaultCommand::Sweep(args) => sweep::run(&args, context),
            VaultCommand::Recipient(args) => recipient::run(args, context),
            VaultCommand::Compact(args) => compact::run(&args, context),
            VaultCommand::Quarantine(_) | VaultCommand::Completions(_) => unreachable!("not used here"),
        }
    }
}

fn failure(result: Result<(), CliError>) -> (Failure, String) {
    let error = result.unwrap_err();
    (error.failure(), error.message().to_owned())
}

#[test]
fn both_command_lines_are_consistent_and_explain_themselves() {
    for mut command in [Cdrveil::command(), CdrveilVault::command()] {
        command.clone().debug_assert();
        let help = command.render_long_help().to_string();
        assert!(help.contains("Examples:") && help.contains("Exit codes:") && help.contains("CDRVEIL_PASSPHRASE_FILE"));
    }
}

#[test]
fn a_new_site_loads_checks_and_unlocks() {
    let desk = Desk::new();
    let context = desk.usual();
    desk.init(&context).unwrap();
    let site = Site::load(&desk.site(), &context.environment).unwrap();
    assert_eq!(site.feeds.len(), crate::config::shipped_mappings().len());
    assert!(site.feeds.values().all(|f| f.profile["home_country"].as_str() == Some("GB")));
    check::run(check::CheckArgs {}, &context).unwrap();
    let ring = context.ingest_keys().unwrap().refresh().unwrap().unwrap();
    assert_eq!(ring.epochs.len(), 3);
    desk.vault(&["epoch", "list"], &context).unwrap();
    desk.vault(&["epoch", "ensure"], &context).unwrap();
}

#[test]
fn an_existing_site_is_left_alone() {
    let desk = Desk::new();
    desk.init(&desk.usual()).unwrap();
    let keys = || fs::read(desk.site().join("vault/keys.age")).unwrap();
    let before = keys();
    assert_eq!(failure(desk.init(&desk.usual())).0, Failure::Usage);
    // Keys alone are enough: they are the part that cannot be made again.
    fs::remove_file(desk.site().join(crate::config::FILE)).unwrap();
    assert_eq!(failure(desk.init(&desk.usual())).0, Failure::Usage);
    assert!(keys() == before);
}

#[test]
fn without_the_right_passphrase_one_is_locked_out_and_told_why() {
    let desk = Desk::new();
    desk.init(&desk.usual()).unwrap();
    let list = |vault: &str| desk.vault(&["epoch", "list"], &desk.context("ingest.txt", vault));
    for (file, says) in
        [("ingest.txt", "wrong passphrase"), ("none.txt", "none.txt"), ("empty.txt", "empty"), (".", "no passphrase")]
    {
        let (failure, message) = failure(list(file));
        assert_eq!(failure, Failure::LockedOut, "{file}");
        assert!(message.contains(says) && message.contains("vault/keys.age"), "{message}");
    }
    let ring = desk.context("vault.txt", "vault.txt").ingest_keys().unwrap().refresh();
    assert_eq!(CliError::from(ring.err().unwrap()).failure(), Failure::LockedOut);
    let create = desk.vault(&["epoch", "create", "--epoch", "2025-01"], &desk.context("vault.txt", "vault.txt"));
    assert_eq!(failure(create).0, Failure::LockedOut);
}

#[test]
fn without_passphrases_no_site_is_begun() {
    let desk = Desk::new();
    assert_eq!(failure(desk.init(&desk.context("ingest.txt", "empty.txt"))).0, Failure::LockedOut);
    assert!(!desk.site().exists());
}

#[test]
fn what_is_wrong_is_a_usage_error_and_changes_nothing() {
    let desk = Desk::new();
    let context = desk.usual();
    desk.init(&context).unwrap();
    let before = fs::read(desk.site().join("vault/keys.age")).unwrap();
    let key = |text: &str| {
        let path = desk.dir.path().join("key.hex");
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let mut refused: Vec<Vec<String>> = [
        "epoch",
        "epoch create",
        "epoch create --epoch 2025-13",
        "epoch create --epoch 2025-1",
        "epoch create --epoch 2025-02 --through 2025-01",
        "epoch import --epoch 2026-11",
        "epoch import --epoch 2026-11 --key-file /none",
        "epoch list --colour",
    ]
    .map(|line| line.split(' ').map(str::to_owned).collect())
    .into();
    for text in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &format!("{}\n\n", "0".repeat(64))] {
        let path = key(text);
        refused.push(["epoch", "import", "--epoch", "2026-11", "--key-file", &path].map(str::to_owned).into());
        let (failure, message) =
            failure(desk.vault(&["epoch", "import", "--epoch", "2026-11", "--key-file", &path], &context));
        assert_eq!(failure, Failure::Usage);
        assert!(!message.contains("0000"), "a key must not be shown");
    }
    for line in refused {
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        assert_eq!(failure(desk.vault(&line, &context)).0, Failure::Usage, "{line:?}");
    }
    assert!(fs::read(desk.site().join("vault/keys.age")).unwrap() == before);
}

#[test]
fn the_folder_of_the_site_is_the_option_then_the_variable_then_here() {
    let environment = Environment::of(&[("CDRVEIL_SITE", "/b")]);
    assert_eq!(Context::new(Some("/a".into()), false, environment.clone()).site_dir, Path::new("/a"));
    assert_eq!(Context::new(None, false, environment).site_dir, Path::new("/b"));
    assert_eq!(Context::new(None, false, Environment::default()).site_dir, Path::new("."));
}

#[test]
fn a_configuration_problem_is_a_usage_error_with_every_place() {
    let desk = Desk::new();
    let context = desk.usual();
    desk.init(&context).unwrap();
    let path = desk.site().join(crate::config::FILE);
    let text = fs::read_to_string(&path)
        .unwrap()
        .replace("[lake]", "[lake]\nwrong = 1")
        .replace("[cubes]", "[cubes]\nalso = 1");
    fs::write(&path, text).unwrap();
    let (failure, message) = failure(check::run(check::CheckArgs {}, &context));
    assert_eq!(failure, Failure::Usage);
    assert_eq!(message.matches("cdrveil.toml:").count(), 2);
}
