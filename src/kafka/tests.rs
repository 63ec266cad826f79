use super::*;
use rdkafka::error::{KafkaError as Rdkafka, RDKafkaErrorCode as Code};
use std::fs;

fn cluster(options: &[(&str, OptionValue)]) -> Cluster {
    let options = options.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
    Cluster { brokers: vec!["a:1".into(), "b:2".into()], options, token_file: None }
}

fn plain(text: &str) -> OptionValue {
    OptionValue::Plain(text.into())
}

#[test]
fn options_arrive_and_ours_stand() {
    let config = cluster(&[("session.timeout.ms", plain("6000")), ("client.id", plain("me"))]).client_config().unwrap();
    assert_eq!(config.get("bootstrap.servers"), Some("a:1,b:2"));
    assert_eq!(config.get("session.timeout.ms"), Some("6000"));
    assert_eq!(config.get("client.id"), Some("me"));
    let with_token = Cluster { token_file: Some("/t".into()), ..cluster(&[]) };
    assert_eq!(with_token.client_config().unwrap().get("sasl.mechanism"), Some("OAUTHBEARER"));
}

#[test]
fn a_secret_comes_from_its_file_without_the_line_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    let option = [("sasl.password", OptionValue::File(path.clone()))];
    for (content, password) in [("hunter2\n", "hunter2"), ("hunter2\r\n", "hunter2"), (" h \n\n", " h \n"), ("x", "x")]
    {
        fs::write(&path, content).unwrap();
        assert_eq!(cluster(&option).client_config().unwrap().get("sasl.password"), Some(password));
    }
    fs::write(&path, "\n").unwrap();
    let error = cluster(&option).client_config().err().unwrap().to_string();
    assert!(error.contains("sasl.password") && error.contains("empty"), "{error}");
    fs::write(&path, vec![b'x'; (1 << 20) + 1]).unwrap();
    assert!(cluster(&option).client_config().err().unwrap().to_string().contains("too large"));
    fs::remove_file(&path).unwrap();
    let error = cluster(&option).client_config().err().unwrap().to_string();
    assert!(error.contains("password: entity not found"), "{error}");
    let folder = [("sasl.password", OptionValue::File(dir.path().into()))];
    assert!(cluster(&folder).client_config().err().unwrap().to_string().contains("not a file"));
    let variable = [("sasl.password", OptionValue::Env("CDRVEIL_TEST_NOT_SET".into()))];
    assert!(
        cluster(&variable).client_config().err().unwrap().to_string().contains("CDRVEIL_TEST_NOT_SET: it is not set")
    );
}

#[test]
fn wrong_options_are_named_and_their_values_never() {
    for (options, message) in [
        (vec![("ssl.ca.lokation", plain("hunter2"))], "`ssl.ca.lokation` is not an option"),
        (vec![("session.timeout.ms", plain("hunter2"))], "does not take the value of option `session.timeout.ms`"),
        (vec![("security.protocol", plain("hunter2"))], "does not take the value of option `security.protocol`"),
        (
            vec![("security.protocol", plain("ssl")), ("ssl.ca.location", plain("/nowhere/ca.pem"))],
            "refuses the options: ssl.ca.location failed",
        ),
        (
            vec![("security.protocol", plain("sasl_plaintext")), ("sasl.mechanism", plain("GSSAPI"))],
            "refuses the options: No provider for SASL mechanism GSSAPI",
        ),
        (
            vec![
                ("security.protocol", plain("sasl_plaintext")),
                ("sasl.mechanism", plain("SCRAM-SHA-512")),
                ("sasl.username", plain("u")),
            ],
            "refuses the options: sasl.username and sasl.password must be set",
        ),
    ] {
        let error = cluster(&options).check().err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains(message), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    assert_eq!(cluster(&[("security.protocol", plain("ssl"))]).check(), Ok(()));
}

#[test]
fn debug_shows_no_value() {
    let shown = format!("{:?} {:?}", cluster(&[("sasl.password", plain("hunter2"))]), plain("hunter2"));
    assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn codes_become_what_an_operator_can_do() {
    for (code, words, retriable) in [
        (Code::UnknownTopicOrPartition, "there is no topic `x`: create it", false),
        (Code::AllBrokersDown, "no broker of x answers", true),
        (Code::BrokerTransportFailure, "no broker of x answers", true),
        (Code::Authentication, "refuses the credentials", false),
        (Code::SaslAuthenticationFailed, "refuses the credentials", false),
        (Code::SSL, "TLS to the broker fails", false),
        (Code::TopicAuthorizationFailed, "may not use topic `x`", false),
        (Code::GroupAuthorizationFailed, "may not use group `x`", false),
        (Code::TransactionalIdAuthorizationFailed, "may not use transactional id `x`", false),
        (Code::ClusterAuthorizationFailed, "may not use cluster", false),
        (Code::MessageSizeTooLarge, "larger than the topic takes", false),
        (Code::ProducerFenced, "another process took over `x`", false),
        (Code::OffsetOutOfRange, "no longer there", false),
        (Code::AssignmentLost, "went to another member", false),
        (Code::NotLeaderForPartition, "tried again", true),
        (Code::NotCoordinator, "tried again", true),
        (Code::OperationTimedOut, "tried again", true),
        (Code::ConcurrentTransactions, "tried again", true),
        (Code::InvalidConfig, "not tried again", false),
    ] {
        let error = KafkaError::of(&Rdkafka::Global(code), "x");
        assert!(error.to_string().contains(words), "{code:?}: {error}");
        assert_eq!(error.is_retriable(), retriable, "{code:?}");
    }
    assert!(matches!(
        KafkaError::of(&Rdkafka::MessageConsumptionFatal(Code::IllegalGeneration), "x"),
        KafkaError::Fatal(_)
    ));
    let quoting = Rdkafka::Subscription("hunter2".into());
    assert!(!KafkaError::of(&quoting, "x").to_string().contains("hunter2"));
}
