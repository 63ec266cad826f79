//! # Decisions
//!
//! **HMAC-SHA-256 truncated to 128 bits**, input `"cdrveil/v1/id" || class || length || canonical`.
//! Injective, so an IMSI never meets a number. 64 bits would merge people at carrier scale; format-
//! preserving encryption is reversible by every holder of the key and looks like a number to dial; a
//! token table is state on the hot path. *Consequence:* secrecy rests on the key alone.
//!
//! **A random key per calendar month, by event time in UTC.** A key derived from a root can be derived
//! again, so it cannot be destroyed. *Consequence:* no linking across months without a job in the
//! vault; a late record needs the key of its own month, which bounds how late it may be.
//!
//! **Public-key sealing at ingest.** One encapsulation per block (HPKE base mode, X-Wing), then
//! AES-256-GCM per row with the row's number as nonce under a key that lives for one block.
//! *Consequence:* ingest cannot repair or even count what it sealed; manifests carry the counts.
//!
//! **One HMAC, two halves.** The left half is the lake's pseudonym, the right half the blind index of
//! the evidence. The index costs nothing, and only the key links the two. *Consequence:* evidence of a
//! month is found by number only as long as that month's key lives.
//!
//! **A batch log under Delta tables.** Delta commits one table at a time; a batch touches six. The
//! manifest is the commit, table commits follow from it and are repeated until done. *Consequence:*
//! tables trail each other by a moment; readers of several tables look at the manifests.
//!
//! **Compaction is ours.** It moves sealed rows without a key, keeps one identity of many, and must not
//! merge tally files that two vintages took in; no general tool does. It commits only on the snapshot that
//! it planned on, since the Delta library lets two rewrites of one file both pass. *Consequence:* a group
//! of files at a time, each at most a target size; a conflict repeats the work.
//!
//! **We sync.** delta-rs does not sync on a local disk. Files, log entries and directories are synced
//! before any position moves. *Consequence:* milliseconds per batch.
//!
//! **Mappings are data.** What a vendor's field means is a file that an operator can read, change and
//! version. *Consequence:* a language to keep small; what it cannot say needs code and a reason.
//!
//! **Reject rather than guess.** A number of forty digits, a local time that does not exist, a column
//! nobody named. *Consequence:* quarantine needs watching; the summary shows it.
//!
//! **No query engine of ours.** What is in the release store is safe to read in any combination, so
//! nothing is guarded at query time, and any SQL tool will do. *Consequence:* a new question is a new
//! cube.
//!
//! **Integers decide in `generate`.** Floating point and library generators change between machines
//! and versions; a benchmark needs the same bytes. *Consequence:* a small generator of our own.
//!
//! **A replay is opened in the vault's process, judged in ingest's.** One process with both keys would be
//! shorter; but then a defect in a decoder would run beside the keys that open everything. *Consequence:*
//! the bytes of chosen rejects pass through a pipe in clear, which the vault's event log tells beforehand;
//! where the zones are apart, there is no replay yet.
