//! # Refused records
//!
//! **What is refused** lies sealed in `vault/quarantine`, with its position and a reason code.
//! `cdrveil quarantine list` counts by feed, reason and state; `show` lists records one by one, each with
//! a handle. Neither opens anything nor needs a passphrase. Both read the columns of `vault/quarantine` and
//! the manifests of `lake/_batches`: where the zones are apart, run them under an account of the vault
//! that may read the batch log; ingest has no business there.
//!
//! **A rise of one reason** in one feed means that the sender changed something. Correct the mapping or the
//! profile, raise its version, and try: `cdrveil quarantine replay --feed F --reason R --dry-run` tells how the
//! records would fare.
//!
//! **Replay** asks the vault. `cdrveil-vault` is started as a process of its own, from the folder that
//! `cdrveil` stands in, under the passphrase of `vault/keys.age`. It writes to `vault/events.jsonl` what it is
//! about to open (who asked, what for, how many rows by reason), then opens these rows and hands them through a
//! pipe to ingest, which reads them through the feed as it is configured now. So ingest holds no key that opens,
//! the vault's program runs no mapping, and what is in clear is in memory and in the pipe only. A dry run opens
//! too, and is logged. `cdrveil-vault` must be able to read the site, so this is for sites on one machine.
//!
//! **Once.** What passes is committed by the batch log like everything else, in the feed's partition `replay`,
//! 16,384 records or 32 MiB at a time; the manifest names the rows that it resolves. A replay may be killed and
//! started again at any moment, or run twice at once. What is refused again keeps its row and waits on, and the
//! summary counts it by its new reason.
//!
//! **Late records**: `--accept-late`, after `cdrveil-vault epoch create` where the month has no key yet. They
//! make new vintages of windows that were released. A replay does not hold up the steward.
//!
//! **Columns.** A record that is read by column names needs its header row, which the manifest keeps,
//! encrypted. For records that were refused before it did, `--columns` names them in order; without that
//! nothing is guessed and the replay is refused. Messages of a Kafka feed with `columns` go by its present list.
//!
//! **What cannot be replayed**: records of formats that join two halves of a call (`unpaired` and all others of
//! that feed), and the pieces of a record longer than `max_record_bytes`. A message that could not be
//! unpacked can, under a larger `max_message_bytes`.
//!
//! **Discard** gives records up for good: `cdrveil quarantine discard --feed F --reason R --note "…" --yes`. The
//! decision, its user and note stand in the batch log. No row is removed by it, nor by a replay: all go with the
//! keys of their arrival day.
