//! What an operator can do about a broken link. Every message ends in its fix; none holds a value
//! of an option or anything of a message.

use rdkafka::error::{KafkaError as Rdkafka, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaConfRes;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KafkaError {
    #[error("the secret of option `{option}` cannot be had from {place}: {reason}")]
    Secret { option: String, place: String, reason: String },
    #[error("`{0}` is not an option of librdkafka")]
    UnknownOption(String),
    #[error("librdkafka does not take the value of option `{0}`")]
    BadValue(String),
    /// Values that do not go together, or certificates and keys that cannot be read.
    #[error("librdkafka refuses the options: {0}")]
    Options(String),
    #[error(
        "no broker of {brokers} answers: check `brokers`, names, ports, firewalls and security.protocol ({reason})"
    )]
    NoBroker { brokers: String, reason: String },
    #[error("the broker refuses the credentials: check sasl.mechanism, sasl.username and the secret behind them ({0})")]
    Credentials(String),
    #[error(
        "TLS to the broker fails: check security.protocol, ssl.ca.location (whose certificates are believed), \
         ssl.certificate.location and ssl.key.location (our own), and that the names in the broker's certificate fit `brokers` ({0})"
    )]
    Tls(String),
    #[error("the account may not use {0} `{1}`: have the cluster's administrator allow it (ACL: {2})")]
    NotAuthorised(Resource, String, &'static str),
    #[error("there is no topic `{0}`: create it, or correct `topics`")]
    UnknownTopic(String),
    #[error(
        "the message is larger than the topic takes: raise max.message.bytes of the topic and message.max.bytes of the sink"
    )]
    MessageTooLarge,
    /// Somebody newer has taken over: this process has to stop.
    #[error(
        "another process took over `{0}`: give each process a transactional_id or a member of its own, or let this one end"
    )]
    Fenced(String),
    /// Retention has deleted what should be read next.
    #[error("the offset to be read next is no longer there in `{0}`")]
    OffsetGone(String),
    #[error("the partitions of `{0}` went to another member of the group")]
    AssignmentLost(String),
    /// librdkafka gave up for good; the process starts anew or not at all.
    #[error("the kafka client failed for good ({0})")]
    Fatal(String),
    #[error("kafka: {name} ({})", if *.retriable { "tried again" } else { "not tried again" })]
    Other { name: String, retriable: bool },
}

/// What an account needs a right for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Topic,
    Group,
    TransactionalId,
    Cluster,
}

impl std::fmt::Display for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Resource::Topic => "topic",
            Resource::Group => "group",
            Resource::TransactionalId => "transactional id",
            Resource::Cluster => "cluster",
        })
    }
}

impl KafkaError {
    /// What `error` means; `subject` is the topic, the group, the transactional id or the brokers
    /// that were spoken about.
    pub fn of(error: &Rdkafka, subject: &str) -> KafkaError {
        match error {
            // The texts name the value; the key is enough.
            Rdkafka::ClientConfig(result, _, key, _) => {
                if *result == RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN {
                    KafkaError::UnknownOption(key.clone())
                } else {
                    KafkaError::BadValue(key.clone())
                }
            }
            Rdkafka::ClientCreation(reason) => KafkaError::Options(reason.clone()),
            Rdkafka::MessageConsumptionFatal(code) => KafkaError::of_fatal(*code, subject),
            Rdkafka::Transaction(e) if e.is_retriable() => KafkaError::Other { name: e.name(), retriable: true },
            Rdkafka::Transaction(e) if e.is_fatal() => KafkaError::of_fatal(e.code(), subject),
            e => match e.rdkafka_error_code() {
                Some(code) => KafkaError::of_code(code, subject),
                None => KafkaError::Other { name: without_values(e), retriable: false },
            },
        }
    }

    fn of_fatal(code: Code, subject: &str) -> KafkaError {
        match KafkaError::of_code(code, subject) {
            KafkaError::Other { name, .. } => KafkaError::Fatal(name),
            known => known,
        }
    }

    pub fn of_code(code: Code, subject: &str) -> KafkaError {
        let subject = || subject.to_owned();
        match code {
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition | Code::InvalidTopic => {
                KafkaError::UnknownTopic(subject())
            }
            Code::AllBrokersDown | Code::BrokerTransportFailure | Code::Resolve => {
                KafkaError::NoBroker { brokers: subject(), reason: code.to_string() }
            }
            Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState => KafkaError::Credentials(code.to_string()),
            Code::SSL => KafkaError::Tls(code.to_string()),
            Code::TopicAuthorizationFailed => {
                KafkaError::NotAuthorised(Resource::Topic, subject(), "Describe and Read; for a sink Write")
            }
            Code::GroupAuthorizationFailed => KafkaError::NotAuthorised(Resource::Group, subject(), "Read"),
            Code::TransactionalIdAuthorizationFailed => {
                KafkaError::NotAuthorised(Resource::TransactionalId, subject(), "Describe and Write")
            }
            Code::ClusterAuthorizationFailed => {
                KafkaError::NotAuthorised(Resource::Cluster, subject(), "IdempotentWrite")
            }
            Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => {
                KafkaError::MessageTooLarge
            }
            Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::FencedInstanceId => {
                KafkaError::Fenced(subject())
            }
            Code::OffsetOutOfRange | Code::AutoOffsetReset => KafkaError::OffsetGone(subject()),
            Code::AssignmentLost => KafkaError::AssignmentLost(subject()),
            Code::Fatal => KafkaError::Fatal(code.to_string()),
            code => KafkaError::Other { name: code.to_string(), retriable: passes(code) },
        }
    }

    /// Whether the same may work later without anybody doing anything.
    pub fn is_retriable(&self) -> bool {
        match self {
            KafkaError::NoBroker { .. } => true,
            KafkaError::Other { retriable, .. } => *retriable,
            _ => false,
        }
    }
}

/// Codes of a moment: an election, a coordinator that moves, a broker that starts, a full queue.
fn passes(code: Code) -> bool {
    matches!(
        code,
        Code::OperationTimedOut
            | Code::MessageTimedOut
            | Code::TimedOutQueue
            | Code::QueueFull
            | Code::ISRInsufficient
            | Code::WaitingForCoordinator
            | Code::WaitCache
            | Code::InProgress
            | Code::PreviousInProgress
            | Code::Outdated
            | Code::Retry
            | Code::BrokerDestroy
            | Code::DestroyBroker
            | Code::UnknownBroker
            | Code::BadMessage
            | Code::InvalidMessage
            | Code::LogTruncation
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::RequestTimedOut
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::StaleControllerEpoch
            | Code::NotController
            | Code::NetworkException
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::RebalanceInProgress
            | Code::ConcurrentTransactions
            | Code::KafkaStorageError
            | Code::ListenerNotFound
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::PreferredLeaderNotAvailable
            | Code::EligibleLeadersNotAvailable
            | Code::UnstableOffsetCommit
            | Code::ThrottlingQuotaExceeded
    )
}

/// Errors without a code; only their kind, as their texts may hold anything.
fn without_values(error: &Rdkafka) -> String {
    match error {
        Rdkafka::Canceled => "the client was closed".into(),
        Rdkafka::Nul(_) => "a zero byte stands in a name".into(),
        Rdkafka::Subscription(_) => "the subscription was refused".into(),
        Rdkafka::PauseResume(_) => "pausing or resuming was refused".into(),
        Rdkafka::Seek(_) => "seeking was refused".into(),
        _ => "the client refused a call".into(),
    }
}
