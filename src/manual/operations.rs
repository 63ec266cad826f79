//! # Operations
//!
//! **A file arrives.** It is taken when it is complete: renamed into the inbox, or unchanged for the
//! configured time. It is loaded whole or not at all. The same content under any name is recognised
//! and reported, not loaded again. Standard input cannot be recognised, and says so.
//!
//! **A crash, at any moment.** Start again. The last manifest says what was begun; the same files are
//! put into the tables that lack them, nothing is computed twice, nothing is lost. A data
//! file that no manifest names and no compaction made is in no table; it is swept after `orphan_after_hours`.
//!
//! **Rejects.** Each run ends with counts by reason. The rows themselves are sealed in
//! `vault/quarantine` with their position; no log holds them. A sudden rise means a feed changed its
//! format: compare its mapping, and replay what was refused ([`quarantine`](super::quarantine)).
//!
//! **Late records.** A feed takes records back to `accept_late` days (45 unless told otherwise);
//! `ingest --accept-late` overrides that for one run. Older history needs its epoch opened on purpose:
//! `cdrveil-vault epoch create`. Events more than a day ahead are rejected: some clock is wrong.
//!
//! **The end of a month.** `cdrveil-vault epoch ensure` makes the coming month's keys if they are
//! missing; run it daily (`deploy/systemd/cdrveil-epoch.timer`). A watcher takes them up without a
//! restart.
//!
//! **Release.** `cdrveil steward --once` releases windows that are closed: past the watermark by the
//! cube's `release_after`. A later record makes a new vintage, if what it adds may be released at all;
//! nothing released is ever rewritten.
//!
//! **Small files.** Run `cdrveil steward` in the lake zone and `cdrveil-vault compact` in the vault zone as
//! services, or with `--once` from timers. They put small files together while ingest goes on, need no
//! key, and can be killed at any moment. Without them tables stay right and grow slow. Disk use falls
//! `orphan_after_hours` later, when what was replaced is swept. `schemas/lake/compaction.md` has the rules.
//!
//! **Exit codes.** 0 done, with rejects or without; 1 failed and safe to repeat; 2 wrong usage or
//! configuration; 3 locked out: no passphrase, wrong passphrase, no lease.
//!
//! **Backups.** Lake and vault apart, to different places under different accounts; key files apart
//! from the tables they open.
