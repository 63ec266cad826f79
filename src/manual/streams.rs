//! # Operating Kafka feeds
//!
//! **A feed of topics** is a feed with a table `[feeds.NAME.kafka]`: `brokers`, `topics`, `group`. Start
//! `cdrveil ingest --feed NAME` as often as there is work, at most once for each partition: processes of
//! one group share the partitions and hand them over among themselves. `--until-idle SECONDS` ends a run
//! when everything is read.
//!
//! **Positions** stand in the lake's batch log, `lake/_batches/NAME/TOPIC-N/`, and nowhere else. The
//! group's committed offsets are told to the brokers for lag tools; resetting them changes nothing. A
//! partition of which nothing was committed yet begins at `start`. When the topic's retention has deleted
//! what would be read next, the feed stops and says so; `lost_offsets = "skip"` goes on and counts the gap.
//!
//! **Options.** `[feeds.NAME.kafka.options]` holds properties of librdkafka by their own names. Those that
//! would lose or double records are refused with the reason. `cdrveil check`, under the account of ingest,
//! reads certificates and secrets and makes a client without connecting.
//!
//! **Secrets** never stand in `cdrveil.toml`: write `{ file = "/path" }` or `{ env = "NAME" }`. One line
//! end at the end of a file is not part of the secret. A file that every account can read is warned
//! about. They are read at start; a changed password needs a restart. For OAUTHBEARER, `token_file` is
//! read again whenever a fresh token is needed, 80 % into the old one's life (its `exp`; five minutes for
//! a token that is no JSON web token): whatever writes it must do so before that. Certificates: name
//! `ssl.ca.location`, as the program brings no list of its own.
//!
//! **The sink.** `[sinks.kafka]` writes the veiled records of every feed of topics to `topic`, and refused
//! ones, sealed, to `dead_letter` (`schemas/kafka/`). First `cdrveil-vault recipient add NAME`: the
//! pseudonyms are NAME's own, made of the lake's under a key of each month. The sink reads the topics
//! once more, in the group GROUP.sink, in a thread beside the lake's; `lake = false` makes a process of
//! it alone. Lake and sink are each exactly once by itself, and may be apart by a few seconds. The sink's
//! positions are the offsets of GROUP.sink, which move inside its transactions: resetting them (while
//! nothing runs) writes records again, and so does a sink that was off for longer than the brokers keep a
//! group's offsets (`offsets.retention.minutes`, 7 days if not set). One transaction lasts `commit_interval`; that of a process that is
//! no more is aborted by the next one that starts on its machine, else by the brokers after
//! `commit_interval` + 15 s (`transaction.timeout.ms`): until then readers of the topic wait. A
//! transaction that fails is aborted, said, and what was in it read again. Readers need
//! `isolation.level=read_committed`. A message is stamped with the call's rounded start, by which
//! retention goes: see `schemas/kafka/README.md`.
//!
//! **What an account needs**: Describe and Read on the topics, Read on the group (and on GROUP.sink with a
//! Kafka sink), and for the sink Write on its topics, Describe and Write on transactional ids with its
//! prefix.
//!
//! **When something is wrong.** A refused password or certificate, a missing right or topic ends the run
//! with the fix (exit code 3 where credentials or rights are missing, else 1); options that cannot be right
//! end it with 2 before it begins. Brokers that do not answer are waited for, with pauses that grow to
//! 5 seconds. The same complaint of librdkafka is logged at most every 30 seconds, with its repeats
//! counted.
//!
//! **Lag.** `cdrveil_kafka_lag_offsets` is what is not read yet, `cdrveil_kafka_lag_seconds` how long what
//! is read waits for its commit: with a `commit_interval` of 15 s it moves between 0 and about 15.
//! `schemas/telemetry/metrics.md` lists every metric; `deploy/prometheus/alerts.yml` holds alerts, each
//! with what to do; `deploy/grafana/cdrveil.json` a dashboard. `/ready` says in words why a feed is not.
//!
//! **Stopping.** SIGTERM commits what is staged and gives the partitions back. What takes longer than
//! `[ingest] stop_within`, or a second signal, ends the process at once with exit code 1. Both are safe.
