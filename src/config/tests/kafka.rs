//! `[feeds.NAME.kafka]`, `[sinks.kafka]` and their options.

use super::*;
use crate::kafka::OptionValue;

const HEAD: &str = "[feeds.stream]\nmapping = \"generic-voice\"\nprofile.home_country = \"GB\"\n";
const STREAM: &str = "[feeds.stream.kafka]\nbrokers = [\"k1:9092\"]\ntopics = [\"cdr.voice\"]\ngroup = \"g\"\n";
const SINK: &str =
    "[sinks.kafka]\nbrokers = [\"k1\"]\ntopic = \"cdr.veiled\"\ntransactional_id = \"t\"\nrecipient = \"desk\"\n";

fn stream(more: &str) -> String {
    format!("{HEAD}{STREAM}{more}")
}

/// Options that arrive, each as `name=value`; where a secret stands, as `name<place`.
fn options(cluster: &crate::kafka::Cluster) -> Vec<String> {
    let show = |(name, value): &(String, OptionValue)| match value {
        OptionValue::Plain(text) => format!("{name}={text}"),
        OptionValue::File(path) => format!("{name}<{}", path.display()),
        OptionValue::Env(variable) => format!("{name}<{variable}"),
    };
    cluster.options.iter().map(show).collect()
}

#[test]
fn a_feed_of_topics_needs_no_inbox_and_has_defaults() {
    let site = load(&stream(""), &[]).unwrap();
    let feed = site.feed("stream").unwrap();
    let kafka = feed.kafka.as_ref().unwrap();
    assert_eq!(
        (kafka.cluster.brokers.as_slice(), kafka.topics.as_slice()),
        (&["k1:9092".into()][..], &["cdr.voice".into()][..])
    );
    assert_eq!((kafka.group.as_str(), kafka.start, kafka.lost_offsets), ("g", Start::Earliest, LostOffsets::Stop));
    assert_eq!((kafka.max_message_bytes, feed.columns.len()), (64 << 20, 0));
    assert!(site.kafka_sink.is_none() && site.telemetry.listen.is_none());
    assert_eq!(
        (site.ingest.commit_interval, site.ingest.stop_within),
        (Duration::from_secs(15), Duration::from_secs(30))
    );

    let all = "start = \"latest\"\nlost_offsets = \"skip\"\nmax_message_bytes = 1024\ntoken_file = \"token\"\n";
    let text =
        format!("[ingest]\ncommit_interval = \"500ms\"\n[telemetry]\nlisten = \"[::1]:9464\"\n{}{all}", stream(""));
    let site = load(&text, &[]).unwrap();
    let kafka = site.feed("stream").unwrap().kafka.as_ref().unwrap();
    assert_eq!((kafka.start, kafka.lost_offsets, kafka.max_message_bytes), (Start::Latest, LostOffsets::Skip, 1024));
    assert_eq!(kafka.cluster.token_file.as_deref(), Some(site.dir.join("token").as_path()));
    assert_eq!(site.ingest.commit_interval, Duration::from_millis(500));
    assert_eq!(site.telemetry.listen, Some("[::1]:9464".parse().unwrap()));

    let columns = stream("").replace("profile.home", "columns = [\"a\", \"b\"]\nprofile.home");
    assert_eq!(load(&columns, &[]).unwrap().feeds["stream"].columns, ["a", "b"]);
}

#[test]
fn a_sink_needs_little_and_takes_much() {
    let site = load(&format!("{FEED_TEXT}{SINK}"), &[]).unwrap();
    let sink = site.kafka_sink.unwrap();
    assert_eq!((sink.topic.as_deref(), sink.dead_letter), (Some("cdr.veiled"), None));
    assert_eq!((sink.transactional_id.as_str(), sink.recipient.as_str()), ("t", "desk"));
    assert_eq!((sink.format, sink.schema_id, sink.lake), (SinkFormat::Json, 0, true));
    let all =
        "dead_letter = \"cdr.rejects\"\nformat = \"avro\"\nschema_id = 7\nlake = false\noptions = { linger.ms = 5 }\n";
    let sink = load(&format!("{FEED_TEXT}{SINK}{all}"), &[]).unwrap().kafka_sink.unwrap();
    assert_eq!(
        (sink.dead_letter.as_deref(), sink.format, sink.schema_id, sink.lake),
        (Some("cdr.rejects"), SinkFormat::Avro, 7, false)
    );
    assert_eq!(options(&sink.cluster), ["linger.ms=5"]);
}

#[test]
fn options_are_written_with_their_own_names() {
    let text = stream(
        "[feeds.stream.kafka.options]\n\"session.timeout.ms\" = 45000\nssl.ca.location = \"ca.pem\"\nssl.key.location = \"/k\"\n\
         security.protocol = \"sasl_ssl\"\nsocket.keepalive.enable = true\n\
         sasl.password = { file = \"secret\" }\n\"ssl.key.password\" = { env = \"KEYPASS\" }\n",
    );
    let site = load(&text, &[]).unwrap();
    let at = |file: &str| site.dir.join(file).display().to_string();
    assert_eq!(
        options(&site.feeds["stream"].kafka.as_ref().unwrap().cluster),
        [
            format!("sasl.password<{}", at("secret")),
            "security.protocol=sasl_ssl".into(),
            "session.timeout.ms=45000".into(),
            "socket.keepalive.enable=true".into(),
            format!("ssl.ca.location={}", at("ca.pem")),
            "ssl.key.location=/k".into(),
            "ssl.key.password<KEYPASS".into(),
        ]
    );
}

#[test]
fn what_does_not_fit_is_refused_with_line_and_fix() {
    // Lines count from the feed's head; STREAM begins at line 4 and ends with line 7.
    let option = |line: &str| stream(&format!("[feeds.stream.kafka.options]\n{line}\n"));
    let sink = |line: &str| format!("{FEED_TEXT}{SINK}{line}\n");
    let cases: &[(String, usize, &str, &str)] = &[
        (stream("inbocks = 1"), 8, "not a setting", "known here"),
        (stream("max_message_byte = 5000"), 8, "not a setting", "`max_message_bytes` (in bytes"),
        (stream("start = \"middle\""), 8, "\"earliest\", \"latest\"", "correct"),
        (stream("lost_offsets = true"), 8, "\"stop\", \"skip\"", "correct"),
        (stream("max_message_bytes = 10"), 8, "whole number from 1024", "correct"),
        (
            format!("{HEAD}[feeds.stream.kafka]\nbrokers = [\"k\"]\ngroup = \"g\"\n"),
            4,
            "kafka.topics` is missing",
            "topics =",
        ),
        (
            format!("{HEAD}[feeds.stream.kafka]\ntopics = [\"k\"]\ngroup = \"g\"\n"),
            4,
            "kafka.brokers` is missing",
            "brokers =",
        ),
        (
            format!("{HEAD}[feeds.stream.kafka]\ntopics = [\"k\"]\nbrokers = [\"g\"]\n"),
            4,
            "kafka.group` is missing",
            "group =",
        ),
        (stream("").replace("\"k1:9092\"", ""), 5, "list of brokers", "correct"),
        (stream("").replace("k1:9092", "k1:90920"), 5, "list of brokers", "correct"),
        (stream("").replace("k1:9092", "u:hunter2@k1:9092"), 5, "list of brokers", "correct"),
        (stream("").replace("\"cdr.voice\"", "\"a\", \"a\""), 6, "different topics", "correct"),
        (stream("").replace("cdr.voice", "../up"), 6, "list of different topics", "correct"),
        (stream("").replace("cdr.voice", ".."), 6, "list of different topics", "correct"),
        (stream("").replace("cdr.voice", "^cdr.*"), 6, "list of different topics", "correct"),
        (stream("").replace("profile.home", "inbox = \"x\"\nprofile.home"), 3, "is for files", "remove it"),
        (stream("").replace("profile.home", "kind = \"append\"\nprofile.home"), 3, "is for files", "remove it"),
        (
            FEED_TEXT.replacen("mapping", "kafka = \"k1\"\nmapping", 1),
            2,
            "`kafka` is a section",
            "[feeds.generic-voice.kafka]",
        ),
        (format!("{FEED_TEXT}[sinks.kafak]\nx = 1\n"), 5, "not a setting in [sinks]", "`kafka`"),
        (format!("{FEED_TEXT}[sink.kafka]\nx = 1\n"), 5, "not a section", "`sinks`"),
        (
            option("session.timeout.msec = 5"),
            9,
            "`session.timeout.msec` is not one of librdkafka",
            "`session.timeout.ms`",
        ),
        (option("nothing.of.the.sort = 5"), 9, "is not one of librdkafka", "CONFIGURATION.md"),
        (
            option("session.timeout.ms = \"soon\""),
            9,
            "does not take the value of option `session.timeout.ms`",
            "correct",
        ),
        (option("session.timeout.ms = [5]"), 9, "must be text, a number", "write"),
        (
            option("enable.auto.commit = true"),
            9,
            "not for you to set: positions move with the batch log",
            "lost or stored twice",
        ),
        (option("group.id = \"x\""), 9, "written as `group`", "move"),
        (option("bootstrap.servers = \"x\""), 9, "written as `brokers`", "move"),
        (option("transactional.id = \"x\""), 9, "`transactional_id`", "move"),
        (option("isolation.level = \"read_uncommitted\""), 9, "only what was committed", "remove"),
        (option("auto.offset.reset = \"latest\""), 9, "`start`", "set those"),
        (option("partition.assignment.strategy = \"range\""), 9, "cooperative-sticky", "remove"),
        (option("sasl.oauthbearer.client.secret = \"hunter2\""), 9, "not built in", "token_file"),
        (option("sasl.password = \"hunter2\""), 9, "a secret, and stands here in the clear", "{ file ="),
        (option("\"ssl.key.pem\" = \"-----BEGIN PRIVATE KEY-----hunter2\""), 9, "a secret", "{ file ="),
        (option("ssl.certificate.pem = \"-----BEGIN PRIVATE KEY-----hunter2\""), 9, "a secret", "{ file ="),
        (option("sasl.password = { fiel = \"/hunter2\" }"), 9, "`sasl.password.fiel` is not one", "CONFIGURATION.md"),
        (option("sasl.password = { file = 5 }"), 9, "`sasl.password.file` is not one", "CONFIGURATION.md"),
        (option("sasl.mechanism = \"OAUTHBEARER\""), 4, "no `token_file`", "token_file ="),
        (
            option("sasl.mechanism = \"PLAIN\"").replace("group", "token_file = \"t\"\ngroup"),
            7,
            "do not go together",
            "remove one",
        ),
        (sink("format = \"avro\""), 10, "`sinks.kafka.schema_id` is missing", "schema_id ="),
        (
            sink("recipient_ = 1").replace("recipient_ = 1", "dead_letter = \"cdr.veiled\""),
            10,
            "are one topic",
            "their own",
        ),
        (stream(&SINK.replace("cdr.veiled", "cdr.voice")), 10, "is a topic that feed `stream` reads", "of its own"),
        (sink("").replace("topic = \"cdr.veiled\"\n", ""), 5, "neither `topic` nor", "topic ="),
        (sink("").replace("\"desk\"", "\"The Desk\""), 9, "lower-case letters", "correct"),
        (sink("").replace("recipient = \"desk\"\n", ""), 5, "recipient` is missing", "recipient ="),
        (sink("").replace("transactional_id = \"t\"\n", ""), 5, "transactional_id` is missing", "transactional_id ="),
        (format!("[telemetry]\nlisten = \"9464\"\n{FEED_TEXT}"), 2, "an address and a port", "correct"),
        (format!("[telemetry]\nlisten = \"localhost:9464\"\n{FEED_TEXT}"), 2, "an address and a port", "correct"),
        (format!("[ingest]\ncommit_interval = 15\n{FEED_TEXT}"), 2, "must be a duration", "correct"),
        (format!("[ingest]\ncommit_interval = \"15\"\n{FEED_TEXT}"), 2, "must be a duration", "correct"),
        (format!("[ingest]\ncommit_interval = \"1ms\"\n{FEED_TEXT}"), 2, "must be a duration", "correct"),
        (format!("[ingest]\nstop_within = \"99999999999999999999h\"\n{FEED_TEXT}"), 2, "must be a duration", "correct"),
        (
            "[feeds.generic-voice]\nmapping = \"generic-voice\"\ncolumns = [\"a\"]\nprofile.home_country = \"GB\"\n"
                .to_owned(),
            3,
            "for Kafka feeds",
            "remove it",
        ),
    ];
    let mut wrong = Vec::new();
    for (text, line, message, fix) in cases {
        let problems = load(text, &[]).err().map(|e| e.problems).unwrap_or_default();
        let [Problem { place, message: m, fix: f }] = problems.as_slice() else {
            wrong.push(format!("{text}\n{problems:?}"));
            continue;
        };
        let silent = !m.contains("hunter2") && !f.contains("hunter2");
        if *place != Place::Line(*line) || !m.contains(message) || !f.contains(fix) || !silent {
            wrong.push(format!("{text}\n{place:?}: {m}\n{f}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn two_feeds_never_share_a_topic_in_a_group() {
    let other = stream("").replace("feeds.stream", "feeds.other");
    let (place, message, _) = problem(&format!("{}{other}", stream("")), &[]);
    assert!(place == Place::Line(4) && message.contains("in the group of feed `other`"), "{place:?} {message}");
    let apart = other.replace("group = \"g\"", "group = \"h\"");
    assert!(load(&format!("{}{apart}", stream("")), &[]).is_ok());
}

#[test]
fn settings_and_options_are_overridden_from_the_environment() {
    let cluster = |name: &str, text: &str| {
        let variable = format!("CDRVEIL__FEEDS__STREAM__KAFKA__{name}");
        load(&stream("options.session.timeout.ms = 1000"), &[(&variable, text)])
            .unwrap()
            .feeds
            .remove("stream")
            .unwrap()
            .kafka
            .unwrap()
    };
    assert_eq!(cluster("GROUP", "other").group, "other");
    assert_eq!(cluster("TOPICS", "a, b").topics, ["a", "b"]);
    assert_eq!(cluster("BROKERS", "x:1,y:2").cluster.brokers, ["x:1", "y:2"]);
    assert_eq!(cluster("MAX_MESSAGE_BYTES", "2048").max_message_bytes, 2048);
    assert_eq!(options(&cluster("OPTIONS__SESSION_TIMEOUT_MS", "6000").cluster), ["session.timeout.ms=6000"]);
    assert!(
        options(&cluster("OPTIONS__SASL_PASSWORD", "file:/run/x").cluster).contains(&"sasl.password</run/x".into())
    );
    assert!(options(&cluster("OPTIONS__SASL_PASSWORD", "env:PASS").cluster).contains(&"sasl.password<PASS".into()));
    let site = |name: &str, text: &str| load(&format!("{FEED_TEXT}{SINK}"), &[(name, text)]).unwrap();
    assert!(!site("CDRVEIL__SINKS__KAFKA__LAKE", "false").kafka_sink.unwrap().lake);
    assert_eq!(
        options(&site("CDRVEIL__SINKS__KAFKA__OPTIONS__LINGER_MS", "9").kafka_sink.unwrap().cluster),
        ["linger.ms=9"]
    );
    assert_eq!(site("CDRVEIL__TELEMETRY__LISTEN", "127.0.0.1:0").telemetry.listen.unwrap().port(), 0);
    assert_eq!(site("CDRVEIL__INGEST__COMMIT_INTERVAL", "2m").ingest.commit_interval, Duration::from_secs(120));

    for (text, name, value, message) in [
        (stream(""), "CDRVEIL__FEEDS__STREAM__KAFKA__OPTIONS__SASL_PASSWORD", "hunter2", "in the clear"),
        (stream(""), "CDRVEIL__FEEDS__STREAM__KAFKA__OPTIONS__SESION_TIMEOUT_MS", "5", "is not one of librdkafka"),
        (stream(""), "CDRVEIL__FEEDS__STREAM__KAFKA__OPTIONS__GROUP_ID", "hunter2", "written as `group`"),
        (stream(""), "CDRVEIL__FEEDS__STREAM__KAFKA__START", "hunter2", "must be one of"),
        (FEED_TEXT.to_owned(), "CDRVEIL__FEEDS__GENERIC_VOICE__KAFKA__GROUP", "hunter2", "no such setting"),
        (FEED_TEXT.to_owned(), "CDRVEIL__SINKS__KAFKA__TOPIC", "hunter2", "no such setting"),
    ] {
        let (place, m, f) = problem(&text, &[(name, value)]);
        assert_eq!(place, Place::Variable(name.into()));
        assert!(m.contains(message) && !m.contains("hunter2") && !f.contains("hunter2"), "{name}: {m}; {f}");
    }
}

#[test]
fn a_feed_may_be_called_kafka() {
    let text = stream("options.debug = \"broker\"").replace("feeds.stream", "feeds.kafka");
    let site = load(&text, &[("CDRVEIL__FEEDS__KAFKA__KAFKA__GROUP", "other")]).unwrap();
    let feed = site.feed("kafka").unwrap();
    assert_eq!((feed.settle_s, feed.kafka.as_ref().unwrap().group.as_str()), (10, "other"));
}

#[test]
fn check_finds_what_only_a_client_can_tell() {
    let text = stream("[feeds.stream.kafka.options]\nsecurity.protocol = \"ssl\"\nssl.ca.location = \"gone.pem\"\n");
    let site = load(&text, &[]).unwrap();
    let error = site.check_clusters().unwrap_err();
    assert_eq!(error.problems[0].place, Place::Line(4));
    assert!(error.to_string().contains("ssl.ca.location failed"), "{error}");
    let site = load(&stream("\n[feeds.stream.kafka.options]\nsasl.password = { file = \"gone\" }\n"), &[]).unwrap();
    let error = site.check_clusters().unwrap_err();
    assert_eq!(error.problems[0].place, Place::Line(10));
    assert!(error.to_string().contains("gone: entity not found"), "{error}");
    assert!(load(&stream(""), &[]).unwrap().check_clusters().is_ok());
}

#[test]
fn the_example_of_a_new_site_loads() {
    let text = template::site_file("s", "BE", &[]);
    let (_, example) = text.split_once("# An example, to be uncommented and changed:\n").unwrap();
    let example: String = example.lines().map(|l| format!("{}\n", l.trim_start_matches('#').trim_start())).collect();
    let site = load(&example, &[]).unwrap();
    assert_eq!(site.feeds["voice-stream"].kafka.as_ref().unwrap().topics, ["cdr.voice"]);
    assert_eq!(site.feeds["voice-stream"].profile["home_country"].as_str(), Some("BE"));
    assert_eq!(site.kafka_sink.unwrap().dead_letter.as_deref(), Some("cdr.rejects"));
}
