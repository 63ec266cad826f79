//! Which of librdkafka's properties an operator may set, and how.

use rdkafka::ClientConfig;

/// Why `name` is not for the operator to set, and what to do instead.
pub fn refused(name: &str) -> Option<(&'static str, &'static str)> {
    let (_, why, fix) = REFUSED.iter().find(|(pattern, ..)| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => *pattern == name,
    })?;
    Some((why, fix))
}

/// Values that only a file or an environment variable may hold.
pub fn is_secret(name: &str) -> bool {
    SECRETS.contains(&name)
}

/// Whether librdkafka takes `name = value`; `Err(true)` when it does not even know the name.
pub fn known(name: &str, value: Option<&str>) -> Result<(), bool> {
    let mut config = ClientConfig::new();
    config.set(name, value.unwrap_or_default());
    match config.create_native_config() {
        Ok(_) => Ok(()),
        Err(e) => match super::KafkaError::of(&e, "") {
            super::KafkaError::UnknownOption(_) => Err(true),
            // Without a value only the name is asked about.
            _ if value.is_none() => Ok(()),
            _ => Err(false),
        },
    }
}

/// Names that are set often, for hints on misspelt ones.
pub const OFTEN: &[&str] = &[
    "security.protocol",
    "sasl.mechanism",
    "sasl.username",
    "sasl.password",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.key.location",
    "ssl.key.pem",
    "ssl.key.password",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
    "client.id",
    "client.rack",
    "client.dns.lookup",
    "broker.address.family",
    "broker.address.ttl",
    "debug",
    "fetch.min.bytes",
    "fetch.max.bytes",
    "fetch.wait.max.ms",
    "fetch.message.max.bytes",
    "max.partition.fetch.bytes",
    "message.max.bytes",
    "receive.message.max.bytes",
    "queued.min.messages",
    "queued.max.messages.kbytes",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "group.instance.id",
    "group.protocol",
    "socket.timeout.ms",
    "socket.keepalive.enable",
    "socket.connection.setup.timeout.ms",
    "connections.max.idle.ms",
    "reconnect.backoff.ms",
    "reconnect.backoff.max.ms",
    "retry.backoff.ms",
    "retry.backoff.max.ms",
    "metadata.max.age.ms",
    "topic.metadata.refresh.interval.ms",
    "statistics.interval.ms",
    "check.crcs",
    "linger.ms",
    "batch.size",
    "batch.num.messages",
    "compression.type",
    "compression.codec",
    "compression.level",
    "queue.buffering.max.messages",
    "queue.buffering.max.kbytes",
    "transaction.timeout.ms",
    "delivery.timeout.ms",
    "request.timeout.ms",
];

const SECRETS: &[&str] =
    &["sasl.password", "ssl.key.password", "ssl.key.pem", "ssl.keystore.password", "ssl.truststore.password"];

const OURS: &str = "remove it";
const ONCE: &str = "remove it: a record would be lost or stored twice";
const TOKEN: &str = "write token_file = \"/path\" beside `brokers`, and have the token written there";

/// Name (or beginning, with a star), why not, and what to do.
const REFUSED: &[(&str, &str, &str)] = &[
    ("bootstrap.servers", "it is written as `brokers`", "move its value there, as a list"),
    ("metadata.broker.list", "it is written as `brokers`", "move its value there, as a list"),
    ("group.id", "it is written as `group`", "move its value there"),
    ("transactional.id", "it is written as `transactional_id`, for a sink only", "move its value there"),
    ("enable.auto.commit", "positions move with the batch log, never by themselves", ONCE),
    ("auto.commit.interval.ms", "positions move with the batch log, never by themselves", ONCE),
    ("auto.commit.enable", "positions move with the batch log, never by themselves", ONCE),
    ("enable.auto.offset.store", "positions move with the batch log, never by themselves", ONCE),
    ("offset.store.method", "positions stand in the batch log", ONCE),
    ("offset.store.path", "positions stand in the batch log", ONCE),
    (
        "auto.offset.reset",
        "where a partition begins is written as `start`, and what to do about a gap as `lost_offsets`",
        "set those",
    ),
    ("isolation.level", "only what was committed may be read", "remove it: read_committed is set"),
    ("partition.assignment.strategy", "cooperative-sticky is needed: what is staged is committed on a handover", OURS),
    ("group.remote.assignor", "the handover of partitions is ours", OURS),
    ("enable.idempotence", "the sink's producer is transactional", ONCE),
    ("enable.gapless.guarantee", "the sink's producer is transactional", ONCE),
    ("acks", "the sink's producer is transactional and waits for all replicas", ONCE),
    ("request.required.acks", "the sink's producer is transactional and waits for all replicas", ONCE),
    ("max.in.flight", "the sink's producer is transactional", ONCE),
    ("max.in.flight.requests.per.connection", "the sink's producer is transactional", ONCE),
    ("retries", "the sink's producer is transactional", ONCE),
    ("message.send.max.retries", "the sink's producer is transactional", ONCE),
    ("enable.partition.eof", "the end of a partition is asked for when needed", OURS),
    ("allow.auto.create.topics", "a misspelt topic would be made", OURS),
    ("plugin.library.paths", "code from elsewhere is not loaded", OURS),
    ("ssl.engine.*", "code from elsewhere is not loaded", OURS),
    ("ssl.providers", "code from elsewhere is not loaded", OURS),
    ("test.*", "it is for tests of librdkafka", OURS),
    ("builtin.features", "it tells how librdkafka was built", OURS),
    ("log.*", "what librdkafka says is told by cdrveil, each complaint at most every 30 seconds", OURS),
    ("log_level", "what librdkafka says is told by cdrveil", "set debug = \"broker,security\" for a while instead"),
    ("opaque", "it is not a setting but a part of the program", OURS),
    ("default_topic_conf", "it is not a setting but a part of the program", OURS),
    ("interceptors", "it is not a setting but a part of the program", OURS),
    ("sasl.oauthbearer.*", "librdkafka's own ways to a token are not built in", TOKEN),
    ("enable.sasl.oauthbearer.unsecure.jwt", "an unsigned token is no credential", TOKEN),
    ("sasl.kerberos.*", "Kerberos is not built in", "use SCRAM, OAUTHBEARER or mTLS"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_name_only_what_librdkafka_knows_and_takes() {
        for name in OFTEN {
            assert_eq!(known(name, None), Ok(()), "{name}");
            assert!(refused(name).is_none(), "{name}");
        }
        for name in SECRETS.iter().filter(|n| **n != "ssl.truststore.password") {
            assert_eq!(known(name, None), Ok(()), "{name}");
        }
        for (name, ..) in REFUSED.iter().filter(|(name, ..)| !name.contains('*')) {
            assert_eq!(known(name, None), Ok(()), "{name}");
        }
        assert_eq!(known("ssl.ca.lokation", None), Err(true));
        assert_eq!(known("session.timeout.ms", Some("45000")), Ok(()));
        assert_eq!(known("session.timeout.ms", Some("soon")), Err(false));
        assert!(refused("sasl.oauthbearer.client.secret").is_some() && refused("ssl.engine.id").is_some());
    }
}
